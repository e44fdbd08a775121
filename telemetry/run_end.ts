import type { RunEnd } from "../store/run_end.ts";

/** Told each run end once, by the server that consumed it. Must not throw. */
export interface RunEndObserver {
  runEnded(end: RunEnd): void;
}
