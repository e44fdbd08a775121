import type { Context } from "hono";
import { Connection } from "../../store/connection.ts";
import { storeUpload } from "../../store/uploads.ts";
import type { AppDeps } from "./deps.ts";

/** Stores what a run will read, in a transaction of its own; few requests do at once. Answers its id. */
export async function keepUpload(
  blocks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  c: Context,
  { config }: AppDeps,
): Promise<string> {
  return await c.get("load").storing.take(async () => {
    const connection = new Connection(config.dsn, "etl-improved upload");
    try {
      return (await storeUpload(connection, blocks)).uploadId;
    } finally {
      await connection.close();
    }
  });
}
