import assert from "node:assert/strict";
import { Hono } from "hono";
import { h } from "preact";
import { useLocale, useRole } from "../../islands/lib/context.tsx";
import { FORM_TOKEN, formToken } from "../../routes/access/session.ts";
import { Island, type Page } from "../../routes/dashboard/page.tsx";
import { signInRoutes } from "../../routes/dashboard/sign_in_page.tsx";
import { Problem } from "../../vocabulary/problem.ts";
import { verbatim } from "../../vocabulary/messages.ts";
import {
  attribute,
  element,
  elements,
  newAssets,
  textOf,
  type Visit,
  visit,
} from "../helpers/pages.ts";

const page: Page = {
  path: "/runs",
  role: "viewer",
  nav: "runs",
  load: () => Promise.resolve({ main: "content", title: () => "</title>" }),
};

const menu: Visit["menu"] = [
  { name: "overview", path: "/etl/overview", key: "o" },
  { name: "runs", path: "/etl/runs" },
  { name: "alerts", path: "/etl/alerts", group: "quality", key: "a" },
  { name: "pools", path: "/etl/pools", group: "automation" },
];

const look = async (options: Visit = {}, path = "/etl/runs?state=failed&q=%22") =>
  await (await visit(page, path, { menu, ...options })).text();

const sidebar = (html: string) => element(html, "aside", "sidebar");

const ada = { name: "<ada>", role: "operator" as const, tokenId: "1" };
const session = { id: "1", text: "cookie" };

Deno.test("the menu has its lines below their titles, this page marked, with the keys that lead there", async () => {
  const html = await look();
  for (const part of [sidebar(html), element(html, "details", "menu")]) {
    const nav = element(part, "nav");
    assert.deepEqual(elements(nav, "div", "nav-group").map(textOf), [
      "Overview Runs",
      "Automation Pools",
      "Quality Alerts",
    ]);
    assert.deepEqual(
      elements(nav, "a").map((a) => [
        attribute(a, "href"),
        attribute(a, "data-key"),
        attribute(a, "aria-current"),
      ]),
      [
        ["/etl/new", "n", null],
        ["/etl/overview", "g o", null],
        ["/etl/runs", null, "page"],
        ["/etl/pools", null, null],
        ["/etl/alerts", "g a", null],
      ],
    );
    assert.equal(attribute(element(part, "form", "nav-search"), "action"), "/etl/search");
  }
  const keys = elements(element(html, "dl", "shortcuts"), "div").map(textOf);
  assert.deepEqual(keys, [
    "/ Search everything",
    "f First filter of the page",
    "n New run",
    "g o Overview",
    "g a Alerts",
    "? Keyboard shortcuts",
  ]);
});

Deno.test("a page says its language, zone, colours and who looks, and what it is called cannot end its title", async () => {
  const html = await look({
    headers: {
      "accept-language": "es-ES",
      cookie: "etl_zone=Asia%2FTokyo; etl_theme=dark",
    },
    identity: { ...ada, via: "token" },
  });
  assert.deepEqual(
    ["lang", "data-tag", "data-zone", "data-clock", "data-theme", "data-role", "data-needs-token"]
      .map((name) => attribute(element(html, "html"), name)),
    ["es", "es-ES", "Asia/Tokyo", "local", "dark", "operator", ""],
  );
  assert.equal(textOf(element(html, "title")), "</title> · etl-improved");
  const open = await look({ identity: { ...ada, role: "admin", via: "open" } });
  assert.deepEqual(
    ["data-role", "data-needs-token"].map((name) => attribute(element(open, "html"), name)),
    ["admin", null],
  );
  assert.equal(attribute(element(await look(), "html"), "data-role"), "viewer");
});

/** Shows who looks, and how. */
function Who() {
  const { lang, zone } = useLocale();
  return h("p", { id: "who" }, `${useRole("admin").may} ${lang} ${zone} $& $'`);
}

Deno.test("what is rendered once for many is another one for another role, language and zone", async () => {
  const shared: Page = {
    ...page,
    load: () => Promise.resolve({ main: h(Who, {}), shared: "who" }),
  };
  const assets = newAssets();
  const who = async (options: Visit) => {
    const answer = await visit(shared, "/etl/runs", { assets, ...options });
    assert.deepEqual(["cache-control", "vary"].map((name) => answer.headers.get(name)), [
      "private, no-cache",
      "Cookie, Accept-Language",
    ]);
    return textOf(element(await answer.text(), "p", 'id="who"'));
  };
  const admin = { identity: { ...ada, role: "admin" as const, via: "token" as const } };
  assert.equal(await who({}), "false en UTC $& $'");
  assert.equal(await who(admin), "true en UTC $& $'");
  assert.equal(await who({ headers: { cookie: "etl_lang=es" } }), "false es UTC $& $'");
  assert.equal(
    await who({ headers: { cookie: "etl_zone=Asia%2FTokyo" } }),
    "false en Asia/Tokyo $& $'",
  );
});

Deno.test("what rows hold is kept by no browser, and cannot end the script that has it", async () => {
  const holding: Page = {
    ...page,
    load: () =>
      Promise.resolve({
        main: h(Island, {
          name: "x",
          component: () => h("p", {}),
          props: { a: "</script>\u2028" },
        }),
        holdsRows: true,
      }),
  };
  const answer = await visit(holding, "/etl/runs");
  assert.equal(answer.headers.get("cache-control"), "no-store");
  const json = element(await answer.text(), "script", 'type="application/json"').slice(0, -9);
  assert.match(json, />{"a":"\\u003c\/script>\\u2028"}$/);
});

Deno.test("preferences are marked as they are, and lead back to this very page", async () => {
  const pressed = async (cookie: string) => {
    const form = element(sidebar(await look({ headers: { cookie } })), "form", "settings-row");
    assert.equal(attribute(form, "action"), "/etl/preferences");
    assert.equal(attribute(element(form, "input"), "value"), "/etl/runs?state=failed&q=%22");
    return elements(form, "button", 'aria-pressed="true"')
      .map((button) => `${attribute(button, "name")}=${attribute(button, "value")}`);
  };
  assert.deepEqual(await pressed(""), ["theme=system", "clock=local", "lang=en"]);
  assert.deepEqual(
    await pressed("etl_theme=dark; etl_clock=utc; etl_lang=es"),
    ["theme=dark", "clock=utc", "lang=es"],
  );
  const titles = async (cookie: string) =>
    elements(
      element(sidebar(await look({ headers: { cookie } })), "form", "settings-row"),
      "button",
    )
      .filter((button) => attribute(button, "name") === "clock")
      .map((button) => attribute(button, "title"));
  assert.deepEqual(await titles("etl_zone=Asia%2FTokyo"), ["Asia/Tokyo", "UTC"]);
  // the browser's own zone is not known while times are in UTC
  assert.deepEqual(await titles("etl_zone=Asia%2FTokyo; etl_clock=utc"), ["Local", "UTC"]);
});

Deno.test("who has signed in is named, and can sign out by a form of this session", async () => {
  const account = async (identity: Visit["identity"]) =>
    elements(
      sidebar(await look(identity === undefined ? {} : { identity })),
      "div",
      '"account"',
    )[0];
  const html = (await account({ ...ada, via: "session", session }))!;
  assert.equal(textOf(html), "Signed in as <ada> operator Sign out Sign out everywhere");
  const form = element(html, "form");
  assert.deepEqual(["method", "action"].map((name) => attribute(form, name)), [
    "post",
    "/etl/sign-out",
  ]);
  const hidden = element(form, "input");
  assert.equal(attribute(hidden, "name"), FORM_TOKEN);
  assert.equal(attribute(hidden, "value"), formToken("cookie"));
  assert.equal(attribute(elements(form, "button")[1]!, "name"), "everywhere");
  assert.equal(textOf((await account({ ...ada, via: "token" }))!), "Signed in as <ada> operator");
  for (const via of ["open", "process"] as const) {
    assert.equal(await account({ ...ada, via }), undefined);
  }
  assert.equal(await account(undefined), undefined);
});

/** The page to sign in on; `failure` is what a token is answered with. */
function signIn(failure: Error | null = null) {
  const app = new Hono();
  const deps = {
    assets: newAssets(),
    config: { trustedProxies: [], telemetry: {} },
    wrongTokens: { answerTo: (error: unknown) => Promise.resolve(error) },
    sql: () => Promise.resolve([]),
  };
  signInRoutes(app, deps as never, {
    required: () => Promise.resolve(true),
    byToken: () => Promise.reject(failure),
  } as never);
  app.onError((error) => new Response(error.message, { status: 500 }));
  const post = (body: Record<string, string>, headers = {}) =>
    app.request("/sign-in", { method: "POST", body: new URLSearchParams(body), headers });
  return { app, post };
}

Deno.test("what is wrong with a token is said on the page, which still knows where to go then", async () => {
  const refused = signIn(new Problem("unauthorized", { detail: verbatim("no") }));
  const answer = await refused.post({ token: "x", to: "/etl/runs?q=%22" }, { host: "localhost" });
  assert.equal(answer.status, 401);
  const html = await answer.text();
  const notice = element(html, "div", 'class="notice');
  assert.equal(textOf(notice), "This token is unknown, expired or revoked.");
  assert.deepEqual(["class", "role"].map((name) => attribute(notice, name)), [
    "notice is-problem",
    "alert",
  ]);
  assert.equal(attribute(element(html, "input", 'name="to"'), "value"), "/etl/runs?q=%22");
  assert.equal(attribute(element(html, "input", 'id="token"'), "type"), "password");
  // a page that leads nowhere else
  assert.equal(elements(html, "nav").length, 0);
  const spanish = await refused.post({ token: "x", to: "" }, { "accept-language": "es" });
  assert.match(await spanish.text(), /Este token no se conoce/);
});

Deno.test("who has tried too often is told for how long to wait, also in the header", async () => {
  const limited = (extra: Record<string, unknown>) =>
    signIn(new Problem("too-many-requests", { detail: verbatim("no"), extra })).post(
      { token: "x", to: "/etl" },
      { host: "localhost" },
    );
  const answer = await limited({ retry_after_seconds: 7 });
  assert.deepEqual([answer.status, answer.headers.get("retry-after")], [429, "7"]);
  assert.match(await answer.text(), /Too many attempts\. Try again in 7 s\./);
  assert.equal((await limited({})).headers.get("retry-after"), "60");
  // what is no matter of the token is none of the page
  const other = await signIn(new Problem("unavailable", { detail: verbatim("no database") }))
    .post({ token: "x" });
  assert.deepEqual([other.status, await other.text()], [500, "no database"]);
});

Deno.test("who could not stay signed in is told before trying", async () => {
  const { app } = signIn();
  const at = async (host: string) =>
    (await (await app.request("/sign-in", { headers: { host } })).text())
      .includes("This page was not opened over https");
  assert.deepEqual([await at("localhost"), await at("etl.example")], [false, true]);
});

Deno.test("a link on another site asks again from a page of ours, which the browser sends its cookie for", async () => {
  const { app } = signIn();
  const answer = await app.request("/sign-in?to=%2Fetl%2Fruns%3Fq%3D%2522", {
    headers: { "sec-fetch-site": "cross-site" },
  });
  assert.match(
    await answer.text(),
    /http-equiv="refresh" content="0;url=\/etl\/sign-in\?to=%2Fetl%2Fruns%3Fq%3D%2522"/,
  );
  assert.equal(answer.headers.get("cache-control"), "no-store");
});
