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
  client.on("notice", ({ message }) => {
    if (/permission denied|only .* can (vacuum|analyze)/.test(message ?? "")) denied = true;
  });
  try {
    // the server's own words, whatever its language
    await client.query("set statement_timeout = 0");
    await client.query("set lc_messages = 'C'").catch(() => {});
    await client.query(`set vacuum_cost_delay = '${busy ? BUSY_COST_DELAY_MS : 0}ms'`);
    const { rows: [version] } = await client.query<{ major: number }>(
      "select current_setting('server_version_num')::integer / 10000 as major",
    );
    // from 18 on the tables that inherit from one are vacuumed with it, asked for or not
    const only = version!.major >= 18 ? "only " : "";
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
