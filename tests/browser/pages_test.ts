import assert from "node:assert/strict";
import { assertAccessible, hydrated, noBrowser, screenshot, Site, walkByTab } from "./site.ts";
import { en } from "../../islands/i18n/en.ts";
import { es } from "../../islands/i18n/es.ts";
import { confJsonSchema } from "../../pipeline/params.ts";
import { MESSAGES } from "../../vocabulary/messages.ts";
import { PROBLEM_TYPES, type ProblemType } from "../../vocabulary/problem_types.ts";
import { PROBLEMS_ES } from "../../vocabulary/problems_es.ts";
import { seed } from "./seed.ts";

const WIDTHS = [390, 1024, 1680];

Deno.test({
  name: "every page is accessible, fits its width and is quiet, in both themes and languages",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    const { succeeded, failed, quarantined } = await seed(site);
    const pages: Record<string, string> = {
      pipelines: "/etl",
      overview: "/etl/overview",
      runs: "/etl/runs",
      run: `/etl/runs/${succeeded}`,
      run_failed: `/etl/runs/${failed}`,
      run_quarantine: `/etl/runs/${quarantined}`,
      new_run: "/etl/new",
      schedules: "/etl/schedules",
      configurations: "/etl/configurations",
      variables: "/etl/variables",
      pools: "/etl/pools",
      suites: "/etl/suites",
      datasets: "/etl/datasets",
      dataset: "/etl/datasets/public.etl_improved_events",
      alerts: "/etl/alerts",
      reports: "/etl/reports",
      search: "/etl/search?q=da",
      not_found: "/etl/nowhere",
    };
    const untranslated: string[] = [];
    const sentences = englishSentences();
    const names = Object.fromEntries(Object.entries(pages).map(([name, path]) => [path, name]));
    const found = Object.values(pages).filter((path) => path !== pages.not_found);
    // the last alone may say that something is missing
    for (
      const [paths, expected] of [[found, {}], [[pages.not_found!], { expected: /404/ }]] as const
    ) {
      await site.tour([...paths], expected, async (path, page) => {
        const name = names[path]!;
        for (const colorScheme of ["light", "dark"] as const) {
          await page.emulateMedia({ colorScheme });
          for (const width of WIDTHS) {
            await page.setViewportSize({ width, height: width < 500 ? 844 : 900 });
            await hydrated(page);
            const wider = await page.evaluate(
              "document.documentElement.scrollWidth - document.documentElement.clientWidth",
            ) as number;
            assert.ok(wider <= 0, `${name} is ${wider} px too wide at ${width}`);
            await screenshot(page, `${name}_${width}_${colorScheme}`);
          }
          // light as on a desk, dark as on a phone: what differs is seen once each
          const width = colorScheme === "light" ? 1680 : 390;
          await page.setViewportSize({ width, height: 900 });
          await assertAccessible(page, `${name}, ${colorScheme}`);
        }
        await page.setViewportSize({ width: 1280, height: 900 });
        assert.ok(await walkByTab(page, name) > 10, `${name} has few stops of the tab key`);
      });
      await site.tour([...paths], { locale: "es-ES", ...expected }, async (path, page) => {
        const name = names[path]!;
        assert.equal(await page.getAttribute("html", "lang"), "es");
        await screenshot(page, `${name}_1280_spanish`);
        // no sentence of a catalogue is English, whoever says it: page, server, schema or alert; a log is as it was written
        await page.evaluate("document.querySelectorAll('[role=log]').forEach((e) => e.remove())");
        const shown = (await page.locator("body").innerText()).replaceAll(/\s+/g, " ");
        const options = await page.evaluate(
          "[...document.querySelectorAll('[title], [aria-label], [placeholder]')].map((e) => [e.title, e.getAttribute('aria-label'), e.placeholder].join(' | ')).join('\\n')",
        ) as string;
        for (const { longest, pattern } of sentences) {
          // looking for a part first costs a tenth: most are on no page
          const found = [shown, options].some((text) =>
            text.includes(longest) && pattern.test(text)
          );
          if (found) untranslated.push(`${name}: ${pattern.source}`);
        }
        // what the server says in English may have braces of its own
        await page.evaluate(
          "document.querySelectorAll('body [lang=en]').forEach((e) => e.remove())",
        );
        const text = await page.locator("body").innerText();
        // what the page says itself is Spanish
        const english = /\b(?:what to do|rejected records|rows were|does not|has to)\b/i.exec(
          text.replaceAll(/^.*(?:ETL_|\/api\/|psql).*$/gm, ""),
        );
        if (english !== null) {
          untranslated.push(
            `${name}: …${text.slice(Math.max(0, text.indexOf(english[0]) - 60)).slice(0, 140)}…`,
          );
        }
        assert.deepEqual(
          text.match(/.*(?<!\/)\{[a-z]\w*\}.*/g),
          null,
          `${name} has unfilled places`,
        );
      });
    }
    assert.deepEqual(untranslated, []);
    const inSpanish = { headers: { "accept-language": "es-ES,es;q=0.9,en;q=0.8" } };
    const { data } = await site.api<{ data: { kind: string; message: string }[] }>(
      "/api/alerts/recent",
      inSpanish,
    );
    assert.ok(
      data.some(({ message }) =>
        /^Llegaron \d+ de \d+ filas esperadas .* Lo cargado se queda en la tabla\. /.test(message)
      ),
      data.map(({ message }) => message).join("\n"),
    );
    const health = await fetch(`${site.address}/api/etl/health`, inSpanish);
    assert.equal(health.headers.get("content-language"), "es");
    const { warnings } = await health.json() as { warnings: string[] };
    assert.ok(warnings.some((text) => /^\d+ alertas abiertas/.test(text)), warnings.join("; "));
    assert.match(
      (await site.api<{ warnings: string[] }>("/api/etl/health")).warnings.join("; "),
      /alerts are open/,
    );
  },
});

/** Every English sentence that has a Spanish one, as what a page would show of it, and its longest part. */
function englishSentences(): { longest: string; pattern: RegExp }[] {
  const spanish = es as Record<string, string>;
  const pairs: [string, string][] = [
    ...Object.entries(en).map(([key, text]): [string, string] => [text, spanish[key]!]),
    ...Object.values(MESSAGES).map(([english, other]): [string, string] => [english, other]),
    ...Object.entries(PROBLEM_TYPES).flatMap(([type, { meaning, remedies }]) => {
      const other = PROBLEMS_ES[type as ProblemType];
      return [meaning, ...remedies].map((text, i): [string, string] => [
        text,
        [other.meaning, ...other.remedies][i]!,
      ]);
    }),
    ...descriptions(confJsonSchema()).map((text): [string, string] => [text, ""]),
  ];
  return pairs.flatMap(([english, other]) => {
    const parts = english.split("|");
    return parts.flatMap((part) => {
      const words = part.replaceAll(/\{\w+\*?\}/g, " ").match(/\p{L}{2,}/gu) ?? [];
      // what has few words may be the same in both
      if (words.length < 4 || other.includes(part)) return [];
      const texts = part.trim().split(/\{\w+\*?\}/).map((text) => text.replaceAll(/\s+/g, " "));
      const source = texts.map((text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
      return [{
        longest: texts.reduce((a, b) => a.length < b.length ? b : a),
        pattern: new RegExp(source.join(".{0,200}?")),
      }];
    });
  });
}

/** Descriptions of parameters, wherever in a schema. */
function descriptions(schema: unknown): string[] {
  if (typeof schema !== "object" || schema === null) return [];
  return Object.entries(schema).flatMap(([key, value]) =>
    key === "description" && typeof value === "string" ? [value] : descriptions(value)
  );
}

Deno.test({
  name: "an empty installation says on every page what to do",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    const texts: Record<string, RegExp> = {
      "/etl": /No run yet/,
      "/etl/overview": /No run yet/,
      "/etl/runs": /No run yet/,
      "/etl/schedules": /No schedule yet/,
      "/etl/configurations": /Save one here/,
      "/etl/variables": /Create etl_improved__batch_size/,
      "/etl/alerts": /Nothing to report/,
      "/etl/reports": /No report yet/,
    };
    await site.tour(Object.keys(texts), {}, async (path, page) => {
      assert.match(await page.locator("main").innerText(), texts[path]!);
      await assertAccessible(page, `${path}, empty`);
      await screenshot(page, `empty_${path.slice(1).replaceAll("/", "_")}`);
    });
  },
});

Deno.test({
  name: "language and colours are switched, kept, and work without JavaScript",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    await site.visit("/etl/runs", {}, async (page) => {
      const sidebar = page.locator(".sidebar");
      await sidebar.getByRole("button", { name: "Dark" }).click();
      assert.equal(await page.getAttribute("html", "data-theme"), "dark");
      await page.reload();
      await hydrated(page);
      assert.equal(await page.getAttribute("html", "data-theme"), "dark");
      await sidebar.getByRole("button", { name: "Español" }).click();
      await page.getByRole("heading", { name: "Ejecuciones", level: 1 }).waitFor();
      assert.equal(new URL(page.url()).pathname, "/etl/runs");
    });
    await site.visit("/etl/overview", { javaScriptEnabled: false }, async (page) => {
      await page.locator(".sidebar").getByRole("button", { name: "Dark" }).click();
      assert.equal(await page.getAttribute("html", "data-theme"), "dark");
      await page.locator(".sidebar").getByRole("button", { name: "Español" }).click();
      await page.getByRole("heading", { name: "Resumen", level: 1 }).waitFor();
    });
  },
});

Deno.test({
  name: "the keyboard reaches everything: skip link, shortcuts, menu",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const site = await Site.ofFile(import.meta.url);
    await site.visit("/etl", {}, async (page) => {
      await page.keyboard.press("Tab");
      assert.equal(await page.locator(":focus").innerText(), "Skip to the content");
      await page.keyboard.press("Enter");
      assert.equal(await page.evaluate("document.activeElement.id"), "main");
      await page.keyboard.press("g");
      await page.keyboard.press("r");
      await page.waitForURL("**/etl/runs");
      await hydrated(page);
      await page.keyboard.press("f");
      assert.equal(await page.evaluate("document.activeElement.id"), "filter-run_label");
    });
    await site.visit("/etl", { viewport: { width: 390, height: 844 } }, async (page) => {
      await page.locator(".menu summary").press("Enter");
      await page.locator(".menu-panel").getByRole("link", { name: "Pools" }).waitFor();
      await page.keyboard.press("Escape");
      assert.equal(await page.locator(".menu[open]").count(), 0);
    });
  },
});
