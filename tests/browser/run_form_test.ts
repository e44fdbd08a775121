import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  assertAccessible,
  holdAnswer,
  hydrated,
  noBrowser,
  screenshot,
  Site,
  until,
  walkByTab,
} from "./site.ts";

/** How many runs there are. */
async function runsOf(site: Site): Promise<number> {
  return (await site.api<{ items: unknown[] }>("/api/etl/runs")).items.length;
}

Deno.test({
  name: "the form says the same in curl, on the command line and in SQL while it is filled in",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    await site.visit("/etl/new", {}, async (page) => {
      // what is typed before the script has come is part of it, and of what was typed before that
      await page.locator("#field-pool").selectOption("default_pool");
      const script = await holdAnswer(page, /\/form-[^/]*\.js/);
      await page.reload({ waitUntil: "commit" });
      await page.locator("#field-batch_size").fill("7");
      await page.locator("#field-dry_run").selectOption("true");
      await page.getByRole("radio", { name: /^file/ }).check();
      await script.release();
      await hydrated(page);
      assert.match(
        await page.locator(".equivalent").innerText(),
        /-d '\{"dry_run":true,"batch_size":7,"pool":"default_pool","source":\{"type":"file"\}\}'/,
      );
      await page.getByRole("button", { name: "Start again" }).click();

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
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    const before = await runsOf(site);
    await site.visit("/etl/new", { expected: /422/ }, async (page) => {
      await page.locator("#field-batch_size").fill("-5");
      await page.locator("#field-chunk_size").fill("0");
      await page.getByRole("button", { name: "Start run" }).click();
      const summary = page.locator("#form-errors");
      await summary.waitFor();
      await until(page, "document.activeElement.id === 'form-errors'");
      assert.equal(await page.locator("#field-batch_size").getAttribute("aria-invalid"), "true");
      await summary.getByRole("link", { name: /batch_size/ }).click();
      assert.equal(await page.evaluate("document.activeElement.id"), "field-batch_size");
      await page.locator("#field-batch_size").fill("50");
      await page.locator("#field-chunk_size").fill("");
      await page.keyboard.press("Control+Enter");
      await page.waitForURL(/\/etl\/runs\/[0-9a-f-]{36}$/);
      await page.locator(".run-head .state", { hasText: "Succeeded" }).waitFor();
    });
    assert.equal(await runsOf(site), before + 1);
  },
});

Deno.test({
  name: "a preview shows what records would become and makes no run",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    const before = await runsOf(site);
    await site.visit("/etl/new", {}, async (page) => {
      await page.getByRole("radio", { name: /^file/ }).check();
      await page.locator("#field-source-path").fill("airports.csv");
      await page.locator("#field-source-key").fill("state");
      await page.getByRole("button", { name: "Preview" }).click();
      const preview = page.locator(".preview");
      await preview.locator("tbody tr").first().waitFor();
      assert.match(await preview.innerText(), /These keys occur several times/);
    });
    assert.equal(await runsOf(site), before);
  },
});

Deno.test({
  name: "what the form holds is saved as a configuration and runs by its name",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    await site.visit("/etl/new", {}, async (page) => {
      await page.locator("#field-run_label").fill("saved");
      await page.locator("#field-batch_size").fill("30");
      await page.getByRole("button", { name: "Save as configuration" }).click();
      const dialog = page.getByRole("dialog");
      await dialog.getByLabel("Name").fill("small");
      await dialog.getByRole("button", { name: "Save" }).click();
      // what is said of it is not changed by what is typed afterwards
      await dialog.getByRole("link", { name: "Configurations" }).waitFor();
      await dialog.getByLabel("Name").fill("other");
      await dialog.getByText("It can be run as “small”").waitFor();
      await dialog.getByRole("link", { name: "Configurations" }).click();
      await page.getByRole("button", { name: "Run small now" }).click();
      await page.waitForURL(/\/etl\/runs\/[0-9a-f-]{36}$/);
      await page.getByRole("heading", { name: "saved" }).waitFor();
      await page.getByText("configuration", { exact: true }).first().waitFor();
    });
  },
});

Deno.test({
  name:
    "a file is picked, its columns say key, time and types, what was typed stays, and it is scheduled",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    await site.visit("/etl/new", { expected: /422/ }, async (page) => {
      // what there is to choose from is a list
      await page.locator("#field-pool").selectOption("default_pool");
      await page.getByRole("radio", { name: /^file/ }).check();
      // what comes late of a folder or a file that was left takes the place of nothing
      const root = await holdAnswer(page, /files\?folder=$/);
      await page.locator("#field-source-path").fill("");
      await page.getByRole("button", { name: "Choose a file" }).click();
      await root.answered;
      await page.getByRole("button", { name: "Close" }).click();
      await page.locator("#field-source-path").fill("no such folder/x");
      await page.getByRole("button", { name: "Choose a file" }).click();
      await page.locator(".picker").getByRole("alert").waitFor();
      await root.release();
      assert.equal(await page.locator(".picker-list button").count(), 1);
      await page.getByRole("button", { name: "up" }).click();
      await page.getByText("How it is read").click();
      await page.locator("#field-source-format").selectOption("csv");
      const airports = await holdAnswer(page, /etl\/preview/);
      await page.getByRole("button", { name: "airports.csv" }).click();
      await airports.answered;
      await page.locator("#field-source-path").fill("");
      await page.getByRole("button", { name: "Choose a file" }).click();
      await page.getByRole("searchbox", { name: "Find a file" }).fill("weather.csv");
      await page.getByRole("button", { name: /seattle-weather\.csv/ }).click();
      const columns = page.locator(".column-table tbody tr");
      await columns.first().waitFor();
      assert.deepEqual(await columns.locator("th").allInnerTexts(), [
        "date",
        "precipitation",
        "temp_max",
        "temp_min",
        "wind",
        "weather",
      ]);
      await airports.release();
      assert.equal(await columns.count(), 6);
      await page.locator("#field-source-format").selectOption("");
      await page.getByRole("button", { name: "Show the columns" }).click();
      await columns.first().waitFor();
      await assertAccessible(page, "the form with columns");
      await page.getByLabel("date is (part of) the key").check();
      await page.getByLabel("weather is (part of) the key").check();
      assert.equal(await page.locator("#field-source-key").inputValue(), '["date","weather"]');
      await page.getByLabel("weather is (part of) the key").uncheck();
      await page.getByLabel("date is the time").check();
      await page.getByLabel("Type of wind").selectOption("numeric");
      assert.equal(
        await page.locator("#field-source-columns-json").inputValue(),
        '{"wind":"numeric"}',
      );
      await page.getByRole("button", { name: "Preview", exact: true }).click();
      const preview = page.locator(".preview");
      await preview.locator("tbody tr").nth(19).waitFor();
      assert.match(
        await preview.locator("tbody tr").first().innerText(),
        /\{"date":.*"wind":.*"weather":/,
      );
      const [form, beside] = [
        (await page.locator(".form-columns > .stack").first().boundingBox())!,
        (await preview.boundingBox())!,
      ];
      assert.ok(beside.x >= form.x + form.width, "the preview is beside the form");
      await assertAccessible(page, "the form with a preview");
      await screenshot(page, "form_columns_1280_light");

      // a wrong key names what there is
      await page.locator("#field-source-key").fill("dat");
      assert.match(
        await page.locator("#field-source-key-error").innerText(),
        /dat is not a column; columns are: date, precipitation, temp_max/,
      );
      await page.locator("#field-source-key").fill("date");
      assert.equal(await page.locator("#field-source-key-error").count(), 0);

      await page.goto(`${site.address}/etl/runs`);
      await page.goto(`${site.address}/etl/new`);
      await page.getByText("Your previous input was restored").waitFor();
      assert.equal(await page.locator("#field-source-path").inputValue(), "seattle-weather.csv");
      await page.getByRole("button", { name: "Schedule this" }).click();
      await page.waitForURL("**/etl/schedules#draft");
      const conf = JSON.parse(await page.locator("#schedule-conf").inputValue());
      assert.deepEqual(conf, {
        pool: "default_pool",
        source: {
          type: "file",
          path: "seattle-weather.csv",
          key: "date",
          occurred_at: "date",
          columns: { wind: "numeric" },
        },
      });
      await page.goto(`${site.address}/etl/new`);
      await page.getByRole("button", { name: "Start again" }).click();
      assert.equal(await page.locator("#field-pool").inputValue(), "");
      await page.reload();
      await hydrated(page);
      assert.equal(await page.getByText("Your previous input was restored").count(), 0);
    });
  },
});

Deno.test({
  name: "a file of the viewer's computer is looked at and loaded; a run is scheduled from its page",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    const lines = Array.from({ length: 30 }, (_, n) => `${n};${n * 2},5;2026-01-${n % 28 + 1}`);
    const buffer = Buffer.from(`order;price;day\n${lines.join("\n")}\n`);
    let id = "";
    await site.visit("/etl/new", { viewport: { width: 390, height: 844 } }, async (page) => {
      await page.getByRole("radio", { name: /^inline/ }).check();
      await page.getByText("How it is read").click();
      await page.locator("#field-source-delimiter").fill(";");
      await page.locator("#upload").setInputFiles({
        name: "orders.csv",
        mimeType: "text/csv",
        buffer,
      });
      await page.getByLabel("order is (part of) the key").check();
      assert.match(await page.locator(".column-table").innerText(), /price/);
      assert.match(
        await page.locator(".equivalent").innerText(),
        /run\?key=order&delimiter=%3B[\s\S]*--data-binary @'orders.csv'/,
      );
      await page.locator("#field-run_label").fill("mine");
      const wider = await page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth",
      ) as number;
      assert.ok(wider <= 0, `${wider} px too wide`);
      await assertAccessible(page, "the form with an upload on a phone");
      // a file does not survive leaving, and no run without it is started
      await page.reload();
      await page.getByText("Your previous input was restored.").waitFor();
      await page.getByRole("button", { name: "Start run" }).click();
      await page.locator("#form-errors", { hasText: "A file is not kept" }).waitFor();
      await page.locator("#upload").setInputFiles({
        name: "orders.csv",
        mimeType: "text/csv",
        buffer,
      });
      await page.getByRole("button", { name: "Start run" }).click();
      await page.waitForURL(/\/etl\/runs\/[0-9a-f-]{36}$/);
      await page.locator(".run-head .state", { hasText: "Succeeded" }).waitFor();
      id = page.url().split("/").at(-1)!;
    });
    const run = await site.api<{ total_rows: number; run_label: string }>(`/api/etl/runs/${id}`);
    assert.deepEqual([run.total_rows, run.run_label], [30, "mine"]);
    const other = await site.run({ run_label: "again", batch_size: 7, overlap: "queue" });
    await site.visit(`/etl/runs/${other}`, {}, async (page) => {
      await page.getByRole("link", { name: "Schedule this" }).click();
      await page.waitForURL(`**/etl/schedules?from=${other}`);
      const conf = JSON.parse(await page.locator("#schedule-conf").inputValue());
      assert.deepEqual(conf, { run_label: "again", batch_size: 7 });
      assert.equal(await page.locator("#schedule-overlap").inputValue(), "queue");
    });
    const beyond = await fetch(`${site.address}/etl/data/files?folder=../..`);
    assert.equal(beyond.ok, false);
    assert.doesNotMatch(await beyond.text(), /entries/);
  },
});

Deno.test({
  name:
    "types of columns, the event type and a time are given without JSON, with the keyboard, on a phone too",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    const buffer = Buffer.from(
      'order,price,sold,kind\n1,"2,50",31/12/2025,web\n2,"3,75",30/12/2025,shop\n',
    );
    const phone = {
      viewport: { width: 390, height: 844 },
      colorScheme: "dark",
      locale: "es-ES",
    } as const;
    await site.visit("/etl/new", phone, async (page) => {
      await page.getByRole("radio", { name: /^inline/ }).check();
      await page.locator("#upload").setInputFiles({ name: "o.csv", mimeType: "text/csv", buffer });
      await page.locator(".column-table tbody tr").first().waitFor();
      const columns = page.getByRole("group", { name: "columns", exact: true });
      // what the file proposes is taken over, and shows how it is read
      await columns.getByRole("button", { name: /^Usar los \d+ tipos propuestos/ }).click();
      const price = columns.getByRole("group", { name: "price" });
      assert.equal(await price.getByLabel("Signo decimal").inputValue(), ",");
      const sold = columns.getByRole("group", { name: "sold" });
      assert.equal(await sold.getByLabel("Formato").inputValue(), "%d/%m/%Y");
      // letter by letter, a list too, whatever is rendered meanwhile
      const nulls = sold.getByLabel("Textos que son nulos");
      await nulls.pressSequentially("never, n/a,");
      assert.equal(await nulls.inputValue(), "never, n/a,");
      assert.deepEqual(
        JSON.parse(await page.locator("#field-source-columns-json").inputValue()).sold.null_values,
        ["never", "n/a"],
      );
      await nulls.fill("");
      // the table of what was found shows the type alone
      assert.equal(
        await page.getByLabel("Tipo de sold").locator("option:checked").innerText(),
        "date",
      );
      // a column of one's own, without the mouse
      await columns.getByRole("button", { name: "Añadir una columna" }).focus();
      await page.keyboard.press("Enter");
      await until(
        page,
        "document.activeElement.value === '' && document.activeElement.tagName === 'INPUT'",
      );
      await page.keyboard.type("sold");
      await columns.getByText("sold está declarada dos veces").first().waitFor();
      for (let i = 0; i < 4; i++) await page.keyboard.press("Backspace");
      await page.keyboard.type("kind");
      assert.equal(await columns.getByText("declarada dos veces").count(), 0);
      await page.keyboard.press("Tab");
      await page.keyboard.type("te");
      await columns.getByRole("button", { name: "Eliminar price" }).focus();
      await page.keyboard.press("Enter");
      await until(page, "document.activeElement.id === 'field-source-columns-add'");
      // a number has as many digits as are typed
      const kind = columns.getByRole("group", { name: "kind" });
      await kind.getByLabel("Tipo").selectOption("numeric");
      await kind.getByLabel("Decimales").pressSequentially("3");
      await kind.getByLabel("Dígitos").pressSequentially("1x0");
      assert.equal(
        JSON.parse(await page.locator("#field-source-columns-json").inputValue()).kind,
        "numeric(10,3)",
      );
      await kind.getByLabel("Tipo").selectOption("text");
      const declared = JSON.parse(await page.locator("#field-source-columns-json").inputValue());
      assert.deepEqual(declared, { sold: { type: "date", format: "%d/%m/%Y" }, kind: "text" });
      // what else is proposed comes to what is declared
      await columns.getByRole("button", { name: /^Usar/ }).click();
      await columns.getByRole("group", { name: "price" }).waitFor();
      assert.equal(await columns.getByRole("group", { name: "kind" }).count(), 1);

      const shown = page.locator(".equivalent");
      const eventType = page.locator("#field-source-event_type");
      await eventType.fill("order");
      assert.match(await shown.innerText(), /event_type=order&/);
      await page.getByLabel("event_type: texto fijo o un campo").selectOption("Un campo");
      assert.deepEqual(
        await page.locator("#field-source-event_type-fields option").evaluateAll((options) =>
          options.map((option) => (option as HTMLOptionElement).value)
        ),
        ["order", "price", "sold", "kind"],
      );
      await eventType.fill("");
      await eventType.fill("kin");
      await page.getByText("kin no es una columna").waitFor();
      await eventType.fill("kind");
      const given = page.getByLabel("event_type: texto fijo o un campo");
      await given.selectOption("Texto fijo");
      assert.equal(await eventType.inputValue(), "kind");
      await given.selectOption("Un campo");
      await page.locator("#field-source-occurred_at").fill("sold");
      await page.getByLabel("Formato de occurred_at").selectOption("epoch_s");
      assert.match(
        decodeURIComponent(await shown.innerText()),
        /event_type=\{"field":"kind"\}&occurred_at=\{"field":"sold","format":"epoch_s"\}/,
      );
      // another name in its place keeps the format
      await page.locator("#field-source-occurred_at").fill("");
      await page.locator("#field-source-occurred_at").fill("order");
      assert.match(
        decodeURIComponent(await shown.innerText()),
        /occurred_at=\{"field":"order","format":"epoch_s"\}/,
      );
      const wider = await page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth",
      ) as number;
      assert.ok(wider <= 0, `${wider} px too wide`);
      await assertAccessible(page, "the form with declared columns on a phone");
      await walkByTab(page, "the form with declared columns on a phone");
      await screenshot(page, "form_declared_390_dark_es");

      // a field within another is proposed too
      await page.locator("#upload").setInputFiles({
        name: "o.ndjson",
        mimeType: "application/x-ndjson",
        buffer: Buffer.from('{"order":{"no":1},"kind":"web"}\n'),
      });
      await page.locator(
        '#field-source-event_type-fields option[value="order.no"]',
      ).waitFor({ state: "attached" });
    });
  },
});
