/// <reference lib="dom" />
import { parseExact } from "../../vocabulary/exact_json.ts";
import type { Conf, FormValues } from "./conf.ts";

/** What the form holds, by path. */
export type KeptDraft = FormValues;

const DRAFT = "etl_form";
const PASSED = "etl_conf";

/** What the form of this tab held when it was left; null: nothing. */
export function keptDraft(): KeptDraft | null {
  return read<KeptDraft>(DRAFT);
}

/** Keeps what the form holds for as long as the tab is open; null forgets it. */
export function keepDraft(draft: KeptDraft | null): void {
  const isEmpty = draft === null || Object.values(draft).every((text) => text === "");
  write(DRAFT, isEmpty ? null : draft);
}

/** Hands a conf over to the page that comes next. */
export const passConf = (conf: Conf): void => write(PASSED, conf);

/** The conf that the page before has handed over, once; null: none. */
export function passedConf(): Conf | null {
  const conf = read<Conf>(PASSED);
  write(PASSED, null);
  return conf;
}

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
