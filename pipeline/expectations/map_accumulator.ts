import type { Accumulator, AccumulatorKind, State } from "./accumulator.ts";
import type { Batch } from "./batch.ts";
import type { Condition } from "./condition_parser.ts";
import { shown } from "./python_value.ts";
import { MISTYPED, type RowRule, SKIPPED, UNEXPECTED } from "./row_rule.ts";

/** Unexpected values that a result shows. */
export const SAMPLE = 20;

/** The state of a rule that looks at one row at a time. */
export interface MapState extends State {
  /** Rows of the domain (those that row_condition selects). */
  elements: number;
  /** Of these, rows that the rule has looked at. */
  considered: number;
  unexpected: number;
  /** Rows with a value that the rule cannot look at, where Python raises a TypeError. */
  mistyped: number;
  values: unknown[];
  positions: number[];
}

/** Counts the rows that a rule finds unexpected and keeps the first of them. */
export function mapKind(rule: RowRule, condition: Condition | undefined): AccumulatorKind {
  return {
    create: () => new MapAccumulator(rule, condition),
    merge: (a, b) => mergeMaps(a as MapState, b as MapState),
    shift: (state, rows) => {
      const { positions } = state as MapState;
      return { ...state, positions: positions.map((position) => position + rows) };
    },
  };
}

function mergeMaps(a: MapState, b: MapState): MapState {
  return {
    elements: a.elements + b.elements,
    considered: a.considered + b.considered,
    unexpected: a.unexpected + b.unexpected,
    mistyped: a.mistyped + b.mistyped,
    values: [...a.values, ...b.values].slice(0, SAMPLE),
    positions: [...a.positions, ...b.positions].slice(0, SAMPLE),
  };
}

class MapAccumulator implements Accumulator {
  readonly #rule: RowRule;
  readonly #condition: Condition | undefined;
  #elements = 0;
  #considered = 0;
  #unexpected = 0;
  #mistyped = 0;
  #values: unknown[] = [];
  #positions: number[] = [];

  constructor(rule: RowRule, condition: Condition | undefined) {
    this.#rule = rule;
    this.#condition = condition;
  }

  observe(batch: Batch): void {
    const rows = this.#condition && batch.select(this.#condition).rows;
    if (this.#rule.kind === "value") this.#observeValues(batch, rows);
    else this.#observeRows(batch, rows);
  }

  #observeValues(batch: Batch, rows: Uint8Array | undefined): void {
    const rule = this.#rule as RowRule & { kind: "value" };
    const values = batch.column(rule.columns[0]);
    const { test, skipNull } = rule;
    const count = batch.count;
    let elements = 0;
    let skipped = 0;
    for (let i = 0; i < count; i++) {
      if (rows !== undefined && rows[i] === 0) continue;
      elements++;
      const value = values[i];
      if (value === null && skipNull) {
        skipped++;
        continue;
      }
      const verdict = test(value);
      if (verdict === 0) continue;
      if (verdict === UNEXPECTED) this.#addUnexpected(value, batch.startPosition + i);
      else this.#mistyped++;
    }
    this.#elements += elements;
    this.#considered += elements - skipped;
  }

  #observeRows(batch: Batch, rows: Uint8Array | undefined): void {
    const rule = this.#rule as RowRule & { kind: "row" };
    const columns = rule.columns.map((path) => batch.column(path));
    for (let i = 0; i < batch.count; i++) {
      if (rows !== undefined && rows[i] === 0) continue;
      this.#elements++;
      const verdict = rule.test(columns, i);
      if (verdict === SKIPPED) continue;
      this.#considered++;
      if (verdict === UNEXPECTED) {
        const full = this.#values.length >= SAMPLE;
        this.#addUnexpected(full ? null : rule.show(columns, i), batch.startPosition + i);
      } else if (verdict === MISTYPED) this.#mistyped++;
    }
  }

  #addUnexpected(value: unknown, position: number): void {
    this.#unexpected++;
    if (this.#values.length < SAMPLE) {
      this.#values.push(shown(value));
      this.#positions.push(position);
    }
  }

  state(): MapState {
    return {
      elements: this.#elements,
      considered: this.#considered,
      unexpected: this.#unexpected,
      mistyped: this.#mistyped,
      values: this.#values,
      positions: this.#positions,
    };
  }
}
