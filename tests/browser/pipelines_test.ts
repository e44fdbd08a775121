import assert from "node:assert/strict";
import pg from "pg";
import { seedManyRuns } from "../helpers/many_runs.ts";
import { assertAccessible, hydrated, noBrowser, screenshot, Site, until } from "./site.ts";

Deno.test({
  name: "pipelines: a row a label, problems first, alive, found as typed, with 100,000 runs",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    await site.api("/api/schedules/nightly", {
      method: "PUT",
      body: JSON.stringify({ cron: "0 2 * * *", conf: { run_label: "sales", batch_size: 40 } }),
    });
    await site.visit("/etl", {}, async (page) => {
      const rows = page.locator("[data-pipeline]");
      assert.equal(await rows.count(), 1);
      assert.match(await rows.innerText(), /sales[\s\S]*nightly[\s\S]*No run yet/);
      await until(page, "document.documentElement.dataset.following === 'yes'");
      // comes by itself, in its row
      const id = await site.run({ run_label: "sales", batch_size: 40 });
      await rows.locator(".state").getByText("Succeeded").waitFor();
      assert.match(await rows.innerText(), /40 rows/);
      // a bar says what it is of and leads there; all of them, elsewhere, to the runs of the label
      const bars = rows.locator("a.bars");
      await bars.hover({ position: { x: 3, y: 20 } });
      await until(page, "document.querySelector('a.bars').dataset.at === '19'");
      assert.match(await bars.getAttribute("href") ?? "", /\/etl\/runs\?run_label=sales$/);
      await bars.hover({ position: { x: 156, y: 20 } });
      await until(page, "document.querySelector('a.bars').title.includes('40 rows')");
      await bars.click({ position: { x: 156, y: 20 } });
      await page.waitForURL(`**/etl/runs/${id}`);
      await page.goto(`${site.address}/etl`);
      await rows.getByRole("link", { name: "sales" }).click();
      await page.waitForURL("**/etl/overview?run_label=sales");
      await page.getByRole("heading", { name: "sales", level: 1 }).waitFor();
    });

    const client = new pg.Client({ connectionString: site.dsn });
    await client.connect();
    await seedManyRuns(client);
    await client.query(
      "insert into etl.alert_states (fingerprint, kind, subject, opened_at, last_at) values ('low_ratio:sales', 'low_ratio', 'sales', now(), now())",
    );
    await client.end();
    for (
      const [width, colorScheme, locale] of [[1280, "light", "en-GB"], [
        390,
        "dark",
        "es-ES",
      ]] as const
    ) {
      const options = { viewport: { width, height: 844 }, colorScheme, locale };
      await site.visit("/etl", options, async (page) => {
        await hydrated(page);
        const names = await page.locator("[data-pipeline] .row-link").allInnerTexts();
        // a label with 75,000 runs is one row of many
        assert.equal(names.length, 50);
        assert.ok(names.indexOf("busy") >= 0 && names.indexOf("sales") >= 0);
        assert.ok(names.indexOf("sales") < names.indexOf("label 1"), names.join());
        // 20 bars are one outline
        const failed = page.locator('[data-pipeline="busy"] .bar.is-failed');
        assert.equal((await failed.getAttribute("d") ?? "").split("M").length - 1, 20);
        await assertAccessible(page, `pipelines at ${width}`);
        await screenshot(page, `many_pipelines_${width}_${colorScheme}`);
        const wider = await page.evaluate(
          "document.documentElement.scrollWidth - document.documentElement.clientWidth",
        ) as number;
        assert.ok(wider <= 0, `${wider} px too wide at ${width}`);
        const pages = await page.evaluate("history.length");
        await page.keyboard.press("f");
        await page.keyboard.type("sAles");
        await until(page, "location.search === '?q=sAles'");
        await until(page, "document.querySelectorAll('[data-pipeline]').length === 1");
        assert.equal(await page.evaluate("history.length"), pages, "back leads off the page");
        assert.match(
          await page.locator("[data-pipeline]").innerText(),
          locale === "es-ES" ? /1 abierta/ : /1 open/,
        );
        await page.reload();
        assert.equal(await page.locator("[data-pipeline]").count(), 1);
        await page.locator("#pipeline-search").fill("nowhere");
        await page.getByText(locale === "es-ES" ? "Ningún pipeline" : "No pipeline has").waitFor();
      });
    }
    // 50 pipelines of 20 runs each are a small page, also for who looks at it again and again
    const html = await (await fetch(`${site.address}/etl`, { headers: { accept: "text/html" } }))
      .text();
    assert.ok(html.length < 100_000, `${html.length} characters`);
    const loads = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const page = await (await fetch(`${site.address}/etl`)).text();
        return page.slice(page.indexOf('id="pipelines"'), page.indexOf("</main>"));
      }),
    );
    assert.equal(new Set(loads).size, 1);
    await site.visit("/etl", { javaScriptEnabled: false }, async (page) => {
      await page.locator("#pipeline-search").fill("label 5");
      await page.getByRole("button", { name: "Show" }).click();
      await page.waitForURL("**/etl?q=label+5");
      assert.equal(await page.locator("[data-pipeline]").count(), 11);
      await page.goto(`${site.address}/etl`);
      await page.getByRole("link", { name: "Next" }).click();
      assert.equal(await page.locator("[data-pipeline]").count(), 11);
    });
  },
});
