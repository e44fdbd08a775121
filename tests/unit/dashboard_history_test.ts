import assert from "node:assert/strict";
import { runsPage } from "../../routes/dashboard/history_page.tsx";
import { decodeCursor, encodeCursor } from "../../routes/shared/page_cursor.ts";
import type { HistoryPage, HistoryRow } from "../../store/history.ts";
import {
  attribute,
  element,
  elements,
  mainOf,
  newAssets,
  RUN,
  textOf,
  texts,
  type Visit,
  visit,
} from "../helpers/pages.ts";

/** A place in a list by ratio. */
const PLACE = encodeCursor(["0.5", RUN(9)]);

function row(changes: Partial<HistoryRow> = {}): HistoryRow {
  return {
    run_id: RUN(1),
    run_label: "sales",
    state: "succeeded",
    trigger: "schedule",
    dry_run: false,
    replay: false,
    requested_at: "2026-01-01T23:30:05Z",
    ended_at: "2026-01-01T23:31:05Z",
    duration_ms: 61_000,
    num_chunks: 4,
    total_rows: 12_345,
    expected_rows: 12_346,
    inserted: 1,
    updated: 2,
    unchanged: 3,
    rejected: 1001,
    deleted: 5,
    marked: 6,
    ratio: 0.9999,
    low_ratio: false,
    position: "p",
    ...changes,
  };
}

type More = Partial<HistoryPage> & Visit & { labels?: string[] };

function asVisit({ labels = ["sales", "stock"], found, ...more }: More): Visit {
  const { rows, count = 1, hasPrevious = false, hasNext = false, ...options } = more as More & {
    rows?: HistoryRow[];
  };
  const page = { rows: rows ?? [row()], count, hasPrevious, hasNext };
  return { ...options, rows: {}, found: { history: page, labels, ...found } };
}

const list = (path: string, more: object = {}) => mainOf(runsPage, path, asVisit(more));

const anyone = (role: "viewer" | "operator") => ({
  name: "ada",
  role,
  via: "token" as const,
  tokenId: "1",
});

const cellsOf = (html: string) => elements(element(html, "tr", "data-run"), "t[hd]", "");

Deno.test("a run in the list says what it is, what it loaded, how much of it and how long it took", async () => {
  const headers = { cookie: "etl_zone=Asia%2FTokyo" };
  const html = await list("/etl/runs", { rows: [row({ dry_run: true, replay: true })], headers });
  const tr = element(html, "tr", "data-run");
  assert.deepEqual([element(tr, "th"), ...elements(tr, "td")].map(textOf), [
    textOf(element(tr, "th")),
    "Succeeded",
    "02 Jan 2026, 08:30:05 GMT+9",
    "Schedule",
    "12,345",
    "1,001",
    "99.99%",
    "4",
    "1 min 01 s",
  ]);
  assert.deepEqual(texts(element(tr, "th")).slice(0, 3), ["sales", "Dry run", "Replay"]);
  const replay = await list("/etl/runs", { rows: [row({ replay: true })] });
  assert.deepEqual(elements(replay, "span", 'class="tag"').map(textOf), ["Replay"]);
  assert.equal(attribute(element(tr, "a"), "href"), `/etl/runs/${RUN(1)}`);
  assert.deepEqual(
    elements(html, "th", 'scope="col"').map(textOf).filter((text) => text !== ""),
    ["State", "Label", "Requested", "Trigger", "Rows", "Rejected", "Ratio", "Chunks", "Duration"],
  );
});

Deno.test("what a run has not come to is a dash, not a nought; a ratio that is too low is marked", async () => {
  const none = {
    total_rows: null,
    rejected: null,
    ratio: null,
    num_chunks: null,
    duration_ms: null,
    trigger: "by hand",
  };
  const html = await list("/etl/runs", { rows: [row(none)] });
  const cells = elements(element(html, "tr", "data-run"), "td").map(textOf);
  assert.deepEqual(cells.slice(2), ["by hand", "–", "–", "–", "–", "–"]);
  assert.equal(elements(html, "td", "is-bad").length, 0);
  const noughts = await list("/etl/runs", {
    rows: [row({ total_rows: 0, rejected: 0, ratio: 0, num_chunks: 0, duration_ms: 0 })],
  });
  assert.deepEqual(
    elements(element(noughts, "tr", "data-run"), "td").map(textOf).slice(3),
    ["0", "0", "0%", "0", "0 ms"],
  );
  assert.deepEqual(texts(element(element(html, "tr", "data-run"), "th")).slice(0, 1), ["sales"]);
  const low = await list("/etl/runs", { rows: [row({ low_ratio: true, ratio: 0.5 })] });
  assert.deepEqual(elements(low, "td", "is-bad").map(textOf), ["50%"]);
});

const UP = "M6 15l6-6 6 6";
const DOWN = "M6 9l6 6 6-6";

Deno.test("a click on a column sorts by it, a second one the other way round, from the first page on", async () => {
  const heads = async (path: string) => {
    const html = await list(path);
    const all = elements(html, "th", 'scope="col"').filter((th) => th.includes("sort-mark"));
    const arrow = (th: string) =>
      th.includes("sort-mark off") ? "" : `${attribute(element(th, "path"), "d")} `;
    return Object.fromEntries(all.map((th) => [
      arrow(th) + textOf(th),
      `${attribute(th, "aria-sort")} ${attribute(element(th, "a"), "href")}`,
    ]));
  };
  const usual = await heads("/etl/runs?state=failed&limit=50");
  assert.equal(usual[`${DOWN} Requested`], "descending /etl/runs?state=failed&order=asc&limit=50");
  assert.equal(usual.Rows, "none /etl/runs?state=failed&sort=total_rows&limit=50");
  const sorted = await heads(`/etl/runs?sort=ratio&order=asc&after=${PLACE}`);
  assert.equal(sorted[`${UP} Ratio`], "ascending /etl/runs?sort=ratio");
  assert.equal(sorted.Requested, "none /etl/runs");
});

Deno.test("pages of the list begin after its last row and end before its first", async () => {
  const rows = [row({ run_id: RUN(1), position: "30" }), row({ run_id: RUN(2), position: "20" })];
  const html = await list(`/etl/runs?run_label=a%26b&sort=ratio&after=${PLACE}`, {
    rows,
    hasPrevious: true,
    hasNext: true,
  });
  const at = (rel: string) =>
    new URL(attribute(element(html, "a", `rel="${rel}"`), "href")!, "http://here").searchParams;
  const cursor = (text: string | null) => decodeCursor(text!, ["text", "uuid"]);
  assert.deepEqual(cursor(at("next").get("after")), ["20", RUN(2)]);
  assert.deepEqual(cursor(at("prev").get("before")), ["30", RUN(1)]);
  for (const rel of ["next", "prev"]) {
    assert.deepEqual([at(rel).get("run_label"), at(rel).get("sort")], ["a&b", "ratio"]);
  }
  assert.deepEqual([at("next").get("before"), at("prev").get("after")], [null, null]);
  const only = await list("/etl/runs");
  assert.deepEqual(elements(only, "span", 'aria-disabled="true"').map(textOf), [
    "Previous",
    "Next",
  ]);
});

Deno.test("the number of runs is said as far as they were counted", async () => {
  const pager = async (count: number) =>
    texts(element(await list("/etl/runs", { count }), "div", 'class="pager"')).slice(0, 2);
  assert.deepEqual(await pager(10_000), ["10,000 runs", "1 on this page"]);
  assert.deepEqual(await pager(10_001), ["More than 10,000 runs", "1 on this page"]);
});

Deno.test("the file and the news have the filters of the page; the news begin at the first page", async () => {
  const html = await list(`/etl/runs?run_label=a%26b&sort=ratio&order=asc&after=${PLACE}`);
  assert.equal(
    attribute(element(html, "a", "download="), "href"),
    `/etl/runs.csv?run_label=a%26b&sort=ratio&order=asc&after=${PLACE}`,
  );
  assert.equal(
    attribute(element(html, "a", "news"), "href"),
    "/etl/runs?run_label=a%26b&sort=ratio&order=asc",
  );
});

Deno.test("the filters show what the address says, and keep its order", async () => {
  const path =
    "/etl/runs?run_label=gone&state=failed&dry_run=false&start=2026-01-01&end=2026-01-02T10:00Z&limit=40&sort=ratio&order=asc";
  const form = element(await list(path), "form", "filters");
  const chosen = elements(form, "select").map((select) => [
    attribute(select, "name"),
    elements(select, "option", " selected").map((option) => attribute(option, "value")).join(),
  ]);
  assert.deepEqual(chosen, [
    ["run_label", "gone"],
    ["state", "failed"],
    ["dry_run", "false"],
    ["limit", "40"],
  ]);
  const inputs = elements(form, "input").map((input) => [
    attribute(input, "name"),
    attribute(input, "type"),
    attribute(input, "value"),
  ]);
  assert.deepEqual(inputs, [
    ["sort", "hidden", "ratio"],
    ["order", "hidden", "asc"],
    ["start", "date", "2026-01-01"],
    ["end", "text", "2026-01-02T10:00Z"],
  ]);
  const limits = elements(element(form, "select", 'name="limit"'), "option").map(textOf);
  assert.deepEqual(limits, ["30", "40", "50", "100", "200"]);
  const labels = elements(element(form, "select", 'name="run_label"'), "option").map(textOf);
  assert.deepEqual(labels, ["Any", "gone", "sales", "stock"]);
  const dry = elements(element(form, "select", 'name="dry_run"'), "option", " selected");
  assert.deepEqual(dry.map(textOf), ["Without dry runs"]);
  const states = elements(element(form, "select", 'name="state"'), "option").map(textOf);
  assert.deepEqual(states, ["Any", "Queued", "Running", "Succeeded", "Failed", "Cancelled"]);
  const usual = element(await list("/etl/runs"), "form", "filters");
  assert.deepEqual(elements(usual, "input", "hidden"), []);
  assert.doesNotMatch(usual, /Clear filters/);
});

Deno.test("an empty list says whether a filter made it so, and what to do then", async () => {
  const link = async (path: string) => {
    const empty = element(await list(path, { rows: [] }), "div", "empty large");
    return [textOf(element(empty, "h2")), attribute(element(empty, "a"), "href")];
  };
  assert.deepEqual(await link("/etl/runs"), ["No run yet", "/etl/new"]);
  assert.deepEqual(await link("/etl/runs?sort=ratio"), ["No run yet", "/etl/new"]);
  for (const filter of ["start=2026-01-01", "end=2026-01-01", "run_label=x", "state=failed"]) {
    assert.deepEqual(
      await link(`/etl/runs?${filter}`),
      ["No run matches these filters", "/etl/runs"],
      filter,
    );
  }
  assert.equal((await link("/etl/runs?dry_run=true"))[1], "/etl/runs");
});

Deno.test("only who may act on runs can choose some", async () => {
  for (const [role, boxes] of [["viewer", 0], ["operator", 2]] as const) {
    const html = await list("/etl/runs", {
      identity: anyone(role),
      rows: [row({ state: "failed" })],
    });
    assert.equal(elements(html, "input", 'type="checkbox"').length, boxes, role);
    assert.equal(html.includes("data-bulk"), boxes > 0, role);
    // what its script goes by
    const tr = element(html, "tr", "data-run");
    assert.deepEqual(["data-run", "data-state"].map((name) => attribute(tr, name)), [
      RUN(1),
      "failed",
    ]);
    assert.equal(textOf(element(tr, "td", "<td>")), "Failed");
    if (boxes > 0) assert.equal(attribute(element(tr, "input"), "aria-label"), "Choose sales");
    // as many cells as columns
    assert.equal(cellsOf(html).length, elements(html, "th", 'scope="col"').length, role);
  }
});

Deno.test("the file has the columns of the original first, and when each run ended", async () => {
  const answer = await visit(runsPage, "/etl/runs.csv?state=failed", asVisit({}));
  const [head, first] = (await answer.text()).split("\r\n");
  const columns = head!.split(",");
  const value = (name: string) => first!.split(",")[columns.indexOf(name)];
  assert.equal(value("at"), "2026-01-01T23:31:05Z");
  assert.deepEqual(["run_id", "rejected", "marked"].map(value), [RUN(1), "1001", "6"]);
  assert.ok(!columns.includes("position"));
  assert.match(answer.headers.get("content-type")!, /^text\/csv/);
  assert.match(
    answer.headers.get("content-disposition")!,
    /^attachment; filename="etl_runs\.csv"$/,
  );
});

Deno.test("days of the filters are those of the viewer, and who was told of a run sees it within the second", async () => {
  const asked: string[] = [];
  const found = {
    history: (key: string) => {
      asked.push(key);
      return { rows: [], count: 0, hasPrevious: false, hasNext: false };
    },
  };
  const headers = { cookie: "etl_zone=Asia%2FTokyo" };
  await list("/etl/runs?start=2026-01-02", { found, headers });
  assert.match(asked[0]!, /"start":"2026-01-01T15:00:00.000Z"/);
  const assets = newAssets();
  await list("/etl/runs", { found, assets });
  await list(`/etl/runs?since=${RUN(1)}`, { found, assets });
  assert.notEqual(asked[1], asked[2]);
  const seen = async (path: string, label: string) =>
    (await list(path, { rows: [row({ run_label: label })], assets })).includes(`>${label}<`);
  assert.ok(await seen(`/etl/runs?since=${RUN(2)}`, "first"));
  assert.ok(await seen(`/etl/runs?since=${RUN(3)}`, "second"));
  assert.ok(await seen("/etl/runs?state=failed", "third"));
});
