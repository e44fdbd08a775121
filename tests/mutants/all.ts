import type { Mutant } from "./mutant.ts";
import { ACCESS } from "./access.ts";
import { EXPECTATIONS } from "./expectations.ts";
import { LOAD } from "./load.ts";
import { PAGES } from "./pages.ts";
import { PERSONAL_DATA } from "./personal_data.ts";
import { QUEUE } from "./queue.ts";
import { REACTIONS } from "./reactions.ts";
import { RUNS } from "./runs.ts";
import { SCHEDULES } from "./schedules.ts";
import { SOURCES } from "./sources.ts";
import { VALUES } from "./values.ts";
import { WORDS } from "./words.ts";

/** Every mutant, by topic. */
export const MUTANTS: Mutant[] = [
  ...ACCESS,
  ...EXPECTATIONS,
  ...LOAD,
  ...PAGES,
  ...PERSONAL_DATA,
  ...QUEUE,
  ...REACTIONS,
  ...RUNS,
  ...SCHEDULES,
  ...SOURCES,
  ...VALUES,
  ...WORDS,
];
