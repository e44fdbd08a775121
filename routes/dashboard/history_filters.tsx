import type { MessageKey } from "../../islands/i18n/en.ts";
import { useLocale } from "../../islands/lib/context.tsx";
import { type HistoryQuery, LIMITS } from "./history_query.ts";

interface FiltersProps {
  query: HistoryQuery;
  labels: string[];
  isFiltered: boolean;
}

/** A form whose fields are the parameters of the URL; works without script. */
export function Filters({ query, labels, isFiltered }: FiltersProps) {
  const { t, number } = useLocale();
  const { sort, order, limit } = query;
  return (
    <form class="filters" action="/etl/runs" role="search" aria-label={t("history.filters")}>
      {sort !== "requested_at" && <input type="hidden" name="sort" value={sort} />}
      {order !== "desc" && <input type="hidden" name="order" value={order} />}
      <Choice
        name="run_label"
        label={t("field.run_label")}
        value={query.run_label}
        options={labels.map((label) => [label, label])}
        first
      />
      <Choice
        name="state"
        label={t("field.state")}
        value={query.state}
        options={(["queued", "running", "succeeded", "failed", "cancelled"] as const)
          .map((state) => [state, t(`state.${state}` as MessageKey)])}
      />
      <Choice
        name="dry_run"
        label={t("field.dry_run")}
        value={query.dry_run}
        options={[["true", t("history.dry_only")], ["false", t("history.dry_without")]]}
      />
      <Day name="start" label={t("history.start")} value={query.start} />
      <Day name="end" label={t("history.end")} value={query.end} />
      <div class="filter">
        <label for="filter-limit">{t("history.limit")}</label>
        <select id="filter-limit" name="limit" data-submit>
          {[...new Set([...LIMITS, limit])].sort((a, b) => a - b).map((each) => (
            <option key={each} value={each} selected={each === limit}>{number(each)}</option>
          ))}
        </select>
      </div>
      <div class="filter-actions">
        <button type="submit" class="button">{t("history.apply")}</button>
        {isFiltered && <a class="button plain" href="/etl/runs">{t("history.clear")}</a>}
      </div>
    </form>
  );
}

interface ChoiceProps {
  name: string;
  label: string;
  value: string | undefined;
  options: [value: string, text: string][];
  first?: boolean;
}

function Choice({ name, label, value, options, first }: ChoiceProps) {
  const { t } = useLocale();
  const known = value === undefined || options.some(([each]) => each === value);
  const all: [string, string][] = known ? options : [[value, value], ...options];
  return (
    <div class="filter">
      <label for={`filter-${name}`}>{label}</label>
      <select id={`filter-${name}`} name={name} data-submit data-filter={first ? "" : undefined}>
        <option value="">{t("history.any")}</option>
        {all.map(([each, text]) => (
          <option key={each} value={each} selected={each === value}>{text}</option>
        ))}
      </select>
    </div>
  );
}

/** A day; an exact time that a shared URL holds is kept as it is. */
function Day({ name, label, value }: { name: string; label: string; value: string | undefined }) {
  const isDay = value === undefined || value.length === 10;
  return (
    <div class="filter">
      <label for={`filter-${name}`}>{label}</label>
      {isDay
        ? <input id={`filter-${name}`} name={name} type="date" value={value ?? ""} />
        : <input id={`filter-${name}`} name={name} type="text" value={value} />}
    </div>
  );
}
