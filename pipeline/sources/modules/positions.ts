import type { RecordBatch, SourceRecord } from "../source.ts";
import { Unreadable } from "../source.ts";
import { digitsOf, type Json } from "../../numbers.ts";

const NUMBER = /^-?\d+(\.\d+)?$/;
const TIME = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?$/;

/** A time without a zone may be so far ahead of the clock, as it may be of any zone. */
const AHEAD_MS = 14 * 3_600_000;
/** A time with a zone that is ahead is no position; by so much less another clock than ours may be the reason. */
const SKEW_MS = 60_000;
const ZONE = /:.*(?:Z|[+-]\d\d:?\d\d)$/;

/**
 * The higher of two positions. Numbers count by their value, times of ISO 8601 by the moment, everything
 * else as text. Of two kinds a time counts more than a number, and that more than a text: a "pending" among times
 * would be behind all of them.
 */
export function higher(a: string | undefined, b: string | undefined): string | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compare(a, b) >= 0 ? a : b;
}

const kindOf = (text: string): number => TIME.test(text) ? 2 : NUMBER.test(text) ? 1 : 0;

function compare(a: string, b: string): number {
  if (kindOf(a) !== kindOf(b)) return kindOf(a) - kindOf(b);
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

/**
 * Notes the highest value of a field, given as a path of names joined by dots, as the position of a batch. A time in the
 * future is none: the next run would begin behind everything.
 */
export function notePosition(batch: RecordBatch, field: string, now: number): void {
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
    const text = digitsOf(holder)?.[last] ?? String(value);
    const ahead = TIME.test(text) ? Date.parse(utc(text)) - now : 0;
    const hasZone = ZONE.test(text);
    if (ahead > (hasZone ? 0 : AHEAD_MS)) {
      if (hasZone && ahead <= SKEW_MS) continue;
      batch.noPositions = {
        records: (batch.noPositions?.records ?? 0) + 1,
        example: batch.noPositions?.example ?? text,
      };
    } else highest = higher(highest, text);
  }
  if (highest !== undefined) batch.position = highest;
}

/** Highest values of a column that are looked at for one that is no time in the future. */
export const HIGHEST = 1_000;

/** The position that a table has before it is read, from its highest values; never behind the one that the last run left. */
export function highestOf(known: RecordBatch, field: string, since: string | null): string | null {
  notePosition(known, field, Date.now());
  return higher(since ?? undefined, known.position) ?? null;
}
