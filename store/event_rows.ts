import { copyIn } from "./copy.ts";
import { type Client, quoteIdent } from "./pg.ts";

/** Columns of a finished row, in the order in which they are sent. */
export const ROW_COLUMNS = [
  "event_id",
  "event_type",
  "occurred_at",
  "source",
  "version",
  "payload",
  "fingerprint",
  "event_date",
  "event_hour",
  "run_id",
] as const;

const COLUMNS = ROW_COLUMNS.map(quoteIdent).join(", ");

/** Numeric that is below every version, for rows without one. */
export const NO_VERSION = "'-infinity'::numeric";

/** What decides between two contents of one key. */
export interface Precedence {
  /** Whether a run that was requested later has loaded already. */
  late: boolean;
}

/**
 * SQL that is true where an event is newer than the row of its key: by version, then by the order of
 * requests. A late run cannot know what the later one found as it was, so only a version helps it.
 */
export function isNewer(
  { late }: Precedence,
  { event, row, orderRunId }: { event: string; row: string; orderRunId: string },
): string {
  const [new_, old] = [event, row].map((name) => `coalesce(${name}.version, ${NO_VERSION})`);
  return late
    ? `${new_} > ${old} and ${orderRunId}::uuid is not null`
    : `(${new_}, ${orderRunId}::uuid) > (${old}, ${row}.run_id)`;
}

/** Adds rows to a quoted table, as binary COPY with {@linkcode ROW_COLUMNS}. */
export async function copyRows(
  client: Client,
  table: string,
  blocks: AsyncIterable<Uint8Array>,
): Promise<void> {
  await copyIn(client, `copy ${table} (${COLUMNS}) from stdin (format binary)`, blocks);
}

/** Makes a table for rows on their way to a destination, which ends with the transaction; answers its quoted name. */
export async function createStage(client: Client, destination: string): Promise<string> {
  await client.query(
    `create temp table etl_stage on commit drop as select ${COLUMNS} from ${destination} with no data`,
  );
  return "pg_temp.etl_stage";
}

/**
 * Upserts the staged rows where they are newer than what is there. `foreign` are up to three rows of another source,
 * which are never changed. Portable: a partitioned table cannot return system columns such as xmax, and a distributed
 * one calls no function in `do update`, so a row is new where both of its times are those of this transaction.
 */
export async function upsertStaged(
  client: Client,
  destination: string,
  precedence: Precedence,
): Promise<
  { inserted: number; updated: number; foreign: { event_id: string; source: string }[] }
> {
  const assignments = [...ROW_COLUMNS.filter((column) => column !== "event_id"), "updated_at"]
    .map((column) => `${quoteIdent(column)} = excluded.${quoteIdent(column)}`).join(", ");
  const { rows } = await client.query<{ inserted: number; updated: number }>(
    `with upserted as (
      insert into ${destination} as t (${COLUMNS}, first_seen_at, updated_at)
      -- one order of keys for every run, so that two of them do not wait for each other in a circle
      select ${COLUMNS}, now(), now() from pg_temp.etl_stage order by event_id collate "C"
      on conflict (event_id) do update set ${assignments}
      where t.source = excluded.source and t.fingerprint is distinct from excluded.fingerprint
        and ${isNewer(precedence, { event: "excluded", row: "t", orderRunId: "excluded.run_id" })}
      returning first_seen_at = updated_at as is_new)
    select count(*) filter (where is_new)::integer as inserted,
      count(*) filter (where not is_new)::integer as updated
    from upserted`,
  );
  const foreign = await client.query<{ event_id: string; source: string }>(
    `select t.event_id, t.source from pg_temp.etl_stage as s
    join ${destination} as t on t.event_id = s.event_id where t.source <> s.source limit 3`,
  );
  return { ...rows[0]!, foreign: foreign.rows };
}
