import type { RecordBatch, SourceRecord } from "../source.ts";
import { Unreadable } from "../source.ts";
import { digitsOf, type Json } from "../../numbers.ts";

const NUMBER = /^-?\d+(\.\d+)?$/;
const TIME = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?$/;

/**
 * The higher of two positions. Numbers count by their value, times of ISO 8601 by the moment, everything
 * else as text.
 */
export function higher(a: string | undefined, b: string | undefined): string | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compare(a, b) >= 0 ? a : b;
}

function compare(a: string, b: string): number {
  if (NUMBER.test(a) && NUMBER.test(b)) {
    const [wholeA = "", fractionA = ""] = a.split(".");
    const [wholeB = "", fractionB = ""] = b.split(".");
    const places = Math.max(fractionA.length, fractionB.length);
    const scaled = (whole: string, fraction: string) =>
      BigInt(whole + fraction.padEnd(places, "0"));
    const [left, right] = [scaled(wholeA, fractionA), scaled(wholeB, fractionB)];
    return left < right ? -1 : left > right ? 1 : 0;
  }
  if (TIME.test(a) && TIME.test(b)) {
    const moments = Date.parse(utc(a)) - Date.parse(utc(b));
    if (moments !== 0 && !Number.isNaN(moments)) return moments;
  }
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A time without an offset is one of UTC. */
function utc(time: string): string {
  return /(?:Z|[+-]\d\d:?\d\d)$/.test(time) || !time.includes(":") ? time : `${time}Z`;
}

/** The highest value of a field, given as a path of names joined by dots, in a batch. */
export function highestOf(batch: RecordBatch, field: string): string | undefined {
  const path = field.split(".");
  const last = path.pop()!;
  let highest: string | undefined;
  for (const record of batch) {
    if (record instanceof Unreadable) continue;
    let holder: Json | undefined = record;
    for (const name of path) holder = (holder as SourceRecord | null)?.[name];
    if (typeof holder !== "object" || holder === null) continue;
    const value = (holder as SourceRecord)[last];
    if (typeof value !== "string" && typeof value !== "number" && typeof value !== "bigint") {
      continue;
    }
    highest = higher(highest, digitsOf(holder)?.[last] ?? String(value));
  }
  return highest;
}
