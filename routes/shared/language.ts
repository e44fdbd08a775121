import type { Context } from "hono";
import { inSpanish } from "../../vocabulary/messages.ts";
import type { ProblemDetails } from "../../vocabulary/problem.ts";
import { spanishProblem } from "../../vocabulary/problems_es.ts";
import { runBelow } from "./base_path.ts";

/** Whether Spanish is asked for before English (RFC 9110, "Accept-Language"); browsers sort by preference. */
export function wantsSpanish(c: Context): boolean {
  const asked = (c.req.header("accept-language") ?? "").slice(0, 500).toLowerCase().split(",")
    .map((part) => part.trim());
  return asked.find((part) => /^(?:en|es)\b/.test(part))?.startsWith("es") ?? false;
}

/** Says in the response's headers which language it is in, and answers whether that is Spanish. */
export function speaksSpanish(c: Context): boolean {
  const spanish = wantsSpanish(c);
  c.header("content-language", spanish ? "es" : "en");
  c.header("vary", "Accept-Language");
  return spanish;
}

/** Items of a list whose `message` is in the language that is asked for. */
export function withMessages<T extends { message: string | null }>(c: Context, items: T[]): T[] {
  return speaksSpanish(c)
    ? items.map((item) => ({ ...item, message: item.message && inSpanish(item.message) }))
    : items;
}

interface RunWords {
  error: { type?: unknown } | null;
  warnings: string[];
  stages?: { error?: { type?: unknown } | null }[];
}

const inSpanishToo = <T>(error: T): T =>
  error ? spanishProblem(error as unknown as ProblemDetails) as T : error;

/** A run as it is answered: its error and warnings in the language that is asked for, its links below the base path. */
export function runFor<T extends RunWords>(c: Context, run: T): T {
  if (!speaksSpanish(c)) return runBelow(c, run);
  return runBelow(c, {
    ...run,
    error: inSpanishToo(run.error),
    warnings: run.warnings.map(inSpanish),
    ...(run.stages && {
      stages: run.stages.map((stage) => ({ ...stage, error: inSpanishToo(stage.error) })),
    }),
  });
}
