import assert from "node:assert/strict";
import { waitFor } from "../helpers/wait_for.ts";
import { assertAccessible, hydrated, noBrowser, screenshot, Site, until } from "./site.ts";

Deno.test({
  name:
    "everything is found with /, keys are shown with ?, times switch to UTC, runs are repeated together",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    const source = {
      type: "inline",
      name: "shop",
      key: "id",
      occurred_at: "at",
      records: [{ id: "A-4711", at: "soon" }, { id: "B-1", at: "2026-01-01T00:00:00Z" }],
    };
    const failed: string[] = [];
    for (const label of ["shop eu", "shop us"]) {
      failed.push(await site.run({ run_label: label, source: { ...source, name: label } }));
    }
    await site.api("/api/schedules/shop_nightly", {
      method: "PUT",
      body: JSON.stringify({ cron: "0 2 * * *" }),
    });
    await site.visit("/etl/runs", {}, async (page) => {
      const find = async (text: string) => {
        await page.keyboard.press("/");
        await page.keyboard.type(text);
        await page.keyboard.press("Enter");
        await page.waitForURL(/search\?q=|runs\/[0-9a-f]/);
        await hydrated(page);
      };
      await find("SHOP");
      const main = page.locator("main");
      await main.getByRole("link", { name: "shop eu" }).first().waitFor();
      await main.getByRole("link", { name: "shop_nightly" }).waitFor();
      await assertAccessible(page, "search");
      await screenshot(page, "search_1280_light");
      // the key of a rejected record leads to its run
      await page.evaluate("document.activeElement.blur()");
      await find("a-4711");
      assert.equal(await main.locator("mark").first().innerText(), "A-4711");
      await main.getByRole("link", { name: "shop us" }).click();
      await page.waitForURL(`**/etl/runs/${failed[1]}#quarantine`);
      await hydrated(page);
      // the beginning of an id, and all of it
      await find(failed[0]!.slice(0, 13));
      await main.getByText(failed[0]!).waitFor();
      await page.evaluate("document.activeElement.blur()");
      await find(failed[0]!);
      await page.waitForURL(`**/etl/runs/${failed[0]}`);
      await hydrated(page);
      await find("no such thing '\\");
      await main.getByText("No results for").waitFor();

      await page.evaluate("document.activeElement.blur()");
      await page.keyboard.press("?");
      const dialog = page.getByRole("dialog");
      assert.match(await dialog.innerText(), /g\s*p\s*Pipelines/);
      await assertAccessible(page, "keyboard shortcuts");
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "hidden" });
    });

    await site.visit("/etl/runs", { expected: /404/ }, async (page) => {
      const time = page.locator("tbody time:visible").first();
      assert.match(await time.innerText(), /CET$/);
      await page.locator(".sidebar").getByRole("button", { name: "UTC" }).click();
      await until(page, "document.documentElement.dataset.clock === 'utc'");
      await hydrated(page);
      assert.match(await time.innerText(), /UTC$/);
      await page.reload();
      await hydrated(page);
      assert.match(await time.innerText(), /UTC$/);

      const bar = page.locator(".bulk");
      assert.equal(await bar.isVisible(), false);
      await page.getByRole("checkbox", { name: "Choose all" }).check();
      await bar.getByText("2 chosen").waitFor();
      assert.equal(await bar.getByRole("button", { name: "Cancel 0" }).isDisabled(), true);
      await page.getByRole("checkbox", { name: "Choose shop us" }).uncheck();
      await assertAccessible(page, "runs that are chosen");
      // what cannot be done is said once, with links to its runs: here two that are gone
      const gone = [1, 2].map((n) => `00000000-0000-7000-8000-00000000000${n}`);
      await page.evaluate(
        `document.querySelectorAll('tr[data-run]').forEach((row, n) => row.dataset.run = ${
          JSON.stringify(gone)
        }[n])`,
      );
      await page.getByRole("checkbox", { name: "Choose all" }).check();
      await bar.getByRole("button", { name: "Retry 2" }).click();
      await bar.getByText("0 of 2 done.").waitFor();
      assert.match(await bar.locator(".bulk-reason").innerText(), /^2 × .*…/);
      assert.deepEqual(
        await page.evaluate(
          "[...document.querySelectorAll('.bulk-reason a')].map((each) => each.pathname).sort()",
        ),
        gone.map((id) => `/etl/runs/${id}`),
      );
      await page.reload();
      await hydrated(page);
      await page.getByRole("checkbox", { name: "Choose all" }).check();
      await bar.getByRole("button", { name: "Retry 2" }).click();
      await bar.getByText("2 of 2 done.").waitFor();
    });
    for (const id of failed) {
      await waitFor(
        async () => (await site.api<{ attempt: number }>(`/api/etl/runs/${id}`)).attempt === 2,
        { what: "the second attempt" },
      );
    }
  },
});
