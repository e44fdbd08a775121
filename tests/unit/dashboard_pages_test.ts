import assert from "node:assert/strict";
import { Hono } from "hono";
import { h } from "preact";
import { renderToString } from "preact-render-to-string";
import { HealthList, seriesOf } from "../../islands/overview.tsx";
import { LocaleProvider } from "../../islands/lib/context.tsx";
import { en } from "../../islands/i18n/en.ts";
import {
  historyFilter,
  historyUrl,
  readHistoryQuery,
} from "../../routes/dashboard/history_query.ts";
import { assetReferences } from "../../routes/dashboard/assets.ts";
import { readPreferences } from "../../routes/dashboard/preferences.ts";

Deno.test("days of the history are those of the viewer's zone, the last one included", () => {
  const query = readHistoryQuery({ start: "2026-03-29", end: "2026-03-29", state: "" });
  const madrid = historyFilter(query, "Europe/Madrid");
  // the day on which the clocks go forward has 23 hours
  assert.equal(madrid.start, "2026-03-28T23:00:00.000Z");
  assert.equal(madrid.end, "2026-03-29T22:00:00.000Z");
  // where the clocks go forward before it is midnight in UTC
  const auckland = historyFilter(readHistoryQuery({ start: "2026-09-27" }), "Pacific/Auckland");
  assert.equal(auckland.start, "2026-09-26T12:00:00.000Z");
  const exact = historyFilter(readHistoryQuery({ end: "2026-03-29T10:00:00+02:00" }), "UTC");
  assert.equal(exact.end, "2026-03-29T08:00:00.000Z");
});

Deno.test("historyUrl() keeps what differs from the default and takes away what is null", () => {
  const query = readHistoryQuery({ run_label: "a b", sort: "ratio", limit: "30" });
  assert.equal(historyUrl(query), "/etl/runs?run_label=a+b&sort=ratio");
  assert.equal(historyUrl(query, { run_label: null, sort: "requested_at" }), "/etl/runs");
});

Deno.test("seriesOf() joins the rarest labels when there are more than can be told apart", () => {
  const labels = [..."aaabbbccddeefgh"];
  const points = labels.map((run_label) => ({ run_label }) as never);
  const series = seriesOf(points, "others");
  assert.deepEqual(series.map(({ label }) => label), ["a", "b", "c", "d", "e", "others"]);
  assert.deepEqual(series.at(-1)!.indexes, [12, 13, 14]);
});

Deno.test("health is called healthy only where nothing below it says otherwise", () => {
  const title = (levels: ("ok" | "warning" | "problem")[]) => {
    const lines = levels.map((level) => ({ key: "health.database", level, text: level }));
    const settings = { lang: "en", tag: "en", zone: "UTC", messages: en } as const;
    const children = h(HealthList, { lines } as never);
    const list = h(LocaleProvider, { settings, now: 0, children });
    return /<span class="is-[a-z]+">([^<]+)</.exec(renderToString(list))?.[1];
  };
  assert.equal(title(["ok", "ok"]), "Healthy");
  assert.equal(title(["ok", "warning"]), "Works, with 1 warning");
  assert.equal(title(["warning", "warning"]), "Works, with 2 warnings");
  assert.equal(title(["warning", "problem"]), "Needs attention");
});

Deno.test("assetReferences() finds what a bundle imports at once, not later", () => {
  const text =
    'import{a}from"./chunk-A.js";import"./chunk-B.js";const c=()=>import("./charts-C.js");';
  assert.deepEqual(assetReferences(text), ["chunk-A.js", "chunk-B.js"]);
});

Deno.test("preferences come from cookies, then from the browser, and are never trusted", async () => {
  const app = new Hono();
  app.get("/", (c) => {
    const { lang, tag, zone, theme } = readPreferences(c);
    return c.json([lang, tag, zone, theme]);
  });
  const read = async (headers: Record<string, string>) =>
    await (await app.request("/", { headers })).json();
  assert.deepEqual(await read({}), ["en", "en", "UTC", "system"]);
  assert.deepEqual(
    await read({ "accept-language": "de, es-MX;q=0.9, en;q=0.8" }),
    ["es", "es-MX", "UTC", "system"],
  );
  assert.deepEqual(
    await read({
      "accept-language": "es-MX, en-GB",
      cookie: "etl_lang=en; etl_zone=Asia%2FTokyo; etl_theme=dark",
    }),
    ["en", "en-GB", "Asia/Tokyo", "dark"],
  );
  // means the opposite to PostgreSQL
  assert.deepEqual(await read({ cookie: "etl_zone=%2B05%3A30" }), ["en", "en", "UTC", "system"]);
  assert.deepEqual(
    await read({ cookie: "etl_lang=xx; etl_zone=%22%3E; etl_theme=none", "accept-language": "%%" }),
    ["en", "en", "UTC", "system"],
  );
});
