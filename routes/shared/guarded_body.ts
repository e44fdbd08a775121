import { Problem } from "../../vocabulary/problem.ts";

/** Bytes a second that a body has to have on average, after the first `timeoutMs`. */
const SLOWEST = 32 << 10;

export interface GuardedBodyOptions {
  /** Milliseconds without a byte after which a body is given up; so long it may be slow, too. */
  timeoutMs: number;
  /** Told of each block before it is passed on; what it throws ends the body. */
  onBlock?: (bytes: number) => void;
}

export interface GuardedBody {
  stream: ReadableStream<Uint8Array>;
  /** Nobody reads it any more. */
  end(): void;
}

/** A request body that fails with 408 when it stops coming, or comes so slowly that it is meant to be slow. */
export function guardedBody(
  body: ReadableStream<Uint8Array>,
  { timeoutMs, onBlock }: GuardedBodyOptions,
): GuardedBody {
  const reader = body.getReader();
  const started = performance.now();
  let received = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isOver = false;
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const allowed = started + timeoutMs + received / SLOWEST * 1000 - performance.now();
      const late = Promise.withResolvers<never>();
      timer = setTimeout(() => late.reject(tooSlow(timeoutMs)), Math.min(timeoutMs, allowed));
      try {
        const { done, value } = await Promise.race([reader.read(), late.promise]);
        if (done) {
          isOver = true;
          return controller.close();
        }
        received += value.byteLength;
        onBlock?.(value.byteLength);
        controller.enqueue(value);
      } catch (error) {
        await reader.cancel(error).catch(() => {});
        throw error;
      } finally {
        clearTimeout(timer);
      }
    },
    cancel: (reason) => reader.cancel(reason),
    // nothing is read before somebody wants it
  }, { highWaterMark: 0 });
  return {
    stream,
    end() {
      clearTimeout(timer);
      // who was refused before the body was read goes on sending otherwise
      if (!isOver) reader.cancel().catch(() => {});
    },
  };
}

function tooSlow(timeoutMs: number): Problem {
  return new Problem("bad-request", {
    status: 408,
    detail: `The body stopped coming for ${timeoutMs / 1000} s, or comes at less than ${
      SLOWEST >> 10
    } KiB a second. Nothing of it was kept: send it again.`,
    transient: true,
  });
}
