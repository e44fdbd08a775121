import { connect } from "../../store/pg.ts";

/** How gently a table is vacuumed while runs go on: as autovacuum does it. */
const BUSY_COST_DELAY_MS = 2;

export interface VacuumOptions {
  dsn: string;
  /** Whether runs are going on. */
  busy: boolean;
  signal: AbortSignal;
}

/**
 * VACUUM (ANALYZE) of tables (quoted, `schema.name`), one after the other, each outside of a
 * transaction. Answers in words what this role may not vacuum: PostgreSQL only warns of it.
 */
export async function vacuumTables(
  tables: string[],
  { dsn, busy, signal }: VacuumOptions,
): Promise<string[]> {
  const refused: string[] = [];
  if (tables.length === 0) return refused;
  const client = await connect(dsn, { applicationName: "etl-improved maintenance" });
  const stop = () => {
    client.end().catch(() => {});
  };
  signal.addEventListener("abort", stop);
  let denied = false;
  // whatever language the server speaks: this statement warns of nothing else
  client.on("notice", ({ code }) => denied ||= code?.startsWith("01") ?? false);
  try {
    const { rows: [server] } = await client.query<{ major: number; pid: number }>(
      "select current_setting('server_version_num')::integer / 10000 as major, pg_backend_pid() as pid",
    );
    // behind a pooler that shares connections, settings would be somebody else's
    if ((client as unknown as { processID: number }).processID === server!.pid) {
      await client.query("set statement_timeout = 0");
      await client.query(`set vacuum_cost_delay = '${busy ? BUSY_COST_DELAY_MS : 0}ms'`);
    }
    // from 18 on the tables that inherit from one are vacuumed with it, asked for or not
    const only = server!.major >= 18 ? "only " : "";
    for (const table of tables) {
      signal.throwIfAborted();
      denied = false;
      await client.query(`vacuum (analyze) ${only}${table}`);
      if (denied) refused.push(table);
    }
  } finally {
    signal.removeEventListener("abort", stop);
    await client.end().catch(() => {});
  }
  return refused;
}
