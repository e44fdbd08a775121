import { errorCode } from "./errors.ts";
import { datasetOf, destinationOf, type KeyedRun, tombstoneLayout } from "./event_keys.ts";
import { isNewer, LEFT_OUT, versionOf } from "./event_rows.ts";
import type { Client } from "./pg.ts";
import { type RefusedRow, refusesRow } from "./refused_rows.ts";
import { layoutOf } from "./row_layout.ts";

/** Keys that one statement deletes. */
const BATCH = 10_000;
/** Times that refused deletions are tried again, as rows of the same table may refer to each other. */
const PASSES = 10;

/** A key that is to be deleted, and the position of its record in the chunk. */
export interface Deletion {
  event_id: string;
  version: string | null;
  position: number;
}

/** A deletion that a constraint or a trigger has refused. */
export interface RefusedDeletion extends Deletion {
  why: Omit<RefusedRow, "index">;
}

/**
 * Deletes the rows of the keys that a table of keys holds, where those are newer, and notes each key as deleted, so that an
 * older version that comes late brings no row back. Answers how many rows went.
 */
export async function bury(client: Client, keys: string, run: KeyedRun): Promise<number> {
  let deleted = 0;
  for await (const batch of keysOf(client, keys)) deleted += await buryBatch(client, run, batch);
  return deleted;
}

/**
 * As {@linkcode bury}, but for the deletions that a constraint or a trigger refuses: those change nothing, and are in the
 * answer. Half as many go in a statement when it fails.
 */
export async function siftDeletions(
  client: Client,
  deletions: AsyncIterable<Deletion[]> | RefusedDeletion[][],
  run: KeyedRun,
): Promise<{ deleted: number; refused: RefusedDeletion[] }> {
  // what waits for the commit would fail it
  await client.query("set constraints all immediate");
  let deleted = 0;
  let refused: RefusedDeletion[] = [];
  const sift = async (batch: Deletion[]): Promise<void> => {
    try {
      await client.query("savepoint etl_deletions");
      deleted += await buryBatch(client, run, batch);
      await client.query("release savepoint etl_deletions");
      return;
    } catch (error) {
      const code = errorCode(error);
      if (!refusesRow(code)) throw error;
      await client.query("rollback to savepoint etl_deletions; release savepoint etl_deletions");
      const [deletion] = batch;
      if (batch.length === 1) {
        const { constraint, message } = error as { constraint?: string; message: string };
        const row = JSON.stringify(deletion!.event_id);
        const why = { code: code!, constraint: constraint ?? null, column: null, message, row };
        refused.push({ ...deletion!, why });
        return;
      }
    }
    const half = batch.length >> 1;
    await sift(batch.slice(0, half));
    await sift(batch.slice(half));
  };
  for await (const batch of deletions) await sift(batch);
  for (let pass = 1, before = Infinity; pass < PASSES && refused.length < before; pass++) {
    if (refused.length === 0) break;
    before = refused.length;
    const again = refused;
    refused = [];
    for (let i = 0; i < again.length; i += BATCH) await sift(again.slice(i, i + BATCH));
  }
  return { deleted, refused };
}

/** Of a table of keys, some at a time. */
export async function* keysOf(client: Client, keys: string): AsyncGenerator<Deletion[]> {
  await client.query(
    `declare etl_buried no scroll cursor for
    select event_id, version::text as version, position from ${keys} order by event_id collate "C"`,
  );
  for (;;) {
    const { rows } = await client.query<Deletion>(`fetch ${BATCH} from etl_buried`);
    if (rows.length === 0) break;
    yield rows;
  }
  await client.query("close etl_buried");
}

async function buryBatch(client: Client, run: KeyedRun, batch: Deletion[]): Promise<number> {
  const layout = layoutOf(run);
  const newerThan = (tombstone: boolean, { event, row }: { event: string; row: string }) =>
    isNewer({ ...run, appends: false, layout: tombstone ? tombstoneLayout(layout) : layout }, {
      eventVersion: versionOf(layout, event) && `${event}.version`,
      row,
      orderRunId: "$4",
    });
  const values = [
    batch.map(({ event_id }) => event_id),
    batch.map(({ version }) => version),
    run.sourceName,
    run.orderRunId,
  ];
  const entries = "unnest($1::text[], $2::numeric[]) as m (event_id, version)";
  const older = `${layout.hasKey("t", "m")} and not (${
    layout.isForeign("t", "$3")
  }) and $3::text is not null and ${newerThan(false, { event: "m", row: "t" })}`;
  // by keys and not by a join with a table of ours: the destination may be distributed
  const { rowCount } = await client.query(
    `delete from ${destinationOf(run)} as t using ${entries} where ${older}`,
    values,
  );
  if (rowCount !== batch.length) {
    const { rows: [left] } = await client.query<{ is: boolean }>(
      `select exists (select from ${destinationOf(run)} as t, ${entries} where ${older}) as is`,
      values,
    );
    if (left!.is) throw Object.assign(new Error(LEFT_OUT), { code: "22000" });
  }
  await client.query(
    `insert into etl.tombstones as b (dataset, source, event_id, version, run_id)
      select $5, $3, m.event_id, m.version, $4::uuid from ${entries}
      on conflict (dataset, source, event_id) do update set version = excluded.version, run_id = excluded.run_id,
        deleted_at = excluded.deleted_at
      where ${newerThan(true, { event: "excluded", row: "b" })}`,
    [...values, datasetOf(run)],
  );
  return rowCount ?? 0;
}
