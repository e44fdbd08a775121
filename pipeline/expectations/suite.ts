import { z } from "zod";
import { MAX_SUGGESTIONS, nearestName } from "../../vocabulary/nearest_name.ts";
import { say } from "../../vocabulary/messages.ts";
import {
  type ErrorCode,
  type FieldError,
  MAX_ERRORS,
  Problem,
  TerminalProblem,
} from "../../vocabulary/problem.ts";
import type { Scope } from "./kind.ts";
import { KINDS, UNSUPPORTED } from "./kinds.ts";
import { parseCondition } from "./condition.ts";
import { compileSchema, payloadSchemaErrors } from "./json_schema.ts";
import { jsonText } from "../numbers.ts";
import { parseJson } from "../sources/json_text.ts";
import { compileLike, compileRegex, MAX_PATTERN_STATES, patternStates } from "./regex.ts";
import { compileStrptime } from "../strptime.ts";

/** One expectation, in the keys of Great Expectations 1.x. */
export interface Expectation {
  id?: string;
  type: string;
  kwargs: Record<string, unknown>;
  meta: Record<string, unknown>;
  /** How bad it is when it fails; recorded and alerted with the result. */
  severity: "critical" | "warning" | "info";
  description?: string;
  notes?: unknown;
}

/** An expectation suite. Plain JSON: it crosses to workers and is stored as it is. */
export interface Suite {
  id?: string;
  name: string;
  expectations: Expectation[];
  /** Values of `{"$PARAMETER": name}` that a run does not give. */
  suite_parameters: Record<string, unknown>;
  /** `meta.payload_schema`, if present, is a JSON Schema that every payload must satisfy. */
  meta: Record<string, unknown>;
  notes?: unknown;
}

const MAX_EXPECTATIONS = 1_000;
/** Names that a suite, an expectation or its kwargs may have, each: far more than any has. */
const MAX_NAMES = 1_000;
const object = z.record(z.string(), z.unknown());

const SUITE_KEYS = {
  name: z.string().min(1).max(500).optional(),
  expectation_suite_name: z.string().min(1).max(500).optional(),
  id: z.string().nullable().optional(),
  ge_cloud_id: z.string().nullable().optional(),
  expectations: z.array(z.unknown()).max(MAX_EXPECTATIONS).optional(),
  suite_parameters: object.nullable().optional(),
  evaluation_parameters: object.nullable().optional(),
  meta: object.nullable().optional(),
  notes: z.unknown().optional(),
  data_asset_type: z.unknown().optional(),
};

const EXPECTATION_KEYS = {
  type: z.string().optional(),
  expectation_type: z.string().optional(),
  kwargs: object.optional(),
  meta: object.nullable().optional(),
  id: z.string().nullable().optional(),
  ge_cloud_id: z.string().nullable().optional(),
  severity: z.enum(["critical", "warning", "info"]).optional(),
  description: z.string().nullable().optional(),
  notes: z.unknown().optional(),
  expectation_context: z.unknown().optional(),
  rendered_content: z.unknown().optional(),
};

const suiteSchema = z.strictObject(SUITE_KEYS);
const expectationSchema = z.strictObject(EXPECTATION_KEYS);

/** Kwargs that say how Great Expectations reports; they change no verdict and are dropped. */
const REPORTING_KWARGS = new Set([
  "batch_id",
  "catch_exceptions",
  "include_config",
  "result_format",
  "windows",
]);

/**
 * Reads a suite as Great Expectations writes it, 0.18 or 1.x.
 *
 * @throws Problem invalid-conf with every error of the suite at once, each
 * naming what is wrong and the nearest known name.
 */
export function readSuite(json: unknown): Suite {
  const errors: FieldError[] = [];
  refuseTooManyNames(json);
  const read = suiteSchema.safeParse(json);
  if (!read.success) addIssues(errors, read.error, { prefix: "", known: Object.keys(SUITE_KEYS) });
  const given = (read.success ? read.data : {}) as z.infer<typeof suiteSchema>;
  const raw = read.success
    ? given.expectations
    : (json as { expectations?: unknown } | null)?.expectations;
  const budget = new CompileBudget();
  const expectations: Expectation[] = [];
  for (const [i, one] of (Array.isArray(raw) ? raw.slice(0, MAX_EXPECTATIONS) : []).entries()) {
    if (errors.length >= MAX_ERRORS) break;
    expectations.push(readExpectation(one, { field: `expectations[${i}]`, errors, budget }));
  }
  errors.push(...payloadSchemaErrors(given.meta?.payload_schema));
  const name = given.name ?? given.expectation_suite_name;
  if (read.success && name === undefined) {
    errors.push({
      field: "name",
      code: "missing",
      message: say("suite-no-name", {}),
      expected: "a text",
    });
  }
  if (errors.length > 0) throw notValid(name, errors);
  return {
    ...(given.id ?? given.ge_cloud_id ? { id: (given.id ?? given.ge_cloud_id)! } : {}),
    name: name!,
    expectations,
    suite_parameters: given.suite_parameters ?? given.evaluation_parameters ?? {},
    meta: given.meta ?? {},
    ...(given.notes === undefined || given.notes === null ? {} : { notes: given.notes }),
  };
}

/** Refuses what is no suite by its mere number of names, before each is looked at. */
function refuseTooManyNames(json: unknown): void {
  const { expectations } = (json ?? {}) as { expectations?: unknown };
  const each = Array.isArray(expectations) ? expectations.slice(0, MAX_EXPECTATIONS) : [];
  const parts: [string, unknown][] = [["the suite", json]];
  for (const [i, one] of each.entries()) {
    parts.push([`expectations[${i}]`, one], [`expectations[${i}].kwargs`, one?.kwargs]);
  }
  for (const [field, part] of parts) {
    if (typeof part !== "object" || part === null) continue;
    let names = 0;
    for (const _ in part) {
      if (++names <= MAX_NAMES) continue;
      const message = `has more than ${MAX_NAMES} names`;
      throw notValid(undefined, [{ field, message, expected: "the names of Great Expectations" }]);
    }
  }
}

/** The suite as Great Expectations 1.x writes it. */
export function writeSuite(suite: Suite): Record<string, unknown> {
  return {
    name: suite.name,
    id: suite.id ?? null,
    expectations: suite.expectations.map((one) => ({ ...one })),
    suite_parameters: suite.suite_parameters,
    meta: suite.meta,
    notes: suite.notes ?? null,
  };
}

/** Whether the verdict on a row depends on that row alone (else on the whole batch). */
export function isRowWise(expectation: { type: string }): boolean {
  return scopeOf(expectation) === "row";
}

function scopeOf(expectation: { type: string }): Scope | undefined {
  return Object.hasOwn(KINDS, expectation.type) ? KINDS[expectation.type]!.scope : undefined;
}

/**
 * The suite with each `{"$PARAMETER": name}` replaced by its value: the
 * given one, else the suite's own.
 *
 * @throws Problem invalid-conf when a value is missing or does not fit its kwarg.
 */
export function resolveParameters(suite: Suite, given: Record<string, unknown> = {}): Suite {
  const values: Record<string, unknown> = { ...suite.suite_parameters, ...given };
  const errors: FieldError[] = [];
  const budget = new CompileBudget();
  const expectations = suite.expectations.map((one, i) => {
    const kwargs: Record<string, unknown> = {};
    let replaced = false;
    for (const [key, value] of Object.entries(one.kwargs)) {
      const name = parameterName(value);
      if (name === undefined) kwargs[key] = value;
      else if (Object.hasOwn(values, name)) {
        kwargs[key] = values[name];
        replaced = true;
      } else {
        errors.push({
          field: `expectations[${i}].kwargs.${key}`,
          value: name,
          message: `the suite parameter ${name} has no value`,
          expected: "a value in suite_parameters",
        });
      }
    }
    const resolved = { ...one, kwargs };
    return replaced
      ? readExpectation(resolved, { field: `expectations[${i}]`, errors, budget })
      : resolved;
  });
  if (errors.length > 0) throw notValid(suite.name, errors);
  return { ...suite, expectations };
}

/** The name in `{"$PARAMETER": name}`, if the value is one. */
function parameterName(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || !("$PARAMETER" in value)) return undefined;
  return typeof value.$PARAMETER === "string" ? value.$PARAMETER : undefined;
}

function readExpectation(
  json: unknown,
  { field, errors, budget }: { field: string; errors: FieldError[]; budget: CompileBudget },
): Expectation {
  const read = expectationSchema.safeParse(json);
  const nothing: Expectation = { type: "", kwargs: {}, meta: {}, severity: "critical" };
  if (!read.success) {
    addIssues(errors, read.error, { prefix: field, known: Object.keys(EXPECTATION_KEYS) });
    return nothing;
  }
  const given = read.data;
  const type = given.type ?? given.expectation_type;
  if (type === undefined) {
    errors.push({
      field: `${field}.type`,
      code: "missing",
      message: say("expectation-no-type", {}),
    });
    return nothing;
  }
  if (!Object.hasOwn(KINDS, type)) {
    const known = errors.length < MAX_SUGGESTIONS ? Object.keys(KINDS) : [];
    errors.push({ field: `${field}.type`, value: type.slice(0, 100), ...unknownType(type, known) });
    return nothing;
  }
  let kwargs = Object.fromEntries(
    Object.entries(given.kwargs ?? {}).filter(([key]) => !REPORTING_KWARGS.has(key)),
  );
  const kind = KINDS[type]!;
  const checked = kind.kwargs.safeParse(kwargs);
  if (checked.success) {
    // In the order in which they were given.
    kwargs = Object.fromEntries(Object.keys(kwargs).map((key) => [key, checked.data[key]]));
    const at = `${field}.kwargs`;
    for (const error of checkKwargs(type, kwargs, { budget })) {
      errors.push({ ...error, field: `${at}.${error.field}` });
    }
    const condition = parseCondition(kwargs.row_condition);
    if (typeof condition === "string") {
      errors.push({ field: `${at}.row_condition`, message: condition });
    }
  } else {
    addIssues(errors, checked.error, {
      prefix: `${field}.kwargs`,
      known: Object.keys(kind.kwargs.shape),
      of: type,
    });
  }
  return {
    ...(given.id ?? given.ge_cloud_id ? { id: (given.id ?? given.ge_cloud_id)! } : {}),
    type,
    kwargs,
    meta: given.meta ?? {},
    severity: given.severity ?? "critical",
    ...(given.description ? { description: given.description } : {}),
    ...(given.notes === undefined || given.notes === null ? {} : { notes: given.notes }),
  };
}

function unknownType(type: string, known: string[]): Omit<FieldError, "field"> {
  const reason = Object.hasOwn(UNSUPPORTED, type) ? UNSUPPORTED[type] : undefined;
  if (reason !== undefined) {
    return { code: "invalid", message: `${type} is not supported: ${reason}` };
  }
  const near = nearestName(type, known);
  const short = type.slice(0, 100);
  return {
    code: "unknown-type",
    message: `there is no expectation ${JSON.stringify(short)}` +
      (near ? `; did you mean ${near}?` : ""),
    ...(near ? { expected: near } : {}),
  };
}

function addIssues(
  errors: FieldError[],
  error: z.ZodError,
  { prefix, known, of }: { prefix: string; known: readonly string[]; of?: string },
): void {
  for (const issue of error.issues) {
    if (errors.length >= MAX_ERRORS) return;
    const path = issue.path.reduce<string>(
      (at, key) =>
        typeof key === "number" ? `${at}[${key}]` : at ? `${at}.${String(key)}` : String(key),
      prefix,
    );
    if (issue.code !== "unrecognized_keys") {
      errors.push({ field: path, ...deepest(issue) });
      continue;
    }
    for (const key of issue.keys.slice(0, MAX_ERRORS)) {
      const near = issue.path.length === 0 && errors.length < MAX_SUGGESTIONS
        ? nearestName(key, known)
        : undefined;
      errors.push({
        field: path ? `${path}.${key.slice(0, 100)}` : key.slice(0, 100),
        code: "unknown-name",
        message: `${of ?? "a suite"} has no ${JSON.stringify(key.slice(0, 100))}` +
          (near ? `; did you mean ${near}?` : ""),
        ...(near ? { expected: near } : {}),
      });
    }
  }
}

/** What zod finds wrong, by its code; any other is "invalid", with its words. */
const CODES: Partial<Record<z.core.$ZodIssue["code"], ErrorCode>> = {
  invalid_type: "wrong-type",
  too_small: "too-small",
  too_big: "too-large",
  invalid_value: "not-accepted",
  invalid_format: "wrong-form",
};

/** Of a union "parameter or value", what is wrong with the value. */
function deepest(issue: z.core.$ZodIssue): Pick<FieldError, "code" | "message"> {
  if (issue.code === "invalid_union") {
    const last = issue.errors.at(-1)?.[0];
    if (last !== undefined) {
      const at = last.path.length > 0 ? `${last.path.join(".")}: ` : "";
      const { message, ...rest } = deepest(last);
      return { ...rest, message: at + message };
    }
  }
  const missing = issue.code === "invalid_type" && issue.message.endsWith("received undefined");
  return { code: missing ? "missing" : CODES[issue.code] ?? "invalid", message: issue.message };
}

function notValid(name: string | undefined, errors: FieldError[]): Problem {
  const first = errors[0]!;
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : "";
  return new Problem("invalid-conf", {
    detail: say("suite-not-valid", {
      name: name ? JSON.stringify(name.slice(0, 100)) + " " : "",
      errors: `${first.field || "the suite"}: ${first.message}${more}`,
    }),
    errors,
  });
}

/**
 * The suites of a directory, by name: every `*.json` in it.
 *
 * @throws Problem invalid-conf naming the file, when one is no suite or two
 * have the same name, or there is no such directory.
 */
export async function readSuiteFiles(dir: string): Promise<Map<string, Suite>> {
  const suites = new Map<string, Suite>();
  const names: string[] = [];
  try {
    for await (const { name, isFile } of Deno.readDir(dir)) {
      if (isFile && name.endsWith(".json")) names.push(name);
    }
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new TerminalProblem("invalid-conf", {
      detail: `The directory of expectation suites, ${dir}, does not exist. Make it, or let ` +
        "ETL_SUITES_DIR name another.",
      cause,
    });
  }
  for (const name of names.sort()) {
    const path = `${dir}/${name}`;
    const suite = readFile(path, await Deno.readTextFile(path));
    if (suites.has(suite.name)) {
      throw new TerminalProblem("invalid-conf", {
        detail: `${path}: another file of this directory has a suite named ${suite.name}, too.`,
      });
    }
    suites.set(suite.name, suite);
  }
  return suites;
}

/** The suites of a directory as rows of etl.suites, the suites themselves as JSON text. Throws as readSuiteFiles does. */
export async function suiteRows(
  dir: string,
): Promise<{ name: string; suite: string; row_wise: boolean }[]> {
  return [...await readSuiteFiles(dir)].map(([name, suite]) => ({
    name,
    suite: jsonText(writeSuite(suite)),
    row_wise: suite.expectations.every(isRowWise),
  }));
}

function readFile(path: string, text: string): Suite {
  try {
    return readSuite(parseJson(text));
  } catch (cause) {
    if (!(cause instanceof Problem) && !(cause instanceof SyntaxError)) throw cause;
    throw new TerminalProblem("invalid-conf", {
      detail: `${path}: ${cause.message}`,
      ...(cause instanceof Problem ? { errors: cause.errors } : {}),
      cause,
    });
  }
}

/** The JSON Schema for payloads that comes with a suite (`meta.payload_schema`), if any. */
export function payloadSchemaOf(suite: Suite): Record<string, unknown> | undefined {
  const schema = suite.meta.payload_schema;
  return typeof schema === "object" && schema !== null && !Array.isArray(schema)
    ? schema as Record<string, unknown>
    : undefined;
}

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
class CompileBudget {
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
function checkKwargs(
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
    return [{ field: "min_value", message: say("bounds-null", {}) }];
  }
  if (typeof min === "object" || typeof max === "object") return [];
  if (min === undefined || max === undefined) return [];
  if ((typeof min === "string") !== (typeof max === "string")) {
    return [{ field: "max_value", message: say("bounds-types", {}) }];
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
      message: say("quantiles-differ", {}),
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
        message: say("suite-too-large", { n: CompileBudget.MAX }),
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
