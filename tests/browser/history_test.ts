import assert from "node:assert/strict";
import { holdAnswer, noBrowser, Site, until } from "./site.ts";

Deno.test({
  name: "the history filters, sorts and pages by its URL, with JavaScript and without",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    for (let size = 1; size <= 6; size++) {
      await site.run({
        run_label: size % 2 ? "odd" : "even",
        batch_size: size,
        dry_run: size === 6,
      });
    }
    for (const javaScriptEnabled of [true, false]) {
      await site.visit("/etl/runs", { javaScriptEnabled }, async (page) => {
        const rows = page.locator("tbody tr");
        const numbers = async () => (await page.locator("tbody td:nth-child(6)").allInnerTexts());
        assert.equal(await rows.count(), 6);
        await page.getByLabel("Label").selectOption("odd");
        if (!javaScriptEnabled) await page.getByRole("button", { name: "Apply" }).click();
        await page.waitForURL(/run_label=odd/);
        assert.equal(await rows.count(), 3);

        await page.getByRole("link", { name: "Rows", exact: true }).click();
        await page.waitForURL(/sort=total_rows/);
        assert.deepEqual(await numbers(), ["5", "3", "1"]);
        await page.getByRole("link", { name: "Rows", exact: true }).click();
        await page.waitForURL(/order=asc/);
        assert.deepEqual(await numbers(), ["1", "3", "5"]);
        assert.equal(await page.locator("th[aria-sort=ascending]").innerText(), "Rows");

        await page.goto(`${site.address}/etl/runs?sort=total_rows&order=asc&limit=2&dry_run=false`);
        assert.deepEqual(await numbers(), ["1", "2"]);
        await page.getByRole("link", { name: "Next" }).click();
        assert.deepEqual(await numbers(), ["3", "4"]);
        await page.getByRole("link", { name: "Next" }).click();
        assert.deepEqual(await numbers(), ["5"]);
        await page.getByRole("link", { name: "Previous" }).click();
        assert.deepEqual(await numbers(), ["3", "4"]);

        await page.goto(`${site.address}/etl/runs?start=2999-01-01`);
        await page.getByRole("heading", { name: "No run matches" }).waitFor();
        await page.locator("main .empty").getByRole("link", { name: "Clear filters" }).click();
        assert.equal(await rows.count(), 6);
        await rows.first().getByRole("link").first().click();
        await page.waitForURL(/\/etl\/runs\/[0-9a-f-]{36}$/);
      });
    }
  },
});

Deno.test({
  name: "the CSV holds what is shown; formulas in it stay text",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    await site.run({ run_label: "=1+1", batch_size: 3 });
    await site.run({ run_label: "other", batch_size: 4 });
    await site.visit("/etl/runs?run_label=%3D1%2B1", {}, async (page) => {
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        page.getByRole("link", { name: "CSV" }).click(),
      ]);
      const csv = await fetch(`${site.address}/etl/runs.csv`);
      assert.equal(csv.headers.get("cache-control"), "no-store");
      await csv.body?.cancel();
      assert.equal(download.suggestedFilename(), "etl_runs.csv");
      const lines = (await Deno.readTextFile(await download.path())).trim().split("\r\n");
      assert.equal(lines.length, 2);
      assert.match(lines[0]!, /^run_id,|,run_id/);
      assert.match(lines[1]!, /'=1\+1/);
    });
  },
});

Deno.test({
  name: "new runs are announced without moving what is read, and rows end in their places",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    // the list of a moment ago, which every viewer is shown for a second, is not that of other tests
    await using site = await Site.open(t);
    await site.run({ run_label: "before", batch_size: 5 });
    await site.visit("/etl/runs", {}, async (page) => {
      const first = page.locator("tbody tr").first();
      // the stream has said what it knows before the next run comes
      await until(page, "document.documentElement.dataset.following === 'yes'");
      await site.run({ run_label: "after", batch_size: 5 });
      await page.getByRole("link", { name: "1 new run" }).waitFor();
      assert.match(await first.innerText(), /before/);
      await page.getByRole("link", { name: "1 new run" }).click();
      await page.locator("tbody tr").nth(1).waitFor();
      assert.match(await first.innerText(), /after/);
    });
    // rows that were looked up before somebody acts come after what came of it
    await site.api("/api/pools/closed", { method: "PUT", body: JSON.stringify({ slots: 0 }) });
    await site.api("/api/etl/run", {
      method: "POST",
      body: JSON.stringify({ run_label: "waits", pool: "closed", batch_size: 1 }),
    });
    await site.visit("/etl/runs?run_label=waits", {}, async (page) => {
      const rows = await holdAnswer(page, /\/etl\/runs\?run_label=waits$/);
      await rows.answered;
      await page.locator("[data-choose]").check();
      await page.getByRole("button", { name: "Cancel 1" }).click();
      await page.locator("tr[data-run] .state.is-cancelled").waitFor();
      await rows.release();
      assert.equal(await page.locator("tr[data-run] .state.is-cancelled").count(), 1);
    });
  },
});

Deno.test({
  name: "a wrong filter is explained",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    await site.visit("/etl/runs?start=yesterday", { expected: /400/ }, async (page) => {
      assert.match(await page.locator("main").innerText(), /start must be a day like/);
    });
  },
});

Deno.test({
  name: "times are in the viewer's zone, with the exact one in UTC on hover",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    const id = await site.run({ batch_size: 5, run_label: "tokyo" });
    const run = await site.api<{ requested_at: string }>(`/api/etl/runs/${id}`);
    await site.visit("/etl/runs?run_label=tokyo", { timezoneId: "Asia/Tokyo" }, async (page) => {
      const time = page.locator("tbody time:visible");
      const expected = new Intl.DateTimeFormat("en-GB", {
        year: "numeric",
        month: "short",
        day: "2-digit",
        hour: "2-digit",
        minute: "2-digit",
        second: "2-digit",
        hourCycle: "h23",
        timeZone: "Asia/Tokyo",
        timeZoneName: "short",
      }).format(new Date(run.requested_at));
      assert.equal(await time.innerText(), expected);
      await time.hover();
      assert.match(
        (await time.getAttribute("title"))!,
        /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ UTC$/,
      );
      // the second page comes from the server in that zone
      await page.reload();
      assert.equal(await page.getAttribute("html", "data-zone"), "Asia/Tokyo");
    });
  },
});
