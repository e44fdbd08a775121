import { type Client, quoteTable } from "../pg.ts";
import type { Manifest } from "./format.ts";

/** Rows are counted so far: what is larger need not be known exactly. */
const COUNT_LIMIT = 100_000;

/** A database that a backup is about to be restored into. */
export interface RestoreTarget {
  database: string;
  isSetUp: boolean;
  /** Ids of runs that are queued or running, five at most. */
  activeRuns: string[];
  /** What will be replaced: tables of the backup that have rows now. `rows` is exact up to 100,000, and more beyond. */
  replaced: { name: string; rows: number; more: boolean }[];
}

export async function readTarget(client: Client, manifest: Manifest): Promise<RestoreTarget> {
  const { rows } = await client.query<{ database: string; ready: boolean }>(
    "select current_database() as database, to_regclass('etl.runs') is not null as ready",
  );
  const { database, ready } = rows[0]!;
  const target: RestoreTarget = { database, isSetUp: ready, activeRuns: [], replaced: [] };
  if (!ready) return target;
  const active = await client.query<{ run_id: string }>(
    "select run_id from etl.runs where state in ('queued', 'running') order by requested_at limit 5",
  );
  target.activeRuns = active.rows.map(({ run_id }) => run_id);
  const there = await client.query<{ place: number; rows: string }>(
    `select t.place::integer, case c.relkind when 'p' then t.name else 'only ' || t.name end as rows
    from unnest($1::text[]) with ordinality as t (name, place)
    join pg_class as c on c.oid = to_regclass(t.name) order by t.place`,
    [manifest.tables.map(({ schema_name, table_name }) => quoteTable(schema_name, table_name))],
  );
  for (const { place, rows } of there.rows) {
    const { schema_name, table_name } = manifest.tables[place - 1]!;
    const counted = await client.query<{ n: number }>(
      `select count(*)::integer as n
      from (select from ${rows} limit ${COUNT_LIMIT + 1}) as t`,
    );
    const n = counted.rows[0]!.n;
    if (n === 0) continue;
    target.replaced.push({
      name: `${schema_name}.${table_name}`,
      rows: Math.min(n, COUNT_LIMIT),
      more: n > COUNT_LIMIT,
    });
  }
  return target;
}
