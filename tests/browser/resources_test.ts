import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import postgres from "postgres";
import {
  assertAccessible,
  holdAnswer,
  hydrated,
  noBrowser,
  screenshot,
  Site,
  until,
} from "./site.ts";

Deno.test({
  name: "configurations, variables, pools and suites are created, changed and removed",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    const rows = (page: Page) => page.locator("tbody tr");
    const fill = async (page: Page, values: Record<string, string>) => {
      for (const [label, value] of Object.entries(values)) {
        await page.getByRole("dialog").getByLabel(label, { exact: true }).fill(value);
      }
      await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
    };
    await site.visit("/etl/configurations", { expected: /400|422/ }, async (page) => {
      // made in the form of a run, changed there without what it holds being lost, or as JSON
      await page.getByRole("button", { name: "New configuration" }).click();
      await page.getByRole("heading", { level: 1, name: "New configuration" }).waitFor();
      assert.equal(await page.locator("#field-configuration").count(), 0);
      await page.getByLabel("Name", { exact: true }).fill("nightly");
      await page.locator("#field-batch_size").fill("-1");
      await page.getByRole("button", { name: "Save", exact: true }).click();
      await until(page, "document.activeElement.id === 'form-errors'");
      await page.locator("#field-batch_size").fill("1");
      await page.getByRole("button", { name: "Save", exact: true }).click();
      await page.getByText("It can be run as “nightly”").waitFor();
      await page.locator("main").getByRole("link", { name: "Configurations" }).click();
      await hydrated(page);
      await page.getByRole("button", { name: "nightly as JSON" }).click();
      await fill(page, { Values: "{nonsense" });
      await page.getByRole("alert").getByText("This is not JSON").waitFor();
      await fill(page, { Values: '{"batch_sise": 1}' });
      await page.getByRole("alert").getByText("batch_size").waitFor();
      await fill(page, { Values: '{"batch_size": 1, "suite": null}' });
      await page.getByText("nightly is saved.").waitFor();
      await page.getByRole("button", { name: "Change nightly" }).click();
      await page.getByRole("heading", { name: "Change configuration nightly" }).waitFor();
      await hydrated(page);
      assert.equal(await page.locator("#field-batch_size").inputValue(), "1");
      await page.locator("#field-chunk_size").fill("2");
      await page.getByLabel("Description").fill("At night");
      await assertAccessible(page, "the form of a configuration");
      await page.getByRole("button", { name: "Save", exact: true }).click();
      await page.getByText("It can be run as “nightly”").waitFor();
      const { conf } = await site.api<{ conf: unknown }>("/api/configurations/nightly");
      assert.deepEqual(conf, { batch_size: 1, chunk_size: 2, suite: null });
      await page.locator("main").getByRole("link", { name: "Configurations" }).click();
      await hydrated(page);
      await rows(page).getByText("At night").waitFor();
      await page.getByRole("button", { name: "Remove nightly" }).click();
      await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
      await page.getByText("nightly is removed.").waitFor();
      assert.equal(await rows(page).count(), 0);
    });
    await site.visit("/etl/variables", {}, async (page) => {
      // a value is written as what it is: nobody needs quotes
      const type = page.getByRole("dialog").getByLabel("Type");
      await page.getByRole("button", { name: "New variable" }).click();
      await fill(page, { Name: "etl_improved__run_label", Value: 'the "daily" one' });
      await rows(page).getByText(JSON.stringify('the "daily" one')).waitFor();
      await page.getByRole("button", { name: "New variable" }).click();
      await type.selectOption("yes or no");
      await page.getByRole("dialog").getByLabel("Value").selectOption("yes");
      await fill(page, { Name: "etl_improved__mlflow_enable" });
      await rows(page).getByText("true", { exact: true }).waitFor();
      await page.getByRole("button", { name: "Change etl_improved__mlflow_enable" }).click();
      await page.getByRole("dialog").getByLabel("Value").selectOption("no");
      await fill(page, {});
      await rows(page).getByText("false", { exact: true }).waitFor();
      await page.getByRole("button", { name: "New variable" }).click();
      await type.selectOption("number");
      await fill(page, { Name: "etl_improved__batch_size", Value: "seven" });
      await page.getByRole("alert").getByText("seven is not a number").waitFor();
      await assertAccessible(page, "the form of a variable");
      await fill(page, { Value: "77" });
      await rows(page).getByText("77").waitFor();
      // an editor that is opened and saved changes no digit, in the page as it came and as it was read again
      const digits = "[12345678901234567890,0.1000000000000000055]";
      await page.getByRole("button", { name: "New variable" }).click();
      await type.selectOption({ label: "JSON: a list or an object" });
      await fill(page, { Name: "exact", Value: digits });
      await rows(page).getByText(digits).waitFor();
      for (const _ of ["as it came", "as it was read again"]) {
        await page.getByRole("button", { name: "Change exact" }).click();
        await fill(page, {});
        await page.getByText("exact is saved.").waitFor();
        assert.equal(await rows(page).getByText(digits).count(), 1);
        await page.reload();
      }
    });
    const id = await site.run({});
    const run = await site.api<{ params: Record<string, { value: unknown }> }>(
      `/api/etl/runs/${id}`,
    );
    assert.equal(run.params.batch_size?.value, 77);
    await site.visit("/etl/pools", { expected: /400|422/ }, async (page) => {
      await page.getByRole("button", { name: "New pool" }).click();
      await fill(page, { Name: "heavy", Slots: "many" });
      await page.getByRole("alert").waitFor();
      await fill(page, { Slots: "3" });
      await rows(page).getByText("heavy").waitFor();
      assert.equal(await page.getByRole("button", { name: "Remove default_pool" }).count(), 0);
    });
    await site.visit("/etl/suites", { expected: /422/ }, async (page) => {
      const before = await rows(page).count();
      await page.getByRole("button", { name: "New suite" }).click();
      const dialog = page.getByRole("dialog");
      await dialog.getByLabel("Name").fill("mine");
      await page.getByText("Try it on a sample").click();
      // a table of expectations: no JSON is typed, and columns are those of the dataset
      await until(page, "document.querySelectorAll('#suite-columns option').length > 3");
      await dialog.getByRole("button", { name: "Add an expectation" }).click();
      const added = dialog.getByRole("listitem", { name: "Expectation 2" });
      await added.getByLabel("Expectation", { exact: true })
        .selectOption("expect_column_values_to_be_in_set");
      await added.getByLabel(/^column /).fill("event_type");
      await added.getByLabel(/^value_set /).fill("click\nno such type\n12");
      await added.getByLabel("mostly").fill("0.9");
      await added.getByLabel("Severity").selectOption("warning");
      await dialog.getByRole("button", { name: "Check the sample" }).click();
      await dialog.getByText("1 of 2 expectations met").waitFor();
      await assertAccessible(page, "the editor of a suite");
      await screenshot(page, "suite_editor");
      await dialog.getByRole("button", { name: "Save" }).click();
      await rows(page).getByText("mine").waitFor();
      assert.equal(await rows(page).count(), before + 1);
      const { expectations } = await site.api<{ expectations: Record<string, unknown>[] }>(
        "/api/suites/mine",
      );
      assert.partialDeepStrictEqual(expectations[1], {
        type: "expect_column_values_to_be_in_set",
        kwargs: { column: "event_type", value_set: ["click", "no such type", 12], mostly: 0.9 },
        severity: "warning",
      });
      // what was added is taken away again; what the server finds wrong is said
      // and nothing is typed where what is stored is still to come
      const stored = await holdAnswer(page, /api\/suites\/mine$/);
      await page.getByRole("button", { name: "Change mine" }).click();
      await stored.answered;
      assert.equal(await dialog.getByRole("textbox").count(), 0);
      await stored.release();
      await dialog.getByRole("button", { name: "Remove expectation 2" }).click();
      await until(page, "document.activeElement?.innerText.includes('Add an expectation')");
      await dialog.getByRole("button", { name: "Add an expectation" }).click();
      await dialog.getByRole("button", { name: "Save" }).click();
      await dialog.getByRole("alert").getByText("expectations[1].kwargs.column").waitFor();
    });
    // numbers that a browser would round come and go as they were written
    const long = "[12345678901234567891, 1]";
    const exact =
      `{"expectations": [{"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "n", "value_set": ${long}}}]}`;
    await site.visit("/etl/suites", {}, async (page) => {
      await page.getByRole("button", { name: "New suite" }).click();
      const dialog = page.getByRole("dialog");
      await dialog.getByLabel("Name").fill("exact");
      await dialog.getByRole("button", { name: "JSON", exact: true }).click();
      await page.locator("#editor-suite").fill(exact);
      await dialog.getByRole("button", { name: "Save" }).click();
      await rows(page).getByText("exact").waitFor();
      await page.getByRole("button", { name: "Change exact" }).click();
      await until(
        page,
        "document.querySelector('#editor-suite')?.value.includes('12345678901234567891')",
      );
      await dialog.getByRole("button", { name: "Save" }).click();
      await page.getByText("exact is saved.").waitFor();
      // columns that come late are not those of the rows chosen since
      const columns = await holdAnswer(page, /columns\/proposal/);
      await page.getByRole("button", { name: "Change exact" }).click();
      await columns.answered;
      await dialog.getByText("Try it on a sample").click();
      await dialog.getByLabel("Rows of").selectOption("my own records");
      await columns.release();
      await dialog.getByRole("button", { name: "JSON", exact: true }).click();
      await page.locator("#editor-suite").fill('{"expectations": []}');
      await dialog.getByRole("button", { name: "Table" }).click();
      assert.equal(await page.locator("#suite-columns option").count(), 0);
      await dialog.getByRole("button", { name: "Close" }).first().click();
      // a text stays one while it is typed, also once a table could show it
      await page.getByRole("button", { name: "Change exact" }).click();
      await until(page, "document.querySelectorAll('#trial-dataset option').length === 2");
      await page.locator("#editor-suite").fill('{"expectations": []}');
      await page.locator("#editor-suite").press("End");
      assert.equal(await page.evaluate("document.activeElement.id"), "editor-suite");
      // a verdict that comes late is not that of the records chosen since
      await dialog.getByText("Try it on a sample").click();
      const verdict = await holdAnswer(page, /api\/suites\/try/);
      await dialog.getByRole("button", { name: "Check the sample" }).click();
      await verdict.answered;
      await dialog.getByLabel("Rows of").selectOption({ index: 1 });
      await verdict.release();
      assert.equal(await dialog.getByText("expectations met").count(), 0);
      assert.ok(await dialog.getByRole("button", { name: "Check the sample" }).isEnabled());
    });
    const kept = await fetch(`${site.address}/api/suites/exact`);
    assert.ok((await kept.text()).includes("12345678901234567891"));
    await site.visit("/etl/datasets", { expected: /400|422/ }, async (page) => {
      const dataset = "public.etl_improved_events";
      assert.equal(await page.getByRole("button", { name: /^New/ }).count(), 0);
      assert.equal(await page.getByRole("button", { name: "Remove " }).count(), 0);
      await page.getByRole("button", { name: `Change ${dataset}` }).click();
      await page.getByRole("button", { name: "Add a column" }).click();
      await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
      await page.getByRole("alert").waitFor();
      await screenshot(page, "dataset_columns");
      // what is typed while they are looked for stays
      const proposal = await holdAnswer(page, /columns\/proposal$/);
      await page.getByRole("button", { name: "Propose from the data" }).click();
      await proposal.answered;
      const first = page.getByLabel("Field of column 1", { exact: true });
      await first.fill("event_type");
      await proposal.release();
      await page.getByText("These columns fit 77 rows").waitFor();
      assert.equal(await first.inputValue(), "event_type");
      assert.ok(await page.getByRole("dialog").locator("tbody tr").count() > 1);
      await page.getByRole("button", { name: "Remove event_type" }).click();
      await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
      await rows(page).getByText("public.etl_improved_events_typed").waitFor();
      await page.getByRole("button", { name: `Remove ${dataset}_typed` }).click();
      await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
      await page.getByText(`${dataset}_typed is removed.`).waitFor();
      assert.equal(await rows(page).getByText("_typed").count(), 0);
    });
    await site.run({
      table_name: "sold",
      layout: "typed",
      source: { type: "inline", key: "id", records: [{ id: 1, amount: 5 }] },
    });
    await site.visit("/etl/datasets", {}, async (page) => {
      await page.getByRole("button", { name: "Change public.sold" }).click();
      const dialog = page.getByRole("dialog");
      await dialog.getByLabel("Type of amount").selectOption("numeric");
      await dialog.getByRole("button", { name: "Add a column" }).click();
      await dialog.getByLabel("Field of new column 1").fill("discount");
      await dialog.getByLabel("Type of new column 1").fill("numeric(5,2)");
      await assertAccessible(page, "the editor of a typed table");
      await screenshot(page, "typed_columns");
      await dialog.getByRole("button", { name: "Save" }).click();
      await page.getByText("public.sold is saved").waitFor();
    });
    await site.visit("/etl/datasets/public.sold", {}, async (page) => {
      const changes = page.getByRole("region", { name: "Column changes" });
      assert.match(
        (await changes.innerText()).replaceAll(/\s+/g, " "),
        /amount becomes numeric Added: discount numeric\(5,2\) Declared by the first load/,
      );
    });
  },
});

Deno.test({
  name: "alerts lead to their runs and are filtered; a report is made on request",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    const id = await site.run({
      run_label: "broken",
      source: { type: "file", path: "nowhere.csv" },
    });
    await site.run({ run_label: "fine", batch_size: 20 });
    await site.visit("/etl/alerts", {}, async (page) => {
      const link = page.locator(`.alert-list a[href="/etl/runs/${id}"]`);
      await page.getByLabel("State").selectOption("resolved");
      await page.getByText("No alert matches").waitFor();
      await page.getByLabel("State").selectOption("open");
      await link.click();
      await page.waitForURL(`**/etl/runs/${id}`);
    });
    await site.visit("/etl/reports", {}, async (page) => {
      await page.getByRole("button", { name: "Report now" }).click();
      await page.getByText("etl_downstream_example ·").waitFor();
      await page.getByRole("heading", { name: "Largest sources" }).waitFor();
    });
  },
});

Deno.test({
  name: "incidents appear, are acknowledged, silenced and closed, and end, without a reload",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    const sql = postgres(site.dsn, { max: 1, onnotice: () => {} });
    const loads: string[] = [];
    await site.visit("/etl/alerts", { expected: /ERR_FAILED/ }, async (page, context) => {
      const card = page.locator('[aria-labelledby="incidents-title"]');
      const other = await context.newPage();
      await other.goto(`${site.address}/etl/alerts`);
      page.on("framenavigated", (frame) => loads.push(frame.url()));
      await until(page, "document.documentElement.dataset.following === 'yes'");
      await page.getByText("Nothing to report").waitFor();
      await site.run({ run_label: "broken", source: { type: "file", path: "nowhere.csv" } });
      await card.getByText("broken", { exact: true }).waitFor();
      await card.getByText(/nowhere\.csv/).waitFor();
      await page.locator(".alert-list").getByText(/nowhere\.csv/).waitFor();
      await sql`select etl.raise_alert('own_check', 'prices', 'Nothing has come.')`;
      await card.getByText("prices", { exact: true }).waitFor();

      const row = card.locator("li", { hasText: "broken" });
      await row.getByRole("button", { name: /^Acknowledge/ }).focus();
      await page.keyboard.press("Enter");
      await row.getByText("acknowledged").waitFor();
      assert.equal(await row.getByRole("button", { name: /^Acknowledge/ }).count(), 0);
      // who works with the keyboard goes on in the same row
      await until(page, "document.activeElement.dataset.handle === 'silence'");
      await page.keyboard.press("Enter");
      await row.getByText(/^silenced until/).waitFor();
      await page.route("**/api/alerts/handle", (route) => route.abort(), { times: 1 });
      await row.getByRole("button", { name: /^Close/ }).click();
      await page.getByRole("alert").getByText("The server did not answer").waitFor();
      await row.getByRole("button", { name: /^Close/ }).click();
      await row.waitFor({ state: "detached" });
      // another page shows it, too, and what ends by itself
      const elsewhere = other.locator('[aria-labelledby="incidents-title"] li');
      await until(other, "document.querySelectorAll('#incidents li').length === 1");
      assert.match(await elsewhere.innerText(), /prices/);
      await sql`select etl.resolve_alert('own_check', 'prices', 'It has come.')`;
      await card.waitFor({ state: "detached" });
      await until(page, "document.querySelectorAll('#alerts li').length === 2");
      assert.deepEqual(loads, []);
      const { items } = await site.api<{ items: unknown[] }>("/api/alerts/open");
      assert.deepEqual(items, []);
    });
    await sql.end();
  },
});
