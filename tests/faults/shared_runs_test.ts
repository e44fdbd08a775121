import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { Connection } from "../../store/connection.ts";
import { storeUpload } from "../../store/uploads.ts";
import type { RunDetail } from "../../vocabulary/run_schema.ts";
import { testDatabase } from "../helpers/postgres.ts";
import type { Gate } from "../helpers/gate.ts";
import { FakeS3 } from "../helpers/s3.ts";
import { canMount, smallDisk } from "../helpers/small_disk.ts";
import { tcpProxy } from "../helpers/tcp_proxy.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { LAST_CHUNK_RECORD, LONELY_KEY, transformThat } from "./data.ts";
import { type Footprint, footprint, nothingIsLeft, undisturbed } from "./invariants.ts";
import { LONG } from "./matrix.ts";
import { OWN_NAME, World, type WorldServer } from "./world.ts";

/** The server that executes the runs, with a worker, and what a run on it alone leaves. */
async function oneServer(world: World) {
  const first = await world.start({ name: "a" });
  return { first, expected: await undisturbed(world, first) };
}

/** The same, whose runs another server helps with that comes when they have begun. */
async function twoServers(world: World) {
  const { first, expected } = await oneServer(world);
  // a run is offered where there is somebody to offer it to: the second server, as soon as the first has the run
  await world.query(
    "insert into etl.servers (server_id, version, run_slots, seen_until) select 'soon', version, 1, now() + interval '1 hour' from etl.servers",
  );
  return { first, expected };
}

interface SharedRun {
  name: string;
  runId: string;
  /** Where the first server stands, in chunk 0, and the second, in chunk 9. */
  gates: Gate[];
}

/** A record of chunk 3, which a server that is alone has not begun when it has looked for others after chunk 0. */
const LATER_RECORD = 6_001;

/** A run that the first server has, and stands at the beginning of; whoever gets to the other records stands there. */
async function hold(
  world: World,
  server: WorldServer,
  name: string,
  conf: Record<string, unknown> = {},
  records = [1, LAST_CHUNK_RECORD],
): Promise<SharedRun> {
  if (conf.layout !== "typed" && conf.write !== "history") await world.addTable(name);
  const gates: Gate[] = [];
  for (const n of records) gates.push(await world.gate(`${name}_${n}`));
  const stops = gates.map(({ path }, i) =>
    `if (record.n === ${records[i]}) Deno.openSync(${
      JSON.stringify(path)
    }).readSync(new Uint8Array(1));`
  );
  await Deno.writeTextFile(
    `${world.root}/transforms/two_${name}.ts`,
    transformThat(stops.join(" ")),
  );
  const runId = await world.request(
    server,
    world.conf(name, { transform: `two_${name}`, ...conf }),
  );
  await gates[0]!.arrived("the first server at chunk 0");
  return { name, runId, gates };
}

async function serversOf(world: World, runId: string): Promise<Record<string, number[]>> {
  const rows = await world.query<{ server_id: string; chunks: number[] }>(
    `select server_id, array_agg(chunk_no order by chunk_no) as chunks from etl.chunks
    where run_id = $1 and prepared_at is not null group by server_id`,
    [runId],
  );
  return Object.fromEntries(rows.map((row) => [row.server_id, row.chunks]));
}

const chunksOf = (servers: Record<string, number[]>, { pid }: WorldServer) =>
  Object.entries(servers).find(([id]) => id.includes(`-${pid}-`))?.[1] ?? [];

async function prepared(world: World, runId: string, count: number): Promise<void> {
  await waitFor(async () => Object.values(await serversOf(world, runId)).flat().length === count, {
    timeoutMs: 30_000,
    what: `${count} chunks to be prepared`,
  }).catch((error) => {
    throw new Error(`${error.message}\n${world.logs()}`);
  });
}

async function endsAs(
  world: World,
  { runId, name }: SharedRun,
  { expected, servers, attempts = 1 }: {
    expected: Footprint;
    servers: WorldServer[];
    attempts?: number;
  },
): Promise<void> {
  const run = await world.ended(runId, ["succeeded"]);
  assert.deepEqual(await footprint(world, runId, name), expected, world.logs());
  assert.equal(run.attempt, attempts, world.logs());
  await nothingIsLeft(world, { servers });
}

const ENV = { ETL_WORKERS: "1", ETL_DATA_SHARED: "true" };

/** Waits until the other server stands in chunk 9. */
async function arrived(world: World, run: SharedRun): Promise<void> {
  await run.gates[1]!.arrived("other server at chunk 9", 40_000).catch((error) => {
    throw new Error(`${error.message}\n${world.logs()}`);
  });
}

/** Has both servers take part in a run, to its end. */
async function onBoth(world: World, run: SharedRun): Promise<void> {
  await arrived(world, run);
  for (const gate of run.gates) await gate.open();
  await world.ended(run.runId);
  const servers = await serversOf(world, run.runId);
  assert.equal(Object.keys(servers).length, 2, `${JSON.stringify(servers)}\n${world.logs()}`);
}

/** A run of which the second server has prepared all chunks but the last, where it stands. */
async function halfway(
  world: World,
  first: WorldServer,
  name: string,
  conf: Record<string, unknown> = {},
) {
  const run = await hold(world, first, name, conf);
  const second = await world.start({ name: `b_${name}` });
  await arrived(world, run);
  await prepared(world, run.runId, 8);
  return { run, second };
}

/** Lets a run go on to publish, where chunk 5 waits for the test; answers what ends that. */
async function holdPublish(world: World, run: SharedRun): Promise<() => Promise<void>> {
  const client = await world.connect();
  await client.query("begin");
  await client.query(
    `insert into f_${run.name} (event_id, event_type, source, payload, fingerprint, run_id)
    values ($1, 't', 'faults', '{}', '\\x00', $2)`,
    [LONELY_KEY, run.runId],
  );
  for (const gate of run.gates) await gate.open();
  const waits = async () => {
    const [found] = await world.query<{ waits: boolean }>(
      `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
        and application_name like 'etl-run ' || $1 || '%') as waits`,
      [run.runId],
    );
    return found!.waits;
  };
  await waitFor(waits, { timeoutMs: 60_000, what: `chunk 5 of ${run.name} to wait` })
    .catch((error) => {
      throw new Error(`${error.message}\n${world.logs()}`);
    });
  return async () => {
    await client.query("rollback").catch(() => {});
    await client.end().catch(() => {});
  };
}

const taken = (server: WorldServer) =>
  waitFor(
    () => server.logs.some((line) => line.includes("helps with the run no more")),
    { timeoutMs: 30_000, what: "the frozen server to see that it was replaced" },
  );

/** The connection of s3 sources to it, with keys of its own where they are given. */
function lakeOf(
  { connection: { endpoint, region, keys } }: FakeS3,
  accessKeyId = keys!.accessKeyId,
): Record<string, string> {
  const secret_access_key = keys!.secretAccessKey;
  return {
    ETL_CONNECTION_LAKE: JSON.stringify({
      ...{ type: "s3", endpoint, region, path_style: true },
      access_key_id: accessKeyId,
      secret_access_key,
    }),
  };
}

const LAKE = { type: "s3", url: "s3://lake/new.ndjson", connection: "lake", path: undefined };

Deno.test("a run on two servers: both prepare and publish chunks, and all is as on one", async (t) => {
  await using db = await testDatabase(t);
  await using s3 = await FakeS3.start();
  await using world = await World.create({
    dsn: db.dsn,
    env: {
      ...ENV,
      ETL_CONNECTION_SHOP: db.dsn,
      ETL_HTTP_PRIVATE_HOSTS: s3.host,
      ...lakeOf(s3),
    },
  });
  s3.put("new.ndjson", await Deno.readTextFile(`${world.root}/data/new.ndjson`));
  const { first, expected } = await oneServer(world);
  const run = await hold(world, first, "both", {}, [1, LATER_RECORD]);
  const shown = async ({ runId }: SharedRun) => {
    const answer = await fetch(`${first.address}/api/etl/runs/${runId}`);
    return await answer.json() as Pick<RunDetail, "servers" | "sharing">;
  };
  assert.deepEqual((await shown(run)).sharing, { alone: "no_other", left: [] });
  // a server that comes while the run goes on
  const second = await world.start({ name: "b" });
  await waitFor(
    async () =>
      (await world.query(
        `select from etl.servers where (select attempt_started_at from etl.runs where run_id = $1)
          < clock_timestamp() - interval '2 seconds'`,
        [run.runId],
      )).length === 2,
    { what: "both servers to be known, and the first one to look for others again" },
  );
  await run.gates[0]!.open();
  await run.gates[1]!.arrived("a server at chunk 3", 40_000);
  // chunks 0 and 1 were prepared by the first one alone, and it has 3
  await prepared(world, run.runId, 9);
  await run.gates[1]!.open();
  await endsAs(world, run, { expected, servers: [first, second] });
  const servers = await serversOf(world, run.runId);
  assert.ok(chunksOf(servers, first).includes(0), JSON.stringify(servers));
  // one of them is held at chunk 3, and the other prepares the rest
  const each = [first, second].map((server) => chunksOf(servers, server).length);
  assert.ok(Math.min(...each) >= 1 && Math.max(...each) >= 6, JSON.stringify(servers));
  assert.deepEqual((await shown(run)).sharing, { alone: null, left: [] });

  await t.step("what both have rejected is replayed", async () => {
    const path = `/api/etl/runs/${run.runId}/quarantine/replay`;
    const answer = await fetch(`${first.address}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ set: { source: { key: "n" }, transform: null } }),
    });
    const { run_id } = await answer.json();
    const { counts } = await world.ended(run_id);
    const rejected = (expected.counts as Record<string, number>).rejected!;
    assert.deepEqual([counts!.inserted, counts!.rejected], [rejected, 0]);
  });

  await t.step("`etl show` and the page of the run say which server has which chunk", async () => {
    const { servers } = await shown(run);
    assert.deepEqual(servers.map(({ count }) => count).reduce((a, b) => a + b), 10);
    const own = servers.find(({ server_id }) => server_id.includes(`-${first.pid}-`))!;
    assert.ok(own.chunks[0] === "0" || own.chunks[0]!.startsWith("0–"), JSON.stringify(servers));
  });

  if (LONG) {
    await t.step("an object of S3 is read by both", async () => {
      const run = await hold(world, first, "s3", { source: LAKE });
      await onBoth(world, run);
      await endsAs(world, run, { expected, servers: [first, second] });
    });
  }

  const content = await Deno.readTextFile(`${world.root}/data/new.ndjson`);
  for (const how of LONG ? ["replaced", "deleted"] : ["replaced"]) {
    await t.step(`an object that is ${how} while both read it fails the run`, async () => {
      // a slice of the other server, behind which nothing is read yet
      const run = await hold(world, first, how, { source: LAKE }, [1, LATER_RECORD]);
      await run.gates[1]!.arrived("other server at chunk 3", 40_000);
      if (how === "deleted") s3.objects.delete("new.ndjson");
      else s3.put("new.ndjson", content.replaceAll("visit", "VISIT"));
      for (const gate of run.gates) await gate.open();
      const { error } = await world.ended(run.runId, ["failed"]);
      assert.equal(error!.type, "/api/problems/source-changed", JSON.stringify(error));
      const [{ changed }] = await world.query<{ changed: number }>(
        `select count(*)::integer as changed from fault_writes where name = 'f_${how}'`,
      ) as [{ changed: number }];
      assert.equal(changed, 0);
      await nothingIsLeft(world, { servers: [first, second] });
      s3.put("new.ndjson", content);
    });
  }

  await t.step("so is a file that a server gives by ranges", async () => {
    const source = { type: "http", url: `http://${s3.host}/lake/new.ndjson`, path: undefined };
    const run = await hold(world, first, "http", { source });
    await onBoth(world, run);
    await endsAs(world, run, { expected, servers: [first, second] });
  });

  await t.step(
    "what is compressed and what came with the request is unpacked by both",
    async () => {
      const content = await Deno.readFile(`${world.root}/data/new.ndjson`);
      s3.put("new.ndjson.gz", gzipSync(content));
      const connection = new Connection(db.dsn, OWN_NAME);
      const { uploadId } = await storeUpload(connection, [content]);
      await connection.close();
      const lake = { ...LAKE, url: "s3://lake/new.ndjson.gz" };
      const body = { type: "inline", upload_id: uploadId };
      for (const [name, source] of Object.entries(LONG ? { lake, body } : { body })) {
        const run = await hold(world, first, name, { source: { ...source, path: undefined } });
        await onBoth(world, run);
        await endsAs(world, run, { expected, servers: [first, second] });
      }
    },
  );

  await t.step("a typed table gets the rows of another database as from one server", async () => {
    await world.query(`create table shop as
      select n, 'k' || n % 19000 as id, 'visit' as type, n % 7 as v, repeat('x', n % 40) as text
      from generate_series(0, 19999) as n;
      alter table shop add primary key (n); grant select on shop to public`);
    const conf = {
      layout: "typed",
      suite: null,
      enforce_ge: false,
      source: {
        type: "postgres",
        connection: "shop",
        table: "public.shop",
        path: undefined,
        occurred_at: undefined,
      },
    };
    const one = { ...conf, chunk_size: 5_000, transform: "plain" };
    const alone = async (name: string) =>
      await world.ended(await world.request(first, world.conf(name, one)));
    for (const name of ["typed", "typed_one"]) await world.addPool(name);
    // a first load sees the transform before it is shared: the types of the columns are looked for
    await alone("typed");
    await world.query("update shop set v = v + 10, text = text || '!' where n % 3 = 0");
    await onBoth(world, await hold(world, first, "typed", conf));
    await alone("typed_one");
    const rows = async (name: string) =>
      await world.query(
        `select count(*)::integer, md5(string_agg(concat_ws('|', id, n, type, v, text), ',' order by id)) from f_${name}`,
      );
    assert.deepEqual(await rows("typed"), await rows("typed_one"));
    assert.ok(Number((await rows("typed"))[0]!.count) > 18_000);
    await nothingIsLeft(world, { servers: [first, second] });
  });

  await t.step("a history has the same versions as from one server", async () => {
    for (const name of ["history", "history_one"]) await world.addPool(name);
    const conf = { write: "history", suite: null, enforce_ge: false, source: { version: "at" } };
    const run = await hold(world, first, "history", conf);
    await onBoth(world, run);
    const one = { ...conf, chunk_size: 5_000 };
    await world.ended(await world.request(first, world.conf("history_one", one)));
    const rows = async (name: string) =>
      await world.query(
        `select count(*)::integer, md5(string_agg(concat_ws('|', event_id, version, payload), ',' order by event_id collate "C"))
          from f_${name}`,
      );
    assert.deepEqual(await rows("history"), await rows("history_one"));
    assert.ok(Number((await rows("history"))[0]!.count) > 19_900);
    await nothingIsLeft(world, { servers: [first, second] });
  });

  await t.step("a dry run counts the same and writes nothing", async () => {
    await world.addTable("dry");
    const runId = await world.request(first, world.conf("dry", { dry_run: true }));
    const { counts } = await world.ended(runId);
    assert.deepEqual(counts, { ...expected.counts as object, published: 0 });
    const [{ written }] = await world.query<{ written: string }>(
      "select count(*) as written from fault_writes where name = 'f_dry'",
    ) as [{ written: string }];
    assert.equal(Number(written), 0);
    await nothingIsLeft(world, { servers: [first, second] });
  });

  await t.step("rows of another source fail it, and nothing is changed", async () => {
    await world.addTable("foreign");
    await world.query("update f_foreign set source = 'others' where event_id = 'k4'");
    const runId = await world.request(first, world.conf("foreign"));
    const { error } = await world.ended(runId, ["failed"]);
    assert.match(String((error as { type: string }).type), /foreign-rows/);
    await nothingIsLeft(world, { servers: [first, second] });
  });

  await t.step("a suite that fails keeps everything out", async () => {
    await world.addTable("suite");
    await world.query(
      `insert into etl.suites (name, suite, row_wise) values ('few', $1, false)`,
      [JSON.stringify({
        name: "few",
        expectations: [
          { type: "expect_table_row_count_to_be_between", kwargs: { max_value: 10 } },
          { type: "expect_column_median_to_be_between", kwargs: { column: "n", min_value: 1 } },
        ],
      })],
    );
    const runId = await world.request(first, world.conf("suite", { suite: "few" }));
    const { error } = await world.ended(runId, ["failed"]);
    assert.match(String((error as { detail: string }).detail), /1 of 2 expectations/);
    await nothingIsLeft(world, { servers: [first, second] });
  });

  await t.step(
    "a cancel ends it on both; the run says which server does not help, and why",
    async () => {
      const third = await world.start({ name: "c", env: { ETL_DATA_SHARED: "false" } });
      // else it may take the run itself, which it could not share
      third.kill("SIGSTOP");
      const run = await hold(world, first, "cancelled").catch(() => null);
      third.kill("SIGCONT");
      assert.ok(run !== null, world.logs());
      await arrived(world, run);
      const left = await waitFor(async () => {
        const { sharing: { left } } = await shown(run);
        return left.length > 0 ? left : null;
      }, { timeoutMs: 20_000, what: "the third server to leave the run alone" });
      assert.deepEqual(left.map(({ why }) => why), [["data"]]);
      assert.ok(left[0]!.server_id.includes(`-${third.pid}-`));
      await world.post(first, `/api/etl/runs/${run.runId}/cancel`);
      await world.ended(run.runId, ["cancelled"]);
      for (const gate of run.gates) await gate.open();
      await nothingIsLeft(world, { servers: [first, second, third] });
    },
  );
});

Deno.test("servers that help, one that freezes and one without a network, change nothing when they are back and their chunks were prepared elsewhere", async (t) => {
  await using db = await testDatabase(t);
  await using proxy = tcpProxy({ port: Number(new URL(db.dsn).port) });
  await using world = await World.create({ dsn: db.dsn, env: ENV });
  const { first, expected } = await twoServers(world);
  const run = await hold(world, first, "frozen", {}, [1, LATER_RECORD, LAST_CHUNK_RECORD]);
  const frozen = await world.start({ name: "b" });
  await run.gates[1]!.arrived("second server at chunk 3", 40_000);
  const cut = await world.start({ name: "c", dsn: proxy.through(db.dsn) });
  await run.gates[2]!.arrived("third server at chunk 9", 40_000);
  await prepared(world, run.runId, 7);
  for (const server of [frozen, cut]) {
    assert.ok(chunksOf(await serversOf(world, run.runId), server).length > 0, world.logs());
  }
  frozen.kill("SIGSTOP");
  proxy.stall();
  let release: () => Promise<void>;
  try {
    release = await holdPublish(world, run);
    assert.equal(chunksOf(await serversOf(world, run.runId), first).length, 10, world.logs());
  } finally {
    frozen.kill("SIGCONT");
    proxy.resume();
  }
  await taken(frozen);
  await taken(cut);
  await release();
  await endsAs(world, run, { expected, servers: [first, frozen, cut] });
});

Deno.test(
  "helpers that the store refuses, as their clock is wrong, or whose disk is full leave their chunks to the coordinator",
  {
    ignore: !LONG || !await canMount(),
  },
  async (t) => {
    await using db = await testDatabase(t);
    await using s3 = await FakeS3.start();
    // less than a chunk's rows
    await using disk = await smallDisk("256k");
    await using world = await World.create({
      dsn: db.dsn,
      env: { ...ENV, ETL_HTTP_PRIVATE_HOSTS: s3.host, ...lakeOf(s3) },
    });
    s3.put("new.ndjson", await Deno.readTextFile(`${world.root}/data/new.ndjson`));
    const { first, expected } = await twoServers(world);
    s3.fault = ({ accessKeyId }) =>
      accessKeyId === "AHEAD"
        ? { status: 403, body: "<Error><Code>RequestTimeTooSkewed</Code></Error>" }
        : undefined;
    const run = await hold(world, first, "unfit", { source: LAKE }, [1]);
    const ahead = await world.start({ name: "ahead", env: lakeOf(s3, "AHEAD") });
    const full = await world.start({ name: "full", env: { ETL_SPOOL_DIR: disk.path } });
    for (const { name, logs } of [ahead, full]) {
      await waitFor(
        () => logs.some((line) => line.includes("a chunk is left to the run's coordinator")),
        { timeoutMs: 40_000, what: `server ${name} to fail at a chunk` },
      ).catch((error) => {
        throw new Error(`${error.message}\n${world.logs()}`);
      });
    }
    await run.gates[0]!.open();
    await endsAs(world, run, { expected, servers: [first, ahead, full] });
    const servers = await serversOf(world, run.runId);
    assert.equal(chunksOf(servers, first).length, 10, JSON.stringify(servers));
  },
);

/** What is killed, and when. */
const KILLS = [
  { who: "helper", at: "prepare" },
  { who: "helper", at: "publish" },
  // slices of an object, whose lines are counted when the run ends
  { who: "coordinator", at: "prepare", conf: { source: LAKE } },
  { who: "coordinator", at: "publish" },
  { who: "coordinator", at: "publish", signal: "SIGSTOP" },
] as const satisfies { who: string; at: string; signal?: Deno.Signal; conf?: object }[];

for (const { who, at, ...rest } of KILLS) {
  const { signal = "SIGKILL", conf = {} } = rest as {
    signal?: Deno.Signal;
    conf?: Record<string, unknown>;
  };
  Deno.test(`a run on two servers whose ${who} gets ${signal} in ${at} ends on the other`, {
    ignore: !LONG,
  }, async (t) => {
    await using db = await testDatabase(t);
    await using s3 = await FakeS3.start();
    await using world = await World.create({
      dsn: db.dsn,
      env: { ...ENV, ETL_HTTP_PRIVATE_HOSTS: s3.host, ...lakeOf(s3) },
    });
    s3.put("new.ndjson", await Deno.readTextFile(`${world.root}/data/new.ndjson`));
    const { first, expected } = await twoServers(world);
    const { run, second } = await halfway(world, first, `${who}_${at}`, conf);
    const release = at === "publish" ? await holdPublish(world, run) : async () => {};
    const [dead, alive] = who === "helper" ? [second, first] : [first, second];
    dead.kill(signal);
    if (signal === "SIGKILL") await dead.ended;
    // as after a stop: nobody is there to share the next attempt with
    await world.query("delete from etl.servers where server_id = 'soon' or server_id like $1", [
      `%-${dead.pid}-%`,
    ]);
    for (const gate of run.gates) await gate.open();
    await release();
    await endsAs(world, run, {
      expected,
      servers: [alive],
      attempts: who === "helper" ? 1 : 2,
    });
    if (signal === "SIGSTOP") {
      dead.kill("SIGCONT");
      await waitFor(
        () => dead.logs.some((line) => line.includes("another attempt has taken over")),
        {
          timeoutMs: 30_000,
          what: "the frozen server to see that it was replaced",
        },
      );
      await endsAs(world, run, { expected, servers: [first, second], attempts: 2 });
    }
    if (who === "helper") return;
    // what the survivor has prepared for the dead one is not prepared again
    const [again] = await world.query<{ chunks: number }>(
      "select count(*)::int as chunks from etl.chunks where run_id = $1 and attempts > 1",
      [run.runId],
    );
    assert.ok(again!.chunks <= 2, `${again!.chunks} chunks were prepared again`);
  });
}
