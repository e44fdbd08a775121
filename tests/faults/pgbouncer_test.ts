import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { holdRun } from "./holds.ts";
import { nothingIsLeft, undisturbed } from "./invariants.ts";
import { endUndisturbed } from "./matrix.ts";
import { World } from "./world.ts";

const PROGRAM = "/usr/sbin/pgbouncer";

Deno.test({
  name: "behind PgBouncer in transaction mode everything works by polling, and health says so",
  ignore: !await exists(PROGRAM),
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

interface Bouncer extends AsyncDisposable {
  dsn: string;
}

/** A pgbouncer in front of the database's server, run by the account that may not be root. */
async function startBouncer(dsn: string): Promise<Bouncer> {
  const dir = await Deno.makeTempDir({ prefix: "etl_bouncer_" });
  const target = new URL(dsn);
  const port = freePort();
  await Deno.writeTextFile(
    `${dir}/pgbouncer.ini`,
    `[databases]
* = host=${target.hostname} port=${target.port} user=${target.username} password=${
      decodeURIComponent(target.password)
    }
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 40
max_client_conn = 500
server_reset_query = DISCARD ALL
ignore_startup_parameters = extra_float_digits
`,
  );
  const ids = Deno.uid() === 0 ? await idsOf("postgres") : {};
  await Deno.chmod(dir, 0o755);
  const child = new Deno.Command(PROGRAM, {
    // the user that it runs as may not enter where the tests are
    cwd: "/",
    args: [`${dir}/pgbouncer.ini`],
    ...ids,
    clearEnv: true,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  target.port = String(port);
  const bouncer = {
    dsn: target.href,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
      await Deno.remove(dir, { recursive: true });
    },
  };
  try {
    await waitFor(async () => {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return true;
    }, { what: "pgbouncer to listen" });
    return bouncer;
  } catch (error) {
    await bouncer[Symbol.asyncDispose]().catch(() => {});
    throw error;
  }
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

async function idsOf(user: string): Promise<{ uid: number; gid: number }> {
  const lines = (await Deno.readTextFile("/etc/passwd")).split("\n");
  const [, , uid, gid] = lines.find((line) => line.startsWith(`${user}:`))!.split(":");
  return { uid: Number(uid), gid: Number(gid) };
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
