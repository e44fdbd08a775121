import { Unreadable } from "./source.ts";

/** Characters of raw text that are kept of a record that cannot be read, where its batch does not tell its origin. */
export const RAW_LIMIT = 65_536;

const lenient = new TextDecoder();

/** Where a record was found, for the words of an error. */
export interface Position {
  /** The file or URL, without credentials. */
  label: string;
  /** Line number, from 1, where it is known. */
  line?: number | undefined;
  /** Byte offset in the (decompressed) text. */
  byte: number;
  /** The line is the number of a record in its document. */
  derived?: boolean;
}

/** "line 12 of flights.csv", or the byte where lines were not counted. */
function describePosition({ label, line, byte, derived }: Position): string {
  if (derived) return `record ${line} of ${label}`;
  return line === undefined ? `byte ${byte} of ${label}` : `line ${line} of ${label}`;
}

/** An Unreadable whose message starts with its position and whose raw text is bounded. */
export function unreadable(
  rule: string,
  what: string,
  where: { at: Position; raw: string | Uint8Array; field?: string | null },
): Unreadable {
  const raw = typeof where.raw === "string"
    ? where.raw.slice(0, RAW_LIMIT)
    : lenient.decode(where.raw.subarray(0, RAW_LIMIT));
  return new Unreadable(rule, `${describePosition(where.at)}: ${what}`, raw, where.field);
}
