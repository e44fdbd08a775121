import assert from "node:assert/strict";
import { hydrated, noBrowser, screenshot, Site } from "./site.ts";

/** As long as names may be, and without a place where a line could break. */
const LONG = "orders_of_the_warehouse_in_the_north_with_returns_and_exchanges"
  .repeat(2).slice(0, 100);

Deno.test({
  name: "at 390 px no page scrolls sideways, however long labels and names are",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    const put = (path: string, body: unknown) =>
      site.api(path, { method: "PUT", body: JSON.stringify(body) });
    const source = {
      type: "inline",
      name: LONG,
      key: "id",
      occurred_at: "at",
      records: [{ id: 1, at: LONG }, { id: LONG, at: "2026-01-01T00:00:00Z" }],
    };
    await site.run({ run_label: LONG, batch_size: 50, chunk_size: 5 });
    const partial = await site.run({ run_label: LONG, min_acceptance_ratio: 0, source });
    const failed = await site.run({ run_label: LONG, source });
    await put(`/api/configurations/${LONG}`, { conf: { run_label: LONG }, description: LONG });
    await put(`/api/variables/${LONG}`, { value: LONG });
    await put(`/api/pools/${LONG}`, { slots: 2, description: LONG });
    await put(`/api/schedules/${LONG}`, {
      cron: "*/5 * * * *",
      time_zone: "America/Argentina/ComodRivadavia",
      conf: { run_label: LONG, source },
      description: LONG,
    });
    const paths = {
      pipelines: "/etl",
      overview: "/etl/overview",
      runs: "/etl/runs",
      run: `/etl/runs/${partial}`,
      run_failed: `/etl/runs/${failed}`,
      new_run: `/etl/new?from=${partial}`,
      schedules: "/etl/schedules",
      configurations: "/etl/configurations",
      variables: "/etl/variables",
      pools: "/etl/pools",
      suites: "/etl/suites",
      datasets: "/etl/datasets",
      dataset: "/etl/datasets/public.etl_improved_events",
      alerts: "/etl/alerts",
      reports: "/etl/reports",
      search: "/etl/search?q=orders",
    };
    await site.visit("/etl", { viewport: { width: 390, height: 844 } }, async (page) => {
      for (const [name, path] of Object.entries(paths)) {
        await page.goto(site.address + path);
        await hydrated(page);
        await screenshot(page, `long_${name}_390`);
        const wide = await page.evaluate(`(() => {
          const room = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= room) return [];
          return [...document.querySelectorAll("main *")]
            .filter((each) => each.closest(".table-scroll") === null)
            .filter((each) => each.getBoundingClientRect().right > room + 1)
            .slice(0, 5).map((each) => each.outerHTML.slice(0, 120));
        })()`);
        assert.deepEqual(wide, [], `${name} is wider than a phone`);
        const sideways = await page.evaluate(
          "[...document.querySelectorAll('main .table-scroll')]" +
            ".filter((each) => each.innerText !== '' && each.scrollWidth > each.clientWidth).map((each) => each.scrollWidth + ' > ' + each.clientWidth + ': ' + each.innerText.slice(0, 100))",
        );
        assert.deepEqual(sideways, [], `${name} has a table that is wider than a phone`);
      }
    });
  },
});
