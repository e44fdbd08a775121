import assert from "node:assert/strict";
import fc from "fast-check";
import { en } from "../../islands/i18n/en.ts";
import { es } from "../../islands/i18n/es.ts";
import {
  fieldGroups,
  type JsonSchema,
  sourceFields,
  sourceTypes,
} from "../../islands/form/conf.ts";
import { createLocale } from "../../islands/lib/locale.ts";
import { confJsonSchema } from "../../pipeline/params.ts";

const english = createLocale({ lang: "en", tag: "en-GB", zone: "Europe/Madrid", messages: en });
const spanish = createLocale({ lang: "es", tag: "es-ES", zone: "UTC", messages: es });

Deno.test("t() fills in values and chooses singular and plural", () => {
  assert.equal(english.t("history.runs", { n: 1 }), "1 run");
  assert.equal(english.t("history.runs", { n: 12_345 }), "12,345 runs");
  assert.equal(spanish.t("history.runs", { n: 12_345 }), "12.345 ejecuciones");
});

Deno.test("both languages have the same values in every text", () => {
  const places = (text: string) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort();
  for (const [key, text] of Object.entries(en)) {
    assert.deepEqual(places(es[key as keyof typeof es]), places(text), key);
    assert.equal(es[key as keyof typeof es].split("|").length, text.split("|").length, key);
  }
});

Deno.test("every parameter that the form explains is explained in Spanish too", () => {
  const schema = confJsonSchema() as JsonSchema;
  const fields = [
    ...fieldGroups(schema).flatMap(({ fields }) => fields),
    ...sourceTypes(schema).flatMap((type) => sourceFields(schema, type)),
  ];
  const explained = fields.filter(({ description }) => description !== "").map(({ path }) => path);
  assert.deepEqual(
    [...new Set(explained)].filter((path) => spanish.maybe(`param.${path}`) === undefined),
    [],
  );
});

Deno.test("percent() never says 100 % while something is missing", () => {
  fc.assert(fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (ratio) => {
    if (ratio < 1) assert.notEqual(english.percent(ratio), "100%");
  }));
  assert.equal(english.percent(1), "100%");
  assert.equal(english.percent(0.99999), "99.99%");
});

Deno.test("duration() chooses the unit that is read easily", () => {
  assert.deepEqual(
    [0.4, 12, 999.4, 1000, 59_940, 60_000, 185_000, 3_600_000, 5_430_000].map(english.duration),
    [
      "0 ms",
      "12 ms",
      "999 ms",
      "1.0 s",
      "59.9 s",
      "1 min 00 s",
      "3 min 05 s",
      "1 h 00 min",
      "1 h 30 min",
    ],
  );
});

Deno.test("dateTime() is in the viewer's zone, utc() exact", () => {
  const iso = "2026-07-01T22:30:05.123Z";
  assert.equal(english.dateTime(iso, "long"), "02 Jul 2026, 00:30:05 CEST");
  assert.equal(english.utc(iso), "2026-07-01 22:30:05.123 UTC");
});

Deno.test("relative() counts from the given time", () => {
  const now = Date.parse("2026-01-01T00:10:00Z");
  assert.equal(english.relative("2026-01-01T00:07:00Z", now), "3 min ago");
  assert.equal(english.relative("2026-01-01T00:12:00Z", now), "in 2 min");
  assert.equal(english.relative("2026-01-01T00:10:00Z", now), "now");
});
