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
  now?: () => Date;
  /** Values that no line may hold, such as passwords; replaced by ***. */
  secrets?: string[];
  /** Told each entry that is written, with fields as JSON has them. */
  onEntry?: (entry: Entry) => void;
}

/** A log that writes one line an entry, as text for people or JSON for machines. */
export function createLog(options: LogOptions, bound: Fields = {}): Log {
  const entry = (level: Level, message: string, fields: Fields = {}) => {
    if (ORDER[level] < ORDER[options.level]) return;
    const time = (options.now?.() ?? new Date()).toISOString();
    const all = { ...bound, ...fields };
    const line = options.format === "json"
      ? asJson({ ...all, time, level, message })
      : `${time} ${level.padEnd(5)} ${oneLine(message)}${asText(all)}`;
    options.write(withoutSecrets(line, options.secrets ?? []));
    if (options.onEntry === undefined) return;
    const told = asJson({ time, level, message, fields: all });
    try {
      const entry: Partial<Entry> = JSON.parse(withoutSecrets(told, options.secrets ?? []));
      options.onEntry({ time, level, message: entry.message ?? "", fields: entry.fields ?? {} });
    } catch {
      // a secret such as a comma leaves no JSON: the line was written, that has to do
    }
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

/** A log must never be what ends a run: a value that cannot be told is named as such. */
function asJson(value: unknown): string {
  try {
    return JSON.stringify(value, replacer) ?? "";
  } catch (error) {
    return JSON.stringify({ unprintable: String(error) });
  }
}

function oneLine(text: string): string {
  return text.replace(/[\r\n]+/g, " ");
}

function asText(fields: Fields): string {
  return Object.entries(fields).map(([key, value]) => {
    const plain = replacer(key, value);
    const text = typeof plain === "string" ? plain : asJson(plain);
    return ` ${key}=${/[\s"=]/.test(text) ? JSON.stringify(text) : text}`;
  }).join("");
}

/** Finds a secret also as JSON writes it. */
function withoutSecrets(line: string, secrets: string[]): string {
  for (const secret of secrets) {
    if (secret === "") continue;
    line = line.replaceAll(secret, "***").replaceAll(JSON.stringify(secret).slice(1, -1), "***");
  }
  return line;
}
