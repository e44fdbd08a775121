import assert from "node:assert/strict";
import { join } from "node:path";
import { say, verbatim } from "../../vocabulary/messages.ts";
import { Problem } from "../../vocabulary/problem.ts";
import type { RunDetail } from "../../vocabulary/run_schema.ts";
import { beforeTasks } from "../helpers/before_tasks.ts";
import { runCli } from "../helpers/cli.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { startOrdersApi } from "../helpers/orders_api.ts";

const define = new URL("../../pipeline/sources/modules/define.ts", import.meta.url).pathname;
const IMPORTS = `import { defineSource, z } from ${JSON.stringify(define)};\n`;

/** Modules that a user may write, by mistake or on purpose. */
const MODULES = {
  plain: `
    export default defineSource({
      config: z.object({ parts: z.number().int().default(3) }),
      plan: ({ config }) => Array.from({ length: config.parts }, (_, part) => ({ part })),
      async *read({ part }, { log }) {
        log("part " + part);
        for (let n = 0; n < 1500; n++) {
          yield { id: part + "-" + n, n, big: 9007199254740993n, at: new Date(0) };
        }
      },
    });`,
  changes: `
    export default defineSource({
      config: z.object({ records: z.array(z.any()) }),
      cursor: "changed.at",
      async *read(_slice, { config, since }) {
        yield config.records.filter((r) => since === null || r.changed.at > since);
      },
    });`,
  positions: `
    export default defineSource({
      plan: ({ since }) => ({ slices: [since === null ? 0 : Number(since)], position: "7" }),
      *read(from) { for (let n = from; n < 7; n++) yield { id: n }; },
    });`,
  parts: `
    export default defineSource({
      cursor: "at",
      plan: () => [0, 1],
      *read(part) { yield { id: part, at: "2026-01-0" + (part + 1) + "T00:00:00Z" }; },
    });`,
  rubbish: `
    export default defineSource({
      *read() {
        const circle = {}; circle.self = circle;
        yield { id: "good" };
        yield* [null, 5, [[1]], "text", { id: 1, f() {} }, { id: 2, n: NaN }, { id: 3, c: circle },
          { id: 4, bytes: new Uint8Array(2) }, { id: 5, map: new Map() }];
      },
    });`,
  loops: "export default defineSource({ *read() { yield { id: 1 }; for (;;); } });",
  waits: "export default defineSource({ async *read() { await new Promise(() => {}); } });",
  throws:
    "export default defineSource({ *read() { yield { id: 1 }; throw new Error('no luck'); } });",
  prints: `
    export default defineSource({
      *read() { for (let i = 0; i < 1e5; i++) console.log("line", i); yield { id: 1 }; },
    });`,
  once: `
    export default defineSource({ repeatable: false, *read() { yield { id: 1 }; } });`,
  steady: `
    export default defineSource({ steady: true, *read() { yield { id: 1 }; } });`,
  by_config: `
    export default defineSource({
      config: z.object({ whole: z.boolean() }),
      steady: ({ whole }) => whole,
      *read() { yield { id: 1 }; },
    });`,
  no_source: "export const read = 1;",
  reaches: `
    export default defineSource({
      hosts: ["127.0.0.1:1"],
      config: z.object({ url: z.string() }),
      async *read(_slice, { config, fetch: ask }) {
        const tries = [
          () => fetch(config.url),
          () => Deno.connect({ hostname: "127.0.0.1", port: Number(new URL(config.url).port) }),
          () => Deno.readTextFile("/etc/passwd"),
          () => Deno.env.get("KPIS_PG_DSN"),
          () => ask(config.url, { method: "DELETE" }),
          () => ask("file:///etc/passwd"),
          () => ask("orders"),
        ];
        for (const [i, attempt] of tries.entries()) {
          let outcome = "done";
          try { await attempt(); } catch (error) { outcome = error.name + ": " + error.message; }
          yield { id: i, outcome };
        }
        await ask(config.url);
      },
    });`,
};

/** The module of the tutorial. */
const [, TUTORIAL = ""] = /```ts\n([\s\S]*?)```/.exec(
  await Deno.readTextFile(new URL("../../docs/sources.md", import.meta.url)),
) ?? [];

const sources = Object.fromEntries(
  Object.entries(MODULES).map(([name, text]) => [name, IMPORTS + text]),
);

function conf(
  module: keyof typeof MODULES | "rest" | "crm",
  more: Record<string, unknown> = {},
) {
  const { table = module, ...source } = more;
  return {
    source: { type: "module", name: module, key: "id", ...source },
    table_name: `t_${table}`,
  };
}

function detailOf(run: RunDetail): string {
  assert.equal(run.state, "failed", JSON.stringify(run.counts));
  return String(run.error!.detail);
}

Deno.test("a source module of the user's", async (t) => {
  await using api = startOrdersApi();
  await using engine = await startEngine(t, {
    transforms: { double: "export const transform = (r) => ({ ...r, total: r.total * 2 });" },
    sources: {
      ...sources,
      crm: TUTORIAL.replace("../pipeline/sources/modules/define.ts", define),
    },
    env: {
      ETL_HTTP_PRIVATE_HOSTS: api.host,
      ETL_CONNECTION_SHOP: JSON.stringify({
        url: `${api.url}/v1/`,
        headers: { authorization: `Bearer ${api.token}` },
      }),
      ETL_CONNECTION_AUTH: `http://client:${encodeURIComponent("secret of it")}@${api.host}/token`,
      ETL_CONNECTION_STRANGER: `http://client:wrong@${api.host}/token?key=s3cret-of-the-query`,
    },
  });
  const payloads = (name: string) => engine.payloads(`public.t_${name}`);

  await t.step("its slices are read side by side, with every value as it was", async () => {
    const run = await engine.succeed(conf("plain"));
    assert.deepEqual([run.num_chunks, run.counts!.inserted], [3, 4500]);
    const [row] = await engine.sql.unsafe(
      "select payload::text from public.t_plain where event_id = '1-1499'",
    );
    assert.equal(
      row!.payload,
      '{"n": 1499, "at": "1970-01-01T00:00:00.000Z", "id": "1-1499", "big": 9007199254740993}',
    );
    assert.ok(engine.log.some((line) => line.includes("part 2")));
    const again = await engine.succeed(conf("plain"));
    assert.deepEqual([again.counts!.inserted, again.counts!.unchanged], [0, 4500]);
  });

  await t.step("batch_size cuts it, over slices", async () => {
    const run = await engine.succeed({ ...conf("plain", { table: "cut" }), batch_size: 2000 });
    assert.equal(run.counts!.inserted, 2000);
  });

  await t.step("its config is checked, and the error says which field", async () => {
    const run = await engine.runToEnd(conf("plain", { config: { parts: "many" } }));
    assert.match(detailOf(run), /source\.config\.parts/);
  });

  await t.step("the highest value of its cursor is where the next run begins", async () => {
    const record = (id: number, at: string) => ({ id, changed: { at } });
    const load = (records: unknown[], params = {}) =>
      engine.succeed({ ...conf("changes", { config: { records } }), ...params });
    const position = async () =>
      (await engine.sql`select position from etl.cursors where source_name = 'changes'`)[0]
        ?.position;
    await load([record(1, "2026-01-02T00:00:00Z")], { dry_run: true });
    assert.equal(await position(), undefined);
    await load([record(1, "2026-01-02T00:00:00Z"), record(2, "2026-01-01T00:00:00Z")]);
    assert.equal(await position(), "2026-01-02T00:00:00Z");
    const run = await load([record(3, "2026-01-01T12:00:00Z"), record(4, "2026-01-03T00:00:00Z")]);
    assert.equal(run.counts!.records_read, 1);
    assert.equal(await position(), "2026-01-03T00:00:00Z");
    // none that is newer leaves it
    await load([]);
    assert.equal(await position(), "2026-01-03T00:00:00Z");
    // what is no time, and a time in the future, would have the next run begin behind everything
    const odd = await load([record(5, "pending"), record(6, "9999-12-31T00:00:00Z")]);
    assert.equal(await position(), "2026-01-03T00:00:00Z");
    assert.deepEqual(odd.warnings, [
      "1 record has a time in the future in changed.at, such as 9999-12-31T00:00:00Z: it is no position, and every run reads them",
    ]);
    await load([record(8, "2026-01-04T00:00:00Z")]);
    assert.equal(await position(), "2026-01-04T00:00:00Z");
    const all = await load([record(3, "2026-01-01T12:00:00Z")], { full_refresh: true });
    assert.equal(all.counts!.records_read, 1);
  });

  await t.step("or the position that its plan gives", async () => {
    assert.equal((await engine.succeed(conf("positions"))).counts!.records_read, 7);
    assert.equal((await engine.succeed(conf("positions"))).counts!.records_read, 0);
  });

  await t.step(
    "a slice that was loaded moves no position once it has to be read again",
    async () => {
      const positions = () =>
        engine.sql`select position from etl.cursors where source_name = 'parts'`;
      /** Loads the second slice in another attempt, with or without what the first has left on the disk. */
      const inTwoAttempts = async ({ readAgain }: { readAgain: boolean }) => {
        const { run_id } = await engine.submit(conf("parts", { table: `parts_${readAgain}` }));
        let published = 0;
        const workers = beforeTasks(engine.deps.workers, (kind) => {
          if (kind !== "publish" || ++published < 2) return;
          throw new Problem("unavailable", { transient: true, detail: verbatim("away") });
        });
        assert.equal(await engine.execute(run_id, { workers }), "given back");
        const spill = join(engine.deps.settings.spoolDir, run_id);
        if (readAgain) await Deno.remove(spill, { recursive: true });
        const { counts, warnings } = await engine.toEnd(run_id);
        assert.equal(counts!.inserted, 2);
        return [warnings, [...await positions()]];
      };
      assert.deepEqual(await inTwoAttempts({ readAgain: true }), [[say("position-stays", {})], []]);
      assert.deepEqual(await inTwoAttempts({ readAgain: false }), [
        [],
        [{ position: "2026-01-02T00:00:00Z" }],
      ]);
    },
  );

  await t.step("what is no record, or would lose something, goes to the quarantine", async () => {
    const run = await engine.succeed({ ...conf("rubbish"), min_acceptance_ratio: 0 });
    assert.deepEqual(Object.keys(await payloads("rubbish")), ["good"]);
    const rules = await engine.sql`
      select rule, count(*)::int from etl.quarantine where run_id = ${run.run_id} group by 1 order by 1`;
    assert.deepEqual(rules.map(({ rule, count }) => [rule, count]), [
      ["not_an_object", 4],
      ["not_storable", 5],
    ]);
  });

  await t.step(
    "a mirror deletes by one that is steady only; one that cannot repeat says so",
    async () => {
      assert.deepEqual((await engine.succeed(conf("once"))).warnings, [
        say("not-repeatable", { module: "once" }),
      ]);
      const mirror = { write: "mirror", max_delete_ratio: 1 };
      const more = { table: "mirrored" };
      assert.match(
        detailOf(await engine.runToEnd({ ...conf("once", more), ...mirror })),
        /does not say that it is steady/,
      );
      const steady = await engine.succeed({ ...conf("steady", more), ...mirror });
      assert.deepEqual(steady.warnings, []);
      const chosen = (whole: boolean) =>
        engine.runToEnd({ ...conf("by_config", { config: { whole } }), ...mirror });
      assert.match(detailOf(await chosen(false)), /does not say that it is steady/);
      assert.equal((await chosen(true)).state, "succeeded");
    },
  );

  await t.step("one that does not work fails its run, and says what to do", async () => {
    const failure = async (name: keyof typeof MODULES) =>
      detailOf(await engine.runToEnd(conf(name, { timeout_ms: 1_000 })));
    assert.match(
      await failure("loops"),
      /source module loops: it gave nothing within 1000 ms.*timeout_ms/s,
    );
    assert.match(await failure("waits"), /source module waits: it gave nothing within 1000 ms/);
    assert.match(await failure("throws"), /source module throws: it failed in read: no luck/);
    assert.match(await failure("no_source"), /exports no default defineSource/);
    const missing = { source: { type: "module", name: "missing" } };
    assert.match(
      detailOf(await engine.runToEnd(missing)),
      /no source module missing.*ETL_SOURCES_DIR/s,
    );
    assert.equal((await engine.succeed(conf("prints"))).counts!.inserted, 1);
    // the next one on the same workers notices nothing
    assert.equal((await engine.succeed(conf("plain"))).counts!.unchanged, 4500);
  });

  await t.step("it reaches nothing but what it lists and what its conf gives it", async () => {
    const config = { url: `${api.url}/v1/orders` };
    const run = await engine.runToEnd(conf("reaches", { config }));
    assert.match(detailOf(run), /does not list: add "127.0.0.1:\d+" to its hosts/);
    const preview = await engine.post("/api/etl/preview", {
      source: { type: "module", name: "plain", key: "id" },
    });
    const { events } = await preview.json();
    assert.equal(events.length, 20);
    assert.deepEqual(api.asked.filter(({ path }) => path.startsWith("/v1/orders")), []);
  });

  await restSteps(t, engine, api);
});

type Api = ReturnType<typeof startOrdersApi>;

async function restSteps(t: Deno.TestContext, engine: Engine, api: Api): Promise<void> {
  const rest = (table: string, config: object, more = {}) =>
    conf("rest", {
      table,
      name: table,
      module: "rest",
      connections: ["shop"],
      config,
      timeout_ms: 5_000,
      ...more,
    });
  const ids = async (table: string) =>
    Object.keys(await engine.payloads(`public.t_${table}`)).map(Number).sort((a, b) => a - b);
  const all = Array.from({ length: 25 }, (_, i) => i + 1);

  await t.step("the tutorial's module loads all, then what is newer", async () => {
    const crm = conf("crm", { connections: ["shop"] });
    await engine.succeed(crm);
    assert.deepEqual(await ids("crm"), all);
    assert.equal((await engine.succeed(crm)).counts!.records_read, 1);
  });

  await t.step("rest reads each kind of paging, through 429, 500 and resets", async () => {
    for (
      const [name, config] of Object.entries({
        // the next page's address has its own parameters
        by_link: { url: "orders", params: { start: 0 }, paging: { by: "link" } },
        by_cursor: {
          url: "orders/cursor",
          records_path: "data.items",
          paging: { by: "cursor", field: "data.next", param: "after" },
        },
        by_page: { url: "orders/page", paging: { by: "page" } },
        by_offset: { url: "orders/offset", paging: { by: "offset", size: 10 } },
        // an API may give fewer records a page than it is asked for
        by_long_page: { url: "orders/page", paging: { by: "page", size: 100, size_param: "n" } },
        by_long_offset: { url: "orders/offset", paging: { by: "offset", size: 100 } },
        // and may say that there is no page behind the last
        by_number: { url: "orders/numbered", paging: { by: "page", size: 25, size_param: "n" } },
      })
    ) {
      if (name === "by_link") api.misbehave();
      await engine.succeed(rest(name, config));
      assert.deepEqual(await ids(name), all, name);
    }
    assert.deepEqual(api.misbehaved(), [429, 500, 0]);
    assert.ok(api.waited() >= 1_000, "Retry-After was not kept");
  });

  await t.step("each request to a connection's server has its credentials", () => {
    assert.ok(api.asked.every(({ authorization }) => authorization === `Bearer ${api.token}`));
  });

  await t.step(
    "a redirect is followed as it says, and to no server that is not listed",
    async () => {
      await engine.succeed(rest("moved", { url: "moved", method: "POST", body: {} }));
      assert.deepEqual(await ids("moved"), [1]);
      const elsewhere = await engine.runToEnd(rest("elsewhere", { url: "elsewhere" }));
      assert.match(detailOf(elsewhere), /asks 127\.0\.0\.1:1, which it does not list/);
    },
  );

  await t.step("it asks for what is newer only, and reads each value of a list", async () => {
    const incremental = { field: "updated_at", param: "since", start: "2026-01-01" };
    const config = { url: "orders", paging: { by: "link" }, incremental };
    await engine.succeed(rest("newer", config));
    const second = await engine.succeed(rest("newer", config));
    assert.equal(second.counts!.records_read, 1);
    const each = { url: "customers/{id}/orders", each: { id: ["a b", "c"] } };
    const run = await engine.succeed(rest("each", each));
    assert.equal(run.num_chunks, 2);
    assert.deepEqual(await ids("each"), [1, 2]);
  });

  await t.step(
    "what modules give goes into typed tables, through a transform module too",
    async () => {
      const typed = { layout: "typed" };
      const run = await engine.succeed({ ...conf("plain", { table: "typed" }), ...typed });
      assert.equal(run.counts!.inserted, 4500);
      const [row] = await engine
        .sql`select big::text, at::text from public.t_typed where id = '2-1499'`;
      assert.deepEqual({ ...row }, { big: "9007199254740993", at: "1970-01-01 00:00:00+00" });
      const config = { url: "orders", paging: { by: "link" } };
      await engine.succeed({ ...rest("typed_rest", config), ...typed, transform: "double" });
      const [sums] = await engine
        .sql`select count(*)::int as n, sum(total)::text as total from public.t_typed_rest`;
      assert.deepEqual({ ...sums }, { n: 25, total: "995.0" });
    },
  );

  await t.step("OAuth: a token by client credentials, another when it has expired", async () => {
    const from = api.asked.length;
    await engine.succeed(rest("by_token", {
      url: `${api.url}/v1/orders`,
      paging: { by: "link" },
      oauth: { connection: "auth", scope: "read" },
    }, { connections: ["auth"] }));
    assert.deepEqual(await ids("by_token"), all);
    // the first token is worth one request: the second page is asked for twice
    const bearers = api.asked.slice(from).map(({ authorization }) => authorization);
    assert.deepEqual(bearers, [0, 0, 1, 1].map((n) => `Bearer client_credentials:read:${n}`));
    const wrong = await engine.runToEnd(rest("no_token", {
      url: `${api.url}/v1/orders`,
      oauth: { connection: "stranger" },
    }, { connections: ["stranger"] }));
    assert.match(detailOf(wrong), /401/);
    assert.doesNotMatch(
      JSON.stringify(wrong) + engine.log.join(),
      /secret of it|c2VjcmV0|s3cret-of-the-query/,
    );
  });

  await t.step(
    "etl source try shows what a module's first records become, and writes nothing",
    async () => {
      const env = {
        KPIS_PG_DSN: engine.db.dsn,
        ETL_SOURCES_DIR: engine.config.sourcesDir,
        ETL_CONNECTION_SHOP: JSON.stringify({
          url: `${api.url}/v1/`,
          headers: { authorization: `Bearer ${api.token}` },
        }),
        ETL_HTTP_PRIVATE_HOSTS: api.host,
      };
      const before = await engine.sql`select count(*)::int as n from etl.runs`;
      const tried = await runCli(
        ["source", "try", "crm", "--connection", "shop", "--key", "id", "--json"],
        { env },
      );
      assert.equal(tried.code, 0, tried.err);
      const { events, sampled } = tried.json() as {
        events: { event_id: string }[];
        sampled: number;
      };
      assert.deepEqual([sampled, events.length, events[0]!.event_id], [25, 20, "1"]);
      const broken = await runCli(["source", "try", "throws"], { env });
      assert.notEqual(broken.code, 0);
      assert.match(broken.err, /source module throws: it failed in read: no luck/);
      assert.deepEqual(await engine.sql`select count(*)::int as n from etl.runs`, before);
    },
  );

  await t.step("an API that leads round in circles fails the run", async () => {
    const run = await engine.runToEnd(rest("circle", { url: "circle", paging: { by: "link" } }));
    assert.match(detailOf(run), /a second time: check paging/);
    // one that does not know the number of a page
    const config = { url: "customers/c/orders", paging: { by: "page" }, max_pages: 40 };
    const deaf = await engine.runToEnd(rest("deaf", config));
    assert.match(detailOf(deaf), /the last 10 pages, up to .*page=11, have the records of earlier/);
  });
}
