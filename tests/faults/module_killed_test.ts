import assert from "node:assert/strict";
import { testDatabase } from "../helpers/postgres.ts";
import { World } from "./world.ts";

const DEFINE = new URL("../../pipeline/sources/modules/define.ts", import.meta.url).pathname;

/** Ten parts of 500 records, each asked for by a request of its own. */
const MODULE = `import { defineSource, z } from ${JSON.stringify(DEFINE)};
export default defineSource({
  config: z.object({ url: z.string() }),
  hosts: ({ url }) => [new URL(url).host],
  cursor: "at",
  plan: () => Array.from({ length: 10 }, (_, part) => part),
  async *read(part, { config, fetchJson }) {
    const { data } = await fetchJson(config.url + "/" + part);
    yield data;
  },
});`;

const PARTS = 10;
const RECORDS = 500;

Deno.test("a server killed while a source module reads: another reads what was not done, and the typed table is the same", async (t) => {
  const asked: number[] = [];
  const held = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  await using api = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    async (request) => {
      const part = Number(new URL(request.url).pathname.slice(1));
      asked.push(part);
      // answered badly now and then: each first request of an odd part
      if (part % 2 === 1 && asked.filter((each) => each === part).length === 1) {
        return new Response("slowly", {
          status: part % 4 === 1 ? 429 : 500,
          headers: { "retry-after": "0" },
        });
      }
      // the first time it is asked for the columns' types
      const again = asked.filter((each) => each === part).length > 1;
      if (again && (part === 6 || part === 8)) {
        held.resolve();
        await gate.promise;
      }
      return Response.json(Array.from({ length: RECORDS }, (_, n) => ({
        id: part * RECORDS + n,
        // every tenth is another version of a record of the part before
        ...(n % 10 === 0 && part > 0 ? { id: (part - 1) * RECORDS + n + 1 } : {}),
        at: new Date(Date.UTC(2026, 0, 1, part, 0, n)).toISOString(),
        name: `é ${n}`,
      })));
    },
  );
  const host = `127.0.0.1:${api.addr.port}`;
  await using db = await testDatabase(t);
  const sources = await Deno.makeTempDir({ prefix: "etl_sources_" });
  await Deno.writeTextFile(`${sources}/parts.ts`, MODULE);
  await using world = await World.create({
    dsn: db.dsn,
    env: { ETL_SOURCES_DIR: sources, ETL_HTTP_PRIVATE_HOSTS: host },
  });
  const conf = {
    layout: "typed",
    table_name: "parts",
    source: {
      type: "module",
      name: "parts",
      key: "id",
      version: "at",
      config: { url: `http://${host}` },
    },
  };
  const first = await world.start({ name: "a" });
  const response = await fetch(`${first.address}/api/etl/run`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(conf),
  });
  const asked_for = await response.json();
  assert.equal(response.status, 202, JSON.stringify(asked_for));
  const { run_id } = asked_for;
  await held.promise;
  first.kill("SIGKILL");
  await first.ended;
  await world.start({ name: "b" });
  gate.resolve();
  const run = await world.ended(run_id, ["succeeded"]);
  assert.ok(run.attempt >= 2, `${run.attempt} attempts`);
  // 500 of the first part, of each later one 450 new ones; the later version of a key has won
  const rows = await world.query<{ id: string; at: Date; name: string }>(
    "select id::text, at, name from public.parts as p order by p.id",
  );
  const expected = new Map<number, { at: number; name: string }>();
  for (let part = 0; part < PARTS; part++) {
    for (let n = 0; n < RECORDS; n++) {
      const id = n % 10 === 0 && part > 0 ? (part - 1) * RECORDS + n + 1 : part * RECORDS + n;
      const at = Date.UTC(2026, 0, 1, part, 0, n);
      if ((expected.get(id)?.at ?? 0) < at) expected.set(id, { at, name: `é ${n}` });
    }
  }
  assert.deepEqual(
    rows.map(({ id, at, name }) => [Number(id), at.getTime(), name]),
    [...expected].sort(([a], [b]) => a - b).map(([id, { at, name }]) => [id, at, name]),
  );
  const [stored] = await world.query<{ written: number; events: number; at: string }>(
    `select (select count(distinct _etl_run_id)::int from public.parts) as written,
      (select count(*)::int from etl.dataset_events where run_id = '${run_id}') as events,
      (select position from etl.cursors where source_name = 'parts') as at`,
  );
  assert.equal(stored!.written, 1);
  assert.equal(stored!.events, 1);
  await Deno.remove(sources, { recursive: true });
});
