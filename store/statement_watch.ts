/** The part of a postgres.js query that its types leave out: the backend that has the statement. */
interface Sent extends PromiseLike<unknown> {
  state?: { pid: number } | null;
}

/** Knows which statements are on their way, and for how long. */
export class StatementWatch {
  readonly #sent = new Map<Sent, number>();
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Answers the statement itself; a fragment, which is never awaited, is never on its way. */
  watch<T>(statement: T): T {
    if (!(statement instanceof Promise)) return statement;
    const sent = statement as unknown as Sent;
    const original = sent.then;
    const settled = () => this.#sent.delete(sent);
    const begin = () => {
      if (this.#sent.has(sent)) return;
      this.#sent.set(sent, this.#now());
      original.call(sent, settled, settled);
    };
    // a statement is sent when somebody waits for it
    sent.then = function (this: Sent, ...handlers: Parameters<typeof original>) {
      begin();
      return original.apply(this, handlers);
    } as typeof original;
    return statement;
  }

  /** Backends of statements that have had no answer for so many milliseconds. */
  pidsAfter(ms: number): number[] {
    const before = this.#now() - ms;
    return [...this.#sent].flatMap(([{ state }, since]) =>
      since <= before && state?.pid !== undefined ? [state.pid] : []
    );
  }
}
