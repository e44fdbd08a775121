import assert from "node:assert/strict";
import { EXIT } from "../../scripts/cli/exit_codes.ts";
import { answering } from "../helpers/cli.ts";

Deno.test("etl alert lists what is open with its state, and refuses an action that there is none of", async () => {
  const incident = {
    ...{ fingerprint: "run_failed:nightly", opened_at: "2026-03-01T10:11:12.345Z", occurrences: 3 },
    ...{ silenced_until: null, silenced_by: null, acknowledged_by: null },
  };
  let items: unknown[] = [];
  await using cli = answering({
    "/api/alerts/open": () => Response.json({ items }),
    "/api/alerts/handle": { handled: true },
  });
  assert.equal((await cli.etl("alert")).out, "No incident is open.");
  items = [
    incident,
    { ...incident, fingerprint: "b", acknowledged_by: "ana" },
    {
      ...{ ...incident, fingerprint: "c", acknowledged_by: "ana" },
      ...{ silenced_until: "2999-01-02T03:04:05Z", silenced_by: "bo" },
    },
    { ...incident, fingerprint: "d", silenced_until: "2020-01-02T03:04:05Z", silenced_by: "bo" },
  ];
  assert.deepEqual((await cli.etl("alert")).out.split("\n"), [
    "FINGERPRINT         SINCE                TIMES  STATE",
    "run_failed:nightly  2026-03-01 10:11:12  3      open",
    "b                   2026-03-01 10:11:12  3      acknowledged by ana",
    "c                   2026-03-01 10:11:12  3      silenced by bo until 2999-01-02T03:04",
    "d                   2026-03-01 10:11:12  3      open",
  ]);
  assert.deepEqual((await cli.etl("alert", "--json")).json(), items);
  const before = cli.asked.length;
  const wrong = await cli.etl("alert", "akc", "b");
  assert.equal(wrong.code, EXIT.usage);
  assert.match(wrong.err, /etl alert cannot 'akc'; did you mean ack\?/);
  const alone = await cli.etl("alert", "close");
  assert.equal(alone.code, EXIT.usage);
  assert.match(alone.err, /etl alert close needs the incident's fingerprint/);
  assert.equal(cli.asked.length, before, "nothing was asked for");
});

Deno.test("etl alert ack, silence and close name the incident and what becomes of it; test ends with 1 without a channel", async () => {
  let channels: string[] = [];
  await using cli = answering({
    "/api/alerts/handle": { fingerprint: "a\u001b", handled: true },
    "/api/alerts/test": () => Response.json({ channels }),
  });
  assert.equal((await cli.etl("alert", "ack", "a\u001b")).out, "a\\u001b: done");
  await cli.etl("alert", "silence", "a", "--minutes", "90");
  await cli.etl("alert", "silence", "a", "--minutes", "soon");
  const closed = await cli.etl("alert", "close", "a", "--json");
  assert.deepEqual(closed.json(), { fingerprint: "a\u001b", handled: true });
  assert.deepEqual(cli.asked.map(({ body }) => body), [
    { fingerprint: "a\u001b", action: "acknowledge" },
    { fingerprint: "a", action: "silence", minutes: 90 },
    { fingerprint: "a", action: "silence", minutes: "soon" },
    { fingerprint: "a", action: "close" },
  ]);
  const none = await cli.etl("alert", "test");
  assert.equal(none.code, EXIT.failed);
  assert.match(none.out, /No server has a channel/);
  assert.equal((await cli.etl("alert", "test", "--json")).out, '{"channels":[]}');
  channels = ["slack", "email"];
  const sent = await cli.etl("alert", "test");
  assert.deepEqual([sent.code, sent.out], [EXIT.succeeded, "On its way to slack, email."]);
});

Deno.test("etl redeliver says how many events wait again, of all or of one delivery", async () => {
  let redelivered = 2;
  await using cli = answering({
    "/api/consumers/a%2Fb/redeliver": () => Response.json({ redelivered }),
  });
  assert.equal((await cli.etl("redeliver", "a/b")).out, "2 events wait again.");
  redelivered = 1;
  assert.equal(
    (await cli.etl("redeliver", "a/b", "--delivery", "7&8")).out,
    "1 event waits again.",
  );
  assert.equal((await cli.etl("redeliver", "a/b", "--json")).out, '{"redelivered":1}');
  assert.deepEqual(cli.asked.map(({ query }) => query), [{}, { delivery_id: "7&8" }, {}]);
});

const task = {
  ...{ task: "clean_metrics", state: "succeeded", cutoff: "2026-01-02T03:04:05Z", deleted: 1234 },
  ...{ started_at: "2026-04-01T00:00:00Z", ended_at: "2026-04-01T00:00:02Z" },
  ...{ warnings: [] as string[], error: null as string | null },
};
const maintained = {
  ...{ maintenance_id: "7", state: "succeeded", trigger: "cli", deleted: 1234 },
  ...{ requested_at: "2026-04-01T00:00:00Z", ended_at: "2026-04-01T00:00:05Z" },
  ...{ duration_ms: 65_000, tasks: [task] },
};

Deno.test("etl maintenance waits for its end, shows what each task did, and ends with 1 when one has failed", async () => {
  const going = { ...maintained, state: "running", ended_at: null };
  const views = [going, maintained];
  await using cli = answering({
    "/api/etl/maintenance": (asked: { query: Record<string, string> }) =>
      asked.query.dry_run === undefined ? Response.json(going, { status: 202 }) : Response.json({
        tasks: [{
          ...{ task: "clean_events", cutoff: "2025-04-01T00:00:00Z", warnings: ["kept by a hold"] },
          tables: [
            { table: "public.a", would_delete: 12_345 },
            { table: "public.b", would_delete: 0 },
          ],
        }],
      }),
    "/api/etl/maintenance/7": () => Response.json(views.shift()),
  });
  const ended = await cli.etl("maintenance", "--set", "retention_days_events=-1", "--confirm");
  assert.equal(ended.code, EXIT.succeeded);
  assert.deepEqual(ended.out.split("\n"), [
    "TASK           STATE      OLDER THAN  DELETED   TOOK",
    "clean_metrics  succeeded  2026-01-02    1,234  2.0 s",
    "Maintenance 7: succeeded",
  ]);
  assert.deepEqual(cli.asked[0]!.body, { retention_days_events: -1 });
  assert.deepEqual(cli.asked[0]!.query, { confirm: "true" });
  views.push({
    ...{ ...maintained, state: "failed" },
    tasks: [
      { ...task, task: "refresh_views", cutoff: null, deleted: 0, warnings: ["slow"], error: "no" },
      { ...task, state: "running", ended_at: null },
    ],
  } as never);
  const failed = await cli.etl("maintenance");
  assert.equal(failed.code, EXIT.failed);
  assert.deepEqual(cli.asked.filter(({ method }) => method === "POST").at(-1)!.query, {});
  assert.deepEqual(failed.out.split("\n").slice(1), [
    "refresh_views  succeeded                       2.0 s",
    "clean_metrics  running    2026-01-02    1,234",
    "warning: refresh_views: slow",
    "error: refresh_views: no",
    "Maintenance 7: failed",
  ]);
  const asked = cli.asked.length;
  assert.match((await cli.etl("maintenance", "--no-wait")).out, /Maintenance 7: running$/);
  assert.equal(cli.asked.length, asked + 1, "it is not waited for");
  const dry = await cli.etl("maintenance", "--dry-run");
  assert.deepEqual(cli.asked.at(-1)!.query, { dry_run: "true" });
  assert.deepEqual(dry.out.split("\n"), [
    "TASK          TABLE     OLDER THAN  WOULD GO",
    "clean_events  public.a  2025-04-01    12,345",
    "clean_events  public.b  2025-04-01         0",
    "warning: clean_events: kept by a hold",
    "Nothing was deleted.",
  ]);
});

Deno.test("etl maintenance list shows the last ones; etl jobs what runs when, who runs it and how it went", async () => {
  const job = { name: "tick", schedule: "* * * * *", state: "active", last_runs: [] as unknown[] };
  const scheduler = { in_use: "pg_cron", role: "etl_jobs", reason: null as string | null };
  let report = {
    scheduler,
    warnings: ["a job is missing"],
    items: [
      job,
      {
        ...{ ...job, name: "refresh" },
        last_runs: [
          { status: "failed", message: "no rights", started_at: "2026-01-02T03:04:05.678Z" },
          { status: "succeeded", message: null, started_at: "2026-01-01T03:04:05Z" },
        ],
      },
      { ...job, last_runs: [{ status: "succeeded", message: "REFRESH", started_at: null }] },
    ],
  };
  await using cli = answering({
    "/api/etl/maintenance": {
      items: [maintained, { ...maintained, maintenance_id: "6", duration_ms: null, deleted: 0 }],
    },
    "/api/jobs": () => Response.json(report),
  });
  assert.deepEqual((await cli.etl("maintenance", "list")).out.split("\n"), [
    "MAINTENANCE  STATE      BY   REQUESTED         DELETED        TOOK",
    "7            succeeded  cli  2026-04-01 00:00    1,234  1 min 05 s",
    "6            succeeded  cli  2026-04-01 00:00        0",
  ]);
  const wrong = await cli.etl("maintenance", "lost");
  assert.equal(wrong.code, EXIT.usage);
  assert.match(wrong.err, /cannot 'lost'; did you mean list\?/);
  const jobs = await cli.etl("jobs");
  assert.deepEqual(jobs.out.split("\n"), [
    "Scheduler: pg_cron, as role etl_jobs",
    "",
    "JOB      SCHEDULE   STATE   LAST RUN             RESULT",
    "tick     * * * * *  active",
    "refresh  * * * * *  active  2026-01-02 03:04:05  failed: no rights",
    "tick     * * * * *  active                       succeeded",
  ]);
  assert.equal(jobs.err, "warning: a job is missing");
  report = {
    ...report,
    scheduler: { in_use: "server", role: null as never, reason: "no pg_cron" },
  };
  assert.match((await cli.etl("jobs")).out, /^Scheduler: server\n {2}no pg_cron\n\n/);
  assert.deepEqual((await cli.etl("jobs", "--json")).json(), report);
});

Deno.test("etl token create sends role and days, and writes the token alone to the standard output", async () => {
  const made = { name: "loader", role: "operator", token: "etl_abc", expires_at: null };
  let answer: Record<string, unknown> = made;
  await using cli = answering({ "/api/tokens": () => Response.json(answer, { status: 201 }) });
  const create = (...args: string[]) => cli.etl("token", "create", "loader", ...args);
  const plain = await create("--role", "operator");
  assert.equal(plain.out, "etl_abc");
  assert.equal(
    plain.err,
    "Token loader with the role operator does not expire. It is shown this once.",
  );
  answer = { ...made, expires_at: "2026-05-01T00:00:00Z" };
  assert.match((await create("--role", "viewer", "--expires", "2w")).err, /expires at 2026-05-01T/);
  await create("--role", "admin", "--expires", "12h");
  await create("--role", "admin", "--expires", "90d");
  assert.deepEqual((await create("--role", "admin", "--json")).json(), answer);
  assert.deepEqual(cli.asked.map(({ body }) => body), [
    { name: "loader", role: "operator" },
    { name: "loader", role: "viewer", expires_in_days: 14 },
    { name: "loader", role: "admin", expires_in_days: 0.5 },
    { name: "loader", role: "admin", expires_in_days: 90 },
    { name: "loader", role: "admin" },
  ]);
  for (
    const [args, said] of [
      [[], /needs --role: viewer, operator, admin$/m],
      [["--role", "root"], /needs --role: viewer, operator, admin; not 'root'/],
      [["--role", "viewer", "--expires", "0d"], /--expires must be .* not '0d'/],
      [["--role", "viewer", "--expires", "1y"], /--expires must be .* not '1y'/],
    ] as [string[], RegExp][]
  ) {
    const { code, err } = await create(...args);
    assert.equal(code, EXIT.usage);
    assert.match(err, said);
  }
  assert.equal(cli.asked.length, 5, "nothing else was asked for");
});

Deno.test("etl token list shows which still count, and revoke names the one that does not any more", async () => {
  const token = {
    ...{ name: "a", token_id: "1", role: "viewer", created_at: "2026-01-02T03:04:05Z" },
    ...{
      created_by: "ana",
      expires_at: null as string | null,
      last_used_at: null,
      revoked_at: null,
    },
  };
  let items: unknown[] = [];
  await using cli = answering({
    "/api/tokens": () => Response.json({ items }),
    "/api/tokens/a%2Fb": (asked: { method: string }) => Response.json({ was: asked.method }),
  });
  assert.match((await cli.etl("token", "list")).out, /^There are no tokens: whoever works on this/);
  items = [
    { ...token, last_used_at: "2026-02-02T03:04:05Z" },
    { ...token, expires_at: "2020-01-01T00:00:00Z" },
    { ...token, expires_at: "2999-01-01T00:00:00Z" },
    { ...token, expires_at: "2999-01-01T00:00:00Z", revoked_at: "2026-02-02T03:04:05Z" },
  ];
  assert.deepEqual((await cli.etl("token", "list")).out.split("\n"), [
    "TOKEN  ID  ROLE    CREATED           BY   EXPIRES           LAST USED         STATE",
    "a      1   viewer  2026-01-02 03:04  ana                    2026-02-02 03:04  in use",
    "a      1   viewer  2026-01-02 03:04  ana  2020-01-01 00:00                    expired",
    "a      1   viewer  2026-01-02 03:04  ana  2999-01-01 00:00                    in use",
    "a      1   viewer  2026-01-02 03:04  ana  2999-01-01 00:00                    revoked",
  ]);
  assert.equal((await cli.etl("token", "revoke", "a/b")).out, "Token a/b is revoked.");
  assert.equal((await cli.etl("token", "revoke", "a/b", "--json")).out, '{"was":"DELETE"}');
});

Deno.test("etl dataset list, show, propose, columns and drop say what there is and what was made", async () => {
  const column = { name: "price", type: "numeric", path: "price" };
  const view = {
    ...{ dataset: "public.shop orders", view: "public.orders_typed", exists: true },
    ...{ columns: [column], fixed: ["event_id", "occurred_at"] },
  };
  let shown: Record<string, unknown> = { ...view, view: null };
  let items: unknown[] = [];
  let proposal = { columns: [column], rows: 1, left_out: 0 };
  const path = "/api/datasets/public.shop%20orders/columns";
  await using cli = answering({
    "/api/datasets": () => Response.json({ items }),
    [path]: (asked: { method: string; body: { view?: string } }) =>
      asked.method === "DELETE"
        ? new Response(null, { status: 204 })
        : Response.json(asked.method === "GET" ? shown : { ...view, made: asked.body.view }),
    [`${path}/proposal`]: () => Response.json(proposal),
  });
  const name = "public.shop orders";
  assert.match((await cli.etl("dataset", "list")).out, /^There are no datasets yet/);
  items = [
    { dataset: name, view: null, events: 12_345, last_event: null },
    {
      dataset: "b",
      view: "b_typed",
      events: 1,
      last_event: { created_at: "2026-01-02T03:04:05Z" },
    },
  ];
  assert.deepEqual((await cli.etl("dataset", "list")).out.split("\n"), [
    "DATASET             TYPED VIEW  EVENTS  LAST EVENT",
    "public.shop orders              12,345",
    "b                   b_typed          1  2026-01-02 03:04",
  ]);
  assert.equal(
    (await cli.etl("dataset", "show", name)).out,
    "public.shop orders has no typed view. `etl dataset propose` proposes columns.",
  );
  shown = view;
  const table = [
    "It begins with event_id, occurred_at.",
    "",
    "COLUMN  TYPE     PATH",
    "price   numeric  price",
  ];
  assert.deepEqual((await cli.etl("dataset", "show", name)).out.split("\n"), [
    "public.orders_typed is the typed view of public.shop orders.",
    ...table,
  ]);
  shown = { ...view, exists: false };
  assert.match(
    (await cli.etl("dataset", "show", name)).out,
    /^public\.orders_typed is .*orders, and comes back with its table\.\n/,
  );
  assert.deepEqual((await cli.etl("dataset", "show", name, "--json")).json(), shown);

  const one = await cli.etl("dataset", "propose", name);
  assert.equal(one.out, `[\n  ${JSON.stringify(column)}\n]`);
  assert.equal(one.err, "1 column fits 1 row.");
  assert.deepEqual(cli.asked.at(-1)!.query, { sample: "5000" });
  proposal = { columns: [column, column], rows: 5000, left_out: 1200 };
  const two = await cli.etl("dataset", "propose", name, "--sample", "20", "--json");
  assert.deepEqual(two.json(), [column, column]);
  assert.equal(two.err, "2 columns fit 5,000 rows; 1,200 rarer paths are left out.");
  assert.deepEqual(cli.asked.at(-1)!.query, { sample: "20" });
  const none = await cli.etl("dataset", "propose", name, "--sample", "0");
  assert.equal(none.code, EXIT.usage);
  assert.match(none.err, /--sample must be a whole number from 1 to 100000, not '0'/);

  await using files = new AsyncDisposableStack();
  const file = await Deno.makeTempFile({ suffix: "columns.json" });
  files.defer(() => Deno.remove(file));
  await Deno.writeTextFile(file, JSON.stringify([column]));
  const declared = await cli.etl("dataset", "columns", name, file, "--view", "clean");
  assert.deepEqual(declared.out.split("\n").slice(1), table);
  assert.deepEqual(
    [cli.asked.at(-1)!.method, cli.asked.at(-1)!.body],
    ["PUT", { columns: [column], view: "clean" }],
  );
  const made = await cli.etl("dataset", "columns", name, file, "--view", "clean", "--json");
  assert.equal(made.json().made, "clean");
  await Deno.writeTextFile(file, "{}");
  assert.match(
    (await cli.etl("dataset", "columns", name, file)).err,
    /columns\.json holds no columns: they are a JSON list/,
  );
  assert.match(
    (await cli.etl("dataset", "columns", name)).err,
    /etl dataset columns needs a file with columns/,
  );

  assert.equal((await cli.etl("dataset", "drop", name)).out, "public.orders_typed is removed.");
  assert.equal(cli.asked.at(-1)!.method, "DELETE");
  assert.deepEqual((await cli.etl("dataset", "drop", name, "--json")).json(), {
    ...{ dataset: name, view: "public.orders_typed", dropped: true },
  });
});

Deno.test("etl dataset alter sends columns and private fields each to their place, and distribute tells by what", async () => {
  const column = { name: "price", type: "numeric", path: "price" };
  await using cli = answering({
    "/api/datasets/d/columns": { columns: [column] },
    "/api/datasets/d/private": { exclude: ["a\u0007", "b"], hash: [] },
    "/api/datasets/d/distribute": { distributed_by: "event_id", shards: 1024, servers: 3 },
  });
  const altered = await cli.etl(
    "dataset",
    "alter",
    "d",
    "--add",
    "a:b:numeric(5,2)",
    "--type",
    "q:numeric",
  );
  assert.equal(altered.out, "COLUMN  TYPE     FIELD\nprice   numeric  price");
  assert.equal(cli.asked.length, 1);
  const hidden = await cli.etl("dataset", "alter", "d", "--exclude", " a, b,", "--source", "s");
  assert.equal(hidden.out, "Left out: a\\u0007, b. Hashed: none.");
  await cli.etl("dataset", "alter", "d", "--hash", "", "--add", "c:text");
  assert.deepEqual(cli.asked.map(({ method, path, body }) => [method, path, body]), [
    ["PATCH", "/api/datasets/d/columns", {
      add: { "a:b": "numeric(5,2)" },
      types: { q: "numeric" },
    }],
    ["PATCH", "/api/datasets/d/private", { source: "s", exclude: ["a", "b"] }],
    ["PATCH", "/api/datasets/d/private", { hash: [] }],
    ["PATCH", "/api/datasets/d/columns", { add: { c: "text" }, types: {} }],
  ]);
  for (
    const [args, said] of [
      [[], /say with --add, --type, --exclude or --hash what to alter/],
      [["--add", "price"], /--add is a name and a type, such as price:numeric, not 'price'/],
      [["--type", ":text"], /--type is a name and a type, .* not ':text'/],
    ] as [string[], RegExp][]
  ) {
    const { code, err } = await cli.etl("dataset", "alter", "d", ...args);
    assert.equal(code, EXIT.usage);
    assert.match(err, said);
  }
  const spread = await cli.etl("dataset", "distribute", "d");
  assert.equal(spread.out, "d is distributed by event_id: 1,024 shards on 3 servers.");
  assert.equal(cli.asked.at(-1)!.method, "POST");
  assert.equal((await cli.etl("dataset", "distribute", "d", "--json")).json().shards, 1024);
});

Deno.test("etl forget removes a key once somebody has agreed, and says what it removed, what is left and what it does not reach", async () => {
  const left = { foreign_rows: 0, unreadable: 0, runs: [], uploads: [], short: false };
  let done: Record<string, unknown> = {
    ...{ dataset: "public.customers", rows: 1234, quarantine: 2, uploads: 3, tombstones: 4 },
    ...{ log_lines: 5, texts: 6, left },
  };
  await using cli = answering({
    "/api/datasets/public.customers/forget": () => Response.json(done),
  });
  const forget = (...args: string[]) =>
    cli.etl("forget", "ES|4711", "--dataset", "public.customers", ...args);
  const unasked = await forget();
  assert.equal(unasked.code, EXIT.usage);
  assert.match(unasked.err, /cannot be brought back: say --yes to agree/);
  assert.equal((await forget("--json")).code, EXIT.usage);
  assert.match((await cli.etl("forget", "a", "--yes")).err, /needs a key and --dataset/);
  assert.equal(cli.asked.length, 0);
  const plain = await forget("--yes");
  assert.equal(plain.code, EXIT.succeeded);
  assert.deepEqual(cli.asked[0]!.body, { key: "ES|4711", unreadable: false });
  const [removed, reach, ...more] = plain.out.split("\n");
  assert.equal(
    removed,
    "Removed from public.customers: 1,234 rows, 2 rejected records, 3 request bodies, 4 notes of " +
      "deletions, 5 lines of logs; taken out of 6 errors, warnings and results.",
  );
  assert.match(reach!, /^Not reached: the source, which brings it back/);
  assert.deepEqual(more, []);
  done = {
    ...done,
    left: {
      ...{ foreign_rows: 1000, unreadable: 7, runs: ["r1", "r2"], short: true },
      uploads: [{ upload_id: "u1", until: "2026-05-01" }],
    },
  };
  const partly = await forget("--yes", "--unreadable");
  assert.deepEqual(cli.asked[1]!.body, { key: "ES|4711", unreadable: true });
  assert.deepEqual(partly.out.split("\n").slice(1, -1), [
    "Left: 1,000 rows with this key that no run has written: they are their owner's.",
    "Left: 7 rejected records that cannot be parsed and have its text in them; --unreadable removes them.",
    "Runs are going on that may bring it back; ask again when they have ended: r1, r2",
    "Left: request body u1, which such a run still reads; kept until 2026-05-01.",
    "The key is too short to be looked for in logs and errors.",
  ]);
  assert.deepEqual((await forget("--yes", "--json")).json(), done);

  for (
    const [answer, code] of [
      ["", EXIT.cancelled],
      ["no", EXIT.cancelled],
      [null, EXIT.cancelled],
      ["Yes", EXIT.succeeded],
    ] as const
  ) {
    const typed = { answer, asked: [] };
    const args = ["forget", "ES|4711", "--dataset", "public.customers"];
    const ended = await cli.etlAsking(typed, ...args);
    assert.equal(ended.code, code, `${answer}`);
    assert.deepEqual(typed.asked, [
      "Remove this key from all that is kept of public.customers? [y/N]",
    ]);
    assert.equal(ended.err.includes("Nothing was removed."), code === EXIT.cancelled);
  }
  assert.equal(cli.asked.length, 4, "what nobody agreed to was not asked for");
});
