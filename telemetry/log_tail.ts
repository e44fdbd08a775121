import type { Entry } from "./log.ts";

/** A line of a run's log as it is stored. */
export interface LogLine {
  run_id: string;
  logged_at: string;
  level: string;
  message: string;
  fields: Record<string, unknown>;
}

/** A line waits so long for others. */
const INTERVAL_MS = 500;
/** Lines that wait at most, the newest. */
const CAPACITY = 5_000;
const MAX_MESSAGE = 2_000;
const MAX_FIELDS = 8_000;

/**
 * Keeps what is logged about runs with the runs. Nothing waits for it: lines
 * are stored in the background, and the oldest are dropped while the database
 * is out of reach.
 */
export class LogTail {
  #store: ((lines: LogLine[]) => Promise<void>) | null = null;
  #waiting: LogLine[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #storing: Promise<void> | null = null;
  #closed = false;

  /** Begins to store lines, those included that came before. */
  start(store: (lines: LogLine[]) => Promise<void>): void {
    this.#store = store;
    this.#schedule();
  }

  /** Takes an entry of the log; one without run_id is none of its business. */
  add(entry: Entry): void {
    const { run_id: runId, ...fields } = entry.fields;
    if (typeof runId !== "string" || this.#closed) return;
    const text = JSON.stringify(fields);
    this.#waiting.push({
      run_id: runId,
      logged_at: entry.time,
      level: entry.level,
      message: entry.message.slice(0, MAX_MESSAGE),
      fields: text.length <= MAX_FIELDS ? fields : { cut: text.slice(0, MAX_FIELDS) },
    });
    const over = this.#waiting.length - CAPACITY;
    if (over > 0) this.#waiting.splice(0, over);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#store === null || this.#waiting.length === 0) return;
    if (this.#timer !== undefined || this.#storing !== null || this.#closed) return;
    this.#timer = setTimeout(() => void this.flush(), INTERVAL_MS);
  }

  /** Stores what waits. Never throws: what cannot be stored is tried again with the next lines. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#storing;
    if (this.#waiting.length === 0 || this.#store === null) return;
    const lines = this.#waiting;
    this.#waiting = [];
    this.#storing = this.#store(lines).catch(() => {
      this.#waiting = [...lines, ...this.#waiting].slice(-CAPACITY);
    });
    await this.#storing;
    this.#storing = null;
    if (this.#waiting.length > 0) this.#schedule();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.flush();
  }
}
