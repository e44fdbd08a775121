/** Levels, from the most talkative. */
export type Level = "debug" | "info" | "warn" | "error";
const ORDER: Record<Level, number> = { debug: 10, info: 20, warn: 30, error: 40 };

export type Fields = Record<string, unknown>;

export interface Log {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** A log whose lines all carry these fields. */
  with(fields: Fields): Log;
}

/** What one line says, without secrets. */
export interface Entry {
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
  /** Told each entry, with fields as JSON has them. */
  onEntry?: (entry: Entry) => void;
}

/** A log that writes one line an entry, as text for people or JSON for machines. */
export function createLog(options: LogOptions, bound: Fields = {}): Log {
  const { format, write, onEntry, secrets = [] } = options;
  const entry = (level: Level, text: string, own: Fields = {}) => {
    if (ORDER[level] < ORDER[options.level]) return;
    const time = (options.now?.() ?? new Date()).toISOString();
    const message = withoutSecrets(text, secrets);
    const fields = plainFields({ ...bound, ...own }, secrets);
    const head = { time, level, message };
    if (ORDER[level] >= ORDER[options.writeLevel ?? options.level]) {
      write(
        format === "json"
          // a field of the same name takes no other's place
          ? JSON.stringify({ ...head, ...fields, ...head })
          : `${time} ${level.padEnd(5)} ${oneLine(message)}${asText(fields)}`,
      );
    }
    onEntry?.({ ...head, fields });
  };
  return {
    debug: (message, fields) => entry("debug", message, fields),
    info: (message, fields) => entry("info", message, fields),
    warn: (message, fields) => entry("warn", message, fields),
    error: (message, fields) => entry("error", message, fields),
    with: (fields) => createLog(options, { ...bound, ...fields }),
  };
}

/**
 * Fields as JSON has them, without secrets. A log must never be what ends a run:
 * what has no JSON is named as such.
 */
function plainFields(fields: Fields, secrets: string[]): Fields {
  const replacer = (_key: string, value: unknown): unknown => {
    if (value instanceof Error) value = value.stack ?? value.message;
    if (typeof value === "bigint") return value.toString();
    return typeof value === "string" ? withoutSecrets(value, secrets) : value;
  };
  try {
    return JSON.parse(JSON.stringify(fields, replacer));
  } catch (error) {
    return { unprintable: withoutSecrets(String(error), secrets) };
  }
}

function oneLine(text: string): string {
  return text.replace(/[\r\n]+/g, " ");
}

function asText(fields: Fields): string {
  return Object.entries(fields).map(([key, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return ` ${key}=${/[\s"=]/.test(text) ? JSON.stringify(text) : text}`;
  }).join("");
}

/** API tokens, which are not known beforehand; what names one stays. */
const API_TOKEN = /\b(etl_[0-9a-f]{10}_)[A-Za-z0-9_-]{43}/g;

function withoutSecrets(text: string, secrets: string[]): string {
  if (text.includes("etl_")) text = text.replaceAll(API_TOKEN, "$1***");
  for (const secret of secrets) {
    if (secret !== "") text = text.replaceAll(secret, "***");
  }
  return text;
}
