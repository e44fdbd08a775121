import type { Connection } from "./connection.ts";

const PART_BYTES = 1 << 20;

/** Reads a stored request body part by part. */
export async function* readUpload(
  connection: Connection,
  uploadId: string,
): AsyncGenerator<Uint8Array> {
  const options = { retry: { attempts: 3, initialMs: 200 }, statementTimeoutMs: 0 };
  for (let part = 0;; part++) {
    const data = await connection.transaction(options, async (client) => {
      const { rows } = await client.query<{ data: Uint8Array }>(
        "select data from etl.uploads where upload_id = $1 and part_no = $2",
        [uploadId, part],
      );
      return rows[0]?.data ?? null;
    });
    if (data === null) return;
    yield data;
  }
}

/** Stores a request body in parts, in one transaction: it is there whole or not at all. */
export async function storeUpload(
  connection: Connection,
  uploadId: string,
  body: AsyncIterable<Uint8Array>,
): Promise<number> {
  // a body can be read only once, so a failure is the client's to repeat
  const options = { retry: { attempts: 1, initialMs: 0 }, statementTimeoutMs: 0 };
  return await connection.transaction(options, async (client) => {
    let part = 0;
    let bytes = 0;
    let pending: Uint8Array[] = [];
    let size = 0;
    const flush = async () => {
      await client.query("insert into etl.uploads (upload_id, part_no, data) values ($1, $2, $3)", [
        uploadId,
        part++,
        concat(pending, size),
      ]);
      pending = [];
      size = 0;
    };
    for await (const block of body) {
      pending.push(block);
      size += block.byteLength;
      bytes += block.byteLength;
      if (size >= PART_BYTES) await flush();
    }
    if (size > 0 || part === 0) await flush();
    return bytes;
  });
}

function concat(blocks: Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const block of blocks) {
    whole.set(block, at);
    at += block.byteLength;
  }
  return whole;
}
