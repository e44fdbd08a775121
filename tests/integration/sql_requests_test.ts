import assert from "node:assert/strict";
import { paramNames } from "../../pipeline/params.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { client, raised, request, resolved, runs } from "../helpers/sql_problems.ts";

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
  // destination, overlap and slot are a server's to see to, after the commit
  assert.deepEqual([run.accepted_at, run.admitted_at], [null, null]);
  assert.deepEqual((await sql.query("select etl.accept_run() as yes")).rows, [{ yes: true }]);
  assert.deepEqual((await sql.query("select etl.accept_run() as yes")).rows, [{ yes: false }]);
  assert.deepEqual((await sql.query("select etl.admit_runs() as n")).rows, [{ n: 1 }]);
  const audit = await sql.query("select event, status from public.etl_improved_audit");
  assert.deepEqual(audit.rows, [{ event: "requested", status: "queued" }]);
});

Deno.test("SQL: every error of a conf is told in one answer, with field, value and what is expected", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const cases: [unknown, string, RegExp, RegExp?][] = [
    [{ batch_size: -1 }, "batch_size", /too small/, /at least 0/],
    [{ batch_size: 1.5 }, "batch_size", /must be a whole number/],
    [{ batch_size: "5" }, "batch_size", /must be a number, written without quotes$/],
    [{ batch_size: "many" }, "batch_size", /must be a number$/],
    [{ dry_run: "true" }, "dry_run", /must be true or false, written without quotes$/],
    [{ run_label: 5 }, "run_label", /must be text$/],
    [{ batch_size: null }, "batch_size", /must be a number$/],
    [{ chunk_size: 0 }, "chunk_size", /too small/],
    [{ min_acceptance_ratio: 1.01 }, "min_acceptance_ratio", /too large/],
    [{ dry_run: "yes" }, "dry_run", /must be true or false/],
    [{ schema_name: 'a"; drop' }, "schema_name", /wrong form/],
    [{ table_name: "1abc" }, "table_name", /wrong form/],
    [{ table_name: "" }, "table_name", /too short/],
    [{ table_name: "a".repeat(64) }, "table_name", /too long/],
    [{ run_label: "a\nb" }, "run_label", /wrong form/],
    [{ overlap: "maybe" }, "overlap", /not an accepted value/, /queue, skip, cancel/],
    [{ sla_seconds: 0 }, "sla_seconds", /too small/],
    [{ db_max_retries: 0 }, "db_max_retries", /too small/],
    [{ source: "synthetic" }, "source", /must be an object/],
    [{ source: {} }, "source.type", /no known type/, /synthetic, inline, file, http, postgres/],
    [{ source: { type: "synthetic", seed: -1 } }, "source.seed", /too small/],
    [{ source: { type: "file" } }, "source.path", /is missing/],
    [
      { source: { type: "file", path: "x", kye: "id" } },
      "source.kye",
      /did you mean key\?/,
      /^key$/,
    ],
    [{ configuratoin: "x" }, "configuratoin", /did you mean configuration\?/],
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
    "batch_size must be a number (from the variable)",
    "chnk_size is not a known name; did you mean chunk_size? (from the configuration)",
    "chunk_size is too small (from the configuration)",
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
