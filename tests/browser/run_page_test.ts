import assert from "node:assert/strict";
import { waitFor } from "../helpers/wait_for.ts";
import { assertAccessible, holdAnswer, noBrowser, screenshot, Site, until } from "./site.ts";

/** Takes so long that one can look at it and cancel it. */
const LONG = { batch_size: 3_000_000, chunk_size: 3000, run_label: "long" };

Deno.test({
  name: "a run is followed live, cancelled after a question, and retried",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    const { run_id } = await site.api<{ run_id: string }>("/api/etl/run", {
      method: "POST",
      body: JSON.stringify(LONG),
    });
    await site.visit(`/etl/runs/${run_id}`, {}, async (page) => {
      const state = page.locator(".run-head .state");
      await state.getByText("Running").waitFor();
      await page.locator(".chunk-grid.scrolls .cell.is-r").first().waitFor();
      // only what is in view is on the page, of a thousand chunks
      assert.ok(await page.locator(".chunk-grid .cell").count() < 1000);
      await page.getByRole("button", { name: "Cancel run" }).click();
      const dialog = page.getByRole("dialog");
      await dialog.getByRole("button", { name: "Keep it" }).click();
      assert.equal(await state.innerText(), "Running");
      await page.getByRole("button", { name: "Cancel run" }).click();
      await dialog.getByRole("button", { name: "Cancel run" }).click();
      await state.getByText("Cancelled").waitFor();
      await page.getByText("The run was cancelled").first().waitFor();
      await page.getByRole("button", { name: "Retry" }).click();
      await state.getByText(/Queued|Running/).waitFor();
      await page.getByRole("button", { name: "Cancel run" }).click();
      await dialog.getByRole("button", { name: "Cancel run" }).click();
      await state.getByText("Cancelled").waitFor();
    });
  },
});

Deno.test({
  name: "chunks are reached with the arrow keys and shown in full",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    const id = await site.run({ batch_size: 700, chunk_size: 1, run_label: "many" });
    await site.visit(`/etl/runs/${id}`, {}, async (page) => {
      assert.match(await page.locator(".figures").innerText(), /700 of 700 chunks/);
      const grid = page.locator(".chunk-grid");
      await grid.locator("[data-chunk='0']").focus();
      await page.keyboard.press("ArrowRight");
      await until(page, "document.activeElement.dataset.chunk === '1'");
      await page.keyboard.press("End");
      await until(page, "document.activeElement.dataset.chunk === '699'");
      assert.ok(await grid.locator(".cell").count() < 700);
      await page.keyboard.press("Enter");
      const detail = page.locator(".chunk-detail");
      await detail.getByRole("heading", { name: "Chunk 699" }).waitFor();
      await detail.getByText("Published").waitFor();
      await detail.getByText("Where its records are").click();
      await detail.locator("pre").waitFor();
      // of a chunk that is not there yet nothing of another is shown
      const next = await holdAnswer(page, /\/chunks\/698$/);
      await grid.locator("[data-chunk='698']").click();
      await next.answered;
      await detail.getByRole("heading", { name: "Chunk 698" }).waitFor();
      assert.equal(await detail.getByText("Published").count(), 0);
      await next.release();
      await detail.getByText("Published").waitFor();
      assert.equal(await grid.locator(".cell[tabindex='0']").count(), 1);
    });
  },
});

Deno.test({
  name: "a failed run says why and what to do; its rejected records are replayed",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    const records = Array.from({ length: 30 }, (_, id) => ({
      id,
      at: id < 25 ? "not a time" : "2026-01-01T00:00:00Z",
      entered: "2026-01-02T00:00:00Z",
    }));
    const id = await site.run({
      run_label: "manual",
      source: { type: "inline", name: "manual", key: "id", occurred_at: "at", records },
    });
    const logText = async () =>
      await (await fetch(`${site.address}/etl/runs/${id}/log.txt`)).text();
    await waitFor(async () => /run summary/.test(await logText()), { what: "the log is stored" });
    await site.visit(`/etl/runs/${id}`, {}, async (page) => {
      const notice = page.locator(".notice.is-problem");
      assert.match(await notice.innerText(), /The acceptance ratio is too low/);
      assert.match(await notice.innerText(), /What to do/);
      assert.equal(await page.locator(".gantt-bar.is-failed").count(), 1);
      const card = page.locator("#quarantine");
      assert.equal(await card.locator("tbody tr").count(), 10);
      // what failed, in the record as it was read
      assert.equal(await card.locator("mark").first().innerText(), '"at":"not a time"');
      const main = await page.locator("main").innerText();
      assert.ok(main.indexOf("The acceptance ratio") < main.indexOf("Acceptance ratio\n"));
      assert.ok(main.indexOf("All rules") < main.indexOf("Timeline"));
      assert.doesNotMatch(main, /0 failed/);
      const [file] = await Promise.all([
        page.waitForEvent("download"),
        card.getByRole("link", { name: "NDJSON" }).click(),
      ]);
      const exported = (await Deno.readTextFile(await file.path())).trim().split("\n");
      assert.equal(exported.length, 25);
      assert.equal(JSON.parse(exported[24]!).field, "at");
      const csv = await (await fetch(`${site.address}/etl/runs/${id}/quarantine.csv`)).text();
      assert.match(csv, /^rule,field,message,file,line,/);
      assert.equal(csv.match(/not a time/g)!.length >= 25, true);
      const log = page.locator('[aria-labelledby="log-title"]');
      await log.getByRole("searchbox").fill("no such line");
      await log.getByText("No line matches.").waitFor();
      await log.getByRole("searchbox").fill("RUN SUMMARY");
      await log.locator(".log-line").first().waitFor();
      assert.equal(await log.locator(".log-line").count(), 1);
      assert.match(await logText(), /^\d{4}-.*run summary/m);
      const rule = card.locator(".chip").nth(1);
      // records that come late are not put below those of another rule
      const more = await holdAnswer(page, /quarantine\?limit=100/);
      await card.getByRole("button", { name: "Show more records" }).click();
      await more.answered;
      await rule.click();
      await card.locator("tbody tr").nth(19).waitFor();
      await more.release();
      assert.equal(await card.locator("tbody tr").count(), 20);
      await card.locator(".chip").first().click();
      await card.getByRole("button", { name: "Show more records" }).click();
      await card.locator("tbody tr").nth(24).waitFor();
      assert.match(await card.locator("tbody tr").first().innerText(), /not a time/);
      await rule.click();
      await until(
        page,
        "document.querySelectorAll('#quarantine .chip')[1].getAttribute('aria-pressed') === 'true'",
      );
      await card.getByRole("button", { name: "Replay with…" }).click();
      const dialog = page.getByRole("dialog");
      assert.match(await dialog.getByLabel("Records").inputValue(), /occurred_at/);
      await assertAccessible(page, "the dialog for a replay");
      await screenshot(page, "run_replay_with");
      await dialog.getByRole("button", { name: "Dry run" }).click();
      await dialog.getByText("Some records would be rejected again.").or(
        dialog.getByText("The dry run failed."),
      ).waitFor();
      // a dry run says nothing of what was changed while it was under way
      const dry = await holdAnswer(page, /replay\?wait=true/);
      await dialog.getByRole("button", { name: "Dry run" }).click();
      await dry.answered;
      await dialog.getByRole("checkbox", { name: "entered is the time" }).check();
      await dry.release();
      assert.equal(await dialog.getByRole("status").innerText(), "");
      await dialog.getByRole("button", { name: "Dry run" }).click();
      await dialog.getByText("Every record would be accepted.").waitFor();
      assert.match(await dialog.getByRole("status").innerText(), /Inserted 25/);
      await dialog.getByRole("button", { name: "Replay" }).click();
      await page.waitForURL((url) => !url.pathname.endsWith(id));
      await page.getByRole("link", { name: "Replay of another run" }).waitFor();
      await page.locator(".run-head .state").getByText("Succeeded").waitFor();
      const { items } = await site.api<{ items: { state: string }[] }>(
        `/api/etl/runs/${id}/quarantine`,
      );
      assert.ok(items.every(({ state }) => state === "replayed"));
    });
    // on a phone the failure and its records come before all else, which links lead to
    await site.visit(
      `/etl/runs/${id}`,
      { viewport: { width: 390, height: 844 }, colorScheme: "dark" },
      async (page) => {
        const top = async (selector: string) => (await page.locator(selector).boundingBox())!.y;
        assert.ok(await top(".notice.is-problem") < 300);
        assert.ok(await top("#quarantine") < await top("#stages-title"));
        const record = (await page.locator(".records tbody tr").first().boundingBox())!;
        const raw = (await page.locator(".records .raw").first().boundingBox())!;
        assert.ok(raw.x + raw.width <= record.x + record.width + 1 && record.width <= 390);
        await page.getByRole("navigation", { name: "On this page" })
          .getByRole("link", { name: "Stages" }).click();
        await until(page, "location.hash === '#stages-title'");
        await until(
          page,
          "document.querySelector('#stages-title').getBoundingClientRect().top < 844",
        );
        await assertAccessible(page, "a failed run on a phone");
        await screenshot(page, "run_failed_390_dark_records");
      },
    );
  },
});

Deno.test({
  name: "parameters say where they came from, stages how long they took, and it can be run again",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    await site.api("/api/variables/etl_improved__db_page_size", {
      method: "PUT",
      body: JSON.stringify({ value: 123 }),
    });
    const id = await site.run({ run_label: "origins", batch_size: 40, chunk_size: 10 });
    await site.visit(`/etl/runs/${id}`, {}, async (page) => {
      // those of a run that has just ended come without a reload
      await page.locator(".log-line").getByText("run summary").waitFor();
      const params = page.locator("section", {
        has: page.getByRole("heading", { name: "Parameters" }),
      });
      const text = (await params.innerText()).replaceAll(/\s+/g, " ");
      assert.match(text, /db_page_size variable 123/);
      assert.match(text, /batch_size request 40/);
      const gantt = page.locator(".gantt tbody tr");
      assert.deepEqual(
        await gantt.locator("th .gantt-stage > span:nth-child(2)").allInnerTexts(),
        ["extract", "transform", "chunk", "validate", "ge_validate", "load", "finalize"],
      );
      await page.getByRole("link", { name: "Run again with changes" }).click();
      await page.waitForURL(`**/etl/new?from=${id}`);
      assert.equal(await page.locator("#field-batch_size").inputValue(), "40");
      assert.equal(await page.locator("#field-run_label").inputValue(), "origins");
    });
    await site.visit(`/etl/runs/${id}`, { javaScriptEnabled: false }, async (page) => {
      assert.match(await page.locator(".figures").innerText(), /4 of 4 chunks/);
      assert.equal(await page.getByRole("button", { name: "Copy the run's id" }).count(), 0);
    });
  },
});
