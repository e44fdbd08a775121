import type { ComponentChildren } from "preact";
import type { MessageKey } from "../i18n/en.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { useRole } from "../lib/viewer.tsx";
import { Icon } from "../ui/icon.tsx";
import { Time } from "../ui/time.tsx";
import { type ResourceKind, type Row, SPECS } from "./specs.ts";

interface Column {
  title: MessageKey;
  className?: string;
  cell(row: Row): ComponentChildren;
}

const updated: Column = {
  title: "resource.updated",
  className: "quiet from-tablet",
  cell: (row) => typeof row.updated_at === "string" ? <Time at={row.updated_at} /> : "–",
};

const COLUMNS: Record<ResourceKind, Column[]> = {
  configurations: [
    {
      title: "resource.conf",
      cell: (row) => <code class="summary">{JSON.stringify(row.conf)}</code>,
    },
    updated,
  ],
  variables: [
    {
      title: "resource.value",
      cell: (row) => <code class="summary">{JSON.stringify(row.value)}</code>,
    },
    updated,
  ],
  pools: [
    { title: "resource.slots", className: "num", cell: (row) => <Amount value={row.slots} /> },
    { title: "state.running", className: "num", cell: (row) => <Amount value={row.running} /> },
    { title: "resource.waiting", className: "num", cell: (row) => <Amount value={row.waiting} /> },
  ],
  suites: [
    {
      title: "resource.expectations",
      className: "num",
      cell: (row) => <Amount value={row.expectations} />,
    },
    { title: "resource.origin", className: "quiet", cell: (row) => <SuiteOrigin row={row} /> },
  ],
  datasets: [
    {
      title: "resource.view",
      cell: (row) => row.view === null ? "–" : <code class="summary">{String(row.view)}</code>,
    },
    {
      title: "resource.columns",
      className: "num",
      cell: (row) => <Amount value={(row.columns as unknown[]).length} />,
    },
  ],
};

function Amount({ value }: { value: unknown }) {
  const { number } = useLocale();
  return <>{number(Number(value))}</>;
}

function SuiteOrigin({ row }: { row: Row }) {
  const { t } = useLocale();
  return <>{t(row.origin === "file" ? "resource.from_file" : "resource.from_api")}</>;
}

interface ResourceTableProps {
  kind: ResourceKind;
  items: Row[];
  busy: boolean;
  onEdit(row: Row): void;
  onRemove(row: Row): void;
  onRun(row: Row): void;
}

export function ResourceTable({ kind, items, busy, onEdit, onRemove, onRun }: ResourceTableProps) {
  const { t } = useLocale();
  const { key, kept = [], removable = key } = SPECS[kind];
  const roles = { run: useRole("operator"), edit: useRole("admin"), remove: useRole("admin") };
  return (
    <div class="table-scroll">
      <table class="table">
        <thead>
          <tr>
            <th scope="col">{t("form.name")}</th>
            {COLUMNS[kind].map(({ title, className }) => (
              <th scope="col" class={className} key={title}>{t(title)}</th>
            ))}
            <th scope="col" class="only-with-script">
              <span class="visually-hidden">{t("resource.actions")}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {items.map((row) => {
            const name = String(row[key]);
            const button = (
              action: "run" | "edit" | "remove",
              icon: "play" | "edit" | "trash",
              onClick: () => void,
              name = String(row[key]),
            ) => (
              <button
                type="button"
                class="button plain icon-only"
                aria-label={t(`resource.${action}_one`, { name })}
                title={t(`resource.${action}_one`, { name })}
                onClick={onClick}
                {...roles[action].control(busy)}
              >
                <Icon name={icon} />
              </button>
            );
            return (
              <tr key={name}>
                <th scope="row">
                  <span class="resource-name">{name}</span>
                  {typeof row.description === "string" && (
                    <span class="quiet second-line">{row.description}</span>
                  )}
                </th>
                {COLUMNS[kind].map(({ title, className, cell }) => (
                  <td class={className} key={title}>{cell(row)}</td>
                ))}
                <td class="row-actions only-with-script">
                  {kind === "configurations" && button("run", "play", () => onRun(row))}
                  {button("edit", "edit", () => onEdit(row))}
                  {!kept.includes(name) && row[removable] !== null &&
                    button("remove", "trash", () => onRemove(row), String(row[removable]))}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
