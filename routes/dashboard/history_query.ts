import { z } from "zod";
import { RUN_STATES } from "../../vocabulary/words.ts";
import { errorsText, Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import { type HistoryFilter, SORT_COLUMNS, type SortColumn } from "../../store/history.ts";
import { type CursorPart, decodeCursor } from "../shared/page_cursor.ts";

export const LIMITS = [30, 50, 100, 200];

/** What the cursor holds of the column that the list is sorted by; of the others a number. */
const CURSOR_PARTS: Partial<Record<SortColumn, CursorPart>> = {
  requested_at: "time",
  run_label: "text",
  state: "text",
};

/** A day or an exact time. */
const moment = z.string().regex(
  /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}.*)?$/,
  { error: "must be a day like 2026-11-24 or an ISO 8601 time", abort: true },
).refine(
  (text) => !Number.isNaN(Date.parse(text)) && /^(?!0000|0001|9999)/.test(text),
  "is not a day of the calendar",
);

const querySchema = z.object({
  start: moment.optional(),
  end: moment.optional(),
  run_label: z.string().max(200).optional(),
  state: z.enum(RUN_STATES).optional(),
  dry_run: z.enum(["true", "false"]).optional(),
  sort: z.enum(SORT_COLUMNS).default("requested_at"),
  order: z.enum(["asc", "desc"]).default("desc"),
  // more is a page that nobody reads, and that takes its time: there is a next one
  limit: z.coerce.number().int().min(1).max(500).transform((n) => Math.min(n, LIMITS.at(-1)!))
    .default(30),
  after: z.string().max(500).optional(),
  before: z.string().max(500).optional(),
});

/** The filters of the history as the URL has them. */
export type HistoryQuery = z.infer<typeof querySchema>;

/** Reads the URL; what is empty counts as not given. Throws a Problem that names what is wrong. */
export function readHistoryQuery(query: Record<string, string>): HistoryQuery {
  const given = Object.fromEntries(Object.entries(query).filter(([, value]) => value !== ""));
  const parsed = querySchema.safeParse(given);
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.map(({ path, message }) => ({
    field: path.join("."),
    message,
  }));
  throw new Problem("bad-request", {
    detail: say("query-errors", { errors: errorsText(errors) }),
    errors,
  });
}

/** What the database is asked for; days are those of the viewer's zone. */
export function historyFilter(query: HistoryQuery, zone: string): HistoryFilter {
  const { start, end, run_label, state, dry_run, sort, order, limit, after, before } = query;
  const cursor = after ?? before;
  const [value, runId] = cursor === undefined
    ? []
    : decodeCursor(cursor, [CURSOR_PARTS[sort] ?? "decimal", "uuid"]) as string[];
  return {
    sort,
    descending: order === "desc",
    limit,
    ...(start === undefined ? {} : { start: instant(start, { zone, days: 0 }) }),
    ...(end === undefined ? {} : { end: instant(end, { zone, days: 1 }) }),
    ...(run_label === undefined ? {} : { runLabel: run_label }),
    ...(state === undefined ? {} : { state }),
    ...(dry_run === undefined ? {} : { dryRun: dry_run === "true" }),
    ...(value === undefined
      ? {}
      : { from: { value, runId: runId!, backwards: after === undefined } }),
  };
}

/** Midnight in the zone, `days` after the day that is named; an exact time stays as it is. */
function instant(text: string, { zone, days }: { zone: string; days: number }): string {
  if (text.length > 10) return new Date(text).toISOString();
  const midnight = new Date(`${text}T00:00:00Z`);
  midnight.setUTCDate(midnight.getUTCDate() + days);
  const once = midnight.getTime() - offsetMs(midnight, zone);
  // the offset may be another one at the moment that the first try found
  return new Date(midnight.getTime() - offsetMs(new Date(once), zone)).toISOString();
}

function offsetMs(at: Date, zone: string): number {
  const parts = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  }).formatToParts(at);
  const part = (type: string) => Number(parts.find((each) => each.type === type)?.value);
  const local = Date.UTC(
    part("year"),
    part("month") - 1,
    part("day"),
    part("hour"),
    part("minute"),
    part("second"),
  );
  return local - Math.floor(at.getTime() / 1000) * 1000;
}

/** The URL of the history with some parameters changed; null takes one away. */
export function historyUrl(
  query: HistoryQuery,
  changes: { [K in keyof HistoryQuery]?: string | null } = {},
  path = "/etl/runs",
): string {
  const defaults: Partial<Record<keyof HistoryQuery, string>> = {
    sort: "requested_at",
    order: "desc",
    limit: "30",
  };
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries({ ...query, ...changes })) {
    if (value === null || value === undefined) continue;
    if (defaults[key as keyof HistoryQuery] !== String(value)) params.set(key, String(value));
  }
  const text = params.toString();
  return text === "" ? path : `${path}?${text}`;
}
