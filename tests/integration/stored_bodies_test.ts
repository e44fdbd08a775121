import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { Connection } from "../../store/connection.ts";
import { Database, type Sql } from "../../store/database.ts";
import { isLarge, isLargeUpload, readUpload, storeUpload } from "../../store/uploads.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";

const MEBIBYTE = 1 << 20;

interface Bodies extends AsyncDisposable {
  sql: Sql;
  /** A connection as a server has one for a body. */
  connection(): Connection;
}

async function bodies(t: { name: string }): Promise<Bodies> {
  const db = await testDatabase(t);
  const database = new Database(db.dsn, { applicationName: "etl test", max: 2 });
  const opened: Connection[] = [];
  return {
    sql: database.sql,
    connection() {
      const connection = new Connection(db.dsn, "etl test bodies");
      opened.push(connection);
      return connection;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(opened.map((each) => each.close()));
      await database.close();
      await db[Symbol.asyncDispose]();
    },
  };
}

/** Bytes of which no part is like another. */
const text = (length: number) => Uint8Array.from({ length }, (_, i) => i % 251);

Deno.test("a stored body is read as it came, in parts of about 1 MiB, and is one where it comes again", async (t) => {
  await using world = await bodies(t);
  const { sql } = world;
  const connection = world.connection();
  const whole = text(2 * MEBIBYTE + 5);
  const blocks = {
    nothing: [],
    "an empty block": [new Uint8Array()],
    "a whole part": [whole.subarray(0, MEBIBYTE)],
    "many blocks": Array.from(
      { length: 33 },
      (_, i) => whole.subarray(i * 65_536, (i + 1) * 65_536),
    ),
  };
  const parts = { nothing: 1, "an empty block": 1, "a whole part": 1, "many blocks": 3 };
  for (const [name, body] of Object.entries(blocks)) {
    const { uploadId, bytes } = await storeUpload(connection, body);
    assert.equal(bytes, body.reduce((sum, { byteLength }) => sum + byteLength, 0), name);
    // of version 8, RFC 9562
    assert.match(uploadId, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    const read = await Array.fromAsync(readUpload(connection, uploadId));
    assert.equal(read.length, parts[name as keyof typeof parts], name);
    assert.ok(Buffer.concat(read).equals(Buffer.concat(body)), name);
    await sql`update etl.uploads set created_at = now() - interval '6 days'`;
    assert.equal((await storeUpload(connection, [Buffer.concat(body)])).uploadId, uploadId, name);
    const rows = await sql`select upload_id, created_at > now() - interval '1 day' as fresh
      from etl.uploads where upload_id = ${uploadId}`;
    assert.deepEqual(rows.map(({ fresh }) => fresh), read.map(() => true), `${name} is kept anew`);
  }
  assert.equal((await sql`select distinct upload_id from etl.uploads`).length, 3, "no drafts");
});

Deno.test("a body that is gone, and an id that is none, are told of", async (t) => {
  await using world = await bodies(t);
  const connection = world.connection();
  for (const id of [crypto.randomUUID(), "x' or true or upload_id::text = 'x"]) {
    await assert.rejects(Array.fromAsync(readUpload(connection, id)), (error) => {
      assert.ok(error instanceof Problem, String(error));
      assert.equal(error.type, "source-unreadable");
      return error.message.includes(id);
    });
  }
});

Deno.test("a body of more than 8 MiB is large, one of as much is not", async (t) => {
  await using world = await bodies(t);
  const connection = world.connection();
  for (const [more, large] of [[0, false], [1, true]] as const) {
    const body = new Uint8Array(8 * MEBIBYTE + more);
    const parts = Array.from(
      { length: 9 },
      (_, i) => body.subarray(i * MEBIBYTE, (i + 1) * MEBIBYTE),
    );
    const stored = await storeUpload(connection, parts);
    assert.deepEqual(
      [isLarge(stored), await isLargeUpload(world.sql, stored.uploadId)],
      [large, large],
    );
  }
});

Deno.test("one body that several send at once is stored once, and is every one's", async (t) => {
  await using world = await bodies(t);
  const { sql } = world;
  const { uploadId } = await storeUpload(world.connection(), [text(10)]);
  await sql`delete from etl.uploads`;
  const [locked, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const options = { retry: { attempts: 1, initialMs: 0 }, statementTimeoutMs: 0 };
  const holding = world.connection().transaction(options, async (client) => {
    const lock = `etl upload ${uploadId}`;
    await client.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [lock]);
    locked.resolve();
    await held.promise;
  });
  await locked.promise;
  const storing = [world.connection(), world.connection()]
    .map((connection) => storeUpload(connection, [text(10)]));
  const all = Promise.allSettled(storing);
  try {
    // else the one that is stored last could find neither's rows, and fail with a key that is there twice
    const waiting = waitFor(async () =>
      (await sql`select from pg_locks where locktype = 'advisory' and not granted`).length === 2
    );
    const first = Promise.race([waiting.then(() => "both wait"), all.then(() => "stored")]);
    assert.equal(await first, "both wait");
  } finally {
    held.resolve();
    await holding;
  }
  assert.deepEqual(await Promise.all(storing), [{ uploadId, bytes: 10 }, { uploadId, bytes: 10 }]);
  assert.equal((await sql`select from etl.uploads`).length, 1);
});
