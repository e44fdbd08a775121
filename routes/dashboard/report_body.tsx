import type { ComponentChildren } from "preact";
import { useLocale } from "../../islands/lib/context.tsx";
import { Time } from "../../islands/ui/elements.tsx";

type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isTable = (value: unknown): value is Json[] =>
  Array.isArray(value) && value.length > 0 && value.every(isObject);

/** Whatever a consumer reports: facts first, then objects, lists of objects as tables. */
export function ReportBody({ report }: { report: Json }) {
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
      <h3>{words(name)}</h3>
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
          <dt>{words(name)}</dt>
          <dd>
            <Value name={name} value={value} />
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Table({ rows }: { rows: Json[] }) {
  const columns = Object.keys(rows[0]!).sort((a, b) =>
    Number(typeof rows[0]![a] === "number") - Number(typeof rows[0]![b] === "number")
  );
  const className = (column: string) => typeof rows[0]![column] === "number" ? "num" : "";
  return (
    <div class="table-scroll flat">
      <table class="table">
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column} scope="col" class={className(column)}>{words(column)}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={index}>
              {columns.map((column) => (
                <td key={column} class={className(column)}>
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
  const { number } = useLocale();
  if (value === null || value === undefined) return <>–</>;
  if (name === "run_id" && typeof value === "string") {
    return <a href={`/etl/runs/${value}`}>{value.slice(0, 8)}</a>;
  }
  if (typeof value === "number") return <>{number(value)}</>;
  if (typeof value === "string" && /^\d{4}-\d{2}-\d{2}T\d{2}:/.test(value)) {
    return <Time at={value} style="long" />;
  }
  return <>{typeof value === "string" ? value : JSON.stringify(value)}</>;
}

const words = (name: string): string => name.replaceAll("_", " ");
