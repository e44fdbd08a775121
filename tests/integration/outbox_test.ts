import assert from "node:assert/strict";
import { drainChannel, drainExports } from "../../queue/outbox.ts";
import { Lease } from "../../store/leases.ts";
import { DeliveryError } from "../../telemetry/http_post.ts";
import type { Exporter, Sender } from "../../telemetry/integration.ts";
import { startEngine } from "../helpers/engine.ts";

const busy = (retryAfterMs: number | null = null) =>
  Promise.reject(new DeliveryError("busy", { retryable: true, retryAfterMs }));

Deno.test("exports: pauses double up to ten minutes, sixteen attempts are the last, new ones come first, who lost the lease notes nothing", async (t) => {
  await using engine = await startEngine(t);
  const { sql, deps: { log } } = engine;
  const { run_id } = await engine.submit({ batch_size: 1 });
  await sql`insert into etl.exports (run_id, target, end_no) values (${run_id}, 'mlflow', 1)`;
  const stopping = new AbortController();
  const lease = (await Lease.claim(sql, "export mlflow", { stopping: stopping.signal, log }))!;
  const drain = (exporter: Exporter) =>
    drainExports({ sql, target: "mlflow", exporter, log, lease });
  const tried = async (attempts: number, exporter: Exporter) => {
    await sql`update etl.exports set attempts = ${attempts}, next_attempt_at = '-infinity', state = 'pending'`;
    await drain(exporter);
    const [row] = await sql<{ state: string; attempts: number; pause: number }[]>`
      select state, attempts, ceil(extract(epoch from next_attempt_at - updated_at))::int as pause from etl.exports`;
    return [row!.state, row!.attempts, Math.max(0, row!.pause)];
  };
  assert.deepEqual(await tried(0, () => busy()), ["pending", 1, 1]);
  assert.deepEqual(await tried(3, () => busy()), ["pending", 4, 8]);
  assert.deepEqual(await tried(14, () => busy()), ["pending", 15, 600]);
  assert.deepEqual(await tried(0, () => busy(90_000)), ["pending", 1, 90]);
  assert.deepEqual((await tried(15, () => busy()))[0], "failed");
  assert.deepEqual(await tried(2, () => Promise.resolve({ state: "started" })), ["started", 0, 0]);
  // its end came while its start was told: that is told next
  let calls = 0;
  const ends: Exporter = async () => {
    if (calls++ > 0) return { state: "done" };
    await sql`insert into etl.run_ends (run_id, end_no, ended_at, snapshot) values (${run_id}, 1, now(), '{}')`;
    return { state: "started" };
  };
  assert.deepEqual([(await tried(0, ends))[0], calls], ["done", 2]);

  await sql`update etl.exports set state = 'pending', attempts = 1, updated_at = now() - interval '1 hour'`;
  await sql`insert into etl.exports (run_id, target, end_no) values (${run_id}, 'mlflow', 2)`;
  const order: number[] = [];
  await drain(({ end_no }) => {
    order.push(end_no);
    return Promise.resolve({ state: "done" });
  });
  assert.deepEqual(order, [2, 1], "what failed waits behind what is new");

  await sql`update etl.exports set state = 'pending' where end_no = 1`;
  await sql`update etl.leases set holder = gen_random_uuid()`;
  await drain(() => {
    stopping.abort();
    return Promise.resolve({ state: "done" });
  });
  const [left] = await sql`select state from etl.exports where end_no = 1`;
  assert.equal(left!.state, "pending");
  await lease.release();
});

Deno.test("channels: a failing one rests for five minutes at most, is known by when it began, and gives up what is a day old", async (t) => {
  await using engine = await startEngine(t);
  const { sql, deps: { log } } = engine;
  await sql`update etl.reaction_settings set channels = '{slack}'`;
  for (const subject of ["old", "new"]) {
    await sql`select etl.notify_channels('raised', jsonb_build_object('kind', 'test', 'subject', ${subject}::text))`;
  }
  await sql`update etl.notifications set created_at = now() - case payload ->> 'subject' when 'old' then interval '25 hours'
    else interval '23 hours' end`;
  await sql`insert into etl.notification_channels (channel, failures, failing_since) values ('slack', 20, now() - interval '1 hour')`;
  const stopping = new AbortController();
  const lease = (await Lease.claim(sql, "channel slack", { stopping: stopping.signal, log }))!;
  const drain = async (send: Sender["send"]) => {
    const sender = { batch: 10, intervalMs: 0, send };
    await sql`update etl.notification_channels set next_send_at = '-infinity', blocked_until = '-infinity'`;
    await drainChannel({ sql, channel: "slack", sender, log, lease });
    const told = await sql<
      { state: string }[]
    >`select state from etl.notifications order by created_at`;
    const [channel] = await sql<
      { failures: number; failing: number | null; rests: number | null }[]
    >`
      select failures, extract(epoch from now() - failing_since)::int as failing,
      ceil(extract(epoch from nullif(blocked_until, '-infinity') - clock_timestamp()) / 10)::int * 10 as rests from etl.notification_channels`;
    return { told: told.map(({ state }) => state), ...channel! };
  };
  const first = await drain(() => busy());
  assert.deepEqual([first.told, first.failures, first.rests], [["failed", "pending"], 21, 300]);
  assert.ok(first.failing! >= 3_600, `${first.failing} s`);
  await sql`update etl.notification_channels set failures = 5`;
  assert.equal((await drain(() => busy())).rests, 40);
  const sent = await drain(() => Promise.resolve());
  assert.deepEqual([sent.told, sent.failures, sent.failing], [["failed", "sent"], 0, null]);
  await lease.release();
});
