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
      assert.match(await rows.innerText(), /sales[\s\S]*nightly[\s\S]*Not run yet/);
      await until(page, "document.documentElement.dataset.following === 'yes'");
      // comes by itself, in its row
      const id = await site.run({ run_label: "sales", batch_size: 40 });
      await rows.locator(".state").getByText("Succeeded").waitFor();
      assert.match(await rows.innerText(), /40 rows/);
      await rows.locator(".pipeline-bars a").click();
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
        assert.equal(
          await page.locator('[data-pipeline="busy"] .bar.is-failed').count(),
          20,
        );
        await assertAccessible(page, `pipelines at ${width}`);
        await screenshot(page, `many_pipelines_${width}_${colorScheme}`);
        const wider = await page.evaluate(
          "document.documentElement.scrollWidth - document.documentElement.clientWidth",
        ) as number;
        assert.ok(wider <= 0, `${wider} px too wide at ${width}`);
        await page.keyboard.press("f");
        await page.keyboard.type("sAles");
        await until(page, "document.querySelectorAll('[data-pipeline]').length === 1");
        assert.match(page.url(), /\?q=sAles$/);
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
