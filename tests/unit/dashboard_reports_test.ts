import assert from "node:assert/strict";
import { reportsPage } from "../../routes/dashboard/reports_page.tsx";
import { attribute, element, elements, mainOf, textOf, texts } from "../helpers/pages.ts";

const RUN = "12345678-0000-4000-8000-000000000001";

const page = (
  { report, datasets = [], consumers = [], headers = {} }: {
    report?: object;
    datasets?: object[];
    consumers?: object[];
    headers?: Record<string, string>;
  },
) =>
  mainOf(reportsPage, "/etl/reports", {
    headers: { cookie: "etl_zone=Asia%2FTokyo", ...headers },
    rows: {
      "from etl.reports": report === undefined ? [] : [{
        report: { consumer: "daily", created_at: "2026-01-01T23:30:05Z", report },
      }],
      "as dataset": datasets.map((dataset) => ({ dataset })),
      "as consumer": consumers.map((consumer) => ({ consumer })),
    },
  });

const card = (html: string, name: string) =>
  element(html, "section", `aria-labelledby="${name}-title"`);

/** A list of terms as "term: description". */
const pairs = (html: string) =>
  elements(html, "dt").map((dt, i) => `${textOf(dt)}: ${textOf(elements(html, "dd")[i]!)}`);

Deno.test("a report shows its facts first, in the viewer's words, numbers and zone", async () => {
  const html = card(
    await page({
      report: {
        total_rows: 12_345,
        status: "failed",
        last_at: "2026-01-01T23:30:05Z",
        run_id: RUN,
        brand_new: true,
        nothing: null,
        list: [1, 2],
        "a <b>": "x & y",
      },
    }),
    "report",
  );
  assert.match(textOf(element(html, "div", "card-head")), /^Latest report daily · 02 Jan, 08:30$/);
  assert.deepEqual(pairs(html), [
    "A <b>: x & y",
    "Brand new: true",
    "Last: 02 Jan 2026, 08:30:05 GMT+9",
    "List: [1,2]",
    "Nothing: –",
    "Run: 12345678",
    "State: Failed",
    "Rows: 12,345",
  ]);
  assert.equal(attribute(element(html, "a"), "href"), `/etl/runs/${RUN}`);
  const spanish = await page({
    report: { status: "failed" },
    headers: { "accept-language": "es" },
  });
  assert.deepEqual(pairs(card(spanish, "report")), ["Estado: Fallida"]);
});

Deno.test("objects of a report are parts of it, lists of objects tables with every column, numbers last", async () => {
  const html = card(
    await page({
      report: {
        top_sources: [{ events: 1200, source: "shop" }, { source: "till", note: "late" }],
        loaded: { inserted: 7, status: "done" },
        empty: [],
      },
    }),
    "report",
  );
  const [loaded, sources] = elements(html, "div", 'class="report-part"');
  assert.deepEqual([textOf(element(loaded!, "h3")), ...pairs(loaded!)], [
    ...["Loaded", "Inserted: 7", "State: done"],
  ]);
  assert.equal(textOf(element(sources!, "h3")), "Largest sources");
  assert.deepEqual(elements(sources!, "th").map(textOf), ["Source", "Note", "Events"]);
  assert.deepEqual(elements(element(sources!, "tbody"), "tr").map(texts), [
    ["shop", "–", "1,200"],
    ["till", "late", "–"],
  ]);
  assert.deepEqual(
    elements(element(sources!, "tbody"), "td", 'class="num"').map(textOf),
    ["1,200", "–"],
  );
  // a phone shows the column's name beside the value
  assert.equal(attribute(elements(element(sources!, "tbody"), "td")[0]!, "data-title"), "Source");
  // what is neither is a fact
  assert.deepEqual(pairs(elements(html, "dl")[0]!), ["Empty: []"]);
});

Deno.test("values that only look like what they are not are shown as they are", async () => {
  const report = { status: true, at: "2026-13-45T99:00", run_id: 7, day: "2026-01-01" };
  assert.deepEqual(pairs(card(await page({ report }), "report")), [
    ...["At: 2026-13-45T99:00", "Day: 2026-01-01", "Run: 7", "State: true"],
  ]);
});

Deno.test("datasets lead to their pages, with their events and who reads them", async () => {
  const html = card(
    await page({
      datasets: [
        {
          dataset: "public.a b/c",
          events: 1200,
          last_event: { created_at: "2026-01-01T23:30:05Z" },
          consumers: ["one", "two"],
        },
        { dataset: "public.other", events: 1, last_event: null, consumers: [] },
      ],
    }),
    "datasets",
  );
  assert.deepEqual(elements(html, "li").map(textOf), [
    "public.a b/c 02 Jan, 08:30 1,200 events · one, two",
    "public.other 1 event · no consumers",
  ]);
  assert.equal(attribute(elements(html, "a")[0]!, "href"), "/etl/datasets/public.a%20b%2Fc");
});

Deno.test("consumers say what waits, what failed and why, and whether they are off", async () => {
  const consumer = {
    consumer: "daily",
    active: true,
    pending: 2,
    failed: 0,
    last_done_at: null,
    last_error: null,
  };
  const html = card(
    await page({
      consumers: [consumer, {
        ...consumer,
        active: false,
        failed: 3,
        last_done_at: new Date(Date.now() - 7_201_000).toISOString(),
        last_error: "no <disk>",
      }],
    }),
    "consumers",
  );
  assert.deepEqual(elements(html, "li").map(textOf), [
    "daily 2 waiting · 0 failed",
    "daily not active 2 hr ago 2 waiting · 3 failed no <disk>",
  ]);
  assert.deepEqual(elements(html, "p", "is-bad").map(textOf), [
    "2 waiting · 3 failed",
    "no <disk>",
  ]);
});

Deno.test("where nothing has been reported, written or read yet, each part says so", async () => {
  const html = await page({});
  assert.deepEqual(elements(html, "p", 'class="empty"').map(textOf), [
    "No report yet. The next run that changes the table writes one, or use the button above.",
    "Datasets appear here once a run has written one.",
    "no consumers",
  ]);
});
