import type { Sql } from "./database.ts";
import type { DatasetEventView } from "./datasets.ts";
import type { Queryable } from "./pg.ts";

/** A delivery in hand, with its event. */
export interface Delivery {
  delivery_id: string;
  params: Record<string, unknown>;
  attempts: number;
  event: DatasetEventView | null;
}

/** Tries to be the only one that runs a consumer until the transaction ends. */
export async function lockConsumer(db: Queryable, consumer: string): Promise<boolean> {
  const { rows } = await db.query<{ locked: boolean }>(
    "select pg_try_advisory_xact_lock(hashtextextended('etl consumer ' || $1, 0)) as locked",
    [consumer],
  );
  return rows[0]!.locked;
}

/**
 * The oldest deliveries that wait for a consumer, locked. What was asked for by
 * hand comes alone: it has its own parameters.
 */
export async function claimDeliveries(
  db: Queryable,
  consumer: string,
  limit: number,
): Promise<Delivery[]> {
  const { rows } = await db.query<Delivery>(
    `select d.delivery_id, d.params, d.attempts, case when e.event_no is not null then jsonb_build_object(
       'event_no', e.event_no, 'dataset', e.dataset, 'run_id', e.run_id, 'emitted_by', e.emitted_by,
       'counts', e.counts, 'created_at', etl.iso(e.created_at)) end as event
     from etl.deliveries as d left join etl.dataset_events as e on e.event_no = d.event_no
     where d.consumer = $1 and d.state = 'pending' and d.next_attempt_at <= clock_timestamp()
     order by d.delivery_id limit $2 for update of d`,
    [consumer, limit],
  );
  const [first] = rows;
  if (first === undefined) return [];
  if (first.event === null) return [first];
  const byHand = rows.findIndex((row) => row.event === null);
  return byHand < 0 ? rows : rows.slice(0, byHand);
}

/** Ticks deliveries off, in the consumer's transaction. */
export async function finishDeliveries(
  db: Queryable,
  consumer: string,
  { ids, result }: { ids: string[]; result: unknown },
): Promise<void> {
  await db.query(
    `update etl.deliveries set state = 'done', attempts = attempts + 1, error = null, result = $2,
       ended_at = clock_timestamp()
     where delivery_id = any ($1)`,
    [ids, result === undefined ? null : JSON.stringify(result)],
  );
  await db.query(
    "select etl.resolve_alert('consumer_failed', $1, format('Consumer %s works again.', $1::text))",
    [consumer],
  );
}

/** Notes that a consumer threw; after `maxAttempts` its deliveries are given up and an alert is raised. */
export async function failDeliveries(
  sql: Sql,
  consumer: string,
  failure: { ids: string[]; error: string; maxAttempts: number },
): Promise<void> {
  await sql`select etl.fail_deliveries(${consumer}, ${failure.ids}::bigint[], ${failure.error},
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
