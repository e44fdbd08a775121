import assert from "node:assert/strict";
import type { Sql } from "../../store/database.ts";
import { handleAlert, incidentsMark, openIncidents, sendTestAlert } from "../../store/alerts.ts";
import { connect } from "../../store/pg.ts";
import { databaseHealth } from "../../store/health.ts";
import { sweepConditions } from "../../store/reactions.ts";
import { startInProcess } from "../../scripts/cli/in_process.ts";
import { startEngine } from "../helpers/engine.ts";
import { consumeEnds } from "../helpers/reacting.ts";
import { waitFor } from "../helpers/wait_for.ts";

const FAILING = { source: { type: "file", path: "missing.csv", key: "id" } };
const open = async (sql: Sql) => (await openIncidents(sql)).map(({ fingerprint }) => fingerprint);

Deno.test("incidents of a schedule, label, dataset or consumer that is gone close, with who was told", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await engine.runToEnd({ ...FAILING, run_label: "kept" });
  await consumeEnds(sql);
  await sql`update etl.reaction_settings set channels = '{slack}'`;
  await sql`insert into etl.schedules (name, cron, active) values ('off', '@daily', false), ('on', '@daily', true)`;
  await sql`insert into etl.consumers (consumer, datasets, mode, active) values ('off', '{public.gone}', 'each', false)`;
  // what it waits for is nobody's concern
  await sql`insert into etl.deliveries (consumer, created_at) values ('off', now() - interval '1 hour')`;
  await sql`select etl.raise_alert('run_failed', 'schedule on', 'm')`;
  for (
    const [kind, subject] of [
      ["run_failed", "schedule badpool"],
      ["run_failed", "schedule off"],
      ["run_failed", "gone"],
      ["sla_miss", "gone load"],
      ["stale", "public.gone"],
      // it may be as old as it likes
      ["stale", "public.etl_improved_events"],
      ["consumer_failed", "gone"],
      ["consumer_late", "off"],
    ]
  ) await sql`select etl.raise_alert(${kind!}, ${subject!}, 'm')`;
  await sweepConditions(sql);
  assert.deepEqual((await open(sql)).sort(), ["run_failed:kept", "run_failed:schedule on"]);
  const [told] = await sql<{ n: number }[]>`
    select count(*)::integer as n from etl.notifications where type = 'recovered'`;
  assert.equal(told!.n, 8);
  await sweepConditions(sql);
  const [raised] =
    await sql`select count(*)::int as n from etl.notifications where type = 'raised'`;
  assert.equal(raised!.n, 9, "nothing is raised anew");
});

Deno.test("incidents of a label that has not been run for 40 days close", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  for (const label of ["monthly", "forgotten"]) {
    await engine.runToEnd({ ...FAILING, run_label: label });
    await consumeEnds(sql);
    await sql`select etl.raise_alert('volume_drop', ${label}, 'm'), etl.raise_alert('sla_miss', ${`${label} load`}, 'm')`;
  }
  const age = (label: string, days: number) =>
    sql`update etl.runs set requested_at = now() - ${days} * interval '1 day' where run_label = ${label}`;
  await age("monthly", 39);
  await age("forgotten", 41);
  await sweepConditions(sql);
  assert.deepEqual((await open(sql)).sort(), [
    "run_failed:monthly",
    "sla_miss:monthly load",
    "volume_drop:monthly",
  ]);
});

Deno.test("ends of a label that are judged in the other order leave the same incidents", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const inOtherOrder = async (first: object, second: object, options = {}) => {
    const earlier = await engine.runToEnd(first);
    await sql`update etl.run_ends set next_attempt_at = 'infinity' where run_id = ${earlier.run_id}`;
    await engine.runToEnd(second, options);
    await consumeEnds(sql);
    await sql`update etl.run_ends set next_attempt_at = '-infinity' where run_id = ${earlier.run_id}`;
    await consumeEnds(sql);
  };
  await inOtherOrder({ ...FAILING, run_label: "v" }, { batch_size: 5, run_label: "v" });
  assert.deepEqual(await open(sql), []);
  await inOtherOrder({ batch_size: 5, run_label: "w" }, { ...FAILING, run_label: "w" });
  assert.deepEqual(await open(sql), ["run_failed:w"]);
  // neither a dry run, a replay nor one that was cancelled says anything that an earlier end did not
  await inOtherOrder({ ...FAILING, run_label: "x" }, {
    batch_size: 5,
    run_label: "x",
    dry_run: true,
  });
  await inOtherOrder({ ...FAILING, run_label: "z" }, { batch_size: 5, run_label: "z" }, {
    replay_of: crypto.randomUUID(),
  });
  await engine.runToEnd({ ...FAILING, run_label: "y" });
  await sql`update etl.run_ends set next_attempt_at = 'infinity' where consumed_at is null`;
  const cancelled = await engine.submit({ batch_size: 5, run_label: "y" });
  await engine.post(`/api/etl/runs/${cancelled.run_id}/cancel`);
  await consumeEnds(sql);
  await sql`update etl.run_ends set next_attempt_at = '-infinity'`;
  await consumeEnds(sql);
  assert.deepEqual(
    (await open(sql)).sort(),
    ["w", "x", "y", "z"].map((label) => `run_failed:${label}`),
  );
});

Deno.test("POST /api/alerts/handle acts on an open incident, for an hour unless it is told otherwise", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`select etl.raise_alert('stale', 'd', 'm')`;
  const handle = (body: object) =>
    engine.post("/api/alerts/handle", { fingerprint: "stale:d", ...body });
  const silence = async () => {
    const [row] =
      await sql`select coalesce(extract(epoch from silenced_until - now()) / 60, 0)::float8 as minutes
      from etl.alert_states`;
    return Math.round(row!.minutes);
  };
  assert.deepEqual(await (await handle({ action: "acknowledge", minutes: 5 })).json(), {
    fingerprint: "stale:d",
    action: "acknowledge",
  });
  assert.equal(await silence(), 0);
  const [audit] =
    await sql`select details from public.etl_improved_audit where event = 'alert_acknowledge'`;
  assert.deepEqual(audit!.details, { fingerprint: "stale:d" }, "nothing ends after a time");
  await handle({ action: "silence" });
  assert.equal(await silence(), 60);
  await handle({ action: "silence", minutes: 5 });
  assert.equal(await silence(), 5);
  for (
    const wrong of [{ action: "mute" }, { action: "silence", minutes: 0 }, {
      action: "silence",
      minutes: 525_601,
    }]
  ) {
    assert.equal((await handle(wrong)).status, 400, JSON.stringify(wrong));
  }
  assert.equal((await handle({ action: "close", fingerprint: "stale:e" })).status, 404);
  await handle({ action: "close" });
  assert.deepEqual((await (await engine.request("/api/alerts/open")).json()).items, []);
  const [alert] = (await (await engine.request("/api/alerts/recent")).json()).data;
  assert.deepEqual([alert.kind, alert.ratio, alert.at], ["stale", null, alert.created_at]);
});

Deno.test("an incident is acknowledged, silenced and closed by somebody, who is named", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`update etl.reaction_settings set channels = '{slack}', suppress_seconds = 0`;
  const told = async () => (await sql`select from etl.notifications`).length;
  const raise = () => sql`select etl.raise_alert('stale', 'd', 'm')`;
  const handle = (action: "acknowledge" | "silence" | "close", minutes: number | null = null) =>
    handleAlert(sql, { fingerprint: "stale:d", action, actor: "ann", minutes });
  assert.equal(await handle("close"), false);
  await raise();
  const [first] = await openIncidents(sql);
  // to the microsecond, which JavaScript's dates do not have
  const [{ exactly }] = await sql<[{ exactly: string }]>`
    select opened_at::text as exactly from etl.alert_states`;
  await raise();
  assert.equal(await told(), 2);
  const [again] = await openIncidents(sql);
  assert.deepEqual([again!.occurrences, again!.opened_at], [2, first!.opened_at]);
  assert.equal(await handle("acknowledge"), true);
  await raise();
  assert.equal(await told(), 2, "whoever acknowledged it knows");
  assert.equal((await openIncidents(sql))[0]!.acknowledged_by, "ann");
  assert.equal(await handle("silence", 60), true);
  assert.equal(await handle("close"), true);
  assert.equal(await told(), 3, "that it is over");
  await raise();
  assert.equal(await told(), 3, "silenced");
  const [anew] =
    await sql`select occurrences::int, suppressed::int, acknowledged_at, acknowledged_by, resolved_by,
    opened_at > ${exactly}::text::timestamptz as later from etl.alert_states`;
  assert.deepEqual(
    { ...anew },
    {
      occurrences: 1,
      suppressed: 1,
      acknowledged_at: null,
      acknowledged_by: null,
      resolved_by: null,
      later: true,
    },
    "what comes back is another incident",
  );
  const audit = await sql<{ event: string; actor: string }[]>`
    select event, actor from public.etl_improved_audit where event like 'alert%' order by audit_id`;
  assert.deepEqual(audit.map(({ event, actor }) => `${event} ${actor}`), [
    "alert_acknowledge ann",
    "alert_silence ann",
    "alert_close ann",
  ]);
  assert.equal(await handle("acknowledge"), true);
  await sql`update etl.alert_states set silenced_until = now() - interval '1 second'`;
  await raise();
  assert.equal(await told(), 3, "what was acknowledged in a silence is told no more after it");
  assert.deepEqual(await sendTestAlert(sql, "ann"), ["slack"]);
  assert.equal(await told(), 4);
  // what it is about stays known, whatever else happens
  await sql`select etl.raise_alert('run_failed', 'label ' || n, 'other', '{"severity": "error"}') from generate_series(1, 60) as n`;
  const open = (await openIncidents(sql)).map(({ kind, message, severity, run_id }) => [
    ...[kind, message, severity, run_id],
  ]);
  assert.equal(open.length, 61);
  assert.deepEqual(open[0], ["run_failed", "other", "error", null]);
  assert.deepEqual(open[60], ["stale", "m", "warning", null]);
});

Deno.test("a condition that began in a silence is told when that is over and it still holds, once", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`update etl.reaction_settings set channels = '{slack}'`;
  const told = async () => (await sql`select from etl.notifications`).length;
  const look = (holds: boolean) => sql`select etl.set_condition('stale', 'd', ${holds}, 'm')`;
  await look(true);
  await look(true);
  assert.equal(await told(), 1, "once");
  await sql`select etl.handle_alert('stale:d', 'silence', 'ann', now() + interval '1 hour')`;
  await look(false);
  await look(true);
  await look(true);
  assert.equal(await told(), 2, "the recovery only");
  const raised = async () => (await sql`select from public.etl_improved_alerts`).length;
  assert.equal(await raised(), 2, "no alert for each look");
  await look(false);
  assert.equal(await told(), 2, "who was not told of it is not told of its end");
  await look(true);
  await sql`update etl.alert_states set silenced_until = now() - interval '1 second'`;
  await look(true);
  await look(true);
  assert.equal(await told(), 3);
  // whoever acknowledges it in the silence knows of it
  await look(false);
  await sql`update etl.alert_states set silenced_until = now() + interval '1 hour'`;
  await look(true);
  await sql`select etl.handle_alert('stale:d', 'acknowledge', 'ann')`;
  await sql`update etl.alert_states set silenced_until = now() - interval '1 second'`;
  const before = await raised();
  await look(true);
  assert.deepEqual([await told(), await raised()], [4, before]);
});

Deno.test("every change of an incident is told on the channel etl_incidents and gives another mark", async (t) => {
  await using engine = await startEngine(t, { workers: 0 });
  const { sql } = engine;
  let told = 0;
  const client = await connect(engine.db.dsn);
  client.on("notification", () => told++);
  await client.query("listen etl_incidents");
  const marks = [await incidentsMark(sql)];
  const about = { fingerprint: "own:s", actor: "ada", minutes: null };
  const changes = [
    () => sql`select etl.raise_alert('own', 's', 'm')`,
    () => sql`select etl.raise_alert('own', 's', 'again')`,
    () => handleAlert(sql, { ...about, action: "acknowledge" }),
    () => handleAlert(sql, { ...about, action: "silence", minutes: 60 }),
    () => sql`update etl.alert_states set silenced_until = now() - interval '1 second'`,
    () => sql`select etl.resolve_alert('own', 's', 'over')`,
  ];
  for (const [index, change] of changes.entries()) {
    await change();
    await waitFor(() => told === index + 1, { what: `to be told of change ${index + 1}` });
    marks.push(await incidentsMark(sql));
  }
  assert.equal(marks.at(-1), marks[0]);
  assert.equal(new Set(marks).size, changes.length, marks.join("; "));
  // nothing has changed
  await sql`select etl.resolve_alert('own', 's', 'over')`;
  await sql`select etl.raise_alert('own', 't', 'm')`;
  await waitFor(() => told > changes.length);
  assert.equal(told, changes.length + 1);
  await client.end();
});

Deno.test("a run that reads nothing raises an alert, the first of its label too", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const empty = { run_label: "e", source: { type: "inline", key: "id", records: [] } };
  await engine.runToEnd(empty);
  await consumeEnds(sql);
  assert.deepEqual(await open(sql), ["volume_drop:e"]);
  await engine.runToEnd({ batch_size: 5, run_label: "e" });
  await consumeEnds(sql);
  assert.deepEqual(await open(sql), []);
});

Deno.test("a command line that runs in its own process leaves defaults and channels of the servers alone", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await sql`update etl.reaction_settings set channels = '{slack}'`;
  const lines: string[] = [];
  const dir = await Deno.makeTempDir();
  const api = await startInProcess({
    projectDir: new URL("../..", import.meta.url).pathname,
    env: {
      KPIS_PG_DSN: engine.db.dsn,
      ETL_SPOOL_DIR: dir,
      ETL_DATA_DIR: dir,
      ETL_IMPROVED__BATCH_SIZE: "7",
    },
    executes: true,
    logLevel: "warn",
    onLog: (line) => lines.push(line),
    onNotice: () => {},
    onStep: () => {},
    signal: new AbortController().signal,
  });
  await api.close();
  const [row] = await sql<{ channels: string[]; environment: object }[]>`
    select s.channels, p.environment from etl.reaction_settings as s, etl.param_schema as p`;
  assert.deepEqual(row!.channels, ["slack"]);
  assert.ok(!JSON.stringify(row!.environment).includes("batch_size"));
  assert.match(lines.join("\n"), /BATCH_SIZE: such variables are those of the servers/);
  await sql`insert into etl.notifications (notification_id, channel, type, payload, state, sent_at)
    values (gen_random_uuid(), 'webhook', 'raised', '{}', 'sent', now())`;
  const health = await databaseHealth(sql, { dsn: engine.db.dsn, cronDsn: undefined });
  assert.match(health.warnings.join("; "), /no server sends alerts to webhook/);
});
