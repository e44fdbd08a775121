import { type Message, say } from "../../../vocabulary/messages.ts";
import { Problem } from "../../../vocabulary/problem.ts";

/** What separates records and fields of CSV and TSV text; each one ASCII character. */
export interface CsvDialect {
  delimiter: string;
  /** Null: no character quotes. */
  quote: string | null;
  /** What makes a quote inside a quoted field an ordinary character: the quote itself, or another one before it. */
  escape: string | null;
  /** A line that begins with it holds no record. */
  comment: string | null;
}

/** How one file is read; a part carries it as JSON. */
export interface CsvLayout extends CsvDialect {
  /** Whether the first record names the columns. */
  header: boolean;
  /** Lines of text before the header. */
  skip_lines: number;
}

/** What the conf says of it. */
export interface CsvConf {
  delimiter?: string | undefined;
  quote?: string | false | undefined;
  escape?: string | undefined;
  comment?: string | undefined;
  header?: boolean | string[] | undefined;
  skip_lines?: number | undefined;
}

/**
 * The layout of a CSV or TSV file. TSV has no quoting (IANA's text/tab-separated-values) unless the conf asks for it;
 * `contentType` may say `header=absent` (RFC 4180).
 *
 * @throws {Problem} `invalid-conf` for characters that cannot be told apart.
 */
export function csvLayout(
  conf: CsvConf,
  { format, contentType }: { format: "csv" | "tsv"; contentType?: string | undefined },
): CsvLayout {
  const delimiter = conf.delimiter ?? (format === "tsv" ? "\t" : ",");
  const quote = conf.quote === undefined ? (format === "tsv" ? null : '"') : conf.quote || null;
  const escape = quote === null ? null : conf.escape ?? quote;
  const comment = conf.comment ?? null;
  const signs = { delimiter, quote, escape, comment };
  for (const [name, sign] of Object.entries(signs)) {
    // deno-lint-ignore no-control-regex
    if (sign !== null && !/^[^\r\n\u0000\u0080-\uffff]$/.test(sign)) {
      throw unusable(name, sign, say("sign-ascii", {}));
    }
  }
  if (delimiter === quote) {
    throw unusable("delimiter", delimiter, say("sign-no-quote", {}));
  }
  if (escape === delimiter) throw unusable("escape", escape, say("sign-no-delimiter", {}));
  if (comment !== null && (comment === delimiter || comment === quote)) {
    throw unusable("comment", comment, say("sign-neither", {}));
  }
  if (quote === null && conf.escape !== undefined) {
    throw unusable("escape", conf.escape, say("escape-needs-quote", {}));
  }
  const header = conf.header === undefined ? !headerAbsent(contentType) : conf.header === true;
  return { ...signs, header, skip_lines: conf.skip_lines ?? 0 };
}

/** Whether a media type says that the first record names no columns: text/csv; header=absent (RFC 4180). */
export function headerAbsent(contentType: string | undefined): boolean {
  return /;\s*header\s*=\s*"?absent"?\s*(?:;|$)/i.test(contentType ?? "");
}

function unusable(name: string, value: string, why: Message): Problem {
  return new Problem("invalid-conf", {
    detail: say("dialect-refused", { name, why }),
    errors: [{ field: `source.${name}`, message: why, value }],
  });
}

/** Why a record is none of the dialect. */
export type CsvFault = "unclosed" | "after_quote" | "bare_cr";

/** Pairs of quotes from which on `replaceAll` takes many times as long: it makes a text of a text for each. */
const MANY = 1_000;
const BLOCK = 8_192;

/** A text whose pairs of quotes are one each. */
function single(text: string, quote: string): string {
  const sign = quote.charCodeAt(0);
  const codes = new Uint16Array(text.length);
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    codes[length++] = code;
    if (code === sign) i++;
  }
  let made = "";
  for (let from = 0; from < length; from += BLOCK) {
    made += String.fromCharCode(...codes.subarray(from, Math.min(from + BLOCK, length)));
  }
  return made;
}

/**
 * The fields of one record without its line end. Where records end the scanner has decided (record_scanner.ts), by the
 * same grammar.
 */
export function splitRecord(text: string, dialect: CsvDialect): string[] | CsvFault {
  const { delimiter, quote, escape } = dialect;
  if (quote === null || !text.includes(quote)) {
    return text.includes("\r") ? "bare_cr" : text.split(delimiter);
  }
  const fields: string[] = [];
  let at = 0;
  while (true) {
    if (text[at] === quote) {
      let field = "";
      let from = at + 1;
      if (escape === quote) {
        let end = text.indexOf(quote, from);
        let pairs = 0;
        for (; end >= 0 && text[end + 1] === quote; end = text.indexOf(quote, end + 2)) pairs++;
        if (end < 0) return "unclosed";
        field = text.slice(from, end);
        if (pairs > 0) {
          field = pairs < MANY ? field.replaceAll(quote + quote, quote) : single(field, quote);
        }
        at = end + 1;
      }
      while (escape !== quote) {
        const end = text.indexOf(quote, from);
        const mark = text.indexOf(escape!, from);
        if (mark >= 0 && (end < 0 || mark < end)) {
          // before anything else the sign is an ordinary one
          const next = text[mark + 1];
          const escapes = next === quote || next === escape;
          field += text.slice(from, escapes ? mark : mark + 1) + (escapes ? next : "");
          from = escapes ? mark + 2 : mark + 1;
          continue;
        }
        if (end < 0) return "unclosed";
        field += text.slice(from, end);
        at = end + 1;
        break;
      }
      while (text[at] === " " && delimiter !== " ") at++;
      fields.push(field);
      if (at >= text.length) return fields;
      if (text[at] !== delimiter) return "after_quote";
    } else {
      const end = text.indexOf(delimiter, at);
      const field = end < 0 ? text.slice(at) : text.slice(at, end);
      if (field.includes("\r")) return "bare_cr";
      fields.push(field);
      if (end < 0) return fields;
      at = end;
    }
    at++;
  }
}
