import type { ScheduleRow } from "../../store/schedules.ts";

/** A schedule as the page shows it: its expression also in the viewer's language. */
export interface ScheduleView extends ScheduleRow {
  cron_words: string;
}

/** A slot as `GET /api/schedules/{name}/slots` gives it. */
export interface SlotView {
  slot: string;
  /** As the clocks of the schedule's zone show it. */
  local: string;
  state: "pending" | "requested" | "skipped" | "missed" | "failed";
  run_id: string | null;
  run_state: string | null;
  blocked_by: string | null;
  note: string | null;
  problem: { detail?: string } | null;
}

/** "2027-03-28 03:00 +02:00" of "2027-03-28T03:00:00+02:00[Europe/Madrid]". */
export function localText(local: string): string {
  const [, day, time, offset] = /^(\S{10})T(\d\d:\d\d)(?::\d\d)?(Z|[+-]\d\d:\d\d)?/.exec(local) ??
    [];
  return day === undefined ? local : `${day} ${time} ${offset ?? ""}`.trim();
}
