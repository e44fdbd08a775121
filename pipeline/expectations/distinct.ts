import type { Accumulator, AccumulatorKind, CreateOptions, State } from "./accumulator.ts";
import type { Batch } from "./batch.ts";
import type { Condition } from "./condition_parser.ts";
import { DistinctWriter } from "./distinct_spill.ts";
import { equalityKey } from "./python_value.ts";
import { isIgnored } from "./several_rules.ts";
import type { SpillRef } from "./spill.ts";
import { restoreValue, type StoredValue, storeValue } from "./stored_value.ts";
import { stableText } from "./value_hash.ts";

/**
 * The different values of a column (or of several together): the few of a
 * chunk by themselves, the many in spill files.
 */
export interface DistinctState extends State {
  /** Rows of the domain. */
  elements: number;
  /** Rows with a value: not null, or not left out by ignore_row_if. */
  considered: number;
  /** Rows with a list or dict, which Python cannot hash. */
  unhashable: number;
  /** Values and how often each was seen. */
  few: [StoredValue, number][];
  /** One spill a chunk, in chunk order, so that rows have an order. */
  spills: SpillRef[];
}

export interface DistinctOptions {
  columns: string[];
  condition: Condition | undefined;
  /** Keep every row with its position, for expectations about duplicates. */
  rows: boolean;
  /** ignore_row_if of expectations about several columns. */
  kwargs?: Record<string, unknown>;
}

/** Different values, and their characters, that a chunk may count in memory before it spills them. */
const MAX_COUNTED = 4_096;
const MAX_COUNTED_TEXT = 1 << 20;
/** Different values, and their characters, that a chunk's state carries by itself. */
const MAX_FEW = 256;
const MAX_FEW_TEXT = 16_384;

export function distinctKind(options: DistinctOptions): AccumulatorKind {
  return {
    create: (create) => options.rows ? new Rows(options, create) : new Counts(options, create),
    merge: (a, b) => mergeDistinct(a as DistinctState, b as DistinctState),
    shift: (state, rows) => {
      const { spills } = state as DistinctState;
      return {
        ...state,
        spills: spills.map((ref) => ({ ...ref, start: (ref.start ?? 0) + rows })),
      };
    },
  };
}

/** Counts the values of a column for a profile, which may stop when they tell nothing more. */
export function countValues(column: string, create: CreateOptions): ValueCounts {
  return new Counts({ columns: [column], condition: undefined, rows: false }, create);
}

export interface ValueCounts extends Accumulator {
  /** Different values in memory, or infinite once they were too many for it. */
  readonly different: number;
  /** There were too many for memory, and yet some repeat. */
  readonly manyRepeat: boolean;
  state(): DistinctState;
}

interface Counted {
  value: unknown;
  count: number;
}

/** Counts each value. */
class Counts implements ValueCounts {
  readonly #column: string;
  readonly #condition: Condition | undefined;
  readonly #writer: DistinctWriter;
  #counted = new Map<unknown, Counted>();
  #elements = 0;
  #considered = 0;
  #unhashable = 0;
  #countedText = 0;
  #spilled = false;
  /** Values hardly repeat: counting them in memory first is in vain. */
  #mostlyNew = false;
  manyRepeat = false;

  constructor({ columns, condition }: DistinctOptions, { spillPath }: CreateOptions) {
    this.#column = columns[0]!;
    this.#condition = condition;
    this.#writer = new DistinctWriter(spillPath, { rows: false });
  }

  get different(): number {
    return this.#spilled ? Infinity : this.#counted.size;
  }

  observe(batch: Batch): void {
    const rows = this.#condition && batch.select(this.#condition).rows;
    const values = batch.column(this.#column);
    const counted = this.#counted;
    for (let i = 0; i < batch.count; i++) {
      if (rows !== undefined && rows[i] === 0) continue;
      this.#elements++;
      const value = values[i];
      if (value === null) continue;
      this.#considered++;
      const key = typeof value === "string" ? value : equalityKey(value);
      if (key === undefined) {
        this.#unhashable++;
        continue;
      }
      if (this.#mostlyNew) {
        this.#writer.add(value, 1);
        continue;
      }
      const one = counted.get(key);
      if (one !== undefined) one.count++;
      else {
        counted.set(key, { value, count: 1 });
        if (typeof value === "string") this.#countedText += value.length;
        if (counted.size >= MAX_COUNTED || this.#countedText >= MAX_COUNTED_TEXT) {
          this.#mostlyNew = !this.#spilled && this.#considered < counted.size * 2;
          this.manyRepeat ||= this.#considered - this.#unhashable > counted.size;
          this.#spill();
        }
      }
    }
  }

  close(): void {
    this.#writer.close();
  }

  #spill(): void {
    this.#spilled = true;
    for (const { value, count } of this.#counted.values()) this.#writer.add(value, count);
    this.#counted.clear();
    this.#countedText = 0;
  }

  state(): DistinctState {
    const values = [...this.#counted.values()];
    const few = !this.#spilled && values.length <= MAX_FEW && isShort(values);
    if (!few) this.#spill();
    const ref = this.#writer.end();
    return {
      elements: this.#elements,
      considered: this.#considered,
      unhashable: this.#unhashable,
      few: few ? values.map(({ value, count }) => [storeValue(value), count]) : [],
      spills: ref === null ? [] : [ref],
    };
  }
}

function isShort(values: Counted[]): boolean {
  let length = 0;
  for (const { value } of values) if (typeof value === "string") length += value.length;
  return length <= MAX_FEW_TEXT &&
    values.every(({ value }) => typeof value !== "string" || value.length <= 1_000);
}

/** Keeps each row's value, by hash, with its position. */
class Rows implements Accumulator {
  readonly #options: DistinctOptions;
  readonly #writer: DistinctWriter;
  #elements = 0;
  #considered = 0;
  #unhashable = 0;

  constructor(options: DistinctOptions, { spillPath }: CreateOptions) {
    this.#options = options;
    this.#writer = new DistinctWriter(spillPath, { rows: true });
  }

  observe(batch: Batch): void {
    const { condition, columns: names, kwargs } = this.#options;
    const rows = condition && batch.select(condition).rows;
    const columns = names.map((name) => batch.column(name));
    const single = names.length === 1 && kwargs === undefined ? columns[0] : undefined;
    for (let i = 0; i < batch.count; i++) {
      if (rows !== undefined && rows[i] === 0) continue;
      this.#elements++;
      let value: unknown;
      if (single !== undefined) {
        value = single[i];
        if (value === null) continue;
        if (typeof value === "object") this.#unhashable++;
      } else {
        if (isIgnored(kwargs!, columns, i)) continue;
        value = columns.map((column) => column[i]);
        if ((value as unknown[]).some((one) => typeof one === "object" && one !== null)) {
          this.#unhashable++;
        }
      }
      this.#considered++;
      this.#writer.addRow(value, batch.startPosition + i);
    }
  }

  close(): void {
    this.#writer.close();
  }

  state(): DistinctState {
    const ref = this.#writer.end();
    return {
      elements: this.#elements,
      considered: this.#considered,
      unhashable: this.#unhashable,
      few: [],
      spills: ref === null ? [] : [ref],
    };
  }
}

function mergeDistinct(a: DistinctState, b: DistinctState): DistinctState {
  return {
    elements: a.elements + b.elements,
    considered: a.considered + b.considered,
    unhashable: a.unhashable + b.unhashable,
    few: mergeFew(a.few, b.few),
    spills: [...a.spills, ...b.spills],
  };
}

function mergeFew(a: DistinctState["few"], b: DistinctState["few"]): DistinctState["few"] {
  if (a.length === 0 || b.length === 0) return [...a, ...b];
  const merged = new Map<unknown, [StoredValue, number]>();
  for (const [stored, count] of [...a, ...b]) {
    const value = restoreValue(stored);
    const key = equalityKey(value) ?? stableText(value);
    const known = merged.get(key);
    if (known === undefined) merged.set(key, [stored, count]);
    else known[1] += count;
  }
  return [...merged.values()];
}
