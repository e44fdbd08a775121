import type { z } from "zod";
import { unstorable } from "./canonical.ts";
import { type Conf, confSchema, requestJsonSchema } from "./params.ts";
import { MAX_SUGGESTIONS, nearestName } from "../vocabulary/nearest_name.ts";
import { errorsText, type FieldError, MAX_ERRORS, Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { sourceSchema } from "./sources/schema.ts";

type Issue = z.core.$ZodIssue;

/** Checks a conf. Throws one Problem that names every field that is wrong, its value and what would be right. */
export function parseConf(value: unknown): Conf {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Problem("invalid-conf", {
      status: 400,
      detail: say("conf-not-object", {}),
    });
  }
  if (hasMoreValues(value, MAX_VALUES)) {
    throw new Problem("invalid-conf", {
      detail: say("conf-too-many-values", { n: MAX_VALUES }),
    });
  }
  const parsed = confSchema.safeParse(value, { reportInput: true });
  const errors = parsed.success
    ? unstorableText(value as Conf)
    : issueErrors(parsed.error.issues, confNames);
  if (errors.length === 0) return value as Conf;
  throw confProblem(errors);
}

/** The field errors of what zod found, at most {@linkcode MAX_ERRORS}. */
export function issueErrors(issues: Issue[], namesAt?: NamesAt): FieldError[] {
  const errors: FieldError[] = [];
  for (const issue of issues) {
    if (errors.length >= MAX_ERRORS) break;
    errors.push(...fieldErrors(issue, [], namesAt));
  }
  return errors.slice(0, MAX_ERRORS);
}

/** Values that a conf may have, lists and objects included, beside the records of an inline source. */
const MAX_VALUES = 20_000;

/** Whether there are more values than that; looks at no more. */
function hasMoreValues(conf: object, limit: number): boolean {
  const records = (conf as { source?: { records?: unknown } | null }).source?.records;
  const waiting: object[] = [conf];
  let seen = 0;
  for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
    if (Array.isArray(part) && (seen += part.length) > limit) return true;
    for (const key in part) {
      if (!Array.isArray(part) && ++seen > limit) return true;
      const value = (part as Record<string, unknown>)[key];
      if (typeof value === "object" && value !== null && value !== records) waiting.push(value);
    }
  }
  return false;
}

/** The problem of a conf with these errors. */
export function confProblem(errors: FieldError[]): Problem {
  const unknown = errors.every((error) => error.code === "unknown-name");
  return new Problem(unknown ? "unknown-parameter" : "invalid-conf", {
    detail: say("conf-errors", { errors: errorsText(errors) }),
    errors,
  });
}

/** Text that PostgreSQL cannot store; records are stored as bytes and judged one by one. */
function unstorableText({ source, ...rest }: Conf): FieldError[] {
  const { records: _records, ...described } = (source ?? {}) as Record<string, unknown>;
  return Object.entries({ ...rest, source: described }).flatMap(([field, value]) => {
    const bad = unstorable(asJson(value));
    if (bad === null) return [];
    const what = bad === "nul" ? "a NUL character" : "an unpaired surrogate";
    const message = `contains ${what}, which PostgreSQL cannot store`;
    return [{
      field,
      value: shortened(value),
      code: "not-storable" as const,
      message,
      expected: "text without it",
    }];
  });
}

/** JSON for an error message or a look at the text: integers of any size as they are written. */
function asJson(value: unknown): string {
  return JSON.stringify(value, (_key, part) => typeof part === "bigint" ? `${part}` : part) ?? "";
}

/** The names that an object at a path may have; empty where that is not known. */
type NamesAt = (path: PropertyKey[], object: unknown) => string[];

/** The field errors of a zod issue below a path; with `namesAt` an unknown name is told the nearest one. */
export function fieldErrors(
  issue: Issue,
  above: PropertyKey[],
  namesAt: NamesAt = () => [],
): FieldError[] {
  const path = [...above, ...issue.path];
  const field = pathText(path);
  const value = shortened(issue.input);
  switch (issue.code) {
    case "unrecognized_keys":
      return unknownNames(issue, path, namesAt(path, issue.input));
    case "invalid_union": {
      const branches = (issue.errors ?? []).filter((branch) => branch.length > 0);
      if (branches.length === 0) {
        return [{
          field,
          value,
          code: "unknown-type",
          message: "is of no known type",
          expected: `one of: ${typesOf(issue).join(", ")}`,
        }];
      }
      // the branch that comes nearest says best what is wrong
      const nearest = branches.reduce((a, b) => depth(b) > depth(a) ? b : a);
      return nearest.flatMap((inner) => fieldErrors(inner, path, namesAt));
    }
    case "invalid_type": {
      const [expected, must] = TYPES[issue.expected] ??
        [issue.expected, `must be ${issue.expected}`];
      const isQuoted = typeof issue.input === "string" &&
        QUOTED[issue.expected]?.test(issue.input) === true;
      const message = isQuoted ? `${must}, written without quotes` : must;
      return [
        issue.input === undefined
          ? { field, code: "missing", message: "is missing", expected }
          : { field, value, code: "wrong-type", message, expected },
      ];
    }
    case "too_small":
      return [{
        field,
        value,
        ...(UNITS[issue.origin] === undefined
          ? { code: "too-small", message: "is too small" }
          : { code: "too-short", message: "is too short" }),
        expected: `${issue.inclusive === false ? "more than" : "at least"} ${
          counted(issue.minimum, issue.origin)
        }`,
      }];
    case "too_big":
      return [{
        field,
        value,
        ...(UNITS[issue.origin] === undefined
          ? { code: "too-large", message: "is too large" }
          : { code: "too-long", message: "is too long" }),
        expected: `${issue.inclusive === false ? "less than" : "at most"} ${
          counted(issue.maximum, issue.origin)
        }`,
      }];
    case "invalid_value":
      return [{
        field,
        value,
        code: "not-accepted",
        message: "is not an accepted value",
        expected: `one of: ${issue.values.map(String).join(", ")}`,
      }];
    case "invalid_format":
      return [{
        field,
        value,
        code: "wrong-form",
        message: "has the wrong form",
        expected: issue.message,
      }];
    default:
      return [{ field, value, code: "invalid", message: issue.message }];
  }
}

/** What a value of a type is called, and what is said of one of another type. */
const TYPES: Record<string, [expected: string, message: string]> = {
  number: ["a number", "must be a number"],
  int: ["a whole number", "must be a whole number"],
  string: ["text", "must be text"],
  boolean: ["true or false", "must be true or false"],
  array: ["a list", "must be a list"],
  object: ["an object", "must be an object"],
  record: ["an object", "must be an object"],
};

/** Texts that hold a value of a type: only their quotes are wrong. */
const QUOTED: Record<string, RegExp> = {
  number: /^-?\d+(\.\d+)?$/,
  int: /^-?\d+(\.\d+)?$/,
  boolean: /^(true|false)$/,
};

/** What the bounds of a text or list count. */
const UNITS: Record<string, string> = { string: "character", array: "item" };

/** "1 character", "3 items"; of a number the number. */
const counted = (n: number | bigint, origin: string) =>
  UNITS[origin] === undefined ? `${n}` : `${n} ${UNITS[origin]}${n == 1 ? "" : "s"}`;

/** The types that a union distinguishes, where zod tells them. */
function typesOf(issue: Issue): string[] {
  return (issue as { options?: unknown[] }).options?.map(String) ?? sourceTypes;
}

const sourceTypes = sourceSchema.options.map((option) => option.shape.type.value);

interface SchemaNode {
  properties?: Record<string, SchemaNode>;
  const?: unknown;
  oneOf?: SchemaNode[];
  anyOf?: SchemaNode[];
}

let requestSchema: SchemaNode | undefined;

/** The schemas that a value of this one may fit. */
const branches = (node: SchemaNode): SchemaNode[] =>
  (node.oneOf ?? node.anyOf)?.flatMap(branches) ?? [node];

/** The names that a conf may have at a path, read from its JSON Schema. */
function confNames(path: PropertyKey[], object: unknown): string[] {
  let nodes: SchemaNode[] = [requestSchema ??= requestJsonSchema()];
  for (const part of path) {
    nodes = nodes.flatMap(({ properties }) => properties?.[String(part)] ?? [])
      .flatMap(branches);
  }
  const type = (object as { type?: unknown } | null | undefined)?.type;
  const fitting = nodes.filter(({ properties }) =>
    properties !== undefined &&
    (properties.type?.const === undefined || properties.type.const === type)
  );
  return Object.keys(fitting[0]?.properties ?? {});
}

function depth(issues: Issue[]): number {
  return Math.max(...issues.map((issue) => issue.path.length));
}

function unknownNames(
  { keys, input }: z.core.$ZodIssueUnrecognizedKeys,
  path: PropertyKey[],
  known: string[],
): FieldError[] {
  return keys.slice(0, MAX_ERRORS).map((key, i) => {
    const meant = i < MAX_SUGGESTIONS ? nearestName(key, known) : undefined;
    return {
      field: pathText([...path, key.slice(0, 200)]),
      value: SECRET_NAME.test(key)
        ? "***"
        : shortened((input as Record<string, unknown> | undefined)?.[key]),
      code: "unknown-name",
      message: `is not a known name${meant === undefined ? "" : `; did you mean ${meant}?`}`,
      expected: meant ?? (known.length === 0 ? "no such name" : `one of: ${known.join(", ")}`),
    };
  });
}

/** What may stand under such a name is not shown, though no name is known. */
const SECRET_NAME = /auth|cookie|token|secret|passw|pwd|api.?key|signature|credential|header/i;

function pathText(path: PropertyKey[]): string {
  return path.map((part, i) =>
    typeof part === "number" ? `[${part}]` : i === 0 ? String(part) : `.${String(part)}`
  ).join("");
}

/** Characters of a value that an error shows. */
const SHOWN = 200;

/** A value as an error may show it: never more than a line, and no credentials of a URL. */
function shortened(given: unknown): unknown {
  if (typeof given === "bigint") return `${given}`.slice(0, SHOWN);
  if (typeof given === "string") {
    return cut(withoutCredentials(given.slice(0, 2 * SHOWN)));
  }
  if (typeof given !== "object" || given === null) return given;
  const text = withoutCredentials(jsonBeginning(given, 2 * SHOWN));
  // what it holds is sent as JSON, which knows no bigint
  return text.length > SHOWN ? cut(text) : JSON.parse(text);
}

const cut = (text: string) => text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
/** What is no URL may have been meant as one: a user by any sign of one, the query and what follows. */
const withoutCredentials = (text: string) =>
  text.replaceAll(/((?:^|:)[/\\]{2,})[^/\\?#\s"]*(?:[@\uff20\ufe6b]|%40)/gi, "$1***@")
    .replaceAll(/([/\\]{2}[^\s"?#]*[?#])[^\s"]+/g, "$1***");

/** The JSON of a value, or the beginning of it: whatever its size, little more than `length` is made. */
function jsonBeginning(value: unknown, length: number): string {
  if (Array.isArray(value)) return members(value.values(), ["[", "]"]);
  if (typeof value === "object" && value !== null) return members(entriesOf(value), ["{", "}"]);
  const whole = typeof value === "string" ? value.slice(0, length + 1) : value;
  return typeof whole === "bigint"
    ? `${whole}`.slice(0, length + 1)
    : JSON.stringify(whole) ?? "null";

  function members(each: Iterable<unknown>, [open, close]: [string, string]): string {
    let text = open;
    for (const member of each) {
      if (text.length > length) return text;
      if (text.length > 1) text += ",";
      text += open === "["
        ? jsonBeginning(member, length - text.length)
        : `${JSON.stringify((member as [string])[0].slice(0, length))}:${
          jsonBeginning((member as [string, unknown])[1], length - text.length)
        }`;
    }
    return text + close;
  }
}

function* entriesOf(object: object): Generator<[string, unknown]> {
  for (const key in object) yield [key, (object as Record<string, unknown>)[key]];
}
