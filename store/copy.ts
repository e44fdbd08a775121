import { once } from "node:events";
import { type Client, copyFromStream } from "./pg.ts";

/**
 * Sends blocks of COPY text to `copy … from stdin` and answers the number of
 * rows. Waits when the server is slower than the source; a failing source ends
 * the COPY with an error, so nothing of it stays.
 */
export async function copyIn(
  client: Client,
  statement: string,
  blocks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<number> {
  const stream = client.query(copyFromStream(statement));
  let failed: unknown;
  const ended = new Promise<void>((resolve) => {
    stream.once("finish", resolve);
    stream.on("error", (error) => {
      failed ??= error;
      resolve();
    });
  });
  try {
    for await (const block of blocks) {
      if (failed !== undefined) break;
      if (!stream.write(block)) await Promise.race([once(stream, "drain"), ended]);
    }
    if (failed === undefined) stream.end();
  } catch (error) {
    failed ??= error;
    stream.destroy(error as Error);
  }
  await ended;
  if (failed !== undefined) throw failed;
  return stream.rowCount ?? 0;
}
