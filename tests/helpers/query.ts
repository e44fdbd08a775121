import { type Client, connect } from "../../store/pg.ts";

/** Calls with a connection that is closed afterwards. */
export async function withClient<T>(dsn: string, use: (client: Client) => Promise<T>): Promise<T> {
  const client = await connect(dsn);
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/** The rows of a statement, over a connection of its own. */
export function query<Row extends object = Record<string, unknown>>(
  dsn: string,
  statement: string,
): Promise<Row[]> {
  return withClient(dsn, async (client) => (await client.query<Row>(statement)).rows);
}
