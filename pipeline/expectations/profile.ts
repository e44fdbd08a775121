import type { SourceRecord } from "../sources/source.ts";
import type { Accumulator } from "./accumulator.ts";
import { Batch } from "./batch.ts";
import { extremesKind, type ExtremesState, typesKind } from "./column_accumulators.ts";
import { distinctKind, type DistinctState } from "./distinct.ts";
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
  distinct: DistinctState;
}

/** Columns beyond this many, and nesting deeper than this, are left out. */
const MAX_COLUMNS = 500;
const MAX_DEPTH = 3;

export function newProfile(options: ProfileOptions): Profile {
  return new Profile(options);
}

/** Looks at a data set, batch by batch, and proposes a suite that holds on it. */
export class Profile {
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

  observe(records: readonly SourceRecord[]): void {
    if (records.length === 0) return;
    for (const record of records) {
      this.#discover(record, "", 1);
      const names = Object.keys(record);
      for (const name of names) this.#top.add(name);
      if (this.#always === undefined) this.#always = new Set(names);
      else {for (const name of this.#always) {
          if (!Object.hasOwn(record, name)) this.#always.delete(name);
        }}
    }
    this.#batch.load(records, { startPosition: this.#rows });
    for (const watched of this.#columns.values()) {
      for (const accumulator of watched.all) accumulator.observe(this.#batch);
    }
    this.#rows += records.length;
  }

  #discover(record: SourceRecord, prefix: string, depth: number): void {
    for (const [name, value] of Object.entries(record)) {
      const path = prefix + name.replace(/[\\.]/g, "\\$&");
      if (typeof value === "object" && value !== null && !Array.isArray(value)) {
        if (depth < MAX_DEPTH) this.#discover(value, `${path}.`, depth + 1);
      } else if (!this.#columns.has(path) && this.#columns.size < MAX_COLUMNS) {
        this.#columns.set(path, this.#watch(path));
      }
    }
  }

  #watch(path: string): Watched {
    const { spillDir } = this.#options;
    const create = spillDir === undefined
      ? {}
      : { spillPath: `${spillDir}/profile-${this.#columns.size}` };
    const types = typesKind(path).create(create);
    const extremes = extremesKind(path, undefined).create(create);
    const lengths = lengthsKind(path).create(create);
    const distinct = distinctKind({ columns: [path], condition: undefined, rows: false })
      .create(create);
    return { types, extremes, lengths, distinct, all: [types, extremes, lengths, distinct] };
  }

  /** The proposed suite in the JSON of Great Expectations 1.x, ready to edit. */
  finish(): Record<string, unknown> {
    const expectations = [...this.#proposeForTable()];
    for (const [column, watched] of this.#columns) {
      const types = watched.types.state() as unknown as TypeCounts;
      expectations.push(...proposeForColumn({
        column,
        rows: this.#rows,
        types,
        extremes: watched.extremes.state() as ExtremesState,
        lengths: watched.lengths.state() as LengthsState,
        distinct: watched.distinct.state() as DistinctState,
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
  distinct: Accumulator;
  all: Accumulator[];
}
