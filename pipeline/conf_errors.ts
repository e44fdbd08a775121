import { closest, distance } from "fastest-levenshtein";
import type { z } from "zod";
import { unstorable } from "./canonical.ts";
import { type Conf, confSchema, paramNames } from "./params.ts";
import { type FieldError, Problem } from "./problem.ts";

type Issue = z.core.$ZodIssue;

/** Checks a conf. Throws one Problem that names every field that is wrong, its value and what would be right. */
export function parseConf(value: unknown): Conf {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Problem("invalid-conf", {
      status: 400,
      detail: 'The conf must be a JSON object, such as {"batch_size": 1000}.',
    });
  }
  const parsed = confSchema.safeParse(value, { reportInput: true });
  const errors = parsed.success
    ? unstorableText(value as Conf)
    : parsed.error.issues.flatMap((issue) => fieldErrors(issue, []));
  if (errors.length === 0) return value as Conf;
  const unknown = errors.every((error) => error.message.startsWith("is not a known name"));
  throw new Problem(unknown ? "unknown-parameter" : "invalid-conf", {
    detail: `The conf has ${errors.length === 1 ? "an error" : `${errors.length} errors`}: ${
      errors.map((error) => `${error.field} ${error.message}`).join("; ")
    }`,
    errors,
  });
}

/** Text that PostgreSQL cannot store; records are stored as bytes and judged one by one. */
function unstorableText({ source, ...rest }: Conf): FieldError[] {
  const { records: _records, ...described } = (source ?? {}) as Record<string, unknown>;
  return Object.entries({ ...rest, source: described }).flatMap(([field, value]) => {
    const bad = unstorable(asJson(value));
    if (bad === null) return [];
    const what = bad === "nul" ? "a NUL character" : "half of a surrogate pair";
    return [{ field, message: `holds ${what}, which PostgreSQL cannot store` }];
  });
}

/** JSON for an error message or a look at the text: integers of any size as they are written. */
function asJson(value: unknown): string {
  return JSON.stringify(value, (_key, part) => typeof part === "bigint" ? `${part}` : part) ?? "";
}

/** The field errors of a zod issue below a path. */
export function fieldErrors(issue: Issue, above: PropertyKey[]): FieldError[] {
  const path = [...above, ...issue.path];
  const field = pathText(path);
  const value = shortened(issue.input);
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => unknownName(path, key));
    case "invalid_union": {
      const branches = (issue.errors ?? []).filter((branch) => branch.length > 0);
      if (branches.length === 0) {
        return [{
          field,
          value,
          message: "is of no known type",
          expected: "a type that the documentation lists",
        }];
      }
      // the branch that comes nearest says best what is wrong
      const nearest = branches.reduce((a, b) => depth(b) > depth(a) ? b : a);
      return nearest.flatMap((inner) => fieldErrors(inner, path));
    }
    case "invalid_type":
      return [
        issue.input === undefined
          ? { field, message: "is missing", expected: issue.expected }
          : { field, value, message: `must be ${issue.expected}`, expected: issue.expected },
      ];
    case "too_small":
      return [{ field, value, message: "is too small", expected: `at least ${issue.minimum}` }];
    case "too_big":
      return [{ field, value, message: "is too large", expected: `at most ${issue.maximum}` }];
    case "invalid_value":
      return [{
        field,
        value,
        message: "is not an accepted value",
        expected: `one of: ${issue.values.map(String).join(", ")}`,
      }];
    case "invalid_format":
      return [{ field, value, message: "has the wrong form", expected: issue.message }];
    default:
      return [{ field, value, message: issue.message }];
  }
}

function depth(issues: Issue[]): number {
  return Math.max(...issues.map((issue) => issue.path.length));
}

function unknownName(path: PropertyKey[], key: string): FieldError {
  const known = path.length === 0 ? [...paramNames, "configuration"] : [];
  const nearest = known.length === 0 ? undefined : closest(key, known);
  const meant = nearest !== undefined && distance(key, nearest) <= Math.max(2, key.length / 3)
    ? nearest
    : undefined;
  return {
    field: pathText([...path, key]),
    message: `is not a known name${meant === undefined ? "" : `; did you mean ${meant}?`}`,
    ...(meant === undefined
      ? known.length === 0 ? {} : { expected: `one of: ${known.join(", ")}` }
      : { expected: meant }),
  };
}

function pathText(path: PropertyKey[]): string {
  return path.map((part, i) =>
    typeof part === "number" ? `[${part}]` : i === 0 ? String(part) : `.${String(part)}`
  ).join("");
}

/** A value as an error may show it: never more than a line. */
function shortened(value: unknown): unknown {
  const text = asJson(value);
  if (text.length > 200) return `${text.slice(0, 200)}…`;
  return typeof value === "bigint" ? `${value}` : value;
}
