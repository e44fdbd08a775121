/** A text that a file of sql/ raises, stores or tells, with a sample for each value in it. */
export interface Said {
  /** file:line */
  at: string;
  /**
   * `detail` of a problem; `alert`; `message` or `expected` of a field; `raised` without a problem; `other` texts of
   * several words, as some are told by way of a column or a variable.
   */
  kind: "detail" | "alert" | "message" | "expected" | "raised" | "other";
  /** The expression, with single spaces. */
  sql: string;
  /** One text for each way in which its cases may go; none that has words where it cannot be read. */
  texts: string[];
}

interface Token {
  kind: "text" | "word" | "sign";
  value: string;
  line: number;
  /** Whether it is part of what somebody is told. */
  read?: boolean;
}

/** What stands for a value in a text. */
export const SAMPLE = "‹x›";
/** Texts of one expression at most: cases within cases multiply. */
const MOST = 200;

const TOKEN =
  /--[^\n]*|\/\*[\s\S]*?\*\/|\s+|(?<text>[Ee]?'(?:[^']|'')*')|\$\w*\$|(?<word>"[^"]+"|[\p{L}_][\w$]*|\d[\w.]*)|(?<sign>\|\||->>|->|#>>|#>|=>|:=|::|[^])/gu;

function tokensOf(sql: string): Token[] {
  const tokens: Token[] = [];
  let line = 1;
  for (const { 0: whole, groups } of sql.matchAll(TOKEN)) {
    const { text, word, sign } = groups!;
    const previous = tokens.at(-1);
    if (text !== undefined) {
      const plain = text.replace(/^[Ee]?'|'$/g, "").replaceAll("''", "'");
      const value = /^[Ee]/.test(text) ? plain.replaceAll("\\n", "\n") : plain;
      // two texts on lines of their own are one
      if (previous?.kind === "text") previous.value += value;
      else tokens.push({ kind: "text", value, line });
    } else if (word !== undefined) tokens.push({ kind: "word", value: word.toLowerCase(), line });
    else if (sign !== undefined) tokens.push({ kind: "sign", value: sign, line });
    line += whole.split("\n").length - 1;
  }
  return tokens;
}

const is = (token: Token | undefined, value: string) =>
  token !== undefined && token.kind !== "text" && token.value === value;

/** Depth of brackets and cases after a token. */
const deeper = (token: Token) =>
  is(token, "(") || is(token, "[") || is(token, "case")
    ? 1
    : is(token, ")") || is(token, "]") || is(token, "end")
    ? -1
    : 0;

/** The tokens before the first of these words that is not in brackets, and where it is. */
function until(tokens: Token[], from: number, ends: string[]): [Token[], number] {
  let depth = 0;
  for (let i = from; i < tokens.length; i++) {
    const token = tokens[i]!;
    if (depth === 0 && ends.some((end) => is(token, end))) return [tokens.slice(from, i), i];
    depth += deeper(token);
    if (depth < 0) return [tokens.slice(from, i), i];
  }
  return [tokens.slice(from), tokens.length];
}

function split(tokens: Token[], sign: string): Token[][] {
  const parts: Token[][] = [];
  for (let at = 0; at <= tokens.length;) {
    const [part, end] = until(tokens, at, [sign]);
    parts.push(part);
    at = end + 1;
  }
  return parts;
}

const product = (parts: string[][]): string[] =>
  parts.reduce<string[]>(
    (made, part) => made.flatMap((head) => part.map((tail) => head + tail)).slice(0, MOST),
    [""],
  );

/** The texts that an expression may have; `assigned` has what the variables of its file are given. */
function textsOf(tokens: Token[], assigned: Map<string, Token[][]>): string[] {
  const of = (part: Token[]) => textsOf(part, assigned);
  const joined = split(tokens, "||");
  if (joined.length > 1) return product(joined.map(of));
  const [first, second] = tokens;
  if (first === undefined) return [SAMPLE];
  const casts = tokens.findIndex((token) => is(token, "::"));
  if (tokens.length === 1 || casts === 1) {
    if (first.kind === "text") {
      first.read = true;
      return [first.value];
    }
    if (is(first, "null")) return [""];
    const given = assigned.get(first.value) ?? [];
    // what is put together from itself is not followed
    const others = new Map([...assigned].filter(([name]) => name !== first.value));
    return given.length === 0
      ? [SAMPLE]
      : [...new Set(given.flatMap((each) => textsOf(each, others)))];
  }
  if (is(first, "case")) {
    const [, end] = until(tokens, 1, ["end"]);
    if (end !== tokens.length - 1) return [SAMPLE];
    const body = tokens.slice(1, end);
    const made: string[] = [];
    let otherwise = false;
    for (let at = 0; at < body.length;) {
      const [, start] = until(body, at, ["then", "else"]);
      if (start >= body.length) break;
      otherwise ||= is(body[start], "else");
      const [branch, next] = until(body, start + 1, ["when", "else"]);
      made.push(...of(branch));
      at = is(body[next], "else") ? next : next + 1;
    }
    return [...new Set(otherwise ? made : [...made, ""])];
  }
  const call = is(first, "(") ? 0 : is(second, "(") ? 1 : -1;
  if (call === -1) return [SAMPLE];
  const [inner, end] = until(tokens, call + 1, [")"]);
  if (end !== tokens.length - 1) return [SAMPLE];
  if (call === 0) {
    return is(inner[0], "select") ? of(until(inner, 1, ["from", ","])[0]) : of(inner);
  }
  const args = split(inner, ",");
  switch (first.value) {
    case "format": {
      const values = args.slice(1).map(of);
      return of(args[0]!).flatMap((template) => {
        let next = 0;
        const parts = template.split(/(%(?:\d+\$)?[sIL]|%%)/).map((part) => {
          const found = /^%(?:(\d+)\$)?[sIL]$/.exec(part);
          if (found === null) return [part === "%%" ? "%" : part];
          return values[found[1] === undefined ? next++ : Number(found[1]) - 1] ?? [SAMPLE];
        });
        return product(parts);
      });
    }
    case "coalesce":
      return [...new Set(args.flatMap(of))];
    case "string_agg":
    case "left":
    case "rtrim":
      return of(args[0]!);
    case "concat":
      return product(args.map(of));
    case "concat_ws": {
      const [between = ""] = of(args[0]!);
      return product(
        args.slice(1).map((arg, i) =>
          of(arg).map((text) => i > 0 && text !== "" ? between + text : text)
        ),
      );
    }
    default:
      return [SAMPLE];
  }
}

/** Which argument of a function is what it tells. */
const TELLS: Record<string, { kind: Said["kind"]; index: number }> = {
  raise_problem: { kind: "detail", index: 1 },
  raise_alert: { kind: "alert", index: 2 },
  resolve_alert: { kind: "alert", index: 2 },
  set_condition: { kind: "alert", index: 3 },
};

/** All that a file says, in its order. */
export function saidBy(file: string, sql: string): Said[] {
  const said: Said[] = [];
  // a variable is one of its function
  for (const part of sql.split(/(?=^create or replace function)/m)) {
    const before = sql.slice(0, sql.indexOf(part)).split("\n").length - 1;
    const tokens = tokensOf(part);
    const assigned = new Map<string, Token[][]>();
    tokens.forEach((token, i) => {
      const name = tokens[i - 1];
      if (!is(token, ":=") || name?.kind !== "word" || is(tokens[i - 2], ".")) return;
      const [expression] = until(tokens, i + 1, [";"]);
      assigned.set(name.value, [...assigned.get(name.value) ?? [], expression]);
    });
    const add = (kind: Said["kind"], line: number, expression: Token[]) =>
      said.push({
        at: `${file}:${before + line}`,
        kind,
        sql: expression.map(({ value }) => value).join(" "),
        texts: textsOf(expression, assigned),
      });
    tokens.forEach((token, i) => {
      const next = tokens[i + 1];
      const tells = token.kind === "word" && is(next, "(") && is(tokens[i - 1], ".")
        ? TELLS[token.value]
        : undefined;
      if (tells !== undefined && !is(tokens[i - 3], "function") && !is(tokens[i - 4], "on")) {
        const args = split(until(tokens, i + 2, [")"])[0], ",");
        const named = args.find((arg) => is(arg[0], "message") && is(arg[1], "=>"))?.slice(2);
        add(tells.kind, token.line, named ?? args[tells.index] ?? []);
      }
      if (
        token.kind === "text" && is(next, ",") && !/^->>?$/.test(tokens[i - 1]?.value ?? "") &&
        /^(?:detail|message|expected)$/.test(token.value)
      ) {
        add(token.value as Said["kind"], token.line, until(tokens, i + 2, [",", ")"])[0]);
      }
      if (is(token, "raise") && is(tokens[i + 1], "exception") && tokens[i + 2]?.kind === "text") {
        const { value, line } = tokens[i + 2]!;
        const text = value.replaceAll("%", SAMPLE);
        said.push({ at: `${file}:${before + line}`, kind: "raised", sql: value, texts: [text] });
        tokens[i + 2]!.read = true;
      }
    });
    // what is put together elsewhere, and told by way of a variable, a column or a function's answer
    tokens.forEach((token, i) => {
      if (!is(token, "format") || !is(tokens[i + 1], "(") || tokens[i + 2]?.read) return;
      add("other", token.line, tokens.slice(i, until(tokens, i + 2, [")"])[1] + 1));
    });
    tokens.forEach(({ kind, value, line, read }, i) => {
      // a comment on what is defined tells nobody anything, and a title goes by its type
      const apart = is(tokens[i - 1], "is") || tokens[i - 2]?.value === "title";
      if (kind !== "text" || read || apart || !/[a-z]{2} [a-z]/i.test(value)) return;
      const text = value.replaceAll(/%[sIL]/g, SAMPLE);
      said.push({ at: `${file}:${before + line}`, kind: "other", sql: value, texts: [text] });
    });
  }
  return said;
}
