import type { Sql } from "./database.ts";
import { type Fence, FencedOut } from "./chunks.ts";
import type { Alone, NoHelp } from "../vocabulary/sharing.ts";
import type { Client } from "./pg.ts";

/** A server's right to chunks of a shared run. */
export interface Holder {
  runId: string;
  attempt: number;
  /** Chosen anew each time a server joins. */
  holder: string;
}

/** What must be the same on every server that works on a run: hashes, by what they are of. */
export type Same = Record<string, string>;

const json = (value: unknown) => JSON.stringify(value);

/** Why a run stays on one server, or null where it is offered to others; what was noted of them is of an earlier offer. */
export async function noteSharing(
  sql: Sql,
  { run_id, attempt }: { run_id: string; attempt: number },
  alone: Alone | null,
): Promise<void> {
  await sql`update etl.runs set sharing = ${json(alone === null ? {} : { alone })}::text::jsonb
    where run_id = ${run_id} and attempt = ${attempt}`;
}

/** Why a server does not help with a run. */
export async function noteNoHelp(
  sql: Sql,
  { runId, attempt }: Holder,
  { serverId, why }: { serverId: string; why: NoHelp[] },
): Promise<void> {
  await sql`update etl.runs set sharing = jsonb_set(coalesce(sharing, '{}'), '{left}',
      coalesce(sharing -> 'left', '{}') || jsonb_build_object(${serverId}::text, ${why}::text[]))
    where run_id = ${runId} and attempt = ${attempt} and state = 'running'`;
}

/** Whether another server of a version executes runs, and could help. */
export async function hasOtherServers(
  sql: Sql,
  { serverId, version }: { serverId: string; version: string },
): Promise<boolean> {
  const [row] = await sql<{ others: boolean }[]>`
    select exists (select from etl.servers
      where server_id <> ${serverId} and version = ${version} and seen_until > clock_timestamp()) as others`;
  return row!.others;
}

/** Offers a run to other servers; false where the attempt is the run's no more. */
export async function shareRun(sql: Sql, of: Holder, same: Same): Promise<boolean> {
  const [row] = await sql<{ shared: boolean }[]>`
    select etl.share_run(${of.runId}, ${of.attempt}, ${of.holder}, ${
    json(same)
  }::text::jsonb) as shared`;
  return row!.shared;
}

/** Ends it. */
export async function unshareRun(
  sql: Sql,
  { run_id, attempt }: { run_id: string; attempt: number },
): Promise<void> {
  await sql`select etl.unshare_run(${run_id}, ${attempt})`;
}

export interface SharedWork {
  run_id: string;
  attempt: number;
  same: Same;
}

/** Runs that a server could help with now. */
export async function sharedWork(sql: Sql, serverId: string): Promise<SharedWork[]> {
  return await sql<SharedWork[]>`select * from etl.shared_work(${serverId})`;
}

export async function joinRun(sql: Sql, of: Holder, serverId: string): Promise<boolean> {
  const [row] = await sql<{ joined: boolean }[]>`
    select etl.join_run(${of.runId}, ${of.attempt}, ${of.holder}, ${serverId}) as joined`;
  return row!.joined;
}

/** A helper's sign of life; answers whether it goes on. */
export async function reportHelp(
  sql: Sql,
  of: Holder,
): Promise<{ is_current: boolean; cancel_requested: boolean }> {
  const [row] = await sql<{ is_current: boolean; cancel_requested: boolean }[]>`
    select * from etl.report_help(${of.runId}, ${of.attempt}, ${of.holder})`;
  return row!;
}

export async function leaveRun(sql: Sql, holder: string): Promise<void> {
  await sql`select etl.leave_run(${holder})`;
}

/** What a chunk needs next. */
export type ClaimedChunk =
  | {
    step: "prepare";
    chunk_no: number;
    slice: Record<string, never>;
    /** `planned` also where another server has prepared it: then this one's spill is not used. */
    state: "planned" | "prepared" | "published";
    /** Whether somebody has had it before in this attempt. */
    again: boolean;
    /** Whether its keys are to be in the manifest; those are there where resolve is over. */
    fills: boolean;
  }
  | { step: "publish"; chunk_no: number; decision: unknown };

/**
 * Takes the next step of a chunk that is this holder's to do; null where there is none now. `inHand` are the chunks that it
 * has already. One claim of a holder at a time: what is not among them is open again.
 */
export async function claimChunk(
  sql: Sql,
  of: Holder,
  { serverId, inHand }: { serverId: string; inHand: number[] },
): Promise<ClaimedChunk | null> {
  const [row] = await sql<ClaimedChunk[]>`
    select * from etl.claim_chunk(${of.runId}, ${of.attempt}, ${of.holder}, ${serverId}, ${inHand}::integer[])`;
  return row ?? null;
}

/** Gives a chunk back; after a failure it is the coordinator's. */
export async function releaseChunk(
  sql: Sql,
  of: Holder,
  { chunkNo, failed }: { chunkNo: number; failed: boolean },
): Promise<void> {
  await sql`select etl.release_chunk(${of.runId}, ${chunkNo}, ${of.holder}, ${failed})`;
}

/** Takes chunks away from helpers that give no sign of life; answers how many those are. */
export async function releaseHelpers(sql: Sql, of: Holder): Promise<number> {
  const [row] = await sql<{ gone: number }[]>`
    select etl.release_helpers(${of.runId}, ${of.attempt}) as gone`;
  return row!.gone;
}

/** Goes on to the next phase; false while something is left to do for this one. */
export async function advance(
  sql: Sql,
  of: Holder,
  phase: "resolve" | "publish",
): Promise<boolean> {
  const [row] = await sql<{ advanced: boolean }[]>`
    select etl.advance_shared_run(${of.runId}, ${of.attempt}, ${phase}) as advanced`;
  return row!.advanced;
}

/** How far a shared run is. */
export interface SharedProgress {
  /** Chunks that are prepared. */
  prepared: number[];
  published: { chunk_no: number; events: number; written: number; load_ms: number }[];
  /** Whether a chunk that was prepared again is not what resolve saw. */
  stale: boolean;
}

/** Chunks that have got on, without those that are known to have. */
export async function sharedProgress(
  sql: Sql,
  of: Holder,
  known: { prepared: number[]; published: number[] },
): Promise<SharedProgress | null> {
  const [row] = await sql<SharedProgress[]>`
    select s.stale,
      coalesce((select array_agg(h.chunk_no order by h.chunk_no) from etl.shared_chunks as h
        where h.run_id = s.run_id and h.state in ('prepared', 'publishing')
          and not exists (select from unnest(${known.prepared}::integer[]) as k (no) where k.no = h.chunk_no)), '{}') as prepared,
      coalesce((select jsonb_agg(jsonb_build_object('chunk_no', c.chunk_no, 'events', c.events,
          'written', c.inserted + c.updated, 'load_ms', coalesce((c.stage_ms ->> 'load')::float8, 0)) order by c.chunk_no)
        from etl.chunks as c where c.run_id = s.run_id and c.state = 'published'
          and not exists (select from unnest(${known.published}::integer[]) as k (no) where k.no = c.chunk_no)), '[]') as published
    from etl.shared_runs as s where s.run_id = ${of.runId} and s.attempt = ${of.attempt}`;
  return row ?? null;
}

/** What a chunk's spill is, as whoever has prepared it says, and whether it was made for an earlier attempt. */
export async function preparedChunks<Meta>(
  sql: Sql,
  runId: string,
  chunkNos: number[],
): Promise<{ meta: Meta; reused: boolean }[]> {
  return await sql<{ meta: Meta; reused: boolean }[]>`
    select meta, reused from etl.shared_chunks
    where run_id = ${runId} and chunk_no = any(${chunkNos}::integer[]) and meta is not null order by chunk_no`;
}

/** What the suite keeps of a chunk's values in files of whoever has prepared it. */
export async function chunkSpills(
  sql: Sql,
  runId: string,
  chunkNo: number,
): Promise<Uint8Array[]> {
  const [row] = await sql<{ spills: Uint8Array[] }[]>`
    select spills from etl.shared_chunks where run_id = ${runId} and chunk_no = ${chunkNo}`;
  return row!.spills;
}

/** Marks a chunk as prepared by its holder, in the transaction that has locked it. */
export async function storePrepared(
  client: Client,
  fence: Fence,
  chunk: {
    chunkNo: number;
    meta: unknown;
    reused: boolean;
    digest: string;
    spills: Uint8Array[];
  },
): Promise<void> {
  const { rows: [row] } = await client.query<{ stored: boolean }>(
    "select etl.store_prepared($1, $2, $3, $4, $5, $6, $7) as stored",
    [
      fence.runId,
      chunk.chunkNo,
      fence.holder,
      json(chunk.meta),
      chunk.reused,
      chunk.digest,
      chunk.spills.map((bytes) => `\\x${bytes.toHex()}`),
    ],
  );
  if (!row!.stored) throw new FencedOut(fence);
}

/** What resolve has decided for a chunk; of a kind the rows as bits, null: all of them or none. */
export interface StoredDecision {
  decision: unknown;
  inserts: Uint8Array | null;
  updates: Uint8Array | null;
}

export async function storeDecision(
  client: Client,
  runId: string,
  chunkNo: number,
  { decision, inserts, updates }: StoredDecision,
): Promise<void> {
  await client.query(
    `update etl.shared_chunks set decision = $3, inserts = $4, updates = $5 where run_id = $1 and chunk_no = $2`,
    [runId, chunkNo, json(decision), buffer(inserts), buffer(updates)],
  );
}

export async function readDecision(
  client: Client,
  runId: string,
  chunkNo: number,
): Promise<Pick<StoredDecision, "inserts" | "updates">> {
  const { rows: [row] } = await client.query<Pick<StoredDecision, "inserts" | "updates">>(
    "select inserts, updates from etl.shared_chunks where run_id = $1 and chunk_no = $2",
    [runId, chunkNo],
  );
  return row!;
}

const buffer = (bytes: Uint8Array | null) => bytes === null ? null : `\\x${bytes.toHex()}`;
