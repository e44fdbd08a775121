import { z } from "zod";
import { KINDS } from "./kinds.ts";

/**
 * How a kwarg is typed into a form. number, text, flag and choice: one; value: a number, true, false or text; texts
 * and values: a list, one a line; json: anything else.
 */
export type KwargKind =
  | "number"
  | "text"
  | "flag"
  | "choice"
  | "value"
  | "texts"
  | "values"
  | "json";

export interface KwargForm {
  name: string;
  kind: KwargKind;
  required: boolean;
  /** What a choice is made from. */
  options?: string[];
}

/** Part of JSON Schema. */
interface Schema {
  type?: string;
  enum?: string[];
  anyOf?: Schema[];
  items?: Schema;
  pattern?: string;
  properties?: Record<string, Schema>;
  required?: string[];
}

/** Kwargs that few expectations are given: last in a form. */
const LAST = ["mostly", "row_condition", "condition_parser"];

/** The kwargs of each type of expectation, those first that it cannot do without. */
export function expectationForms(): Record<string, KwargForm[]> {
  return Object.fromEntries(
    Object.entries(KINDS).map(([type, { kwargs }]) => {
      const schema = z.toJSONSchema(kwargs, { io: "input", unrepresentable: "any" }) as Schema;
      const required = new Set(schema.required);
      const forms = Object.entries(schema.properties ?? {}).map(([name, each]) => ({
        name,
        ...kindOf(name, branches(each)),
        required: required.has(name),
      }));
      const rank = (form: KwargForm) =>
        form.name.startsWith("column") ? 0 : form.required ? 1 : 2 + LAST.indexOf(form.name) + 1;
      return [type, forms.sort((a, b) => rank(a) - rank(b))];
    }),
  );
}

/** What a value may be, without null and a reference to a parameter of the suite. */
function branches({ anyOf, ...schema }: Schema): Schema[] {
  if (anyOf !== undefined) return anyOf.flatMap(branches);
  return schema.type === "null" || schema.properties?.$PARAMETER !== undefined ? [] : [schema];
}

function kindOf(name: string, all: Schema[]): Pick<KwargForm, "kind" | "options"> {
  const has = (type: string) => all.some((each) => each.type === type);
  const [first] = all;
  const options = all.flatMap((each) => each.enum ?? []);
  if (name === "row_condition") return { kind: "text" };
  if (has("array")) {
    const items = branches(all.find(({ type }) => type === "array")!.items ?? {});
    if (items.every(({ type }) => type === "string")) return { kind: "texts" };
    return { kind: items.some(({ type }) => type === "string") ? "values" : "json" };
  }
  if (options.length > 0) return { kind: "choice", options };
  // what Great Expectations also takes for a number or a flag is text
  if (has("number") || has("integer")) {
    const text = all.find(({ type }) => type === "string");
    if (text === undefined) return { kind: "number" };
    if (text.pattern?.includes("true")) return { kind: "flag" };
    return { kind: text.pattern === undefined ? "value" : "number" };
  }
  return { kind: first?.type === "string" ? "text" : "json" };
}
