import { type Message, say } from "../../vocabulary/messages.ts";
import { type Json, type RecordBatch, type SourceRecord, Unreadable } from "./source.ts";

const COLON = 58;
const QUOTE = 34;
const BACKSLASH = 92;
/** What is nested deeper is looked at exactly. */
const MAX_DEPTH = 200;

/**
 * Whether an object of these records may have a name twice, of which JSON.parse keeps the last:
 * there are more colons where names end in the text than names in the records. A text that holds
 * such a colon is a false alarm; a repeated name is never missed.
 */
export function mayRepeatNames(bytes: Uint8Array, records: RecordBatch): boolean {
  let names = 0;
  for (const record of records) {
    if (!(record instanceof Unreadable)) names += countNames(record, 0);
  }
  return countNameColons(bytes) > names;
}

/** Colons behind a quote or white space; nothing else may stand between a name and its colon. */
function countNameColons(bytes: Uint8Array): number {
  let colons = 0;
  const count = (from: number, to: number) => {
    for (let i = Math.max(1, from); i < to; i++) {
      if (bytes[i] === COLON && (bytes[i - 1] === QUOTE || bytes[i - 1]! <= 32)) colons++;
    }
  };
  // four bytes at once: a zero among them after the exclusive or is a colon
  const start = (4 - (bytes.byteOffset & 3)) & 3;
  const length = Math.max(0, (bytes.length - start) >> 2);
  const words = length === 0 ? [] : new Uint32Array(bytes.buffer, bytes.byteOffset + start, length);
  count(0, Math.min(start, bytes.length));
  for (let w = 0; w < length; w++) {
    const word = words[w]! ^ 0x3a3a3a3a;
    if (((word - 0x01010101) & ~word & 0x80808080) === 0) continue;
    count(start + w * 4, start + w * 4 + 4);
  }
  count(start + length * 4, bytes.length);
  return colons;
}

function countNames(value: Json[] | SourceRecord, depth: number): number {
  if (depth > MAX_DEPTH) return 0;
  let names = 0;
  if (Array.isArray(value)) {
    for (const element of value) {
      if (typeof element === "object" && element !== null) names += countNames(element, depth + 1);
    }
    return names;
  }
  for (const name in value) {
    names++;
    const member = value[name];
    if (typeof member === "object" && member !== null) names += countNames(member, depth + 1);
  }
  return names;
}

/** As {@linkcode repeatedName}, of a text whose value is at hand: most texts are told by counting. */
export function repeatedNameOf(text: string, value: Json): string | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const names = countNames(value, 0);
  let colons = 0;
  for (const _ of text.matchAll(/"\s*:/g)) if (++colons > names) return repeatedName(text);
  return undefined;
}

/** A name that an object in a valid JSON text has twice, if there is one. */
export function repeatedName(text: string): string | undefined {
  /** Names of each open object; null for a list. */
  const open: (Set<string> | null)[] = [];
  let atName = false;
  for (let i = 0; i < text.length; i++) {
    switch (text[i]) {
      case '"': {
        const end = stringEnd(text, i);
        if (atName) {
          const raw = text.slice(i + 1, end);
          const name: string = raw.includes("\\") ? JSON.parse(`"${raw}"`) : raw;
          const names = open.at(-1)!;
          if (names.has(name)) return name;
          names.add(name);
          atName = false;
        }
        i = end;
        break;
      }
      case "{":
        open.push(new Set());
        atName = true;
        break;
      case "[":
        open.push(null);
        atName = false;
        break;
      case "}":
      case "]":
        open.pop();
        atName = false;
        break;
      case ",":
        atName = open.at(-1) !== null;
    }
  }
  return undefined;
}

/** Index of the quote that ends the string that begins at `start`. */
function stringEnd(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === BACKSLASH) i++;
    else if (code === QUOTE) return i;
  }
  return text.length;
}

type RepeatedNames = RecordBatch["repeatedNames"];

/** The sum of two counts, with the first example. */
export function addRepeated(a: RepeatedNames, b: RepeatedNames): RepeatedNames {
  if (a === undefined || b === undefined) return a ?? b;
  return { records: a.records + b.records, example: a.example };
}

/** What the user is told of names that objects have twice. */
export function repeatedNamesWarning(repeated: RepeatedNames): Message[] {
  if (repeated === undefined) return [];
  const { records, example } = repeated;
  const who = records === 1 ? say("one-record-has", {}) : say("records-have", { n: records });
  return [say("name-twice", { who, example })];
}
