import { z } from "zod";
import { confSchema, paramsSchema } from "../../pipeline/params.ts";
import { sourceSchema } from "../../pipeline/sources/schema.ts";

/** A member of a conf or source, in words; made from the zod schema. */
export interface Described {
  name: string;
  /** "whole number, 0 to 1,000,000,000" */
  type: string;
  /** As JSON; null where there is none. */
  default: string | null;
  required: boolean;
  description: string;
}

export interface DescribedSource {
  type: string;
  description: string;
  /** Members of this kind only; {@linkcode describeMapping} has the common ones. */
  members: Described[];
}

interface Schema {
  type?: string;
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  default?: unknown;
  description?: string;
  format?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
}

const jsonSchema = (schema: z.ZodType, io: "input" | "output" = "input") =>
  z.toJSONSchema(schema, { io, unrepresentable: "any" }) as Schema;

/** The variables of an environment schema: required are those without a default. */
export function describeEnvironment(schema: z.ZodObject): Described[] {
  const required = new Set(jsonSchema(schema).required ?? []);
  return members(jsonSchema(schema, "output"))
    .map((variable) => ({ ...variable, required: required.has(variable.name) }));
}

/** Every parameter of a run, and `configuration`. */
export function describeParams(): Described[] {
  const params = members(jsonSchema(paramsSchema)).map((param) => ({ ...param, required: false }));
  const configuration = members(jsonSchema(confSchema)).filter(({ name }) =>
    name === "configuration"
  );
  return [...params, ...configuration];
}

/** Members that every kind of source has. */
export function describeMapping(): Described[] {
  const kinds = sourceKinds().map((kind) => members(kind));
  return kinds[0]!.filter(({ name }) => name !== "type" && isCommon(name, kinds));
}

/** The kinds of source, each with what only some kinds have. */
export function describeSources(): DescribedSource[] {
  const all = sourceKinds();
  const kinds = all.map((kind) => members(kind));
  return all.map((kind, i) => ({
    type: String(kind.properties!.type!.const),
    description: kind.description ?? "",
    members: kinds[i]!.filter(({ name }) => name !== "upload_id" && !isCommon(name, kinds)),
  }));
}

function sourceKinds(): Schema[] {
  return jsonSchema(sourceSchema).oneOf!;
}

function isCommon(name: string, kinds: Described[][]): boolean {
  return kinds.every((kind) => kind.some((member) => member.name === name));
}

function members(schema: Schema): Described[] {
  return Object.entries(schema.properties ?? {}).map(([name, member]) => ({
    name,
    type: typeText(member),
    default: member.default === undefined ? null : JSON.stringify(member.default),
    required: schema.required?.includes(name) ?? false,
    description: member.description ?? "",
  }));
}

/** A JSON Schema type for people. */
export function typeText(schema: Schema): string {
  const { type, oneOf, items } = schema;
  if (oneOf?.every((each) => each.properties?.type?.const !== undefined)) {
    return `object with type ${oneOf.map((each) => each.properties!.type!.const).join(", ")}`;
  }
  switch (type) {
    case "integer":
      return `whole number${range(schema)}`;
    case "number":
      return `number${range(schema)}`;
    case "string":
      if (schema.enum ?? schema.const ?? schema.format) return briefType(schema);
      return `text${length(schema.minLength, schema.maxLength, "character")}`;
    case "array":
      return `list of ${items?.type === undefined ? "any values" : briefType(items)}${
        length(schema.minItems, schema.maxItems, "item")
      }`;
    default:
      return briefType(schema);
  }
}

/** The same without bounds, as part of another type. */
function briefType(schema: Schema, inside = false): string {
  const { type, anyOf, oneOf } = schema;
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (anyOf ?? oneOf) return (anyOf ?? oneOf)!.map((each) => briefType(each)).join(" or ");
  if (type === "boolean") return "true | false";
  if (type === "integer") return "whole number";
  if (type === "string") return schema.format === "uri" ? "URL" : "text";
  if (type === "array") return `list of ${briefType(schema.items ?? {})}`;
  if (type === "object") {
    const names = Object.entries(schema.properties ?? {}).map(([name, member]) => {
      const named = schema.required?.includes(name) ? name : `${name}?`;
      return inside ? named : `${named}: ${briefType(member, true)}`;
    });
    return `{${names.join(", ")}}`;
  }
  return type ?? (typeof schema.default === "boolean" ? "true | false" : "anything");
}

function range({ minimum, maximum, exclusiveMinimum }: Schema): string {
  const from = exclusiveMinimum === undefined ? minimum : exclusiveMinimum;
  const low = exclusiveMinimum === undefined ? "" : "above ";
  if (from === undefined && maximum === undefined) return "";
  if (maximum === undefined) return `, ${low || "at least "}${number(from!)}`;
  return `, ${low}${number(from ?? -Infinity)} to ${number(maximum)}`;
}

function length(min: number | undefined, max: number | undefined, unit: string): string {
  if (max === undefined) return "";
  if (min === max) return ` of ${max} ${unit}${max === 1 ? "" : "s"}`;
  return ` of ${(min ?? 0) <= 1 ? "up to" : `${min} to`} ${number(max)} ${unit}s`;
}

function number(value: number): string {
  return value.toLocaleString("en-US");
}
