import assert from "node:assert/strict";
import { pgbouncerIsInstalled, startBouncer } from "../helpers/pgbouncer.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { holdRun } from "./holds.ts";
import { nothingIsLeft, undisturbed } from "./invariants.ts";
import { endUndisturbed } from "./matrix.ts";
import { World } from "./world.ts";

Deno.test({
  name: "behind PgBouncer in transaction mode everything works by polling, and health says so",
  ignore: !await pgbouncerIsInstalled(),
  async fn(t) {
    await using db = await testDatabase(t);
    await using bouncer = await startBouncer(db.dsn);
    await using world = await World.create({
      dsn: db.dsn,
      serverDsn: bouncer.dsn,
      env: { ETL_LISTEN: "false", ETL_PREPARED_STATEMENTS: "false" },
    });
    const first = await world.start({ name: "a" });
    const second = await world.start({ name: "b" });
    const health = await (await fetch(`${first.address}/api/etl/health`)).json();
    assert.equal(health.server.listening, false);
    assert.match(health.dispatch, /polling/);

    const expected = await undisturbed(world, first);
    const [row] = await world.query<{ id: string }>(
      `select etl.request_run('{"batch_size": 1, "table_name": "f_polled"}') as id`,
    );
    await world.ended(row!.id);
    // two servers share runs, a cancel arrives, a terminated backend does no harm
    const ids = await Promise.all(
      Array.from(
        { length: 12 },
        (_, i) =>
          world.request(first, { run_label: `r${i}`, batch_size: 10, table_name: "f_polled" }),
      ),
    );
    for (const id of ids) await world.ended(id);
    const cancelled = await holdRun(world, first, "transform");
    const { status } = await world.post(first, `/api/etl/runs/${cancelled.runId}/cancel`);
    assert.equal(status, 202);
    await world.ended(cancelled.runId, ["cancelled"]);
    await cancelled.release();
    const held = await holdRun(world, first, "publish");
    await world.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name <> 'fault test'`,
    );
    await held.release();
    await endUndisturbed(world, [held], { expected, servers: [first, second] });
    await nothingIsLeft(world, { servers: [first, second] });
  },
});
