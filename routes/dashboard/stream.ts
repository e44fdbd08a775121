import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import type { LiveOverview, Part } from "./live_overview.ts";

/** Between two signs of life, so that proxies keep an idle stream open. */
const HEARTBEAT_MS = 20_000;

/** Streams the overview: an event `parts` holds each part that has changed. */
export function streamOverview(c: Context, live: LiveOverview): Response {
  return streamSSE(c, async (stream) => {
    const waiting: Part[] = [];
    let wake = Promise.withResolvers<void>();
    let open = true;
    const unfollow = live.follow((parts) => {
      waiting.push(...parts);
      wake.resolve();
    });
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
        const parts = new Map(waiting.splice(0).map(({ name, json }) => [name, json]));
        if (parts.size === 0) await stream.writeSSE({ event: "hello", data: "{}" });
        else {
          const members = [...parts].map(([name, json]) => `${JSON.stringify(name)}:${json}`);
          await stream.writeSSE({ event: "parts", data: `{${members.join(",")}}` });
        }
      }
    } finally {
      unfollow();
    }
  });
}
