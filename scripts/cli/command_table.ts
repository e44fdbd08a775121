import type { Command } from "./command.ts";
import { completion } from "./completion.ts";
import { alert, redeliver } from "./commands/alert.ts";
import { dataset } from "./commands/dataset.ts";
import { forget } from "./commands/forget.ts";
import { load } from "./commands/load.ts";
import { jobs, maintenance } from "./commands/maintenance.ts";
import { compare } from "./commands/compare.ts";
import { consumer, downstream, reports } from "./commands/downstream.ts";
import { configuration, pool, variable } from "./commands/named.ts";
import { preview, profile } from "./commands/preview.ts";
import { replicate } from "./commands/replicate.ts";
import { cancel, logs, quarantine, replay, retry, run, runs, show } from "./commands/runs.ts";
import { backfill, schedule } from "./commands/schedules.ts";
import { source } from "./commands/source.ts";
import { suite } from "./commands/suite.ts";
import { token } from "./commands/token.ts";

/** The commands, in the order of the help. A new one is a file in commands/ and a line here. */
export const COMMANDS: Command[] = [
  load,
  replicate,
  run,
  preview,
  runs,
  show,
  logs,
  quarantine,
  replay,
  cancel,
  retry,
  configuration,
  variable,
  pool,
  profile,
  source,
  suite,
  schedule,
  backfill,
  maintenance,
  alert,
  consumer,
  redeliver,
  jobs,
  token,
  dataset,
  forget,
  compare,
  downstream,
  reports,
  completion(() => COMMANDS),
];
