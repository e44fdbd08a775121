import { type Message, verbatim } from "../../vocabulary/messages.ts";
import { jsonText, type SourceRecord } from "../numbers.ts";
import { type Accumulator, EXPECTED, SKIPPED, type State } from "./accumulators.ts";
import { Batch, type EventColumns, splitPath } from "./batch.ts";
import { type Condition, conditionColumns, conditionKey, parseCondition } from "./condition.ts";
import { domain, type Evaluator, type Evidence, Plan, requireColumns } from "./kind.ts";
import { KINDS, UNSUPPORTED } from "./kinds.ts";
import {
  type ExpectationResult,
  NotEvaluable,
  type Outcome,
  type ValidationResult,
} from "./result.ts";
import { type Expectation, isRowWise, resolveParameters, type Suite } from "./suite.ts";
import { shown } from "./python.ts";

/**
 * The expectations of Great Expectations, evaluated chunk by chunk. This is all that the rest of the program sees of
 * them: `readSuite` reads a suite, `compileSuite` makes of it what observes records (`newState`, `observe`,
 * `serializeState`), puts the chunks' states together (`mergeStates`) and judges the whole (`finish`);
 * `describeKinds` lists what is evaluated, `newProfile` proposes a suite.
 */
export { expectationForms, type KwargForm } from "./forms.ts";
export { compilePayloadSchema } from "./json_schema.ts";
export { newProfile } from "./profile.ts";
export {
  isRowWise,
  payloadSchemaOf,
  readSuite,
  readSuiteFiles,
  suiteRows,
  writeSuite,
} from "./suite.ts";
export type { EventColumns } from "./batch.ts";
export type { ExpectationResult, ValidationResult } from "./result.ts";
export type { Expectation, Suite } from "./suite.ts";

/** A kind of expectation, for a list of them. */
export interface KindDescription {
  type: string;
  /** Whether the verdict on a row depends on that row alone. */
  rowWise: boolean;
  /** Names of its kwargs. */
  kwargs: string[];
}

/** The kinds that are evaluated here, and those that Great Expectations has besides, each with the reason why not. */
export function describeKinds(): {
  evaluated: KindDescription[];
  unsupported: Readonly<Record<string, string>>;
} {
  return {
    evaluated: Object.entries(KINDS).map(([type, { scope, kwargs }]) => ({
      type,
      rowWise: scope === "row",
      kwargs: Object.keys(kwargs.shape),
    })),
    unsupported: UNSUPPORTED,
  };
}

export interface CompileOptions {
  /** Values of suite parameters; default: the suite's own. */
  parameters?: Record<string, unknown>;
}

export interface NewStateOptions {
  /** Number of the chunk, from 0: states are merged in this order. */
  chunkNo: number;
  /**
   * A directory of the run, kept until `finish`: what does not fit in memory
   * is written there. Without one all stays in memory, for samples and tests.
   */
  spillDir?: string;
  /** Another attempt at the chunk has files of its own; default 0. */
  attempt?: number;
}

/** The accumulators of one chunk, while it is read. */
export interface ChunkState {
  readonly chunkNo: number;
  readonly accumulators: Accumulator[];
  rows: number;
  /** Columns seen in some record, by index of `columns`. */
  readonly seen: boolean[];
  /** Fields whose name is that of a missing column but for capital letters. */
  readonly near: (string | null)[];
  /** Conditions that met values they cannot compare, by index. */
  readonly mistyped: boolean[];
}

/** A chunk's state as it crosses to another thread: plain data of bounded size. */
export interface SerializedState {
  chunkNo: number;
  rows: number;
  seen: boolean[];
  near: (string | null)[];
  mistyped: boolean[];
  states: State[];
}

export interface ObserveOptions {
  /** The events of the records, for the columns event_id, event_type and occurred_at. */
  events?: readonly EventColumns[];
}

/** Why a row fails a row-wise expectation. */
export interface FailingRow {
  /** Type of the first expectation that fails. */
  rule: string;
  /** In words: `expect_column_values_to_be_between(column "amount", min_value 0): -3`. */
  message: Message;
}

/** @throws Problem invalid-conf when a suite parameter has no value, or one that does not fit. */
export function compileSuite(suite: Suite, options: CompileOptions = {}): CompiledSuite {
  return new CompiledSuite(resolveParameters(suite, options.parameters), options.parameters ?? {});
}

interface Compiled extends Evaluator {
  expectation: Expectation;
  condition: Condition | undefined;
}

/**
 * A suite that evaluates records, in one thread. Each worker compiles the
 * suite (plain JSON) for itself; main compiles it too, to merge the chunks'
 * states and judge the whole batch.
 */
export class CompiledSuite {
  readonly suite: Suite;
  readonly #parameters: Record<string, unknown>;
  readonly #plan: Plan;
  readonly #compiled: Compiled[];
  readonly #columns: string[];
  readonly #conditions: Condition[];
  readonly #batch = new Batch();

  constructor(suite: Suite, parameters: Record<string, unknown>) {
    this.suite = suite;
    this.#parameters = { ...suite.suite_parameters, ...parameters };
    const conditions = new Map<string, Condition>();
    const parsed = suite.expectations.map(({ kwargs }) => {
      const condition = parseCondition(kwargs.row_condition);
      if (condition === undefined || typeof condition === "string") return undefined;
      const key = conditionKey(condition);
      if (!conditions.has(key)) conditions.set(key, condition);
      return conditions.get(key)!;
    });
    this.#conditions = [...conditions.values()];
    this.#plan = new Plan(this.#rowsNeeded(parsed));
    this.#compiled = suite.expectations.map((expectation, i) => {
      const condition = parsed[i];
      const { type, kwargs } = expectation;
      const evaluator = KINDS[type]!.evaluator(kwargs, { plan: this.#plan, condition });
      return { ...evaluator, expectation, condition };
    });
    this.#columns = [
      ...new Set(this.#compiled.flatMap(({ columns, condition, expectation }) => [
        ...columns,
        ...(condition === undefined ? [] : conditionColumns(condition)),
        ...(expectation.type === "expect_column_to_exist"
          ? [expectation.kwargs.column as string]
          : []),
      ])),
    ];
  }

  /** Domains whose duplicates some expectation wants: kept by row, for all that ask about them. */
  #rowsNeeded(conditions: (Condition | undefined)[]): Set<string> {
    const needed = new Set<string>();
    this.suite.expectations.forEach(({ type, kwargs }, i) => {
      if (type === "expect_column_values_to_be_unique") {
        needed.add(domain(String(kwargs.column), conditions[i]));
      }
    });
    return needed;
  }

  newState(options: NewStateOptions): ChunkState {
    const { chunkNo, spillDir, attempt = 0 } = options;
    return {
      chunkNo,
      accumulators: this.#plan.kinds.map((kind, i) =>
        kind.create(
          spillDir === undefined ? {} : { spillPath: `${spillDir}/${chunkNo}.ge${i}.${attempt}` },
        )
      ),
      rows: 0,
      seen: this.#columns.map(() => false),
      near: this.#columns.map(() => null),
      mistyped: this.#conditions.map(() => false),
    };
  }

  /** Takes in a batch of about 1,000 records, in source order. */
  observe(
    state: ChunkState,
    records: readonly SourceRecord[],
    options: ObserveOptions = {},
  ): void {
    if (records.length === 0) return;
    this.#batch.load(records, { ...options, startPosition: state.rows });
    state.rows += records.length;
    this.#columns.forEach((column, i) => {
      if (this.#batch.has(column)) state.seen[i] = true;
      else if (!state.seen[i]) state.near[i] ??= nameInOtherLetters(column, records[0]!);
    });
    this.#conditions.forEach((condition, i) => {
      if (this.#batch.select(condition).mistyped) state.mistyped[i] = true;
    });
    for (const accumulator of state.accumulators) accumulator.observe(this.#batch);
  }

  /** Ends a chunk: its spill files are complete when this returns. */
  serializeState(state: ChunkState): SerializedState {
    return {
      chunkNo: state.chunkNo,
      rows: state.rows,
      seen: state.seen,
      near: state.near,
      mistyped: state.mistyped,
      states: state.accumulators.map((accumulator) => accumulator.state()),
    };
  }

  /** Gives up a chunk: what it has open is closed. */
  discardState(state: ChunkState): void {
    for (const accumulator of state.accumulators) accumulator.close?.();
  }

  /** One state of all chunks, given in any order; positions of rows then count from the first. */
  mergeStates(states: readonly SerializedState[]): SerializedState {
    const [first, ...rest] = [...states].sort((a, b) => a.chunkNo - b.chunkNo);
    if (first === undefined) return this.serializeState(this.newState({ chunkNo: 0 }));
    return rest.reduce((a, b) => ({
      chunkNo: a.chunkNo,
      rows: a.rows + b.rows,
      seen: a.seen.map((seen, i) => seen || b.seen[i]!),
      near: a.near.map((near, i) => near ?? b.near[i]!),
      mistyped: a.mistyped.map((mistyped, i) => mistyped || b.mistyped[i]!),
      states: this.#plan.kinds.map((kind, i) => {
        const state = b.states[i]!;
        return kind.merge(a.states[i]!, kind.shift?.(state, a.rows) ?? state);
      }),
    }), first);
  }

  /** Judges the whole batch. Reads spill files, so they must still be there. */
  finish(merged: SerializedState): ValidationResult {
    const evidence: Evidence = {
      states: merged.states,
      rows: merged.rows,
      has: (column) => merged.seen[this.#columns.indexOf(column)] === true,
      near: (column) => merged.near[this.#columns.indexOf(column)] ?? undefined,
    };
    const results = this.#compiled.map((compiled) =>
      toResult(compiled.expectation, () => {
        const { condition } = compiled;
        const read = condition === undefined ? [] : conditionColumns(condition);
        requireColumns([...compiled.columns, ...read], evidence);
        if (condition && merged.mistyped[this.#conditions.indexOf(condition)]) {
          throw new NotEvaluable("The row_condition compares values of different types.");
        }
        return compiled.evaluate(evidence);
      })
    );
    const successful = results.filter(({ success }) => success).length;
    return {
      success: successful === results.length,
      results,
      suite_name: this.suite.name,
      suite_parameters: plain(this.#parameters),
      statistics: {
        evaluated_expectations: results.length,
        successful_expectations: successful,
        unsuccessful_expectations: results.length - successful,
        success_percent: results.length === 0 ? null : (successful / results.length) * 100,
      },
      meta: {},
    };
  }

  /**
   * The rows that fail a row-wise expectation, by their index in `records`.
   * `mostly` is not considered: each unexpected row fails. Costs less when the
   * very same records were observed just before.
   */
  failingRows(
    records: readonly SourceRecord[],
    options: ObserveOptions = {},
  ): Map<number, FailingRow> {
    const failing = new Map<number, FailingRow>();
    if (this.#batch.records !== records) this.#batch.load(records, options);
    for (const { rule, condition, expectation } of this.#compiled) {
      if (rule === undefined || !isRowWise(expectation)) continue;
      const selected = condition && this.#batch.select(condition).rows;
      const columns = rule.columns.map((column) => this.#batch.column(column));
      for (let i = 0; i < records.length; i++) {
        if (selected?.[i] === 0 || failing.has(i)) continue;
        let verdict;
        if (rule.kind === "row") verdict = rule.test(columns, i);
        else {
          const value = columns[0]![i];
          if (value === null && rule.skipNull) continue;
          verdict = (rule.testAlone ?? rule.test)(value);
        }
        if (verdict === EXPECTED || verdict === SKIPPED) continue;
        const value = rule.kind === "row" ? rule.show(columns, i) : shown(columns[0]![i]);
        failing.set(i, {
          rule: expectation.type,
          // names and values, the same in every language
          message: verbatim(`${describe(expectation)}: ${JSON.stringify(value)}`),
        });
      }
    }
    return failing;
  }
}

/** The field of a record that a column's path starts with but for capital letters. */
function nameInOtherLetters(column: string, record: SourceRecord): string | null {
  const [first, ...rest] = splitPath(column);
  const name = Object.keys(record).find((key) =>
    key !== first && key.toLowerCase() === first!.toLowerCase()
  );
  return name === undefined ? null : [name, ...rest].join(".");
}

/** An expectation in one line: its type and what it asks for. */
function describe({ type, kwargs }: Expectation): string {
  const parts = Object.entries(kwargs).map(([key, value]) => {
    const text = jsonText(value) ?? "null";
    return `${key} ${text.length > 80 ? text.slice(0, 80) + "…" : text}`;
  });
  return `${type}(${parts.join(", ")})`;
}

/** The result of an expectation; one that cannot be evaluated has the reason in `exception_info`. */
function toResult(expectation: Expectation, evaluate: () => Outcome): ExpectationResult {
  const { id, type, kwargs, meta, severity, description } = expectation;
  const config = {
    ...(id === undefined ? {} : { id }),
    type,
    kwargs: plain(kwargs),
    meta: plain(meta),
    severity,
    ...(description === undefined ? {} : { description }),
  };
  try {
    const outcome = evaluate();
    return {
      success: outcome.success,
      expectation_config: config,
      result: outcome.result,
      meta: {},
      exception_info: {
        raised_exception: false,
        exception_message: null,
        exception_traceback: null,
      },
    };
  } catch (error) {
    if (!(error instanceof NotEvaluable)) throw error;
    return {
      success: false,
      expectation_config: config,
      result: {},
      meta: {},
      exception_info: {
        raised_exception: true,
        exception_message: error.message,
        exception_traceback: null,
      },
    };
  }
}

/** Plain JSON: integers beyond 2^53 become text with every digit. */
function plain<T>(value: T): T {
  return JSON.parse(
    JSON.stringify(value, (_key, member) => typeof member === "bigint" ? `${member}` : member),
  );
}
