import type { Sql } from "./database.ts";

/** A run that was found by the beginning of its id. */
export interface FoundRun {
  run_id: string;
  run_label: string;
  state: string;
  requested_at: string;
}

/** A rejected record that has the text. */
export interface FoundRecord {
  run_id: string;
  run_label: string;
  rule: string;
  message: string;
  file: string | null;
  line: number | null;
  /** As it was read, 200 characters around the text at most. */
  raw: string;
}

export interface Found {
  runs: FoundRun[];
  labels: { label: string; state: string; run_id: string }[];
  datasets: string[];
  schedules: string[];
  configurations: string[];
  suites: string[];
  records: FoundRecord[];
  /** Whether the rejected records took too long to look through: there are none of them here. */
  slow: boolean;
}

/** Of each kind. */
export const SHOWN = 10;
const MAX_LABELS = 5000;
/** Rejected records that are looked through, of the newest runs. */
export const RECORDS = 20_000;
const RECORDS_MS = 2000;

/** Everything that has a text in its name, in any case: runs by the beginning of their id, rejected records by what was read. */
export async function searchAll(sql: Sql, text: string): Promise<Found> {
  const hex = text.toLowerCase().replaceAll("-", "");
  const isId = /^[0-9a-f]{4,32}$/.test(hex);
  const named = async (table: string, column: string) =>
    (await sql<{ name: string }[]>`
      select ${sql(column)} as name from ${sql(`etl.${table}`)}
      where strpos(lower(${sql(column)}), lower(${text}::text)) > 0 order by 1 limit ${SHOWN}`)
      .map(({ name }) => name);
  const [runs, labels, datasets, schedules, configurations, suites, records] = await Promise.all([
    isId ? runsById(sql, hex) : [],
    sql<Found["labels"]>`
      with recursive jumps as (
        (select run_label, 1 as n from etl.runs order by run_label limit 1)
        union all
        select (select r.run_label from etl.runs as r where r.run_label > j.run_label order by r.run_label limit 1), j.n + 1
        from jumps as j where j.run_label is not null and j.n < ${MAX_LABELS}),
      found as (
        select run_label from jumps where strpos(lower(run_label), lower(${text}::text)) > 0 order by 1 limit ${SHOWN})
      select f.run_label as label, r.state, r.run_id from found as f cross join lateral (
        select n.state, n.run_id from etl.runs as n where n.run_label = f.run_label
        order by n.requested_at desc limit 1) as r`,
    named("datasets", "dataset"),
    named("schedules", "name"),
    named("configurations", "name"),
    named("suites", "name"),
    rejectedRecords(sql, text),
  ]);
  return {
    ...{ runs, labels, datasets, schedules, configurations, suites },
    records: records ?? [],
    slow: records === null,
  };
}

async function runsById(sql: Sql, hex: string): Promise<FoundRun[]> {
  return await sql<FoundRun[]>`
    select run_id, run_label, state, etl.iso(requested_at) as requested_at from etl.runs
    where run_id between ${hex.padEnd(32, "0")}::text::uuid and ${hex.padEnd(32, "f")}::text::uuid
    order by run_id desc limit ${SHOWN}`;
}

/** The newest first; null where it takes longer than 2 s. */
async function rejectedRecords(sql: Sql, text: string): Promise<FoundRecord[] | null> {
  const literal = `'${text.replaceAll("'", "''")}'`;
  try {
    // two statements of one message are one transaction, in which the limit holds
    const [, rows] = await sql.unsafe(`
      select set_config('statement_timeout', '${RECORDS_MS}', true);
      select q.run_id, r.run_label, q.rule, q.message, q.file, q.line::float8 as line,
        substr(q.raw, greatest(1, strpos(lower(q.raw), lower(${literal})) - 60), 200) as raw
      from (select * from etl.quarantine order by run_id desc, chunk_no, position, output limit ${RECORDS}) as q
      join etl.runs as r on r.run_id = q.run_id
      where strpos(lower(q.raw), lower(${literal})) > 0
      limit ${SHOWN}`) as unknown as [unknown, FoundRecord[]];
    return [...rows];
  } catch (error) {
    if ((error as { code?: string }).code === "57014") return null;
    throw error;
  }
}
