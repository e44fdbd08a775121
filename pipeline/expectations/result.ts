import type { MapState } from "./accumulators.ts";
import { compareForDisplay } from "./python.ts";

/** What an expectation found; members as in Great Expectations 1.x, result_format SUMMARY. */
export type ResultDetails = Record<string, unknown>;

/** The result of one expectation, in the shape of Great Expectations 1.x. */
export interface ExpectationResult {
  success: boolean;
  expectation_config: {
    id?: string;
    type: string;
    kwargs: Record<string, unknown>;
    meta: Record<string, unknown>;
    severity: string;
    description?: string;
  };
  result: ResultDetails;
  meta: Record<string, unknown>;
  exception_info: {
    /** Whether the expectation could not be evaluated: a missing column, values of another type. */
    raised_exception: boolean;
    exception_message: string | null;
    exception_traceback: null;
  };
}

/** The result of a suite over a whole batch, in the shape of Great Expectations 1.x. */
export interface ValidationResult {
  success: boolean;
  results: ExpectationResult[];
  suite_name: string;
  suite_parameters: Record<string, unknown>;
  statistics: {
    evaluated_expectations: number;
    successful_expectations: number;
    unsuccessful_expectations: number;
    success_percent: number | null;
  };
  meta: Record<string, unknown>;
}

/** The verdict on an expectation and what it found. */
export interface Outcome {
  success: boolean;
  result: ResultDetails;
}

/** The expectation cannot be evaluated on this data; Great Expectations reports an exception. */
export class NotEvaluable extends Error {}

/** Values were met that Python cannot compare or compute with. */
export function mistyped(count: number, columns: string[]): NotEvaluable {
  return new NotEvaluable(
    `${count} ${count === 1 ? "value" : "values"} of ${columns.join(", ")} ` +
      "cannot be looked at this way: values and bounds must be of one type.",
  );
}

/** What all kinds of map expectations have in common. */
export interface MapCounts {
  elements: number;
  /** Rows that were looked at; undefined where null counts as a value. */
  considered: number | undefined;
  unexpected: number;
  /** The first unexpected values, 20 at most, and the positions of their rows. */
  values: unknown[];
  positions: number[];
}

export function mapCounts(state: MapState, { nullsCount }: { nullsCount: boolean }): MapCounts {
  return { ...state, considered: nullsCount ? undefined : state.considered };
}

/** The outcome of a map expectation: a share of at least `mostly` of the rows is as expected. */
export function mapOutcome(counts: MapCounts, mostly: unknown): Outcome {
  const { elements, unexpected } = counts;
  const looked = counts.considered ?? elements;
  const success = looked === 0 || (looked - unexpected) / looked >= ((mostly as number) ?? 1);
  const percentOf = (part: number, whole: number): number | null =>
    elements > 0 && whole > 0 ? (part / whole) * 100 : null;
  return {
    success,
    result: {
      element_count: elements,
      unexpected_count: unexpected,
      unexpected_percent: percentOf(unexpected, looked),
      partial_unexpected_list: counts.values,
      ...(counts.considered === undefined ? {} : {
        missing_count: elements - counts.considered,
        missing_percent: percentOf(elements - counts.considered, elements),
        unexpected_percent_total: percentOf(unexpected, elements),
        unexpected_percent_nonmissing: percentOf(unexpected, counts.considered),
      }),
      partial_unexpected_counts: countSample(counts.values),
      partial_unexpected_index_list: counts.positions,
    },
  };
}

/** How often each value of the sample is in it, most often first. */
function countSample(values: unknown[]): { value: unknown; count: number }[] {
  const counts = new Map<string, { value: unknown; count: number }>();
  for (const value of values) {
    const key = JSON.stringify(value);
    const known = counts.get(key);
    if (known === undefined) counts.set(key, { value, count: 1 });
    else known.count++;
  }
  return [...counts.values()].sort((a, b) =>
    b.count - a.count || compareForDisplay(a.value, b.value)
  );
}
