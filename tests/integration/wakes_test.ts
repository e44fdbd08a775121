import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { client } from "../helpers/sql_problems.ts";
import { waitFor } from "../helpers/wait_for.ts";

Deno.test("whatever makes work wakes the servers for it as it commits, so that none waits for a look around", async (t) => {
  await using db = await testDatabase(t);
  await using sql = await client(db.dsn);
  await using listener = await client(db.dsn);
  const told: string[] = [];
  listener.on("notification", ({ payload }) => told.push(payload!));
  await listener.query("listen etl_work");
  const value = async (expression: string): Promise<string> =>
    (await sql.query({ text: `select ${expression}`, rowMode: "array" })).rows[0]?.[0];
  /** What a call wakes servers for, and what it answers. */
  const wakes = async (call: string): Promise<[string[], string]> => {
    told.length = 0;
    const answer = await value(call);
    // what was told before a statement is there when that has ended
    await listener.query("select 1");
    return [[...new Set(told)].sort(), answer];
  };
  const wakesFor = async (call: string, ...kinds: string[]) => {
    const [woken, answer] = await wakes(call);
    assert.deepEqual(woken, kinds, call);
    return answer;
  };
  const request = (label: string) =>
    `etl.request_run('{"batch_size": 1, "overlap": "queue", "run_label": "${label}"}')`;

  const [waits, fails, ends, shared] = [
    await wakesFor(request("waits"), "requests"),
    await wakesFor(request("fails"), "requests"),
    await wakesFor(request("ends"), "requests"),
    await wakesFor(request("shared"), "requests"),
  ];
  // who admits after its commit needs nobody else for it
  await wakesFor(`etl.submit_run('{"dry_run": true}', '{"admits": true}')`);
  while (await value("etl.accept_run()"));
  await wakesFor(`etl.cancel_run('${waits}')`, "requests");
  await wakesFor("etl.apply_cancels()", "requests", "run_ends");
  await wakesFor("etl.admit_runs()", "runs");
  await wakesFor("etl.admit_runs()");
  const started = (run: string) =>
    sql.query(
      "update etl.runs set state = 'running', attempt = 1, server_id = 's', started_at = now() where run_id = $1",
      [run],
    );
  for (const run of [fails, ends, shared]) await started(run);
  await wakesFor(`etl.give_back_run('${fails}', 1)`, "runs");
  await started(fails);
  const outage = `'{"type": "/api/problems/database-unavailable", "detail": "x"}'`;
  await wakesFor(`etl.give_back_run('${fails}', 1, ${outage})`, "runs");
  await started(fails);
  const failed = `'{"state": "failed", "error": {"detail": "x"}}'`;
  await wakesFor(
    `(select state from etl.finish_run('${fails}', 1, ${failed}))`,
    "requests",
    "run_ends",
  );
  const admitting = `'{"state": "failed", "error": {"detail": "x"}, "admits": true}'`;
  await wakesFor(`(select state from etl.finish_run('${ends}', 1, ${admitting}))`, "run_ends");
  await wakesFor(`etl.retry_run('${ends}')`, "requests");

  const [ours, theirs] = [crypto.randomUUID(), crypto.randomUUID()];
  await value(`etl.plan_chunks('${shared}', 1, 'null', '[{"from": 0}, {"from": 1}]')`);
  await wakesFor(`etl.share_run('${shared}', 1, '${ours}', '{}')`, "help");
  await value(`etl.join_run('${shared}', 1, '${theirs}', 't')`);
  const claimed = await value(
    `(select chunk_no from etl.claim_chunk('${shared}', 1, '${theirs}', 't', '{}'))`,
  );
  await wakesFor(`etl.release_chunk('${shared}', ${claimed}, '${theirs}', false)`, "help");
  await wakesFor(`etl.release_helpers('${shared}', 1)`);
  await value(`(select chunk_no from etl.claim_chunk('${shared}', 1, '${theirs}', 't', '{}'))`);
  await sql.query("update etl.run_helpers set seen_at = now() - interval '7 seconds'");
  // of a PostgreSQL that has just started nobody could tell for six seconds
  const woken = await waitFor(async () => {
    const [kinds, gone] = await wakes(`etl.release_helpers('${shared}', 1)`);
    return Number(gone) === 1 && kinds;
  });
  assert.deepEqual(woken, ["help"]);
  await value(`etl.join_run('${shared}', 1, '${theirs}', 't')`);
  await wakesFor(`etl.leave_run('${theirs}')`, "help");
  await sql.query("update etl.shared_chunks set state = 'prepared', decision = '{}'");
  await wakesFor(`etl.advance_shared_run('${shared}', 1, 'resolve')`, "help");

  await wakesFor("etl.request_view_refresh()", "refresh");
  await wakesFor(`etl.request_export('${ends}', 'mlflow', 1)`, "export mlflow");
  await wakesFor(`etl.request_export('${ends}', 'mlflow', 1)`);
  await wakesFor("etl.request_maintenance()", "maintenance");
  await value(
    `etl.register_consumers('[{"name": "c", "datasets": ["a.b"], "emits": [], "mode": "each", "skip_unchanged": true}]')`,
  );
  await wakesFor(`etl.request_delivery('c', '{}')`, "consumer c");
  const event = (inserted: number) =>
    `etl.emit('a.b', jsonb_build_object('inserted', ${inserted}, 'updated', 0))`;
  await sql.query(`create function etl.emit(dataset text, counts jsonb) returns void language sql as
    $$ insert into etl.dataset_events (dataset, emitted_by, counts) values (dataset, 'x', counts) $$`);
  await wakesFor(event(1), "consumer c");
  await wakesFor(event(0));
  await sql.query("update etl.deliveries set state = 'failed', ended_at = now()");
  await wakesFor("etl.redeliver('c')", "consumer c");
  await wakesFor("etl.redeliver('c')");
  await sql.query("update etl.reaction_settings set channels = '{slack,webhook}'");
  await wakesFor(
    `etl.raise_alert('queue_stalled', 'x', 'It stands still.', '{}')`,
    "channel slack",
    "channel webhook",
  );
  await wakesFor(`etl.tell_maintenance('succeeded', null, '{}')`, "channel slack");
});
