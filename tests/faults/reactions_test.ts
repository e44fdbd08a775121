import assert from "node:assert/strict";
import pg from "pg";
import { startPeer } from "../helpers/peer.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { startServer, type TestServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

const post = (server: TestServer, body: object) =>
  fetch(`${server.address}/api/etl/run?wait=true`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  }).then((response) => response.json());

async function connect(dsn: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: dsn });
  client.on("error", () => {});
  await client.connect();
  return client;
}

const FAILING = { source: { type: "file", path: "missing.csv", key: "id" } };

Deno.test("killed between alert and refresh, etl_consumer raises no second alert and still refreshes", async (t) => {
  await using db = await testDatabase(t);
  const client = await connect(db.dsn);
  const blocker = await connect(db.dsn);
  try {
    // the refresh waits for this lock
    await blocker.query("select pg_advisory_lock(hashtextextended('etl view refresh', 0))");
    const alerts = async () =>
      Number((await client.query("select count(*) from public.etl_improved_alerts")).rows[0].count);
    {
      await using first = await startServer({ dsn: db.dsn });
      await post(first, { batch_size: 5, run_label: "good" });
      await post(first, FAILING);
      await waitFor(async () => await alerts() === 1, { timeoutMs: 30_000 });
      await waitFor(async () =>
        (await client.query(
          "select from pg_stat_activity where query like '%refresh_views_if_asked%' and wait_event_type = 'Lock' and pid <> pg_backend_pid()",
        )).rowCount! > 0
      );
      first.kill("SIGKILL");
      await first.ended;
    }
    await blocker.query("select pg_advisory_unlock_all()");
    await client.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where query like '%refresh_views_if_asked%' and pid <> pg_backend_pid()",
    );
    const done = async () => {
      const { rows: [row] } = await client.query("select requested, done from etl.view_refresh");
      return Number(row.requested) > 0 && row.requested === row.done;
    };
    await using _second = await startServer({ dsn: db.dsn });
    await waitFor(done, { timeoutMs: 60_000, what: "the refresh by the second server" });
    const { rows } = await client.query("select runs::int from public.mv_etl_metrics_daily");
    assert.deepEqual(rows, [{ runs: 1 }]);
    assert.equal(await alerts(), 1);
  } finally {
    await blocker.end();
    await client.end();
  }
});

Deno.test("killed while a message is on its way, the alert is sent again under its id", async (t) => {
  await using db = await testDatabase(t);
  await using webhook = startPeer(() => "hang");
  const env = { ETL_ALERT_WEBHOOK: webhook.address };
  {
    await using first = await startServer({ dsn: db.dsn, env });
    await post(first, FAILING);
    await waitFor(() => webhook.requests.length === 1, { timeoutMs: 30_000 });
    first.kill("SIGKILL");
    await first.ended;
  }
  webhook.answer = () => new Response("ok");
  await using _second = await startServer({ dsn: db.dsn, env });
  await waitFor(() => webhook.requests.length === 2, { timeoutMs: 60_000 });
  const [lost, again] = webhook.requests.map((request) => JSON.parse(request.body));
  assert.equal(again.id, lost.id);
  const client = await connect(db.dsn);
  try {
    await waitFor(async () =>
      (await client.query("select from etl.notifications where state = 'sent'")).rowCount === 1
    );
  } finally {
    await client.end();
  }
});
