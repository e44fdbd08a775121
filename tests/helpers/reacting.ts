import type { Consumer } from "../../pipeline/consumers/consumer.ts";
import { startReactions } from "../../queue/reactions.ts";
import { startSweeper } from "../../timers/sweeper.ts";
import { Database } from "../../store/database.ts";
import { consumeRunEnd } from "../../store/reactions.ts";
import { WorkLoop } from "../../queue/work_loop.ts";
import { createLog } from "../../telemetry/log.ts";
import { Reporting } from "../../telemetry/reporting.ts";
import { telemetrySettings } from "../../telemetry/settings_schema.ts";
import type { Engine } from "./engine.ts";
import { asServer } from "./server_role.ts";

export interface ReactingOptions {
  /** Environment of telemetry, e.g. `{ SLACK_WEBHOOK: peer.address }`. */
  env?: Record<string, string>;
  consumers?: Consumer[];
  /** Connection strings of postgres sources by name. */
  connections?: Record<string, string>;
  /** Whether deadlines, conditions and lost jobs are looked for; default true. */
  sweeper?: boolean;
}

/** What happens after runs, in this process, beside an engine that executes them. */
export interface Reacting extends AsyncDisposable {
  reporting: Reporting;
  /** What it logged, a line an entry. */
  log: string[];
}

/** Starts the reactions of one server on the engine's database. */
export async function startReacting(
  { db, deps: { sql } }: Pick<Engine, "db" | "deps">,
  options: ReactingOptions = {},
): Promise<Reacting> {
  const lines: string[] = [];
  const log = createLog({ level: "debug", format: "text", write: (line) => lines.push(line) });
  const dsn = asServer(db.dsn);
  const settings = telemetrySettings(options.env ?? {});
  const reporting = new Reporting(settings);
  const stopping = new AbortController();
  const database = new Database(dsn, { applicationName: "etl test" });
  // as behind PgBouncer: due work is looked for twice a second
  const loop = new WorkLoop({ sql, log, stopping: stopping.signal });
  await startReactions({
    loop,
    publishes: true,
    sql,
    single: database.single,
    dsn,
    log,
    settings,
    publicUrl: "http://etl.test",
    consumers: options.consumers ?? [],
    connections: options.connections ?? {},
    httpConnections: {},
    dataDir: "/data",
    runEndObservers: reporting.runEndObservers,
    tasks: reporting.tasks,
    stopping: stopping.signal,
  });
  await loop.start();
  const endSweeper = options.sweeper === false
    ? async () => {}
    : startSweeper({ sql, log, ...reporting.sweepObservers(sql) });
  return {
    reporting,
    log: lines,
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await endSweeper();
      await loop.stop(12_000);
      await database.close({ timeoutSeconds: 1 });
      await reporting.close();
    },
  };
}

/** Judges all ends of runs that nobody has judged, as a server's work loop does. */
export async function consumeEnds(sql: Engine["sql"]): Promise<unknown[]> {
  const ends: unknown[] = [];
  for (;;) {
    const end = await consumeRunEnd(sql);
    if (end === null) return ends;
    ends.push(end);
  }
}
