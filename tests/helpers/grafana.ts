import { resolve } from "node:path";

const DIR = resolve(import.meta.dirname ?? ".", "..", "..", "deploy", "grafana", "dashboards");

export interface Target {
  datasource: { type: string; uid: string };
  refId: string;
  format?: string;
  rawSql?: string;
  expr?: string;
}

export interface Panel {
  id: number;
  type: string;
  title: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: Target[];
}

export interface Dashboard {
  uid: string;
  title: string;
  panels: Panel[];
  templating: {
    list: { name: string; type: string; query: unknown; datasource?: { type: string } }[];
  };
}

/** The dashboards of deploy/grafana, by file name. */
export function dashboards(): Map<string, Dashboard> {
  return new Map(
    [...Deno.readDirSync(DIR)].map((
      { name },
    ) => [name, JSON.parse(Deno.readTextFileSync(`${DIR}/${name}`))]),
  );
}

export interface SqlContext {
  from: Date;
  to: Date;
  /** Seconds of $__interval. */
  intervalSeconds: number;
  /** Values of the variables. */
  variables: Record<string, string[]>;
}

/** Replaces macros and variables in a panel's SQL as Grafana's PostgreSQL data source does. */
export function expandSql(
  sql: string,
  { from, to, intervalSeconds, variables }: SqlContext,
): string {
  const quoted = (text: string) => `'${text.replaceAll("'", "''")}'`;
  return sql
    .replace(/\$\{(\w+):sqlstring\}/g, (_all, name) => {
      const values = variables[name];
      if (values === undefined) throw new Error(`there is no variable ${name}`);
      return values.map(quoted).join(",");
    })
    .replaceAll("$__interval", `${intervalSeconds}s`)
    .replace(
      /\$__timeFilter\(([^)]+)\)/g,
      (_all, column) => `${column} BETWEEN '${from.toISOString()}' AND '${to.toISOString()}'`,
    )
    .replace(
      /\$__timeGroup(Alias)?\(([^,()]+),\s*'?(\d+)s'?\)/g,
      (_all, alias, column, seconds) => {
        const group = `floor(extract(epoch from ${column})/${seconds})*${seconds}`;
        return alias === undefined ? group : `${group} AS "time"`;
      },
    );
}

/** Replaces variables in a panel's PromQL as Grafana does where all values are chosen. */
export function expandPromql(expression: string): string {
  return expression.replaceAll("$__rate_interval", "10s").replaceAll('=~"$job"', '=~".+"');
}
