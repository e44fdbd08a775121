import assert from "node:assert/strict";
import postgres from "postgres";
import type { Sql } from "../../store/database.ts";
import { databaseHealth, originalChecks } from "../../store/health.ts";
import { startEngine } from "../helpers/engine.ts";

/** Asks health of a database at a moment that is changed for it and given back. */
function asking({ db }: { db: { dsn: string } }) {
  const sql = postgres(db.dsn, { max: 1, onnotice: () => {} });
  return {
    async after(change: (sql: Sql) => Promise<unknown>) {
      // what looks after the rows of runs would refuse states that nothing has led to
      await sql.unsafe("begin; set local session_replication_role = replica");
      await change(sql);
      const { problems, warnings, facts } = await databaseHealth(sql, { dsn: db.dsn });
      await sql`rollback`;
      return { problems: problems.join("\n"), warnings: warnings.join("\n"), facts };
    },
    [Symbol.asyncDispose]: () => sql.end(),
  };
}

Deno.test("health: what waits is a problem when it has waited for longer than its limit, and not before", async (t) => {
  await using engine = await startEngine(t);
  await using health = asking(engine);
  const { run_id } = await engine.submit({});
  const admitted = (seconds: number, attempt = 0) => (sql: Sql) =>
    sql`update etl.runs set admitted_at = clock_timestamp() - ${seconds} * interval '1 second',
      attempt = ${attempt}, requested_at = clock_timestamp() - interval '1 hour' where run_id = ${run_id}`;
  const unstarted = /a run has had its place in its pool for \d+(\.\d+)? s and no server/;
  const { problems: none } = await health.after(admitted(25));
  assert.equal(none, "");
  assert.match((await health.after(admitted(35))).problems, unstarted);
  const second = await health.after(admitted(35, 1));
  assert.equal(second.problems, "", "an attempt has begun before: a server is there");

  const ended = (seconds: number, consumed = false) => (sql: Sql) =>
    sql`insert into etl.run_ends (run_id, end_no, ended_at, consumed_at, snapshot) values (${run_id}, 1,
      clock_timestamp() - ${seconds} * interval '1 second', ${
      consumed ? sql`clock_timestamp()` : null
    }, '{}')`;
  assert.equal((await health.after(ended(55))).problems, "");
  assert.match(
    (await health.after(ended(65))).problems,
    /etl_consumer is 6\d(\.\d+)? s behind: 1 ended runs wait for it/,
  );
  assert.equal((await health.after(ended(65, true))).problems, "");

  const pending = (seconds: number, again: number | null = null) => (sql: Sql) =>
    sql`insert into etl.deliveries (consumer, created_at, redelivered_at) values ('mine',
      clock_timestamp() - ${seconds} * interval '1 second', clock_timestamp() - ${again}::float8 * interval '1 second')`;
  assert.equal((await health.after(pending(55))).warnings, "");
  assert.match(
    (await health.after(pending(65))).warnings,
    /consumer mine is late: the oldest of its 1 pending events waits for 6\d/,
  );
  const late = await health.after(pending(3600, 55));
  assert.equal(late.warnings, "", "it waits since it was asked for again");
});

Deno.test("health: what failed is told of for as long as it matters", async (t) => {
  await using engine = await startEngine(t);
  await using health = asking(engine);
  const { run_id } = await engine.submit({});
  const exported =
    (state: string, { hours = 1, error = "no answer" as string | null } = {}) => (sql: Sql) =>
      sql`insert into etl.exports (run_id, target, end_no, state, error, updated_at) values (${run_id}, 'mlflow', 1,
        ${state}, ${error}, now() - ${hours} * interval '1 hour')`;
  const failing = /mlflow.*no answer/;
  assert.match((await health.after(exported("failed"))).warnings, failing);
  assert.match((await health.after(exported("pending"))).warnings, failing, "it is tried again");
  assert.match((await health.after(exported("failed", { hours: 23 }))).warnings, failing);
  assert.equal((await health.after(exported("failed", { hours: 25 }))).warnings, "");
  assert.equal((await health.after(exported("pending", { error: null }))).warnings, "");
  assert.equal((await health.after(exported("done"))).warnings, "");

  const sent = (channel: string, days: number, state = "sent") => (sql: Sql) =>
    sql`with there as (update etl.reaction_settings set channels = '{slack}')
      insert into etl.notifications (notification_id, channel, type, payload, state, sent_at)
      values (gen_random_uuid(), ${channel}, 'raised', '{}', ${state}, now() - ${days} * interval '1 day')`;
  const vanished = /no server sends alerts to email any more/;
  assert.match((await health.after(sent("email", 6))).warnings, vanished);
  assert.equal((await health.after(sent("email", 8))).warnings, "");
  assert.equal((await health.after(sent("slack", 6))).warnings, "");
  assert.equal((await health.after(sent("email", 6, "failed"))).warnings, "");

  const maintained = (...states: string[]) => async (sql: Sql) => {
    for (const [i, state] of states.entries()) {
      await sql`insert into etl.maintenance_runs (maintenance_id, conf, params, origins, state, error, ended_at)
        values (${`00000000-0000-0000-0000-00000000000${i}`}, '{}', '{}', '{}', ${state}, 'no room', now())`;
    }
  };
  assert.match(
    (await health.after(maintained("succeeded", "failed"))).warnings,
    /the last maintenance failed: no room/,
  );
  assert.equal((await health.after(maintained("failed", "succeeded"))).warnings, "");

  const state = (value: string) => (sql: Sql) =>
    sql`update etl.runs set state = ${value}, ended_at = now() where run_id = ${run_id}`;
  assert.equal((await health.after(state("failed"))).warnings, `the last run failed: ${run_id}`);
  assert.equal((await health.after(state("cancelled"))).warnings, "");
  await engine.submit({ run_label: "a later one" });
  assert.equal((await health.after(state("failed"))).warnings, "", "only of the last run");

  const alert = (resolved: boolean) => (sql: Sql) =>
    sql`insert into etl.alert_states (fingerprint, kind, subject, opened_at, last_at, resolved_at)
      values ('a', 'run_failed', 'a', now(), now(), ${resolved ? sql`now()` : null})`;
  assert.match((await health.after(alert(false))).warnings, /1 alert/);
  assert.equal((await health.after(alert(true))).warnings, "");

  const channel = (since: boolean) => (sql: Sql) =>
    sql`insert into etl.notification_channels (channel, failing_since, failures, last_error)
      values ('slack', ${since ? sql`now()` : null}, 3, 'refused')`;
  assert.match((await health.after(channel(true))).warnings, /slack.*3.*refused/);
  assert.equal((await health.after(channel(false))).warnings, "");
});

Deno.test("health: its facts are those of the rows that are there", async (t) => {
  await using engine = await startEngine(t);
  await using health = asking(engine);
  const { run_id } = await engine.submit({});
  const { facts } = await health.after(async (sql) => {
    await sql`update etl.runs set admitted_at = null, requested_at = clock_timestamp() - interval '90 seconds'`;
    await sql`update etl.view_refresh set requested = 5, done = 4, refreshed_at = '2026-01-01T00:00:00Z', duration_ms = 12.34`;
    await sql`insert into etl.exports (run_id, target, end_no, state) values
      (${run_id}, 'mlflow', 1, 'pending'), (${run_id}, 'openlineage', 1, 'done')`;
    await sql`insert into etl.notifications (notification_id, channel, type, payload, state) values
      (gen_random_uuid(), 'slack', 'raised', '{}', 'pending'), (gen_random_uuid(), 'slack', 'raised', '{}', 'sent')`;
    await sql`insert into etl.deliveries (consumer, state) values ('mine', 'pending'), ('mine', 'done')`;
  });
  const { last_run, queue, reactions, views } = facts as Record<string, Record<string, number>>;
  assert.equal(last_run!.run_id, run_id as unknown);
  assert.ok(last_run!.age_seconds! >= 90 && last_run!.age_seconds! < 120);
  assert.deepEqual({ ...queue, oldest_waiting_seconds: queue!.oldest_waiting_seconds! >= 90 }, {
    waiting: 1,
    running: 0,
    oldest_waiting_seconds: true,
    unstarted_seconds: 0,
  });
  const { exports, notifications, deliveries, run_ends } = reactions!;
  assert.deepEqual({ exports, notifications, deliveries, run_ends }, {
    exports: 1,
    notifications: 1,
    deliveries: 1,
    run_ends: 0,
  });
  assert.deepEqual(views, {
    refreshed_at: "2026-01-01T00:00:00.000Z",
    refresh_ms: 12.3,
    waiting: true,
  } as unknown);
});

Deno.test("health in the original's names: each table, both views, and the last run's age", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const before = await originalChecks(sql) as Record<string, { status: string; exists?: boolean }>;
  assert.deepEqual(before.latest_run, {
    status: "warning",
    warning: "no run has reached finalize yet",
  });
  const there = { status: "ok", exists: true };
  assert.deepEqual(before.tables, {
    etl_improved_events: there,
    etl_improved_audit: there,
    etl_improved_metrics: there,
    etl_improved_alerts: there,
  });
  assert.equal(before.materialized_views!.status, "ok");
  await sql`drop materialized view public.mv_etl_alerts_daily cascade`;
  await sql`drop view if exists public.v_etl_latest_metrics cascade`;
  const after = await originalChecks(sql) as Record<string, { status: string; exists?: boolean }>;
  assert.deepEqual(
    [after.materialized_views!.status, after.materialized_views!.exists],
    ["error", false],
    "one of the two is missing",
  );
  assert.equal(after.latest_run!.status, "warning");
  await sql`drop table public.etl_improved_alerts cascade`;
  const gone = await originalChecks(sql) as unknown as { tables: Record<string, unknown> };
  assert.deepEqual(gone.tables.etl_improved_alerts, { status: "error", exists: false });
  const { problems } = await databaseHealth(sql, { dsn: engine.db.dsn });
  assert.match(
    problems.join(),
    /^missing: public\.etl_improved_alerts, .*; run `deno task setup-db`$/,
  );
});
