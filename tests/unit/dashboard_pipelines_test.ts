import assert from "node:assert/strict";
import { pipelinesPage } from "../../routes/dashboard/pipelines_page.tsx";
import type { PipelineBar, PipelineRow } from "../../store/pipelines.ts";
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

function bar(changes: Partial<PipelineBar> = {}): PipelineBar {
  return {
    run_id: RUN(1),
    state: "succeeded",
    dry_run: false,
    low_ratio: false,
    rows: 1200,
    duration_ms: 2000,
    requested_at: new Date(Date.now() - 3 * 3_600_000 - 1000).toISOString(),
    ...changes,
  };
}

function pipeline(changes: Partial<PipelineRow> = {}): PipelineRow {
  return {
    name: "sales",
    of_schedule: false,
    runs: [bar()],
    last_success: null,
    next_slot: null,
    schedules: [],
    incidents: 0,
    urgency: 0,
    ...changes,
  };
}

const found = (rows: PipelineRow[], more = {}) => ({
  found: { pipelines: { rows, total: rows.length, truncated: false, ...more } },
});

const list = (rows: PipelineRow[], { more = {}, path = "/etl", ...options }: Visit & {
  more?: object;
  path?: string;
} = {}) => mainOf(pipelinesPage, path, { ...options, ...found(rows, more) });

/** The cells of the only row. */
async function cellsOf(row: PipelineRow, options: Visit = {}): Promise<string[]> {
  const html = element(await list([row], options), "tr", "data-pipeline");
  return [element(html, "th"), ...elements(html, "td")];
}

Deno.test("a pipeline says how its last run went, its last success, its next slot and its incidents", async () => {
  const hours = (n: number) => new Date(Date.now() + n * 3_600_000 + 1000).toISOString();
  const cells = await cellsOf(pipeline({
    name: "a&b <x>",
    runs: [
      bar({ run_id: RUN(3), state: "failed", dry_run: true, requested_at: hours(-3.1) }),
      bar({ run_id: RUN(2), requested_at: hours(-5) }),
      bar({ run_id: RUN(1), state: "cancelled", requested_at: hours(-6) }),
    ],
    last_success: { run_id: RUN(2), ended_at: hours(-5), rows: 1 },
    next_slot: hours(2),
    schedules: ["a&b <x>", "nightly", "weekly"],
    incidents: 2,
    urgency: 2,
  }));
  assert.deepEqual(cells.map(textOf), [
    "a&b <x> Schedule nightly, weekly",
    "Failed Dry run 3 hr ago",
    "The last 3 runs: 1 failed",
    "Last success 5 hr ago 1 row",
    "Next in 2 hr",
    "Incidents 2 open",
  ]);
  const links = cells.flatMap((cell) => elements(cell, "a").map((a) => attribute(a, "href")));
  assert.deepEqual(links, [
    "/etl/overview?run_label=a%26b%20%3Cx%3E",
    `/etl/runs/${RUN(3)}`,
    "/etl/runs?run_label=a%26b%20%3Cx%3E",
    `/etl/runs/${RUN(2)}`,
    "/etl/alerts",
  ]);
});

Deno.test("a pipeline of a schedule leads to it; what has not run, or waits for no slot, says so", async () => {
  const schedule = await cellsOf(pipeline({
    name: "by day",
    of_schedule: true,
    schedules: ["by day"],
  }));
  assert.deepEqual(
    schedule.flatMap((cell) => elements(cell, "a").map((a) => attribute(a, "href"))),
    ["/etl/schedules#row-by%20day", `/etl/runs/${RUN(1)}`, "/etl/runs"],
  );
  // its own schedule is named already, and makes no run at present
  assert.deepEqual(schedule.map(textOf), [
    "by day",
    "Succeeded 3 hr ago",
    "The last run: 0 failed",
    "–",
    "paused",
    "–",
  ]);
  const never = await cellsOf(pipeline({ runs: [] }));
  assert.deepEqual(never.map(textOf), ["sales", "No run yet", "", "–", "–", "–"]);
});

Deno.test("the last success is said beside a phone's list only where the last run is another one", async () => {
  const last_success = { run_id: RUN(1), ended_at: bar().requested_at, rows: null };
  const same = (await cellsOf(pipeline({ last_success })))[3]!;
  assert.equal(attribute(same, "class"), "not-on-phone");
  assert.equal(textOf(same), "3 hr ago");
  const other = (await cellsOf(pipeline({ last_success, runs: [bar({ run_id: RUN(2) })] })))[3]!;
  assert.equal(attribute(other, "class"), null);
});

Deno.test("bars are as high as their runs took long, the newest at the right, a failed one with a mark", async () => {
  const html = await list([pipeline({
    runs: [
      bar({ duration_ms: 1000 }),
      bar({ state: "failed", duration_ms: 4000 }),
      bar({ state: "queued", duration_ms: null }),
      bar({ dry_run: true, duration_ms: 2000 }),
    ],
  })]);
  const paths = elements(element(html, "a", 'class="bars"'), "path");
  const drawn = Object.fromEntries(
    paths.map((path) => [attribute(path, "class"), attribute(path, "d")]),
  );
  assert.deepEqual(drawn, {
    "bar is-succeeded": "M156 28v-5",
    "bar is-failed": "M148 28v-21",
    "bar-mark": "M145 1l5 4m0-4l-5 4",
    "bar is-queued": "M140 28v-5",
    "bar is-succeeded is-dry": "M129.5 27.5h5v-10h-5z",
  });
});

Deno.test("pages of pipelines keep what is searched for, and lead to no page that shows nothing new", async () => {
  const links = async (path: string, total: number) => {
    const html = await list([pipeline()], { path, more: { total } });
    return elements(element(html, "div", 'class="pager"'), "a")
      .map((a) => `${attribute(a, "rel")} ${attribute(a, "href")}`);
  };
  assert.deepEqual(await links("/etl?q=a%26b&page=2", 101), [
    "prev /etl?q=a%26b&page=1",
    "next /etl?q=a%26b&page=3",
  ]);
  assert.deepEqual(await links("/etl?page=2", 100), ["prev /etl?page=1"]);
  assert.deepEqual(await links("/etl", 51), ["next /etl?page=2"]);
  assert.deepEqual(await links("/etl", 50), []);
  // more than are ever listed
  assert.deepEqual(await links("/etl?page=40", 5000), ["prev /etl?page=39"]);
});

Deno.test("a page of pipelines that cannot be is the nearest one that can", async () => {
  const asked: string[] = [];
  for (const page of ["0", "-1", "x", "1.9", "2", "900"]) {
    await visit(pipelinesPage, `/etl?q=+sales+&page=${page}`, {
      found: {
        pipelines: (key: string) => {
          asked.push(key);
          return { rows: [], total: 0, truncated: false };
        },
      },
    });
  }
  const filters = asked.map((key) => JSON.parse(key.slice(key.indexOf("{"))));
  assert.deepEqual(filters.map(({ offset }) => offset), [0, 0, 0, 0, 50, 1950]);
  assert.deepEqual([filters[0].search, filters[0].limit], ["sales", 50]);
});

Deno.test("no pipeline at all is a beginning; none found is not; a cut list says so", async () => {
  assert.match(textOf(await list([])), /No run yet Start the first one here/);
  const none = await list([], { path: "/etl?q=x" });
  assert.match(textOf(none), /No pipeline has a matching name\. 0 pipelines$/);
  assert.equal(attribute(element(none, "input", "pipeline-search"), "value"), "x");
  assert.doesNotMatch(textOf(none), /There are more labels/);
  assert.match(
    textOf(await list([pipeline()], { more: { total: 2001, truncated: true } })),
    /2,001 pipelines Next There are more labels/,
  );
  // behind the last page
  assert.match(await list([], { path: "/etl?page=7" }), /<p class="empty"><a href="\/etl">/);
});

Deno.test("who looks for something else within the second is not shown what another has looked for", async () => {
  const assets = newAssets();
  assert.match(await list([pipeline({ name: "one" })], { path: "/etl?q=o", assets }), />one</);
  assert.match(await list([pipeline({ name: "two" })], { path: "/etl?q=t", assets }), />two</);
});

Deno.test("a bookmark of the overview of a label leads there", async () => {
  const answer = await visit(pipelinesPage, "/etl?run_label=a%26b");
  assert.equal(answer.headers.get("location"), "/etl/overview?run_label=a%26b");
  assert.equal((await visit(pipelinesPage, "/etl?run_label=", found([]))).status, 200);
});

Deno.test("a bar is named in the viewer's language and zone, with what it loaded and how long it took", async () => {
  const runs = [
    bar({ requested_at: "2026-01-01T23:30:00Z", dry_run: true }),
    bar({ state: "failed", rows: null, duration_ms: 50, requested_at: "2026-01-01T23:30:00Z" }),
  ];
  const look = async (query: string, headers: Record<string, string>) => {
    const rows = { "on r.schedule =": runs.slice(1), "on r.run_label =": runs };
    const answer = await visit(pipelinesPage, `/etl/pipelines/bars?${query}`, { rows, headers });
    return (await answer.json() as { text: string }[]).map(({ text }) => text);
  };
  const tokyo = { "accept-language": "en-GB", cookie: "etl_zone=Asia%2FTokyo" };
  assert.deepEqual(await look(`last=${RUN(1)}`, tokyo), [
    "Succeeded · 02 Jan, 08:30 · Dry run · 1,200 rows · 2.0 s",
    "Failed · 02 Jan, 08:30 · 50 ms",
  ]);
  const spanish = await look(`last=${RUN(1)}&of_schedule=true`, { "accept-language": "es-ES" });
  assert.deepEqual(spanish, ["Fallida · 01 ene, 23:30 · 50 ms"]);
});

Deno.test("a row of pipelines is read in the viewer's language", async () => {
  const cells = await cellsOf(pipeline({ incidents: 1, schedules: ["nightly"] }), {
    headers: { "accept-language": "es-ES" },
  });
  assert.deepEqual(texts(cells.join("")), [
    ...["sales", "Programación nightly", "Correcta", "hace 3 h"],
    ...["La última ejecución: 0 con fallo", "–", "en pausa", "Incidencias", "1 abierta"],
  ]);
});
