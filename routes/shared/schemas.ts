import { z } from "@hono/zod-openapi";
import { problemSchema } from "../../vocabulary/run_schema.ts";

/** A body of JSON, as OpenAPI describes it. */
export const json = <T extends z.ZodType>(schema: T) => ({ "application/json": { schema } });

/** A body of JSON that has to be there. */
export const jsonBody = <T extends z.ZodType>(schema: T) => ({
  required: true as const,
  content: json(schema),
});

/** A JSON object of any members in a request, as it came: z.record() loses `__proto__` before anybody can refuse it. */
export const anyMembers = (description: string) =>
  z.any().refine(
    (value) => typeof value === "object" && value !== null && !Array.isArray(value),
    "must be a JSON object",
  ).openapi({ type: "object", description }) as unknown as z.ZodType<Record<string, unknown>>;

/** An answer of JSON. */
export const jsonOf = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: json(schema),
});

/** `{items, next}`: next is the cursor of the following page, null on the last. */
export const pageOf = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item), next: z.string().nullable() });

/** Answers that are problems. Any request may meet a busy server, and any body may stop coming. */
export const problemResponses = (...statuses: number[]) =>
  Object.fromEntries(
    new Set([...statuses, 503, ...(statuses.includes(413) ? [408] : [])]).values().map((status) => [
      status,
      {
        description: "problem details (RFC 9457)",
        content: { "application/problem+json": { schema: problemSchema } },
      },
    ]),
  );
