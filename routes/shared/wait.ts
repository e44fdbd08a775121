import type { Context } from "hono";
import { Problem } from "../../pipeline/problem.ts";
import { staysOpen } from "./load.ts";

/**
 * Calls with whether the client waits for the end (`wait=true`). A request that waits counts as
 * one that stays open from before anything is begun: one that is refused has begun nothing.
 */
export async function whileWaiting<T>(c: Context, work: (wait: boolean) => Promise<T>): Promise<T> {
  const wait = asksToWait(c);
  const leave = wait ? staysOpen(c) : () => {};
  try {
    return await work(wait);
  } finally {
    leave();
  }
}

function asksToWait(c: Context): boolean {
  const text = c.req.query("wait") ?? "false";
  if (text === "true" || text === "false") return text === "true";
  throw new Problem("bad-request", {
    status: 400,
    detail: "wait is neither true nor false.",
    errors: [{
      field: "wait",
      value: text.slice(0, 100),
      message: "is not an accepted value",
      expected: "one of: true, false",
    }],
  });
}
