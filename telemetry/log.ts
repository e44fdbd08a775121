/** Levels, from the most talkative. */
export type Level = "debug" | "info" | "warn" | "error";
const ORDER: Record<Level, number> = { debug: 10, info: 20, warn: 30, error: 40 };

type Fields = Record<string, unknown>;

export interface Log {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** A log whose lines all carry these fields. */
  with(fields: Fields): Log;
}

/** What one line says, without secrets. */
interface Entry {
  time: string;
  level: Level;
  message: string;
  fields: Fields;
}

export interface LogOptions {
  level: Level;
  format: "text" | "json";
  write: (line: string) => void;
  /** Lines below are only told to onEntry; default: level. */
  writeLevel?: Level;
  now?: () => Date;
  /** Values that no line may hold, such as passwords; replaced by ***. */
  secrets?: string[];
  /** What takes them out, in place of `secrets`; default made from those. */
  hidden?: (text: string) => string;
  /** Told each entry, with fields as JSON has them. */
  onEntry?: (entry: Entry) => void;
}

/** A log that writes one line an entry, as text for people or JSON for machines. */
export function createLog(options: LogOptions, bound: Fields = {}): Log {
  const { format, write, onEntry } = options;
  const hidden = options.hidden ?? hider(options.secrets ?? []);
  const entry = (level: Level, text: string, own: Fields = {}) => {
    if (ORDER[level] < ORDER[options.level]) return;
    const time = (options.now?.() ?? new Date()).toISOString();
    const message = hidden(text);
    const fields = plainFields({ ...bound, ...own }, hidden);
    const head = { time, level, message };
    if (ORDER[level] >= ORDER[options.writeLevel ?? options.level]) {
      write(
        format === "json"
          // a field of the same name takes no other's place
          ? JSON.stringify({ ...head, ...fields, ...head })
          : `${time} ${level.padEnd(5)} ${visible(`${message}${asText(fields)}`)}`,
      );
    }
    onEntry?.({ ...head, fields });
  };
  return {
    debug: (message, fields) => entry("debug", message, fields),
    info: (message, fields) => entry("info", message, fields),
    warn: (message, fields) => entry("warn", message, fields),
    error: (message, fields) => entry("error", message, fields),
    with: (fields) => createLog({ ...options, hidden }, { ...bound, ...fields }),
  };
}

/**
 * Fields as JSON has them, without secrets. A log must never be what ends a run:
 * what has no JSON is named as such.
 */
function plainFields(fields: Fields, hidden: (text: string) => string): Fields {
  const replacer = (_key: string, value: unknown): unknown => {
    if (value instanceof Error) value = value.stack ?? value.message;
    if (typeof value === "bigint") return value.toString();
    return typeof value === "string" ? hidden(value) : value;
  };
  try {
    return JSON.parse(JSON.stringify(fields, replacer));
  } catch (error) {
    return { unprintable: hidden(String(error)) };
  }
}

/** What steers a terminal or the order of letters, as an escape: a line shows what was logged and nothing else. */
function visible(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu,
    (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function asText(fields: Fields): string {
  return Object.entries(fields).map(([key, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return ` ${key}=${/[\s"=]/.test(text) ? JSON.stringify(text) : text}`;
  }).join("");
}

/** API tokens, which are not known beforehand; what names one stays. */
const API_TOKEN = /\b(etl_[0-9a-f]{10}_)[A-Za-z0-9_-]{43}/g;

/** Below this many characters a secret may be part of an ordinary word, as "improved" of etl_improved. */
const SURELY_SECRET = 12;

/**
 * Those of the secrets that no word of a message can be: what is told to people, and is not a log of ours, is left alone
 * where it only says `postgres` and a password is that, too.
 */
export function unmistakable(secrets: string[]): string[] {
  return secrets.filter((secret) =>
    secret.length >= SURELY_SECRET || (secret.length >= 8 && /\d/.test(secret) && /\D/.test(secret))
  );
}

/** Texts without secrets; made once, as each line goes through it. */
export function hider(secrets: string[]): (text: string) => string {
  const known = [...new Set(secrets)].filter(Boolean).sort((a, b) => b.length - a.length);
  const patterns = known.map((secret) => {
    const literal = secret.replaceAll(/[.*+?^${}()|[\]\\/]/g, "\\$&");
    return secret.length >= SURELY_SECRET
      ? literal
      // a word of its own, also behind what is percent-encoded or an escape of JSON
      : `(?:(?<![\\p{L}\\p{N}_])|(?<=%[0-9A-Fa-f]{2}|\\\\[bfnrt]))${literal}(?![\\p{L}\\p{N}_])`;
  });
  const pattern = known.length === 0 ? null : new RegExp(patterns.join("|"), "gu");
  return (text) => {
    if (text.includes("…")) text = withoutBeginnings(text, known);
    if (text.includes("etl_")) text = text.replaceAll(API_TOKEN, "$1***");
    return pattern === null ? text : text.replaceAll(pattern, "***");
  };
}

/** Characters of a secret's beginning that are no coincidence. */
const TELLING = 6;

/** Before each … the longest beginning of a secret, which the end of a text that was too long may have left of it. */
function withoutBeginnings(text: string, secrets: string[]): string {
  return text.replaceAll(/[^…]+(?=…)/gu, (part) => {
    let longest = 0;
    for (const secret of secrets) {
      for (let length = secret.length - 1; length >= TELLING && length > longest; length--) {
        if (part.endsWith(secret.slice(0, length))) longest = length;
      }
    }
    return longest === 0 ? part : `${part.slice(0, -longest)}***`;
  });
}

/** A line of a run's log as it is stored. */
interface LogLine {
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
