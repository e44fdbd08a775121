import assert from "node:assert/strict";
import { h, type VNode } from "preact";
import { useContext, useState } from "preact/hooks";
import { renderToString } from "preact-render-to-string";
import { mount } from "../../islands/lib/mount.tsx";
import { useLocale, useNow, ViewerContext } from "../../islands/lib/context.tsx";
import { waitFor } from "../helpers/wait_for.ts";
import { type Live, Living } from "../helpers/dom.ts";

type Values = Record<string, string | boolean>;

const liveOf = (target: unknown) => target as Live;

/** A form that knows what is in its fields, and renders them from that. */
function Form({ first }: { first: Values }): VNode {
  const [values, setValues] = useState(first);
  const field = (name: string, more: object) =>
    h("input", {
      id: name,
      onInput: ({ target }: Event) =>
        setValues((now) => ({ ...now, [name]: liveOf(target).value })),
      ...more,
    });
  const box = (name: string, type: string, group = name) =>
    h("input", {
      id: name,
      type,
      name: group,
      checked: values[group] === (type === "radio" ? name : true),
      onChange: ({ target }: Event) => {
        const { checked } = liveOf(target);
        setValues((now) => ({ ...now, [group]: type === "radio" ? name : checked }));
      },
    });
  return h("form", null, [
    field("text", { value: values.text }),
    field("same", { value: values.same }),
    field("file", { type: "file" }),
    h("textarea", {
      id: "area",
      value: values.area as string,
      onInput: ({ target }: Event) => setValues((now) => ({ ...now, area: liveOf(target).value })),
    }),
    h("select", {
      id: "choice",
      value: values.choice as string,
      onChange: ({ target }: Event) =>
        setValues((now) => ({ ...now, choice: liveOf(target).value })),
    }, ["a", "b"].map((value) => h("option", { value, selected: values.choice === value }, value))),
    box("on", "checkbox"),
    box("off", "checkbox"),
    box("left", "radio", "side"),
    box("right", "radio", "side"),
    h("output", null, JSON.stringify(values)),
  ]);
}

const FIRST: Values = {
  ...{ text: "given", same: "same", area: "given", choice: "a", on: true, off: false },
  side: "left",
};

function place<P extends object>(name: string, component: (props: P) => VNode, props: P): string {
  return `<div data-island="${name}">${renderToString(h(component as never, props))}</div>` +
    `<script type="application/json">${JSON.stringify(props)}</script>`;
}

const DATA = {
  messages: import.meta.resolve("../../islands/i18n/en.ts"),
  ...{ tag: "en-GB", zone: "Asia/Tokyo", role: "operator", origin: "http://there" },
  now: "1767312000000",
};

async function page(html: string): Promise<Living> {
  const page = await Living.page(html);
  Object.assign(page.document.documentElement.dataset, DATA);
  return page;
}

async function mounted(page: Living, name: string, component: unknown): Promise<void> {
  mount(name, component as never);
  await waitFor(async () => {
    await page.do(() => {});
    return page.every(`[data-island="${name}"]:not(.ready)`).length === 0;
  });
}

Deno.test("what was typed and chosen before an island's script came stays, and the island knows it", async () => {
  using living = await page(place("form", Form, { first: FIRST }));
  const at = (id: string) => living.at(`#${id}`);
  Object.assign(at("text"), { value: "typed" });
  Object.assign(at("area"), { value: "written" });
  Object.assign(at("choice"), { value: "b" });
  Object.assign(at("on"), { checked: false });
  Object.assign(at("off"), { checked: true });
  Object.assign(at("right"), { checked: true });
  const told: string[] = [];
  for (const type of ["input", "change"]) {
    at("same").addEventListener(type, () => told.push(type));
    living.root.addEventListener(type, () => told.push(`${type} of the page`));
  }
  await mounted(living, "form", Form);
  await living.do(() => {});
  const now = {
    ...{ text: "typed", same: "same", area: "written", choice: "b", on: false, off: true },
    side: "right",
  };
  assert.deepEqual(JSON.parse(living.at("output").textContent), now);
  assert.deepEqual(
    ["text", "area", "choice"].map((id) => at(id).value),
    ["typed", "written", "b"],
  );
  assert.deepEqual(
    ["on", "off", "left", "right"].map((id) => at(id).checked),
    [false, true, false, true],
  );
  assert.deepEqual(told, [], "a form of the page is not sent by what the browser put back");
});

Deno.test("each place of an island begins with its own properties, as the server rendered it", async () => {
  const seen: { n: unknown; zone: string; now: number; viewer: unknown }[] = [];
  const Seen = ({ n }: { n: unknown }) => {
    const { zone } = useLocale();
    seen.push({ n, zone, now: useNow(), viewer: useContext(ViewerContext) });
    return h("p", null, JSON.stringify(n));
  };
  using living = await page(
    `<div data-island="seen"><p>1</p></div><script type="application/json">{"n":12345678901234567890}</script>` +
      `<div data-island="seen"><p>2</p></div><script type="application/json">{"n":2}</script>` +
      `<div data-island="other"><p>3</p></div><script type="application/json">{"n":3}</script>`,
  );
  await mounted(living, "seen", Seen);
  const viewer = { role: "operator", needsToken: false, origin: "http://there" };
  const rendered = { zone: "Asia/Tokyo", now: 1767312000000, viewer };
  assert.deepEqual(
    seen.filter(({ zone }) => zone === "Asia/Tokyo").map(({ n, ...rest }) => ({
      n: JSON.stringify(n),
      ...rest,
    })),
    ["12345678901234567890", "2"].map((n) => ({ n, ...rendered })),
  );
  assert.deepEqual(living.every(".ready").length, 2);
});
