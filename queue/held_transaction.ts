import type { Connection } from "../store/connection.ts";
import type { Client } from "../store/pg.ts";

/** So often a transaction whose client is busy elsewhere shows that it is alive. */
const HEARTBEAT_MS = 5_000;

/**
 * A transaction that holds its locks while something slow is done outside of
 * the database. It is not repeated when it fails: what was done outside would
 * be done again. Whoever dies in it leaves its rows to the next.
 */
export function heldTransaction<T>(
  connection: Connection,
  signal: AbortSignal,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const once = { retry: { attempts: 1, initialMs: 0, signal }, statementTimeoutMs: 0 };
  return connection.transaction(once, async (client) => {
    const alive = setInterval(() => void client.query("select").catch(() => {}), HEARTBEAT_MS);
    try {
      return await work(client);
    } finally {
      clearInterval(alive);
    }
  });
}
