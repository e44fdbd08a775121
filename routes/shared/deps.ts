import type { Sql } from "../../store/database.ts";
import type { Log } from "../../telemetry/log.ts";
import type { ServerMetrics } from "../../telemetry/integrations/prometheus.ts";
import type { Config } from "../../server/config.ts";
import type { RunWatch } from "../../queue/run_watch.ts";
import type { Access } from "../access/access.ts";

/** What routes need; made by main.ts, or by a test. */
export interface AppDeps {
  sql: Sql;
  /** For what tells whether this server works: nothing else can use its connections up. Default `sql`. */
  probe?: Sql | undefined;
  log: Log;
  config: Config;
  watch: RunWatch;
  /** Judges tokens and sessions; default: one that does not hear of changes, and looks again after 5 s. */
  access?: Access | undefined;
  /** Whether every caller is the owner of this process: it has no port. Default false. */
  trusted?: boolean | undefined;
  /** What this server counts, for Prometheus. */
  metrics: ServerMetrics;
  /** What health says of this server. */
  status(): ServerStatus;
  /** How far a profile may go; default: what a server can do for several clients. */
  profile?: ProfileLimits | undefined;
  /** The process that is to execute the runs that are asked for here; default: any server. */
  reservedFor?: string;
}

export interface ProfileLimits {
  /** Records that are looked at unless the client says how many; null: all. */
  records: number | null;
  /** The most that a client may ask for; null: any number. */
  maxRecords: number | null;
  timeoutMs: number;
}

export interface ServerStatus {
  serverId: string;
  role: string;
  /** Whether NOTIFY wakes this server, or it polls. */
  listening: boolean;
  draining: boolean;
  /** Milliseconds since a timer of this server has fired. */
  silentMs: number;
  workersBusy: number;
  workers: number;
}
