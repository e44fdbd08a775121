import assert from "node:assert/strict";
import { confJsonSchema, paramNames } from "../../pipeline/params.ts";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { type Client, connect } from "../../store/pg.ts";
import { testDatabase } from "../helpers/postgres.ts";

/** A connection as a user of SQL has it. */
async function client(dsn: string): Promise<Client & AsyncDisposable> {
  const opened = await connect(dsn);
  return Object.assign(opened, { [Symbol.asyncDispose]: () => opened.end() });
}

interface Raised {
  type: string;
  status: number;
  detail: string;
  errors: { field: string; value?: unknown; message: string; expected?: string }[];
}

/** What a statement raises through etl.raise_problem. */
async function raised(db: Client, text: string, values: unknown[] = []): Promise<Raised> {
  try {
    await db.query(text, values);
  } catch (error) {
    const { code, detail } = error as { code: string; detail: string };
    assert.match(code, /^ET\d{3}$/, String(error));
    return JSON.parse(detail);
  }
  throw new Error("nothing was raised");
}

const request = (db: Client, conf: unknown) =>
  raised(db, "select etl.request_run($1::text::jsonb)", [JSON.stringify(conf)]);

async function resolved(db: Client, conf: unknown) {
  const { rows } = await db.query(
    "select params, origins, errors from etl.resolve_params($1::text::jsonb)",
    [
      JSON.stringify(conf),
    ],
  );
  return rows[0] as {
    params: Record<string, unknown>;
    origins: Record<string, string>;
    errors: Raised["errors"];
  };
}

const runs = async (db: Client) =>
  (await db.query("select count(*)::int as n from etl.runs")).rows[0].n;

Deno.test("SQL: etl.request_run() asks for a run and answers with its id", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const { rows } = await sql.query(
    `select etl.request_run('{"batch_size": 7, "run_label": "from_sql"}') as id`,
  );
  const run = (await sql.query("select * from etl.runs where run_id = $1", [rows[0].id])).rows[0];
  assert.deepEqual([run.state, run.trigger, run.run_label, run.params.batch_size], [
    "queued",
    "sql",
    "from_sql",
    7,
  ]);
  assert.equal(run.requested_by, new URL(db.dsn).username);
  const audit = await sql.query("select event, status from public.etl_improved_audit");
  assert.deepEqual(audit.rows, [{ event: "requested", status: "queued" }]);
});

Deno.test("SQL: every error of a conf is told in one answer, with field, value and what is expected", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const cases: [unknown, string, RegExp, RegExp?][] = [
    [{ batch_size: -1 }, "batch_size", /out of range/, /a number from 0 to 1000000000/],
    [{ batch_size: 1.5 }, "batch_size", /must be integer, not number/],
    [{ batch_size: "5" }, "batch_size", /must be integer, not string/],
    [{ batch_size: null }, "batch_size", /must be integer, not null/],
    [{ chunk_size: 0 }, "chunk_size", /out of range/],
    [{ min_acceptance_ratio: 1.01 }, "min_acceptance_ratio", /out of range/],
    [{ dry_run: "yes" }, "dry_run", /must be boolean/],
    [{ schema_name: 'a"; drop' }, "schema_name", /not allowed/],
    [{ table_name: "1abc" }, "table_name", /not allowed/],
    [{ table_name: "" }, "table_name", /wrong length|not allowed/],
    [{ table_name: "a".repeat(64) }, "table_name", /wrong length/],
    [{ run_label: "a\nb" }, "run_label", /not allowed/],
    [{ overlap: "maybe" }, "overlap", /not an accepted value/, /queue, skip, cancel/],
    [{ sla_seconds: 0 }, "sla_seconds", /no accepted form|out of range/],
    [{ db_max_retries: 0 }, "db_max_retries", /out of range/],
    [{ source: "synthetic" }, "source", /no accepted form/],
    [{ source: {} }, "source", /no accepted form/, /synthetic, inline, file, http, postgres/],
    [{ source: { type: "synthetic", seed: -1 } }, "source.seed", /out of range/],
    [{ source: { type: "file" } }, "source.path", /is missing/],
    [
      { source: { type: "file", path: "x", kye: "id" } },
      "source.kye",
      /did you mean key\?/,
      /^key$/,
    ],
    [{ batchsize: 5 }, "batchsize", /did you mean batch_size\?/, /^batch_size$/],
    [{ min_ratio: 1 }, "min_ratio", /not a known name/],
    [{ pool: "nope" }, "pool", /is not a known pool/, /default_pool/],
    [{ configuration: "nope" }, "configuration", /not a saved configuration/],
  ];
  for (const [conf, field, message, expected] of cases) {
    const problem = await request(sql, conf);
    assert.equal(problem.status, 422);
    const error = problem.errors.find((each) => each.field === field);
    assert.ok(error !== undefined, `${JSON.stringify(conf)}: ${JSON.stringify(problem)}`);
    assert.match(error.message, message);
    assert.ok(error.expected !== undefined, JSON.stringify(error));
    if (expected !== undefined) assert.match(error.expected, expected);
  }
  const all = await request(
    sql,
    Object.assign({}, ...cases.slice(-4).map(([conf]) => conf as object), { batch_size: -1 }),
  );
  assert.deepEqual(all.errors.map(({ field }) => field).sort(), [
    "batch_size",
    "batchsize",
    "configuration",
    "min_ratio",
    "pool",
  ]);
  assert.equal(all.type, "invalid-conf");
  assert.equal((await request(sql, { batchsize: 5 })).type, "unknown-parameter");
  for (const conf of [[], "x", 5, null]) assert.equal((await request(sql, conf)).status, 422);
  assert.equal((await raised(sql, "select etl.request_run(null)")).type, "invalid-conf");
  assert.equal(await runs(sql), 0);
});

Deno.test("SQL: the order of resolution is request, configuration, variable, environment, default", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query(`update etl.param_schema set environment =
    '{"batch_size": 1, "chunk_size": 1, "db_page_size": 1, "run_label": "env"}'`);
  await sql.query(`insert into etl.variables (name, value) values ('etl_improved__batch_size', '2'),
    ('etl_improved__chunk_size', '2'), ('etl_improved__db_page_size', '2'), ('unrelated', '"x"')`);
  await sql.query(
    `insert into etl.configurations (name, conf) values ('saved', '{"batch_size": 3, "chunk_size": 3}')`,
  );
  const { params, origins, errors } = await resolved(sql, {
    configuration: "saved",
    batch_size: 4,
  });
  assert.deepEqual(errors, []);
  assert.deepEqual(
    ["batch_size", "chunk_size", "db_page_size", "run_label", "dry_run"].map((
      name,
    ) => [params[name], origins[name]]),
    [[4, "request"], [3, "configuration"], [2, "variable"], ["env", "environment"], [
      false,
      "default",
    ]],
  );
  assert.deepEqual(Object.keys(params).sort(), [...paramNames].sort());
});

Deno.test("SQL: a wrong value says where it came from", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query(
    `insert into etl.variables (name, value) values ('etl_improved__batch_size', '"many"')`,
  );
  await sql.query(
    `insert into etl.configurations (name, conf) values ('saved', '{"chunk_size": 0, "chnk_size": 1}')`,
  );
  const { errors } = await resolved(sql, { configuration: "saved" });
  assert.deepEqual(errors.map(({ field, message }) => `${field} ${message}`).sort(), [
    "batch_size must be integer, not string (from the variable)",
    "chnk_size is not a known name; did you mean chunk_size? (from the configuration)",
    "chunk_size is out of range (from the configuration)",
  ]);
  // what a request gives itself hides the others
  assert.deepEqual((await resolved(sql, { batch_size: 1 })).errors, []);
});

Deno.test("SQL: 5.0 is an integer", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query(`select etl.request_run('{"batch_size": 5.0, "chunk_size": 2e1}')`);
  const { rows } = await sql.query(
    "select params ->> 'batch_size' as b, params ->> 'chunk_size' as c from etl.runs",
  );
  assert.deepEqual(rows, [{ b: "5", c: "20" }]);
});

Deno.test("SQL: {{slot}}, {{slot_previous}} and {{today}} are filled in, in configurations too, never in data", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query(`insert into etl.configurations (name, conf) values
    ('daily', '{"run_label": "day {{today}}", "source": {"type": "file", "path": "{{slot}}/{{slot_previous}}.csv"}}')`);
  const options = { slot: "2026-03-01T23:30:00-05:00", slot_previous: "2026-02-28T00:00:00Z" };
  const submit = (conf: unknown, options: unknown) =>
    sql.query("select etl.submit_run($1::text::jsonb, $2::text::jsonb)", [
      JSON.stringify(conf),
      JSON.stringify(options),
    ]);
  await submit({ configuration: "daily" }, options);
  const records = [{ text: "{{today}} {{slot_previous}}" }];
  await submit({ run_label: "x{{today}}", source: { type: "inline", records } }, {
    slot: options.slot,
  });
  const { rows } = await sql.query(
    "select run_label, params -> 'source' as source from etl.runs order by run_id",
  );
  const stored = await sql.query(
    "select upload_id, convert_from(data, 'UTF8') as text from etl.uploads",
  );
  assert.deepEqual(stored.rows.map(({ text }) => text), [
    '{"text": "{{today}} {{slot_previous}}"}\n',
  ]);
  assert.deepEqual(rows, [
    {
      run_label: "day 2026-03-02",
      source: { type: "file", path: "2026-03-02T04:30:00Z/2026-02-28T00:00:00Z.csv" },
    },
    {
      run_label: "x2026-03-02",
      source: { type: "inline", format: "ndjson", upload_id: stored.rows[0].upload_id },
    },
  ]);
  const problem = await request(sql, { run_label: "{{slot_previous}}" });
  assert.match(problem.detail, /has no previous slot/);
});

Deno.test("SQL: the same key and conf are one run; another conf with the key is a conflict", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const ask = async (conf: string, key: string | null) =>
    (await sql.query("select etl.request_run($1::text::jsonb, $2) as id", [conf, key])).rows[0].id;
  const first = await ask('{"batch_size": 1, "chunk_size": 2}', "k");
  assert.equal(await ask('{"chunk_size": 2,  "batch_size": 1}', "k"), first);
  assert.notEqual(await ask('{"batch_size": 1, "chunk_size": 2}', "other"), first);
  assert.notEqual(await ask('{"batch_size": 1, "chunk_size": 2}', null), first);
  const problem = await raised(sql, `select etl.request_run('{"batch_size": 2}', 'k')`);
  assert.deepEqual([problem.type, problem.status], ["idempotency-conflict", 422]);
  assert.match(problem.detail, new RegExp(first));
  assert.equal((await raised(sql, `select etl.request_run('{}', '')`)).status, 400);
  assert.equal(await runs(sql), 3);
  // a key is kept for a day
  await sql.query("update etl.idempotency_keys set expires_at = now() - interval '1 second'");
  assert.notEqual(await ask('{"batch_size": 2}', "k"), first);
});

Deno.test("SQL: a key stays with the run that overlap=skip named", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const submit = async (key: string) =>
    (await sql.query(
      `select etl.submit_run('{"overlap": "skip"}', jsonb_build_object('idempotency_key', $1::text)) as a`,
      [key],
    ))
      .rows[0].a;
  const first = await submit("a");
  const skipped = await submit("b");
  assert.deepEqual([skipped.run_id, skipped.created, skipped.skipped], [first.run_id, false, true]);
  await sql.query("select etl.cancel_run($1)", [first.run_id]);
  assert.equal((await submit("b")).run_id, first.run_id);
  assert.equal(await runs(sql), 1);
});

Deno.test("SQL: 100 requests at once with one key make one run", async (t) => {
  await using db = await testDatabase(t);
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect(db.dsn)));
  try {
    const ids = await Promise.all(
      clients.flatMap((each) =>
        Array.from(
          { length: 5 },
          async () =>
            (await each.query(`select etl.request_run('{"batch_size": 1}', 'same') as id`)).rows[0]
              .id,
        )
      ),
    );
    assert.equal(ids.length, 100);
    assert.equal(new Set(ids).size, 1);
    assert.equal(await runs(clients[0]!), 1);
  } finally {
    await Promise.all(clients.map((each) => each.end()));
  }
});

Deno.test("SQL: requests at once for a schema that does not exist make it once", async (t) => {
  await using db = await testDatabase(t);
  const clients = await Promise.all(Array.from({ length: 8 }, () => connect(db.dsn)));
  try {
    for (let round = 0; round < 5; round++) {
      await Promise.all(
        clients.map((each, i) =>
          each.query(
            "select etl.request_run(jsonb_build_object('schema_name', $1::text, 'table_name', $2::text))",
            [
              `fresh_${round}`,
              `t${i % 2}`,
            ],
          )
        ),
      );
    }
    assert.equal(await runs(clients[0]!), 40);
  } finally {
    await Promise.all(clients.map((each) => each.end()));
  }
});

Deno.test("SQL: tables with long names of the same beginning each get their indexes", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const long = "t".repeat(60);
  for (const name of [`${long}_a`, `${long}_b`]) {
    await sql.query("select etl.ensure_destination('public', $1, 'etl_improved_audit')", [name]);
    const { rows } = await sql.query(
      "select count(*)::int as n from pg_indexes where tablename = $1",
      [name],
    );
    assert.equal(rows[0].n, 3, name);
  }
});

Deno.test("SQL: a role that may not create is told the grant; nothing is half made", async (t) => {
  await using db = await testDatabase(t);
  await setupDatabase(db.dsn);
  await using owner = await client(db.dsn);
  const role = `limited_${crypto.randomUUID().slice(0, 8)}`;
  await owner.query(`create role ${role} login password 'x'`);
  try {
    await setupDatabase(db.dsn, { role });
    await owner.query("create schema closed");
    const dsn = Object.assign(new URL(db.dsn), { username: role, password: "x" }).href;
    const before = (await owner.query("select count(*)::int as n from pg_class")).rows[0].n;
    {
      await using limited = await client(dsn);
      const none = await request(limited, { schema_name: "missing" });
      assert.deepEqual([none.type, none.status], ["missing-grant", 422]);
      assert.match(
        none.detail,
        new RegExp(`grant create on database "?${db.name}"? to ${role}; grant etl to ${role}`),
      );
      assert.match(none.detail, /deno task setup-db --schema missing --role/);
      assert.equal(none.errors[0]!.field, "schema_name");
      const closed = await request(limited, { schema_name: "closed" });
      assert.match(
        closed.detail,
        new RegExp(`grant usage, create on schema closed to ${role}; grant etl`),
      );
      const dry = await request(limited, { schema_name: "closed", dry_run: true });
      assert.equal(dry.type, "missing-grant");
      assert.equal(await runs(limited), 0);
      assert.equal(
        (await owner.query("select count(*)::int as n from pg_class")).rows[0].n,
        before,
      );
      assert.equal((await owner.query("select to_regnamespace('missing') as n")).rows[0].n, null);
      // what was named first is enough
      await setupDatabase(db.dsn, { role, schema: "closed" });
      await limited.query(`select etl.request_run('{"schema_name": "closed"}')`);
    }
  } finally {
    await owner.query(`drop owned by ${role} cascade; drop role ${role}`);
  }
});

Deno.test("SQL: a table of another shape is refused, saying what differs, by a dry run too", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await sql.query(`create table public.other (event_id text primary key, payload text);
    create table public.unkeyed (like public.etl_improved_events)`);
  for (const dry_run of [false, true]) {
    const problem = await request(sql, { table_name: "other", dry_run });
    assert.equal(problem.type, "destination-mismatch");
    assert.match(problem.detail, /lacks .*event_type text.*payload jsonb/);
    assert.match(
      (await request(sql, { table_name: "unkeyed", dry_run })).detail,
      /no primary key or unique index/,
    );
    assert.match(
      (await request(sql, { audit_table_name: "other", dry_run })).detail,
      /is no audit table/,
    );
  }
  assert.equal(await runs(sql), 0);
});

Deno.test("SQL: the stored parameter schema is the program's", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const { rows } = await sql.query("select schema from etl.param_schema");
  assert.deepEqual(rows[0].schema, JSON.parse(JSON.stringify(confJsonSchema())));
});

Deno.test("SQL: set-up run several times, also at once, by several users of several tools", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  const made = await Promise.all([1, 2, 3].map(() => setupDatabase(db.dsn)));
  assert.ok(made.some((created) => created.includes("table etl.runs")));
  assert.deepEqual(await setupDatabase(db.dsn), []);
  const text = await Deno.readTextFile(new URL("../../sql/etl_setup.sql", import.meta.url));
  assert.doesNotMatch(text, /^\\/m, "holds no psql command");
  await using sql = await client(db.dsn);
  await sql.query("begin");
  await sql.query(text);
  await sql.query("commit");
  assert.equal(
    (await sql.query("select count(*)::int as n from pg_locks where locktype = 'advisory'")).rows[0]
      .n,
    0,
  );
});

Deno.test("SQL: two empty databases' worth of set-up at once do not collide on uncommitted objects", async (t) => {
  for (let round = 0; round < 3; round++) {
    await using db = await testDatabase(t, { setUp: false });
    const text = await Deno.readTextFile(new URL("../../sql/etl_setup.sql", import.meta.url));
    const clients = await Promise.all([1, 2, 3, 4].map(() => connect(db.dsn)));
    try {
      await Promise.all(clients.map((each) => each.query(text)));
    } finally {
      await Promise.all(clients.map((each) => each.end()));
    }
  }
});

Deno.test({
  name: "SQL: psql -f sets up an empty database, twice, in one transaction or not",
  ignore: !(await hasPsql()),
  async fn(t) {
    const file = new URL("../../sql/etl_setup.sql", import.meta.url).pathname;
    for (const extra of [[], ["--single-transaction"]]) {
      await using db = await testDatabase(t, { setUp: false });
      for (let i = 0; i < 2; i++) {
        const { success, stderr } = await new Deno.Command("psql", {
          args: ["-X", "-q", "-v", "ON_ERROR_STOP=1", ...extra, "-d", db.dsn, "-f", file],
        }).output();
        assert.ok(success, new TextDecoder().decode(stderr));
        assert.equal(new TextDecoder().decode(stderr), "");
      }
    }
  },
});

async function hasPsql(): Promise<boolean> {
  try {
    return (await new Deno.Command("psql", { args: ["--version"] }).output()).success;
  } catch {
    return false;
  }
}
