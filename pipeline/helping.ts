import { findRun, unfinishedRuns } from "../store/runs.ts";
import {
  type ClaimedChunk,
  type Holder,
  joinRun,
  leaveRun,
  noteNoHelp,
  releaseChunk,
  reportHelp,
  type SharedWork,
  sharedWork,
} from "../store/sharing.ts";
import { errorCode } from "../store/errors.ts";
import type { Log } from "../telemetry/log.ts";
import { type Executing, executionsOf, runContext, type RunDeps } from "./run.ts";
import { type Halt, RunControl } from "./run_control.ts";
import { differenceOf, sameOf } from "./same_program.ts";
import { ChunkWork } from "./sharing.ts";
import { adapterFor } from "./sources/adapters.ts";
import { readsSpooled } from "./sources/local/plan_files.ts";
import { runDir } from "./spill/layout.ts";
import { NO_HELP, type NoHelp } from "../vocabulary/sharing.ts";

/** After a failure a run is left to others for so long. */
const REST_MS = 10_000;

/** What this server does for the runs of others, with workers that its own do not need. */
export class Helping {
  readonly #deps: RunDeps;
  readonly #helps = new Map<string, Help>();
  /** Attempts that it has no part in. */
  readonly #leftAlone = new Set<string>();
  /** When each run had its last turn. */
  readonly #turns = new Map<string, number>();
  #turn = 0;
  /** Claims that have no worker yet. */
  #claiming = 0;

  constructor(deps: RunDeps) {
    this.#deps = deps;
  }

  /** Takes a step of a chunk of another server's run, of the one whose turn it is; null where there is none, or no worker. */
  async claim(): Promise<(() => Promise<void>) | null> {
    const { sql, serverId, workers, stopping } = this.#deps;
    if (stopping.aborted || workers.idle <= this.#claiming) return null;
    this.#claiming++;
    let claimed = false;
    try {
      const offered = await sharedWork(sql, serverId);
      const turnOf = ({ run_id }: SharedWork) => this.#turns.get(run_id) ?? 0;
      for (const work of offered.sort((a, b) => turnOf(a) - turnOf(b))) {
        const help = this.#helpWith(work);
        const chunk = await help?.claim() ?? null;
        if (chunk === null) continue;
        this.#turns.set(work.run_id, ++this.#turn);
        claimed = true;
        return () => {
          const done = help!.carryOut(chunk);
          this.#claiming--;
          return done;
        };
      }
      return null;
    } finally {
      if (!claimed) this.#claiming--;
    }
  }

  #helpWith(work: SharedWork): Help | null {
    const { run_id: runId, attempt } = work;
    const attemptName = `${runId} ${attempt}`;
    const known = this.#helps.get(runId);
    if (known !== undefined) return known.attempt === attempt ? known : null;
    // a server does not help with what it executes itself, or has not let go of
    if (this.#leftAlone.has(attemptName) || executionsOf(this.#deps).has(runId)) return null;
    const help = new Help(work, this.#deps);
    this.#helps.set(runId, help);
    const here = executionsOf(this.#deps);
    here.set(runId, help);
    help.ended.finally(() => {
      this.#helps.delete(runId);
      if (here.get(runId) === help) here.delete(runId);
      if (help.leftAlone) this.#leftAlone.add(attemptName);
    });
    return help;
  }

  /** Waits until all is given back, after the server's signal to stop. */
  async stop(): Promise<void> {
    await Promise.all([...this.#helps.values()].map(({ ended }) => ended));
  }
}

/** This server's part in one attempt of another server's run. */
class Help implements Executing {
  readonly attempt: number;
  /** Resolved when nothing of it is in hand any more, and its chunks are given back. */
  readonly ended: Promise<void>;
  /** Whether this server is not fit for the attempt. */
  leftAlone = false;
  readonly #deps: RunDeps;
  readonly #of: Holder;
  readonly #log: Log;
  readonly #ready: Promise<RunControl | null>;
  readonly #steps = new Set<Promise<void>>();
  readonly #halted = Promise.withResolvers<void>();
  #why: Halt | null = null;
  #unpacked: Promise<unknown> | null = null;
  #work: ChunkWork;
  #restsUntil = 0;

  constructor({ run_id: runId, attempt, same }: SharedWork, deps: RunDeps) {
    this.attempt = attempt;
    this.#deps = deps;
    this.#of = { runId, attempt, holder: crypto.randomUUID() };
    this.#log = deps.log.with({ run_id: runId, attempt });
    const { sql, serverId, workers } = deps;
    this.#work = new ChunkWork({
      sql,
      of: this.#of,
      serverId,
      submit: async (kind, input) => {
        if ("slice" in input && readsSpooled(input.slice)) await this.#unpack();
        return await workers.submit(runId, kind, input);
      },
    });
    this.#ready = this.#begin(same).catch(async (error) => {
      this.leftAlone = true;
      this.#log.warn("this server cannot help with the run", { error });
      await this.#note(["failed"]);
      return this.#leave();
    });
    this.ended = this.#end();
  }

  /** Joins; null where this server leaves the run alone. */
  async #begin(same: SharedWork["same"]): Promise<RunControl | null> {
    const { sql, settings, serverId, workers, stopping, onCancel } = this.#deps;
    const { runId, attempt, holder } = this.#of;
    const run = await findRun(sql, this.#of);
    if (run === null) return this.#leave();
    const context = await runContext(sql, run, settings, { serverId, holder });
    const unreachable = await this.#unreachable(context);
    const why = unreachable === null ? differenceOf(same, await sameOf(context)) : [unreachable];
    if (why.length > 0) {
      this.leftAlone = true;
      const words = why.map((code) => NO_HELP[code]).join("; ");
      this.#log.warn(`this server leaves the run to others: ${words}`, { server: serverId });
      await this.#note(why);
      return this.#leave();
    }
    await Deno.mkdir(context.spillDir, { recursive: true });
    if (this.#why !== null || !await joinRun(sql, this.#of, serverId)) return this.#leave();
    workers.open({ ...context, attempt }, { helps: true });
    const control = new RunControl({
      runId,
      workers,
      log: this.#log,
      report: () => reportHelp(sql, this.#of),
    });
    const unwatch = onCancel(runId, () => control.halt("cancelled"));
    const onStopping = () => control.halt("server stops");
    stopping.addEventListener("abort", onStopping);
    control.signal.addEventListener("abort", () => {
      unwatch();
      stopping.removeEventListener("abort", onStopping);
      this.halt(control.why!);
    });
    if (this.#why !== null) control.halt(this.#why);
    if (stopping.aborted) control.halt("server stops");
    this.#log.info("this server helps with the run", { server: serverId });
    return control;
  }

  async #unreachable(
    { params, connections, pin }: Awaited<ReturnType<typeof runContext>>,
  ): Promise<NoHelp | null> {
    const source = adapterFor(params.source);
    const name = source.connection?.(params.source);
    if (name !== undefined && !Object.hasOwn(connections, name)) return "connection";
    const { dataShared = false, dataDir } = this.#deps.settings;
    if (!source.everywhere?.([], { dataShared })) return "data";
    return await source.isHere?.(pin ?? {}, { dataDir }) ?? true ? null : "files";
  }

  /** Has the input on this server's disk as its coordinator has it: planning the same unpacks the same. */
  async #unpack(): Promise<void> {
    const { workers } = this.#deps;
    const { runId } = this.#of;
    const unpacked = this.#unpacked ??= workers.submit(runId, "plan", {});
    await unpacked.catch((error) => {
      this.#unpacked = null;
      throw error;
    });
  }

  /** Tells the run's page why. */
  async #note(why: NoHelp[]): Promise<void> {
    const { sql, serverId } = this.#deps;
    await noteNoHelp(sql, this.#of, { serverId, why })
      .catch((error) => this.#log.warn("the run could not be told", { error }));
  }

  #leave(): null {
    this.halt("replaced");
    return null;
  }

  /** Stops it; the first reason counts. */
  halt(why: Halt): void {
    if (this.#why !== null) return;
    this.#why = why;
    this.#halted.resolve();
    void this.#ready.then((control) => control?.halt(why));
  }

  async claim(): Promise<ClaimedChunk | null> {
    const control = await this.#ready;
    if (control === null || this.#why !== null || Date.now() < this.#restsUntil) return null;
    const chunk = await this.#work.claim();
    // its holder goes in a moment, and gives it back
    return this.#why === null ? chunk : null;
  }

  carryOut(chunk: ClaimedChunk): Promise<void> {
    const step = this.#carryOut(chunk).finally(() => this.#steps.delete(step));
    this.#steps.add(step);
    return step;
  }

  async #carryOut(chunk: ClaimedChunk): Promise<void> {
    try {
      await this.#work.carryOut(chunk);
    } catch (error) {
      if (this.#why !== null) return;
      if (errorCode(error) === "FencedOut") {
        this.halt("replaced");
        return;
      }
      // whatever it is, the coordinator meets it too, and decides what becomes of the run
      this.#restsUntil = Date.now() + REST_MS;
      this.#log.warn("a chunk is left to the run's coordinator", {
        chunk_no: chunk.chunk_no,
        error,
      });
      await releaseChunk(this.#deps.sql, this.#of, { chunkNo: chunk.chunk_no, failed: true })
        // it is given back with the others then
        .catch(() => this.halt("replaced"));
    }
  }

  /** What an ended run has left here; of one that goes on the next attempt may use it. */
  async #removeEnded(): Promise<void> {
    const { runId } = this.#of;
    const { sql, settings } = this.#deps;
    if ((await unfinishedRuns(sql, [runId])).size > 0) return;
    await Deno.remove(runDir(settings.spoolDir, runId), { recursive: true });
  }

  async #end(): Promise<void> {
    await this.#halted.promise;
    const control = await this.#ready;
    if (control === null) return;
    const { sql, workers } = this.#deps;
    await Promise.allSettled(this.#steps);
    await control.end();
    workers.close(this.#of.runId);
    // after the run's end, or as its chunks were taken from it
    this.#log.info("this server helps with the run no more", { why: this.#why });
    // where the database is away, its silence says the same
    await leaveRun(sql, this.#of.holder).catch(() => {});
    await this.#removeEnded().catch(() => {});
  }
}
