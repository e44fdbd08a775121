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

export interface LogOptions {
  level: Level;
  format: "text" | "json";
  write: (line: string) => void;
  now?: () => Date;
  /** Values that no line may hold, such as passwords; replaced by ***. */
  secrets?: string[];
}

/** A log that writes one line an entry, as text for people or JSON for machines. */
export function createLog(options: LogOptions, bound: Fields = {}): Log {
  const entry = (level: Level, message: string, fields: Fields = {}) => {
    if (ORDER[level] < ORDER[options.level]) return;
    const time = (options.now?.() ?? new Date()).toISOString();
    const all = { ...bound, ...fields };
    const line = options.format === "json"
      ? JSON.stringify({ time, level, message, ...all }, replacer)
      : `${time} ${level.padEnd(5)} ${message}${asText(all)}`;
    options.write(withoutSecrets(line, options.secrets ?? []));
  };
  return {
    debug: (message, fields) => entry("debug", message, fields),
    info: (message, fields) => entry("info", message, fields),
    warn: (message, fields) => entry("warn", message, fields),
    error: (message, fields) => entry("error", message, fields),
    with: (fields) => createLog(options, { ...bound, ...fields }),
  };
}

function replacer(_key: string, value: unknown): unknown {
  if (value instanceof Error) return value.stack ?? value.message;
  return typeof value === "bigint" ? value.toString() : value;
}

function asText(fields: Fields): string {
  return Object.entries(fields).map(([key, value]) => {
    const plain = replacer(key, value);
    const text = typeof plain === "string" ? plain : JSON.stringify(plain) ?? "";
    return ` ${key}=${/[\s"=]/.test(text) ? JSON.stringify(text) : text}`;
  }).join("");
}

function withoutSecrets(line: string, secrets: string[]): string {
  for (const secret of secrets) line = line.replaceAll(secret, "***");
  return line;
}
