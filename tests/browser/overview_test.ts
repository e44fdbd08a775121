import assert from "node:assert/strict";
import { noBrowser, Site, until } from "./site.ts";

Deno.test({
  name: "the overview shows runs as they happen, its charts open them, its filter is in the URL",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    await site.visit("/etl/overview", {}, async (page) => {
      await page.getByRole("heading", { name: "No run yet" }).waitFor();
      await page.locator(".live-mark.is-live").waitFor();
      const id = await site.run({ run_label: "first" });
      const figures = page.locator(".figures");
      await figures.getByText("Succeeded").waitFor();
      assert.equal(
        await page.locator(`[aria-labelledby="recent-title"] a[href="/etl/runs/${id}"]`)
          .innerText(),
        "first",
      );
      await figures.getByText("100%").first().waitFor();

      await site.run({ run_label: "second", batch_size: 100 });
      await page.locator('[aria-labelledby="recent-title"]').getByText("second").waitFor();
      await until(page, "document.querySelectorAll('canvas[data-drawn]').length === 3");
      // a tab that nobody sees holds no connection
      const closed = page.waitForEvent(
        "requestfailed",
        (request) => request.url().endsWith("/etl/events"),
      );
      await page.evaluate(
        'Object.defineProperty(document, "hidden", { value: true }); document.dispatchEvent(new Event("visibilitychange"))',
      );
      await closed;
      const box = (await page.locator(".chart-duration canvas").boundingBox())!;
      // the first of two bars
      await page.mouse.click(box.x + 60 + (box.width - 60) / 4, box.y + box.height / 2);
      await page.waitForURL(`**/etl/runs/${id}`);
    });
    await site.visit("/etl/overview", {}, async (page) => {
      await page.getByLabel("Label").selectOption("second");
      await page.waitForURL("**/etl/overview?run_label=second");
      assert.equal(await page.locator(".card .table").first().getByText("first").count(), 0);
      await page.getByText("Show as a table").click();
      assert.equal(await page.locator(".as-table tbody tr").count(), 1);
    });
  },
});
