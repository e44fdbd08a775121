import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { type Client, planned } from "./pg.ts";
import { REFUSED } from "./quarantine.ts";

/** The counters of a chunk that prepare knows. */
export interface PreparedChunk {
  chunkNo: number;
  worker: string;
  serverId: string;
  spillBytes: number;
  stageMs: Record<string, number>;
  counts: {
    records_read: number;
    rejected: number;
    filtered: number;
    extra: number;
    events: number;
    cursor_nulls: number;
    newlines?: number;
  };
}

/** A run's attempt: what a write must still belong to. */
export interface Fence {
  runId: string;
  attempt: number;
  /** Of a run that several servers work on: the right to its chunks that the writer has; null: there is only the attempt. */
  holder?: string | null;
  /** Of a run that is executed in any order: deletions of its source that it knows of; null: none comes between. */
  deletions?: { dataset: string; source: string; times: number } | null;
}

/** Thrown when another attempt has replaced the one that wants to write. */
export class FencedOut extends Error {
  constructor(fence: Fence) {
    super(`attempt ${fence.attempt} of run ${fence.runId} has been replaced or was stopped`);
  }
}

export interface LockedChunk {
  state: "planned" | "prepared" | "published";
  /** What a published chunk has put into the table. */
  counts: PublishedCounts;
}

/**
 * The run's comparison with its table is out of date, as another run of its source has deleted rows since: what was not there
 * may be what was deleted. Another attempt compares anew.
 */
function comparedBefore(): Problem {
  return new Problem("unavailable", {
    transient: true,
    detail: say("deleted-meanwhile", {}),
  });
}

/**
 * Notes that a transaction deletes rows of a source, or may, and keeps runs that are executed in any order from publishing
 * beside it.
 */
export async function noteDeletions(
  client: Client,
  { dataset, source }: { dataset: string; source: string },
): Promise<void> {
  await client.query(
    `insert into etl.deletions as d (dataset, source, times) values ($1, $2, 1)
    on conflict (dataset, source) do update set times = d.times + 1`,
    [dataset, source],
  );
}

/**
 * Locks a chunk's row for the rest of the transaction. The lock keeps two
 * attempts, or two holders of an attempt, from writing one chunk at once. Throws
 * FencedOut when the attempt is no longer the run's, or the chunk another's; a transient Problem where rows of its source
 * have been deleted since it looked.
 */
export async function lockChunk(
  client: Client,
  fence: Fence,
  chunkNo: number,
): Promise<LockedChunk> {
  const { holder, deletions = null } = fence;
  const shared = typeof holder === "string";
  const values: unknown[] = [fence.runId, chunkNo, fence.attempt];
  const param = (value: unknown) => `$${values.push(value)}`;
  const { rows } = await client.query<
    PublishedCounts & { state: LockedChunk["state"]; times: number | null }
  >(planned(
    client,
    `select c.state, c.inserted::float8, c.updated::float8, c.unchanged::float8, c.duplicates::float8,
        c.deletions::float8, c.deleted::float8, c.marked::float8, ${
      deletions === null ? "null" : "d.times::float8"
    } as times
      from etl.chunks as c
      join etl.runs as r on r.run_id = c.run_id and r.attempt = $3 and r.state = 'running'
      ${
      shared
        ? `join etl.shared_chunks as h on h.run_id = c.run_id and h.chunk_no = c.chunk_no and h.holder = ${
          param(holder)
        }`
        : ""
    }
      ${
      deletions === null
        ? ""
        : `join etl.deletions as d on d.dataset = ${param(deletions.dataset)} and d.source = ${
          param(deletions.source)
        }`
    }
      where c.run_id = $1 and c.chunk_no = $2 for update of c${shared ? ", h" : ""}${
      deletions === null ? "" : " for share of d"
    }`,
    values,
  ));
  if (rows[0] === undefined) throw new FencedOut(fence);
  const { state, times, ...counts } = rows[0];
  if (state !== "published" && times !== (deletions?.times ?? null)) throw comparedBefore();
  return { state, counts };
}

/** The part of the source that a chunk is. */
export async function sliceOf<Slice>(
  client: Client,
  { runId }: Fence,
  chunkNo: number,
): Promise<Slice> {
  const { rows: [row] } = await client.query<{ slice: Slice }>(
    "select slice from etl.chunks where run_id = $1 and chunk_no = $2",
    [runId, chunkNo],
  );
  return row!.slice;
}

/** Stores a chunk as prepared; a published one keeps its state. */
export async function markPrepared(
  client: Client,
  fence: Fence,
  chunk: PreparedChunk,
): Promise<void> {
  const { counts } = chunk;
  await client.query(planned(
    client,
    `update etl.chunks set
        state = case when state = 'published' then state else 'prepared' end,
        attempts = attempts + 1, worker = $3, spill_bytes = $4, stage_ms = $5,
        records_read = $6, rejected = $7 + refused.count, filtered = $8, extra = $9, events = $10 - refused.count,
        cursor_nulls = $11, server_id = $12, newlines = $13, prepared_at = clock_timestamp(), error = null
      from (select count(*) from etl.quarantine where run_id = $1 and chunk_no = $2 and rule = '${REFUSED}') as refused
      where run_id = $1 and chunk_no = $2`,
    [
      fence.runId,
      chunk.chunkNo,
      chunk.worker,
      chunk.spillBytes,
      JSON.stringify(chunk.stageMs),
      counts.records_read,
      counts.rejected,
      counts.filtered,
      counts.extra,
      counts.events,
      counts.cursor_nulls,
      chunk.serverId,
      counts.newlines ?? null,
    ],
  ));
}

export interface PublishedCounts {
  inserted: number;
  updated: number;
  unchanged: number;
  duplicates: number;
  /** Rows that the table has refused; default: none. They are rejected, and no events of the chunk. */
  refused?: number;
  /** Deletions that lost against no other event of their key. */
  deletions: number;
  /** Rows that went, or were marked. */
  deleted: number;
  marked: number;
}

/** Thrown where another run's first load has left the table without its key, so that rows could stand there twice. */
export class KeyMissing extends Error {
  override readonly message = "the first load of another run has left the table without its key";
}

/**
 * Stores a chunk as published, in the transaction that wrote its rows, whose lock keeps any first load from
 * beginning. Throws KeyMissing where another run's goes on.
 */
export async function markPublished(
  client: Client,
  fence: Fence,
  chunkNo: number,
  counts: PublishedCounts & { worker: string; loadMs: number; table: string },
): Promise<void> {
  const { rowCount } = await client.query(planned(
    client,
    `update etl.chunks set state = 'published', worker = $3, inserted = $4, updated = $5,
        unchanged = $6, duplicates = $7, rejected = rejected + $10, events = events - $10, stage_ms = stage_ms || jsonb_build_object('load', $8::float8),
        deletions = $11, deleted = $12, marked = $13, published_at = clock_timestamp()
      where run_id = $1 and chunk_no = $2
        and not exists (select from etl.first_loads where relation = to_regclass($9) and run_id <> $1)`,
    [
      fence.runId,
      chunkNo,
      counts.worker,
      counts.inserted,
      counts.updated,
      counts.unchanged,
      counts.duplicates,
      counts.loadMs,
      counts.table,
      counts.refused ?? 0,
      counts.deletions,
      counts.deleted,
      counts.marked,
    ],
  ));
  if (rowCount === 0) throw new KeyMissing();
}

/**
 * Locks all chunks of a run for the rest of the transaction, before it is published at once. False where this attempt has
 * ended the run already, by a commit that was not confirmed. Throws FencedOut when the attempt is no longer the run's.
 */
export async function lockChunks(client: Client, fence: Fence): Promise<boolean> {
  const { rows: [run] } = await client.query<{ state: string }>({
    text: "select state from etl.runs where run_id = $1 and attempt = $2",
    values: [fence.runId, fence.attempt],
  });
  if (run?.state === "succeeded") return false;
  if (run?.state !== "running") throw new FencedOut(fence);
  await client.query({
    text: "select from etl.chunks where run_id = $1 order by chunk_no for update",
    values: [fence.runId],
  });
  return true;
}
