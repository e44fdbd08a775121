import { useLocale } from "../../islands/lib/context.tsx";
import { RunReport } from "../../islands/report.tsx";
import { Said, Time } from "../../islands/ui/elements.tsx";
import {
  type ConsumerView,
  type DatasetView,
  listConsumers,
  listDatasets,
} from "../../store/datasets.ts";
import type { DatasetReader } from "../../store/dataset_page.ts";
import { latestReport, type ReportView } from "../../store/reports.ts";
import { Island, type Page } from "./page.tsx";
import type { ComponentChildren } from "preact";

/** The newest report, and the datasets and consumers that bring reports about. */
export const reportsPage: Page = {
  path: "/reports",
  role: "viewer",
  nav: "reports",
  menu: { group: "quality" },
  async load(_c, deps) {
    const [report, datasets, consumers] = await Promise.all([
      latestReport(deps.sql),
      listDatasets(deps.sql),
      listConsumers(deps.sql),
    ]);
    return {
      main: <Reports report={report} datasets={datasets} consumers={consumers} />,
    };
  },
};

interface ReportsProps {
  report: ReportView | null;
  datasets: DatasetView[];
  consumers: ConsumerView[];
}

function Reports({ report, datasets, consumers }: ReportsProps) {
  const { t } = useLocale();
  return (
    <>
      <div class="page-head">
        <h1>{t("nav.reports")}</h1>
        <div class="page-actions">
          <Island name="report" component={RunReport} props={{}} />
        </div>
      </div>
      <p class="lead">{t("reports.about")}</p>
      <section class="card" aria-labelledby="report-title">
        <div class="card-head">
          <h2 id="report-title">{t("reports.latest")}</h2>
          {report !== null && (
            <span class="quiet">
              {report.consumer} · <Time at={report.created_at} />
            </span>
          )}
        </div>
        {report === null
          ? <p class="empty">{t("reports.none")}</p>
          : <ReportBody report={report.report} />}
      </section>
      <div class="columns halves">
        <Datasets datasets={datasets} />
        <Consumers consumers={consumers} />
      </div>
    </>
  );
}

function Datasets({ datasets }: Pick<ReportsProps, "datasets">) {
  const { t } = useLocale();
  return (
    <section class="card" aria-labelledby="datasets-title">
      <div class="card-head">
        <h2 id="datasets-title">{t("reports.datasets")}</h2>
      </div>
      {datasets.length === 0 ? <p class="empty">{t("reports.no_datasets")}</p> : (
        <ul class="rows">
          {datasets.map(({ dataset, events, last_event, consumers }) => (
            <li key={dataset}>
              <p class="alert-kind">
                <a href={`/etl/datasets/${encodeURIComponent(dataset)}`}>
                  <code>{dataset}</code>
                </a>
                {last_event !== null && (
                  <span class="quiet">
                    <Time at={last_event.created_at} />
                  </span>
                )}
              </p>
              <p class="quiet">
                {t("reports.events", { n: events })} ·{" "}
                {consumers.length === 0 ? t("reports.no_consumers") : consumers.join(", ")}
              </p>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

/** Consumers, when each was last done, and what waits for it: all of them, or the readers of a dataset. */
export function Consumers({ consumers, of = "reports" }: {
  consumers: DatasetReader[];
  of?: "reports" | "dataset";
}) {
  const { t } = useLocale();
  return (
    <section class="card" aria-labelledby="consumers-title">
      <div class="card-head">
        <h2 id="consumers-title">
          {t(of === "dataset" ? "dataset.readers" : "reports.consumers")}
        </h2>
      </div>
      {consumers.length === 0
        ? (
          <p class="empty">
            {t(of === "dataset" ? "dataset.no_readers" : "reports.no_consumers")}
          </p>
        )
        : (
          <ul class="rows">
            {consumers.map((each) => (
              <li key={each.consumer}>
                <p class="alert-kind">
                  <span>
                    <code>{each.consumer}</code>
                    {!each.active && <span class="tag">{t("dataset.inactive")}</span>}
                  </span>
                  {each.last_done_at !== null && (
                    <span class="quiet">
                      <Time at={each.last_done_at} style="relative" />
                    </span>
                  )}
                </p>
                <p class={each.failed > 0 ? "is-bad" : "quiet"}>
                  {t("reports.deliveries", { pending: each.pending, failed: each.failed })}
                </p>
                {each.last_error !== null && (
                  <p class="is-bad">
                    <Said text={each.last_error} />
                  </p>
                )}
              </li>
            ))}
          </ul>
        )}
    </section>
  );
}

type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isTable = (value: unknown): value is Json[] =>
  Array.isArray(value) && value.length > 0 && value.every(isObject);

const isTime = (text: string) =>
  /^\d{4}-\d{2}-\d{2}T\d{2}:/.test(text) && !Number.isNaN(Date.parse(text));

/** Whatever a consumer reports: facts first, then objects, lists of objects as tables. */
function ReportBody({ report }: { report: Json }) {
  const entries = Object.entries(report).sort(([a], [b]) => (a < b ? -1 : 1));
  const facts = entries.filter(([, value]) => !isObject(value) && !isTable(value));
  return (
    <>
      <Facts entries={facts} />
      <div class="report-parts">
        {entries.map(([name, value]) =>
          isObject(value)
            ? <Part key={name} name={name}>{<Facts entries={Object.entries(value)} />}</Part>
            : isTable(value)
            ? <Part key={name} name={name}>{<Table rows={value} />}</Part>
            : null
        )}
      </div>
    </>
  );
}

function Part({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="report-part">
      <h3>
        <Words name={name} />
      </h3>
      {children}
    </div>
  );
}

function Facts({ entries }: { entries: [string, unknown][] }) {
  if (entries.length === 0) return null;
  return (
    <dl class="facts">
      {entries.map(([name, value]) => (
        <div key={name}>
          <dt>
            <Words name={name} />
          </dt>
          <dd>
            <Value name={name} value={value} />
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Table({ rows }: { rows: Json[] }) {
  // a member that the first row lacks is a column as well
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const isNumber = (column: string) => rows.some((row) => typeof row[column] === "number");
  const columns = names.sort((a, b) => Number(isNumber(a)) - Number(isNumber(b)));
  const words = useWords();
  const className = (column: string) => isNumber(column) ? "num" : "";
  return (
    <div class="table-scroll flat">
      <table class="table card-table two">
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column} scope="col" class={className(column)}>
                <Words name={column} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={index}>
              {columns.map((column) => (
                <td key={column} class={className(column)} data-title={words(column)}>
                  <Value name={column} value={row[column]} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Value({ name, value }: { name: string; value: unknown }) {
  const { number, maybe } = useLocale();
  if (value === null || value === undefined) return <>–</>;
  if (name === "status" && typeof value === "string") {
    return <>{maybe(`state.${value}`) ?? value}</>;
  }
  if (name === "run_id" && typeof value === "string") {
    return <a href={`/etl/runs/${value}`}>{value.slice(0, 8)}</a>;
  }
  if (typeof value === "number") return <>{number(value)}</>;
  if (typeof value === "string" && isTime(value)) {
    return <Time at={value} style="long" />;
  }
  return <>{typeof value === "string" ? value : JSON.stringify(value)}</>;
}

/** What a member of a report is called: in the viewer's language where it is known, else its name in words. */
function useWords(): (name: string) => string {
  const { maybe } = useLocale();
  return (name) => {
    const words = name.replaceAll("_", " ").trim();
    return maybe(`report.${name}`) ?? words.charAt(0).toUpperCase() + words.slice(1);
  };
}

const Words = ({ name }: { name: string }) => <>{useWords()(name)}</>;
