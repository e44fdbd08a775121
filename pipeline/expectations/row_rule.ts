/** The verdicts of a rule. */
export const EXPECTED = 0;
export const UNEXPECTED = 1;
/** A value of a type that the rule cannot look at. */
export const MISTYPED = 2;
/** The row is left out (ignore_row_if). */
export const SKIPPED = 3;
export type Verdict = 0 | 1 | 2 | 3;

/** A rule about one column's value. */
export interface ValueRule {
  kind: "value";
  columns: [string];
  /** Whether null is left out and not put to the test. */
  skipNull: boolean;
  test(value: unknown): Verdict;
  /** A stricter or laxer test for a single row, where it differs. */
  testAlone?(value: unknown): Verdict;
}

/** A rule about several columns of a row. */
export interface SeveralRule {
  kind: "row";
  columns: string[];
  test(columns: readonly (readonly unknown[])[], row: number): Verdict;
  /** What a result shows of an unexpected row. */
  show(columns: readonly (readonly unknown[])[], row: number): unknown;
}

export type RowRule = ValueRule | SeveralRule;
