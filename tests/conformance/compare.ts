import type { Reference } from "./reference.ts";

/** Members of a result that must be the same on both sides, when the reference has them. */
const COMPARED = [
  "observed_value",
  "element_count",
  "missing_count",
  "missing_percent",
  "unexpected_count",
  "unexpected_percent",
  "unexpected_percent_total",
  "unexpected_percent_nonmissing",
  "partial_unexpected_list",
  "partial_missing_list",
  "details",
];

/** Lists that stand for sets. */
const UNORDERED = new Set(["partial_missing_list"]);

export interface Ours {
  success: boolean;
  result: Record<string, unknown>;
  exception_info: { raised_exception: boolean; exception_message: string | null };
}

/** What differs, in words; empty when both sides agree. */
export function differencesOf(ours: Ours, theirs: Reference): string[] {
  const differences: string[] = [];
  const note = (what: string, a: unknown, b: unknown): void => {
    differences.push(`${what}: ${text(a)}, Great Expectations: ${text(b)}`);
  };
  if (theirs.refused !== undefined) return [`Great Expectations refuses it: ${theirs.refused}`];
  if (ours.success !== theirs.success) note("success", ours.success, theirs.success);
  const raised = ours.exception_info.raised_exception;
  if (raised !== theirs.raised) {
    note(
      "exception",
      raised ? ours.exception_info.exception_message : "none",
      theirs.raised ? theirs.message : "none",
    );
    return differences;
  }
  for (const key of COMPARED) {
    if (!(key in theirs.result)) continue;
    const a = ours.result[key];
    const b = theirs.result[key];
    if (UNORDERED.has(key) ? !sameSet(a, b) : !same(a, b)) note(key, a, b);
  }
  return differences;
}

function text(value: unknown): string {
  const json = JSON.stringify(value) ?? "undefined";
  return json.length > 300 ? json.slice(0, 300) + "…" : json;
}

/** Equality of JSON, numbers to 12 digits: sums are rounded in another order. */
function same(a: unknown, b: unknown): boolean {
  if (typeof a === "number" && typeof b === "number") {
    return a === b || Math.abs(a - b) <= 1e-12 * Math.max(Math.abs(a), Math.abs(b));
  }
  if (typeof a === "string" && typeof b === "number") return Number(a) === b;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) {
    return (a ?? null) === (b ?? null);
  }
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = Object.entries(a);
  const right = b as Record<string, unknown>;
  return left.length === Object.keys(right).length && left.every(([k, v]) => same(v, right[k]));
}

function sameSet(a: unknown, b: unknown): boolean {
  const list = (value: unknown): string[] => [...(value as unknown[])].map(text).sort();
  return Array.isArray(a) && Array.isArray(b) && same(list(a), list(b));
}
