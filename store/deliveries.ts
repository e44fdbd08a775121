import type { Sql } from "./database.ts";
import type { DatasetEventView } from "./datasets.ts";
import type { Queryable } from "./pg.ts";
import { storableText } from "./storable.ts";

/** A delivery in hand, with its event. */
export interface Delivery {
  delivery_id: string;
  params: Record<string, unknown>;
  event: DatasetEventView | null;
}

/**
 * The next deliveries that wait for a consumer, oldest first, with their attempt counted. What was asked for by
 * hand comes alone: it has its own parameters. Refused to who does not hold the consumer's lease.
 */
export async function claimDeliveries(
  sql: Sql,
  consumer: string,
  { holder, limit, maxAttempts }: { holder: string; limit: number; maxAttempts: number },
): Promise<Delivery[]> {
  return await sql<Delivery[]>`
    select * from etl.claim_deliveries(${consumer}, ${holder}, ${limit}, ${maxAttempts})`;
}

/** Marks a transaction as a consumer's: the database commits it only with its deliveries ticked off. */
export async function beginConsumerTransaction(db: Queryable): Promise<void> {
  await db.query("select etl.begin_consumer_transaction()");
}

/** Whether the transaction is the one that was marked. */
export async function hasConsumerTransaction(db: Queryable): Promise<boolean> {
  const { rows } = await db.query(
    "select from etl.consumer_transactions where xact = pg_current_xact_id_if_assigned()",
  );
  return rows.length > 0;
}

/** Ticks deliveries off, in the consumer's transaction; refused to who has lost the consumer's lease. */
export async function finishDeliveries(
  db: Queryable,
  consumer: string,
  { holder, ids, json }: { holder: string; ids: string[]; json: string | null },
): Promise<void> {
  await db.query("select etl.finish_deliveries($1, $2, $3, $4)", [consumer, holder, ids, json]);
}

/** Puts deliveries back whose execution was interrupted: the attempt does not count. */
export async function releaseDeliveries(sql: Sql, ids: string[], pauseMs: number): Promise<void> {
  await sql`select etl.release_deliveries(${ids}::bigint[], ${pauseMs} * interval '1 millisecond')`;
}

/** Notes that a consumer threw; after `maxAttempts` its deliveries are given up and an alert is raised. */
export async function failDeliveries(
  sql: Sql,
  consumer: string,
  failure: { ids: string[]; error: string; maxAttempts: number },
): Promise<void> {
  await sql`select etl.fail_deliveries(${consumer}, ${failure.ids}::bigint[], ${
    storableText(failure.error)
  },
    ${failure.maxAttempts})`;
}

/** Writes a dataset event; its consumers' deliveries are written with it. */
export async function emitDatasetEvent(
  db: Queryable,
  event: { dataset: string; emittedBy: string; counts: Record<string, number> },
): Promise<void> {
  await db.query(
    "insert into etl.dataset_events (dataset, emitted_by, counts) values ($1, $2, $3)",
    [event.dataset, event.emittedBy, event.counts],
  );
}

/**
 * From when on rows of what a consumer listens to may have changed without that it has seen it: since the run of
 * its first event in hand began, or since the event that it finished last, whichever is earlier. -infinity where it has
 * finished none, and without an event. ISO 8601 or -infinity.
 */
export async function deliveryWindow(
  db: Queryable,
  consumer: string,
  eventNos: number[],
): Promise<{ since: string }> {
  const { rows: [row] } = await db.query<{ since: string }>(
    `select coalesce(least(
      (select min(coalesce(r.started_at, e.created_at)) from etl.dataset_events as e left join etl.runs as r on r.run_id = e.run_id
        where e.event_no = any ($2)),
      coalesce((select e.created_at from etl.deliveries as d join etl.dataset_events as e on e.event_no = d.event_no
        where d.consumer = $1 and d.state = 'done' order by d.event_no desc limit 1), '-infinity')), '-infinity')::text as since
      where cardinality($2::bigint[]) > 0`,
    [consumer, eventNos],
  );
  return row ?? { since: "-infinity" };
}

/** Limits the statements that follow in the transaction; 0: no limit. */
export async function limitStatements(db: Queryable, milliseconds: number): Promise<void> {
  await db.query("select set_config('statement_timeout', $1, true)", [String(milliseconds)]);
}

/** Rows of a table that a transaction has changed so far; no member where PostgreSQL does not count them. */
type Changes = { inserted: number; updated: number; deleted: number } | Record<never, never>;

/**
 * Begins to count what the transaction does to a table, "schema.table", its partitions too. The function that is
 * answered says how many rows it was, and takes role and time limit back to what they were.
 */
export async function openChanges(
  db: Queryable,
  dataset: string,
): Promise<() => Promise<Changes>> {
  const before = await countChanges(db, dataset);
  return async () => {
    await db.query(
      "select set_config('role', $1, true), set_config('statement_timeout', '0', true)",
      [before.role],
    );
    const after = await countChanges(db, dataset);
    if (!after.counted) return {};
    const difference = (name: "inserted" | "updated" | "deleted") =>
      // another table of that name
      after[name] - (after.oid === before.oid ? before[name] : 0);
    return {
      inserted: difference("inserted"),
      updated: difference("updated"),
      deleted: difference("deleted"),
    };
  };
}

async function countChanges(db: Queryable, dataset: string) {
  const [schema, table] = dataset.split(".");
  // the figures of a session reach back before the transaction, until they are flushed
  const { rows: [row] } = await db.query<{
    role: string;
    oid: string | null;
    counted: boolean;
    inserted: number;
    updated: number;
    deleted: number;
  }>(
    `with root as (select c.oid, c.relkind from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2),
      parts as (select oid from root union select relid from root, pg_catalog.pg_partition_tree(root.oid))
    select current_setting('role') as role, (select oid::text from root) as oid,
      coalesce((select relkind in ('r', 'p') from root), false) and current_setting('track_counts')::boolean as counted,
      coalesce(sum(pg_catalog.pg_stat_get_xact_tuples_inserted(oid)), 0)::float8 as inserted,
      coalesce(sum(pg_catalog.pg_stat_get_xact_tuples_updated(oid)), 0)::float8 as updated,
      coalesce(sum(pg_catalog.pg_stat_get_xact_tuples_deleted(oid)), 0)::float8 as deleted
    from parts`,
    [schema, table],
  );
  return row!;
}

/** Publishes the consumers that the program has. */
export async function registerConsumers(
  sql: Sql,
  consumers: {
    name: string;
    datasets: readonly string[];
    emits: readonly string[];
    mode: string;
    skip_unchanged: boolean;
    /** SHA-256 of the file, where the consumer is SQL. */
    sha256?: string;
  }[],
): Promise<void> {
  await sql`select etl.register_consumers(${JSON.stringify(consumers)}::text::jsonb)`;
}

/** Starts a consumer by hand and audits who did; answers the delivery's id. */
export async function requestDelivery(
  sql: Sql,
  consumer: string,
  { params, actor }: { params: Record<string, unknown>; actor: string },
): Promise<number> {
  const [row] = await sql<{ id: string }[]>`
    with asked as (
      select etl.request_delivery(${consumer}, ${JSON.stringify(params)}::text::jsonb) as id),
    audited as (
      insert into public.etl_improved_audit (event, actor, details)
      select 'consumer_requested', ${actor}::text, jsonb_build_object(
        'consumer', ${consumer}::text, 'delivery_id', asked.id) from asked)
    select id from asked`;
  return Number(row!.id);
}

/** Delivers again what a consumer has given up, all of it or one delivery; answers how many. */
export async function redeliver(
  sql: Sql,
  consumer: string,
  { deliveryId, actor }: { deliveryId: number | null; actor: string },
): Promise<number> {
  const [row] = await sql<{ back: string }[]>`
    select etl.redeliver(${consumer}, ${deliveryId}, ${actor}) as back`;
  return Number(row!.back);
}

export interface DeliveryState {
  delivery_id: number;
  consumer: string;
  state: "pending" | "done" | "failed" | "skipped";
  attempts: number;
  error: string | null;
  result: unknown;
}

/** A delivery as the API shows it; null where there is none. */
export async function deliveryState(sql: Sql, id: number): Promise<DeliveryState | null> {
  const [row] = await sql<{ delivery: DeliveryState }[]>`
    select jsonb_build_object('delivery_id', delivery_id, 'consumer', consumer, 'state', state,
      'attempts', attempts, 'error', error, 'result', result) as delivery
    from etl.deliveries where delivery_id = ${id}`;
  return row?.delivery ?? null;
}
