import vm from "node:vm";

/** Drains the microtasks of this thread; internal to Deno, which gives no other way. */
type Core = { runMicrotasks?: () => void };

/**
 * Ends code that does not end. `Worker.terminate()` of Deno 2.9 leaves a loop
 * running (denoland/deno#35657), so code of the user's is called from a script
 * with a time limit, which V8 stops from within. Made before any module of the
 * user's is loaded: what it changes later is not used.
 */
export class Guard {
  readonly #script: vm.Script;
  readonly #run = vm.Script.prototype.runInThisContext;
  readonly #apply = Reflect.apply;
  readonly #later = setImmediate;
  readonly #drain: () => void;
  #work: () => void = () => {};

  constructor() {
    const name = `etl_guarded_${crypto.randomUUID().replaceAll("-", "")}`;
    Object.defineProperty(globalThis, name, { value: () => this.#work() });
    this.#script = new vm.Script(`${name}()`, { filename: "guard" });
    const internals = Deno as unknown as Record<string | symbol, { core?: Core } | symbol>;
    const core = (internals[internals.internal as symbol] as { core?: Core } | undefined)?.core;
    const drain = core?.runMicrotasks;
    this.#drain = drain === undefined ? () => {} : () => drain();
  }

  /**
   * Does work in a turn of the event loop of its own, with what it leaves to
   * microtasks. Calls `ended` with null, or with a {@linkcode TimeLimit} when it
   * took longer than `limitMs`, or with what it threw.
   */
  call(work: () => void, limitMs: number, ended: (error: unknown) => void): void {
    this.#later(() => {
      let thrown: unknown = null;
      this.#work = () => {
        try {
          work();
          this.#drain();
        } catch (error) {
          thrown = error ?? new Error("it threw nothing");
        }
      };
      try {
        this.#apply(this.#run, this.#script, [{ timeout: Math.max(1, Math.ceil(limitMs)) }]);
      } catch {
        // the script catches what the work throws: this is the limit
        thrown = new TimeLimit();
      }
      ended(thrown);
    });
  }

  /** What the work answers; rejects with what it threw, or with a {@linkcode TimeLimit}. */
  within<T>(work: () => T, limitMs: number): Promise<Awaited<T>> {
    const { promise, resolve, reject } = Promise.withResolvers<Awaited<T>>();
    let answer: T;
    this.call(() => answer = work(), limitMs, (error) => {
      if (error === null) resolve(answer as Awaited<T>);
      else reject(error);
    });
    return promise;
  }
}

/** Work took longer than it may. */
export class TimeLimit extends Error {}
