import type { Context } from "hono";
import { Problem } from "../../vocabulary/problem.ts";
import { staysOpen } from "./load.ts";

/**
 * Calls with whether the client waits for the end (`wait=true`). A request that waits counts as
 * one that stays open from before anything is begun: one that is refused has begun nothing.
 */
export async function whileWaiting<T>(c: Context, work: (wait: boolean) => Promise<T>): Promise<T> {
  const wait = flagOf(c, "wait");
  const leave = wait ? staysOpen(c) : () => {};
  try {
    return await work(wait);
  } finally {
    leave();
  }
}

/** Whether a parameter of the query says true; without it false. Throws a Problem for anything else. */
export function flagOf(c: Context, name: string): boolean {
  const text = c.req.query(name) ?? "false";
  if (text === "true" || text === "false") return text === "true";
  throw new Problem("bad-request", {
    status: 400,
    detail: `${name} is neither true nor false.`,
    errors: [{
      field: name,
      value: text.slice(0, 100),
      message: "is not an accepted value",
      expected: "one of: true, false",
    }],
  });
}
