import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { runCli } from "../helpers/cli.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { connect } from "../../store/pg.ts";

const SECRET = "a secret of at least 32 characters, for tests";

async function forget(engine: Engine, dataset: string, body: object) {
  const answer = await engine.request(`/api/datasets/${dataset}/forget`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: answer.status, body: await answer.json() };
}

/** Tables, but of the audit, in which a text is. */
async function tablesWith(engine: Engine, text: string): Promise<string[]> {
  const hex = new TextEncoder().encode(text).toHex();
  const tables = await engine.sql<{ name: string }[]>`
    select format('%I.%I', n.nspname, c.relname) as name from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')`;
  const found: string[] = [];
  for (const { name } of tables) {
    const [row] = await engine.sql.unsafe<{ count: number }[]>(
      `select count(*)::integer as count from ${name} as t where t::text like '%${text}%' or t::text like '%${hex}%'`,
    );
    if (row!.count > 0) found.push(name);
  }
  return found;
}

Deno.test("forgetting a key removes it from table, quarantine, request bodies, conf, logs and errors, and from nothing else", async (t) => {
  await using engine = await startEngine(t);
  const csv = [
    "id,price",
    "ana-4711,1",
    "ana-4711,two",
    "ana-47110,two",
    "ben-0815,3",
    '"ana-4711"x,1',
  ].join("\n");
  const query = `table_name=people&key=id&name=crm&min_acceptance_ratio=0&columns=${
    encodeURIComponent(JSON.stringify({ price: "integer" }))
  }`;
  const sent = await engine.request(`/api/etl/run?${query}`, {
    method: "POST",
    headers: { "content-type": "text/csv" },
    body: csv,
  });
  const { run_id } = await sent.json();
  assert.equal((await engine.toEnd(run_id)).state, "succeeded", engine.log.join("\n"));
  await engine.sql`insert into etl.run_logs (run_id, line_no, logged_at, level, message)
    values (${run_id}, 9001, now(), 'info', 'met ana-4711'), (${run_id}, 9002, now(), 'info', 'met ana-47110')`;
  await engine.sql`update etl.runs set warnings = '["ana-4711 was odd"]' where run_id = ${run_id}`;
  // longer than what is looked at in one go
  await engine.sql`update etl.quarantine set raw = repeat('x', 9000000) where position = 1`;

  // which has seen that she is not in its source
  await engine.succeed({
    table_name: "people",
    dry_run: true,
    compare: true,
    source: { type: "inline", name: "crm", key: "id", records: [] },
  });
  assert.ok((await tablesWith(engine, "ana-4711")).includes("etl.comparisons"));

  const { status, body } = await forget(engine, "public.people", { key: "ana-4711" });
  assert.equal(status, 200, JSON.stringify(body));
  const { rows, quarantine, uploads, log_lines, texts, left } = body;
  assert.deepEqual({ rows, quarantine, uploads, log_lines, texts }, {
    rows: 1,
    quarantine: 1,
    uploads: 1,
    log_lines: 1,
    texts: 1,
  });
  assert.deepEqual(left, { foreign_rows: 0, unreadable: 1, runs: [], uploads: [], short: false });
  assert.deepEqual(Object.keys(await engine.payloads("people")), ["ben-0815"]);
  assert.deepEqual((await engine.run(run_id)).warnings, ["(forgotten) was odd"]);
  const again = await forget(engine, "public.people", { key: "ana-4711", unreadable: true });
  assert.deepEqual([again.body.rows, again.body.quarantine, again.body.left.unreadable], [0, 1, 0]);
  // what begins as the key does is another one
  assert.deepEqual(
    (await engine.sql`select record from etl.quarantine`).map(({ record }) => record),
    ['{"\\u0000cells":[["id","ana-47110"],["price","two"]]}'],
  );
  assert.deepEqual(await tablesWith(engine, "ana-4711"), ["etl.quarantine", "etl.run_logs"]);
  await engine.sql`delete from etl.quarantine`;
  await engine.sql`delete from etl.run_logs`;
  assert.deepEqual(await tablesWith(engine, "ana-4711"), []);
  const audits = await engine.sql<{ details: { rows: number; key_hash?: string } }[]>`
    select details from etl_improved_audit where event = 'key_forgotten' order by id`;
  assert.deepEqual(audits.map(({ details }) => details.rows), [1, 0]);
  // a key is what its declared column makes of it
  const dated = encodeURIComponent(JSON.stringify({
    day: { type: "date", format: "%d/%m/%Y" },
    n: "integer",
  }));
  const days = await engine.request(
    `/api/etl/run?table_name=days&key=day&min_acceptance_ratio=0&columns=${dated}`,
    {
      method: "POST",
      headers: { "content-type": "text/csv" },
      body: "day,n\n31/01/2026,one\n01/02/2026,two\n",
    },
  );
  await engine.toEnd((await days.json()).run_id);
  const day = await forget(engine, "public.days", { key: "2026-01-31" });
  assert.deepEqual([day.body.rows, day.body.quarantine], [0, 1]);
  assert.equal((await forget(engine, "public.nobody", { key: "x" })).status, 404);
});

Deno.test("a key of a typed table is forgotten by its parts, a hashed one as it was read; rows of nobody stay", async (t) => {
  const dir = await Deno.makeTempDir({ prefix: "etl_transforms_" });
  await Deno.writeTextFile(
    `${dir}/made.ts`,
    `export const transform = ({ of, bad }: any) => {
      if (bad) throw new Error("refused");
      return { who: of.person, no: of.number };
    };`,
  );
  await using engine = await startEngine(t, {
    env: { ETL_HASH_SECRET: SECRET, ETL_TRANSFORMS_DIR: dir },
  });
  const hashed = createHmac("sha256", SECRET).update("ana@example.com").digest("hex");
  const records = [
    { region: 1, mail: "ana@example.com", n: 1 },
    { region: 2, mail: "ana@example.com", n: 1 },
    { region: 1, mail: "ben@example.com", n: 1 },
    { region: "x", mail: "ana@example.com", n: "no" },
  ];
  const run = await engine.load(records, {
    table_name: "people",
    layout: "typed",
    hash: ["mail"],
    min_acceptance_ratio: 0,
    source: { key: ["region", "mail"], columns: { n: "integer", region: "integer" } },
  });
  assert.equal(run.counts.inserted, 3, JSON.stringify(run));
  await engine.sql`insert into people (region, mail, n) values (3, ${hashed}, 7)`;
  const { body } = await forget(engine, "public.people", { key: "1|ana@example.com" });
  assert.equal(body.rows, 1, JSON.stringify(body));
  assert.deepEqual(
    (await engine.sql`select region::integer as region from people order by region, mail`).map((
      { region },
    ) => region),
    [1, 2, 3],
  );
  const foreign = await forget(engine, "public.people", { key: `3|${hashed}` });
  assert.deepEqual([foreign.body.rows, foreign.body.left.foreign_rows], [0, 1]);
  for (const key of ["1", "1|2|3", "x|y"]) {
    const refused = await forget(engine, "public.people", { key });
    assert.equal(refused.status, 422, key);
    assert.equal(refused.body.errors[0].field, "key");
  }
  // as the table has it, however it was written: in notes of deletions, in rejected records, in tables of one's own
  const feed = (records: unknown[]) =>
    engine.load(records, {
      table_name: "feed",
      layout: "typed",
      deleted: { field: "op", equals: "D" },
      min_acceptance_ratio: 0,
      source: { columns: { id: "integer", n: "integer", op: "text" } },
    });
  await feed([{ id: 7, n: 1 }, { id: 8, n: 1 }]);
  await feed([{ id: "007", op: "D" }, { id: "08", n: "no" }, { id: "09", n: "no" }]);
  const deleted = await forget(engine, "public.feed", { key: "07" });
  assert.deepEqual([deleted.body.rows, deleted.body.tombstones], [0, 1]);
  const spelled = await forget(engine, "public.feed", { key: "+8" });
  assert.deepEqual([spelled.body.rows, spelled.body.quarantine], [1, 1]);
  await engine
    .sql`create table public.visitors (visitor uuid primary key, at timestamp, n smallint)`;
  const visitor = "5f0a7c1e-0000-4000-8000-0000000000aa";
  for (const [each, n] of [[visitor.toUpperCase(), 1], [visitor, 70_000]]) {
    await engine.load([{ visitor: each, n }], {
      table_name: "visitors",
      layout: "typed",
      add_columns: true,
      min_acceptance_ratio: 0,
      source: { key: "visitor" },
    });
  }
  const own = await forget(engine, "public.visitors", { key: visitor });
  assert.deepEqual([own.body.rows, own.body.quarantine], [1, 1], JSON.stringify(own.body));
  // every version of a history
  const day = (id: number, ts: string) => ({ id, ts, n: 1 });
  const versions = [day(1, "2026-01-01"), day(1, "2026-02-01"), day(2, "2026-01-01")];
  await engine.load(versions, {
    table_name: "past",
    layout: "typed",
    write: "history",
    source: { key: "id", version: "ts" },
  });
  assert.equal((await forget(engine, "public.past", { key: "1" })).body.rows, 2);
  assert.deepEqual([...await engine.sql`select id::int from past`], [{ id: 2 }]);

  // a key that a module makes of other fields
  const made = (person: string, number: number, bad: boolean) => ({ of: { person, number }, bad });
  await engine.load([
    made("dora", 7.5, false),
    made("dora", 7.5, true),
    made("dora", 8, true),
    made("emil", 7.5, true),
  ], {
    table_name: "made",
    transform: "made",
    min_acceptance_ratio: 0,
    source: { key: ["who", "no"] },
  });
  const ofParts = await forget(engine, "public.made", { key: "dora|7.5" });
  assert.deepEqual([ofParts.body.rows, ofParts.body.quarantine], [1, 1]);
  await Deno.remove(dir, { recursive: true });

  const etl = (...args: string[]) =>
    runCli(["forget", ...args, "--dataset", "public.people"], {
      env: {
        KPIS_PG_DSN: engine.db.dsn,
        ETL_HASH_SECRET: SECRET,
        ETL_WORKERS: "1",
        ETL_SPOOL_DIR: engine.config.spoolDir,
      },
    });
  const unasked = await etl("2|ana@example.com");
  assert.notEqual(unasked.code, 0);
  assert.match(unasked.err, /say --yes/);
  const done = await etl("2|ana@example.com", "--yes");
  assert.match(done.out, /^Removed from public.people: 1 rows, 0 rejected records/, done.err);
  assert.match(done.out, /Not reached: the source.*backups, replicas and WAL/);
  const [audit] = await engine.sql<{ details: { key_hash: string } }[]>`
    select details from etl_improved_audit where event = 'key_forgotten' order by id limit 1`;
  assert.equal(
    audit!.details.key_hash,
    createHmac("sha256", SECRET).update("1|ana@example.com").digest("hex"),
  );
});

Deno.test("a key is found however a body, a message or a plan writes it; a body in another encoding cannot be searched", async (t) => {
  await using engine = await startEngine(t);
  const key = 'José/"4711|x';
  const escaped = key.replace("|", "\\|");
  const bodies = {
    // as writers of JSON may escape it
    upper: [
      JSON.stringify({ id: key }).replace("é", "\\u00E9").replace("/", "\\/"),
      "application/x-ndjson",
    ],
    latin: [
      Uint8Array.from(`id\n"${key.replaceAll('"', '""')}"\n`, (c) => c.charCodeAt(0)),
      "text/csv; charset=windows-1252",
    ],
    other: ['{"id":"another"}', "application/x-ndjson"],
    failed: ['{"no":"key"}', "application/x-ndjson"],
  } as Record<string, [string | Uint8Array<ArrayBuffer>, string]>;
  const runs: Record<string, string> = {};
  for (const [name, [body, type]] of Object.entries(bodies)) {
    const sent = await engine.request(`/api/etl/run?table_name=people&key=id&name=crm`, {
      method: "POST",
      headers: { "content-type": type },
      body,
    });
    const { run_id } = await sent.json();
    const { state } = await engine.toEnd(run_id);
    assert.equal(state, name === "failed" ? "failed" : "succeeded", engine.log.join("\n"));
    runs[name] = run_id;
  }
  const id = runs.upper!;
  const told = `refused\n${key}; ${escaped}, José/"4711|xy`;
  const kept = `refused\n(forgotten); (forgotten), José/"4711|xy`;
  await engine.sql`update etl.runs set error = ${engine.sql.json({ detail: told })}, warnings = ${
    engine.sql.json([told])
  } where run_id = ${id}`;
  const ended = [id, runs.failed!];
  const from = engine.sql.json({ from: key });
  await engine.sql`update etl.chunks set slice = slice || ${from} where run_id = any (${ended})`;
  await engine.sql`update etl.runs set pin = ${from} where run_id = any (${ended})`;
  const detail = engine.sql.json({ detail: told });
  await engine.sql`update etl.chunks set error = ${detail} where run_id = ${id}`;
  await engine.sql`update etl.stages set error = ${detail} where run_id = ${id} and stage = 'load'`;
  await engine.sql`insert into etl.validations (run_id, suite_name, success, result)
    values (${id}, 's', false, ${detail})`;
  await engine.sql`insert into etl.run_logs (run_id, line_no, logged_at, level, message, fields)
    values (${id}, 9001, now(), 'info', 'met', ${detail})`;
  await engine.sql`select etl.raise_alert('run_failed', 'people', ${told}, ${
    engine.sql.json({ run_id: id, details: { error: told } })
  })`;
  await engine.sql`insert into etl.notifications (notification_id, channel, type, payload)
    values (gen_random_uuid(), 'slack', 'raised', ${
    engine.sql.json({ run_id: id, message: told })
  })`;
  // more than one page may hold, of a run whose records are long
  await engine
    .sql`insert into etl.quarantine (run_id, chunk_no, position, "output", rule, message, raw, record)
    select ${id}::uuid, 9, n, 0, 'x', 'x', 'x', jsonb_build_object('id', 'k' || n, 'text', repeat('x', 3000000))::text from generate_series(1, 4) as n
    union all select ${id}::uuid, 9, 5, 0, 'x', 'x', 'x', ${JSON.stringify({ id: key })}
    union all select ${id}::uuid, 9, 6, 0, 'x', ${told}, '{', null`;

  const { status, body } = await forget(engine, "public.people", { key });
  assert.equal(status, 200, JSON.stringify(body));
  assert.deepEqual([body.rows, body.uploads, body.quarantine], [1, 2, 1]);
  assert.deepEqual([body.log_lines, body.left.unreadable], [1, 1]);
  const [left] = await engine.sql<Record<string, unknown>[]>`
    select r.error ->> 'detail' as error, r.warnings ->> 0 as warning, a.message, a.details ->> 'error' as details,
      n.payload ->> 'message' as payload, c.slice ->> 'from' as slice, r.pin ->> 'from' as pin,
      c.error ->> 'detail' as chunk, s.error ->> 'detail' as stage, v.result ->> 'detail' as validation
    from etl.runs as r join etl.validations as v using (run_id) join etl_improved_alerts as a using (run_id) join etl.chunks as c using (run_id)
    join etl.notifications as n on n.payload ->> 'run_id' = r.run_id::text join etl.stages as s on s.run_id = r.run_id and s.stage = 'load'
    where r.run_id = ${id}`;
  assert.deepEqual({ ...left }, {
    error: kept,
    warning: kept,
    message: kept,
    details: kept,
    payload: kept,
    slice: "(forgotten)",
    pin: "(forgotten)",
    chunk: kept,
    stage: kept,
    validation: kept,
  });
  // a retry needs them
  const [retried] = await engine.sql`
    select r.pin ->> 'from' as pin, c.slice ->> 'from' as slice from etl.runs as r join etl.chunks as c using (run_id)
    where r.run_id = ${runs.failed!}`;
  assert.deepEqual({ ...retried }, { pin: key, slice: key });
  assert.deepEqual(Object.keys(await engine.payloads("people")), ["another"]);

  // a number stands without quotes; one of three characters is not looked for
  await engine.sql`update etl.chunks set slice = '{"from": 4711, "to": 471}' where run_id = ${id}`;
  const shorts: boolean[] = [];
  for (const key of ["4711", "471"]) {
    const { body } = await forget(engine, "public.people", { key });
    shorts.push(body.left?.short);
  }
  assert.deepEqual(shorts, [false, true]);
  const [{ slice }] = await engine.sql<[{ slice: unknown }]>`
    select slice from etl.chunks where run_id = ${id}`;
  assert.deepEqual(slice, { from: 0, to: 471 });
  // whose keys nobody could tell from a hash without a secret
  const hashes = await engine.sql`
    select from etl_improved_audit where event = 'key_forgotten' and details ? 'key_hash'`;
  assert.equal(hashes.length, 0);

  // who holds a lock is told, and nothing was changed
  const client = await connect(engine.db.dsn);
  await client.query(
    "set application_name = 'a client'; begin; lock table people in access exclusive mode",
  );
  const locked = await forget(engine, "public.people", { key: "another" });
  assert.equal(locked.status, 503, JSON.stringify(locked.body));
  assert.equal(typeof locked.body.blocked_by, "number");
  await client.query("rollback");
  await client.end();
});

Deno.test("a request body that a waiting run of another dataset needs stays, and is told of", async (t) => {
  await using engine = await startEngine(t);
  const records = [{ id: "ann@example.org" }, { id: "bob@example.org" }];
  // the same content has one body
  const conf = (table_name: string) => ({
    table_name,
    source: { type: "inline", name: "crm", key: "id", records },
  });
  await engine.succeed(conf("mine"));
  const { run_id } = await engine.submit(conf("others"));
  const { body } = await forget(engine, "public.mine", { key: "ann@example.org" });
  assert.deepEqual([body.rows, body.uploads, body.left.uploads.length], [1, 0, 1]);
  const run = await engine.toEnd(run_id);
  assert.deepEqual([run.state, run.counts.inserted], ["succeeded", 2], JSON.stringify(run.error));
  // once nobody needs it, it goes
  const again = await forget(engine, "public.mine", { key: "ann@example.org" });
  assert.equal(again.body.uploads, 1);
});

Deno.test("a request body is found by its key in any spelling, by all parts of it, and by nothing that only contains it", async (t) => {
  await using engine = await startEngine(t);
  const json = "application/x-ndjson";
  const dated = { day: { type: "date", format: "%d/%m/%Y" } };
  // what is in the body, whether it has the key, and how it is read
  const cases: [key: string, type: string, mine: string[], others: string[], query?: string][] = [
    [
      "1000",
      json,
      ['{"id":1000.0}', '{"id":1e3}', '{"id":"1000"}', '{"id":1000}'],
      ['{"id":10001}', '{"id":21000}', '{"id":"x1000"}', '{"id":1000.5}'],
    ],
    ["1.5", json, ['{"id":1.50}', '{"id":15e-1}'], ['{"id":11.5}', '{"id":1.55}']],
    ["12345678901234567890", json, ['{"id":12345678901234567890.0}'], [
      '{"id":12345678901234567891}',
    ]],
    ["Ana/7", json, ['{"id":"\\u0041na\\/7"}', '{"id":"Ana/7"}'], ['{"id":"Ana/71"}']],
    ["a\tb", json, ['{"id":"a\\tb"}', '{"id":"a\\u0009b"}'], ['{"id":"atb"}']],
    ["7|ann", json, ['{"a":7,"id":"ann"}', '{"id":"ann","a":7.0}'], [
      '{"a":7,"id":"bob"}',
      '{"a":8,"id":"ann"}',
    ], "key=a&key=id"],
    [
      "7",
      "text/csv",
      ["id\n007\n", "id\n+7\n"],
      ["id\n77\n"],
      "layout=typed&key=id&columns=" +
      encodeURIComponent(JSON.stringify({ id: "integer" })),
    ],
    [
      "2026-01-31",
      "text/csv",
      ["day\n31/01/2026\n"],
      [],
      "key=day&columns=" +
      encodeURIComponent(JSON.stringify(dated)),
    ],
  ];
  for (const [i, [key, type, mine, others, query = "key=id"]] of cases.entries()) {
    const uploads = new Map<string, boolean>();
    for (const [n, body] of [...mine, ...others].entries()) {
      const sent = await engine.request(`/api/etl/run?table_name=s${i}&name=crm&${query}`, {
        method: "POST",
        headers: { "content-type": type },
        body,
      });
      const { run_id } = await sent.json();
      const run = await engine.toEnd(run_id);
      assert.equal(run.state, "succeeded", JSON.stringify(run.error));
      uploads.set((run.params.source!.value as { upload_id: string }).upload_id, n < mine.length);
    }
    const { status, body } = await forget(engine, `public.s${i}`, { key });
    assert.equal(status, 200, JSON.stringify(body));
    const left = await engine.sql<{ upload_id: string; text: string }[]>`
      select upload_id, convert_from(data, 'UTF8') as text from etl.uploads where upload_id = any (${[
      ...uploads.keys(),
    ]})`;
    assert.deepEqual(left.map(({ text }) => text).sort(), others.toSorted(), key);
  }
  // by its first bytes: what is packed cannot be searched
  const packed = {
    gzip: "1f8b08",
    zstd: "28b52ffd",
    "zstd in frames": "502a4d18",
    Parquet: "50415231",
    "an Arrow file": "4152524f5731",
    "an Arrow stream": "ffffffff5800000010000000",
    "UTF-16": "fffe",
    "UTF-16, the other way round": "feff",
    xz: "fd377a585a00",
    text: "2820",
  };
  const [body] = await engine.sql`select params -> 'source' ->> 'upload_id' as id, run_id
    from etl.runs where table_name = 's3' order by requested_at limit 1`;
  for (const [name, head] of Object.entries(packed)) {
    await engine.sql`insert into etl.uploads (upload_id, part_no, data)
      select ${body!.id}, n, decode(${head} || '00', 'hex') from generate_series(0, 1) as n`;
    const { body: { uploads } } = await forget(engine, "public.s3", { key: "nobody" });
    assert.equal(uploads, name === "text" ? 0 : 1, name);
  }
});
