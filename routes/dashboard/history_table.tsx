import type { MessageKey } from "../../islands/i18n/en.ts";
import { useLocale } from "../../islands/lib/context.tsx";
import { Icon, StateBadge, Time } from "../../islands/ui/elements.tsx";
import type { HistoryRow, SortColumn } from "../../store/history.ts";
import { type HistoryQuery, historyUrl } from "./history_query.ts";

interface Column {
  name: SortColumn | "trigger";
  label: MessageKey;
  className?: string;
}

const COLUMNS: Column[] = [
  { name: "state", label: "field.state" },
  { name: "run_label", label: "field.run_label" },
  { name: "requested_at", label: "field.requested_at", className: "from-tablet" },
  { name: "trigger", label: "field.trigger", className: "from-wide" },
  { name: "total_rows", label: "field.total_rows", className: "num" },
  { name: "rejected", label: "field.rejected", className: "num from-wide" },
  { name: "ratio", label: "field.ratio", className: "num" },
  { name: "num_chunks", label: "field.chunks", className: "num from-wide" },
  { name: "duration_ms", label: "field.duration", className: "num from-tablet" },
];

interface HistoryTableProps {
  query: HistoryQuery;
  rows: HistoryRow[];
}

/** Runs, each column a link that sorts by it. */
export function HistoryTable({ query, rows }: HistoryTableProps) {
  return (
    <div class="table-scroll">
      <table class="table">
        <thead>
          <tr>
            {COLUMNS.map((column) => <Head key={column.name} query={query} column={column} />)}
          </tr>
        </thead>
        <tbody>{rows.map((row) => <Row key={row.run_id} row={row} />)}</tbody>
      </table>
    </div>
  );
}

function Head({ query, column }: { query: HistoryQuery; column: Column }) {
  const { t } = useLocale();
  const { name, label, className } = column;
  if (name === "trigger") return <th scope="col" class={className}>{t(label)}</th>;
  const isSorted = query.sort === name;
  const descending = query.order === "desc";
  const order = isSorted && descending ? "asc" : "desc";
  return (
    <th
      scope="col"
      class={className}
      aria-sort={isSorted ? (descending ? "descending" : "ascending") : "none"}
    >
      <a class="sort" href={historyUrl(query, { sort: name, order, after: null, before: null })}>
        {t(label)}
        <span class={isSorted ? "sort-mark" : "sort-mark off"}>
          <Icon name={isSorted && !descending ? "up" : "down"} size={12} />
        </span>
      </a>
    </th>
  );
}

function Row({ row }: { row: HistoryRow }) {
  const { t, maybe, number, percent, duration } = useLocale();
  return (
    <tr data-run={row.run_id}>
      <td>
        <StateBadge state={row.state} />
      </td>
      <th scope="row">
        <a class="row-link clip" href={`/etl/runs/${row.run_id}`}>{row.run_label}</a>
        {row.dry_run && <span class="tag">{t("field.dry_run")}</span>}
        {row.replay && <span class="tag">{t("field.replay")}</span>}
        <span class="to-tablet quiet second-line">
          <Time at={row.requested_at} style="relative" />
        </span>
      </th>
      <td class="quiet from-tablet">
        <Time at={row.requested_at} style="long" />
      </td>
      <td class="quiet from-wide">{maybe(`trigger.${row.trigger}`) ?? row.trigger}</td>
      <td class="num">{row.total_rows === null ? "–" : number(row.total_rows)}</td>
      <td class="num from-wide">{row.rejected === null ? "–" : number(row.rejected)}</td>
      <td class={row.low_ratio ? "num is-bad" : "num"}>
        {row.ratio === null ? "–" : percent(row.ratio)}
      </td>
      <td class="num from-wide">{row.num_chunks === null ? "–" : number(row.num_chunks)}</td>
      <td class="num from-tablet">
        {row.duration_ms === null ? "–" : duration(row.duration_ms)}
      </td>
    </tr>
  );
}
