import { verbatim } from "../vocabulary/messages.ts";
import type { Event, Rejected } from "./event.ts";
import { FlatRows } from "./flat_rows.ts";
import { compileMapping, countKeyTypes, type Mapping } from "./mapping.ts";
import { parsePath } from "./field_path.ts";
import type { Params } from "./params.ts";
import { type Privacy, PrivateFields, withoutValues } from "./private_fields.ts";
import { columnsOf, cursorOf, mappingOf, mappingOfRun } from "./sources/adapters.ts";
import { compileColumns, rereadFields } from "./sources/columns.ts";
import { parseJson } from "./sources/json_text.ts";
import type { SourceConf } from "./sources/schema.ts";
import { higher } from "./sources/modules/positions.ts";
import { locate, sliceBatch } from "./sources/origin.ts";
import { addRepeated } from "./sources/repeated_names.ts";
import { RowShaper } from "./typed_rows.ts";
import type { TypedTable } from "../store/row_layout.ts";
import { type Plain, type RecordBatch, Unreadable } from "./sources/source.ts";
import type { PreparedCounts } from "./spill/layout.ts";
import type { MadeRows } from "./spill/writer.ts";
import { atStage } from "./stage_tracker.ts";
import { GeValidator, payloadCheckOf } from "./stages/ge_validate.ts";
import { type TransformedBatch, Transformer } from "./stages/transform.ts";
import { validateBatch } from "./stages/validate.ts";
import type { TransformClient } from "./user_code/transform_client.ts";
import type { Stage } from "../vocabulary/words.ts";

export interface ChainOptions {
  params: Params;
  /** Owner of the rows. */
  sourceName: string;
  /** Its personal data, which is taken out before all else; null where it has none. */
  privacy: Privacy | null;
  /** The user's own module in its host; null where the conf names none. */
  module: TransformClient | null;
  /** JSON of the suite whose payload schema counts, and which judges; null: none. */
  suite: Plain | null;
  /** Whether the suite looks at the events for its verdict; default true. */
  judges?: boolean;
  /** Bytes that a payload may have. */
  maxPayloadBytes: number;
  /** Where the suite puts what it cannot hold in memory. */
  spillDir: string;
  /** Default 1. */
  attempt?: number;
  /** As which rows of flat records count; default: records are given as events, none as rows. */
  orderRunId?: string;
  /** Null outside of a run. */
  chunkNo: number | null;
  /** The columns of a typed destination; default null: the events table, which takes any record. */
  table?: TypedTable | null;
  /** Whether the events are for a typed table, whose columns may not be known yet; default: where `table` is given. */
  typed?: boolean;
  /** A batch ends exactly behind so many records, for who judges by the first ones; default: wherever it ends. */
  endsBehind?: number;
  /** Told each batch as it was read. */
  onRead?: (records: RecordBatch) => void;
  /** Told each time when a stage's part of a batch is done. */
  onLap?: (ended: keyof RecordChain["ms"]) => void;
  /** Takes secrets out of what is told of a rejected record; default: leaves it as it is. */
  hide?: ((text: string) => string) | undefined;
  /** Does work that may hang, such as a check by somebody's pattern; default: just does it. */
  bounded?: <T>(work: () => T) => Promise<Awaited<T>>;
}

/** What became of a batch. */
export interface ChainBatch {
  /** What the suite sees. */
  valid: Event[];
  /** What is loaded: without what the suite has sent to the quarantine. */
  events: Event[];
  /** With file, line and raw text, in the order of the stages. */
  rejected: Rejected[];
  /** Types that the source has for the columns of its records; undefined where it has none, or a module has made others. */
  types: Record<string, string> | undefined;
  /** Whether its records were cells of text. */
  cells: boolean;
  /** Rows that are made already, of flat records, which are no events. */
  rows?: MadeRows;
}

/**
 * What becomes of the records of a source: transform, validate and ge_validate, put together
 * here and nowhere else. Runs, previews, profiles, tries of suites and benchmarks read through it, so that
 * each says what a run does.
 */
export class RecordChain implements Disposable {
  readonly counts: PreparedCounts = {
    records_read: 0,
    rejected: 0,
    filtered: 0,
    extra: 0,
    events: 0,
    cursor_nulls: 0,
    keyless: 0,
    deletions: 0,
  };
  /** Milliseconds; `chunk` is what was done with the events between two batches. */
  readonly ms = { extract: 0, transform: 0, chunk: 0, validate: 0, ge_validate: 0 };
  readonly #options: ChainOptions;
  readonly #transform: (
    records: RecordBatch,
    start: number,
  ) => TransformedBatch | Promise<TransformedBatch>;
  readonly #checks: NonNullable<ReturnType<typeof payloadCheckOf>>[];
  readonly #validator: GeValidator;
  readonly #mapping: Mapping;
  readonly #shaper: RowShaper | null;
  readonly #typed: boolean;
  readonly #private: PrivateFields | null;
  /** The key of a record that was rejected before it was mapped; only where somebody wants to know. */
  readonly #keyOf: ((rejected: Rejected) => string | undefined) | null;
  readonly #flat: FlatRows | null;
  #mark = performance.now();
  /** What an error that is thrown now belongs to. */
  #stage: Stage = "extract";

  constructor(options: ChainOptions) {
    const { params, sourceName, module, suite, chunkNo, table = null } = options;
    this.#typed = options.typed ?? table !== null;
    this.#options = options;
    const mapping = mappingOfRun(params);
    this.#mapping = compileMapping(mapping);
    if (module === null) {
      const transformer = new Transformer({
        mapping,
        sourceName,
        typed: this.#typed,
      });
      this.#transform = (records, start) => transformer.batch(records, start);
    } else this.#transform = (records, start) => module.batch(records, { start, chunkNo });
    this.#private = options.privacy === null
      ? null
      : new PrivateFields(options.privacy, columnsOf(params.source));
    const check = payloadCheckOf(suite);
    this.#checks = check === undefined ? [] : [check];
    this.#shaper = table === null ? null : new RowShaper(table, {
      quarantinesUnknown: params.schema_policy === "quarantine",
      maxPayloadBytes: options.maxPayloadBytes,
      conf: columnsOf(params.source),
      isRaw: isRawField(options),
    });
    const makesRows = options.orderRunId !== undefined && module === null && suite === null &&
      options.privacy === null && chunkNo !== null && this.#typed === (table !== null);
    this.#flat = makesRows
      ? FlatRows.of({
        mapping,
        sourceName,
        maxPayloadBytes: options.maxPayloadBytes,
        runId: options.orderRunId!,
        chunkNo,
        table,
        cursor: cursorOf(params.source),
      })
      : null;
    const keyOf = params.write === "mirror" && module === null
      ? rejectedKey(params.source, options.privacy)
      : null;
    this.#keyOf = keyOf === null ? null : (rejected) => {
      const key = keyOf(rejected);
      return key === undefined || this.#shaper === null ? key : this.#shaper.keyOfText(key);
    };
    this.#validator = new GeValidator({
      suite,
      judges: options.judges ?? true,
      quarantines: params.on_failure === "quarantine",
      spillDir: options.spillDir,
      attempt: options.attempt ?? 1,
      chunkNo: chunkNo ?? 0,
    });
  }

  /** Whether it makes rows of flat records. */
  get takesFlat(): boolean {
    return this.#flat !== null;
  }

  /** The batches, flat records of which are rows now, but for those that others have to look at. */
  async *#withRows(
    batches: AsyncIterable<RecordBatch>,
  ): AsyncGenerator<RecordBatch | { rows: MadeRows }> {
    const { counts } = this;
    for await (const records of batches) {
      if (records.unparsed === undefined) {
        yield records;
        continue;
      }
      this.#lap("extract", "transform");
      this.#count(records);
      const { records: flat, rest } = records.unparsed;
      const rows = this.#flat!.make(flat, counts.events, counts);
      counts.records_read += rows.count;
      counts.events += rows.count;
      this.#lap("transform", "chunk");
      yield { rows };
      if (rows.count < flat.count) yield rest(rows.count);
    }
  }

  /** The same batches, one of which ends where it is asked for. */
  async *#split<B extends RecordBatch | { rows: MadeRows }>(
    batches: AsyncIterable<B>,
  ): AsyncGenerator<B | RecordBatch> {
    let rest = this.#options.endsBehind ?? 0;
    for await (const batch of batches) {
      if ("rows" in batch) rest -= batch.rows.count;
      else if (rest > 0 && rest < batch.length) {
        yield sliceBatch(batch, 0, rest);
        yield sliceBatch(batch, rest);
        rest = 0;
        continue;
      } else rest -= batch.length;
      yield batch;
    }
  }

  /** Passes batches on, in order; an error that is thrown notes its stage. */
  async *pass(batches: AsyncIterable<RecordBatch>): AsyncGenerator<ChainBatch> {
    const { counts } = this;
    const { onRead, bounded, maxPayloadBytes } = this.#options;
    const options = {
      maxPayloadBytes,
      checks: this.#checks,
      typed: this.#typed,
      ...(this.#shaper === null ? {} : { keyOf: (event: Event) => this.#shaper!.keyOf(event) }),
    };
    this.#mark = performance.now();
    try {
      for await (const records of this.#split(this.#withRows(batches))) {
        if ("rows" in records) {
          yield {
            valid: [],
            events: [],
            rejected: [],
            types: undefined,
            cells: false,
            rows: records.rows,
          };
          this.#lap("chunk", "extract");
          continue;
        }
        this.#lap("extract", "transform");
        this.#private?.batch(records);
        this.#count(records);
        onRead?.(records);
        const start = counts.records_read;
        const made = this.#transform(records, start);
        const batch = made instanceof Promise ? await made : made;
        this.#lap("transform", "validate");
        const judge = () => {
          const checked = validateBatch(batch.events, options);
          const types = this.#typesOf(records);
          const { valid, rejected: misfits } =
            this.#shaper?.batch(checked.valid, { types, cells: records.cells === true }) ??
              { valid: checked.valid, rejected: [] };
          if (this.#shaper !== null) {
            for (const each of batch.rejected) {
              if (each.key !== undefined) each.key = this.#shaper.keyOfText(each.key);
            }
          }
          this.#lap("validate", "ge_validate");
          // a suite is about rows
          const rows = valid.some(({ deletes }) => deletes)
            ? valid.filter((each) => !each.deletes)
            : valid;
          const { events, rejected: unexpected } = this.#validator.batch(rows);
          return {
            valid: rows,
            events: rows === valid ? events : inOrder(valid, events),
            rejected: [...batch.rejected, ...checked.rejected, ...misfits, ...unexpected],
            types,
            cells: records.cells === true,
          };
        };
        const passed = bounded === undefined ? judge() : await bounded(judge);
        locate(passed.rejected, records, start);
        if (this.#keyOf !== null) {
          for (const each of passed.rejected) each.key ??= this.#keyOf(each);
        }
        this.tellPrivate(passed.rejected);
        counts.records_read += records.length;
        counts.filtered += batch.filtered;
        counts.extra += batch.extra;
        counts.events += passed.events.length;
        for (const each of passed.events) if (each.deletes) counts.deletions++;
        counts.rejected += passed.rejected.length;
        for (const { key } of passed.rejected) if (key === undefined) counts.keyless++;
        this.#lap("ge_validate", "chunk");
        yield passed;
        this.#lap("chunk", "extract");
      }
      this.#lap("extract", "ge_validate");
    } catch (thrown) {
      const hides = this.#private !== null && this.#stage === "extract";
      const error = hides ? withoutValues(thrown) : thrown;
      throw atStage(error, this.#stage);
    }
  }

  /** Takes secrets out of rejected records, and says of them that they are not shown as they were read, where personal data is left out. */
  tellPrivate(rejected: Rejected[]): void {
    const { hide } = this.#options;
    if (hide !== undefined) {
      for (const each of rejected) {
        each.message = verbatim(hide(each.message));
        each.raw = hide(each.raw);
        if (each.record !== undefined) each.record = hide(each.record);
      }
    }
    this.#private?.note(rejected);
  }

  /** What the records say of the whole batch, to be merged with other chunks'; null without a judging suite. */
  finish(): Plain | null {
    const unknown = this.#shaper?.unknown ?? {};
    if (Object.keys(unknown).length > 0) this.counts.unknown_fields = unknown;
    if (this.#private !== null) this.counts.private_found = [...this.#private.found];
    try {
      return this.#validator.finish();
    } catch (error) {
      throw atStage(error, "ge_validate");
    } finally {
      this.#lap("ge_validate", "chunk");
    }
  }

  [Symbol.dispose](): void {
    this.#validator[Symbol.dispose]();
  }

  /** Types of columns, without those that are left out; a hash is text. */
  #typesOf({ types }: RecordBatch): Record<string, string> | undefined {
    const { module, privacy } = this.#options;
    if (types === undefined || module !== null) return undefined;
    if (privacy === null) return types;
    return Object.fromEntries(
      Object.entries(types).map((
        [name, type],
      ) => [name, named(privacy.hash, name) ? "text" : type]),
    );
  }

  /** What is told of records as they were read. */
  #count(records: RecordBatch): void {
    const { counts } = this;
    const { params: { source }, module } = this.#options;
    const cursor = cursorOf(source);
    if (cursor !== undefined) counts.cursor_nulls += nullCount(records, cursor);
    if (records.file !== undefined && counts.files?.at(-1)?.file !== records.file) {
      (counts.files ??= []).push({ file: records.file, from: counts.events });
    }
    counts.position = higher(counts.position, records.position);
    counts.no_positions = addRepeated(counts.no_positions, records.noPositions);
    counts.repeated_names = addRepeated(counts.repeated_names, records.repeatedNames);
    if (module === null) {
      counts.key_types = countKeyTypes(this.#mapping, records, counts.key_types);
    }
  }

  #lap(ended: keyof RecordChain["ms"], next: Stage): void {
    const now = performance.now();
    this.ms[ended] += now - this.#mark;
    this.#mark = now;
    this.#stage = next;
    this.#options.onLap?.(ended);
  }
}

/**
 * Reads the key of a record that could not be read as a whole; null where a record is its own key, or is told by what is
 * kept from everybody.
 */
function rejectedKey(
  source: SourceConf,
  privacy: Privacy | null,
): ((rejected: Rejected) => string | undefined) | null {
  const mapping = mappingOf(source);
  if (mapping.key === undefined) return null;
  const names = new Set([mapping.key].flat().map((path) => parsePath(path)[0]!));
  if (
    [...privacy?.hash ?? [], ...privacy?.exclude ?? []].some((path) =>
      names.has(parsePath(path)[0]!)
    )
  ) return null;
  const eventId = compileMapping(mapping).eventId!;
  const columns = compileColumns(columnsOf(source));
  return ({ record, raw }) => {
    try {
      const kept = parseJson(record ?? raw);
      if (typeof kept !== "object" || kept === null || Array.isArray(kept)) return undefined;
      const fields = rereadFields(kept, names, columns);
      return fields instanceof Unreadable ? undefined : eventId(fields);
    } catch {
      return undefined;
    }
  };
}

/** Deletions among the events that are left, in source order. */
function inOrder(all: Event[], left: Event[]): Event[] {
  const kept = new Set(left);
  return all.filter((each) => each.deletes || kept.has(each));
}

function nullCount(records: RecordBatch, field: string): number {
  let count = 0;
  for (const record of records) {
    if (record instanceof Unreadable) continue;
    const value = record[field];
    if (value === null || value === undefined) count++;
  }
  return count;
}

/** What tells whether a field has what its source gave, and no transform or hash made it. */
export function isRawField(
  { params, privacy }: Pick<ChainOptions, "params" | "privacy">,
): (field: string) => boolean {
  return (field) => params.transform === null && !named(privacy?.hash ?? [], field);
}

/** Whether one of these paths is that of a field. */
function named(paths: string[], field: string): boolean {
  return paths.some((path) => parsePath(path).join(".") === field);
}
