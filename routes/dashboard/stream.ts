import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import { staysOpen } from "../shared/load.ts";
import type { LiveOverview, Part } from "./live_overview.ts";

/** Between two signs of life, so that proxies keep an idle stream open. */
const HEARTBEAT_MS = 20_000;

/** Streams the overview of a run label ("": all): an event `parts` holds each part that has changed. */
export function streamOverview(c: Context, live: LiveOverview, label: string): Response {
  const leave = staysOpen(c);
  // of a part that changed several times, while a slow reader took the last one, the newest is enough
  const waiting = new Map<Part["name"], string>();
  let wake = Promise.withResolvers<void>();
  const caller = c.get("caller");
  let unfollow = () => {};
  try {
    unfollow = live.follow(label, (parts) => {
      for (const { name, json } of parts) waiting.set(name, json);
      wake.resolve();
    }, caller.shares ? caller.key : undefined);
  } catch (error) {
    leave();
    throw error;
  }
  return streamSSE(c, async (stream) => {
    let open = true;
    stream.onAbort(() => {
      open = false;
      wake.resolve();
    });
    try {
      // says at once that the stream is open
      await stream.writeSSE({ event: "hello", data: "{}" });
      while (open) {
        const timer = setTimeout(() => wake.resolve(), HEARTBEAT_MS);
        await wake.promise;
        clearTimeout(timer);
        wake = Promise.withResolvers();
        if (!open) break;
        const parts = new Map(waiting);
        waiting.clear();
        if (parts.size === 0) await stream.writeSSE({ event: "hello", data: "{}" });
        else {
          const members = [...parts].map(([name, json]) => `${JSON.stringify(name)}:${json}`);
          await stream.writeSSE({ event: "parts", data: `{${members.join(",")}}` });
        }
      }
    } finally {
      unfollow();
      leave();
    }
  });
}
