import assert from "node:assert/strict";
import { noBrowser, Site, until } from "./site.ts";

Deno.test({
  name: "the form says the same in curl, on the command line and in SQL while it is filled in",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    await site.visit("/etl/new", {}, async (page) => {
      const shown = page.locator(".equivalent");
      assert.match(await shown.innerText(), /-d '\{\}'/);
      await page.locator("#field-run_label").fill("it's mine");
      await page.locator("#field-batch_size").fill("1200");
      await page.locator("#field-dry_run").selectOption("true");
      const conf = { run_label: "it's mine", dry_run: true, batch_size: 1200 };
      const inShell = JSON.stringify(conf).replaceAll("'", `'\\''`);
      assert.ok((await shown.innerText()).includes(`-d '${inShell}'`));
      await page.getByRole("tab", { name: "CLI" }).click();
      assert.match(await shown.innerText(), /deno task etl run --server http/);
      await page.keyboard.press("ArrowRight");
      assert.match(
        await shown.innerText(),
        /select etl\.request_run\(\s+'\{"run_label":"it''s mine"/,
      );

      await page.getByRole("radio", { name: /^file/ }).check();
      await page.locator("#field-source-path").fill("airports.csv");
      await page.locator("#field-source-key").fill('["iata", "name"]');
      assert.match(await shown.innerText(), /"type":"file","path":"airports.csv"/);
      assert.match(await shown.innerText(), /"key":\["iata","name"\]/);
    });
  },
});

Deno.test({
  name: "what the server finds wrong is told at the field, and a link leads there",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    await site.visit("/etl/new", { expected: /422/ }, async (page) => {
      await page.locator("#field-batch_size").fill("-5");
      await page.locator("#field-pool").fill("nowhere");
      await page.getByRole("button", { name: "Start run" }).click();
      const summary = page.locator("#form-errors");
      await summary.waitFor();
      await until(page, "document.activeElement.id === 'form-errors'");
      assert.equal(await page.locator("#field-batch_size").getAttribute("aria-invalid"), "true");
      await summary.getByRole("link", { name: /batch_size/ }).click();
      assert.equal(await page.evaluate("document.activeElement.id"), "field-batch_size");
      await page.locator("#field-batch_size").fill("50");
      await page.locator("#field-pool").fill("");
      await page.keyboard.press("Control+Enter");
      await page.waitForURL(/\/etl\/runs\/[0-9a-f-]{36}$/);
      await page.locator(".run-head .state", { hasText: "Succeeded" }).waitFor();
    });
    const { items } = await site.api<{ items: unknown[] }>("/api/etl/runs");
    assert.equal(items.length, 1);
  },
});

Deno.test({
  name: "a preview shows what records would become and makes no run",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    await site.visit("/etl/new", {}, async (page) => {
      await page.getByRole("radio", { name: /^file/ }).check();
      await page.locator("#field-source-path").fill("airports.csv");
      await page.locator("#field-source-key").fill("state");
      await page.getByRole("button", { name: "Preview" }).click();
      const preview = page.locator(".preview");
      await preview.locator("tbody tr").first().waitFor();
      assert.match(await preview.innerText(), /These keys occur several times/);
    });
    const { items } = await site.api<{ items: unknown[] }>("/api/etl/runs");
    assert.deepEqual(items, []);
  },
});

Deno.test({
  name: "what the form holds is saved as a configuration and runs by its name",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    await site.visit("/etl/new", {}, async (page) => {
      await page.locator("#field-run_label").fill("saved");
      await page.locator("#field-batch_size").fill("30");
      await page.getByRole("button", { name: "Save as configuration" }).click();
      const dialog = page.getByRole("dialog");
      await dialog.getByLabel("Name").fill("small");
      await dialog.getByRole("button", { name: "Save" }).click();
      await dialog.getByRole("link", { name: "Configurations" }).click();
      await page.getByRole("button", { name: "Run small now" }).click();
      await page.waitForURL(/\/etl\/runs\/[0-9a-f-]{36}$/);
      await page.getByRole("heading", { name: "saved" }).waitFor();
      await page.getByText("configuration", { exact: true }).first().waitFor();
    });
  },
});
