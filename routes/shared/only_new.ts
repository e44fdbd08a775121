import type { Context } from "hono";
import { z } from "@hono/zod-openapi";
import { say } from "../../vocabulary/messages.ts";
import { Problem } from "../../vocabulary/problem.ts";

/** The header of a PUT that may only create: `If-None-Match: *` (RFC 9110, section 13.1.2). */
export const onlyNewHeader = z.object({
  "if-none-match": z.string().optional().describe(
    "* creates, and is answered with 412 where the name is taken",
  ),
});

/** Whether a PUT may only create. */
export const onlyNew = (c: Context): boolean => c.req.header("if-none-match")?.trim() === "*";

/** The problem of a PUT that may only create, and whose name is taken. */
export const nameTaken = (name: string): Problem =>
  new Problem("conflict", { status: 412, detail: say("name-taken", { name }) });
