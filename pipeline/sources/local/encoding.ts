import { type Message, say } from "../../../vocabulary/messages.ts";
import { Problem } from "../../../vocabulary/problem.ts";

/** Encodings that text may have, as the WHATWG names them; `utf-16` is told by its mark. */
export const ENCODINGS = [
  "utf-8",
  "latin1",
  "utf-16",
  "utf-16le",
  "utf-16be",
  "windows-1250",
  "windows-1251",
  "windows-1252",
  "iso-8859-2",
  "iso-8859-15",
  "koi8-r",
  "shift_jis",
  "euc-jp",
  "euc-kr",
  "gb18030",
  "big5",
] as const;

export type Encoding = typeof ENCODINGS[number];

const MARKS: [name: "UTF-8" | "UTF-16LE" | "UTF-16BE", bytes: number[]][] = [
  ["UTF-8", [0xef, 0xbb, 0xbf]],
  ["UTF-16LE", [0xff, 0xfe]],
  ["UTF-16BE", [0xfe, 0xff]],
];

/** The first of them begins like the mark of UTF-16LE. */
const UTF_32_MARKS = [[0xff, 0xfe, 0, 0], [0, 0, 0xfe, 0xff]];

function markOf(head: Uint8Array): typeof MARKS[number][0] | undefined {
  return MARKS.find(([, bytes]) => bytes.every((byte, i) => head[i] === byte))?.[0];
}

/** Whether a text begins with a byte order mark. */
export function hasMark(head: Uint8Array): boolean {
  return markOf(head) !== undefined;
}

/** Bytes of zero that tell UTF-16 apart, as a part of all bytes of one half. */
const MANY = 0.3;

/**
 * The encoding of text that begins with `head`: UTF-16 is told by its byte order mark, whatever the conf says of its
 * order; a text that cannot be what the conf says is refused, so that a wrong encoding never ends in no records.
 *
 * @throws {Problem} `source-unreadable`.
 */
export function textEncoding(
  head: Uint8Array,
  { declared, label }: { declared: string | undefined; label: string },
): string {
  const file = label;
  const refuse = (detail: Message, expected?: string) =>
    new Problem("source-unreadable", {
      detail,
      ...(expected && {
        errors: [{ field: "source.encoding", message: "is not that of the text", expected }],
      }),
    });
  if (UTF_32_MARKS.some((bytes) => bytes.every((byte, i) => head[i] === byte))) {
    throw refuse(say("text-utf32", { file }));
  }
  const mark = markOf(head);
  const wide = declared?.startsWith("utf-16") === true;
  if (mark === "UTF-16LE" || mark === "UTF-16BE") {
    if (declared === undefined || wide) return mark.toLowerCase();
    throw refuse(say("text-other-mark", { file, mark, encoding: declared }));
  }
  if (mark === "UTF-8" && declared !== undefined && declared !== "utf-8") {
    throw refuse(say("text-other-mark", { file, mark, encoding: declared }));
  }
  if (head[0] === 0xef && head[1] === 0xbf && head[2] === 0xbe && !wide) {
    throw refuse(say("text-ffe", { file }));
  }
  const narrow = wide ? null : declared ?? "utf-8";
  const order = head.length < 2 ? undefined : zeroOrder(head, narrow);
  if (!wide) {
    if (order !== undefined) {
      throw refuse(
        say("text-without-mark", { file, order, encoding: order.toLowerCase() }),
        order.toLowerCase(),
      );
    }
    return declared ?? "utf-8";
  }
  if (head.length === 0) return declared === "utf-16" ? "utf-16le" : declared!;
  if (declared === "utf-16") {
    if (order === undefined) {
      throw refuse(say("text-no-order", { file }));
    }
    return order.toLowerCase();
  }
  if (order !== undefined && order.toLowerCase() !== declared) {
    throw refuse(
      say("text-not-as-said", { file, order, said: declared!, encoding: order.toLowerCase() }),
    );
  }
  // every line end and every delimiter has a zero byte in UTF-16
  if (!head.includes(0)) {
    throw refuse(say("text-no-utf16", { file, n: head.length }));
  }
  return declared!;
}

/** Characters that no text has many of; those of UTF-16 that is hardly Latin are such pairs of bytes, or no UTF-8. */
// deno-lint-ignore no-control-regex
const CONTROLS = /[\x01-\x08\x0b\x0e-\x1f]/g;

/** Whether these bytes are text of an encoding, whatever U+0000 is in it. */
function isText(head: Uint8Array, encoding: string): boolean {
  try {
    const text = new TextDecoder(encoding, { fatal: true }).decode(head, { stream: true });
    return (text.match(CONTROLS)?.length ?? 0) <= text.length / 100;
  } catch {
    return false;
  }
}

/**
 * The order of UTF-16 that the zero bytes of a text without mark show; undefined where they show none. `narrow`: the other
 * encoding that it may be of.
 */
function zeroOrder(
  head: Uint8Array,
  narrow: string | null,
): "UTF-16LE" | "UTF-16BE" | undefined {
  const halves = [0, 0] as [number, number];
  const newlines = [0, 0] as [number, number];
  const pairs = Math.floor(head.length / 2);
  for (let i = 0; i < pairs * 2; i++) {
    if (head[i] !== 0) continue;
    halves[i % 2 as 0 | 1]++;
    const other = head[i ^ 1];
    if (other === 10 || other === 44 || other === 9 || other === 59) newlines[i % 2 as 0 | 1]++;
  }
  const [high, low] = halves;
  if (high > pairs * MANY && high > 4 * low) return "UTF-16BE";
  if (low > pairs * MANY && low > 4 * high) return "UTF-16LE";
  // some U+0000 in a text make no other encoding of it: their records are quarantined
  if (narrow !== null && isText(head, narrow)) return undefined;
  // text that is hardly Latin: its line ends and delimiters tell
  if (newlines[0] > 0 && newlines[1] === 0 && high > 0 && low === 0) return "UTF-16BE";
  if (newlines[1] > 0 && newlines[0] === 0 && low > 0 && high === 0) return "UTF-16LE";
  return undefined;
}
