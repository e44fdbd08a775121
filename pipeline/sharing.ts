import type { Sql } from "../store/database.ts";
import { delay, withRetry } from "../store/retry.ts";
import {
  advance,
  chunkSpills,
  claimChunk,
  type ClaimedChunk,
  type Holder,
  preparedChunks,
  releaseHelpers,
  type SharedProgress,
  sharedProgress,
} from "../store/sharing.ts";
import type { Log } from "../telemetry/log.ts";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { type Alone, SHARED_CHUNKS } from "../vocabulary/sharing.ts";
import { forEachLane } from "./lanes.ts";
import type { RunControl } from "./run_control.ts";
import { adapterFor } from "./sources/adapters.ts";
import type { Slice } from "./sources/source.ts";
import type { SpillMeta } from "./spill/layout.ts";
import { adoptSuiteSpills, hasSpills } from "./stages/ge_validate.ts";
import type { ChunkDecision, RunContext, TaskKind, Tasks } from "./workers/task.ts";

/** Between two looks for a chunk, where there is none to be had. */
const IDLE_MS = 100;
/** Between two looks at how far all servers are. */
const WATCH_MS = 200;

/**
 * Why a run may not be offered to other servers, which is for what it is tested that all comes out as on one server, and of
 * enough chunks; null where it may.
 */
export function whyAlone(
  { params, table, pin = null, marks = false, buries = false }:
    & Pick<RunContext, "params" | "table">
    & Partial<Pick<RunContext, "pin" | "marks" | "buries">>,
  { slices, dataShared }: { slices: Slice[]; dataShared: boolean },
): Alone | "few_chunks" | null {
  if (slices.length < SHARED_CHUNKS) return "few_chunks";
  // one transaction writes all rows, so they lie on one disk
  if (params.write === "replace" || params.write === "mirror") return "write";
  // what deletes rows, or loads into a table that is not the program's, decides and stores more of a chunk
  if (marks || buries || (params.deleted ?? null) !== null) return "deletions";
  if (table !== null && "own" in table && table.own) return "own_table";
  // the columns that a dry run would declare are known to its server alone
  // what it compares must lie on one disk, too
  if (params.dry_run && (params.layout === "typed" || params.compare)) return "dry_run";
  const { everywhere } = adapterFor(params.source);
  if (everywhere === undefined) return "source";
  const how = (dataShared: boolean) => everywhere(slices, { dataShared, pin });
  if (how(dataShared) !== null) return null;
  return how(true) === null ? "downloaded" : "files";
}

/** Submits a task of the run to this server's workers. */
export type Submit = <K extends TaskKind>(
  kind: K,
  input: Tasks[K]["input"],
  chunkNo: number,
) => Promise<Tasks[K]["output"]>;

interface ChunkWorkOptions {
  sql: Sql;
  of: Holder;
  serverId: string;
  submit: Submit;
}

/** Takes steps of chunks, one claim at a time, and does them: a coordinator as well as a helper. */
export class ChunkWork {
  readonly #options: ChunkWorkOptions;
  readonly #inHand = new Set<number>();
  #claims: Promise<unknown> = Promise.resolve();

  constructor(options: ChunkWorkOptions) {
    this.#options = options;
  }

  /** Null where there is nothing to do now; what is answered must go through `carryOut`. */
  claim(): Promise<ClaimedChunk | null> {
    const { sql, of, serverId } = this.#options;
    const claimed = this.#claims.then(async () => {
      const chunk = await claimChunk(sql, of, { serverId, inHand: [...this.#inHand] });
      if (chunk !== null) this.#inHand.add(chunk.chunk_no);
      return chunk;
    });
    this.#claims = claimed.catch(() => {});
    return claimed;
  }

  async carryOut(chunk: ClaimedChunk): Promise<void> {
    const { submit } = this.#options;
    const chunkNo = chunk.chunk_no;
    try {
      if (chunk.step === "publish") {
        await submit("publish", { decision: chunk.decision as ChunkDecision }, chunkNo);
        return;
      }
      const { slice, state, again, fills } = chunk;
      await submit("prepare", { chunkNo, slice, state, again, fillManifest: fills }, chunkNo);
    } finally {
      this.#inHand.delete(chunkNo);
    }
  }
}

export interface SharedRunOptions extends ChunkWorkOptions {
  chunks: number;
  /** Where this server's part of the run waits. */
  spillDir: string;
  /** Tasks under way at once on this server. */
  lanes: number;
  control: RunControl;
  log: Log;
  retry: { attempts: number; initialMs: number };
}

/** A run whose coordinator this server is, and which others help with. */
export class SharedRun {
  readonly #options: SharedRunOptions;
  readonly #work: ChunkWork;

  constructor(options: SharedRunOptions) {
    this.#options = options;
    this.#work = new ChunkWork(options);
  }

  /** Prepares all chunks; tells of each, again where it was prepared again, and at the end of all as they are then. */
  async prepare(onPrepared: (meta: SpillMeta, reused: boolean) => void): Promise<void> {
    const { sql, of, chunks } = this.#options;
    const known = new Set<number>();
    await this.#together(async () => {
      const { prepared } = await this.#progress({ prepared: [...known], published: [] });
      await this.#tell(prepared, onPrepared);
      for (const chunkNo of prepared) known.add(chunkNo);
      if (known.size < chunks) return false;
      if (await this.#tried(() => advance(sql, of, "resolve"))) return true;
      // one of them was taken from a server that died
      known.clear();
      return false;
    });
    await this.#tell(Array.from({ length: chunks }, (_, i) => i), onPrepared);
  }

  async #tell(
    chunkNos: number[],
    onPrepared: (meta: SpillMeta, reused: boolean) => void,
  ): Promise<void> {
    if (chunkNos.length === 0) return;
    const { sql, of } = this.#options;
    const found = await this.#tried(() => preparedChunks<SpillMeta>(sql, of.runId, chunkNos));
    for (const { meta, reused } of found) onPrepared(meta, reused);
  }

  /** Has the files that a chunk's part of the verdict needs on this server's disk. */
  async adopt({ chunkNo, validation }: SpillMeta): Promise<void> {
    if (await hasSpills(validation)) return;
    const { sql, of, spillDir } = this.#options;
    const contents = await this.#tried(() => chunkSpills(sql, of.runId, chunkNo));
    await adoptSuiteSpills(validation, contents, {
      prefix: `${spillDir}/${chunkNo}`,
      attempt: of.attempt,
    });
  }

  /** Publishes all chunks, each from the disk of whoever has prepared it; tells of each that `published` does not name. */
  async publish(
    published: Set<number>,
    onPublished: (chunk: SharedProgress["published"][number]) => void,
  ): Promise<void> {
    const { sql, of, chunks } = this.#options;
    if (!await this.#tried(() => advance(sql, of, "publish"))) throw stale();
    await this.#together(async () => {
      const progress = await this.#progress({ prepared: [], published: [...published] });
      for (const chunk of progress.published) {
        published.add(chunk.chunk_no);
        onPublished(chunk);
      }
      if (published.size === chunks) return true;
      if (progress.stale) throw stale();
      return false;
    });
  }

  async #progress(known: Parameters<typeof sharedProgress>[2]): Promise<SharedProgress> {
    const { sql, of, control } = this.#options;
    const progress = await this.#tried(() => sharedProgress(sql, of, known));
    if (progress !== null) return progress;
    control.halt("replaced");
    control.throwIfHalted();
    throw new Error("the run is not shared any more");
  }

  /** Does chunks in all lanes until `isOver`, which looks how far all servers are. */
  async #together(isOver: () => Promise<boolean>): Promise<void> {
    const { sql, of, lanes, control, log } = this.#options;
    let ended = false;
    const chunks = async () => {
      while (!ended) {
        control.throwIfHalted();
        const chunk = await this.#tried(() => this.#work.claim());
        if (chunk === null) await delay(IDLE_MS, control.signal);
        else await this.#work.carryOut(chunk);
      }
    };
    const watch = async () => {
      while (!ended) {
        control.throwIfHalted();
        const gone = await this.#tried(() => releaseHelpers(sql, of));
        if (gone > 0) {
          log.warn("a server that helped gives no sign of life: its chunks are prepared again", {
            servers: gone,
          });
        }
        if (await isOver()) ended = true;
        if (!ended) await delay(WATCH_MS, control.signal);
      }
    };
    const all = [watch, ...Array.from({ length: lanes }, () => chunks)];
    await forEachLane(all, all.length, async (lane) => {
      try {
        await lane();
      } finally {
        ended = true;
      }
    });
    control.throwIfHalted();
  }

  #tried<T>(operation: () => Promise<T>): Promise<T> {
    const { retry, control } = this.#options;
    return withRetry({ ...retry, signal: control.signal }, operation);
  }
}

function stale(): Problem {
  return new Problem("unavailable", {
    transient: true,
    detail: say("chunk-prepared-otherwise", {}),
  });
}
