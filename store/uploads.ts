import { createHash } from "node:crypto";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import type { Connection } from "./connection.ts";
import { COPY_HEADER, COPY_TRAILER, copyIn, copyOut } from "./copy.ts";
import type { Sql } from "./database.ts";
import type { Client } from "./pg.ts";

const PART_BYTES = 1 << 20;

/**
 * Reads a stored request body part by part.
 *
 * @throws {Problem} `source-unreadable` where nothing is stored under that id.
 */
export async function* readUpload(
  connection: Connection,
  uploadId: string,
): AsyncGenerator<Uint8Array> {
  const options = { retry: { attempts: 3, initialMs: 200 }, statementTimeoutMs: 0 };
  for (let part = 0;; part++) {
    const data = await connection.transaction(
      options,
      (client) => readPart(client, uploadId, part),
    );
    // an empty body has one part, without bytes
    if (data === null && part === 0) {
      throw new Problem("source-unreadable", {
        detail: say("upload-gone", { upload: uploadId }),
      });
    }
    if (data === null) return;
    yield data;
  }
}

/** What binary COPY has before and after the bytes of a row of one column (COPY, "Binary Format"). */
const HEAD_BYTES = COPY_HEADER.length + 2 + 4;
const TAIL_BYTES = COPY_TRAILER.length;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** By COPY: the driver has bytes sent as text in hexadecimal digits, which costs it five times as much. */
async function readPart(
  client: Client,
  uploadId: string,
  part: number,
): Promise<Uint8Array | null> {
  if (!UUID.test(uploadId)) return null;
  const rows = copyOut(
    client,
    `copy (select data from etl.uploads where upload_id = '${uploadId}' and part_no = ${part}) to stdout (format binary)`,
  );
  const blocks = await Array.fromAsync(rows);
  if (rows.rowCount === 0) return null;
  const whole = concat(blocks, blocks.reduce((sum, { byteLength }) => sum + byteLength, 0));
  return whole.subarray(HEAD_BYTES, whole.byteLength - TAIL_BYTES);
}

/** Parts from which a body is as large as a file: more than a conf can hold. */
const LARGE_PARTS = 9;

/** Whether a stored body is larger than 8 MiB. */
export async function isLargeUpload(sql: Sql, uploadId: string): Promise<boolean> {
  const [row] = await sql<{ large: boolean }[]>`
    select exists (select from etl.uploads where upload_id = ${uploadId} and part_no = ${
    LARGE_PARTS - 1
  }) as large`;
  return row!.large;
}

export interface StoredUpload {
  /** Made from the content, so the same body is stored once and a repeated request has the same conf. */
  uploadId: string;
  bytes: number;
}

/** Whether a stored body is as large as a file. */
export function isLarge({ bytes }: StoredUpload): boolean {
  return bytes > (LARGE_PARTS - 1) * PART_BYTES;
}

/** Stores a request body in parts, in one transaction: it is there whole or not at all. */
export async function storeUpload(
  connection: Connection,
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<StoredUpload> {
  // a body can be read only once, so a failure is the client's to repeat
  const options = { retry: { attempts: 1, initialMs: 0 }, statementTimeoutMs: 0 };
  return await connection.transaction(options, async (client) => {
    const draftId = crypto.randomUUID();
    const hash = createHash("sha256");
    let bytes = 0;
    const read = async function* () {
      for await (const block of body) {
        hash.update(block);
        bytes += block.byteLength;
        yield block;
      }
    };
    // PostgreSQL writes while the next blocks are read and hashed
    await copyIn(
      client,
      "copy etl.uploads (upload_id, part_no, data) from stdin (format binary)",
      rowsOf(draftId, read()),
    );
    const uploadId = uuidOf(hash.digest());
    await client.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [
      `etl upload ${uploadId}`,
    ]);
    const { rowCount } = await client.query(
      "update etl.uploads set created_at = now() where upload_id = $1",
      [uploadId],
    );
    const known = (rowCount ?? 0) > 0;
    await client.query(
      known
        ? "delete from etl.uploads where upload_id = $1"
        : "update etl.uploads set upload_id = $2 where upload_id = $1",
      known ? [draftId] : [draftId, uploadId],
    );
    return { uploadId, bytes };
  });
}

/** A body as rows of binary COPY, a part each. */
async function* rowsOf(
  uploadId: string,
  blocks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield COPY_HEADER;
  let part = 0;
  let pending: Uint8Array[] = [];
  let size = 0;
  const row = function* () {
    yield rowHead(uploadId, part++, size);
    yield* pending;
    pending = [];
    size = 0;
  };
  for await (const block of blocks) {
    pending.push(block);
    size += block.byteLength;
    if (size >= PART_BYTES) yield* row();
  }
  if (size > 0 || part === 0) yield* row();
  yield COPY_TRAILER;
}

/** What stands before the bytes of a part: the number of fields, the other two, and its length. */
function rowHead(uploadId: string, part: number, bytes: number): Uint8Array {
  const head = new Uint8Array(34);
  const view = new DataView(head.buffer);
  view.setInt16(0, 3);
  view.setInt32(2, 16);
  head.set(Uint8Array.fromHex(uploadId.replaceAll("-", "")), 6);
  view.setInt32(22, 4);
  view.setInt32(26, part);
  view.setInt32(30, bytes);
  return head;
}

/** A UUID of version 8 (RFC 9562) from the first bytes of a hash. */
function uuidOf(digest: Uint8Array): string {
  const bytes = digest.slice(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
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
