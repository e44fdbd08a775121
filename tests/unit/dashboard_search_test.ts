import assert from "node:assert/strict";
import { searchPage } from "../../routes/dashboard/search_page.tsx";
import type { Found } from "../../store/search.ts";
import { REQUEST_BODY } from "../../vocabulary/words.ts";
import { attribute, element, elements, mainOf, textOf, visit } from "../helpers/pages.ts";

const RUN = "12345678-0000-4000-8000-00000000abcd";

const nothing: Found = {
  runs: [],
  labels: [],
  datasets: [],
  schedules: [],
  configurations: [],
  suites: [],
  labels_cut: false,
  rejected: { records: [], looked: 0, back_to: null, cut: false },
};

const page = (text: string, found: Partial<Found> = {}, headers: Record<string, string> = {}) =>
  mainOf(searchPage, `/etl/search?q=${encodeURIComponent(text)}`, {
    headers: { cookie: "etl_zone=Asia%2FTokyo", ...headers },
    found: { search: { ...nothing, ...found } },
  });

const record = {
  run_id: RUN,
  run_label: "sales",
  requested_at: "2026-01-01T23:30:05Z",
  rule: "missing_key",
  message: "The key is missing.",
  file: "a&b.csv",
  line: 1200,
  raw: '{"id": "<B>Xy</B>"}',
};

Deno.test("what was found is grouped by its kind, and each leads to its page", async () => {
  const html = await page("a&b", {
    labels: [{ label: "a&b", state: "failed", run_id: RUN }],
    runs: [{
      run_id: RUN,
      run_label: "sales",
      state: "cancelled",
      requested_at: "2026-01-01T23:30:05Z",
    }],
    datasets: ["public.a&b"],
    schedules: ["a&b daily"],
    configurations: ["a&b conf"],
    suites: ["a&b suite"],
    rejected: { ...nothing.rejected, records: [record] },
  });
  const groups = elements(element(html, "div", "search-results"), "section");
  assert.deepEqual(
    groups.map((group) => [
      textOf(element(group, "h2")),
      textOf(element(group, "a")),
      attribute(element(group, "a"), "href"),
    ]),
    [
      ["Pipelines", "a&b Failed", "/etl/overview?run_label=a%26b"],
      ["Runs", `${RUN} sales Cancelled 02 Jan, 08:30`, `/etl/runs/${RUN}`],
      ["Datasets", "public.a&b", "/etl/datasets/public.a%26b"],
      ["Schedules", "a&b daily", "/etl/schedules#row-a%26b%20daily"],
      ["Configurations", "a&b conf", "/etl/configurations#row-a%26b%20conf"],
      ["Suites", "a&b suite", "/etl/suites#row-a%26b%20suite"],
      ["Rejected records", "sales", `/etl/runs/${RUN}#quarantine`],
    ],
  );
  assert.doesNotMatch(textOf(html), /No results/);
});

Deno.test("a rejected record says where it is and why, with the text marked in any case", async () => {
  const rejected = (changes: object) => ({
    rejected: { ...nothing.rejected, records: [{ ...record, ...changes }] },
  });
  const html = element(await page("xY", rejected({})), "section");
  assert.equal(
    textOf(element(html, "li")),
    'sales 12345678…abcd 02 Jan 2026, 08:30:05 GMT+9 missing_key a&b.csv, line 1,200 The key is missing. {"id": "<B> Xy </B>"}',
  );
  assert.equal(element(html, "mark"), "<mark>Xy</mark>");
  const sent = element(await page("xy", rejected({ file: REQUEST_BODY, line: null })), "section");
  assert.match(textOf(sent), /missing_key request body The key/);
  const spanish = await page("xy", rejected({ file: REQUEST_BODY }), {
    "accept-language": "es",
  });
  assert.match(textOf(spanish), /missing_key cuerpo de la petición, línea 1200/);
  const without = element(await page("zz", rejected({ file: null })), "section");
  assert.equal(elements(without, "mark").length, 0);
  assert.match(textOf(without), /missing_key The key is missing\. {"id": "<B>Xy<\/B>"}$/);
});

Deno.test("what was not looked through is said, whether something was found or not", async () => {
  const tail = async (found: Partial<Found>) =>
    textOf(await page("xy", found)).replace(/^.*No results for “xy”\. ?/, "");
  assert.equal(await tail({}), "");
  assert.equal(await tail({ labels_cut: true }), "Not all pipelines were searched.");
  assert.equal(
    await tail({ rejected: { ...nothing.rejected, cut: true } }),
    "The rejected records are too large to search in time.",
  );
  const looked = { records: [], looked: 1200, back_to: "2026-01-01T23:30:05Z" };
  assert.equal(
    await tail({ rejected: { ...looked, cut: false } }),
    "1,200 rejected records were searched, of runs since 02 Jan, 08:30.",
  );
  assert.match(
    await tail({ rejected: { ...looked, cut: true } }),
    /Older ones were not searched\.$/,
  );
  assert.match(
    textOf(await page("xy", { labels_cut: true, suites: ["xy"] })),
    /xy Not all pipelines were searched\.$/,
  );
});

Deno.test("each kind alone is a result", async () => {
  const one: Partial<Found>[] = [
    { suites: ["xy"] },
    { labels: [{ label: "xy", state: "failed", run_id: RUN }] },
    { rejected: { ...nothing.rejected, records: [record] } },
    { runs: [{ ...record, state: "failed" }] },
  ];
  for (const found of one) {
    assert.doesNotMatch(textOf(await page("xy", found)), /No results/, JSON.stringify(found));
  }
});

Deno.test("a text that is too short is not searched for; one that is given stays in its field", async () => {
  for (const text of ["", "a", " a "]) {
    assert.match(textOf(await page(text, { suites: ["a"] })), /Search runs by id;/);
  }
  const html = await page(' "x&y" ');
  assert.equal(attribute(element(html, "input", "search-text"), "value"), '"x&y"');
  assert.match(textOf(html), /No results for “"x&y"”\./);
});

Deno.test("a whole id leads to its run, the beginning of one does not", async () => {
  const runs = [{ ...record, state: "failed" }];
  const go = (text: string, found = runs) =>
    visit(searchPage, `/etl/search?q=${text}`, { found: { search: { ...nothing, runs: found } } });
  assert.equal((await go(RUN.toUpperCase())).headers.get("location"), `/etl/runs/${RUN}`);
  const beginning = await go(RUN.slice(0, 8));
  assert.equal(beginning.status, 200);
  // what rows hold stays in no browser
  assert.equal(beginning.headers.get("cache-control"), "no-store");
});
