import { say } from "../vocabulary/messages.ts";
import { copyIn } from "./copy.ts";
import type { Client } from "./pg.ts";
import type { RowLayout } from "./row_layout.ts";

/** Numeric that is below every version, for rows without one. */
const NO_VERSION = "'-infinity'::numeric";

/** What decides between two contents of one key. */
export interface Precedence {
  /** Whether a run that was requested later has loaded already. */
  late: boolean;
  /** That later one has replaced or mirrored, so that what is missing is missing. */
  superseded?: boolean;
  /** Whether rows that are there stay as they are, whatever comes. */
  appends: boolean;
  /** Whether this run's rows are the table's, whatever their versions. */
  replaces?: boolean;
}

/** A table's rows and what decides between them. */
export interface Rules extends Precedence {
  layout: RowLayout;
}

/**
 * SQL that is true where an event is newer than the row of its key: by version, then by the order of
 * requests. A late run cannot know what the later one found as it was, so only a version helps it.
 */
export function isNewer(
  { late, appends, replaces = false, layout }: Rules,
  { eventVersion, row, orderRunId }: {
    eventVersion: string | null;
    row: string;
    orderRunId: string;
  },
): string {
  const [new_, old] = [eventVersion, versionOf(layout, row)].map(orNone);
  if (appends) return `false and ${orderRunId}::uuid is not null`;
  if (replaces) return `${orderRunId}::uuid > ${row}.${layout.runId}`;
  return late
    ? `${new_} > ${old} and ${orderRunId}::uuid is not null`
    : `(${new_}, ${orderRunId}::uuid) > (${old}, ${row}.${layout.runId})`;
}

/** SQL that is true where a row has this fingerprint, and is not marked as gone. */
export function isSame(
  { fingerprint, deletedAt }: RowLayout,
  { row, entry }: { row: string; entry: string },
): string {
  const same = `${row}.${fingerprint} is not distinct from ${entry}`;
  return deletedAt === null ? same : `${same} and ${row}.${deletedAt} is null`;
}

/** SQL for the version of a row; null where rows of the layout have none. */
export function versionOf({ version }: RowLayout, row: string): string | null {
  return version === null ? null : `${row}.${version}`;
}

/** SQL for a version that may be missing, as it is compared. */
export function orNone(version: string | null): string {
  return version === null ? NO_VERSION : `coalesce(${version}, ${NO_VERSION})`;
}

/** Adds rows to a quoted table, as binary COPY with the columns of the layout; answers how many the table has taken. */
export async function copyRows(
  client: Client,
  { table, layout }: { table: string; layout: RowLayout },
  blocks: Iterable<Uint8Array>,
): Promise<number> {
  const columns = layout.columns.join(", ");
  return await copyIn(client, `copy ${table} (${columns}) from stdin (format binary)`, blocks);
}

/** Makes a table for rows on their way to a destination, which ends with the transaction; answers its quoted name. */
export async function createStage(
  client: Client,
  destination: string,
  { columns, stage }: RowLayout,
): Promise<string> {
  await client.query(
    stage === null
      ? `create temp table etl_stage on commit drop as select ${
        columns.join(", ")
      } from ${destination} with no data`
      : `create temp table etl_stage (${stage}) on commit drop`,
  );
  return "pg_temp.etl_stage";
}

/** Drops what {@linkcode createStage} has made, before the transaction makes another. */
export async function dropStage(client: Client): Promise<void> {
  await client.query("drop table if exists pg_temp.etl_stage");
}

/**
 * Upserts the staged rows where they are newer than what is there. `foreign` are up to three rows of another source,
 * which are never changed. Portable: a partitioned table cannot return system columns such as xmax, and a distributed
 * one calls no function in `do update`, so a row is new where both of its times are those of this transaction.
 */
export async function upsertStaged(
  client: Client,
  destination: string,
  rules: Rules,
  /** How many rows there are. */
  staged: number,
): Promise<
  { inserted: number; updated: number; foreign: { event_id: string; source: string }[] }
> {
  const { rows } = await client.query<{ inserted: number; updated: number }>(
    `with upserted as (${upsertText(destination, rules)})
    select count(*) filter (where is_new)::integer as inserted,
      count(*) filter (where not is_new)::integer as updated
    from upserted`,
  );
  const { inserted, updated } = rows[0]!;
  // only a row that was left alone can be another's
  const foreign = inserted + updated === staged
    ? []
    : await foreignStaged(client, destination, rules);
  return { inserted, updated, foreign };
}

/** The upsert of the staged rows, or of those for which `chosen` is true of row `s`; returns `is_new`. */
export function upsertText(destination: string, rules: Rules, chosen?: string): string {
  const { layout } = rules;
  const { key, fingerprint, firstSeenAt, updatedAt, deletedAt } = layout;
  const columns = layout.columns.join(", ");
  const assignments = [...layout.columns.filter((column) => !key.includes(column)), updatedAt]
    .map((column) => `${column} = excluded.${column}`)
    // what comes back is marked no more
    .concat(deletedAt === null ? [] : [`${deletedAt} = null`]).join(", ");
  const same = isSame(layout, { row: "t", entry: `excluded.${fingerprint}` });
  const foreignRow = layout.isForeign("t", "excluded.source");
  const newer = isNewer(rules, {
    eventVersion: versionOf(layout, "excluded"),
    row: "t",
    orderRunId: `excluded.${layout.runId}`,
  });
  return `insert into ${destination} as t (${columns}, ${firstSeenAt}, ${updatedAt})
      -- one order of keys for every run, so that two of them do not wait for each other in a circle
      select ${layout.values("s").join(", ")}, now(), now() from pg_temp.etl_stage as s
      ${chosen === undefined ? "" : `where ${chosen}`} order by ${layout.order}
      on conflict (${key.join(", ")}) do update set ${assignments}
      where not ${foreignRow} and not (${same}) and ${newer}
      returning ${firstSeenAt} = ${updatedAt} as is_new`;
}

/** What is said of a row that was written and is not there. */
export const LEFT_OUT = say("left-out-by-trigger", {});

/** SQL for a staged row `s` that is not in the destination. */
export function isLeftOut(destination: string, { key, keyValues }: RowLayout): string {
  const values = keyValues("s");
  return `not exists (select from ${destination} as t where ${
    key.map((column, i) => `t.${column} = ${values[i]}`).join(" and ")
  })`;
}

/** How many staged rows are not in the destination though they were written: without a word, a trigger has seen to it. */
export async function countLeftOut(
  client: Client,
  destination: string,
  layout: RowLayout,
): Promise<number> {
  const { rows: [row] } = await client.query<{ count: number }>(
    `select count(*)::integer as count from pg_temp.etl_stage as s where ${
      isLeftOut(destination, layout)
    }`,
  );
  return row!.count;
}

/** Up to three rows of others that have keys of staged ones. */
export async function foreignStaged(
  client: Client,
  destination: string,
  { layout }: Rules,
): Promise<{ event_id: string; source: string }[]> {
  const values = layout.keyValues("s");
  // a planner that expects to find some soon would read the whole destination in vain
  await client.query("set local enable_hashjoin = off; set local enable_mergejoin = off");
  const { rows } = await client.query<{ event_id: string; source: string }>(
    `select ${layout.keyText("t")} as event_id, ${
      layout.owner("t")
    } as source from pg_temp.etl_stage as s
    join ${destination} as t on ${
      layout.key.map((column, i) => `t.${column} = ${values[i]}`).join(" and ")
    }
    where ${layout.isForeign("t", "s.source")} limit 3`,
  );
  return rows;
}
