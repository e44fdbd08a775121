import assert from "node:assert/strict";
import { RunView } from "../../islands/run.tsx";
import type { RunPageData } from "../../islands/run/run_data.ts";
import type { ChunkView } from "../../store/run_views.ts";
import type { RunDetail, StageView } from "../../vocabulary/run_schema.ts";
import { all, FakeEventSource, type Life, type Live, Living } from "../helpers/dom.ts";
import { attribute, element, elements, htmlOf, type Look, textOf } from "../helpers/pages.ts";

const ID = "00000000-0000-4000-8000-000000000001";
/** An hour after the run was requested. */
const LATER: Look = { now: "2026-01-02T00:30:00Z" };

function run(changes: Partial<RunDetail> = {}): RunDetail {
  return {
    run_id: ID,
    run_label: "sales",
    state: "succeeded",
    attempt: 1,
    trigger: "schedule",
    requested_by: "ada",
    dry_run: false,
    dataset: "public.a b",
    pool: "small",
    replay_of: null,
    requested_at: "2026-01-01T23:30:00Z",
    started_at: "2026-01-01T23:30:10Z",
    ended_at: "2026-01-01T23:31:40Z",
    cancel_requested_at: null,
    duration_ms: 90_000,
    waited_ms: 10_000,
    queue_position: null,
    expected_rows: 1300,
    ratio: 0.95,
    low_ratio: false,
    counts: { records_read: 9000, inserted: 1000, updated: 200, unchanged: 34, rejected: 0 },
    error: null,
    warnings: [],
    params: { min_acceptance_ratio: { value: 0.9, origin: "default" } },
    stages: [],
    servers: [],
    sharing: { alone: null, left: [] },
    ...changes,
  } as RunDetail;
}

function data(changes: Partial<RunDetail> = {}, extras: Partial<RunPageData> = {}): RunPageData {
  return {
    run: run(changes),
    remedies: [],
    problem: null,
    chunks: { states: "pp", retried: {} },
    log: [],
    quarantine: { items: [], next: null, rules: [] },
    validation: null,
    relations: { event_no: null, consumers: [], replays: [], alerts: [] },
    ...extras,
  };
}

const page = (changes: Partial<RunDetail> = {}, extras: Partial<RunPageData> = {}, look = LATER) =>
  htmlOf(RunView, data(changes, extras), look);

const card = (html: string, name: string) =>
  element(html, "section", `aria-labelledby="${name}-title"`);

const figures = (changes: Partial<RunDetail>, extras: Partial<RunPageData> = {}) =>
  elements(element(page(changes, extras), "dl", "figures"), "div", 'class="figure"').map((div) =>
    `${textOf(element(div, "dt"))}: ${elements(div, "dd").map(textOf).filter(Boolean).join(", ")}`
  );

const working = { state: "running", ended_at: null, duration_ms: null, waited_ms: 60_000 } as const;

Deno.test("the figures of a run say what came of it, how fast, and how long it worked and waited", () => {
  assert.deepEqual(figures({}), [
    "Progress: 100%, 2 of 2 chunks",
    "Rows: 1,234, 1,300 rows expected",
    "Acceptance ratio: 95%, at least 90% is required",
    "Throughput: 100, records a second",
    "Duration: 1 min 30 s, and 10.0 s waiting",
  ]);
  const low = page({ ratio: 0.5, low_ratio: true });
  assert.deepEqual(elements(low, "dd", "figure-main is-bad").map(textOf), ["50%"]);
  assert.match(figures({ ratio: 0.5 })[2]!, /below the required 90%/);
  assert.match(figures({ ratio: 0.9 })[2]!, /at least 90% is required/);
  assert.deepEqual(
    figures({ dry_run: true, expected_rows: null })[1],
    [
      "Rows (nothing written): 1,234, 9,000 records read",
    ][0],
  );
});

Deno.test("a run that works says how far it is; a prepared chunk is half of one that is published", () => {
  const chunks = { states: "pprl", retried: {} };
  assert.deepEqual(figures({ ...working, ratio: null }, { chunks }), [
    "Progress: 62.5%, 2 of 4 chunks",
    "Rows: 1,234, 1,300 rows expected",
    "Acceptance ratio: –, at least 90% is required",
    // an hour since the request, but for a minute
    "Throughput: 3, records a second",
    "Duration: 59 min 00 s, and 1 min 00 s waiting",
  ]);
  // a dry run publishes none
  assert.equal(
    figures({ ...working, dry_run: true }, { chunks })[0],
    "Progress: 75%, 3 of 4 chunks",
  );
  const widths = elements(page(working, { chunks }), "rect", "chunk-fill")
    .map((rect) => attribute(rect, "width"));
  assert.deepEqual(widths, ["75%", "50%"]);
  const none = { chunks: { states: "", retried: {} } };
  assert.match(figures(working, none)[0]!, /^Progress: –, Chunks appear once/);
  assert.match(figures({ state: "failed" }, none)[0]!, /^Progress: –, The run ended before/);
  // of one that succeeded nothing is left to do
  const left = { chunks: { states: "pr", retried: {} } };
  assert.equal(figures({}, left)[0], "Progress: 100%, 1 of 2 chunks");
  // one in the queue works not, and has waited until now
  const queued = { ...working, state: "queued", started_at: null, counts: {} } as const;
  assert.deepEqual(figures(queued, none).slice(3), [
    "Throughput: –, records a second",
    "Duration: 0 ms, and 1 h 00 min waiting",
  ]);
});

Deno.test("a run says what it is, who asked for it and where it stands", () => {
  const facts = (changes: Partial<RunDetail>) =>
    textOf(element(page(changes, {}, { ...LATER, zone: "Asia/Tokyo" }), "p", "run-facts"));
  assert.equal(facts({}), `${ID} Requested 02 Jan 2026, 08:30:00 GMT+9 Schedule · ada`);
  assert.match(
    facts({ ...working, state: "queued", attempt: 2, queue_position: 3, trigger: "own" }),
    /own · ada attempt 2 number 3 in the queue of small$/,
  );
  const head = element(
    page({ dry_run: true, replay_of: "other", run_label: "<b>" }),
    "div",
    "run-head",
  );
  assert.match(textOf(head), /^Runs <b> Succeeded Dry run Replay of another run /);
  assert.equal(attribute(element(head, "a", 'class="tag"'), "href"), "/etl/runs/other");
});

Deno.test("what can be done with a run is what its state allows", () => {
  const actions = (changes: Partial<RunDetail>, role: Look["role"] = "admin") => {
    const html = element(page(changes, {}, { ...LATER, role: role! }), "div", "page-actions");
    return [...elements(html, "button"), ...elements(html, "a")].map((each) =>
      textOf(each) + (attribute(each, "disabled") === null ? "" : " (off)")
    );
  };
  const again = ["Run again with changes", "Schedule this"];
  assert.deepEqual(actions({}), again);
  assert.deepEqual(actions({ state: "failed" }), ["Retry", ...again]);
  assert.deepEqual(actions({ state: "cancelled" }), ["Retry", ...again]);
  assert.deepEqual(actions(working), ["Cancel run", ...again]);
  assert.deepEqual(
    actions({ ...working, cancel_requested_at: "2026-01-02T00:00:00Z" }),
    ["Cancelling (off)", ...again],
  );
  assert.deepEqual(actions(working, "viewer"), ["Cancel run (off)", again[0]]);
  assert.deepEqual(actions({ state: "failed" }, "viewer"), ["Retry (off)", again[0]]);
  assert.deepEqual(actions({ state: "failed" }, "operator"), ["Retry", again[0]]);
  // neither what was sent once nor a replay can be scheduled
  const sent = { source: { value: { upload_id: "u" }, origin: "request" } };
  assert.deepEqual(actions({ params: sent as RunDetail["params"] }), [again[0]]);
  assert.deepEqual(actions({ replay_of: "x" }), [again[0]]);
  const links = elements(element(page(), "div", "page-actions"), "a");
  assert.deepEqual(links.map((a) => attribute(a, "href")), [
    `/etl/new?from=${ID}`,
    `/etl/schedules?from=${ID}`,
  ]);
});

const error = {
  type: "/api/problems/invalid-conf",
  title: "Title <b>",
  status: 422,
  detail: "Detail <b>",
  errors: [{ field: "a.b", message: "must be <c>" }],
};

Deno.test("a run that failed says why, what helps and where to read on", () => {
  const remedies = ["Retry `etl retry ID`", "See {id}, not IDs"];
  const html = element(
    page(
      { state: "failed", error, counts: { rejected: 2 } },
      { remedies },
    ),
    "div",
    'class="notice',
  );
  assert.equal(
    textOf(html),
    `Title <b> Detail <b> a.b must be <c> What to do Retry etl retry ${ID} See ${ID}, not IDs ` +
      "Run again with changes See the rejected records About this kind of problem",
  );
  assert.equal(attribute(html, "class"), "notice is-problem");
  assert.deepEqual(elements(html, "a").map((a) => attribute(a, "href")), [
    `/etl/new?from=${ID}`,
    "#quarantine",
    "/api/problems/invalid-conf?lang=en",
  ]);
  // nobody has to mend what somebody has cancelled
  const cancelled = element(
    page({ state: "cancelled", error }, { remedies }),
    "div",
    'class="notice',
  );
  assert.equal(attribute(cancelled, "class"), "notice is-warning");
  assert.doesNotMatch(textOf(cancelled), /What to do|See the rejected/);
  const spanish = element(
    page({ state: "failed", error }, {
      remedies: ["Hazlo"],
      problem: { title: "Título", meaning: "Porque `x`" },
    }, { ...LATER, lang: "es" }),
    "div",
    'class="notice',
  );
  assert.match(textOf(spanish), /^Título Porque x Detail <b>/);
  assert.equal(
    attribute(elements(spanish, "a").at(-1)!, "href"),
    "/api/problems/invalid-conf?lang=es",
  );
  assert.equal(elements(page(), "div", 'class="notice').length, 0);
});

const rules = [{ rule: "a", count: 1000 }, { rule: "b", count: 234 }];
const titles = (html: string) =>
  elements(element(html, "div", "run-columns"), "h2").map(textOf).slice(0, 5);

Deno.test("of a run that failed comes first what may say why, of others how it went", () => {
  const quarantine = { items: [], next: null, rules };
  const validation = { success: false, results: [], statistics: {} } as never;
  assert.deepEqual(titles(page()), ["Stages", "Chunks", "Log", "Validation", "Quarantine"]);
  assert.deepEqual(
    titles(page({ state: "failed" }, { quarantine })),
    [
      ...["Quarantine 1,234", "Log", "Validation", "Stages", "Chunks"],
    ].map((title) => title.replace(" 1,234", "")),
  );
  assert.equal(titles(page({ state: "failed" }, { validation }))[0], "Validation");
  const jumps = elements(element(page({}, { quarantine }), "nav", "jumps"), "a");
  assert.equal(
    textOf(jumps[0]!),
    "Rejected records 1,234".replace("Rejected records", "Quarantine"),
  );
  assert.equal(textOf(elements(element(page(), "nav", "jumps"), "a")[0]!), "Quarantine");
  // each leads to a part that is there
  const html = page({}, { quarantine });
  for (const jump of jumps) assert.ok(html.includes(`id="${attribute(jump, "href")!.slice(1)}"`));
});

const stage = (changes: Partial<StageView>): StageView => ({
  stage: "extract",
  state: "succeeded",
  started_at: "2026-01-01T23:30:25Z",
  ended_at: "2026-01-01T23:30:50Z",
  busy_ms: 3000,
  records_in: 0,
  records_out: 9000,
  attempts: 1,
  error: null,
  ...changes,
});

Deno.test("stages stand where they were in the run's time, in their order, with what they let through", () => {
  const stages = [
    stage({ stage: "finalize", state: "failed", started_at: "2026-01-01T23:31:40Z" }),
    stage({ stage: "load", state: "running", ended_at: null, busy_ms: 0 }),
    stage({}),
  ];
  const rows = elements(element(card(page({ stages }), "stages"), "tbody"), "tr");
  const cells = rows.map((row) => [
    textOf(element(row, "th")),
    ...elements(row, "td").slice(1).map(textOf),
  ]);
  assert.deepEqual(cells[0], ["extract Succeeded", "25.0 s", "3.0 s", "9,000"]);
  assert.deepEqual(cells[1], ["transform Pending", "–", "–", "–"]);
  // one that still works lasts until now, which is the end of a run that is over
  assert.deepEqual(cells[5], ["load Running", "1 min 15 s", "–", "9,000"]);
  assert.deepEqual(cells[6], ["finalize Failed", "0 ms", "3.0 s", "–"]);
  const bars = elements(rows[0]!, "rect").map((rect) => [
    attribute(rect, "x"),
    attribute(rect, "width"),
  ]);
  assert.deepEqual(bars, [["25.000%", "2"], ["25.000%", "25.000%"]]);
  assert.equal(elements(rows[1]!, "rect").length, 0);
  const scale = element(card(page({ stages }), "stages"), "span", 'class="scale"');
  assert.equal(textOf(scale), "0 ms 25.0 s 50.0 s 1 min 15 s 1 min 40 s");
});

Deno.test("what became of the records is counted, with nothing left out; warnings are said", () => {
  const html = card(
    page({ counts: { rejected: 1200, inserted: 5 }, warnings: ["careful <b>"] }),
    "counts",
  );
  const pairs = elements(html, "div").filter((div) => div.includes("<dt>"));
  const values = Object.fromEntries(
    pairs.map((div) => [textOf(element(div, "dt")), textOf(element(div, "dd"))]),
  );
  assert.equal(Object.keys(values).length, 10);
  assert.deepEqual([values.Rejected, values.Inserted, values["Records read"]], ["1,200", "5", "0"]);
  assert.deepEqual(elements(html, "dd", "is-bad").map(textOf), ["1,200"]);
  assert.equal(textOf(element(html, "ul")), "careful <b>");
});

Deno.test("parameters say their values and where they came from; defaults are folded away", () => {
  const params = {
    z: { value: null, origin: "configuration" },
    source: { value: { type: "file", key: ["a", 1] }, origin: "request" },
    batch_size: { value: 500, origin: "default" },
  } as unknown as RunDetail["params"];
  const html = card(page({ params }), "params");
  const [chosen, defaults] = elements(html, "dl");
  assert.equal(textOf(chosen!), 'source request type file key ["a",1] z configuration –');
  assert.equal(textOf(defaults!), "batch_size 500");
  assert.equal(textOf(element(html, "summary")), "1 default");
  assert.match(textOf(card(page(), "params")), /All parameters have their defaults/);
});

Deno.test("the lineage names source, dataset and consumers, and what a run did to them", () => {
  const of = (changes: Partial<RunDetail>, relations: object = {}) =>
    card(
      page(changes, {
        relations: { event_no: null, consumers: [], replays: [], alerts: [], ...relations },
      }),
      "lineage",
    );
  const params = (source: object) =>
    ({ source: { value: source, origin: "request" } }) as unknown as RunDetail["params"];
  const file = of({ params: params({ type: "file", path: "a<b>.csv", name: "n" }) }, {
    event_no: 1200,
    consumers: [{ consumer: "daily", state: "failed" }, { consumer: "new", state: null }],
    alerts: [{ kind: "low_ratio", severity: "error", message: "x <b>", created_at: "" }],
  });
  assert.deepEqual(elements(file, "li").map(textOf), [
    "Source file a<b>.csv",
    "Dataset public.a b changed: dataset event 1,200",
    "Consumer daily failed",
    "Consumer new",
    "Low acceptance ratio x <b>",
  ]);
  assert.equal(attribute(element(file, "a"), "href"), "/etl/datasets/public.a%20b");
  const second = (changes: Partial<RunDetail>) => textOf(elements(of(changes), "li")[1]!);
  assert.equal(second({}), "Dataset public.a b no dataset event");
  assert.equal(second({ dry_run: true }), "Dataset public.a b not touched by a dry run");
  assert.equal(second(working), "Dataset public.a b");
  const own = of({ params: params({ type: "own", url: "http://x" }) });
  assert.equal(textOf(elements(own, "li")[0]!), "Source own http://x");
});

const line = (line_no: number, changes: object = {}) => ({
  line_no,
  logged_at: "2026-01-01T23:30:00Z",
  level: "info",
  message: `line ${line_no}`,
  fields: {},
  ...changes,
});

const living = (initial: RunPageData, life: Life = {}) =>
  Living.of(RunView, initial, { ...LATER, ...life });
const shownLines = (living: Living) =>
  living.all((node) => /^log-line/.test(node.getAttribute("class") ?? ""))
    .map((node) => node.textContent.trim());

Deno.test("the log is looked through for a text, in any case, and for warnings", async () => {
  const log = [
    line(1, { fields: { run_id: ID, run_label: "sales", rows: 5, file: "A.csv" } }),
    line(2, { level: "debug" }),
    line(3, { level: "warn", message: "odd <b>" }),
    line(4, { level: "error" }),
  ];
  using live = await living(data({}, { log }));
  assert.equal(shownLines(live)[0], "23:30:00 info line 1 rows=5 file=A.csv");
  assert.equal(shownLines(live).length, 4);
  await live.click("button", "Warnings");
  assert.deepEqual(shownLines(live).map((text) => text.slice(9)), ["warn odd <b>", "error line 4"]);
  await live.type(live.one("input", "Find in the log"), "LINE");
  assert.equal(shownLines(live).length, 1);
  await live.type(live.one("input", "Find in the log"), "nowhere");
  assert.match(live.root.textContent, /No line matches\./);
  await live.click("button", "All");
  await live.type(live.one("input", "Find in the log"), "a.CSV");
  assert.equal(shownLines(live).length, 1);
});

Deno.test("a log without lines says whether some will come", () => {
  const said = (changes: Partial<RunDetail>, log: ReturnType<typeof line>[] = []) =>
    textOf(card(page(changes, { log }), "log"));
  assert.match(said({}), /Nothing was logged/);
  assert.match(said(working), /Lines appear here once/);
  const html = card(page({}, { log: [line(1)] }), "log");
  assert.equal(attribute(element(html, "a"), "href"), `/etl/runs/${ID}/log.txt`);
});

Deno.test("a run is followed by its events until it has ended, with lines of its log as they come", async () => {
  const more = { ...data(), log: [line(3)], chunks: { states: "ppp", retried: {} } };
  const answers = { [`GET /etl/runs/${ID}/data?log_after=2`]: more };
  using live = await living(data(working, { log: [line(1), line(2)] }), { answers });
  assert.equal(live.stream!.url, `/api/etl/runs/${ID}/events?n=1`);
  assert.equal(live.document.title, "Running: sales · etl-improved");
  await live.do(() => live.stream!.tell("run", run({ ...working, run_label: "renamed" })));
  assert.match(live.html, /renamed/);
  assert.deepEqual(shownLines(live).map((text) => text.slice(-6)), ["line 1", "line 2", "line 3"]);
  assert.match(live.html, /of 3 chunks/);
  const { stream } = live;
  await live.do(() => stream!.tell("end", run({ state: "failed", run_label: "renamed" })));
  assert.equal(stream!.readyState, FakeEventSource.CLOSED);
  assert.equal(live.document.title, "Failed: renamed · etl-improved");
  assert.doesNotMatch(live.html, /live-mark/);
  // what the last look may have missed
  const looks = live.asked.length;
  await live.pass();
  assert.equal(live.asked.length, looks + 1);
  assert.ok(live.asked.at(-1)!.endsWith("log_after=3"));
});

Deno.test("a run that has ended opens no stream, nor asks for anything again", async () => {
  using live = await living(data());
  assert.equal(live.stream, undefined);
  assert.deepEqual(live.asked, []);
  assert.doesNotMatch(live.html, /live-mark/);
});

Deno.test("a run is cancelled after a question, and says so; what is refused is said", async () => {
  const cancelling = run({ ...working, cancel_requested_at: "2026-01-02T00:00:00Z" });
  let answer: unknown = Response.json({ detail: "too <late>" }, { status: 409 });
  const path = `POST /api/etl/runs/${ID}/cancel`;
  using live = await living(data(working), { answers: { [path]: () => answer } });
  const dialogOf = (button: string) => {
    const dialog = live.all(({ localName }) => localName === "dialog")[0]!;
    return all(dialog, (node) => node.localName === "button" && node.textContent.includes(button))
      .at(-1)!;
  };
  await live.click("button", "Cancel run");
  assert.deepEqual(live.asked, []);
  assert.match(live.root.textContent, /Cancel this run\?/);
  await live.on(dialogOf("Cancel run"), "click");
  assert.deepEqual(live.asked, [path]);
  assert.match(textOf(element(live.html, "div", "notice is-problem")), /too <late>/);
  assert.ok(!live.one("button", "Cancel run").hasAttribute("disabled"), "to try again");
  answer = cancelling;
  await live.click("button", "Cancel run");
  await live.on(dialogOf("Cancel run"), "click");
  assert.doesNotMatch(live.html, /notice is-problem/);
  assert.ok(live.one("button", "Cancelling").hasAttribute("disabled"));
});

Deno.test("the id of a run is copied and that is said for a moment; without a clipboard it is selected", async () => {
  const copied: string[] = [];
  const clipboard = { writeText: (text: string) => Promise.resolve(void copied.push(text)) };
  using live = await living(data(), { globals: { navigator: { clipboard } } });
  const label = () => live.at(".run-id button").getAttribute("aria-label");
  assert.equal(label(), "Copy the run's id");
  await live.on(live.at(".run-id button"), "click");
  assert.deepEqual([copied, label()], [[ID], "Copied"]);
  await live.pass();
  assert.equal(label(), "Copy the run's id");
  const selected: string[] = [];
  const getSelection = () => ({
    selectAllChildren: (node: Live) => selected.push(node.textContent),
  });
  using plain = await living(data(), { globals: { navigator: {}, getSelection } });
  await plain.on(plain.at(".run-id button"), "click");
  assert.deepEqual(selected, [ID]);
  assert.equal(plain.at(".run-id button").getAttribute("aria-label"), "Copy the run's id");
});

Deno.test("a run that is retried is followed again", async () => {
  const path = `POST /api/etl/runs/${ID}/retry`;
  using live = await living(data({ state: "failed" }), { answers: { [path]: run(working) } });
  assert.equal(live.stream, undefined);
  await live.click("button", "Retry");
  assert.deepEqual(live.asked, [path]);
  assert.equal(live.stream!.url, `/api/etl/runs/${ID}/events?n=1`);
  assert.match(live.html, /is-running/);
});

Deno.test("chunks are cells by their state, counted, with those that needed several attempts", () => {
  const html = card(page({}, { chunks: { states: "plrx", retried: { 1: 3 } } }), "chunks");
  assert.deepEqual(elements(element(html, "ul", "legend"), "li").map(textOf), [
    "1 planned",
    "1 prepared",
    "1 published",
    "1 failed",
    "1 retried",
  ]);
  assert.deepEqual(
    elements(html, "button").map((cell) => [
      attribute(cell, "class")!.trim(),
      attribute(cell, "aria-label"),
      attribute(cell, "tabindex"),
    ]),
    [
      ["cell is-p", "Chunk 0: published", "0"],
      ["cell is-l is-retried", "Chunk 1: planned, 3 attempts", "-1"],
      ["cell is-r", "Chunk 2: prepared", "-1"],
      ["cell is-x", "Chunk 3: failed", "-1"],
    ],
  );
  assert.equal(textOf(card(page(), "chunks")), "Chunks 0 planned 0 prepared 2 published");
  const none = { chunks: { states: "", retried: {} } };
  assert.match(textOf(card(page({}, none), "chunks")), /The run ended before it had any chunks\.$/);
  assert.match(textOf(card(page(working, none), "chunks")), /Chunks appear once/);
});

Deno.test("a run says which servers had its chunks, and why others had none", () => {
  const servers = [
    { server_id: "one", count: 2, chunks: ["0–1"] },
    { server_id: "two", count: 1200, chunks: ["2", "4–1203"] },
  ];
  const facts = (changes: Partial<RunDetail>) =>
    elements(card(page(changes), "chunks"), "dl").flatMap((dl) => elements(dl, "div").map(textOf));
  assert.deepEqual(facts({ servers }), ["one 2 chunks: 0–1", "two 1,200 chunks: 2, 4–1203"]);
  assert.deepEqual(facts({ servers: servers.slice(0, 1) }), []);
  const sharing = { alone: "files", left: [{ server_id: "two", why: ["program", "data"] }] };
  assert.deepEqual(facts({ servers: servers.slice(0, 1), sharing } as Partial<RunDetail>), [
    "One server Its files are on one server (ETL_DATA_SHARED is not set)",
    "two Does not help: it runs another build of the program; ETL_DATA_SHARED is not set there",
  ]);
});

const chunk: ChunkView = {
  chunk_no: 1,
  state: "published",
  attempts: 2,
  worker: "w<1>",
  slice: { from: 0 },
  records_read: 5000,
  rejected: 7,
  filtered: 0,
  duplicates: 0,
  inserted: 1,
  updated: 2,
  unchanged: 3,
  deleted: 0,
  marked: 0,
  stage_ms: { extract: 1500, load: 1000 },
  prepared_at: null,
  published_at: null,
  error: { detail: "no <room>" },
};

const cellOf = (live: Living, no: number): Live =>
  live.all((node) => node.getAttribute("data-chunk") === String(no))[0]!;

const gridOf = (live: Living): Live =>
  live.all((node) => /^chunk-grid/.test(node.getAttribute("class") ?? ""))[0]!;

Deno.test("a chunk that is chosen is shown in full, looked up again when it has changed", async () => {
  const path = `GET /etl/runs/${ID}/chunks/1`;
  const answers: Record<string, unknown> = { [path]: chunk };
  using live = await living(data({}, { chunks: { states: "ppp", retried: {} } }), { answers });
  await live.on(cellOf(live, 1), "click");
  assert.deepEqual(live.asked, [path]);
  const detail = () => element(live.html, "div", "chunk-detail");
  assert.equal(
    textOf(element(detail(), "dl")),
    "State Published Attempts 2 Records read 5,000 Records/s 2,000 Rejected 7 New / changed / unchanged 1 / 2 / 3",
  );
  assert.match(
    textOf(detail()),
    /Chunk 1 .* Times extract 1\.5 s · load 1\.0 s Worker w<1> .* no <room>$/,
  );
  assert.equal(attribute(cellOf(live, 1).outerHTML, "aria-pressed"), "true");
  // of another one nothing is shown until it is known, and why it is not
  await live.on(cellOf(live, 2), "click");
  assert.match(textOf(detail()), /^Chunk 2 no GET \/etl\/runs\/.*\/chunks\/2 State … Attempts …/);
  await live.on(cellOf(live, 1), "click");
  assert.match(textOf(detail()), /^Chunk 1 State Published/);
  await live.click("button", "Close");
  assert.doesNotMatch(live.html, /chunk-detail/);
  answers[path] = { ...chunk, stage_ms: {}, worker: null, error: null };
  await live.on(cellOf(live, 1), "click");
  assert.match(textOf(detail()), /Records\/s – Rejected/);
  assert.doesNotMatch(textOf(detail()), /Times|Worker/);
});

Deno.test("a chunk that is looked at is looked up again when it has changed, and not otherwise", async () => {
  const at = (no: number) => `GET /etl/runs/${ID}/chunks/${no}`;
  const more = (states: string) => ({ ...data(), chunks: { states, retried: {} } });
  const answers: Record<string, unknown> = {
    [at(1)]: chunk,
    [`GET /etl/runs/${ID}/data?log_after=0`]: more("pxp"),
  };
  const chunks = { states: "prp", retried: {} };
  using live = await living(data(working, { chunks }), { answers });
  const looks = () => live.asked.filter((each) => each === at(1)).length;
  await live.on(cellOf(live, 1), "click");
  assert.equal(looks(), 1);
  answers[at(1)] = { ...chunk, state: "prepared" };
  await live.do(() => live.stream!.tell("run", run(working)));
  assert.equal(looks(), 2);
  assert.match(textOf(element(live.html, "div", "chunk-detail")), /State Prepared/);
  answers[`GET /etl/runs/${ID}/data?log_after=0`] = more("pxx");
  await live.pass();
  await live.do(() => live.stream!.tell("run", run(working)));
  assert.match(attribute(cellOf(live, 2).outerHTML, "class")!, /is-x/);
  assert.equal(looks(), 2);
});

Deno.test("an answer of a chunk that is looked at no more does not take another's place", async () => {
  const late = Promise.withResolvers();
  const answers = {
    [`GET /etl/runs/${ID}/chunks/1`]: () => late.promise,
    [`GET /etl/runs/${ID}/chunks/2`]: { ...chunk, chunk_no: 2 },
  };
  using live = await living(data({}, { chunks: { states: "ppp", retried: {} } }), { answers });
  await live.on(cellOf(live, 1), "click");
  await live.on(cellOf(live, 2), "click");
  await live.do(() => late.resolve(chunk));
  assert.match(textOf(element(live.html, "div", "chunk-detail")), /^Chunk 2 State Published/);
});

Deno.test("of very many chunks those are there that are in view, and the keys scroll to the others", async () => {
  using live = await living(data({}, { chunks: { states: "p".repeat(700), retried: {} } }));
  const grid = gridOf(live);
  const there = () => {
    const cells = live.all((node) => node.dataset.chunk !== undefined);
    return [cells[0]!, cells.at(-1)!].map((cell) => cell.getAttribute("aria-label"));
  };
  // ten cells a row, ten rows in view and four more
  assert.deepEqual(there(), ["Chunk 0: published", "Chunk 149: published"]);
  grid.scrollTop = 900;
  await live.on(grid, "scroll");
  assert.deepEqual(there(), ["Chunk 460: published", "Chunk 649: published"]);
  await live.on(grid, "keydown", { key: "End" });
  assert.equal(grid.scrollTop, 1080);
  await live.on(grid, "scroll");
  assert.equal(live.focused(cellOf(live, 699)), 1);
  await live.on(grid, "keydown", { key: "Home" });
  assert.equal(grid.scrollTop, 0);
});

Deno.test("arrow keys go from chunk to chunk, and stop at the first and the last", async () => {
  using live = await living(data({}, { chunks: { states: "p".repeat(10), retried: {} } }));
  const grid = gridOf(live);
  const at = () =>
    live.all((node) => node.getAttribute("tabIndex") === "0" && node.dataset.chunk !== undefined)
      .map((node) => node.dataset.chunk).join();
  const press = async (key: string) => {
    const event = await live.on(grid, "keydown", { key });
    return [at(), event.defaultPrevented];
  };
  assert.deepEqual(await press("ArrowLeft"), ["0", true]);
  assert.deepEqual(await press("ArrowRight"), ["1", true]);
  assert.equal(live.focused(cellOf(live, 1)), 1);
  assert.deepEqual(await press("End"), ["9", true]);
  assert.deepEqual(await press("ArrowRight"), ["9", true]);
  assert.deepEqual(await press("Home"), ["0", true]);
  assert.deepEqual(await press("a"), ["0", false]);
  await live.on(cellOf(live, 5), "click");
  assert.deepEqual(await press("ArrowRight"), ["6", true]);
});
