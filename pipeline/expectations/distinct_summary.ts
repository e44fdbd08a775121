import type { DistinctState } from "./distinct.ts";
import { Pass, passesOver, Tables } from "./distinct_pass.ts";
import { readBlocks } from "./distinct_spill.ts";
import { compareForDisplay, equalityKey } from "./python_value.ts";
import { SpillReader } from "./spill.ts";
import { restoreValue } from "./stored_value.ts";

/** Entries that are looked at together: about 10 MB. */
const PER_PASS = 1 << 18;
/** Values that an observed value or a sample lists. */
export const MAX_LISTED = 20;
const MAX_MODES = 100;

/** What expectations ask about the different values of a column. */
export interface DistinctSummary {
  distinct: number;
  /** Rows whose value other rows have too, and the first of them. */
  duplicatedRows: number;
  duplicates: { value: unknown; position: number }[];
  /**
   * The values seen most often: all of them up to 100, in order; how many
   * there are, and how many of them are in the given set.
   */
  mostCommon: { count: number; values: unknown[]; ties: number; inSet: number };
  /** Values that are not in the given set, the smallest of them first, and members that no row has. */
  unexpected: { count: number; values: unknown[] };
  missing: unknown[];
}

export interface SummaryOptions {
  duplicates?: boolean;
  mostCommon?: boolean;
  /** The set that expectations compare with. */
  set?: unknown[];
  /** Find what is not in the set, and what of it is missing. */
  compare?: boolean;
  /** Entries a pass; for tests. */
  perPass?: number;
}

/** Puts the values of all chunks together, in passes that each fit in memory. */
export function summarize(state: DistinctState, options: SummaryOptions): DistinctSummary {
  const readers = state.spills.map((ref) => new SpillReader(ref));
  try {
    const blocks = readers.flatMap((reader, chunk) => [...readBlocks(reader, chunk)]);
    const summary = new Summary(options);
    const tables = new Tables();
    for (const pass of passesOver(state, blocks, options.perPass ?? PER_PASS)) {
      summary.addPass(new Pass({ state, blocks }, pass, { tables }));
    }
    return summary.result();
  } finally {
    for (const reader of readers) reader.close();
  }
}

/** What the passes give together. */
class Summary {
  readonly #options: SummaryOptions;
  readonly #set: unknown[];
  #distinct = 0;
  #duplicatedRows = 0;
  #duplicates: { chunk: number; position: number; value: unknown }[] = [];
  #mostCount = 0;
  #modes: unknown[] = [];
  #ties = 0;
  #inSet = 0;
  #unexpected = 0;
  #unexpectedValues: unknown[] = [];
  #missing: unknown[] = [];

  constructor(options: SummaryOptions) {
    this.#options = options;
    this.#set = [...new Map(options.set?.map((value) => [equalityKey(value), value])).values()];
  }

  addPass(pass: Pass): void {
    this.#distinct += pass.size;
    if (this.#options.duplicates) this.#addDuplicates(pass);
    if (this.#options.mostCommon) this.#addModes(pass);
    if (this.#options.compare) this.#compare(pass);
  }

  #addDuplicates(pass: Pass): void {
    let duplicated = 0;
    for (let g = 0; g < pass.size; g++) if (pass.counts[g]! > 1) duplicated += pass.counts[g]!;
    if (duplicated === 0) return;
    this.#duplicatedRows += duplicated;
    for (const row of pass.duplicatedRows()) {
      const kept = this.#duplicates;
      const isBefore = (other: { chunk: number; position: number }): boolean =>
        row.chunk < other.chunk || (row.chunk === other.chunk && row.position < other.position);
      if (kept.length === MAX_LISTED && !isBefore(kept[MAX_LISTED - 1]!)) continue;
      let at = kept.length;
      while (at > 0 && isBefore(kept[at - 1]!)) at--;
      kept.splice(at, 0, {
        chunk: row.chunk,
        position: row.position,
        value: restoreValue(row.read()),
      });
      if (kept.length > MAX_LISTED) kept.pop();
    }
  }

  #addModes(pass: Pass): void {
    let most = 0;
    for (let g = 0; g < pass.size; g++) if (pass.counts[g]! > most) most = pass.counts[g]!;
    if (most === 0 || most < this.#mostCount) return;
    if (most > this.#mostCount) {
      this.#mostCount = most;
      this.#modes = [];
      this.#ties = 0;
      this.#inSet = 0;
    }
    const groups: number[] = [];
    for (let g = 0; g < pass.size; g++) if (pass.counts[g] === most) groups.push(g);
    this.#ties += groups.length;
    for (const member of this.#set) {
      const group = member === null ? -1 : pass.find(member);
      if (group >= 0 && pass.counts[group] === most) this.#inSet++;
    }
    this.#modes = smallest(this.#modes, pass.values(groups), MAX_MODES);
  }

  #compare(pass: Pass): void {
    const expected = new Set<number>();
    for (const member of this.#set) {
      // Null is no value of a column: it is missing from every one.
      const group = pass.find(member);
      if (group >= 0) expected.add(group);
      else if (pass.covers(member)) this.#missing.push(member);
    }
    const groups: number[] = [];
    for (let g = 0; g < pass.size; g++) if (!expected.has(g)) groups.push(g);
    if (groups.length === 0) return;
    this.#unexpected += groups.length;
    this.#unexpectedValues = smallest(this.#unexpectedValues, pass.values(groups), MAX_LISTED);
  }

  result(): DistinctSummary {
    return {
      distinct: this.#distinct,
      duplicatedRows: this.#duplicatedRows,
      duplicates: this.#duplicates.map(({ position, value }) => ({ position, value })),
      mostCommon: {
        count: this.#mostCount,
        values: this.#modes,
        ties: this.#ties,
        inSet: this.#inSet,
      },
      unexpected: { count: this.#unexpected, values: this.#unexpectedValues },
      missing: this.#missing,
    };
  }
}

/** The smallest `limit` of the kept values and more, in order. */
function smallest(kept: unknown[], more: Iterable<unknown>, limit: number): unknown[] {
  const values = [...kept];
  for (const value of more) {
    if (values.length === limit && compareForDisplay(value, values[limit - 1]) >= 0) continue;
    let at = values.length;
    while (at > 0 && compareForDisplay(value, values[at - 1]) < 0) at--;
    values.splice(at, 0, value);
    if (values.length > limit) values.pop();
  }
  return values;
}
