import { type Sql, textAsSql } from "./database.ts";
import { LABELS_WALKED } from "./pipelines.ts";

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
  requested_at: string;
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
  /** Whether there are more labels than were looked at. */
  labels_cut: boolean;
  rejected: FoundRecords;
}

/** Rejected records of the newest runs that have a text. */
export interface FoundRecords {
  records: FoundRecord[];
  /** Records that were looked through. */
  looked: number;
  /** When the run was requested that the last of those belongs to; null where there is none. */
  back_to: string | null;
  /** Whether older ones were not looked at: time was over, or enough had been found. */
  cut: boolean;
}

/** Of each kind. */
export const SHOWN = 10;
/** So long rejected records are looked through, those of the newest run first. */
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
  const [runs, [found], datasets, schedules, configurations, suites, rejected] = await Promise.all([
    isId ? runsById(sql, hex) : [],
    sql<[Pick<Found, "labels" | "labels_cut">]>`
      with recursive jumps as (
        (select run_label, 1 as n from etl.runs order by run_label limit 1)
        union all
        select (select r.run_label from etl.runs as r where r.run_label > j.run_label order by r.run_label limit 1), j.n + 1
        from jumps as j where j.run_label is not null and j.n <= ${LABELS_WALKED}),
      found as (
        select run_label from jumps where strpos(lower(run_label), lower(${text}::text)) > 0 limit ${SHOWN})
      select coalesce((
          select jsonb_agg(jsonb_build_object('label', f.run_label, 'state', r.state, 'run_id', r.run_id) order by f.run_label)
          from found as f cross join lateral (
            select n.state, n.run_id from etl.runs as n where n.run_label = f.run_label
            order by n.requested_at desc limit 1) as r), '[]') as labels,
        -- enough were found sooner, or the walk ended
        (select count(*) from found) < ${SHOWN} and exists (select from jumps where n > ${LABELS_WALKED}) as labels_cut`,
    named("datasets", "dataset"),
    named("schedules", "name"),
    named("configurations", "name"),
    named("suites", "name"),
    rejectedRecords(sql, text),
  ]);
  return { runs, ...found, datasets, schedules, configurations, suites, rejected };
}

async function runsById(sql: Sql, hex: string): Promise<FoundRun[]> {
  return await sql<FoundRun[]>`
    select run_id, run_label, state, etl.iso(requested_at) as requested_at from etl.runs
    where run_id between ${hex.padEnd(32, "0")}::text::uuid and ${hex.padEnd(32, "f")}::text::uuid
    order by run_id desc limit ${SHOWN}`;
}

/** Of the newest runs first, for 2 s; where records are so large that it takes 4 s, none. */
async function rejectedRecords(sql: Sql, text: string): Promise<FoundRecords> {
  const literal = textAsSql(text);
  try {
    // two statements of one message are one transaction, in which the limit holds
    const [, rows] = await sql.unsafe(`
      select set_config('statement_timeout', '${2 * RECORDS_MS}', true);
      select etl.search_rejected(${literal}::text, ${SHOWN}, ${RECORDS_MS}) as found`) as unknown as [
      unknown,
      { found: FoundRecords }[],
    ];
    return rows[0]!.found;
  } catch (error) {
    if ((error as { code?: string }).code !== "57014") throw error;
    return { records: [], looked: 0, back_to: null, cut: true };
  }
}
