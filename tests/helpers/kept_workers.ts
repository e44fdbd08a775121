import type { WorkerThread } from "../../pipeline/workers/pool.ts";
import { startWorker } from "../../pipeline/workers/pool.ts";
import type { FromWorker, ToWorker } from "../../pipeline/workers/task.ts";

/** More of them are not kept; each has some 40 MB. */
const KEPT = 4;

/** How long a worker may take to let go of its connection. */
const STOP_MS = 5_000;

/** Workers that nobody has, the one that was given back last at the end. */
const kept: { thread: WorkerThread; rights: string }[] = [];

/** Workers that are being given back. */
const leaving = new Set<Promise<void>>();

/**
 * A worker for an engine, with these rights and no others: one that an earlier test of the process has given back, as a
 * new one takes half a second of a core to load the program. Whoever ends it gives it back; one that still
 * has a task, or has died, is ended.
 */
export function keptWorker(
  ...[name, permissions]: Parameters<typeof startWorker>
): WorkerThread {
  const rights = JSON.stringify(permissions);
  const index = kept.findLastIndex((each) => each.rights === rights);
  // without the lower priority of a server's workers: beside the tests of other processes it would always come last
  const thread = index < 0
    ? startWorker(name, { ...permissions, sys: false })
    : kept.splice(index, 1)[0]!.thread;
  return new LentWorker(thread, () => {
    kept.push({ thread, rights });
    if (kept.length > KEPT) kept.shift()!.thread.terminate();
  });
}

/** Waits until the workers that were ended have let go of their connections. */
export async function workersGivenBack(): Promise<void> {
  await Promise.all(leaving);
}

class LentWorker implements WorkerThread {
  onmessage: WorkerThread["onmessage"] = null;
  onerror: WorkerThread["onerror"] = null;
  readonly #thread: WorkerThread;
  readonly #giveBack: () => void;
  #tasks = 0;
  #dead = false;

  constructor(thread: WorkerThread, giveBack: () => void) {
    this.#thread = thread;
    this.#giveBack = giveBack;
    const self = this as unknown as Worker;
    thread.onmessage = (event: MessageEvent<FromWorker>) => {
      if (["done", "failed"].includes(event.data.type)) this.#tasks--;
      this.onmessage?.call(self, event);
    };
    thread.onerror = (event) => {
      this.#dead = true;
      this.onerror?.call(self, event);
    };
  }

  postMessage(message: ToWorker, options?: Transferable[] | StructuredSerializeOptions): void {
    if (message.type === "task") this.#tasks++;
    this.#thread.postMessage(message, options as Transferable[]);
  }

  terminate(): void {
    if (this.#dead || this.#tasks > 0) {
      this.#thread.terminate();
      return;
    }
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), STOP_MS);
    this.#thread.onmessage = ({ data }: MessageEvent<FromWorker>) => {
      if (data.type === "stopped") resolve(true);
    };
    this.#thread.onerror = (event) => {
      event.preventDefault();
      resolve(false);
    };
    this.#thread.postMessage({ type: "stop" } satisfies ToWorker);
    const left = promise.then((whole) => {
      clearTimeout(timer);
      if (whole) this.#giveBack();
      else this.#thread.terminate();
      leaving.delete(left);
    });
    leaving.add(left);
  }
}
