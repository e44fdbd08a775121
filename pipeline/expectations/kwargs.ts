import type { FieldError } from "../../vocabulary/problem.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { jsonText } from "../numbers.ts";
import { compileLike, compileRegex } from "./regex.ts";
import { compileSchema } from "./json_schema.ts";
import { MAX_PATTERN_STATES, patternStates } from "./pattern_size.ts";
import { compileStrptime } from "./strptime.ts";

type Kwargs = Record<string, unknown>;

/** Bounds without which these expectations mean nothing. */
const NEEDS_BOUND = new Set([
  "expect_column_values_to_be_between",
  "expect_column_value_lengths_to_be_between",
]);

/**
 * What may be compiled for one suite: states of patterns, and characters of
 * JSON Schemas and LIKE patterns. It bounds the time that reading a suite
 * takes, whatever the suite.
 */
export class CompileBudget {
  static readonly MAX = 200_000;
  #left = CompileBudget.MAX;

  /** Whether there was enough left. */
  take(size: number): boolean {
    this.#left -= size;
    return this.#left >= 0;
  }
}

/**
 * What types alone do not say about the kwargs of an expectation: bounds of one
 * type, patterns and schemas that compile. Fields are relative to kwargs.
 */
export function checkKwargs(
  type: string,
  kwargs: Kwargs,
  { budget }: { budget: CompileBudget },
): FieldError[] {
  return [
    ...checkBounds(type, kwargs),
    ...checkQuantiles(kwargs),
    ...checkCompiled(kwargs, budget),
  ];
}

function checkBounds(type: string, kwargs: Kwargs): FieldError[] {
  const { min_value: min, max_value: max } = kwargs;
  if (NEEDS_BOUND.has(type) && (min ?? null) === null && (max ?? null) === null) {
    return [{ field: "min_value", message: "min_value and max_value cannot both be null" }];
  }
  if (typeof min === "object" || typeof max === "object") return [];
  if (min === undefined || max === undefined) return [];
  if ((typeof min === "string") !== (typeof max === "string")) {
    return [{ field: "max_value", message: "min_value and max_value must be of the same type" }];
  }
  return [];
}

function checkQuantiles(kwargs: Kwargs): FieldError[] {
  const ranges = kwargs.quantile_ranges as
    | { quantiles?: number[]; value_ranges?: [number | null, number | null][] }
    | undefined;
  if (!ranges?.quantiles || !ranges.value_ranges) return [];
  if (ranges.quantiles.length !== ranges.value_ranges.length) {
    return [{
      field: "quantile_ranges",
      message: "quantiles and value_ranges must have the same number of elements",
    }];
  }
  return [];
}

function checkCompiled(kwargs: Kwargs, budget: CompileBudget): FieldError[] {
  const errors: FieldError[] = [];
  const attempt = (field: string, size: number, compile: () => unknown): void => {
    if (!budget.take(size)) {
      errors.push({
        field,
        message: `the patterns and schemas of the suite are too large together ` +
          `(more than ${CompileBudget.MAX} characters and states); divide it into several suites`,
      });
      return;
    }
    try {
      compile();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      errors.push({ field, message: error.message });
    }
  };
  const texts = (key: string): string[] => {
    const value = kwargs[key];
    return typeof value === "string" ? [value] : Array.isArray(value) ? value : [];
  };
  const escape = typeof kwargs.escape === "string" ? kwargs.escape : undefined;
  for (const key of ["regex", "regex_list"]) {
    for (const pattern of texts(key)) {
      // one that is too large is refused without being compiled
      const states = Math.min(patternStates(pattern), MAX_PATTERN_STATES);
      attempt(key, states, () => compileRegex(pattern));
    }
  }
  for (const key of ["like_pattern", "like_pattern_list"]) {
    for (const pattern of texts(key)) {
      attempt(key, pattern.length, () => compileLike(pattern, escape));
    }
  }
  for (const format of texts("strftime_format")) {
    attempt("strftime_format", format.length, () => compileStrptime(format));
  }
  const schema = kwargs.json_schema;
  if (typeof schema === "object" && schema !== null && !("$PARAMETER" in schema)) {
    attempt(
      "json_schema",
      jsonText(schema).length,
      () => compileSchema(schema as Record<string, unknown>),
    );
  }
  return errors;
}
