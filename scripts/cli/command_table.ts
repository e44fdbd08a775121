import type { Command } from "./command.ts";
import { backfill } from "./commands/backfill.ts";
import { cancel } from "./commands/cancel.ts";
import { configuration } from "./commands/configuration.ts";
import { dataset } from "./commands/dataset.ts";
import { alert } from "./commands/alert.ts";
import { jobs } from "./commands/jobs.ts";
import { load } from "./commands/load.ts";
import { logs } from "./commands/logs.ts";
import { maintenance } from "./commands/maintenance.ts";
import { pool } from "./commands/pool.ts";
import { preview } from "./commands/preview.ts";
import { profile } from "./commands/profile.ts";
import { quarantine } from "./commands/quarantine.ts";
import { replay } from "./commands/replay.ts";
import { retry } from "./commands/retry.ts";
import { run } from "./commands/run.ts";
import { runs } from "./commands/runs.ts";
import { schedule } from "./commands/schedule.ts";
import { show } from "./commands/show.ts";
import { suite } from "./commands/suite.ts";
import { token } from "./commands/token.ts";
import { variable } from "./commands/variable.ts";

/** The commands, in the order of the help. A new one is a file in commands/ and a line here. */
export const COMMANDS: Command[] = [
  load,
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
  suite,
  schedule,
  backfill,
  maintenance,
  alert,
  jobs,
  token,
  dataset,
];
