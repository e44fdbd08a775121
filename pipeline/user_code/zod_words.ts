import type { z } from "zod";
import { type Message, say, verbatim } from "../../vocabulary/messages.ts";

/** One thing that a schema finds wrong: where, zod's code, and what is said of it. */
export interface Wrong {
  path: string[];
  code: string;
  message: Message;
  /** Whether the text is the schema's own, so that it may not say of what it is said. */
  own: boolean;
}

/**
 * A value as a zod schema makes it, or what the schema finds wrong with it: in the words of the catalogue where neither the
 * schema nor a check of it has its own. `at` names what is at a path.
 */
export function checked(
  schema: Pick<z.ZodType, "safeParse">,
  given: unknown,
  at: (path: string[]) => string,
): { value: unknown; wrong: Wrong[] | null } {
  const result = schema.safeParse(given);
  if (result.success) return { value: result.data, wrong: null };
  // zod asks for a text only where nobody has one
  const again = schema.safeParse(given, { error: askedByZod, reportInput: true });
  const wrong = result.error.issues.map((issue, i) => {
    const asked = again.error?.issues[i];
    const own = asked?.message !== ASKED || asked.code !== issue.code;
    const path = issue.path.map(String);
    const message = own ? verbatim(issue.message) : inWords(issue, asked.input, path, at);
    return { path, code: issue.code, message, own };
  });
  return { value: null, wrong };
}

/** Stands where zod would say something by itself. */
const ASKED = "\0asked";

/** The text for an issue that has none of its own: that of the module's `z.config({ customError })`, if there is one. */
function askedByZod(issue: z.core.$ZodRawIssue): ReturnType<z.core.$ZodErrorMap> {
  const { __zod_globalConfig: config } = globalThis as { __zod_globalConfig?: z.core.$ZodConfig };
  return config?.customError?.(issue) ?? ASKED;
}

/** What is wrong by a zod schema, in the words of the catalogue. */
function inWords(
  issue: z.core.$ZodIssue,
  input: unknown,
  path: string[],
  nameOf: (path: string[]) => string,
): Message {
  const at = nameOf(path);
  switch (issue.code) {
    case "invalid_type":
      return path.length > 0 && input === undefined
        ? say("schema-required", {
          at: nameOf(path.slice(0, -1)),
          name: path.at(-1)!,
        })
        : say("schema-type", { at, type: issue.expected });
    case "too_small": {
      const { origin, minimum, inclusive = true } = issue;
      const n = String(minimum);
      if (origin === "string") return say("schema-fewer-characters", { at, n });
      if (origin === "array" || origin === "set") return say("schema-fewer-items", { at, n });
      return say(inclusive ? "schema-at-least" : "schema-more-than", { at, n });
    }
    case "too_big": {
      const { origin, maximum, inclusive = true } = issue;
      const n = String(maximum);
      if (origin === "string") return say("schema-more-characters", { at, n });
      if (origin === "array" || origin === "set") return say("schema-more-items", { at, n });
      return say(inclusive ? "schema-at-most" : "schema-less-than", { at, n });
    }
    case "not_multiple_of":
      return say("schema-multiple", { at, n: issue.divisor });
    case "invalid_format":
      return issue.format === "regex"
        ? say("schema-pattern", { at, pattern: issue.pattern ?? "" })
        : say("schema-format", { at, format: issue.format });
    case "invalid_value":
      return say("schema-enum", { at, values: issue.values.slice(0, 20).map(String).join(", ") });
    case "unrecognized_keys":
      return say("schema-no-more", { at, name: issue.keys[0] ?? "" });
    case "invalid_union": {
      const { options } = issue as { options?: unknown[] };
      if (options === undefined) break;
      return say("schema-enum", { at, values: options.slice(0, 20).map(String).join(", ") });
    }
  }
  return say("schema-other", { at, keyword: issue.code, words: issue.message });
}
