import { z } from "zod";
import { EXPECTED, MISTYPED, UNEXPECTED, type Verdict } from "./accumulators.ts";
import { compileSchema } from "./json_schema.ts";
import {
  bounds,
  column,
  escape,
  type Evaluate,
  type Kind,
  kind,
  type Kinds,
  type Kwargs,
  matchOn,
  mostly,
  must,
  number,
  numberBounds,
  numericBound,
  or,
  pattern,
  type Read,
  typeNameSchema,
  valueSet,
} from "./kind.ts";
import {
  asNumber,
  codePointLength,
  columnType,
  compareText,
  compareValues,
  equalityKey,
  equalValues,
  ordersByUnit,
  pythonText,
  pythonType,
  type TypeCounts,
  type TypeName,
  typeName,
} from "./python.ts";
import { compileLike, compileRegex, type TextTest } from "./regex.ts";
import { mapCounts, mapOutcome, mistyped, NotEvaluable } from "./result.ts";
import { compileStrptime } from "../strptime.ts";

type Test = (value: unknown) => Verdict;

/** How a kind looks at one value. */
interface Rule {
  test: Test;
  /** A stricter or laxer test for a single row, where it differs. */
  testAlone?: Test;
  /** Whether null is left out and not put to the test; default true. */
  skipNull?: boolean;
  /** Why nothing can be judged by these kwargs. */
  contradiction?: string | undefined;
  /** Names of types, one of which the column must have (null: any); only of an object column each value is looked at. */
  columnTypes?: string[] | null;
  /** Whether "object" is a type that may be asked for. */
  mayAskForObject?: boolean;
}

/** Expectations about each value of a column. */
export const VALUE_KINDS: Kinds = {
  expect_column_values_to_not_be_null: values({}, () => ({
    test: (value) => value === null ? UNEXPECTED : EXPECTED,
    skipNull: false,
  })),
  expect_column_values_to_be_null: values({}, () => ({
    test: (value) => value === null ? EXPECTED : UNEXPECTED,
    skipNull: false,
  })),
  expect_column_values_to_be_between: values(bounds, (kwargs) => ({
    test: between(kwargs),
    contradiction: isAbove(kwargs.min_value, kwargs.max_value)
      ? "min_value cannot be greater than max_value"
      : undefined,
  })),
  expect_column_values_to_be_in_set: values(
    valueSet,
    ({ value_set }) => ({ test: inSet(value_set, UNEXPECTED) }),
  ),
  expect_column_values_to_not_be_in_set: values(
    valueSet,
    ({ value_set }) => ({ test: inSet(value_set, EXPECTED) }),
  ),
  expect_column_values_to_be_of_type: values(
    { type_: must(typeNameSchema) },
    ({ type_ }) => ({ ...types([type_ as string]), mayAskForObject: true }),
  ),
  expect_column_values_to_be_in_type_list: values(
    {
      type_list: or(z.array(typeNameSchema).min(1).max(100).nullable()),
    },
    ({ type_list }) =>
      (type_list ?? null) === null
        ? { test: () => EXPECTED, columnTypes: null }
        : types(type_list as string[]),
  ),
  expect_column_value_lengths_to_be_between: values(
    numberBounds,
    (kwargs) => ({ test: lengths(kwargs) }),
  ),
  expect_column_value_lengths_to_equal: values({ value: must(number) }, ({ value }) => ({
    test: lengths({ min_value: value, max_value: value }),
  })),
  expect_column_values_to_match_regex: values({ regex: or(pattern) }, ({ regex }) => ({
    test: text([regex === undefined ? () => true : compileRegex(regex as string)], "any", true),
  })),
  expect_column_values_to_not_match_regex: values({ regex: must(pattern) }, ({ regex }) => ({
    test: text([compileRegex(regex as string)], "any", false),
  })),
  expect_column_values_to_match_regex_list: values({
    regex_list: must(z.array(pattern).min(1).max(100)),
    ...matchOn,
  }, ({ regex_list, match_on }) => ({
    test: text((regex_list as string[]).map(compileRegex), match_on ?? "any", true),
  })),
  expect_column_values_to_not_match_regex_list: values({
    regex_list: must(z.array(pattern).min(1).max(100)),
  }, ({ regex_list }) => ({
    test: text((regex_list as string[]).map(compileRegex), "any", false),
  })),
  expect_column_values_to_match_like_pattern: values(
    { like_pattern: must(pattern), ...escape },
    (kwargs) => ({ test: like(kwargs, true) }),
  ),
  expect_column_values_to_not_match_like_pattern: values({
    like_pattern: must(pattern),
    ...escape,
  }, (kwargs) => ({ test: like(kwargs, false) })),
  expect_column_values_to_match_like_pattern_list: values({
    like_pattern_list: must(z.array(pattern).min(1).max(100)),
    ...matchOn,
    ...escape,
  }, (kwargs) => ({ test: like(kwargs, true) })),
  expect_column_values_to_not_match_like_pattern_list: values({
    like_pattern_list: must(z.array(pattern).min(1).max(100)),
    ...escape,
  }, (kwargs) => ({ test: like(kwargs, false) })),
  expect_column_values_to_match_strftime_format: values({
    strftime_format: must(z.string().min(1).max(200)),
  }, ({ strftime_format }) => {
    const parses = compileStrptime(strftime_format as string);
    return {
      test: (value) => typeof value !== "string" ? MISTYPED : parses(value) ? EXPECTED : UNEXPECTED,
    };
  }),
  expect_column_values_to_be_json_parseable: values({}, () => ({
    test: (value) => typeof value === "string" && isJson(value) ? EXPECTED : UNEXPECTED,
  })),
  expect_column_values_to_match_json_schema: values({
    json_schema: must(z.record(z.string(), z.unknown())),
  }, ({ json_schema }) => {
    const validate = compileSchema(json_schema as Record<string, unknown>);
    return {
      test: (value) => {
        if (typeof value !== "string") return MISTYPED;
        const parsed = parseJson(value);
        return parsed === undefined ? MISTYPED : validate(parsed.value) ? EXPECTED : UNEXPECTED;
      },
    };
  }),
};

/** A kind that looks at each value of a column: at least a share of `mostly` must be as expected. */
function values(shape: z.core.$ZodLooseShape, ruleOf: (kwargs: Kwargs) => Rule): Kind {
  return kind("row", { ...column, ...mostly, ...shape }, (kwargs, { plan, condition }) => {
    const { skipNull = true, contradiction, columnTypes, mayAskForObject = false, ...tests } =
      ruleOf(kwargs);
    const columns: [string] = [kwargs.column as string];
    const rule = { kind: "value" as const, columns, skipNull, ...tests };
    const read = plan.map(rule, condition);
    const judge: Evaluate = ({ states }) => {
      if (contradiction !== undefined) throw new NotEvaluable(contradiction);
      const state = read(states);
      if (state.mistyped > 0) throw mistyped(state.mistyped, columns);
      return mapOutcome(mapCounts(state, { nullsCount: !skipNull }), kwargs.mostly);
    };
    const evaluate = columnTypes === undefined
      ? judge
      : typeJudge(columnTypes, { read: plan.types(columns[0]), judge, mayAskForObject });
    return { rule, columns, evaluate };
  });
}

const OBJECT_NAMES = new Set(["object", "object_", "O"]);

/** The type of the column decides, and of an object column the types of its values. */
function typeJudge(
  names: string[] | null,
  { read, judge, mayAskForObject }: {
    read: Read<TypeCounts>;
    judge: Evaluate;
    mayAskForObject: boolean;
  },
): Evaluate {
  return (evidence) => {
    const observed = columnType(read(evidence.states));
    const asksForObject = mayAskForObject && names !== null && OBJECT_NAMES.has(names[0]!);
    if (observed === "object_" && names !== null && !asksForObject) return judge(evidence);
    const success = names === null ||
      names.some((name) => typeName(name).columns.includes(observed));
    return { success, result: { observed_value: observed } };
  };
}

/** Whether no number can be at least `min` and at most `max`. */
function isAbove(min: unknown, max: unknown): boolean {
  return (compareValues(numericBound(min), numericBound(max)) ?? 0) > 0;
}

function between(kwargs: Kwargs): Test {
  const min = kwargs.min_value ?? null;
  const max = kwargs.max_value ?? null;
  if (typeof (min ?? max) !== "string") {
    return numberBetween(min as number | null, max as number | null, kwargs);
  }
  const ofText = textBetween(min as string | null, max as string | null, kwargs);
  const [low, high] = [numericBound(min), numericBound(max)];
  if (typeof low === "string" || typeof high === "string") return ofText;
  const ofNumbers = numberBetween(low as number | null, high as number | null, kwargs);
  return (value) => typeof value === "string" ? ofText(value) : ofNumbers(value);
}

function numberBetween(min: number | null, max: number | null, kwargs: Kwargs): Test {
  const low = min ?? -Infinity;
  const high = max ?? Infinity;
  const strictMin = kwargs.strict_min === true && min !== null;
  const strictMax = kwargs.strict_max === true && max !== null;
  return (value) => {
    const n = typeof value === "number" ? value : asNumber(value);
    if (n === undefined) return MISTYPED;
    return (strictMin ? n > low : n >= low) && (strictMax ? n < high : n <= high)
      ? EXPECTED
      : UNEXPECTED;
  };
}

function textBetween(min: string | null, max: string | null, kwargs: Kwargs): Test {
  const strictMin = kwargs.strict_min === true;
  const strictMax = kwargs.strict_max === true;
  const compareMin = textComparer(min);
  const compareMax = textComparer(max);
  return (value) => {
    if (typeof value !== "string") return MISTYPED;
    if (min !== null && (strictMin ? compareMin(value) <= 0 : compareMin(value) < 0)) {
      return UNEXPECTED;
    }
    if (max !== null && (strictMax ? compareMax(value) >= 0 : compareMax(value) > 0)) {
      return UNEXPECTED;
    }
    return EXPECTED;
  };
}

function textComparer(bound: string | null): (value: string) => number {
  if (bound === null) return () => 0;
  if (!ordersByUnit(bound)) return (value) => compareText(value, bound);
  return (value) => value < bound ? -1 : value > bound ? 1 : 0;
}

function inSet(values: unknown, whenAbsent: Verdict): Test {
  const keys = (values as unknown[]).map(equalityKey);
  const set = new Set(keys);
  const containers = (values as unknown[]).filter((_, i) => keys[i] === undefined);
  const whenPresent = whenAbsent === EXPECTED ? UNEXPECTED : EXPECTED;
  return (value) => {
    const key = typeof value === "string" ? value : equalityKey(value);
    const present = key === undefined
      ? containers.some((container) => equalValues(container, value))
      : set.has(key);
    return present ? whenPresent : whenAbsent;
  };
}

function types(names: string[]): Rule {
  const known: TypeName[] = names.map(typeName);
  const values = new Set(known.flatMap((name) => name.values));
  const columns = new Set(known.flatMap((name) => name.columns));
  const test: Test = (value) => values.has(pythonType(value)) ? EXPECTED : UNEXPECTED;
  // A lone value has no column around it: an integer may stand where floats are expected.
  const testAlone: Test = (value) => {
    const type = pythonType(value);
    if (values.has(type)) return EXPECTED;
    const fits = type === "int"
      ? columns.has("int64") || columns.has("uint64") || columns.has("float64")
      : type === "float"
      ? columns.has("float64")
      : type === "bool"
      ? columns.has("bool")
      : type === "str"
      ? columns.has("str")
      : columns.has("object_");
    return fits ? EXPECTED : UNEXPECTED;
  };
  return { test, testAlone, columnTypes: names };
}

function lengths(kwargs: Kwargs): Test {
  const min = (kwargs.min_value ?? -Infinity) as number;
  const max = (kwargs.max_value ?? Infinity) as number;
  const strictMin = kwargs.strict_min === true;
  const strictMax = kwargs.strict_max === true;
  const fits = (n: number): boolean =>
    (strictMin ? n > min : n >= min) && (strictMax ? n < max : n <= max);
  return (value) => {
    const text = typeof value === "string" ? value : pythonText(value);
    const units = text.length;
    // Code points are at most units and at least half of them: counting is rarely needed.
    if (fits(units) && fits(Math.ceil(units / 2))) return EXPECTED;
    return fits(codePointLength(text)) ? EXPECTED : UNEXPECTED;
  };
}

function text(tests: TextTest[], matchOn: unknown, wanted: boolean): Test {
  if (tests.length === 1) {
    const test = tests[0]!;
    return (value) =>
      test(typeof value === "string" ? value : pythonText(value)) === wanted
        ? EXPECTED
        : UNEXPECTED;
  }
  return (value) => {
    const s = typeof value === "string" ? value : pythonText(value);
    const matches = matchOn === "all" ? tests.every((t) => t(s)) : tests.some((t) => t(s));
    return matches === wanted ? EXPECTED : UNEXPECTED;
  };
}

function like(kwargs: Kwargs, wanted: boolean): Test {
  const patterns = (kwargs.like_pattern_list ?? [kwargs.like_pattern]) as string[];
  const escape = (kwargs.escape ?? undefined) as string | undefined;
  return text(patterns.map((one) => compileLike(one, escape)), kwargs.match_on ?? "any", wanted);
}

function parseJson(value: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(value) };
  } catch {
    return undefined;
  }
}

/** Python's json module also reads NaN, Infinity and -Infinity. */
function isJson(value: string): boolean {
  return parseJson(value) !== undefined || /^\s*(NaN|-?Infinity)\s*$/.test(value);
}
