import assert from "node:assert/strict";
import { EXIT } from "../../scripts/cli/exit_codes.ts";
import { answering, type Asked } from "../helpers/cli.ts";

const ID = "019eb1c9-4e5f-7a6b-8c7d-9e0f1a2b3c4d";
const LATEST = "/api/etl/runs";
const RUN = `/api/etl/runs/${ID}`;

const run = {
  ...{ run_id: ID, run_label: "daily", state: "succeeded", attempt: 1, dry_run: false },
  ...{ dataset: "public.orders", requested_by: "ann", trigger: "api", pool: "default_pool" },
  ...{ requested_at: "2027-01-31T10:00:00.123Z", started_at: "2027-01-31T10:00:01Z" },
  ...{ ended_at: "2027-01-31T10:00:03Z", duration_ms: 2000, total_rows: 95, expected_rows: 100 },
  ...{ ratio: 0.951234, num_chunks: 2, counts: { records_read: 100, inserted: 90, updated: 5 } },
  ...{ chunks: { published: 2 }, warnings: [], error: null, replay_of: null, cursor: null },
  ...{ schedule: null, slot: null, servers: [], sharing: { alone: null, left: [] }, revision: 7 },
  params: {
    batch_size: { value: 7, origin: "request" },
    pool: { value: "default_pool", origin: "default" },
    source: { value: { type: "synthetic" }, origin: "default" },
  },
  stages: [] as object[],
};
const page = (items: unknown[], next: string | null = null) => ({ items, next });
const trimmed = (out: string) => out.split("\n").map((line) => line.trimEnd());
/** The stream of a run that has this state at its end. */
const events = (of: object) => () =>
  new Response(`id: 1\ndata: ${JSON.stringify(of)}\n\n`, {
    headers: { "content-type": "text/event-stream" },
  });

Deno.test("etl runs asks for what is wanted, leaves out what a run does not have, and says when there are more", async () => {
  const waiting = { ...run, state: "queued", duration_ms: null, total_rows: null, ratio: null };
  let found: unknown = page([{ ...run, dry_run: true }, waiting], "more");
  await using cli = answering({ [LATEST]: () => Response.json(found) });
  const shown = await cli.etl("runs", "--state", "failed", "--label", "daily", "--limit", "500");
  assert.deepEqual(cli.asked[0]!.query, { limit: "500", state: "failed", run_label: "daily" });
  assert.deepEqual(trimmed(shown.out), [
    `RUN${" ".repeat(35)}LABEL  STATE                REQUESTED          TOOK  ROWS   RATIO`,
    `${ID}  daily  succeeded (dry run)  2027-01-31 10:00  2.0 s    95  0.9512`,
    `${ID}  daily  queued               2027-01-31 10:00`,
    "There are more: --limit shows up to 500.",
  ]);
  const { json } = await cli.etl("runs", "--json");
  assert.equal(json().length, 2, "JSON and nothing else");
  assert.deepEqual(cli.asked[1]!.query, { limit: "20" });
  found = page([]);
  assert.match((await cli.etl("runs")).out, /^There are no runs yet/);
  assert.equal((await cli.etl("runs", "--state", "failed")).out, "No run is like that.");
  assert.equal((await cli.etl("runs", "--label", "x")).out, "No run is like that.");
  const before = cli.asked.length;
  for (const args of [["--state", "done"], ["--limit", "0"], ["--limit", "501"]]) {
    assert.equal((await cli.etl("runs", ...args)).code, EXIT.usage);
  }
  assert.equal(cli.asked.length, before);
});

Deno.test("etl run sends the conf and the key, and says what became of the request", async () => {
  let submitted = { run_id: ID, state: "queued", created: true, skipped: false };
  await using cli = answering({
    "/api/etl/run": () => Response.json(submitted),
    [`${RUN}/events`]: events({ ...run, state: "failed", error: { detail: "no such file." } }),
  });
  const asked = await cli.etl("run", "--set", "batch_size=7", "--configuration", "c", "--wait");
  assert.equal(asked.code, EXIT.failed);
  assert.match(asked.out, /no such file\./);
  assert.deepEqual(cli.asked[0]!.body, { configuration: "c", batch_size: 7 });
  assert.equal(cli.asked[0]!.headers["idempotency-key"], undefined);
  const keyed = await cli.etl("run", "--idempotency-key", "k 1");
  assert.equal(cli.asked.at(-1)!.headers["idempotency-key"], "k 1");
  assert.deepEqual([keyed.code, keyed.out], [
    EXIT.succeeded,
    `Run ${ID} is queued. See it with \`etl show ${ID}\`.`,
  ]);
  submitted = { ...submitted, created: false };
  assert.equal((await cli.etl("run")).err, `Run ${ID} was asked for with this key before.`);
});

Deno.test("etl show has the facts of a run, and leaves out those that it does not have", async () => {
  let found: object = run;
  await using cli = answering({ [RUN]: () => Response.json(found), [LATEST]: page([run]) });
  const shown = async (id = ID) => trimmed((await cli.etl("show", id)).out);
  const head = [
    "",
    `  Run ${ID}`,
    "    state       succeeded",
    "    label       daily",
    "    dataset     public.orders",
    "    requested   2027-01-31 10:00:00 UTC by ann (api)",
    "    started     2027-01-31 10:00:01 UTC",
    "    ended       2027-01-31 10:00:03 UTC",
    "    ratio       0.9512 (95 of 100)",
    "",
    "  Parameters",
    "    batch_size  7                      request",
    '    source      {"type":"synthetic"}   default',
    "    all others have their defaults",
    "",
  ];
  const plain = await shown();
  assert.deepEqual(plain.slice(0, head.length).map((line) => line.replace(/ {2,}/g, "  ")), [
    ...head.map((line) => line.replace(/ {2,}/g, "  ")),
  ]);
  assert.deepEqual(await shown("latest"), plain, "the newest one");
  const stage = { stage: "load", state: "failed", records_in: 1000, records_out: 0, attempts: 2 };
  const problem = { detail: "the table is locked." };
  found = {
    ...{ ...run, state: "failed", attempt: 3, dry_run: true, replay_of: "r0", error: problem },
    cursor: { column: "id", from: null, to: "7", mode: "exact" },
    ...{ schedule: "nightly", slot: "2027-01-31T00:00:00Z", started_at: null, ratio: null },
    servers: [{ server_id: "a", count: 21, chunks: Array.from({ length: 20 }, (_, i) => i) }, {
      ...{ server_id: "b", count: 1, chunks: [20] },
    }],
    sharing: { alone: null, left: [{ server_id: "c", why: ["program", "data"] }] },
    stages: [
      { ...stage, busy_ms: 1500, error: problem },
      { ...stage, stage: "chunk", busy_ms: 0, error: { detail: "another reason." } },
    ],
  };
  const text = (await shown()).join("\n");
  for (
    const fact of [
      "    dataset     public.orders (dry run)\n",
      "    attempts    3\n",
      `    servers     a: 21 chunks (${Array.from({ length: 20 }, (_, i) => i).join(", ")}, …)\n`,
      "                b: 1 chunks (20)\n",
      "                c does not help: it runs another build of the program; ETL_DATA_SHARED is not set there\n",
      "    replay of   r0\n",
      "    cursor      id from the beginning to 7 (exact)\n",
      "    schedule    nightly, slot 2027-01-31 00:00:00 UTC\n",
      "  Stage  state      in  out   busy  attempts\n",
      "  load   failed  1,000    0  1.5 s         2\n",
      "  chunk: another reason.",
    ]
  ) assert.ok(text.includes(fact), `${fact} in\n${text}`);
  assert.doesNotMatch(text, /started|ratio|load: the table/);
  found = {
    ...run,
    sharing: { alone: "off", left: [] },
    servers: [{ server_id: "a", chunks: [] }],
  };
  assert.match((await shown()).join("\n"), /servers {5}one server only: the server that has it/);
  found = { ...run, state: "queued", ended_at: null, queue_position: 2, chunks: {} };
  assert.match(
    (await shown()).join("\n"),
    /state {7}queued: waiting: number 2 in pool default_pool/,
  );
  const { json } = await cli.etl("show", ID, "--json");
  const { status, inserted, params } = json() as Record<string, unknown>;
  assert.deepEqual([status, inserted, params], ["queued", 90, run.params]);
});

Deno.test("etl show --follow ends as the run does", async () => {
  let state = "succeeded";
  await using cli = answering({
    [RUN]: run,
    [`${RUN}/events`]: () => events({ ...run, state })(),
  });
  const follow = async () => (await cli.etl("show", ID, "--follow")).code;
  assert.equal(await follow(), EXIT.succeeded);
  state = "cancelled";
  assert.equal(await follow(), EXIT.cancelled);
  state = "failed";
  assert.equal(await follow(), EXIT.failed);
});

Deno.test("etl logs reads every page, chooses by level and text, and follows to the last line", async () => {
  const line = (line_no: number, level: string, message: string, fields: object = {}) => ({
    ...{ line_no, logged_at: "2027-01-31T10:00:00.000Z", level, message, fields },
  });
  const kept = [
    line(1, "debug", "Opened", { file: "a b.csv", size: 7 }),
    line(2, "info", "run began"),
    line(3, "warn", "slow", { key: 'x="1"', code: "E7" }),
    line(4, "error", "lost\u001b[31m"),
  ];
  let lines = kept;
  let ended = false;
  await using cli = answering({
    [RUN]: run,
    [LATEST]: page([run]),
    [`${RUN}/logs`]: ({ query }: Asked) => {
      // two lines a page
      const after = Number(query.cursor ?? query.after);
      const rest = lines.filter(({ line_no }) => line_no > after);
      // servers store lines in batches: the last one comes after the end
      if (ended && after === 6) lines = [...lines, line(7, "info", "run ended")];
      return Response.json(
        page(rest.slice(0, 2), rest.length > 2 ? String(rest[1]!.line_no) : null),
      );
    },
    [`${RUN}/events`]: () => {
      lines = [...lines, line(5, "info", "loaded"), line(6, "debug", "closed")];
      ended = true;
      return events(run)();
    },
  });
  const logs = async (...args: string[]) => trimmed((await cli.etl("logs", ID, ...args)).out);
  const AT = "2027-01-31T10:00:00.000Z";
  assert.deepEqual(await logs(), [
    `${AT} debug Opened file="a b.csv" size=7`,
    `${AT} info  run began`,
    `${AT} warn  slow key="x=\\"1\\"" code=E7`,
    `${AT} error lost\\u001b[31m`,
  ]);
  const numbers = async (...args: string[]) =>
    ((await cli.etl("logs", "latest", ...args, "--json")).json() as unknown as {
      line_no: number;
    }[]).map(({ line_no }) => line_no);
  assert.deepEqual(await numbers("--limit", "2"), [3, 4]);
  assert.deepEqual(await numbers("--level", "warn"), [3, 4]);
  assert.deepEqual(await numbers("--level", "info", "--limit", "1"), [4]);
  assert.deepEqual(await numbers("--search", "opened"), [1]);
  assert.deepEqual(await numbers("--search", "A B.CSV"), [1]);
  assert.deepEqual(await numbers("--search", "e7", "--level", "error"), []);
  assert.deepEqual(await logs("--search", "e7", "--level", "error"), [
    "None of its 4 lines is one of those.",
  ]);
  const followed = await cli.etl("logs", ID, "--follow", "--level", "info", "--limit", "1");
  assert.deepEqual(trimmed(followed.out), [
    `${AT} error lost\\u001b[31m`,
    `${AT} info  loaded`,
    `${AT} info  run ended`,
  ]);
  assert.equal(followed.err, `Run ${ID} has succeeded.`);
  lines = [];
  assert.deepEqual(await logs(), [`Nothing is kept of the log of run ${ID}.`]);
  const both = await cli.etl("logs", ID, "--follow", "--json");
  assert.match(both.err, /--follow writes no JSON/);
  assert.match((await cli.etl("logs", ID, "--level", "loud")).err, /--level must be one of debug,/);
  assert.match((await cli.etl("logs", "x")).err, /'x' is no run id/);
});

Deno.test("etl cancel and etl retry say how the run is now, and retry waits where it is told to", async () => {
  let state = "cancelled";
  await using cli = answering({
    [`${RUN}/cancel`]: () => Response.json({ ...run, state }),
    [`${RUN}/retry`]: () => Response.json({ ...run, state: "queued" }),
    [`${RUN}/events`]: events(run),
    [LATEST]: page([run]),
  });
  const cancel = async () => (await cli.etl("cancel", "latest")).out;
  assert.equal(await cancel(), `Run ${ID} is cancelled.`);
  state = "running";
  assert.match(await cancel(), /is asked to stop; the server that executes it does so within/);
  state = "succeeded";
  assert.equal(await cancel(), `Run ${ID} had ended before: it has succeeded.`);
  assert.deepEqual((await cli.etl("cancel", ID, "--json")).json(), { run_id: ID, status: state });
  assert.equal((await cli.etl("retry", ID)).out, `Run ${ID} is queued again.`);
  assert.deepEqual((await cli.etl("retry", ID, "--json")).json(), { run_id: ID, status: "queued" });
  const before = cli.asked.length;
  const waited = await cli.etl("retry", ID, "--wait");
  assert.equal(waited.code, EXIT.succeeded);
  assert.match(waited.out, /inserted +90/);
  assert.deepEqual(cli.asked.slice(before).map(({ path }) => path), [
    `${RUN}/retry`,
    `${RUN}/events`,
  ]);
});

Deno.test("etl replay sends what is chosen and set, and says when the records are in hand already", async () => {
  let created = true;
  await using cli = answering({
    [`${RUN}/quarantine/replay`]: () => Response.json({ run_id: "r2", state: "queued", created }),
    "/api/etl/runs/r2/events": events({ ...run, run_id: "r2" }),
  });
  const plain = await cli.etl("replay", ID);
  assert.equal(plain.out, "Run r2 is queued. See it with `etl show r2`.");
  assert.deepEqual(cli.asked[0]!.body, { set: {}, dry_run: false });
  const set = ["--rule", "key_missing", "--dry-run", "--set", "transform=fixed"];
  assert.deepEqual((await cli.etl("replay", ID, ...set, "--json")).json(), {
    ...{ run_id: "r2", status: "queued", replay_of: ID },
  });
  assert.deepEqual(cli.asked[1]!.body, {
    ...{ rule: "key_missing", set: { transform: "fixed" }, dry_run: true },
  });
  created = false;
  const again = await cli.etl("replay", ID, "--wait");
  assert.match(again.err, /^Run r2 has these records in hand already\./);
  assert.match(again.out, /inserted +90/);
});

Deno.test("etl quarantine shows records where they stand, page by page, and what became of each", async () => {
  const item = (position: number, more: object = {}) => ({
    ...{ rule: "key_missing", field: "id", message: "is missing", file: "a.csv", line: position },
    ...{ chunk_no: 1, position, output: null, state: "open", tries: 0, replayed_by: null },
    ...{ raw: `{"n":${position}}`, raw_base64: null, ...more },
  });
  let items = [
    item(1),
    item(2, { line: null, field: null }),
    item(3, { file: null, state: "replayed", replayed_by: "r1" }),
    item(4, { state: "replaying", replayed_by: "r2" }),
    item(5, { state: "open", tries: 1, replayed_by: "r3", raw: "=1+1,\u001b" }),
    item(6, { state: "open", tries: 1200, replayed_by: "r3" }),
  ];
  let rules = [{ rule: "key_missing", count: 1234 }];
  await using cli = answering({
    [`${RUN}/quarantine`]: ({ query }: Asked) => {
      // long records: two a page, whatever is asked for
      const from = Number(query.cursor ?? 0);
      const to = Math.min(from + 2, from + Number(query.limit));
      return Response.json({
        ...{ items: items.slice(from, to), rules },
        next: to < items.length ? String(to) : null,
      });
    },
  });
  const quarantine = (...args: string[]) => cli.etl("quarantine", ID, ...args);
  const shown = await quarantine("--limit", "5");
  assert.deepEqual(trimmed(shown.out), [
    "RECORDS  RULE",
    "  1,234  key_missing",
    "",
    "a.csv:1  key_missing (id): is missing",
    '  {"n":1}',
    "",
    "a.csv, chunk 1, record 2  key_missing: is missing",
    '  {"n":2}',
    "",
    "chunk 1, record 3  key_missing (id): is missing",
    "  replayed by run r1",
    '  {"n":3}',
    "",
    "a.csv:4  key_missing (id): is missing",
    "  run r2 replays it",
    '  {"n":4}',
    "",
    "a.csv:5  key_missing (id): is missing",
    "  still rejected after 1 replay, last by run r3",
    "  =1+1,\\u001b",
    "",
    "There are more: --limit shows up to 1000, --all all of them.",
  ]);
  assert.equal(shown.err, `With a corrected transform or suite: etl replay ${ID}`);
  assert.deepEqual(cli.asked.map(({ query }) => query), [
    { limit: "5" },
    { limit: "3", cursor: "2" },
    { limit: "1", cursor: "4" },
  ]);
  const all = await quarantine("--all", "--rule", "key_missing");
  assert.match(all.out, /still rejected after 1,200 replays, last by run r3\n {2}\{"n":6\}$/);
  assert.deepEqual(cli.asked.at(-1)!.query, { limit: "1000", rule: "key_missing", cursor: "4" });
  const json = (await quarantine("--json")).json() as { items: unknown[]; rules: unknown };
  assert.deepEqual([json.items, json.rules], [items, rules]);
  const lines = (await quarantine("--all", "--format", "ndjson")).out.split("\n");
  assert.deepEqual(lines.map((line) => JSON.parse(line)), items);
  assert.equal((await quarantine("--limit", "3", "--format", "ndjson")).out.split("\n").length, 3);
  const csv = (await quarantine("--all", "--format", "csv")).out.split(/\r\n?/).slice(0, -1);
  assert.equal(csv.length, 1 + 6);
  assert.equal(
    csv[0],
    "rule,field,message,file,line,chunk_no,position,output,state,tries,replayed_by,raw,raw_base64",
  );
  assert.equal(csv[1], 'key_missing,id,is missing,a.csv,1,1,1,,open,0,,"{""n"":1}",');
  assert.match(csv[5]!, /,"'=1\+1,/, "harmless to a spreadsheet");
  items = items.filter(({ state }) => state !== "open");
  assert.equal((await quarantine()).err, "", "nothing is left to replay");
  items = [];
  assert.match((await quarantine("--rule", "x")).out, /\n\nNo record was rejected by that rule\.$/);
  rules = [];
  assert.equal((await quarantine()).out, `Run ${ID} has rejected no record.`);
  assert.equal((await quarantine("--all", "--format", "ndjson")).out, "");
  const before = cli.asked.length;
  assert.match((await quarantine("--all", "--limit", "5")).err, /--all and --limit exclude/);
  assert.match((await quarantine("--format", "xml")).err, /--format must be csv or ndjson/);
  assert.equal((await quarantine("--limit", "1001")).code, EXIT.usage);
  assert.equal(cli.asked.length, before);
});
