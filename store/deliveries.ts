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

/** Publishes the consumers that the program has. */
export async function registerConsumers(
  sql: Sql,
  consumers: {
    name: string;
    datasets: readonly string[];
    emits: readonly string[];
    mode: string;
    skip_unchanged: boolean;
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
