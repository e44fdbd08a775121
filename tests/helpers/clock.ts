/**
 * This process's clock, wrong by so many days until it is disposed of; the database's goes on as it is. Workers have clocks
 * of their own.
 */
export function wrongClock(days: number): Disposable {
  const Right = globalThis.Date;
  const now = () => Right.now() + days * 86_400_000;
  globalThis.Date = new Proxy(Right, {
    construct: (_, args) => args.length === 0 ? new Right(now()) : Reflect.construct(Right, args),
    get: (target, name, receiver) => name === "now" ? now : Reflect.get(target, name, receiver),
  });
  return { [Symbol.dispose]: () => void (globalThis.Date = Right) };
}

/** Timers of this process that have not ended. */
export interface HeldTimers extends Disposable {
  /** How many were started, those that have ended included. */
  readonly started: number;
  /** Ends the last that was started, as if its time were over; nothing happens where it was cleared. */
  end(): void;
}

/** Timers of exactly so many milliseconds that this process starts: their time is over when the test says so. */
export function heldTimers(ms: number): HeldTimers {
  const { setTimeout: start, clearTimeout: clear } = globalThis;
  const held: (() => void)[] = [];
  const cleared = new Set<unknown>();
  const startHeld = (act: () => void, delay?: number, ...args: []) => {
    const timer = start(act, delay, ...args);
    if (delay === ms) {
      held.push(() => {
        if (cleared.has(timer)) return;
        clear(timer);
        act();
      });
    }
    return timer;
  };
  globalThis.setTimeout = startHeld as typeof start;
  globalThis.clearTimeout = (timer) => {
    cleared.add(timer);
    clear(timer);
  };
  return {
    get started() {
      return held.length;
    },
    end: () => held.at(-1)!(),
    [Symbol.dispose]: () =>
      void Object.assign(globalThis, { setTimeout: start, clearTimeout: clear }),
  };
}
