import type { Node, RawStmt } from "libpg-query";

/** A statement of a SQL file, ready to be sent by itself. */
export interface Statement<Name extends string = string> {
  /** With `$1::type` in the place of each `:name`. */
  text: string;
  /** Names of the parameters, in the order of their numbers. */
  params: Name[];
  /** Where it begins. */
  at: Place;
  /** Where a character of `text` is in the file; `position` as PostgreSQL counts, characters from 1. */
  placeOf(position: number): Place;
}

/** Line and column, both from 1. */
export interface Place {
  line: number;
  column: number;
}

/** Something is wrong with the text of a SQL file. */
export class SqlTextError extends Error {
  readonly at: Place;
  constructor(message: string, at: Place) {
    super(message);
    this.at = at;
  }
}

/** Statements that would end the transaction, or leave something in the session that others use after it. */
const REFUSED: Record<string, string> = {
  TransactionStmt:
    "the file runs in one transaction, which begins and ends with it: leave out begin, commit, rollback and savepoints",
  CopyStmt: "copy has no client to speak to here: use insert … select",
  DiscardStmt: "discard concerns the session, which others use after it",
  ListenStmt: "listen outlives the transaction",
  UnlistenStmt: "unlisten outlives the transaction",
  PrepareStmt: "prepare outlives the transaction: write the statement itself",
  ExecuteStmt: "execute needs what outlives the transaction: write the statement itself",
  DeallocateStmt: "deallocate concerns the session, which others use after it",
  LoadStmt: "load concerns the session, which others use after it",
};

/**
 * Splits a SQL file into statements, and makes parameters of `:name` where it stands for a value: not within
 * strings, dollar quotes, quoted names, comments or `::`. Tokens and statements are those of PostgreSQL's
 * own scanner and parser.
 *
 * @param types the parameters that there are, with the SQL type of each.
 * @param refused what else a statement may not do, in words; default: nothing.
 * @throws {SqlTextError} for what PostgreSQL cannot read, an unknown parameter, and statements that the transaction cannot have.
 */
export async function readStatements<Name extends string>(
  text: string,
  types: Record<Name, string>,
  refused: (stmt: Node) => string | null = () => null,
): Promise<Statement<Name>[]> {
  const parser = await import("libpg-query");
  await parser.loadModule();
  return statementsOf(parser, text, types, refused);
}

/** As {@linkcode readStatements}, with the parser at hand; takes as long as the text is, whatever stands in it. */
export function statementsOf<Name extends string>(
  { parseSync, scanSync }: Pick<typeof import("libpg-query"), "parseSync" | "scanSync">,
  text: string,
  types: Record<Name, string>,
  refused: (stmt: Node) => string | null = () => null,
): Statement<Name>[] {
  const placeAt = placesIn(text);
  const fail = (message: string, index: number): never => {
    throw new SqlTextError(message, placeAt(index));
  };
  // deno-lint-ignore no-control-regex
  const control = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/.exec(text);
  if (control !== null) fail("a character of control", control.index);

  const parse = (sql: string, indexOf: (index: number) => number): RawStmt[] => {
    try {
      return parseSync(sql).stmts ?? [];
    } catch (error) {
      const { message, sqlDetails } = error as Error & { sqlDetails?: { cursorPosition: number } };
      const position = sqlDetails?.cursorPosition ?? 0;
      return fail(message, indexOf(indexOfPosition(sql, Math.max(0, position))));
    }
  };
  const scan = () => {
    try {
      return scanSync(text).tokens;
    } catch {
      // the scanner does not say where; the parser does, which knows no :name
      parse(text.replace(/(?<!:):(?=[a-z_])/gi, " "), (index) => index);
      return fail("it cannot be read", 0);
    }
  };
  const indexOfByte = byteIndex(text);
  const tokens = scan().filter(({ tokenName }) => !/COMMENT/.test(tokenName)).map((token) => ({
    start: indexOfByte(token.start),
    end: indexOfByte(token.end),
  }));
  const found: { start: number; end: number; name: Name }[] = [];
  for (const [i, { start, end }] of tokens.entries()) {
    const next = tokens[i + 1];
    if (text.slice(start, end) !== ":" || next?.start !== end) continue;
    const name = text.slice(end, next.end);
    if (!/^[a-z_]\w*$/i.test(name)) continue;
    if (!Object.hasOwn(types, name)) {
      const known = Object.keys(types).map((each) => `:${each}`).join(", ");
      fail(
        `:${name} is no parameter; there are ${known}. (A slice of an array is written [a : b].)`,
        start,
      );
    }
    found.push({ start, end: next.end, name: name as Name });
  }
  const whole = substitute(text, 0, text.length, found, types);
  const byteOfWhole = byteIndex(whole.text);
  // statements come in their order: of tokens and parameters each is passed once
  let [token, param] = [0, 0];
  return parse(whole.text, whole.indexOf).map(({ stmt, stmt_location = 0, stmt_len }) => {
    const from = whole.indexOf(byteOfWhole(stmt_location));
    const end = stmt_len === undefined
      ? text.length
      : whole.indexOf(byteOfWhole(stmt_location + stmt_len));
    while (token < tokens.length && tokens[token]!.start < from) token++;
    const start = tokens[token]?.start ?? from;
    const reason = refusal(stmt!) ?? refused(stmt!);
    if (reason !== null) fail(reason, start);
    const first = param;
    while (param < found.length && found[param]!.end <= end) param++;
    const sent = substitute(text, start, end, found.slice(first, param), types);
    return {
      text: sent.text,
      params: sent.names,
      at: placeAt(start),
      placeOf: (position) =>
        placeAt(sent.indexOf(indexOfPosition(sent.text, Math.max(0, position - 1)))),
    };
  });
}

function refusal(stmt: Node): string | null {
  const [[kind, node] = ["", null]] = Object.entries(stmt);
  if (kind === "VariableSetStmt") {
    const { is_local = false, kind: how } = node as { is_local?: boolean; kind?: string };
    // `set transaction` is of this transaction
    return is_local || how === "VAR_SET_MULTI"
      ? null
      : "set outlives the transaction: write set local";
  }
  return REFUSED[kind] ?? null;
}

/** A part of the text with numbers in the place of names, and the way back. */
function substitute<Name extends string>(
  text: string,
  start: number,
  end: number,
  found: { start: number; end: number; name: Name }[],
  types: Record<Name, string>,
): { text: string; names: Name[]; indexOf(index: number): number } {
  const names: Name[] = [];
  const pieces: { at: number; from: number; length: number }[] = [];
  let made = "";
  let done = start;
  for (const each of found) {
    if (each.start < start || each.end > end) continue;
    pieces.push({ at: made.length, from: done, length: each.start - done });
    made += text.slice(done, each.start);
    if (!names.includes(each.name)) names.push(each.name);
    pieces.push({ at: made.length, from: each.start, length: 0 });
    made += `$${names.indexOf(each.name) + 1}::${types[each.name]}`;
    done = each.end;
  }
  pieces.push({ at: made.length, from: done, length: end - done });
  made += text.slice(done, end);
  const begins = pieces.map((piece) => piece.at);
  const indexOf = (index: number) => {
    const { at, from, length } = pieces[lastAt(begins, index)]!;
    return from + Math.min(index - at, length);
  };
  return { text: made, names, indexOf };
}

/** From a byte of the text's UTF-8 to the index of its character. */
function byteIndex(text: string): (byte: number) => number {
  const indexes: number[] = [];
  let index = 0;
  for (const character of text) {
    const code = character.codePointAt(0)!;
    const bytes = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (let i = 0; i < bytes; i++) indexes.push(index);
    index += character.length;
  }
  return (byte) => indexes[byte] ?? text.length;
}

/** The index of a character that is counted from 0 as PostgreSQL does, where one beyond U+FFFF is one. */
function indexOfPosition(text: string, position: number): number {
  let index = 0;
  for (let n = 0; n < position && index < text.length; n++) {
    index += text.codePointAt(index)! > 0xffff ? 2 : 1;
  }
  return index;
}

/** The last of sorted numbers that is at most `most`; 0 where none is. */
function lastAt(sorted: number[], most: number): number {
  let [low, high] = [0, sorted.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! <= most) low = middle;
    else high = middle;
  }
  return low;
}

/** Where a character of a text is. */
function placesIn(text: string): (index: number) => Place {
  const begins = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) begins.push(at + 1);
  return (index) => {
    const line = lastAt(begins, index);
    return { line: line + 1, column: index - begins[line]! + 1 };
  };
}
