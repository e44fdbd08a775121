import { type Message, say } from "../vocabulary/messages.ts";
import type { Sql } from "../store/database.ts";
import {
  cursorPosition,
  deletionsOf,
  orderOf,
  planChunks,
  reportProgress,
  type RunOrder,
  type RunRow,
  type StoredChunk,
  storeDryRunCounts,
} from "../store/runs.ts";
import { isLargeUpload } from "../store/uploads.ts";
import { withRetry } from "../store/retry.ts";
import type { Log } from "../telemetry/log.ts";
import type { RunObserver } from "../telemetry/observer.ts";
import { traced } from "../telemetry/integrations/opentelemetry.ts";
import type { ValidationResult } from "./expectations/expectations.ts";
import { forEachLane } from "./lanes.ts";
import {
  chooseComparison,
  type Comparison,
  foreignRowsProblem,
  keysOfFilesWarning,
} from "./stages/resolve.ts";
import { keyTypesWarnings } from "./mapping.ts";
import {
  fewTextsWarnings,
  joinTypes,
  joinUnknown,
  mapOnto,
  onOwnTable,
  primaryKeyOf,
  proposeTable,
  type UnknownFields,
  unknownFieldsProblem,
} from "./typed_rows.ts";
import { missingFieldsWarning, privacyOf, secretMark } from "./private_fields.ts";
import { hashedBefore, privateFields } from "../store/private_fields.ts";
import {
  addMarkColumn,
  alterTable,
  analyzeTable,
  declaredTable,
  declareTable,
} from "../store/typed_tables.ts";
import { MAX_QUARANTINE, refuseHopelessRun, tooManyRejected } from "./stages/prepare.ts";
import { Problem } from "../vocabulary/problem.ts";
import { VERSION } from "../vocabulary/version.ts";
import { type Halt, RunControl } from "./run_control.ts";
import { SharedRun, whyAlone } from "./sharing.ts";
import { sameOf } from "./same_program.ts";
import { hasOtherServers, noteSharing, type Same, shareRun, unshareRun } from "../store/sharing.ts";
import { ALONE, type Alone, SHARED_CHUNKS } from "../vocabulary/sharing.ts";
import {
  type Ending,
  type Execution,
  outcomeOf,
  type RunOutcome,
  storeOutcome,
} from "./run_outcome.ts";
import {
  adapterFor,
  columnsOf,
  cursorOf,
  isBounded,
  mappingOf,
  sourceNameOf,
  tableKeyOf,
} from "./sources/adapters.ts";
import { readingOf } from "./sources/columns.ts";
import { readsSpooled } from "./sources/local/plan_files.ts";
import { addRepeated, repeatedNamesWarning } from "./sources/repeated_names.ts";
import type { Plain, Plan, Remotes, Slice, SourceLimits } from "./sources/source.ts";
import { refuseWithoutRoom, spillBytes } from "./spill/room.ts";
import { runDir, sharedDir, type SpillMeta } from "./spill/layout.ts";
import { StageTracker } from "./stage_tracker.ts";
import { cursorOutcome, fewerReadWarning } from "./stages/finalize.ts";
import { noSuite, suiteFailed } from "./stages/ge_validate.ts";
import { fetchAside } from "./workers/aside.ts";
import type { WorkerPool } from "./workers/pool.ts";
import type {
  ChunkDecision,
  PrepareResult,
  PublishResult,
  RunContext,
  TaskKind,
  Tasks,
} from "./workers/task.ts";
import type { TypedColumn, TypedTable } from "../store/row_layout.ts";
import { addMetadataColumns, checkOwnTable, ownTable } from "../store/own_tables.ts";
import {
  createManifest,
  destinationSize,
  emptyManifest,
  type ForeignRows,
} from "../store/event_keys.ts";
import { parseJson } from "./sources/json_text.ts";
import { beginFirstLoad, endFirstLoad } from "../store/first_load.ts";
import type { Stage } from "../vocabulary/words.ts";
import { findSuite } from "../store/suites.ts";
import { type Params, paramsSchema } from "./params.ts";

/** Rows from which on an empty table gets its indexes when the rows are there. */
const FIRST_LOAD_ROWS = 100_000;

/** What a run needs of its server. */
export interface RunDeps {
  sql: Sql;
  workers: WorkerPool;
  log: Log;
  serverId: string;
  settings: RunSettings;
  /** Aborted when the server stops: runs are given back. */
  stopping: AbortSignal;
  /** Tells of cancel requests; answers a function that ends the watch. */
  onCancel(runId: string, cancel: () => void): () => void;
  /** Told what happens, for metrics and traces. */
  observer?: RunObserver;
  /** Has runs admitted that wait for the end of another; default: the database wakes all servers for it. */
  admit?: () => void;
}

/** Between two looks for another server, of a run that could be shared. */
const LOOK_MS = 1_000;

interface PlannedChunk extends Omit<StoredChunk, "chunk_no"> {
  chunkNo: number;
  slice: Slice;
}

/**
 * Executes a run that this server has taken up as a new attempt: its stages in order, from wherever an
 * earlier attempt stopped. Ends it in the database, or gives it back when the
 * server stops or the trouble is transient.
 */
export async function executeRun(run: RunRow, deps: RunDeps): Promise<Execution> {
  const runId = run.run_id;
  const here = executionsOf(deps);
  const earlier = here.get(runId);
  const execution = new RunExecution(run, deps);
  const ended = execution.execute(earlier).finally(() => {
    if (here.get(runId) === executing) here.delete(runId);
  });
  const executing: Executing = { halt: (why) => execution.halt(why), ended };
  here.set(runId, executing);
  return await ended;
}

/** Whether this server has a run in hand. */
export function isExecuting(runId: string, deps: RunDeps): boolean {
  return executionsOf(deps).has(runId);
}

/** What a server has in hand of a run: its execution, or its help with another server's. */
export interface Executing {
  halt(why: Halt): void;
  ended: Promise<unknown>;
}

/** Runs that each server has in hand. */
const inHand = new WeakMap<WorkerPool, Map<string, Executing>>();

export function executionsOf({ workers }: Pick<RunDeps, "workers">): Map<string, Executing> {
  const known = inHand.get(workers) ?? new Map<string, Executing>();
  inHand.set(workers, known);
  return known;
}

class RunExecution {
  readonly #run: RunRow;
  readonly #deps: RunDeps;
  readonly #log: Log;
  readonly #tracker: StageTracker;
  readonly #control: RunControl;
  #context!: RunContext;
  #validation: ValidationResult | null = null;
  /** Records that the source has, as its plan thinks. */
  #estimate: number | undefined;
  /** Whether a chunk was read again after it had been published. */
  #reread = false;
  /** What lifts the time limits of stages that go on. */
  readonly #limits = new Map<Stage, () => void>();
  /** Rows that its table has refused. */
  #refused = 0;
  /** Where other servers help with it. */
  #shared: SharedRun | null = null;
  /** Whether this attempt or an earlier one may have left something of the run in schema etl. */
  #leaves: boolean;
  /** Whether it is offered when another server comes while it is prepared. */
  #offersLate = false;
  /** What was found on the way. */
  readonly #warnings: Message[] = [];

  constructor(run: RunRow, deps: RunDeps) {
    this.#run = run;
    this.#deps = deps;
    this.#leaves = run.attempt > 1;
    this.#log = deps.log.with({ run_id: run.run_id, attempt: run.attempt });
    const taken = performance.now();
    const startedMs = run.attempt_started_at!.getTime();
    this.#tracker = new StageTracker(run.attempt, {
      // by the database's clock, as all other times of a run; servers may have others
      now: () => new Date(startedMs + performance.now() - taken),
      onBegin: (stage) => {
        deps.observer?.stageStarted?.(run, stage);
        this.#limit(stage);
      },
      onEnd: (stage) => this.#limits.get(stage)?.(),
    });
    this.#control = new RunControl({
      runId: run.run_id,
      workers: deps.workers,
      log: this.#log,
      report: () => reportProgress(deps.sql, run, this.#tracker.snapshot()),
    });
  }

  halt(why: Halt): void {
    this.#control.halt(why);
  }

  /** Executes the run, after an earlier attempt that this very server may still have in hand. */
  async execute(earlier?: Executing): Promise<Execution> {
    const { workers, stopping, observer, onCancel } = this.#deps;
    const control = this.#control;
    const run = this.#run;
    if (earlier !== undefined) {
      // both would use the same workers' contexts and the same files
      earlier.halt("replaced");
      await earlier.ended.catch(() => {});
    }
    this.#log.info("run started", { run_label: run.run_label });
    observer?.attemptStarted?.(run);
    const onStopping = () => control.halt("server stops");
    stopping.addEventListener("abort", onStopping);
    const unwatch = onCancel(run.run_id, () => control.halt("cancelled"));
    let how: string = "failed";
    try {
      if (run.cancel_requested_at !== null) control.halt("cancelled");
      if (stopping.aborted) control.halt("server stops");
      const outcome = await this.#carryOut();
      const execution = await storeOutcome(outcome, this.#ending);
      how = execution === "ended" ? outcome.state : execution;
      return execution;
    } finally {
      await control.end();
      stopping.removeEventListener("abort", onStopping);
      unwatch();
      workers.close(run.run_id);
      observer?.attemptEnded?.(run, { how, stages: this.#tracker.snapshot() });
    }
  }

  /** The stages in order; whatever stops them becomes the outcome. */
  async #carryOut(): Promise<RunOutcome> {
    try {
      const outcome = await this.#stages();
      this.#control.throwIfHalted();
      return outcome;
    } catch (error) {
      return outcomeOf(error, this.#ending);
    }
  }

  async #stages(): Promise<RunOutcome> {
    const { sql, workers, settings } = this.#deps;
    this.#context = {
      ...await runContext(sql, this.#run, settings, { serverId: this.#deps.serverId }),
      traceparent: this.#deps.observer?.traceparent?.(this.#run) ?? this.#run.traceparent,
    };
    workers.open(this.#context);
    this.#limit(null);
    const chunks = await this.#plan();
    const { params, atOnce } = this.#context;
    if (atOnce && this.#context.late) throw comesLate();
    if (params.layout === "typed") await this.#knowColumns(chunks);
    if (atOnce && params.on_missing === "mark" && !params.dry_run) {
      await addMarkColumn(sql, this.#run.run_id);
    }
    const destination = await destinationSize(sql, params.schema_name, params.table_name);
    const buries = params.deleted !== null || destination.buries;
    // what was deleted is compared like rows, also where no row is left
    destination.filled ||= (buries || this.#context.superseded) && destination.there;
    const { marks, distributed } = destination;
    if (distributed && (atOnce || marks || buries)) throw isDistributed(params);
    if (this.#compares && (distributed || !destination.there)) {
      throw cannotCompare(params, destination);
    }
    if (marks || buries || distributed) {
      this.#context = { ...this.#context, marks, buries, distributed };
      this.#reopen();
    }
    const same = await this.#sameToShare(chunks);
    if (atOnce) {
      const metas = await this.#prepare(chunks, false);
      return await this.#publishAtOnce(metas, destination);
    }
    const comparison = chooseComparison({
      chunks: chunks.length,
      chunkSize: this.#context.chunkSize,
      records: this.#estimate,
      ...destination,
    });
    const fillManifest = same !== null || comparison === "join";
    this.#leaves ||= fillManifest;
    if (fillManifest && !await createManifest(sql, this.#run)) {
      this.#control.halt("replaced");
      this.#control.throwIfHalted();
    }
    if (same !== null) await this.#share(chunks, same);
    const metas = await this.#prepare(chunks, fillManifest);
    this.#tracker.begin("load");
    let heldBack: number;
    if (this.#isAlone(chunks, metas, comparison)) {
      heldBack = await this.#publishAlone(
        metas[0]!,
        comparison as "none" | "lookup",
        destination.rows,
      );
    } else {
      const how = { comparison, destinationRows: destination.rows };
      const decisions = await this.#resolve(metas, how);
      heldBack = decisions.reduce((sum, each) => sum + each.heldBack, 0);
      const rejected = metas.reduce((sum, { counts }) => sum + counts.rejected, 0);
      await this.#loadAs(decisions, chunks, { comparison, rejected });
    }
    this.#tracker.end("load");
    this.#tracker.begin("finalize");
    if (params.layout === "typed" && !destination.filled && !params.dry_run) {
      await analyzeTable(sql, `${params.schema_name}.${params.table_name}`);
    }
    return this.#succeeded(metas, heldBackWarning(heldBack));
  }

  /** Publishes what was decided, but for chunks that an earlier attempt has published; a dry run only counts it. */
  async #loadAs(
    decisions: ChunkDecision[],
    chunks: PlannedChunk[],
    { comparison, rejected }: { comparison: Comparison; rejected: number },
  ): Promise<void> {
    if (this.#context.params.dry_run) {
      await storeDryRunCounts(this.#deps.sql, this.#run, decisions);
      for (const { inserts, updates, events } of decisions) {
        this.#tracker.add("load", { in: events, out: inserts + updates });
      }
      if (this.#compares) await this.#submit("compare", { decisions, rejected }, null);
      return;
    }
    const published = new Set<number>();
    for (const { chunkNo, state, events, written } of chunks) {
      if (state !== "published") continue;
      published.add(chunkNo);
      this.#tracker.add("load", { in: events, out: written });
    }
    const open = decisions.filter(({ chunkNo }) => !published.has(chunkNo));
    const shared = this.#shared;
    const publish = () =>
      shared === null ? this.#publish(open) : this.#publishTogether(shared, published);
    if (comparison === "none") await this.#publishFirst(open, publish);
    else await publish();
  }

  get #compares(): boolean {
    const { dry_run, compare } = this.#context.params;
    return dry_run && compare;
  }

  /** Whether all of the run is one chunk that is still to be published: then it is compared in the same transaction. */
  #isAlone(chunks: PlannedChunk[], metas: SpillMeta[], comparison: Comparison): boolean {
    const { firstLoadRows = FIRST_LOAD_ROWS } = this.#deps.settings;
    return chunks.length === 1 && chunks[0]!.state !== "published" && comparison !== "join" &&
      this.#shared === null && !this.#context.params.dry_run && metas[0]!.events < firstLoadRows;
  }

  /** Compares and publishes the only chunk; answers how many rows were held back. */
  async #publishAlone(
    { chunkNo, events, counts: { files } }: SpillMeta,
    comparison: "none" | "lookup",
    destinationRows: number,
  ): Promise<number> {
    this.#control.throwIfHalted();
    const chunk = { chunkNo, events, ...(files === undefined ? {} : { files }) };
    const alone = { chunk, comparison, destinationRows };
    const result = await this.#submit("publish", { alone }, chunkNo);
    this.#notePublished(events, result);
    this.#warnings.push(...keysOfFilesWarning(result.keysOfFiles));
    return result.heldBack ?? 0;
  }

  /** The outcome of a run whose stages ended well. */
  #succeeded(metas: SpillMeta[], more: Message[]): RunOutcome & { state: "succeeded" } {
    const { warnings = [], ...rest } = cursorOutcome(this.#context, metas, {
      reread: this.#reread,
    });
    const repeated = metas.map(({ counts }) => counts.repeated_names).reduce(
      addRepeated,
      undefined,
    );
    const { key } = mappingOf(this.#context.params.source);
    return {
      state: "succeeded",
      warnings: [
        ...warnings,
        ...fewerReadWarning(this.#context, metas),
        ...repeatedNamesWarning(repeated),
        ...keyTypesWarnings(key, metas.map(({ counts }) => counts.key_types)),
        ...(metas.every(({ counts }) => counts.records_read === 0) ? [] : missingFieldsWarning(
          this.#context.privacy,
          metas.flatMap(({ counts }) => counts.private_found ?? []),
        )),
        ...this.#warnings,
        ...more,
      ],
      ...rest,
    };
  }

  /** Begins to count the time of the run or of a stage, where timeout_seconds limits it. */
  #limit(stage: Stage | null): void {
    const { timeout_seconds: limits } = this.#context.params;
    const { run, stages } = typeof limits === "number" ? { run: limits } : limits ?? {};
    const seconds = stage === null ? run : stages?.[stage];
    if (seconds === undefined) return;
    const lift = this.#control.limit(seconds, stage);
    if (stage !== null) this.#limits.set(stage, lift);
  }

  /** Publishes the whole run and ends it, in one transaction of a worker's. */
  async #publishAtOnce(
    metas: SpillMeta[],
    { filled }: { filled: boolean },
  ): Promise<RunOutcome> {
    const { sql } = this.#deps;
    const { params } = this.#context;
    const started = performance.now();
    this.#tracker.begin("load");
    const outcome = this.#succeeded(metas, []);
    const chunks = metas.map(({ chunkNo, events, presentBytes, counts }) => ({
      chunkNo,
      events,
      deletions: counts.deletions,
      recordsRead: counts.records_read,
      keyless: counts.keyless,
      present: presentBytes > 0,
      ...(counts.files === undefined ? {} : { files: counts.files }),
    }));
    this.#control.throwIfHalted();
    const { decisions, warnings, ended } = await this.#submit("publishAtOnce", {
      chunks,
      filled,
      outcome: params.dry_run
        ? null
        : { ...outcome, validation: this.#validation, stages: this.#tracker.snapshot() },
    }, null).catch((error) => {
      // the request came while the transaction went on
      if (error instanceof Problem && error.type === "cancelled") this.#control.halt("cancelled");
      throw error;
    });
    for (const { events, inserts, updates } of decisions) {
      this.#tracker.add("load", { in: events, out: inserts + updates });
    }
    this.#tracker.add("load", { busyMs: performance.now() - started });
    this.#tracker.end("load");
    this.#tracker.begin("finalize");
    if (params.dry_run) await storeDryRunCounts(sql, this.#run, decisions);
    else if (params.layout === "typed" && !filled) {
      await analyzeTable(sql, `${params.schema_name}.${params.table_name}`);
    }
    return { ...outcome, warnings: [...outcome.warnings ?? [], ...warnings], hasEnded: ended };
  }

  async #plan(): Promise<PlannedChunk[]> {
    const { sql } = this.#deps;
    const started = performance.now();
    this.#tracker.begin("extract");
    await this.#fetch();
    const plan = await this.#submit("plan", {}, null);
    const { db_max_retries, db_retry_initial_ms } = this.#context.params;
    const stored = await withRetry(
      { attempts: db_max_retries, initialMs: db_retry_initial_ms },
      () => planChunks(sql, this.#run, plan),
    );
    if (stored.length === 0 && plan.slices.length > 0) this.#control.halt("replaced");
    this.#control.throwIfHalted();
    const { atOnce, replaces, params } = this.#context;
    if (atOnce && !replaces && params.on_missing === "delete" && plan.pin.steady === false) {
      throw notSteady();
    }
    if (stored.length !== plan.slices.length) {
      throw new Problem("source-changed", {
        detail: say("slices-changed", { now: plan.slices.length, then: stored.length }),
      });
    }
    // the pin is part of what identifies a spill, so workers must know it from here on
    this.#context = { ...this.#context, pin: this.#context.pin ?? plan.pin };
    this.#reopen();
    await this.#refuseWithoutRoom(plan, stored);
    this.#estimate = plan.estimate?.records;
    this.#tracker.add("extract", { busyMs: performance.now() - started });
    return plan.slices.map((slice, i) => {
      const { chunk_no: chunkNo, ...rest } = stored[i]!;
      return { chunkNo, slice, ...rest };
    });
  }

  /** The columns of a typed table: declared by an earlier load, else by the conf and what the data looks like. */
  async #knowColumns(chunks: PlannedChunk[]): Promise<void> {
    const { sql } = this.#deps;
    if (this.#context.table === null) {
      const { params, sourceName } = this.#context;
      const { version, occurred_at } = mappingOf(params.source);
      const seen = await Promise.all(
        chunks.map(({ slice, chunkNo }) =>
          this.#submit("types", { slice, slices: chunks.length }, chunkNo)
        ),
      );
      this.#control.throwIfHalted();
      const conf = columnsOf(params.source);
      const types = joinTypes(seen.map(({ types }) => types));
      // without a record and without declared columns there is nothing to make a table of
      if (Object.keys(types).length === 0 && Object.keys(conf.columns ?? {}).length === 0) return;
      let keys = tableKeyOf(params);
      const reading = readingOf(conf, keys ?? []);
      const rest = {
        source: sourceName,
        version: version ?? null,
        occurred_at: occurred_at ?? null,
        ...(params.write === "history" ? { history: true } : {}),
        ...(reading === null ? {} : { reading }),
      };
      const own = await ownTable(sql, params);
      if (own === null) {
        const columns = proposeTable(types, { conf, keep: keys ?? [] });
        this.#warnings.push(...fewTextsWarnings(columns, seen.map(({ kinds }) => kinds), conf));
        this.#context = { ...this.#context, table: { ...rest, key: keys, columns } };
      } else {
        const columns = mapOnto(own, [...Object.keys(types), ...keys ?? []], { conf });
        keys ??= primaryKeyOf(own, columns);
        await addMetadataColumns(sql, this.#run.run_id, {
          versioned: version !== undefined,
          keyless: keys === null,
        });
        const lost = keys?.find((path) => columns.every((column) => column.path !== path));
        if (lost !== undefined) {
          throw unknownFieldsProblem(params, {
            [lost]: { records: 1, type: types[lost] ?? "text", example: "the key" },
          }, own);
        }
        this.#context = { ...this.#context, table: { ...rest, key: keys, columns, own: true } };
      }
    }
    const { params } = this.#context;
    if (!params.dry_run) {
      this.#context.table = await declareTable(sql, this.#run.run_id, this.#context.table!);
    }
    await this.#meetOwnTable();
    this.#reopen();
  }

  /** A table of the user's own may have changed, and this server must be one that may write to it. */
  async #meetOwnTable(): Promise<void> {
    const { table, params } = this.#context;
    if (!table!.own) return;
    const { sql } = this.#deps;
    await checkOwnTable(sql, params);
    const shaped = onOwnTable(table!, (await ownTable(sql, params))!);
    const types = Object.fromEntries(
      shaped.columns.flatMap(({ name, type }, i) =>
        type === table!.columns[i]!.type ? [] : [[name, type]]
      ),
    );
    if (Object.keys(types).length > 0 && !params.dry_run) await this.#alter([], types);
    this.#context = { ...this.#context, table: shaped };
  }

  async #alter(add: TypedColumn[], types: Record<string, string> = {}): Promise<TypedTable> {
    const { schema_name, table_name } = this.#context.params;
    return await alterTable(this.#deps.sql, `${schema_name}.${table_name}`, {
      add,
      types,
      actor: this.#run.requested_by,
      runId: this.#run.run_id,
    });
  }

  /** Uses the columns that the owner of a table has added since for fields that had none. */
  async #findColumns(unknown: UnknownFields): Promise<void> {
    const { params, table } = this.#context;
    const own = (await ownTable(this.#deps.sql, params))!;
    const paths = Object.keys(unknown).map((field) => field.replaceAll(".", "\\."));
    const add = mapOnto(own, paths, { conf: columnsOf(params.source), taken: table!.columns });
    if (paths.some((path) => add.every((column) => column.path !== path))) {
      throw unknownFieldsProblem(params, unknown, own);
    }
    const evolved = params.dry_run
      ? { ...table!, columns: [...table!.columns, ...add] }
      : await this.#alter(add);
    this.#context = { ...this.#context, table: onOwnTable(evolved, own) };
    this.#reopen();
  }

  /** Gives fields that have no column yet one, before the chunks are prepared again. */
  async #addColumns(unknown: UnknownFields): Promise<void> {
    const table = this.#context.table!;
    const { params } = this.#context;
    const types = Object.entries(unknown).map(([field, { type }]) => [
      field.replaceAll(".", "\\."),
      type,
    ]);
    const add = proposeTable(Object.fromEntries(types), {
      conf: columnsOf(params.source),
      taken: table.columns,
    });
    const evolved = params.dry_run
      ? { ...table, columns: [...table.columns, ...add] }
      : await this.#alter(add);
    this.#context = { ...this.#context, table: evolved };
    const columns = add.map(({ name, type }) => `${name} ${type}`).join(", ");
    this.#warnings.push(
      add.length === 1
        ? say("got-a-column", { columns })
        : say("got-columns", { n: add.length, columns }),
    );
    this.#reopen();
  }

  /** Tells the workers what the run has found out. */
  #reopen(): void {
    const { workers } = this.#deps;
    workers.close(this.#run.run_id);
    workers.open(this.#context);
  }

  /** What a module makes of records, and so what its rows take, is not known; nor is what chunks of earlier attempts took. */
  async #refuseWithoutRoom({ estimate }: Plan, stored: { state: string }[]): Promise<void> {
    const { params, spillDir } = this.#context;
    if (estimate === undefined || params.transform !== null) return;
    const left = stored.filter(({ state }) => state === "planned").length / stored.length;
    if (stored.length > 0) await refuseWithoutRoom(spillDir, spillBytes(estimate) * left);
  }

  /** What other servers must have as this one to help; null where the run is not offered, or nobody is there yet. */
  async #sameToShare(chunks: PlannedChunk[]): Promise<Same | null> {
    const { sharesRuns = false, dataShared = false } = this.#deps.settings;
    const slices = chunks.map(({ slice }) => slice);
    const alone = whyAlone(this.#context, { slices, dataShared });
    // most runs are small, and cost nothing for it
    if (alone === "few_chunks") return null;
    if (alone !== null || !sharesRuns) {
      await this.#staysAlone(alone ?? "off");
      return null;
    }
    this.#offersLate = true;
    if (await this.#hasOthers()) return await this.#offer();
    await this.#staysAlone("no_other");
    return null;
  }

  async #hasOthers(): Promise<boolean> {
    const { sql, serverId } = this.#deps;
    return await hasOtherServers(sql, { serverId, version: VERSION });
  }

  async #staysAlone(why: Alone): Promise<void> {
    this.#log.info(`one server executes the run: ${ALONE[why]}`);
    await noteSharing(this.#deps.sql, this.#run, why);
  }

  async #offer(): Promise<Same | null> {
    this.#offersLate = false;
    try {
      const same = await sameOf(this.#context);
      await noteSharing(this.#deps.sql, this.#run, null);
      return same;
    } catch (error) {
      this.#log.warn("the run is not offered to other servers", { error });
      return null;
    }
  }

  /** Offers a run of which some chunks are prepared here: their rows stay where they are, their keys go into the manifest anew. */
  async #shareLate(chunks: PlannedChunk[], same: Same): Promise<void> {
    const { sql } = this.#deps;
    this.#leaves = true;
    if (!await createManifest(sql, this.#run)) this.#control.halt("replaced");
    this.#control.throwIfHalted();
    await emptyManifest(sql, this.#context);
    await this.#share(chunks, same, { late: true });
  }

  /** Offers the run to other servers; from here on every chunk is of whoever claims it. */
  async #share(chunks: PlannedChunk[], same: Same, { late = false } = {}): Promise<void> {
    const { sql, serverId, settings } = this.#deps;
    const { runId, attempt, params: { db_max_retries, db_retry_initial_ms } } = this.#context;
    const retry = { attempts: db_max_retries, initialMs: db_retry_initial_ms };
    const of = { runId, attempt, holder: crypto.randomUUID() };
    // where this server has unpacked its input, or prepared chunks of it, already
    const stays = late || chunks.some(({ slice }) => readsSpooled(slice));
    const spillDir = stays
      ? this.#context.spillDir
      : sharedDir(settings.spoolDir, { runId, serverId });
    await Deno.mkdir(spillDir, { recursive: true });
    this.#context = { ...this.#context, holder: of.holder, spillDir };
    if (!await withRetry(retry, () => shareRun(sql, of, same))) this.#control.halt("replaced");
    this.#control.throwIfHalted();
    this.#reopen();
    this.#shared = new SharedRun({
      sql,
      of,
      serverId,
      chunks: chunks.length,
      spillDir,
      lanes: this.#deps.workers.size,
      control: this.#control,
      log: this.#log,
      retry,
      submit: (kind, input, chunkNo) => this.#submit(kind, input, chunkNo),
    });
    this.#log.info("run offered to other servers", { chunks: chunks.length });
  }

  /** Takes all chunks back, to prepare them alone. */
  async #unshare(): Promise<void> {
    if (this.#shared === null) return;
    await unshareRun(this.#deps.sql, this.#run);
    await this.#staysAlone("columns");
    this.#shared = null;
    this.#context = { ...this.#context, holder: null };
  }

  /** What the source has elsewhere, found or downloaded by a worker that loads no module of the user's own. */
  async #fetch(): Promise<void> {
    const { params: { source }, spillDir, limits, traceparent, runId, target, pin } = this.#context;
    if (adapterFor(source).fetch === undefined) return;
    const { signal } = this.#control;
    const wanted = { conf: source, spoolDir: spillDir, limits, preview: false, target: target! };
    const said = await traced(
      "etl.fetch",
      { traceparent, attributes: { "etl.run_id": runId } },
      () =>
        fetchAside({ ...wanted, ...(pin === null ? {} : { pin }) }, {
          timeoutMs: Infinity,
          signal,
        }),
    );
    if (said !== null) this.#log.info(said);
  }

  /** `counted` are chunks that an earlier pass has told the tracker of. */
  async #prepare(
    chunks: PlannedChunk[],
    fillManifest: boolean,
    counted = new Set<number>(),
  ): Promise<SpillMeta[]> {
    const { params } = this.#context;
    const metas: SpillMeta[] = [];
    let rejected = 0;
    let hopeful = false;
    const note = (chunk: PlannedChunk, { meta, reused }: PrepareResult) => {
      rejected -= metas[chunk.chunkNo]?.counts.rejected ?? 0;
      metas[chunk.chunkNo] = meta;
      // it may hold what is newer than what was published
      if (chunk.state === "published" && !reused) this.#reread = true;
      if (!counted.has(chunk.chunkNo)) this.#tracker.addPrepared(meta);
      counted.add(chunk.chunkNo);
      hopeful ||= this.#context.isReplay || refuseHopelessRun(metas);
      rejected += meta.counts.rejected;
      if (rejected > MAX_QUARANTINE) {
        throw tooManyRejected(say("more-were-rejected", { n: MAX_QUARANTINE }), undefined);
      }
    };
    this.#tracker.begin("transform", "chunk", "validate", "ge_validate");
    if (this.#shared === null) await this.#prepareAlone(chunks, { fillManifest, note });
    await (this.#shared as SharedRun | null)?.prepare((meta, reused) =>
      note(chunks[meta.chunkNo]!, { meta, reused })
    );
    this.#control.throwIfHalted();
    const unknown = joinUnknown(metas.map(({ counts }) => counts.unknown_fields));
    if (Object.keys(unknown).length > 0) {
      const { own } = this.#context.table!;
      if (!own && params.schema_policy !== "evolve") throw unknownFieldsProblem(params, unknown);
      await this.#unshare();
      await (own ? this.#findColumns(unknown) : this.#addColumns(unknown));
      return await this.#prepare(
        chunks.map((chunk) => ({ ...chunk, state: "planned" })),
        fillManifest,
        counted,
      );
    }
    // what is judged now is the batch: the stages before have done their part
    this.#tracker.end("extract", "transform", "chunk", "validate");
    if (this.#context.suite !== null) {
      for (const meta of metas) await this.#shared?.adopt(meta);
      const states = metas.flatMap(({ validation }) =>
        validation === undefined ? [] : [validation]
      );
      this.#validation = await this.#submit("judge", { states }, null);
    }
    const { enforce_ge } = params;
    if (enforce_ge && this.#validation === null) throw noSuite();
    if (enforce_ge && !this.#validation!.success) throw suiteFailed(this.#validation!);
    this.#tracker.end("ge_validate");
    return metas;
  }

  /** Prepares all chunks on this server, or as many as are begun when another one comes, which the run is shared with then. */
  async #prepareAlone(
    chunks: PlannedChunk[],
    { fillManifest, note }: {
      fillManifest: boolean;
      note: (chunk: PlannedChunk, result: PrepareResult) => void;
    },
  ): Promise<void> {
    let begun = 0;
    let others = false;
    let looked = performance.now();
    const left: PlannedChunk[] = [];
    await forEachLane(chunks, this.#lanes, async (chunk) => {
      if (others) return void left.push(chunk);
      this.#control.throwIfHalted();
      const { chunkNo, slice, state } = chunk;
      begun++;
      note(chunk, await this.#submit("prepare", { chunkNo, slice, state, fillManifest }, chunkNo));
      if (
        !this.#offersLate || chunks.length - begun < SHARED_CHUNKS ||
        performance.now() - looked < LOOK_MS
      ) return;
      looked = performance.now();
      if (await this.#hasOthers()) others = true;
    });
    this.#control.throwIfHalted();
    if (!others) return;
    const same = await this.#offer();
    if (same === null) await this.#prepareAlone(left, { fillManifest, note });
    else await this.#shareLate(chunks, same);
  }

  async #resolve(
    metas: SpillMeta[],
    how: { comparison: Comparison; destinationRows: number },
  ): Promise<ChunkDecision[]> {
    const started = performance.now();
    const chunks = metas.map(({ chunkNo, events, counts: { files, deletions } }) => ({
      chunkNo,
      events,
      deletions,
      ...(files === undefined ? {} : { files }),
    }));
    const { decisions, compared, keysOfFiles } = await this.#submit(
      "resolve",
      { chunks, ...how },
      null,
    );
    if (!compared) await this.#lookUp(decisions, how.destinationRows);
    this.#tracker.add("load", { busyMs: performance.now() - started });
    this.#warnings.push(...keysOfFilesWarning(keysOfFiles));
    return decisions;
  }

  /** Completes decisions by looking each chunk up; refuses rows of another source before anything is published. */
  async #lookUp(decisions: ChunkDecision[], destinationRows: number): Promise<void> {
    const foreign: ForeignRows = { count: 0, examples: [] };
    await forEachLane(decisions, this.#lanes, async (decision) => {
      this.#control.throwIfHalted();
      const found = await this.#submit("lookup", { decision, destinationRows }, decision.chunkNo);
      Object.assign(decision, found.decision);
      if (found.foreign === null) return;
      foreign.count += found.foreign.count;
      foreign.examples = [...foreign.examples, ...found.foreign.examples].slice(0, 3);
    });
    this.#control.throwIfHalted();
    if (foreign.count > 0) {
      throw foreignRowsProblem(this.#context, foreign);
    }
  }

  /** Publishes into a table that was empty: many rows without its indexes, which are made when the rows are there. */
  async #publishFirst(
    decisions: ChunkDecision[],
    publish: () => Promise<void>,
  ): Promise<void> {
    const { sql, settings: { firstLoadRows = FIRST_LOAD_ROWS } } = this.#deps;
    const rows = decisions.reduce((sum, { inserts }) => sum + inserts, 0);
    const began = rows >= firstLoadRows && await beginFirstLoad(sql, this.#run);
    try {
      await publish();
    } catch (error) {
      const { why } = this.#control;
      // where there will be another attempt, it begins with this
      if (began && why !== "server stops" && why !== "replaced") {
        await endFirstLoad(sql, this.#context.params).catch((error) =>
          this.#log.warn("the table's indexes could not be made now", { error })
        );
      }
      throw error;
    }
    if (began) await endFirstLoad(sql, this.#context.params);
  }

  async #publishTogether(shared: SharedRun, published: Set<number>): Promise<void> {
    await shared.publish(published, ({ events, written, load_ms }) => {
      this.#tracker.add("load", { busyMs: load_ms, in: events, out: written });
    });
  }

  async #publish(decisions: ChunkDecision[]): Promise<void> {
    await forEachLane(decisions, this.#lanes, async (decision) => {
      this.#control.throwIfHalted();
      const result = await this.#submit("publish", { decision }, decision.chunkNo);
      this.#notePublished(decision.events, result);
    });
  }

  #notePublished(events: number, result: PublishResult): void {
    this.#refused += result.refused;
    if (this.#refused > MAX_QUARANTINE) {
      throw tooManyRejected(say("table-refused-more", { n: MAX_QUARANTINE }), undefined);
    }
    this.#tracker.add("load", {
      busyMs: result.elapsedMs,
      in: events,
      out: result.inserted + result.updated,
    });
  }

  /** What storing the outcome needs. */
  get #ending(): Ending {
    return {
      sql: this.#deps.sql,
      run: this.#run,
      log: this.#log,
      tracker: this.#tracker,
      control: this.#control,
      validation: this.#validation,
      leaves: this.#leaves,
      admit: this.#deps.admit,
      spoolDir: this.#deps.settings.spoolDir,
      outageMinutes: this.#deps.settings.outageMinutes ?? 30,
    };
  }

  /** Tasks under way: one in each worker, and one more that waits for it. */
  get #lanes(): number {
    return this.#deps.workers.size * 2;
  }

  async #submit<K extends TaskKind>(
    kind: K,
    input: Tasks[K]["input"],
    chunkNo: number | null,
  ): Promise<Tasks[K]["output"]> {
    const { workers, observer } = this.#deps;
    const started = performance.now();
    const output = await workers.submit(this.#run.run_id, kind, input);
    observer?.taskDone?.(this.#run, { kind, chunkNo, elapsedMs: performance.now() - started });
    return output;
  }
}

/** The problem of a retry that would put an older state in the place of a later one. */
function comesLate(): Problem {
  return new Problem("superseded", {
    detail: say("later-run-loaded", {}),
  });
}

/** The problem of a load that looks for rows which a distributed table's servers would have to look for together. */
function isDistributed({ schema_name, table_name, write }: Params): Problem {
  return new Problem("invalid-conf", {
    detail: say("table-distributed", { table: `${schema_name}.${table_name}` }),
    errors: [{
      field: "write",
      value: write,
      message: "deletes or marks rows of a distributed table",
      expected: "upsert or append, without deleted",
    }],
  });
}

/** The problem of a dry run that finds nothing which it could compare its rows with. */
function cannotCompare(
  { schema_name, table_name }: Params,
  { there }: { there: boolean },
): Problem {
  return new Problem("invalid-conf", {
    detail: there
      ? say("compare-distributed", { table: `${schema_name}.${table_name}` })
      : say("compare-no-table", { table: `${schema_name}.${table_name}` }),
    errors: [{ field: "compare", value: true, message: "has no table to compare with" }],
  });
}

/** The problem of a mirror that could take for gone what it has missed. */
function notSteady(): Problem {
  return new Problem("invalid-conf", {
    detail: say("source-not-steady", {}),
    errors: [{
      field: "on_missing",
      value: "delete",
      message: "needs a steady source",
      expected: "mark",
    }],
  });
}

/** What a late run says of the rows that it left as they are. */
function heldBackWarning(count: number): Message[] {
  if (count === 0) return [];
  return [count === 1 ? say("one-held-back", {}) : say("held-back", { n: count })];
}

export interface RunSettings {
  /** Whether other servers may help with this one's runs; default false. */
  sharesRuns?: boolean;
  /** ETL_DATA_SHARED */
  dataShared?: boolean;
  /** ETL_RUN_MAX_ATTEMPTS */
  maxAttempts: number;
  /** Minutes that a run waits for what is away; default 30. */
  outageMinutes?: number;
  /** Rows from which on an empty table gets its indexes when the rows are there; default 100,000. */
  firstLoadRows?: number;
  spoolDir: string;
  /** Where this server leaves request bodies that it has stored; default: nowhere. */
  bodiesDir?: string;
  dataDir: string;
  transformsDir: string;
  sourcesDir: string;
  connections: Record<string, string>;
  remotes: Remotes;
  /** ETL_HASH_SECRET; null without. */
  hashSecret: string | null;
  limits: SourceLimits;
}

/** What the workers need to know of a run, from its row and the server's settings. */
export async function runContext(
  sql: Sql,
  run: RunRow,
  settings: RunSettings,
  { serverId, holder = null }: { serverId: string; holder?: string | null },
): Promise<RunContext> {
  const asked = checkedParams(run);
  const { source } = asked;
  const sourceName = sourceNameOf(source, run.run_label);
  const dataset = `${run.schema_name}.${run.table_name}`;
  const adapter = adapterFor(source);
  const { incremental } = adapter;
  const uploadId = adapter.upload?.(source);
  const hashMark = settings.hashSecret === null ? null : secretMark(settings.hashSecret);
  // raises what is wrong with the conf before anything else is looked up
  const hides = await privateFields(sql, run.run_id, hashMark);
  const params = { ...asked, ...hides };
  const compares = params.dry_run && params.compare;
  const atOnce = ["replace", "mirror"].includes(params.write) && run.replay_of === null &&
    !compares;
  const hasCursor = (incremental || cursorOf(source) !== undefined) && !params.full_refresh &&
    !compares &&
    !["replace", "mirror"].includes(params.write);
  const [hashed, isLarge, place, table, position, suite, deletions] = await Promise.all([
    run.replay_of === null ? [] : hashedBefore(sql, run.replay_of),
    adapter.atHand && uploadId !== undefined && isLargeUpload(sql, uploadId),
    placeOf(sql, run),
    params.layout === "typed" ? tableOf(sql, params) : null,
    hasCursor ? cursorPosition(sql, sourceName, dataset) : null,
    findSuite(sql, params.suite, dataset),
    deletionsBeside(sql, run, { dataset, source: sourceName }),
  ]);
  const atHand = adapter.atHand && !isLarge;
  return {
    runId: run.run_id,
    attempt: run.attempt,
    startedAt: (run.started_at ?? run.requested_at).getTime(),
    serverId,
    holder,
    isReplay: run.replay_of !== null,
    deletions,
    ...place,
    appends: params.write === "append",
    // a replay has what was rejected, and nothing else
    replaces: params.write === "replace" && atOnce,
    atOnce,
    marks: false,
    buries: false,
    distributed: false,
    params,
    privacy: privacyOf(params, settings.hashSecret, hashed),
    table,
    sourceName,
    chunkSize: atHand || run.origins.chunk_size !== "default" ? params.chunk_size : null,
    maxRecords: isBounded(source, run.origins) ? params.batch_size : null,
    pin: run.pin,
    cursorPosition: position,
    bodiesDir: settings.bodiesDir ?? null,
    spillDir: await spillDirOf(run, settings, { serverId, helps: holder !== null }),
    dataDir: settings.dataDir,
    transformsDir: settings.transformsDir,
    sourcesDir: settings.sourcesDir,
    connections: settings.connections,
    target: adapterFor(source).target?.(source, settings.remotes),
    limits: settings.limits,
    suite: parseJson(suite ?? "null") as Plain | null,
    traceparent: run.traceparent,
  };
}

/** Where a server keeps its rows of a run: as a helper in a directory of its own, also when it takes the run over. */
async function spillDirOf(
  { run_id: runId, attempt }: RunRow,
  { spoolDir }: RunSettings,
  { serverId, helps }: { serverId: string; helps: boolean },
): Promise<string> {
  const own = sharedDir(spoolDir, { runId, serverId });
  const helped = attempt > 1 && await Deno.stat(own).then(() => true, () => false);
  return helps || helped ? own : runDir(spoolDir, runId);
}

/** What a typed dataset has declared, with what its table is where it is the user's own; null where there is nothing yet. */
async function tableOf(sql: Sql, params: Params): Promise<TypedTable | null> {
  const table = await declaredTable(sql, `${params.schema_name}.${params.table_name}`);
  if (!table?.own) return table;
  const own = await ownTable(sql, params);
  return own === null ? table : onOwnTable(table, own);
}

/** Only a run that comes back can be late, a replay, or a run that has ended before; and one that is executed in any order. */
async function placeOf(sql: Sql, run: RunRow): Promise<RunOrder> {
  return run.replay_of === null && run.attempt_base === 0 && !run.comes_back &&
      run.cursor_key !== null
    ? { orderRunId: run.run_id, late: false, superseded: false }
    : await orderOf(sql, run.run_id);
}

/** Whoever is executed in any order may meet a run that replaces, mirrors or deletes, and what that has deleted must not come back. */
async function deletionsBeside(
  sql: Sql,
  { cursor_key, dry_run, params }: RunRow,
  of: { dataset: string; source: string },
): Promise<RunContext["deletions"]> {
  const deletes = ["replace", "mirror"].includes(`${params.write}`) ||
    (params.deleted ?? null) !== null;
  if (cursor_key !== null || dry_run || deletes) return null;
  return { ...of, times: await deletionsOf(sql, of) };
}

/** The parameters as SQL resolved them; what only this schema can check fails the run here. */
function checkedParams(run: RunRow): Params {
  const parsed = paramsSchema.safeParse(run.params);
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.map((issue) => ({
    field: issue.path.join("."),
    message: issue.message,
  }));
  throw new Problem("invalid-conf", {
    detail: say("params-not-valid", {
      errors: errors.map(({ field, message }) => `${field}: ${message}`).join("; "),
    }),
    errors,
  });
}
