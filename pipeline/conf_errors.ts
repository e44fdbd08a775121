import { distance } from "fastest-levenshtein";
import type { z } from "zod";
import { unstorable } from "./canonical.ts";
import { type Conf, confSchema, requestJsonSchema } from "./params.ts";
import { type FieldError, Problem } from "./problem.ts";
import { sourceSchema } from "./sources/schema.ts";

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
    : parsed.error.issues.flatMap((issue) => fieldErrors(issue, [], confNames));
  if (errors.length === 0) return value as Conf;
  throw confProblem(errors);
}

/** The problem of a conf with these errors. */
export function confProblem(errors: FieldError[]): Problem {
  const unknown = errors.every((error) => error.message.startsWith("is not a known name"));
  return new Problem(unknown ? "unknown-parameter" : "invalid-conf", {
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
    const message = `holds ${what}, which PostgreSQL cannot store`;
    return [{ field, value: shortened(value), message, expected: "text without it" }];
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
      return issue.keys.map((key) =>
        unknownName(pathText([...path, key]), {
          key,
          value: shortened((issue.input as Record<string, unknown> | undefined)?.[key]),
          known: namesAt(path, issue.input),
        })
      );
    case "invalid_union": {
      const branches = (issue.errors ?? []).filter((branch) => branch.length > 0);
      if (branches.length === 0) {
        return [{
          field,
          value,
          message: "is of no known type",
          expected: `one of: ${typesOf(issue).join(", ")}`,
        }];
      }
      // the branch that comes nearest says best what is wrong
      const nearest = branches.reduce((a, b) => depth(b) > depth(a) ? b : a);
      return nearest.flatMap((inner) => fieldErrors(inner, path, namesAt));
    }
    case "invalid_type":
      return [
        issue.input === undefined
          ? { field, message: "is missing", expected: issue.expected }
          : { field, value, message: `must be ${issue.expected}`, expected: issue.expected },
      ];
    case "too_small":
      return [{
        field,
        value,
        message: UNITS[issue.origin] === undefined ? "is too small" : "is too short",
        expected: `${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}${
          UNITS[issue.origin] ?? ""
        }`,
      }];
    case "too_big":
      return [{
        field,
        value,
        message: UNITS[issue.origin] === undefined ? "is too large" : "is too long",
        expected: `${issue.inclusive === false ? "less than" : "at most"} ${issue.maximum}${
          UNITS[issue.origin] ?? ""
        }`,
      }];
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

/** What the bounds of a text or list count. */
const UNITS: Record<string, string> = { string: " characters", array: " items" };

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

/** The names that a conf may have at a path, read from its JSON Schema. */
function confNames(path: PropertyKey[], object: unknown): string[] {
  let nodes: SchemaNode[] = [requestJsonSchema()];
  for (const part of path) {
    nodes = nodes.flatMap(({ properties }) => properties?.[String(part)] ?? [])
      .flatMap((node) => node.oneOf ?? node.anyOf ?? [node]);
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

function unknownName(
  field: string,
  { key, value, known }: { key: string; value: unknown; known: string[] },
): FieldError {
  // of two at the same distance the one of the same length: letters are swapped more often than left out
  const far = (name: string) => distance(key, name) + (name.length === key.length ? 0 : 0.5);
  const nearest = known.toSorted((a, b) => far(a) - far(b))[0];
  const meant = nearest !== undefined && distance(key, nearest) <= Math.max(2, key.length / 3)
    ? nearest
    : undefined;
  return {
    field,
    value,
    message: `is not a known name${meant === undefined ? "" : `; did you mean ${meant}?`}`,
    expected: meant ?? (known.length === 0 ? "no such name" : `one of: ${known.join(", ")}`),
  };
}

function pathText(path: PropertyKey[]): string {
  return path.map((part, i) =>
    typeof part === "number" ? `[${part}]` : i === 0 ? String(part) : `.${String(part)}`
  ).join("");
}

/** A value as an error may show it: never more than a line, and no credentials of a URL. */
function shortened(given: unknown): unknown {
  const value = typeof given === "string" ? given.replace(/\/\/[^/?#\s]*@/, "//***@") : given;
  const text = asJson(value).replaceAll(/(:\/\/)[^/?#\s"]*@/g, "$1***@");
  if (text.length > 200) return `${text.slice(0, 200)}…`;
  // what it holds is sent as JSON, which knows no bigint
  if (typeof value === "object" && value !== null) return JSON.parse(text);
  return typeof value === "bigint" ? `${value}` : value;
}
