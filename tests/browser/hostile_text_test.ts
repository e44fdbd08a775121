import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { noBrowser, Site } from "./site.ts";

/** Text that is a script where somebody forgets to escape it, each with the place that it came from. */
const evil = (where: string) =>
  `</script><script>xss("${where}")</script>"'><img src=x onerror=xss('${where}')>{{7*7}}&lt;b&gt;`;
/** The same for where text is short. */
const short = (where: string) => `"><img src=x onerror=xss('${where}')>`;

Deno.test({
  name: "hostile text from everywhere is shown as text on every page and runs nothing",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    const { runs, pages } = await seedEvil(site);
    for (const lang of ["en-GB", "es-ES"]) {
      const options = { locale: lang, expected: /40[04]/ };
      await site.tour(Object.keys(pages), options, async (path, page) => {
        await assertHarmless(page, path);
        await openEverything(page);
        await assertHarmless(page, path);
        if (lang === "es-ES") return;
        const shown = await page.evaluate(shownText) as string;
        for (const place of pages[path]!) {
          assert.ok(
            shown.includes(`xss('${place}')`),
            `${path} does not show ${place}:\n${shown}`,
          );
        }
      });
    }
    // followed live: what comes by the stream of events is text too
    await site.visit("/etl", {}, async (page) => {
      await site.run({ run_label: short("live"), batch_size: 3 });
      await page.getByText(short("live")).first().waitFor();
      await assertHarmless(page, "live");
    });
    assert.ok(runs.length > 2);
    const nowhere = `/etl/${encodeURIComponent(evil("path"))}`;
    await site.visit(nowhere, { expected: /404/ }, (page) => assertHarmless(page, nowhere));
    for (const path of ["/api/docs", "/api/problems", "/api/problems/invalid-conf"]) {
      await site.visit(path, { plain: true }, (page) => assertHarmless(page, path));
    }
  },
});

/** All text of the page and all that can be typed over. */
const shownText = `[document.body.innerText, document.body.textContent,
  ...[...document.querySelectorAll("input, textarea")].map((e) => e.value),
  ...[...document.querySelectorAll("[title], [aria-label]")].map((e) => e.title + e.ariaLabel)].join("\\n")`;

/** No element was made of what is text; a script that ran or was refused fails the visit. */
async function assertHarmless(page: Page, path: string): Promise<void> {
  const made = await page.evaluate(`[
    ...document.querySelectorAll("[onerror], [onload], [onclick], img[src='x'], iframe, object, embed"),
    ...[...document.querySelectorAll("script")].filter((e) => e.text.startsWith("xss(")),
    ...[...document.querySelectorAll("a[href], form[action]")]
      .filter((e) => !/^https?:/.test(new URL(e.getAttribute("href") ?? e.getAttribute("action"), location).href)),
  ].map((e) => e.outerHTML)`) as string[];
  assert.deepEqual(made, [], path);
}

/** Opens what is folded, so that it is made too. */
async function openEverything(page: Page): Promise<void> {
  await page.evaluate(
    "document.querySelectorAll('details:not(.menu)').forEach((e) => e.open = true)",
  );
  for (const tab of await page.getByRole("tab").all()) await tab.click();
}

async function seedEvil(site: Site) {
  const put = (path: string, body: unknown) =>
    site.api(path, { method: "PUT", body: JSON.stringify(body) });
  await put("/api/suites/evil", {
    expectations: [
      {
        type: "expect_column_values_to_be_in_set",
        kwargs: { column: "v", value_set: [evil("value_set")] },
        meta: { notes: { format: "markdown", content: [evil("notes")] } },
      },
      { type: "expect_column_values_to_not_be_null", kwargs: { column: evil("column") } },
    ],
    meta: { anything: evil("meta") },
  });
  await put("/api/configurations/evil", {
    conf: { run_label: short("conf"), batch_size: 1 },
    description: evil("configuration"),
  });
  await put("/api/variables/evil", { value: { [evil("name")]: evil("variable") } });
  await put("/api/pools/evil", { slots: 1, description: evil("pool") });
  await put("/api/schedules/evil", {
    cron: "@yearly",
    conf: { run_label: short("scheduled") },
    description: evil("schedule"),
  });
  const source = {
    type: "inline",
    name: evil("source").slice(0, 200),
    key: "id",
    event_type: { field: "t" },
    occurred_at: "at",
  };
  const records = [
    { id: evil("key"), t: short("type"), v: evil("payload"), at: "2026-01-01" },
    { id: 2, t: "t", v: null, at: evil("time") },
    { [evil("field")]: 1, v: evil("raw") },
  ];
  const loaded = await site.run({
    run_label: short("label"),
    mlflow_experiment: short("experiment"),
    suite: "evil",
    min_acceptance_ratio: 0,
    source: { ...source, records },
  });
  const failed = await site.run({
    run_label: short("failed"),
    source: { type: "file", path: `${evil("file")}.csv`, name: "x" },
  });
  const judged = await site.run({
    run_label: short("judged"),
    suite: "evil",
    enforce_ge: true,
    source: { ...source, name: "j", records: records.slice(0, 1) },
  });
  await site.api("/api/etl/downstream?wait=true", { method: "POST", body: "{}" });
  const pages: Record<string, string[]> = {
    "/etl": ["label", "failed"],
    "/etl/overview": ["label", "failed"],
    "/etl/runs": ["label", "failed", "judged"],
    [`/etl/runs?run_label=${encodeURIComponent(short("label"))}`]: ["label"],
    [`/etl/runs/${loaded}`]: ["label", "raw", "payload", "experiment", "source"],
    [`/etl/runs/${failed}`]: ["failed", "file"],
    [`/etl/runs/${judged}`]: ["judged", "value_set"],
    [`/etl/new?from=${loaded}`]: ["label", "experiment"],
    [`/etl/new?configuration=${encodeURIComponent(evil("query"))}`]: [],
    "/etl/configurations": ["configuration", "conf"],
    "/etl/variables": ["variable"],
    "/etl/pools": ["pool"],
    "/etl/suites": [],
    "/etl/datasets/public.etl_improved_events": ["payload"],
    "/etl/schedules": ["schedule"],
    "/etl/alerts": ["failed", "file"],
    "/etl/reports": [],
    [`/etl/runs?start=${encodeURIComponent(evil("start"))}`]: [],
  };
  return { runs: [loaded, failed, judged], pages };
}
