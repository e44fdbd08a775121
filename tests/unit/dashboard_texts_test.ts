import assert from "node:assert/strict";
import { h, render } from "preact";
import { ApiError, call, reloadIfSignedOut } from "../../islands/lib/api.ts";
import {
  useCurlHeader,
  useLocale,
  useNow,
  useRole,
  ViewerContext,
} from "../../islands/lib/context.tsx";
import { LocaleProvider } from "../../islands/lib/context.tsx";
import { createLocale } from "../../islands/lib/locale.ts";
import { inSpanish, say } from "../../vocabulary/messages.ts";
import { en } from "../../islands/i18n/en.ts";
import { es } from "../../islands/i18n/es.ts";
import { Notice, Prose, Said, StateBadge, Symbols, Time } from "../../islands/ui/elements.tsx";
import { Living } from "../helpers/dom.ts";
import { attribute, element, elements, htmlOf, type Look, textOf } from "../helpers/pages.ts";

const locale = (changes: object = {}) =>
  createLocale({ lang: "en", tag: "en-GB", zone: "UTC", messages: en, ...changes });

Deno.test("times are said in the style that is asked for, in the customs and the zone of the viewer", () => {
  const iso = "2026-01-01T23:05:09Z";
  const here = locale({ zone: "America/New_York" });
  assert.deepEqual(
    (["long", "short", "time", "day"] as const).map((style) => here.dateTime(iso, style)),
    ["01 Jan 2026, 18:05:09 GMT-5", "01 Jan, 18:05", "18:05:09", "01 Jan 2026"],
  );
  assert.equal(here.dateTime(iso), "01 Jan, 18:05");
  // midnight is 00, whatever the customs
  assert.equal(locale({ tag: "en-US" }).dateTime("2026-01-01T00:30:00Z", "time"), "00:30:00");
  assert.equal(locale({ lang: "es", tag: "es-ES", messages: es }).dateTime(iso), "01 ene, 23:05");
});

Deno.test("how long ago something was is said in the largest unit that fits", () => {
  const now = Date.parse("2026-01-10T00:00:00Z");
  const ago = (seconds: number) =>
    locale().relative(new Date(now - seconds * 1000).toISOString(), now);
  assert.deepEqual(
    [0.4, 59, 60, 3599, 3600, 86_399, 86_400, 2 * 86_400].map(ago),
    [
      ...["now", "59 sec ago", "1 min ago", "60 min ago", "1 hr ago", "24 hr ago"],
      ...["yesterday", "2 days ago"],
    ],
  );
  const spanish = locale({ lang: "es", tag: "es-ES", messages: es });
  assert.equal(spanish.relative("2026-01-09T21:00:00Z", now), "hace 3 h");
});

Deno.test("a text is chosen by its number and filled in with its values, each in the viewer's digits", () => {
  const { t, maybe } = locale();
  assert.equal(
    t("overview.rows_split", { inserted: 1200, updated: 1, unchanged: 0 }),
    "1,200 new · 1 changed · 0 unchanged",
  );
  // what is not given stays to be seen
  assert.equal(
    t("overview.rows_split", { inserted: 1 }),
    "1 new · {updated} changed · {unchanged} unchanged",
  );
  assert.deepEqual([t("history.runs", { n: 0 }), t("history.runs", { n: 1 })], ["0 runs", "1 run"]);
  // the value of a place is no place
  assert.equal(t("search.nothing", { text: "{text}" }), "No results for “{text}”.");
  assert.deepEqual([maybe("nav.runs"), maybe("nav.none")], ["Runs", undefined]);
});

Deno.test("what the server says is said in the viewer's language, or marked as English", () => {
  const spanish = locale({ lang: "es", translate: (text: string) => text === "a" ? "b" : text });
  assert.deepEqual([spanish.said("a"), spanish.said("x")], ["b", null]);
  assert.equal(locale().said("x"), "x");
  const said = (look: Look) => htmlOf(Said, { text: "not <known>" }, look);
  assert.equal(said({ lang: "es" }), '<span lang="en">not &lt;known></span>');
  assert.equal(said({}), "<span>not &lt;known></span>");
  const known = { text: say("form-expected", {}) };
  assert.equal(htmlOf(Said, known, { lang: "es" }), `<span>${inSpanish(known.text)}</span>`);
});

Deno.test("numbers, ratios and durations are in the viewer's digits", () => {
  const spanish = locale({ lang: "es", tag: "es-ES", messages: es });
  assert.equal(spanish.number(1_234_567.5), "1.234.567,5");
  assert.equal(spanish.percent(0.98765), "98,76\u00a0%");
  assert.equal(spanish.duration(1500), "1,5 s");
  assert.equal(spanish.duration(36_000_000), "10 h 00 min");
  // the same number is written in two ways where both are asked for
  assert.deepEqual([spanish.number(0.5), spanish.number(0.5, { style: "percent" })], [
    "0,5",
    "50\u00a0%",
  ]);
});

Deno.test("a state is said in symbol, colour and word", () => {
  for (
    const state of ["queued", "running", "succeeded", "failed", "cancelled", "skipped", "pending"]
  ) {
    const html = htmlOf(StateBadge, { state });
    assert.equal(textOf(html), en[`state.${state}` as "state.failed"]);
    assert.equal(attribute(html, "class"), `state is-${state}`);
    assert.equal(attribute(element(html, "svg"), "class"), `state-symbol is-${state}`);
    // what moves is drawn, the rest is a symbol that the page has once
    const moves = ["running", "pending"].includes(state);
    const uses = elements(html, "use").map((use) => attribute(use, "href"));
    assert.deepEqual(uses, moves ? [] : [`#s-${state}`]);
    if (!moves) assert.match(htmlOf(Symbols, {}), new RegExp(`id="s-${state}"`));
  }
  assert.equal(elements(htmlOf(StateBadge, { state: "running" }), "circle", "arc").length, 1);
  assert.equal(elements(htmlOf(StateBadge, { state: "pending" }), "circle", "arc").length, 0);
  assert.match(htmlOf(StateBadge, { state: "constructor" }), /href="#s-queued"/);
  // two states are told apart without colours
  const shapes = elements(htmlOf(Symbols, {}), "path").map((path) => attribute(path, "d"));
  assert.equal(new Set(shapes).size, shapes.length);
});

Deno.test("a time is a moment for scripts, in the zone for people; commands in prose stand out", () => {
  const look = { zone: "Asia/Tokyo", now: "2026-01-01T02:00:00Z" };
  const at = "2026-01-01T00:00:00Z";
  assert.equal(
    htmlOf(Time, { at }, look),
    `<time dateTime="${at}" data-format="short">01 Jan, 09:00</time>`.replace(
      "dateTime",
      "datetime",
    ),
  );
  assert.match(
    htmlOf(Time, { at, style: "relative" as const }, look),
    /data-format="relative">2 hr ago</,
  );
  assert.equal(htmlOf(Prose, { text: "run `a <b>` now" }), "run <code>a &lt;b></code> now");
  const notice = (kind: "good" | "problem", alert: boolean) =>
    htmlOf(Notice, { kind, title: "<t>", alert });
  const told = (html: string) => ["class", "role"].map((name) => attribute(html, name));
  assert.deepEqual(told(notice("problem", true)), ["notice is-problem", "alert"]);
  assert.deepEqual(told(notice("good", false)), ["notice is-good", null]);
  assert.notEqual(
    element(notice("good", false), "path"),
    element(notice("problem", false), "path"),
  );
});

function Viewer() {
  const { reason, control } = useRole("operator");
  return h("p", {}, JSON.stringify([reason, control(), control(true)]) + useCurlHeader());
}

Deno.test("a control is off for who may not use it, with the reason, and for all while it works", () => {
  const said = (look: Look) => textOf(htmlOf(Viewer, {}, look));
  const off = { disabled: true, title: "This needs the role operator." };
  assert.equal(said({ role: "viewer" }), JSON.stringify([off.title, off, off]));
  for (const role of ["operator", "admin"] as const) {
    assert.equal(said({ role }), JSON.stringify([null, { disabled: false }, { disabled: true }]));
  }
  const value = { role: "admin" as const, needsToken: true, origin: "" };
  const inside = () => h(ViewerContext.Provider, { value, children: h(Viewer, {}) });
  assert.match(textOf(htmlOf(inside, {})), /-H "Authorization: Bearer \$ETL_TOKEN"$/);
});

function Clock() {
  return h("p", {}, `${useLocale().zone} ${useNow()}`);
}

Deno.test("an island begins as the server rendered it, then goes on in the browser's own zone", async () => {
  const settings = { lang: "en", tag: "en", zone: "Asia/Tokyo", messages: en } as const;
  // the zone of this machine may be any
  const { DateTimeFormat } = Intl;
  const seoul = () => ({ resolvedOptions: () => ({ timeZone: "Asia/Seoul" }) });
  using _zone = { [Symbol.dispose]: () => void Object.assign(Intl, { DateTimeFormat }) };
  Object.assign(Intl, { DateTimeFormat: new Proxy(DateTimeFormat, { apply: seoul }) });
  using living = await Living.of(() => null, {});
  const provider = h(LocaleProvider, { settings, now: 5, children: h(Clock, {}) });
  await living.do(() => {
    render(provider, living.root as never);
    assert.equal(textOf(living.html), "Asia/Tokyo 5");
  });
  const [zone, now] = textOf(living.html).split(" ");
  assert.equal(zone, "Asia/Seoul");
  assert.ok(Number(now) > 5);
  const utc = await Living.of(() => null, {});
  using _ = utc;
  utc.document.documentElement.dataset.clock = "utc";
  await utc.do(() => render(provider, utc.root as never));
  assert.match(textOf(utc.html), /^UTC /);
});

Deno.test("a call has the language of the page, and its data as they are", async () => {
  const asked: Request[] = [];
  using living = await Living.of(() => null, {});
  living.document.documentElement.lang = "es";
  Object.assign(globalThis, {
    fetch: (url: string, options: RequestInit) => {
      asked.push(new Request(`http://here${url}`, options));
      return Promise.resolve(Response.json({ n: 1 }));
    },
  });
  const body = { a: "<b>" };
  assert.deepEqual(await call("/api/x", { method: "PUT", body, offline: "" }), { n: 1 });
  await call("/api/x", {
    method: "POST",
    data: new Blob(["a,b"]),
    type: "text/csv",
    headers: { "x-more": "1" },
    offline: "",
  });
  await call("/api/x", { offline: "" });
  const header = (name: string) => asked.map(({ headers }) => headers.get(name));
  assert.deepEqual(asked.map(({ method }) => method), ["PUT", "POST", "GET"]);
  assert.deepEqual(header("content-type"), ["application/json", "text/csv", null]);
  assert.deepEqual(header("accept-language"), ["es", "es", "es"]);
  assert.deepEqual(header("accept"), Array(3).fill("application/json"));
  assert.equal(header("x-more")[1], "1");
  assert.deepEqual(await Promise.all(asked.slice(0, 2).map((each) => each.text())), [
    '{"a":"<b>"}',
    "a,b",
  ]);
});

Deno.test("what a call is answered with is a value, exact digits or text; what is wrong is said", async () => {
  let answer: Response | Error = new Response(null, { status: 204 });
  using _ = await Living.of(() => null, {});
  Object.assign(globalThis, {
    fetch: () => answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer),
  });
  const asked = (options = {}) => call<unknown>("/api/x", { offline: "offline", ...options });
  assert.equal(await asked(), undefined);
  answer = new Response('{"n":1.10}');
  assert.equal(JSON.stringify(await asked({ exact: true })), '{"n":1.10}');
  answer = new Response('{"n":1.10}');
  assert.equal(await asked({ asText: true }), '{"n":1.10}');
  const refused = async (given: Response | Error) => {
    answer = given;
    const error = await asked({ exact: true }).then(() => null, (error: ApiError) => error);
    assert.ok(error instanceof ApiError);
    return [error.message, error.status, error.errors];
  };
  const errors = [{ field: "a", message: "b" }];
  assert.deepEqual(
    await refused(Response.json({ detail: "wrong <x>", errors }, { status: 422 })),
    ["wrong <x>", 422, errors],
  );
  answer = Response.json({ detail: "gone" }, { status: 404 });
  await assert.rejects(asked({ asText: true }), { message: "gone" });
  assert.deepEqual(await refused(new Response("<html>", { status: 502 })), [
    "offline (502)",
    502,
    [],
  ]);
  assert.deepEqual(await refused(new TypeError("network")), ["offline", 0, []]);
});

Deno.test("a stream that is refused for good has the page ask to sign in, if that is why", async () => {
  using living = await Living.of(() => null, {});
  let reloads = 0;
  const before = Object.getOwnPropertyDescriptor(globalThis, "location")!;
  Object.defineProperty(globalThis, "location", {
    value: { reload: () => reloads++ },
    configurable: true,
  });
  try {
    const source = (readyState: number) => ({ readyState }) as EventSource;
    const path = "GET /etl/data/pools";
    living.answers[path] = new Response("", { status: 401 });
    await reloadIfSignedOut(source(0));
    assert.deepEqual([living.asked, reloads], [[], 0]);
    await reloadIfSignedOut(source(2));
    assert.deepEqual([living.asked, reloads], [[path], 1]);
    living.answers[path] = new Response("", { status: 503 });
    await reloadIfSignedOut(source(2));
    assert.equal(reloads, 1);
  } finally {
    Object.defineProperty(globalThis, "location", before);
  }
});
