import type { Context } from "hono";
import type { Identity } from "./identity.ts";

/** An open stream looks so often whether its reader may still read. */
const LOOK_MS = 5_000;

/**
 * Ends a stream of events when its reader's token is revoked or expires, or its
 * session is over. `identify` answers who reads as of now, or throws.
 */
export function endWithAccess(c: Context, identify: () => Promise<Identity | null>): void {
  const body = c.res.body;
  if (body === null || !c.res.headers.get("content-type")?.startsWith("text/event-stream")) return;
  const reader = body.getReader();
  let timer: ReturnType<typeof setInterval>;
  const guarded = new ReadableStream<Uint8Array>({
    start(controller) {
      timer = setInterval(async () => {
        if (await mayRead(identify)) return;
        clearInterval(timer);
        await reader.cancel().catch(() => {});
        try {
          controller.close();
        } catch {
          // it has ended by itself meanwhile
        }
      }, LOOK_MS);
    },
    async pull(controller) {
      const { done, value } = await reader.read();
      if (!done) return controller.enqueue(value);
      clearInterval(timer);
      try {
        controller.close();
      } catch {
        // closed above
      }
    },
    async cancel(reason) {
      clearInterval(timer);
      await reader.cancel(reason);
    },
  });
  c.res = new Response(guarded, c.res);
}

async function mayRead(identify: () => Promise<Identity | null>): Promise<boolean> {
  try {
    return await identify() !== null;
  } catch (error) {
    // a database out of reach says nothing about the reader
    return (error as { status?: number }).status !== 401;
  }
}
