import assert from "node:assert/strict";
import { Database } from "../../store/database.ts";
import { consumeRunEnd, publishReactionSettings, purgeReactions } from "../../store/reactions.ts";
import { cancelRun, purgeRuns } from "../../store/runs.ts";
import { createLog } from "../../telemetry/log.ts";
import { startHousekeeping, startSweeper } from "../../timers/sweeper.ts";
import { heldTimers } from "../helpers/clock.ts";
import { startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";

Deno.test("the sweeper looks at once for what no event tells of", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { sql } = engine;
  await sql`insert into etl.consumers (consumer, datasets, mode, active) values ('slow', '{public.t}', 'each', true)`;
  await sql`insert into etl.deliveries (consumer, created_at) values ('slow', now() - interval '1 hour')`;
  await sql`insert into etl.alert_states (fingerprint, kind, subject, opened_at, last_at, resolved_at)
    select 'old', 'run_failed', 's', at, at, at from (select now() - interval '31 days') as old (at)`;
  await sql`update etl.pools set slots = 0`;
  const { run_id } = await engine.submit({ sla_seconds: 60 });
  await sql`update etl.deadlines set deadline_at = now() - interval '1 second'`;
  const lines: string[] = [];
  const log = createLog({ level: "warn", format: "json", write: (line) => lines.push(line) });
  const missed: unknown[] = [];
  let ticks = 0;
  const end = startSweeper({
    sql,
    log,
    onMissed: ({ run_id, scope }) => missed.push([run_id, scope]),
    onTick: () => ticks++,
  });
  await waitFor(() => missed.length > 0 && ticks > 0);
  assert.deepEqual(missed, [[run_id, "run"]]);
  const [said] = lines.map((line) => JSON.parse(line));
  assert.deepEqual([said.run_id, said.scope], [run_id, "run"]);
  await waitFor(async () =>
    (await sql`select from etl.alert_states where fingerprint = 'consumer_late:slow'`).length === 1
  );
  await waitFor(async () =>
    (await sql`select from etl.alert_states where fingerprint = 'old'`).length === 0
  );
  await end();
});

Deno.test("a server deletes each ten minutes what is older than the retention, each hour old slots, and nothing once it stops", async (t) => {
  await using db = await testDatabase(t);
  const database = new Database(db.dsn, { applicationName: "etl test", max: 2 });
  const { sql } = database;
  using runs = heldTimers(600_000);
  using slots = heldTimers(3_600_000);
  const fill = async () => {
    await sql`insert into etl.maintenance_runs (maintenance_id, trigger, requested_by, conf, params, origins, state, ended_at)
      select gen_random_uuid(), 'sql', days::text, '{}', '{}', '{}', 'succeeded', now() - days * interval '1 day'
      from unnest(array[9, 11]) as days`;
    await sql`insert into etl.slots (schedule, slot, state, decided_at, note)
      select 's', at, 'missed', at, 'no server' from unnest(array[399, 401]) as d (days), lateral (select now() - days * interval '1 day') as a (at)`;
  };
  const left = async () => {
    const [row] = await sql<[{ days: string[]; slots: number }]>`select
      (select array_agg(requested_by order by requested_by) from etl.maintenance_runs) as days,
      (select count(*)::int from etl.slots) as slots`;
    return [row.days, row.slots];
  };
  try {
    await sql`insert into etl.schedules (name, cron, active) values ('s', '@daily', false)`;
    await fill();
    const log = createLog({ level: "error", format: "text", write: () => {} });
    const end = startHousekeeping({ sql, log, retentionDays: 10 });
    assert.deepEqual(await left(), [["11", "9"], 2]);
    runs.end();
    await waitFor(async () => (await left())[0]!.toString() === "9");
    assert.equal((await left())[1], 2);
    slots.end();
    await waitFor(async () => (await left())[1] === 1);
    await waitFor(() => runs.started === 2 && slots.started === 2);
    await sql`delete from etl.maintenance_runs`;
    await sql`delete from etl.slots`;
    await fill();
    await end();
    runs.end();
    slots.end();
    assert.deepEqual(await left(), [["11", "9"], 2]);
  } finally {
    await database.close({ timeoutSeconds: 1 });
  }
});

Deno.test("what belongs to runs is kept for the retention, request bodies for a week or as long as a run needs them", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const source = (name: string) => ({
    type: "inline",
    name,
    key: "id",
    // the second has no key
    records: [{ id: name }, { from: name }],
  });
  const load = (run_label: string) =>
    engine.runToEnd({
      run_label,
      source: source(run_label),
      chunk_size: 1,
      min_acceptance_ratio: 0,
    });
  const [old, young] = [await load("old"), await load("young")];
  await sql`update etl.pools set slots = 0`;
  const idle = await engine.submit({ batch_size: 1, run_label: "idle" });
  await engine.post(`/api/etl/runs/${idle.run_id}/cancel`);
  await engine.submit({ run_label: "waiting", source: source("waiting") });
  await engine.submit({ batch_size: 1, run_label: "keyed" }, { idempotency_key: "gone" });
  await engine.submit({ batch_size: 1, run_label: "keyed" }, { idempotency_key: "kept" });
  await sql`update etl.idempotency_keys set expires_at = now() where key = 'gone'`;
  await sql`insert into etl.maintenance_runs (maintenance_id, trigger, requested_by, conf, params, origins, state, ended_at)
    select gen_random_uuid(), 'sql', days::text, '{}', '{}', '{}', 'succeeded', now() - days * interval '1 day'
    from unnest(array[89, 91]) as days`;
  for (const [run_id, days] of [[old.run_id, 91], [young.run_id, 89], [idle.run_id, 89]] as const) {
    await sql`update etl.runs set ended_at = now() - ${days} * interval '1 day' where run_id = ${run_id}`;
    await sql`update etl.dataset_events set created_at = now() - ${days} * interval '1 day' where run_id = ${run_id}`;
  }
  const uploads = async () =>
    (await sql<{ of: string }[]>`select distinct run_label as of from etl.uploads
      join etl.runs on params #>> '{source,upload_id}' = upload_id::text order by 1`)
      .map((row) => row.of);
  await sql`update etl.uploads set created_at = now() - interval '6 days'`;
  const left = async () => {
    const [row] = await sql<Record<string, string[]>[]>`select
      (select array_agg(run_label order by run_label) from etl.runs where ended_at is not null) as runs,
      (select array_agg(distinct run_label) from etl.chunks join etl.runs using (run_id)) as chunks,
      (select array_agg(run_label order by run_label) from etl.quarantine join etl.runs using (run_id)) as quarantine,
      (select array_agg(extract(day from now() - created_at)::text) from etl.dataset_events) as events,
      (select array_agg(requested_by) from etl.maintenance_runs) as maintenances,
      (select array_agg(key) from etl.idempotency_keys) as keys`;
    return { ...row };
  };
  const both = ["old", "young"];
  const all = {
    runs: ["idle", ...both],
    chunks: both,
    quarantine: both,
    events: ["91", "89"],
    maintenances: ["89", "91"],
    keys: ["kept"],
  };
  await purgeRuns(sql, { retentionDays: -1 });
  assert.deepEqual(await left(), all, "-1 keeps for ever what is not out of date by itself");
  assert.deepEqual(await uploads(), ["old", "waiting", "young"]);
  await sql`update etl.uploads set created_at = now() - interval '8 days'`;
  // the week of a body begins anew when it is given again
  const again = await engine.submit({ run_label: "young again", source: source("young") });
  await engine.post(`/api/etl/runs/${again.run_id}/cancel`);
  await purgeRuns(sql, { retentionDays: -1 });
  assert.deepEqual(await uploads(), ["waiting", "young", "young again"]);

  // a run goes last, as deleting all that it has at once could hold up others
  const [first] = await sql`select etl.purge(90, 1) as deleted`;
  assert.deepEqual([first!.deleted.chunks, first!.deleted.runs], [1, 0]);
  const deleted = await purgeRuns(sql, { retentionDays: 90 });
  assert.deepEqual([deleted.chunks, deleted.runs], [1, 1]);
  const kept = ["young"];
  assert.deepEqual(await left(), {
    runs: ["idle", ...kept, "young again"],
    chunks: kept,
    quarantine: kept,
    events: ["89"],
    maintenances: ["89"],
    keys: ["kept"],
  });
});

Deno.test("what was told and delivered is kept for 30 days, what waits and incidents that go on until they end", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const days = (state: string, many: number) => `${state} ${many}`;
  for (const [index, many] of [29, 31].entries()) {
    for (const state of ["pending", "sent", "failed"]) {
      await sql`insert into etl.notifications (notification_id, channel, type, payload, state, created_at)
        values (gen_random_uuid(), ${
        days(state, many)
      }, 'raised', '{}', ${state}, now() - ${many} * interval '1 day')`;
    }
    for (const state of ["pending", "done", "failed", "skipped"]) {
      const ended = state === "pending" ? null : many;
      await sql`insert into etl.deliveries (consumer, state, created_at, ended_at) values (${
        days(state, many)
      }, ${state}, now() - ${many} * interval '1 day', now() - ${ended}::int * interval '1 day')`;
    }
    for (const resolved of [null, many]) {
      await sql`insert into etl.alert_states (fingerprint, kind, subject, opened_at, last_at, resolved_at) values (${
        days(resolved === null ? "open" : "over", many)
      }, 'k', ${`${index}`}, now() - interval '40 days', now() - interval '40 days', now() - ${resolved}::int * interval '1 day')`;
    }
  }
  await purgeReactions(sql);
  const [left] =
    await sql`select (select array_agg(channel order by channel) from etl.notifications) as told,
    (select array_agg(consumer order by consumer) from etl.deliveries) as delivered,
    (select array_agg(fingerprint order by fingerprint) from etl.alert_states) as incidents`;
  assert.deepEqual({ ...left }, {
    told: ["failed 29", "pending 29", "pending 31", "sent 29"],
    delivered: ["done 29", "failed 29", "pending 29", "pending 31", "skipped 29"],
    incidents: ["open 29", "open 31", "over 29"],
  });
});

Deno.test("a server's settings of reactions are stored whole, and audited where they differ from those before", async (t) => {
  await using db = await testDatabase(t);
  const database = new Database(db.dsn, { applicationName: "etl test", max: 1 });
  const { sql } = database;
  try {
    const settings = {
      channels: ["slack"],
      openlineage: true,
      suppress_seconds: 61,
      maintenance_slack: false,
      trend_window: 62,
      ratio_drop: 0.63,
      volume_drop: 0.64,
      stale_after_seconds: 65,
      log_lines: 66,
    };
    const audits = async () =>
      (await sql`select from public.etl_improved_audit
        where event = 'reaction_settings_put' and actor = 'environment'`).length;
    await publishReactionSettings(sql, settings);
    await publishReactionSettings(sql, settings);
    assert.equal(await audits(), 1);
    const [row] = await sql`select * from etl.reaction_settings`;
    const stored = Object.keys(settings).map((name) => [name, row![name]]);
    assert.deepEqual(Object.fromEntries(stored), settings);
    await publishReactionSettings(sql, { ...settings, stale_after_seconds: null });
    assert.equal(await audits(), 2);
  } finally {
    await database.close({ timeoutSeconds: 1 });
  }
});

Deno.test("of the ends of runs the oldest is judged, and whether more of them wait is told", async (t) => {
  await using db = await testDatabase(t);
  const database = new Database(db.dsn, { applicationName: "etl test", max: 1 });
  const { sql } = database;
  try {
    const ids: string[] = [];
    for (let n = 0; n < 3; n++) {
      const [run] = await sql<[{ id: string }]>`select etl.request_run('{"batch_size": 1}') as id`;
      await cancelRun(sql, run.id, "test");
      ids.push(run.id);
    }
    for (const [i, more] of [true, true, false].entries()) {
      const told = (await consumeRunEnd(sql))!;
      const runId = "run" in told.ended ? told.ended.run.run_id : told.ended.run_id;
      assert.deepEqual([runId, told.more], [ids[i], more]);
    }
    assert.equal(await consumeRunEnd(sql), null);
  } finally {
    await database.close({ timeoutSeconds: 1 });
  }
});
