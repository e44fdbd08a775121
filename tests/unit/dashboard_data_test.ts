import assert from "node:assert/strict";
import { h } from "preact";
import { useState } from "preact/hooks";
import {
  beginning,
  columnsOf,
  ColumnTable,
  FilePicker,
  inOrder,
  pathsIn,
  type Upload,
  UploadField,
} from "../../islands/form/data.tsx";
import { all, type Life, type Live, Living } from "../helpers/dom.ts";
import { attribute, element, elements, htmlOf, textOf } from "../helpers/pages.ts";

const listing = (folder: string) => `GET /etl/data/files?folder=${encodeURIComponent(folder)}`;
const file = (name: string, bytes: number) => ({ name, folder: false, bytes });
const folder = (name: string) => ({ name, folder: true, bytes: null });

const answers = {
  [listing("")]: { entries: [folder("a&b"), file("top.csv", 1500)], more: false },
  [listing("a&b")]: {
    entries: [file("One.csv", 99_949), file("two.csv", 1_234_567), file("<b>", 0)],
    more: true,
  },
};

/** A picker whose choice is kept, as the form keeps it. */
async function picker(value: string, life: Life = {}) {
  const chosen: string[] = [];
  function Form() {
    const [now, setNow] = useState(value);
    return h(FilePicker, {
      value: now,
      onChoose: (path: string) => (chosen.push(path), setNow(path)),
    });
  }
  const living = await Living.of(Form, {}, { answers, ...life });
  const list = () => elements(element(living.html, "ul"), "li").map(textOf);
  return { living, chosen, list };
}

Deno.test("a file is chosen by its folders, with its size, and leaves the list", async () => {
  const { living, chosen, list } = await picker("");
  using _ = living;
  await living.click("button", "Choose a file");
  assert.deepEqual(list(), ["a&b", "top.csv 1.5 kB"]);
  await living.click("button", "a&b");
  assert.deepEqual(living.asked, [listing(""), listing("a&b")]);
  assert.equal(textOf(element(living.html, "code")), "/a&b");
  assert.deepEqual(list(), ["up", "One.csv 99.9 kB", "two.csv 1,235 kB", "<b> 0 kB"]);
  assert.match(living.root.textContent, /Only the first 500 are shown/);
  await living.type(living.one("input", "Find a file"), "ONE");
  assert.deepEqual(list(), ["up", "One.csv 99.9 kB"]);
  await living.type(living.one("input", "Find a file"), "nowhere");
  assert.doesNotMatch(living.root.textContent, /No files here/);
  // it would send the form around it
  const enter = { key: "Enter" };
  assert.ok(
    (await living.on(living.one("input", "Find a file"), "keydown", enter)).defaultPrevented,
  );
  const other = await living.on(living.one("input", "Find a file"), "keydown", { key: "o" });
  assert.ok(!other.defaultPrevented);
  await living.type(living.one("input", "Find a file"), "one");
  await living.click("button", "One.csv");
  assert.deepEqual(chosen, ["a&b/One.csv"]);
  assert.equal(textOf(living.html), "Choose a file");
  // it opens where the file is, which is marked
  await living.click("button", "Choose a file");
  const marked = living.all((node) => node.getAttribute("aria-pressed") === "true");
  assert.deepEqual(marked.map((node) => textOf(node.outerHTML)), ["One.csv 99.9 kB"]);
  await living.click("button", "up");
  assert.deepEqual(list(), ["a&b", "top.csv 1.5 kB"]);
  // what was looked for was in the other folder
  assert.equal(living.one("input", "Find a file").value, "");
  await living.click("button", "top.csv");
  assert.deepEqual(chosen.slice(1), ["top.csv"]);
});

Deno.test("a folder that cannot be listed says why; an empty one, and one that was left, say so", async () => {
  const root = Promise.withResolvers();
  const late = Promise.withResolvers();
  const { living, list } = await picker("late/a.csv", {
    answers: {
      [listing("late")]: () => late.promise,
      [listing("")]: { entries: [folder("gone")], more: false },
    },
  });
  using _ = living;
  await living.click("button", "Choose a file");
  await living.click("button", "up");
  await living.do(() => late.resolve(answers[listing("a&b")]));
  assert.deepEqual(list(), ["gone"]);
  living.answers[listing("")] = () => root.promise;
  await living.click("button", "gone");
  assert.match(textOf(element(living.html, "div", "notice is-problem")), /^no GET .*gone$/);
  assert.deepEqual(list(), ["up"]);
  await living.click("button", "up");
  // not known yet
  assert.equal(elements(living.html, "div", "notice").length, 0);
  assert.deepEqual(list(), []);
  const { living: empty } = await picker("empty/a.csv", {
    answers: { [listing("empty")]: { entries: [], more: false } },
  });
  using __ = empty;
  await empty.click("button", "Choose a file");
  assert.match(textOf(empty.html), /No files here\.$/);
});

Deno.test("who may not run anything cannot look at files", async () => {
  const { living } = await picker("", { role: "viewer" });
  using _ = living;
  assert.equal(
    living.one("button", "Choose a file").getAttribute("title"),
    "This needs the role operator.",
  );
  assert.ok(living.one("button", "Choose a file").hasAttribute("disabled"));
});

Deno.test("a file of one's own is sent as what its name says, and refused where that says nothing", async () => {
  const chosen: (Upload | null)[] = [];
  using living = await Living.of(UploadField, {
    upload: null,
    onChoose: (upload: Upload | null) => chosen.push(upload),
  });
  const input = living.one("input", "upload");
  const choose = (name: string) => {
    Object.assign(input, { files: name === "" ? [] : [new File(["x"], name)] });
    return living.on(input, "change");
  };
  const types: Record<string, string> = {
    "a.csv": "text/csv",
    "A.TXT": "text/csv",
    "a.tsv": "text/tab-separated-values",
    "a.jsonl": "application/x-ndjson",
    "a.b.ndjson": "application/x-ndjson",
    "a.parquet": "application/vnd.apache.parquet",
    "a.feather": "application/vnd.apache.arrow.file",
  };
  for (const [name, type] of Object.entries(types)) {
    await choose(name);
    assert.deepEqual([chosen.at(-1)!.file.name, chosen.at(-1)!.type], [name, type]);
  }
  for (const name of ["a.xlsx", "csv"]) {
    await choose(name);
    assert.equal(chosen.at(-1), null);
    assert.match(living.root.textContent, /The name must end in one of: csv, txt, tsv/);
  }
  await choose("");
  assert.equal(chosen.at(-1), null);
  assert.doesNotMatch(living.root.textContent, /must end/);
  const shown = { file: new File(["x"], "<b>.csv"), type: "text/csv" };
  assert.match(textOf(htmlOf(UploadField, { upload: shown, onChoose: () => {} })), /<b>\.csv$/);
});

Deno.test("of a long text whole lines are sent for a preview, of other files all", async () => {
  const line = `${"x".repeat(99)}\n`;
  const text = new File([line.repeat(20_000)], "a.csv");
  const part = await beginning({ file: text, type: "text/csv" });
  assert.equal(part.size, Math.floor((1 << 20) / 100) * 100);
  assert.ok((await part.text()).endsWith("x\n"));
  const whole = async (content: string, type: string) => {
    const file = new File([content], "a");
    return (await beginning({ file, type })).size === file.size;
  };
  assert.ok(await whole(line.repeat(20_000), "application/vnd.apache.parquet"));
  assert.ok(await whole(line, "text/csv"));
  assert.ok(await whole("y".repeat(2 << 20), "text/csv"));
});

const events = (...payloads: unknown[]) => payloads.map((payload) => ({ payload })) as never;

Deno.test("the columns of a preview are in the order of the source, with different examples of each", () => {
  const columns = columnsOf({
    events: events(
      { id: 1, "a.b": { c: "x", list: [1] }, n: null },
      { id: 1, "a.b": { c: "y" }, late: true },
      { id: 2, n: "z".repeat(100) },
      { id: 3 },
      { id: 4 },
      "no object",
    ),
    fields: ["n", "id"],
  });
  assert.deepEqual(columns, [
    { path: "n", name: "n", examples: ["z".repeat(60)] },
    { path: "id", name: "id", examples: ["1", "2", "3"] },
    { path: "a\\.b.c", name: null, examples: ["x", "y"] },
    { path: "a\\.b.list", name: null, examples: ["[1]"] },
    { path: "late", name: "late", examples: ["true"] },
  ]);
  const many = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`c${i}`, i]));
  assert.equal(columnsOf({ events: events(many), fields: [] }).length, 200);
});

Deno.test("a payload is shown in the order of its source, and nothing that it lacks", () => {
  const ordered = inOrder({ b: 1, a: null, z: 3 }, ["a", "b", "gone"]);
  assert.equal(JSON.stringify(ordered), '{"a":null,"b":1,"z":3}');
  for (const other of [null, [1], "x"]) assert.deepEqual(inOrder(other, ["a"]), other);
});

Deno.test("the paths that a text names are read from each of its forms", () => {
  const texts = ["", "a", '["a","b.c"]', '{"field":"at","format":"epoch_ms"}', "[odd", "7"];
  assert.deepEqual(texts.map(pathsIn), [[], ["a"], ["a", "b.c"], ["at"], ["[odd"], ["7"]]);
});

const columns = [
  { path: "id", name: "id", examples: ["1", "<2>"] },
  { path: "at", name: "at", examples: [] },
  { path: "deep.n", name: null, examples: ["5"] },
];

/** The table in a form that keeps what it says, with what that was. */
async function table(
  values: Record<string, string>,
  { typed = true, proposals = [] as object[] } = {},
) {
  const said: string[] = [];
  function Form() {
    const [now, setNow] = useState(values);
    return h(ColumnTable, {
      columns,
      proposals: proposals as never,
      values: now,
      typed,
      onChange: (path: string, value: string) => {
        said.push(`${path} ${value}`);
        setNow((before) => ({ ...before, [path]: value }));
      },
    });
  }
  const living = await Living.of(Form, {});
  const check = (label: string, checked: boolean) => {
    const box = living.one("input", label);
    box.checked = checked;
    return living.on(box, "change");
  };
  const checked = () =>
    living.all((node: Live) => node.localName === "input" && node.checked === true)
      .map((node) => node.getAttribute("aria-label"));
  const choose = (label: string, value: string) => {
    const select = living.one("select", label);
    select.value = value;
    return living.on(select, "change");
  };
  return { living, said, check, checked, choose };
}

Deno.test("a key is one column or several, in the order in which they were chosen", async () => {
  const { living, said, check, checked } = await table({ "source.key": "id" });
  using _ = living;
  assert.deepEqual(checked(), ["id is (part of) the key"]);
  await check("deep.n is (part of) the key", true);
  assert.deepEqual(checked(), ["id is (part of) the key", "deep.n is (part of) the key"]);
  await check("at is (part of) the key", true);
  await check("id is (part of) the key", false);
  await check("deep.n is (part of) the key", false);
  await check("at is (part of) the key", false);
  assert.deepEqual(said, [
    'source.key ["id","deep.n"]',
    'source.key ["id","deep.n","at"]',
    'source.key ["deep.n","at"]',
    "source.key at",
    "source.key ",
  ]);
});

Deno.test("one column is the time and one the version; another takes its place", async () => {
  const { living, said, check, checked } = await table({
    "source.occurred_at": '{"field":"at","format":"epoch_ms"}',
    "source.version": "id",
  });
  using _ = living;
  assert.deepEqual(checked(), ["id is the version", "at is the time"]);
  await check("id is the time", true);
  await check("id is the version", false);
  assert.deepEqual(said, ["source.occurred_at id", "source.version "]);
  assert.deepEqual(checked(), ["id is the time"]);
});

Deno.test("types are declared by column, and what a form of JSON declares stays until another is chosen", async () => {
  const odd = '{"type":"date","format":"%d/%m"}';
  const { living, said, choose } = await table({ "source.columns": `{"at":${odd}}` });
  using _ = living;
  const options = (label: string) =>
    all(living.one("select", label), (node) => node.localName === "option");
  assert.deepEqual(options("Type of at").map((option) => option.textContent), [
    ...["as read", "text", "integer", "numeric", "boolean", "date", "timestamptz", "jsonb", "date"],
  ]);
  assert.equal(living.one("select", "Type of at").value, odd);
  await choose("Type of id", "integer");
  await choose("Type of at", "");
  await choose("Type of id", "");
  assert.deepEqual(said, [
    `source.columns {"at":${odd},"id":"integer"}`,
    'source.columns {"id":"integer"}',
    "source.columns ",
  ]);
  // what is nested has no type of its own
  assert.equal(living.all((node) => node.localName === "select").length, 2);
});

Deno.test("a proposed type is taken with a click, and offered where none is declared", async () => {
  const proposals = [
    { name: "id", declare: "integer", why: "only <digits>" },
    { name: "at", declare: { type: "date", format: "%d" }, why: "days" },
  ];
  const { living, said } = await table({}, { proposals });
  using _ = living;
  assert.equal(living.one("button", "Use integer").getAttribute("title"), "only <digits>");
  await living.click("button", "Use date");
  await living.click("button", "Use integer");
  assert.equal(said.at(-1), 'source.columns {"at":{"type":"date","format":"%d"},"id":"integer"}');
  assert.equal(living.all((node) => node.localName === "button").length, 0);
  const { living: untyped } = await table({}, { proposals, typed: false });
  using __ = untyped;
  assert.equal(untyped.all((node) => ["button", "select"].includes(node.localName)).length, 0);
});

Deno.test("a column is shown with its examples", async () => {
  const { living } = await table({});
  using _ = living;
  const row = elements(element(living.html, "tbody"), "tr")[0]!;
  assert.match(textOf(row), /^id 1 · <2> /);
  assert.equal(attribute(element(row, "td", "value-cell"), "title"), "1 · <2>");
});
