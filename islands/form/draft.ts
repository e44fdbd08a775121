/// <reference lib="dom" />
import { parseExact } from "../../vocabulary/exact_json.ts";
import type { Conf, FormValues } from "./conf.ts";

/** What the form holds, by path. */
export type KeptDraft = FormValues;

/** A schedule that is being written: what it runs is chosen in the form, the rest in its dialog. */
export interface ScheduleDraft {
  conf: Conf;
  /** What the dialog held when the form was opened from there; default: it is to begin as ever. */
  texts?: Record<string, string>;
  /** The schedule that is changed; default: a new one. */
  schedule?: string;
}

const DRAFT = "etl_form";
const SCHEDULE = "etl_schedule";

/** What the form of this tab held when it was left; null: nothing. */
export function keptDraft(): KeptDraft | null {
  return read<KeptDraft>(DRAFT);
}

/** Keeps what the form holds for as long as the tab is open; null forgets it. */
export function keepDraft(draft: KeptDraft | null): void {
  const isEmpty = draft === null || Object.values(draft).every((text) => text === "");
  write(DRAFT, isEmpty ? null : draft);
}

/** The schedule that is on its way between its dialog and the form; null: none. */
export const keptSchedule = (): ScheduleDraft | null => read<ScheduleDraft>(SCHEDULE);

/** Hands a schedule over to the page that comes next; null forgets it. */
export const keepSchedule = (draft: ScheduleDraft | null): void => write(SCHEDULE, draft);

/** Storage may be full or forbidden: then nothing is kept. */
function write(name: string, value: unknown): void {
  try {
    if (value === null) sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, JSON.stringify(value));
  } catch {
    // what is on the page stays there
  }
}

function read<T>(name: string): T | null {
  try {
    return parseExact(sessionStorage.getItem(name) ?? "null") as T | null;
  } catch {
    return null;
  }
}
