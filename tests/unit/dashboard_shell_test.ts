import assert from "node:assert/strict";
import { begin } from "../../islands/shell.ts";
import { type Live, Living } from "../helpers/dom.ts";

const PAGE = `
  <a data-key="n" href="/etl/new">new</a>
  <a data-key="g r" href="/etl/runs">runs</a>
  <details class="menu"><summary>menu</summary><div><input data-search id="in-menu"></input></div></details>
  <aside><input data-search id="search"></input></aside>
  <form class="settings-row">
    <button name="theme" value="light" aria-pressed="true">l</button>
    <button name="theme" value="dark" aria-pressed="false">d</button>
  </form>
  <dialog id="shortcuts"><p>keys</p></dialog>
  <button data-shortcuts>?</button>
  <section>
    <input data-filter id="filter"></input>
    <form id="form"><select data-submit id="choice"></select><select id="other"></select></form>
    <time datetime="2026-01-01T00:00:05.123Z" data-format="time" id="time">as the server has it</time>
    <div data-island="x"><time datetime="2026-01-01T00:00:00Z" data-format="time" id="inside">own</time></div>
    <span class="clip" id="cut">a long text</span>
  </section>`;

interface Options {
  zone?: string;
  clock?: string;
}

/** A page whose server believed the viewer to be in this zone; the browser is in UTC. */
async function open({ zone = "UTC", clock = "utc" }: Options = {}) {
  const page = await Living.page(PAGE);
  const at = (id: string) => page.at(`#${id}`);
  const root = page.document.documentElement;
  Object.assign(root.dataset, { zone, clock, tag: "en-GB" });
  begin();
  let now = 0;
  const press = async (key: string, more: Record<string, unknown> = {}, after = 10) =>
    await page.on(more.on as Live ?? at("time"), "keydown", {
      key,
      timeStamp: now += after,
      ...more,
    });
  return { page, at, root, press };
}

Deno.test("keys lead to pages, and to those of a g only right after it", async () => {
  const { page, press } = await open();
  using _ = page;
  await press("n");
  await press("r");
  assert.deepEqual(page.went, ["http://here/etl/new"]);
  await press("g");
  await press("r", {}, 999);
  assert.deepEqual(page.went.slice(1), ["http://here/etl/runs"]);
  await press("g");
  await press("r", {}, 1001);
  await press("g");
  await press("x");
  await press("r");
  assert.equal(page.went.length, 2);
});

Deno.test("keys that are typed into a field, or with another, are none of the page", async () => {
  const { page, at, press } = await open();
  using _ = page;
  for (const on of [at("filter"), at("choice"), at("shortcuts").children[0]]) {
    await press("n", { on });
  }
  for (const other of ["ctrlKey", "metaKey", "altKey"]) await press("n", { [other]: true });
  assert.deepEqual(page.went, []);
});

Deno.test("/ leads to the search that is in view, f to the filter, and neither is typed there", async () => {
  const { page, at, press } = await open();
  using _ = page;
  const focused = () => ["search", "in-menu", "filter"].filter((id) => page.focused(at(id)) > 0);
  assert.equal((await press("/")).defaultPrevented, true);
  assert.deepEqual(focused(), ["search"]);
  assert.equal((await press("f")).defaultPrevented, true);
  assert.deepEqual(focused(), ["search", "filter"]);
  // on a phone the search is in the menu, which opens for it; Escape closes it again
  page.at("aside")!.setAttribute("hidden", "");
  await press("/");
  const menu = page.at(".menu")!;
  assert.deepEqual([menu.open, page.focused(at("in-menu"))], [true, 1]);
  await press("Escape", { on: at("in-menu") });
  assert.deepEqual([menu.open, page.focused(menu.children[0])], [false, 1]);
  await press("Escape");
  assert.equal(page.focused(menu.children[0]), 1);
});

Deno.test("the keys are listed on ?, and by the button for who has none", async () => {
  for (const ask of ["key", "button"]) {
    const { page, at, press } = await open();
    using _ = page;
    assert.equal(at("shortcuts").open, false);
    if (ask === "key") await press("?");
    else await page.on(page.at("[data-shortcuts]")!, "click");
    assert.equal(at("shortcuts").open, true, ask);
  }
});

Deno.test("a choice in a filter takes effect at once, another field's does not", async () => {
  const { page, at } = await open();
  using _ = page;
  let sent = 0;
  Object.assign(at("form"), { requestSubmit: () => sent++ });
  await page.on(at("other"), "change");
  assert.equal(sent, 0);
  await page.on(at("choice"), "change");
  assert.equal(sent, 1);
});

Deno.test("colours change at once, are kept, and charts are told", async () => {
  const { page, root } = await open();
  using _ = page;
  let told = 0;
  addEventListener("themechange", () => told++);
  const [light, dark] = page.every('.settings-row button[name="theme"]');
  dark!.value = "dark";
  light!.value = "light";
  const { defaultPrevented } = await page.on(dark!, "click");
  assert.equal(defaultPrevented, true);
  assert.equal(root.dataset.theme, "dark");
  assert.deepEqual([light, dark].map((button) => button!.getAttribute("aria-pressed")), [
    "false",
    "true",
  ]);
  assert.match(
    page.cookie,
    /^etl_theme=dark; path=\/etl; max-age=31536000; samesite=lax$/,
  );
  assert.equal(told, 1);
  matchMedia("").dispatchEvent(new Event("change"));
  assert.equal(told, 2);
});

Deno.test("times are in the viewer's zone, those of islands are left to them; what comes later is, too", async () => {
  const { DateTimeFormat } = Intl;
  const seoul = () => ({ resolvedOptions: () => ({ timeZone: "Asia/Seoul" }) });
  using _zone = { [Symbol.dispose]: () => void Object.assign(Intl, { DateTimeFormat }) };
  Object.assign(Intl, { DateTimeFormat: new Proxy(DateTimeFormat, { apply: seoul }) });
  const { page, at } = await open({ clock: "local" });
  using _ = page;
  assert.equal(at("time").textContent, "09:00:05");
  assert.equal(at("inside").textContent, "own");
  // the server is told for the next page
  assert.match(page.cookie, /^etl_zone=Asia%2FSeoul; /);
  at("time").setAttribute("datetime", "2026-01-01T01:00:05Z");
  dispatchEvent(new Event("contentchange"));
  assert.equal(at("time").textContent, "10:00:05");
  at("time").setAttribute("data-format", "relative");
  at("time").setAttribute("datetime", new Date(Date.now() - 7_200_500).toISOString());
  dispatchEvent(new Event("contentchange"));
  assert.equal(at("time").textContent, "2 hr ago");
});

Deno.test("who wants UTC has it, and keeps the zone that is known of them", async () => {
  const { page, at } = await open({ zone: "Asia/Seoul", clock: "utc" });
  using _ = page;
  assert.equal(at("time").textContent, "00:00:05");
  assert.equal(page.cookie, "");
});

Deno.test("hovering says the exact time in UTC, and what does not fit its place", async () => {
  const { page, at } = await open();
  using _ = page;
  const title = (id: string) => at(id).title;
  await page.on(at("time"), "pointerover");
  assert.equal(title("time"), "2026-01-01 00:00:05.123 UTC");
  await page.on(at("cut"), "pointerover");
  assert.equal(title("cut"), "");
  Object.defineProperty(at("cut"), "scrollWidth", { value: 500 });
  await page.on(at("cut"), "pointerover");
  assert.equal(title("cut"), "a long text");
});
