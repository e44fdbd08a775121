import { digitsOf, numberText } from "../numbers.ts";
import { CellFault } from "./local/csv_values.ts";
import { type ColumnsConf, compileColumns } from "./columns.ts";
import { type SourceRecord, Unreadable } from "./source.ts";

type Declared = NonNullable<ColumnsConf["columns"]>[string];

/** A column whose declaration would change what its values become. */
export interface ColumnProposal {
  name: string;
  /** As it goes into source.columns. */
  declare: Declared;
  /** Part of the values that fit, 0 to 1. */
  fits: number;
  /** Values that do not fit, a few. */
  misfits: string[];
  /** In words. */
  why: string;
}

/** Records that are looked at; the rest adds little. */
const MAX_RECORDS = 2_000;
/** Part of a column's values that must fit a type. */
const ENOUGH = 0.9;
const MISFITS = 5;
/** Digits after a zero or a plus: a code that only looks like a number. */
const CODE = /^(?:[+-]?0\d[\dA-Za-z-]*|\+\d[\d -]*)$/;
const NULL_WORDS = new Set(["NA", "N/A", "NULL", "null", "None", "NaN", "nan", "-", "?", "\\N"]);

const CANDIDATES: [why: string, declare: Declared][] = [
  ["numbers", "numeric"],
  ["numbers with a decimal comma", { type: "numeric", decimal: ",", thousands: "." }],
  ["numbers with groups of digits", { type: "numeric", thousands: "," }],
  ["dates", "date"],
  ["dates, the day first", { type: "date", format: "%d/%m/%Y" }],
  ["dates, the month first", { type: "date", format: "%m/%d/%Y" }],
  ["dates, the day first", { type: "date", format: "%d.%m.%Y" }],
  ["times", "timestamptz"],
  ["truths", "boolean"],
];

interface Seen {
  /** Texts, with how often. */
  texts: Map<string, number>;
  /** Numbers and booleans as they were written. */
  others: Map<string, number>;
  objects: boolean;
}

/** Looks at undeclared text, number and boolean values and proposes declarations of columns. */
export class ColumnProposer {
  readonly #columns = new Map<string, Seen>();
  readonly #declared: Set<string>;
  #left = MAX_RECORDS;

  constructor(conf: ColumnsConf) {
    this.#declared = new Set(Object.keys(conf.columns ?? {}));
  }

  observe(records: (SourceRecord | Unreadable)[]): void {
    for (const record of records) {
      if (this.#left === 0) return;
      if (record instanceof Unreadable) continue;
      this.#left--;
      const digits = digitsOf(record);
      for (const [name, value] of Object.entries(record)) {
        if (value === null || this.#declared.has(name)) continue;
        let seen = this.#columns.get(name);
        if (seen === undefined) {
          seen = { texts: new Map(), others: new Map(), objects: false };
          this.#columns.set(name, seen);
        }
        if (typeof value === "object") {
          seen.objects = true;
          continue;
        }
        const text = typeof value === "number" ? numberText(value, digits?.[name]) : `${value}`;
        const into = typeof value === "string" ? seen.texts : seen.others;
        into.set(text, (into.get(text) ?? 0) + 1);
      }
    }
  }

  /** Proposals in the order of the columns. */
  propose(): ColumnProposal[] {
    return [...this.#columns].flatMap(([name, seen]) => {
      // what is all numbers or all booleans needs no declaration
      if (seen.objects || seen.texts.size === 0) return [];
      return proposal(name, seen) ?? [];
    });
  }
}

function proposal(name: string, { texts, others }: Seen): ColumnProposal | undefined {
  const all = new Map([...texts, ...others]);
  const mixed = others.size > 0;
  const codes = [...texts.keys()].filter((text) => CODE.test(text.trim()));
  const asText = (why: string, odd: string[]): ColumnProposal => ({
    name,
    declare: "text",
    fits: 1,
    misfits: odd.slice(0, MISFITS),
    why,
  });
  if (codes.length > 0) {
    return mixed ? asText("some values look like numbers, others are codes", codes) : undefined;
  }
  const words = [...texts.keys()].filter((text) => NULL_WORDS.has(text.trim()));
  const total = sum(all.values()) - sum(words.map((word) => all.get(word)!));
  if (total > 0) {
    for (const [why, bare] of CANDIDATES) {
      const declare = words.length === 0
        ? bare
        : { ...(typeof bare === "string" ? { type: bare } : bare), null_values: words };
      const put = compileColumns({ columns: { [name]: declare } })!.of(name)!;
      const misfits: string[] = [];
      let fits = 0;
      for (const [text, times] of all) {
        if (words.includes(text)) continue;
        if (fitsColumn(put, text)) fits += times;
        else misfits.push(text);
      }
      if (fits / total < ENOUGH) continue;
      // 1.234 with a point is a number by itself
      if (typeof bare !== "string" && mixed) continue;
      const share = Math.round(fits / total * 10_000) / 10_000;
      return { name, declare, fits: share, misfits: misfits.slice(0, MISFITS), why };
    }
  }
  return mixed
    ? asText("some values are numbers or booleans, others text", [...texts.keys()])
    : undefined;
}

function fitsColumn(put: (record: SourceRecord, name: string, text: string) => void, text: string) {
  try {
    put({}, "x", text);
    return true;
  } catch (error) {
    if (error instanceof CellFault) return false;
    throw error;
  }
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
