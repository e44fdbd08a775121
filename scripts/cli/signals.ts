import { onEndingSignal } from "../launch.ts";
import { EXIT, Interrupted } from "./exit_codes.ts";

/** One Ctrl-C may arrive twice, from the terminal and from npx, which passes it on. */
const SAME_MS = 1000;

/**
 * Ctrl-C and its like. Unless a command takes them, the first aborts `signal`;
 * one more a second later, when ending takes too long, ends the process.
 */
export class Signals implements Disposable {
  readonly #abort = new AbortController();
  readonly #listening: Disposable | undefined;
  #take: ((signal: Deno.Signal) => void) | null = null;
  #lastAt = -Infinity;

  /** `listens`: whether the process is the command's own, so that its signals are, too. */
  constructor(listens: boolean) {
    if (listens) this.#listening = onEndingSignal((signal) => this.#receive(signal));
  }

  /** Aborted with {@linkcode Interrupted} when the command should end. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Gives the next signal to `take` instead; the one after that aborts again. */
  takeNext(take: (signal: Deno.Signal) => void): void {
    this.#take = take;
  }

  /** Ends the command as an untaken signal would. */
  end(signal: Deno.Signal): void {
    this.#abort.abort(new Interrupted(signal));
  }

  #receive(signal: Deno.Signal): void {
    const now = performance.now();
    if (now - this.#lastAt < SAME_MS) return;
    this.#lastAt = now;
    const take = this.#take;
    this.#take = null;
    if (take !== null) take(signal);
    else if (this.#abort.signal.aborted) Deno.exit(EXIT.interrupted);
    else this.end(signal);
  }

  [Symbol.dispose](): void {
    this.#listening?.[Symbol.dispose]();
  }
}
