import assert from "node:assert/strict";
import { Hono } from "hono";
import { LiveOverview, type Part, streamOverview } from "../../routes/dashboard/live_overview.ts";
import { linesOf, overviewPage, partsOfLabels } from "../../routes/dashboard/overview_page.tsx";
import { waitFor } from "../helpers/wait_for.ts";
import { databaseOf, element, textOf, visit } from "../helpers/pages.ts";

interface Timer {
  run: () => void;
  ms: number;
}

/** A live overview whose clock and database the test speaks for. */
class World implements Disposable {
  readonly later: Timer[] = [];
  readonly polls: Timer[] = [];
  common: Record<string, unknown> = { pools: ["p1"] };
  readonly recent: Record<string, unknown> = {};
  looked: string[][] = [];
  /** Set where a look is to wait. */
  hold: Promise<unknown> = Promise.resolve();
  down = false;
  happens = () => {};
  watched = 0;
  readonly live: LiveOverview;
  readonly #before = { setTimeout, setInterval, clearInterval };

  constructor({ listening = true } = {}) {
    Object.assign(globalThis, {
      setTimeout: (run: () => void, ms = 0) => this.later.push({ run, ms }),
      setInterval: (run: () => void, ms = 0) => this.polls.push({ run, ms }),
      clearInterval: () => this.polls.pop(),
    });
    const watch = {
      watchAll: (told: () => void) => {
        this.watched++;
        this.happens = told;
        return () => this.watched--;
      },
    };
    this.live = new LiveOverview({ watch, status: () => ({ listening }) } as never, {
      common: async () => {
        await this.hold;
        if (this.down) throw new Error("no database");
        return { ...this.common } as never;
      },
      ofLabels: (labels) => {
        this.looked.push(labels);
        return Promise.resolve(
          new Map(labels.map((label) => [label, { recent: this.recent[label] ?? label }])),
        ) as never;
      },
    });
  }

  /** Lets a look end, and the next begin that waits for it. */
  async turn(): Promise<void> {
    for (let i = 0; i < 20; i++) await Promise.resolve();
    for (const { run } of this.later.splice(0)) run();
    for (let i = 0; i < 20; i++) await Promise.resolve();
  }

  follow(label: string, caller?: string): { told: unknown[]; end: () => void } {
    const told: unknown[] = [];
    const end = this.live.follow(label, (parts: Part[]) => {
      told.push(Object.fromEntries(parts.map(({ name, json }) => [name, JSON.parse(json)])));
    }, caller);
    return { told, end };
  }

  [Symbol.dispose]() {
    Object.assign(globalThis, this.#before);
  }
}

Deno.test("who looks at the overview is told all of it first, then what has changed alone", async () => {
  using world = new World();
  const { told } = world.follow("sales");
  await world.turn();
  assert.deepEqual(told, [{ pools: ["p1"], recent: "sales" }]);
  world.happens();
  await world.turn();
  assert.equal(told.length, 1);
  world.common = { pools: ["p2"] };
  world.happens();
  await world.turn();
  assert.deepEqual(told.slice(1), [{ pools: ["p2"] }]);
  world.recent.sales = "newer";
  world.polls[0]!.run();
  await world.turn();
  assert.deepEqual(told.slice(2), [{ recent: "newer" }]);
});

Deno.test("another who comes is told at once what is known, and each of their label alone", async () => {
  using world = new World();
  const first = world.follow("sales");
  await world.turn();
  const second = world.follow("sales");
  assert.deepEqual(second.told, [{ pools: ["p1"], recent: "sales" }]);
  const other = world.follow("stock");
  // what all share is known, the rest is looked up
  assert.deepEqual(other.told, [{ pools: ["p1"] }]);
  await world.turn();
  assert.deepEqual(other.told.slice(1), [{ recent: "stock" }]);
  world.recent.stock = "newer";
  world.happens();
  await world.turn();
  assert.deepEqual([first.told.length, second.told.length], [1, 1]);
  assert.deepEqual(other.told.at(-1), { recent: "newer" });
});

Deno.test("what happens while a look is under way is looked up after it, once", async () => {
  using world = new World();
  const { told } = world.follow("sales");
  const { promise, resolve } = Promise.withResolvers();
  await world.turn();
  world.hold = promise;
  world.happens();
  const before = world.looked.length;
  world.recent.sales = "newer";
  for (let i = 0; i < 3; i++) world.happens();
  assert.equal(world.looked.length, before);
  resolve(undefined);
  await world.turn();
  await world.turn();
  assert.equal(world.looked.length, before + 1);
  assert.deepEqual(told.at(-1), { recent: "newer" });
});

Deno.test("looks take their time, and polls are rarer where the database tells of changes", async () => {
  for (const [listening, ms] of [[true, 5000], [false, 2000]] as const) {
    using world = new World({ listening });
    world.follow("");
    assert.equal(world.polls[0]!.ms, ms);
    for (let i = 0; i < 20; i++) await Promise.resolve();
    assert.ok(world.later[0]!.ms > 400, `${world.later[0]!.ms} ms`);
  }
});

Deno.test("a database that is gone for a moment costs nobody what comes after it", async () => {
  using world = new World();
  const { told } = world.follow("sales");
  world.down = true;
  await world.turn();
  assert.deepEqual(told, []);
  world.down = false;
  world.happens();
  await world.turn();
  assert.deepEqual(told, [{ pools: ["p1"], recent: "sales" }]);
});

Deno.test("nothing is looked up while nobody looks; who comes back is told all anew", async () => {
  using world = new World();
  const one = world.follow("sales");
  const other = world.follow("stock");
  await world.turn();
  one.end();
  world.happens();
  await world.turn();
  assert.deepEqual(world.looked.at(-1), ["stock"]);
  other.end();
  other.end();
  assert.deepEqual([world.watched, world.polls.length], [0, 0]);
  world.common = { pools: ["p2"] };
  const again = world.follow("stock");
  assert.deepEqual(again.told, []);
  // one that has left already takes nothing from who came after it
  other.end();
  await world.turn();
  assert.deepEqual(again.told, [{ pools: ["p2"], recent: "stock" }]);
});

Deno.test("one caller looks at so many labels and no more, and at others once they have left one", async () => {
  using world = new World();
  const all = Array.from({ length: 20 }, (_, i) => world.follow(`label ${i}`, "ada"));
  assert.throws(() => world.follow("one more", "ada"), { status: 429 });
  // one that is looked at already, and all runs, are no more
  world.follow("label 0", "ada").end();
  world.follow("", "ada").end();
  world.follow("one more", "bob").end();
  all[0]!.end();
  world.follow("one more", "ada").end();
  await world.turn();
});

const working = {
  workers: 4,
  workersBusy: 1,
  listening: true,
  draining: false,
  role: "all",
} as Parameters<typeof linesOf>[0];
const well = { problems: [], warnings: [], facts: {} };
const said = (
  status: Partial<typeof working>,
  health: Partial<Parameters<typeof linesOf>[1]> = {},
) =>
  linesOf({ ...working, ...status }, { ...well, ...health }).map(({ level, key, text, values }) =>
    `${level} ${text ?? key}${values === undefined ? "" : ` ${JSON.stringify(values)}`}`
  );

Deno.test("health says what works, and first what does not", () => {
  assert.deepEqual(said({}), [
    "ok health.database",
    'ok health.workers {"n":4,"busy":1}',
    "ok health.notify",
  ]);
  assert.deepEqual(
    said({ draining: true, listening: false, role: "api" }, {
      problems: ["missing: etl.runs"],
      warnings: ["3 alerts are open", "the last run failed: x", "disk is nearly full"],
    }),
    [
      "problem missing: etl.runs",
      'warning health.alerts {"n":3}',
      "warning health.last_run_failed",
      "warning disk is nearly full",
      "problem health.draining",
      "ok health.api_only",
      "warning health.polling",
    ],
  );
});

Deno.test("health says who runs schedules, and in which database", () => {
  const scheduler = (view: object) => said({}, { facts: { scheduler: view } }).at(-1);
  assert.equal(scheduler({ kind: "servers" }), "ok health.own_cron");
  assert.equal(scheduler({ kind: "database", in_use: "pg_cron" }), "ok health.pg_cron");
  assert.equal(
    scheduler({ kind: "database", in_use: "elsewhere", database: "jobs" }),
    'ok health.pg_cron_elsewhere {"database":"jobs"}',
  );
});

Deno.test("the runs of several labels are looked up together, those of a label without any are none", async () => {
  const sql = databaseOf({
    "group by l.label": [{ label: "a", points: ["of a"], runs: ["run of a"] }],
    "from etl.runs as r\n    where true": [{ run: "any" }],
    "order by m.created_at desc, m.run_id desc limit 60": [{ point: "newest" }, {
      point: "oldest",
    }],
  });
  const parts = await partsOfLabels({ sql } as never, ["", "a", "b"]);
  assert.deepEqual([...parts.keys()], ["", "a", "b"]);
  assert.deepEqual(parts.get(""), { recent: ["any"], history: ["oldest", "newest"] });
  assert.deepEqual(parts.get("a")!.history, ["of a"]);
  assert.deepEqual(parts.get("b"), { recent: [], history: [] });
});

Deno.test("the overview is of the label in its address, and called so", async () => {
  const data = {
    ...{ active: [], alerts: [], incidents: "", pools: [], schedules: [], health: [] },
  };
  const asked: string[] = [];
  const found = {
    "overview ": (key: string) => {
      asked.push(key);
      return new Map([["a&b", { recent: [], history: [] }], ["", { recent: [], history: [] }]]);
    },
    overview: data,
    labels: ["a&b", "c"],
  };
  const look = async (path: string) => await (await visit(overviewPage, path, { found })).text();
  const html = await look("/etl/overview?run_label=a%26b");
  assert.equal(textOf(element(html, "title")), "a&b · etl-improved");
  assert.match(textOf(html), /No run has this label/);
  assert.equal(asked[0], "overview a&b");
  for (const path of ["/etl/overview", "/etl/overview?run_label="]) {
    const all = await look(path);
    assert.equal(textOf(element(all, "title")), "Overview · etl-improved");
    assert.match(textOf(all), /No run yet/);
  }
});

Deno.test("the stream of the overview tells first that it is there, then each change once", async () => {
  const follow = Promise.withResolvers<(parts: Part[]) => void>();
  let left = 0;
  const live = {
    follow: (_label: string, told: (parts: Part[]) => void) => {
      follow.resolve(told);
      return () => left++;
    },
  };
  const app = new Hono();
  app.get("/", (c) => {
    c.set("caller" as never, { shares: false } as never);
    c.set("load" as never, { streams: { enter: () => () => left++ } } as never);
    c.set("leaveRequests" as never, (() => {}) as never);
    return streamOverview(c, live as never, "");
  });
  const reader = (await app.request("/")).body!.pipeThrough(new TextDecoderStream()).getReader();
  const next = async () => (await reader.read()).value;
  const tell = await follow.promise;
  tell([{ name: "pools", json: '["p1"]' }, { name: "recent", json: "[1]" }] as Part[]);
  assert.equal(await next(), "event: hello\ndata: {}\n\n");
  assert.equal(await next(), 'event: parts\ndata: {"pools":["p1"],"recent":[1]}\n\n');
  // what changed twice while nobody read is told as it is now
  tell([{ name: "recent", json: "[2]" }] as Part[]);
  tell([{ name: "recent", json: "[3]" }] as Part[]);
  assert.equal(await next(), 'event: parts\ndata: {"recent":[3]}\n\n');
  await reader.cancel();
  await waitFor(() => left === 2, { what: "the follower to be gone" });
});
