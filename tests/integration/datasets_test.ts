import assert from "node:assert/strict";
import { newestEvent } from "../../store/datasets.ts";
import { startEngine } from "../helpers/engine.ts";
import { withClient } from "../helpers/query.ts";

Deno.test("each dataset is listed with its last event, who reads it, and when it is stale; each consumer with what waits for it", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const listed = async (path: string) => (await (await engine.request(path)).json()).items;
  const none = await engine.post("/api/consumers/none/redeliver");
  assert.match((await none.json()).detail, /There is none yet/);
  const load = (table_name: string) => engine.succeed({ batch_size: 2, table_name });
  const first = await load("a");
  await load("b");
  const last = await load("a");
  await sql`insert into etl.consumers (consumer, datasets, emits, mode, active) values
    ('writer', '{public.b}', '{public.made}', 'each', true),
    ('reader', '{public.b,public.a}', '{}', 'batch', true),
    ('gone', '{public.a,public.unknown}', '{public.never}', 'each', false)`;
  await sql`update etl.reaction_settings set stale_after_seconds = 60`;
  await sql`update etl.datasets set stale_after_seconds = 5 where dataset = 'public.a'`;
  type Listed = {
    dataset: string;
    aliases: string[];
    events: number;
    last_event: { run_id: string } | null;
    consumers: string[];
    stale_after_seconds: number;
  };
  const datasets = (await listed("/api/datasets") as Listed[]).map((each) => [
    each.dataset,
    each.events,
    each.last_event?.run_id ?? null,
    each.consumers,
    each.stale_after_seconds,
  ]);
  const ofB = (await listed("/api/datasets/events?dataset=public.b"))[0];
  assert.equal(ofB.schema_changed, false);
  // a dataset may be named as URIs of datasets name it
  const alias = encodeURIComponent("postgres://etl_improved/b");
  assert.deepEqual(await listed(`/api/datasets/events?dataset=${alias}`), [ofB]);
  const compare = (dataset: string) =>
    engine.post(`/api/datasets/${dataset}/compare`, { table: "public.a" });
  const { dataset, rows } = await (await compare(alias)).json();
  assert.deepEqual([dataset, rows], ["public.b", { dataset: 2, other: 2 }]);
  for (const no of ["public.nowhere", "etl.runs"]) {
    const answer = await compare(no);
    assert.equal(answer.status, 404, `${no} is no dataset`);
    assert.match((await answer.json()).detail, new RegExp(no));
  }
  assert.deepEqual(datasets, [
    ["public.a", 2, last.run_id, ["reader"], 5],
    ["public.b", 1, ofB.run_id, ["reader", "writer"], 60],
    ["public.etl_improved_events", 0, null, [], 60],
    ["public.made", 0, null, [], 60],
  ]);
  const [{ aliases }] = await listed("/api/datasets");
  assert.deepEqual(aliases, ["postgres://etl_improved/a"]);

  // pages hold each event once, newest first
  const seen: string[] = [];
  for (let cursor: string | null = ""; cursor !== null && seen.length < 5;) {
    const page: { items: { run_id: string }[]; next: string | null } = await (await engine.request(
      `/api/datasets/events?dataset=public.a&limit=1${cursor === "" ? "" : `&cursor=${cursor}`}`,
    )).json();
    seen.push(...page.items.map(({ run_id }) => run_id));
    cursor = page.next;
  }
  assert.deepEqual(seen, [last.run_id, first.run_id]);
  const newest = (datasets: string[]) =>
    withClient(engine.db.dsn, (client) => newestEvent(client, datasets));
  assert.equal((await newest(["public.b", "public.a"]))!.run_id, last.run_id);
  assert.equal((await newest(["public.b"]))!.run_id, ofB.run_id);
  assert.equal(await newest(["public.made"]), null);

  await sql`insert into etl.deliveries (consumer, event_no, state, error, ended_at) values
    ('reader', null, 'failed', 'old', '2026-01-01'), ('reader', null, 'pending', null, null),
    ('reader', null, 'failed', 'new', '2026-01-04'), ('reader', null, 'done', null, '2026-01-02'),
    ('reader', null, 'done', null, '2026-01-03'), ('writer', null, 'skipped', null, '2026-01-05')`;
  type Consumer = Record<string, unknown> & { consumer: string };
  const consumers = (await listed("/api/consumers") as Consumer[]).map((each) => [
    each.consumer,
    each.active,
    each.pending,
    each.failed,
    each.last_done_at,
    each.last_error,
  ]);
  assert.deepEqual(consumers, [
    ["gone", false, 0, 0, null, null],
    ["reader", true, 1, 2, "2026-01-03T00:00:00.000Z", "new"],
    ["writer", true, 0, 0, null, null],
  ]);

  // who is not there gets nothing, and is not mistaken for somebody without failures
  const unknown = await engine.post("/api/consumers/none/redeliver");
  assert.equal(unknown.status, 404);
  assert.match((await unknown.json()).detail, /gone, reader, writer/);
  const [{ id }] =
    await sql`select delivery_id::int as id from etl.deliveries where error = 'new'` as unknown as [
      { id: number },
    ];
  const one = await engine.post(`/api/consumers/reader/redeliver?delivery_id=${id}`);
  assert.deepEqual(await one.json(), { redelivered: 1 });
  assert.equal((await (await engine.request(`/api/deliveries/${id}`)).json()).state, "pending");
  const again = await engine.post("/api/consumers/reader/redeliver");
  assert.deepEqual(await again.json(), { redelivered: 1 });
  const lost = await engine.request("/api/deliveries/999999");
  assert.equal(lost.status, 404);
  const retired = await engine.post("/api/etl/downstream", { analysis_type: "gone" });
  assert.equal(retired.status, 422, "a consumer that no server has any more");
});
