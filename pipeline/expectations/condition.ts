import { compareValues, equalityKey, equalValues } from "./python.ts";

/**
 * row_condition: which rows an expectation looks at. Read from the objects
 * of 1.x ({"type": "comparison", …}), from `condition_parser: "pandas"`
 * (the part of DataFrame.query that compares columns with literals) and from
 * `"great_expectations"` (col("a") > 5, .notNull()).
 */
export type Condition =
  | { kind: "compare"; column: string; operator: Comparison; value: Literal }
  | { kind: "in"; column: string; values: Literal[]; negated: boolean }
  | { kind: "null"; column: string; negated: boolean }
  | { kind: "and" | "or"; parts: Condition[] }
  | { kind: "not"; part: Condition };

/** What a condition is compared with. */
export type Literal = string | number | bigint | boolean;

export type Comparison = "==" | "!=" | "<" | "<=" | ">" | ">=";
const COMPARISONS = new Set(["==", "!=", "<", "<=", ">", ">="]);
const MAX_CONDITIONS = 100;
const MAX_LENGTH = 10_000;

/** The condition, undefined where there is none, or what is wrong with it. */
export function parseCondition(
  condition: unknown,
): Condition | undefined | string {
  if (condition === undefined || condition === null || condition === "") return undefined;
  try {
    if (typeof condition !== "string") return fromObject(condition, 0);
    if (condition.length > MAX_LENGTH) return `longer than ${MAX_LENGTH} characters`;
    return new Parser(condition).parse();
  } catch (error) {
    if (error instanceof Syntax) return error.message;
    throw error;
  }
}

/** Conditions have one key when they select by the same comparisons. */
export function conditionKey(condition: Condition): string {
  return JSON.stringify(
    condition,
    (_key, value) => typeof value === "bigint" ? { integer: String(value) } : value,
  );
}

/** Columns that a condition reads. */
export function conditionColumns(condition: Condition): string[] {
  switch (condition.kind) {
    case "and":
    case "or":
      return condition.parts.flatMap(conditionColumns);
    case "not":
      return conditionColumns(condition.part);
    default:
      return [condition.column];
  }
}

class Syntax extends Error {}

function fromObject(json: unknown, depth: number): Condition {
  if (typeof json !== "object" || json === null || depth > 10) {
    throw new Syntax("not a condition");
  }
  const given = json as Record<string, unknown>;
  const column = (given.column as { name?: unknown } | undefined)?.name;
  switch (given.type) {
    case "comparison": {
      if (typeof column !== "string") throw new Syntax("the comparison names no column");
      const operator = given.operator;
      if (operator === "IN" || operator === "NOT_IN") {
        if (!Array.isArray(given.parameter) || !given.parameter.every(isLiteral)) {
          throw new Syntax(`${operator} needs a list of texts or numbers`);
        }
        return { kind: "in", column, values: given.parameter, negated: operator === "NOT_IN" };
      }
      if (typeof operator !== "string" || !COMPARISONS.has(operator)) {
        throw new Syntax("the comparison has no operator out of ==, !=, <, <=, >, >=, IN, NOT_IN");
      }
      if (!isLiteral(given.parameter)) throw new Syntax("the parameter must be a text or number");
      return { kind: "compare", column, operator: operator as Comparison, value: given.parameter };
    }
    case "nullity":
      if (typeof column !== "string") throw new Syntax("the condition names no column");
      return { kind: "null", column, negated: given.is_null !== true };
    case "and":
    case "or": {
      const parts = given.conditions;
      if (!Array.isArray(parts) || parts.length === 0 || parts.length > MAX_CONDITIONS) {
        throw new Syntax(`${given.type} needs 1 to ${MAX_CONDITIONS} conditions`);
      }
      return { kind: given.type, parts: parts.map((part) => fromObject(part, depth + 1)) };
    }
    case "pass_through":
      if (typeof given.pass_through_filter !== "string") throw new Syntax("no pass_through_filter");
      return new Parser(given.pass_through_filter.slice(0, MAX_LENGTH)).parse();
    default:
      throw new Syntax("a condition has a type: comparison, nullity, and, or, pass_through");
  }
}

function isLiteral(value: unknown): value is Literal {
  return ["string", "number", "bigint", "boolean"].includes(typeof value);
}

const TOKEN =
  /\s*(?:(?<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|`(?<quoted>[^`]+)`|(?<name>[\p{L}_][\p{L}\p{N}_]*(?:\.[\p{L}\p{N}_]+)*)|(?<sign>==|!=|<=|>=|[<>()[\],&|~.]))/uy;

type Token = { kind: "number" | "text" | "quoted" | "name" | "sign" | "end"; text: string };

/** Recursive descent over: or, and, not, comparison. */
class Parser {
  #tokens: Token[] = [];
  #at = 0;
  #conditions = 0;
  #depth = 0;

  constructor(text: string) {
    TOKEN.lastIndex = 0;
    while (TOKEN.lastIndex < text.trimEnd().length) {
      const at = TOKEN.lastIndex;
      const groups = TOKEN.exec(text)?.groups;
      if (groups === undefined) {
        throw new Syntax(`cannot be read at ${JSON.stringify(text.slice(at, at + 20))}`);
      }
      const [kind, value] = Object.entries(groups).find(([, v]) => v !== undefined)!;
      this.#tokens.push({ kind: kind as Token["kind"], text: value! });
    }
  }

  parse(): Condition {
    const condition = this.#or();
    if (this.#peek().kind !== "end") throw this.#unexpected();
    return condition;
  }

  #peek(offset = 0): Token {
    return this.#tokens[this.#at + offset] ?? { kind: "end", text: "the end" };
  }

  #take(...texts: string[]): boolean {
    const token = this.#peek();
    if ((token.kind !== "sign" && token.kind !== "name") || !texts.includes(token.text)) {
      return false;
    }
    this.#at++;
    return true;
  }

  #expect(text: string): void {
    if (!this.#take(text)) throw this.#unexpected();
  }

  #unexpected(): Syntax {
    return new Syntax(
      `unexpected ${JSON.stringify(this.#peek().text.slice(0, 50))}: a column is compared with a ` +
        "text or number, comparisons are joined by and, or, not and parentheses",
    );
  }

  #or(): Condition {
    const parts = [this.#and()];
    while (this.#take("or", "|")) parts.push(this.#and());
    return parts.length === 1 ? parts[0]! : { kind: "or", parts };
  }

  #and(): Condition {
    const parts = [this.#not()];
    while (this.#take("and", "&")) parts.push(this.#not());
    return parts.length === 1 ? parts[0]! : { kind: "and", parts };
  }

  #not(): Condition {
    if (++this.#depth > 50) throw new Syntax("nested too deeply");
    try {
      if (this.#take("not", "~")) return { kind: "not", part: this.#not() };
      if (this.#take("(")) {
        const inner = this.#or();
        this.#expect(")");
        return inner;
      }
      return this.#comparison();
    } finally {
      this.#depth--;
    }
  }

  #comparison(): Condition {
    if (++this.#conditions > MAX_CONDITIONS) {
      throw new Syntax(`more than ${MAX_CONDITIONS} comparisons`);
    }
    const token = this.#peek();
    if (this.#isLiteral(token)) {
      const value = this.#literal();
      const operator = this.#operator();
      const { column } = this.#column();
      const first: Condition = { kind: "compare", column, operator: MIRRORED[operator], value };
      return this.#isComparison() ? this.#chain(column, [first]) : first;
    }
    const { column, method } = this.#column();
    if (method !== undefined) {
      const negated = /^not(na|null)$/i.test(method);
      if (!negated && !/^is(na|null)$/i.test(method)) {
        throw new Syntax(`there is no ${method}(): use isnull() or notnull()`);
      }
      return { kind: "null", column, negated };
    }
    if (this.#take("in")) return { kind: "in", column, values: this.#list(), negated: false };
    if (this.#take("not")) {
      this.#expect("in");
      return { kind: "in", column, values: this.#list(), negated: true };
    }
    const operator = this.#operator();
    if ((operator === "==" || operator === "!=") && ["[", "("].includes(this.#peek().text)) {
      return { kind: "in", column, values: this.#list(), negated: operator === "!=" };
    }
    return { kind: "compare", column, operator, value: this.#literal() };
  }

  #isLiteral({ kind, text }: Token): boolean {
    return kind === "number" || kind === "text" ||
      (kind === "name" && (text === "True" || text === "False"));
  }

  #isComparison(): boolean {
    const { kind, text } = this.#peek();
    return kind === "sign" && COMPARISONS.has(text);
  }

  /** The rest of `0 < a < 3`, which is `0 < a and a < 3`. */
  #chain(column: string, parts: Condition[]): Condition {
    const operator = this.#operator();
    return {
      kind: "and",
      parts: [...parts, { kind: "compare", column, operator, value: this.#literal() }],
    };
  }

  #operator(): Comparison {
    const token = this.#peek();
    if (token.kind !== "sign" || !COMPARISONS.has(token.text)) throw this.#unexpected();
    this.#at++;
    return token.text as Comparison;
  }

  /** `a`, `a.b`, a quoted name, col("a"), each with an optional .isnull() and the like. */
  #column(): { column: string; method?: string } {
    const token = this.#peek();
    this.#at++;
    if (token.kind === "name" && token.text === "col" && this.#take("(")) {
      const name = this.#peek();
      if (name.kind !== "text") throw this.#unexpected();
      this.#at++;
      this.#expect(")");
      return this.#method(unquote(name.text));
    }
    if (token.kind === "quoted") return this.#method(token.text);
    if (token.kind !== "name" || RESERVED.has(token.text)) {
      this.#at--;
      throw this.#unexpected();
    }
    const called = this.#peek().text === "(" ? token.text.lastIndexOf(".") : -1;
    if (called < 1) return { column: token.text };
    this.#expect("(");
    this.#expect(")");
    return { column: token.text.slice(0, called), method: token.text.slice(called + 1) };
  }

  #method(column: string): { column: string; method?: string } {
    if (!this.#take(".")) return { column };
    const method = this.#peek();
    if (method.kind !== "name") throw this.#unexpected();
    this.#at++;
    this.#expect("(");
    this.#expect(")");
    return { column, method: method.text };
  }

  #list(): Literal[] {
    const close = this.#take("[") ? "]" : (this.#expect("("), ")");
    const values: Literal[] = [];
    while (!this.#take(close)) {
      values.push(this.#literal());
      if (!this.#take(",") && this.#peek().text !== close) throw this.#unexpected();
    }
    return values;
  }

  #literal(): Literal {
    const token = this.#peek();
    this.#at++;
    if (token.kind === "number") {
      const value = Number(token.text);
      return /^-?\d+$/.test(token.text) && !Number.isSafeInteger(value)
        ? BigInt(token.text)
        : value;
    }
    if (token.kind === "text") return unquote(token.text);
    if (token.kind === "name" && token.text === "True") return true;
    if (token.kind === "name" && token.text === "False") return false;
    this.#at--;
    throw this.#unexpected();
  }
}

const RESERVED = new Set(["and", "or", "not", "in", "True", "False", "None"]);
const MIRRORED: Record<Comparison, Comparison> = {
  "==": "==",
  "!=": "!=",
  "<": ">",
  "<=": ">=",
  ">": "<",
  ">=": "<=",
};

function unquote(text: string): string {
  return text.slice(1, -1).replace(/\\(.)/gs, (_, c) => c === "n" ? "\n" : c === "t" ? "\t" : c);
}

/** Gives the values of a column over the rows of a batch, null where missing. */
export type ColumnValues = (column: string) => readonly unknown[];

/**
 * Which of `count` rows a condition selects, 1 or 0 a row, as
 * `DataFrame.query` does: a comparison with null is false, except `!=` and
 * `not in`, which are true. `mistyped` says that some value cannot be
 * ordered against the literal, where pandas raises a TypeError.
 */
export function selectRows(
  condition: Condition,
  { count, values }: { count: number; values: ColumnValues },
): { rows: Uint8Array; mistyped: boolean } {
  let mistyped = false;
  const select = (c: Condition): Uint8Array => {
    const rows = new Uint8Array(count);
    switch (c.kind) {
      case "and":
      case "or": {
        const parts = c.parts.map(select);
        for (let i = 0; i < count; i++) {
          rows[i] = c.kind === "and"
            ? +parts.every((part) => part[i] === 1)
            : +parts.some((part) => part[i] === 1);
        }
        return rows;
      }
      case "not": {
        const part = select(c.part);
        for (let i = 0; i < count; i++) rows[i] = 1 - part[i]!;
        return rows;
      }
      case "null": {
        const column = values(c.column);
        for (let i = 0; i < count; i++) rows[i] = +((column[i] === null) !== c.negated);
        return rows;
      }
      case "in": {
        const column = values(c.column);
        const set = new Set(c.values.map(equalityKey));
        for (let i = 0; i < count; i++) {
          const key = equalityKey(column[i]);
          rows[i] = +((key !== null && key !== undefined && set.has(key)) !== c.negated);
        }
        return rows;
      }
      case "compare": {
        const column = values(c.column);
        for (let i = 0; i < count; i++) {
          const value = column[i];
          if (c.operator === "==") rows[i] = +(value !== null && equalValues(value, c.value));
          else if (c.operator === "!=") rows[i] = +(value === null || !equalValues(value, c.value));
          else if (value !== null) {
            const order = compareValues(value, c.value);
            if (order === undefined) mistyped = true;
            else rows[i] = +holds(c.operator, order);
          }
        }
        return rows;
      }
    }
  };
  return { rows: select(condition), mistyped };
}

function holds(operator: "<" | "<=" | ">" | ">=", order: number): boolean {
  switch (operator) {
    case "<":
      return order < 0;
    case "<=":
      return order <= 0;
    case ">":
      return order > 0;
    case ">=":
      return order >= 0;
  }
}
