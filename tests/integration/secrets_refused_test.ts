import assert from "node:assert/strict";
import { client, raised } from "../helpers/sql_problems.ts";
import { backupText } from "../../store/backup/backup_text.ts";
import type { Client } from "../../store/pg.ts";
import { testDatabase } from "../helpers/postgres.ts";

/** Made up, and by its form no form of a real one. */
const SECRET = "Xq9aa7sEcReT0000000000";
const at = (url: string) => ({ source: { type: "http", url } });

/** Each holds a secret in the field. */
const REFUSED: [field: string, conf: unknown][] = [
  ["source.url", at(`https://user:${SECRET}@example.org/a.csv`)],
  ["source.url", at(`https://${SECRET}@example.org/a.csv`)],
  ["source.url", at(`https:user:${SECRET}@example.org/a.csv`)],
  ["source.url", at(`https:\\\\user:${SECRET}@example.org/a.csv`)],
  ["source.url", at(`https://example.org/a.csv?token=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?year=2026&access_token=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?X-Amz-Algorithm=AWS4&X-Amz-Signature=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?x%2Damz%2dsignature=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?X-Goog-Signature=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?sv=2024&sig=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?Signature=${SECRET}&Key-Pair-Id=x`)],
  ["source.url", at(`https://example.org/a.csv?api_key=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?apikey=short`)],
  ["source.url", at(`https://example.org/a.csv?key=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?a=1;sessionid=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv#access_token=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?auth[token]=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?auth%5Btoken%5D=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?api.key=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?apiSecret=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?userPassword=${SECRET.slice(0, 8)}`)],
  ["source.url", at(`https://example.org/a.csv?x%252Dapi%252Dkey=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?appid=${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv;jsessionid=${SECRET}`)],
  ["source.url", at(`https://example.org/token=${SECRET}/a.csv`)],
  ["source.url", at(`https://example.org/token/${SECRET}/a.csv`)],
  ["source.url", at(`https://example.org/api/webhooks/123456/${SECRET}`)],
  ["source.url", at(`https://example.org/bot123456:${SECRET}/a.csv`)],
  ["source.url", at(`https://example.org/a.csv?next=https%3A%2F%2Fu%3A${SECRET}%40b%2F`)],
  ["source.url", at(`https://example.org/a.csv?next=https%3A%2F%2Fb%2F%3Ftoken%3D${SECRET}`)],
  ["source.url", at(`https://example.org/a.csv?q={"token":"${SECRET}"}`)],
  ["source.url", at(`https://example.org/a.csv?q=%7B%22token%22%3A%22${SECRET}%22%7D`)],
  ["source.url", at(` https://us\ter:${SECRET}@example.org/a.csv`)],
  ["run_label", { run_label: `token=${SECRET}` }],
  ["run_label", { run_label: `see glpat-${SECRET}` }],
  ["run_label", { run_label: `sk_live_${SECRET}` }],
  ["source.query", {
    source: {
      type: "postgres",
      connection: "a",
      query: `select * from dblink('host=b password=''${SECRET}''', 'select 1') as t (x int)`,
    },
  }],
  ["source.query", {
    source: {
      type: "postgres",
      connection: "a",
      query: `select * from dblink('host=b password=${SECRET}', 'select 1') as t (x int)`,
    },
  }],
  ["source.query", {
    source: {
      type: "postgres",
      connection: "a",
      query: `select * from dblink('postgres://u:${SECRET}@b/c', '') as t (x int)`,
    },
  }],
  ["run_label", { run_label: `postgres://u:${SECRET}@b/c` }],
  ["source.name", { source: { type: "synthetic", name: `Bearer ${SECRET}` } }],
  ["source.name", { source: { type: "synthetic", name: "-----BEGIN PRIVATE KEY-----" } }],
];

/** What has the look of it and is none. */
const ACCEPTED: unknown[] = [
  at("https://example.org/a.csv?year=2026&limit=100&starttime=2026-01-01T00:00:00&format=geojson"),
  at("https://example.org/query?key=population&page_token=2&author=bell"),
  at("https://example.org/a@b/c.csv?mail=a@b.org"),
  at("https://example.org/a.csv?download"),
  at(
    "https://example.org/0190a4f2-77e1-7cc0-8000-0242ac120002/tokens.csv?id=0190a4f2-77e1-7cc0-8000-0242ac120002",
  ),
  {
    source: {
      type: "postgres",
      connection: "a",
      query: "select id, password = '' as empty, token from users where api_key is null",
    },
  },
  { source: { type: "file", path: "tokens/password.csv", key: "token" } },
  {
    source: {
      type: "inline",
      key: "id",
      records: [{ id: 1, password: SECRET, url: `https://a:${SECRET}@b` }],
    },
  },
  { run_label: "tokens of the day" },
  { run_label: "key: orders_2026_11_27_v2" },
  at("https://example.org/v1/keys/a.csv?nextPageToken=&sortKey=orders_2026_11_27"),
  at("https://example.org/year=2026/month=11/a.csv?select=id%3D1&at=2026-01-01T00%3A00%3A00Z"),
  {
    source: {
      type: "postgres",
      connection: "a",
      query: "select * from sessions where token=archived_tokens_2024.token",
    },
  },
];

Deno.test("secrets: a conf with one is refused in every place that takes confs, naming the field and the connection, never showing it", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const quiet = (problem: { detail: string }) => {
    const text = JSON.stringify(problem);
    assert.ok(!text.includes(SECRET), text);
  };
  for (const [field, conf] of REFUSED) {
    const text = JSON.stringify(conf).replaceAll("'", "''");
    for (
      const statement of [
        `select etl.request_run('${text}')`,
        `insert into etl.configurations (name, conf) values ('a', '${text}')`,
        `insert into etl.schedules (name, cron, conf) values ('a', '@daily', '${text}')`,
        `update etl.configurations set conf = '${text}' where name = 'there'`,
      ]
    ) {
      if (statement.startsWith("update")) {
        await sql.query(
          "insert into etl.configurations (name, conf) values ('there', '{}') on conflict do nothing",
        );
      }
      const problem = await raised(sql, statement).catch((error) => {
        throw new Error(`${statement}: ${error.message}`);
      });
      quiet(problem);
      const error = problem.errors.find((each) => each.field === field);
      assert.ok(error !== undefined, `${statement}: ${JSON.stringify(problem)}`);
      assert.match(error.message, /confs are stored and shown/);
      if (field.startsWith("source")) assert.match(error.expected!, /ETL_CONNECTION_<NAME>/);
    }
    const [[name, value]] = Object.entries(conf as object) as [[string, unknown]];
    const variable = `insert into etl.variables (name, value) values ('etl_improved__${name}', '${
      JSON.stringify(value).replaceAll("'", "''")
    }')`;
    quiet(await raised(sql, variable));
    const { rows } = await sql.query("select etl.conf_errors($1) as errors", [conf]);
    assert.ok(rows[0].errors.some((each: { field: string }) => each.field === field));
    const { rows: [shown] } = await sql.query("select etl.without_secrets($1)::text as text", [
      conf,
    ]);
    assert.ok(!shown.text.includes(SECRET), shown.text);
  }
  for (const conf of ACCEPTED) {
    const { rows } = await sql.query("select etl.secret_errors($1) as errors", [
      JSON.stringify(conf),
    ]);
    assert.deepEqual(rows[0].errors, [], JSON.stringify(conf));
  }
  // user code's own variables are not parameters
  await sql.query("insert into etl.variables (name, value) values ('mine', '\"https://a:b@c\"')");
});

Deno.test("secrets: what an earlier version has stored is named without being shown, refused when it is due, and may be replaced", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  const conf = at(`https://example.org/a.csv?token=${SECRET}`);
  await sql.query(
    "alter table etl.schedules disable trigger refuse_secrets; alter table etl.configurations disable trigger refuse_secrets",
  );
  await sql.query("insert into etl.schedules (name, cron, conf) values ('old', '@daily', $1)", [
    conf,
  ]);
  await sql.query("insert into etl.configurations (name, conf) values ('old', $1)", [conf]);
  await sql.query(
    "alter table etl.schedules enable trigger refuse_secrets; alter table etl.configurations enable trigger refuse_secrets",
  );
  const { rows } = await sql.query("select * from etl.stored_secrets() order by kind");
  assert.deepEqual(rows, [
    { kind: "configuration", name: "old", fields: ["source.url"] },
    { kind: "schedule", name: "old", fields: ["source.url"] },
  ]);
  await sql.query(
    "insert into etl.slots (schedule, slot) values ('old', now() - interval '1 second')",
  );
  await sql.query("select etl.tick_schedules()");
  const { rows: [slot] } = await sql.query(
    "select state, problem::text as problem from etl.slots where state <> 'pending'",
  );
  assert.equal(slot.state, "failed");
  assert.match(slot.problem, /source\.url holds a token/);
  const told = await sql.query(
    "select string_agg(a::text, '') as all from public.etl_improved_alerts as a",
  );
  assert.match(told.rows[0].all, /ETL_CONNECTION_<NAME>/);
  assert.ok(!`${slot.problem}${told.rows[0].all}`.includes(SECRET));
  await sql.query("insert into etl.variables (name, value) values ('mine', to_jsonb($1::text))", [
    `https://a:${SECRET}@c`,
  ]);
  let backup = "";
  const read = await Deno.readTextFile(new URL("../../sql/restore/opening.sql", import.meta.url));
  const restoreSql = { opening: read, closing: read };
  for await (
    const block of backupText(sql as Client, { takenAt: new Date(), setupSql: "", restoreSql })
  ) {
    backup += new TextDecoder().decode(block);
  }
  await sql.query("rollback");
  assert.ok(!backup.includes(SECRET));
  assert.ok(backup.includes("https://example.org/a.csv?token=***"), "what is no secret stays");
  // pausing it needs no other conf
  await sql.query("update etl.schedules set active = false where name = 'old'");
  await sql.query("update etl.configurations set conf = '{}'");
});
