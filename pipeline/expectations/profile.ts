import type { SourceRecord } from "../sources/source.ts";
import type { Accumulator } from "./accumulator.ts";
import { Batch, type EventColumns, isEventColumn } from "./batch.ts";
import { extremesKind, type ExtremesState, typesKind } from "./column_accumulators.ts";
import { countValues, type DistinctState, type ValueCounts } from "./distinct.ts";
import { lengthsKind, type LengthsState } from "./lengths_accumulator.ts";
import { proposeForColumn } from "./proposals.ts";
import type { TypeCounts } from "./pandas_types.ts";
import { type Expectation, type Suite, writeSuite } from "./suite.ts";

export interface ProfileOptions {
  /** Name of the suite that is proposed. */
  name: string;
  /** Where to spill what does not fit in memory; default: memory. */
  spillDir?: string;
}

/** What a profile knows of a column at its end. */
export interface ColumnProfile {
  column: string;
  /** Records of the whole data set. */
  rows: number;
  types: TypeCounts;
  extremes: ExtremesState;
  lengths: LengthsState;
  /** Undefined where the values are many and repeat: neither a set nor unique. */
  distinct: DistinctState | undefined;
}

/** Columns beyond this many, and nesting deeper than this, are left out. */
const MAX_COLUMNS = 500;
const MAX_DEPTH = 3;
/** Columns of many different values that may be unique, beyond which none is proposed to be: each takes memory. */
const MAX_UNIQUE = 32;

export function newProfile(options: ProfileOptions): Profile {
  return new Profile(options);
}

/** Looks at a data set, batch by batch, and proposes a suite that holds on it. */
class Profile {
  readonly #options: ProfileOptions;
  readonly #batch = new Batch();
  readonly #columns = new Map<string, Watched>();
  readonly #top = new Set<string>();
  #rows = 0;
  /** Top-level fields that every record so far has. */
  #always: Set<string> | undefined;

  constructor(options: ProfileOptions) {
    this.#options = options;
  }

  /** `events`: those of the records, for the columns event_id, event_type and occurred_at. */
  observe(records: readonly SourceRecord[], events?: readonly EventColumns[]): void {
    if (records.length === 0) return;
    if (events !== undefined) {
      for (const column of ["event_id", "event_type", "occurred_at"]) this.#add(column);
    }
    for (const record of records) {
      this.#discover(record, "", 1);
      const names = Object.keys(record);
      for (const name of names) if (this.#top.size <= MAX_COLUMNS) this.#top.add(name);
      if (this.#always === undefined) this.#always = new Set(names);
      else {for (const name of this.#always) {
          if (!Object.hasOwn(record, name)) this.#always.delete(name);
        }}
    }
    this.#batch.load(records, { events, startPosition: this.#rows });
    for (const watched of this.#columns.values()) {
      for (const accumulator of watched.all) accumulator.observe(this.#batch);
    }
    this.#rows += records.length;
    this.#dropHopeless();
  }

  #discover(record: SourceRecord, prefix: string, depth: number): void {
    for (const [name, value] of Object.entries(record)) {
      const path = prefix + name.replace(/[\\.]/g, "\\$&");
      if (typeof value === "object" && value !== null && !Array.isArray(value)) {
        // what the event has under this name is what an expectation would see
        if (depth < MAX_DEPTH && !isEventColumn(path)) {
          this.#discover(value, `${path}.`, depth + 1);
        }
      } else this.#add(path);
    }
  }

  #add(path: string): void {
    if (this.#columns.has(path) || this.#columns.size >= MAX_COLUMNS) return;
    const { spillDir } = this.#options;
    const create = spillDir === undefined
      ? {}
      : { spillPath: `${spillDir}/profile-${this.#columns.size}` };
    const types = typesKind(path).create(create);
    const extremes = extremesKind(path, undefined).create(create);
    const lengths = lengthsKind(path).create(create);
    const values = countValues(path, create);
    const all = [types, extremes, lengths, values];
    this.#columns.set(path, { types, extremes, lengths, values, all });
  }

  /** Values that can be neither a set nor unique need not be counted any longer. */
  #dropHopeless(): void {
    let unique = 0;
    for (const watched of this.#columns.values()) {
      const { values, types } = watched;
      if (values === undefined || Number.isFinite(values.different)) continue;
      const { float, bool } = types.state() as unknown as TypeCounts;
      if (!values.manyRepeat && float === 0 && bool === 0 && ++unique <= MAX_UNIQUE) continue;
      values.close?.();
      watched.values = undefined;
      watched.all = watched.all.filter((each) => each !== values);
    }
  }

  /** The proposed suite in the JSON of Great Expectations 1.x, ready to edit. */
  finish(): Record<string, unknown> {
    const expectations = [...this.#proposeForTable()];
    for (const [column, watched] of this.#columns) {
      expectations.push(...proposeForColumn({
        column,
        rows: this.#rows,
        types: watched.types.state() as unknown as TypeCounts,
        extremes: watched.extremes.state() as ExtremesState,
        lengths: watched.lengths.state() as LengthsState,
        distinct: watched.values?.state(),
      }));
    }
    const suite: Suite = {
      name: this.#options.name,
      expectations,
      suite_parameters: {},
      meta: { profiled_records: this.#rows },
    };
    return writeSuite(suite);
  }

  *#proposeForTable(): Iterable<Expectation> {
    if (this.#always === undefined || this.#top.size > MAX_COLUMNS) return;
    yield {
      type: "expect_table_columns_to_match_set",
      kwargs: { column_set: [...this.#always], exact_match: false },
      meta: {},
      severity: "critical",
    };
  }
}

interface Watched {
  types: Accumulator;
  extremes: Accumulator;
  lengths: Accumulator;
  values: ValueCounts | undefined;
  /** Those that are observed. */
  all: Accumulator[];
}
