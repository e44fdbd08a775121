import assert from "node:assert/strict";
import { type ResourceKind, ResourceList, type Row } from "../../islands/resources.tsx";
import { type Life, type Live, Living } from "../helpers/dom.ts";
import { element, elements, RUN, textOf } from "../helpers/pages.ts";

/** A name that is not what it is in an address. */
const NAME = "a/b";
const CODED = "a%2Fb";
const THEN = "2026-01-01T02:00:00Z";

const page = (kind: ResourceKind, items: Row[], life: Life = {}) =>
  Living.of(ResourceList, { kind, items }, life);

const refused = (detail: string, errors: unknown[] = []) => () =>
  Response.json({ detail, errors }, { status: 422 });
/** What a control is called; the last one where a dialog has the same. */
const button = (living: Living, label: string) =>
  living.all((node) =>
    node.localName === "button" &&
    (node.getAttribute("aria-label") ?? textOf(node.outerHTML)) === label
  ).at(-1)!;
const press = (living: Living, label: string) => living.on(button(living, label), "click");
const isOff = (living: Living, label: string) => button(living, label).hasAttribute("disabled");
const title = (living: Living) => living.at("dialog h2")?.textContent ?? null;
const submit = (living: Living) => living.on(living.at("dialog form"), "submit");
const notices = (living: Living, within = "main > .messages") =>
  living.every(`${within} .notice`).map((node) =>
    `${/is-(\w+)/.exec(node.className)![1]}: ${textOf(node.outerHTML)}`
  );
const rows = (living: Living) =>
  elements(element(living.html, "tbody"), "tr").map((row) => textOf(row));
const write = (living: Living, id: string, text: string) =>
  living.type(living.at(`#editor-${id}`), text);
const choose = (living: Living, node: Live, value: string) => {
  node.value = value;
  return living.on(node, "change");
};
const controls = (living: Living) =>
  living.every("tbody button").map((node) => node.getAttribute("aria-label"));

const POOL = { pool: "p", slots: 2, per_server: false, description: null, running: 1, waiting: 3 };
const VIEW = { dataset: NAME, view: "public.a", columns: [], declared: null };

Deno.test("each kind of thing is listed with what there is to know of it, and what can be done", async () => {
  const configuration = { name: "c", description: "At night", conf: { n: 1 }, updated_at: THEN };
  const variable = { name: "v", value: "x", updated_at: null };
  const column = { name: "id", path: "id", type: "text" };
  for (
    const [kind, items, said, can] of [
      ["configurations", [configuration], ['c At night {"n":1} 01 Jan, 02:00'], [
        ...["Run c now", "Change c", "c as JSON", "Remove c"],
      ]],
      ["variables", [variable], ['v "x" –'], ["Change v", "Remove v"]],
      // what cannot be removed is not offered to be
      ["pools", [{ ...POOL, pool: "default_pool", slots: 1234 }, { ...POOL, per_server: true }], [
        "default_pool 1,234 no 1 3",
        "p 2 yes 1 3",
      ], ["Change default_pool", "Change p", "Remove p"]],
      [
        "suites",
        [
          { name: "f", expectations: 4, origin: "file" },
          { name: "a", expectations: 1, origin: "api" },
        ],
        ["f 4 a file", "a 1 a person"],
        ["Change f", "Remove f", "Change a", "Remove a"],
      ],
      // what is removed is the view: a dataset without one has nothing to remove
      [
        "datasets",
        [{ ...VIEW, columns: [column, column] }, { ...VIEW, dataset: "d", view: null }],
        [
          "a/b public.a 2",
          "d – –",
        ],
        ["Change a/b", "Remove public.a", "Change d"],
      ],
    ] as [ResourceKind, Row[], string[], string[]][]
  ) {
    using living = await page(kind, items);
    assert.deepEqual(rows(living), said);
    assert.deepEqual(controls(living), can);
    const made = living.every(".page-actions button").map((node) => textOf(node.outerHTML));
    assert.deepEqual(made, kind === "datasets" ? [] : [`New ${kind.slice(0, -1)}`]);
    assert.deepEqual(
      living.every("tbody th a").map((link) => link.getAttribute("href")),
      kind === "datasets" ? [`/etl/datasets/${CODED}`, "/etl/datasets/d"] : [],
    );
    using empty = await page(kind, []);
    assert.match(textOf(empty.at(".empty").outerHTML), /^No .* yet\./);
  }
});

Deno.test("each role may use its own controls, and is told what changes need", async () => {
  for (
    const [role, off] of [
      ["viewer", ["Run c now", "Change c", "c as JSON", "Remove c", "New configuration"]],
      ["operator", ["Change c", "c as JSON", "Remove c", "New configuration"]],
      ["admin", []],
    ] as const
  ) {
    using living = await page("configurations", [{ name: "c", conf: {} }], { role });
    const labels = [...controls(living) as string[], "New configuration"];
    assert.deepEqual(labels.filter((label) => isOff(living, label)), off, role);
    const lead = textOf(living.at(".lead").outerHTML);
    assert.equal(lead.includes("Changes need the role admin."), role !== "admin");
    if (role === "viewer") {
      const why = button(living, "Run c now").getAttribute("title");
      assert.equal(why, "This needs the role operator.");
    }
  }
});

Deno.test("a configuration is run, and is changed in the form of a run or as JSON", async () => {
  const RUNS = "POST /api/etl/run";
  const run = Promise.withResolvers();
  using living = await page("configurations", [
    { name: NAME, description: "At night", conf: { batch_size: 1 } },
  ], {
    answers: {
      [RUNS]: () => run.promise,
      [`PUT /api/configurations/${CODED}`]: {},
      "GET /etl/data/configurations": () =>
        new Response(`{"items": [{"name": "${NAME}", "conf": {"n": 1.10}}]}`),
    },
  });
  await press(living, `Run ${NAME} now`);
  assert.ok(isOff(living, `Run ${NAME} now`) && isOff(living, `Remove ${NAME}`));
  await living.do(() => run.resolve({ run_id: RUN(1) }));
  assert.deepEqual([living.asked, living.sent], [[RUNS], [{ configuration: NAME }]]);
  assert.ok(!isOff(living, `Run ${NAME} now`));
  await press(living, `Change ${NAME}`);
  await press(living, "New configuration");
  assert.deepEqual(living.went, [
    `/etl/runs/${RUN(1)}`,
    `/etl/new?edit=${CODED}`,
    "/etl/new?edit=",
  ]);
  assert.equal(title(living), null);
  await press(living, `${NAME} as JSON`);
  assert.equal(title(living), `Change configuration ${NAME}`);
  assert.ok(living.at("#editor-name") === null);
  assert.equal(living.at("#editor-description").value, "At night");
  assert.equal(living.at("#editor-conf").value, '{\n  "batch_size": 1\n}');
  await write(living, "description", " ");
  await write(living, "conf", '{"batch_size": 1234567890.10}');
  await submit(living);
  assert.equal(
    JSON.stringify(living.sent[1]),
    '{"description":null,"conf":{"batch_size":1234567890.10}}',
  );
  assert.equal(title(living), null);
  assert.deepEqual(notices(living), [`good: ${NAME} is saved.`]);
  assert.deepEqual(rows(living), [`${NAME} {"n":1.10} –`]);
  living.answers[RUNS] = refused("The pool is gone.");
  await press(living, `Run ${NAME} now`);
  assert.deepEqual(notices(living), ["problem: The pool is gone."]);
  assert.equal(living.went.length, 3);
});

Deno.test("what is wrong with a thing is said in its dialog, which stays as it is", async () => {
  const PUT = `PUT /api/configurations/${CODED}`;
  using living = await page("configurations", [{ name: NAME, description: null, conf: {} }], {
    answers: { "GET /etl/data/configurations": { items: [] } },
  });
  const alert = () => living.every("dialog [role=alert]").map((node) => textOf(node.outerHTML));
  await press(living, `${NAME} as JSON`);
  assert.equal(living.at("#editor-description").value, "");
  await write(living, "conf", "{nonsense");
  await submit(living);
  assert.match(alert()[0]!, /^This is not JSON: /);
  assert.deepEqual(living.asked, []);
  await write(living, "conf", "{}");
  const held = Promise.withResolvers();
  living.answers[PUT] = () => held.promise;
  await submit(living);
  assert.deepEqual(alert(), []);
  assert.ok(isOff(living, "Save"));
  const errors = [{ field: "conf.a", message: "is unknown" }, { field: "b", message: "is bad" }];
  await living.do(() => held.resolve(refused("2 values are wrong.", errors)()));
  assert.deepEqual(alert(), ["conf.a is unknown; b is bad"]);
  assert.ok(!isOff(living, "Save"));
  living.answers[PUT] = refused("It is away.");
  await submit(living);
  assert.deepEqual(alert(), ["It is away."]);
  await press(living, "Close");
  assert.equal(title(living), null);
  assert.equal(living.asked.length, 2, "nothing has changed");
});

Deno.test("a new pool begins with two slots, and what is no number is left for the server to explain", async () => {
  using living = await page("pools", [{ ...POOL, per_server: true, description: "Slow ones" }], {
    answers: { [`PUT /api/pools/${CODED}`]: {}, "PUT /api/pools/p": {} },
  });
  const held = () => ["slots", "description"].map((id) => living.at(`#editor-${id}`).value);
  const flag = () => living.at("#editor-per_server");
  await press(living, "New pool");
  assert.equal(title(living), "New pool");
  assert.deepEqual([held(), flag().checked], [["2", ""], false]);
  assert.equal(living.at("#editor-slots").getAttribute("inputmode"), "numeric");
  assert.ok(living.at("#editor-description").getAttribute("inputmode") === null);
  assert.ok(isOff(living, "Save"), "without a name");
  await write(living, "name", NAME);
  await write(living, "slots", " 12 ");
  Object.assign(flag(), { checked: true });
  await living.on(flag(), "change");
  await submit(living);
  // the list that cannot be looked up is said, once the dialog is closed
  assert.deepEqual(notices(living), ["problem: no GET /etl/data/pools"]);
  await press(living, "Change p");
  assert.deepEqual([held(), flag().checked], [["2", "Slow ones"], true]);
  await write(living, "slots", "1.5");
  Object.assign(flag(), { checked: false });
  await living.on(flag(), "change");
  await submit(living);
  // a new one replaces none that is there
  assert.deepEqual(living.onlyNew, [`PUT /api/pools/${CODED}`]);
  assert.deepEqual(living.sent, [
    { slots: 12, per_server: true, description: null },
    { slots: "1.5", per_server: false, description: "Slow ones" },
  ]);
});

Deno.test("a thing is removed when that is confirmed, by the name it has", async () => {
  for (
    const [kind, row, label, path] of [
      ["variables", { name: NAME, value: 1 }, NAME, `/api/variables/${CODED}`],
      ["datasets", VIEW, "public.a", `/api/datasets/${CODED}/columns`],
    ] as const
  ) {
    const list = `GET /etl/data/${kind}`;
    using living = await page(kind, [row], { answers: { [list]: { items: [row] } } });
    await press(living, `Remove ${label}`);
    assert.equal(title(living), `Remove ${label}?`);
    await press(living, "Keep it");
    assert.deepEqual([title(living), living.asked], [null, []]);
    await press(living, `Remove ${label}`);
    await press(living, "Remove");
    assert.deepEqual([title(living), living.asked], [null, [`DELETE ${path}`]]);
    assert.deepEqual(notices(living), [`problem: no DELETE ${path}`]);
    living.answers[`DELETE ${path}`] = new Response(null, { status: 204 });
    living.answers[list] = { items: [] };
    await press(living, `Remove ${label}`);
    await press(living, "Remove");
    assert.deepEqual(living.asked.slice(1), [`DELETE ${path}`, list]);
    assert.deepEqual(notices(living), [`good: ${label} is removed.`]);
    assert.ok(living.at("tbody") === null);
  }
});

Deno.test("a variable is a text, a number, yes or no, or JSON, and stays what it was through its editor", async () => {
  const PUT = `PUT /api/variables/${CODED}`;
  const sent: string[] = [];
  /** Opens the editor of a value, does something, saves and gives what was sent. */
  const edit = async (value: unknown, act: (living: Living) => Promise<unknown>) => {
    using living = await page("variables", value === undefined ? [] : [{ name: NAME, value }], {
      answers: { [PUT]: {} },
    });
    await press(living, value === undefined ? "New variable" : `Change ${NAME}`);
    if (value === undefined) await write(living, "name", NAME);
    await act(living);
    await submit(living);
    for (const each of living.sent.splice(0)) sent.push(JSON.stringify(each));
    return living.every("dialog [role=alert]").map((node) => textOf(node.outerHTML));
  };
  const type = (to: string) => (living: Living) =>
    choose(living, living.at("#editor-value-type"), to);
  const text = (living: Living) => living.at("#editor-value").value;
  await edit(undefined, async (living) => {
    assert.equal(living.at("#editor-value-type").value, "text");
    assert.equal(text(living), "");
    await write(living, "value", 'a "b"');
  });
  await edit("seven", async (living) => {
    assert.equal(text(living), "seven");
    await type("flag")(living);
    assert.equal(living.at("#editor-value").value, "false");
    await choose(living, living.at("#editor-value"), "true");
  });
  await edit(true, async (living) => {
    assert.equal(living.at("#editor-value").value, "true");
    await type("text")(living);
    assert.equal(text(living), "true");
  });
  await edit(true, (living) => choose(living, living.at("#editor-value"), "false"));
  await edit("7", async (living) => {
    await type("number")(living);
    assert.equal(living.at("#editor-value").getAttribute("inputmode"), "decimal");
    await write(living, "value", "0.50");
  });
  await edit([1, "2"], async (living) => {
    assert.equal(living.at("#editor-value").localName, "textarea");
    assert.equal(living.at("#editor-value-type").value, "json");
    await write(living, "value", "[12345678901234567890]");
  });
  assert.deepEqual(sent, [
    '{"value":"a \\"b\\""}',
    '{"value":true}',
    '{"value":"true"}',
    '{"value":false}',
    '{"value":0.50}',
    '{"value":[12345678901234567890]}',
  ]);
  const wrong = async (value: unknown, typed: string, said: RegExp) => {
    const alerts = await edit(value, (living) => write(living, "value", typed));
    assert.match(alerts[0] ?? "", said);
  };
  await wrong(7, "seven", /^seven is not a number: /);
  await wrong(7, "", /^– is not a number: /);
  await wrong([7], " [7", /^This is not JSON: /);
  assert.equal(sent.length, 6);
});

Deno.test("a suite is looked up before it is changed, and nothing is saved in its place meanwhile", async () => {
  const GET = `GET /api/suites/${CODED}`;
  const suite = Promise.withResolvers();
  using living = await page("suites", [{ name: NAME, expectations: 1, origin: "api" }], {
    answers: { [GET]: () => suite.promise, [`PUT /api/suites/${CODED}`]: {} },
  });
  await press(living, `Change ${NAME}`);
  assert.match(textOf(living.at("dialog").outerHTML), /Reading/);
  assert.ok(isOff(living, "Save"));
  await living.do(() => suite.resolve(new Response('{"expectations":[],"n":1.10}')));
  assert.equal(living.at("#editor-suite").value, '{\n  "expectations": [],\n  "n": 1.10\n}');
  assert.ok(!isOff(living, "Save"));
  await submit(living);
  assert.equal(JSON.stringify(living.sent[0]), '{"expectations":[],"n":1.10}');
  delete living.answers[GET];
  await press(living, `Change ${NAME}`);
  assert.deepEqual(notices(living, "dialog"), [`problem: no ${GET}`]);
  assert.ok(isOff(living, "Save"), "an unknown one is not overwritten");
  // a new one begins with an example
  await press(living, "Close");
  await press(living, "New suite");
  assert.match(living.at("#editor-suite").value, /expect_column_values_to_not_be_null/);
  await write(living, "name", NAME);
  await submit(living);
  assert.deepEqual(living.sent[1], {
    expectations: [{
      type: "expect_column_values_to_not_be_null",
      kwargs: { column: "event_id" },
    }],
  });
});

Deno.test("a dataset's columns are those of its view, or widened where its table has them", async () => {
  const path = `/api/datasets/${CODED}/columns`;
  const columns = [{ name: "id", path: "id", type: "text" }];
  using living = await page("datasets", [{ ...VIEW, columns }], {
    answers: { [`PUT ${path}`]: {}, "GET /etl/data/datasets": { items: [] } },
  });
  await press(living, `Change ${NAME}`);
  assert.equal(title(living), `Change columns of dataset ${NAME}`);
  await living.type(living.one("input", "Field of column 1"), "no");
  await submit(living);
  assert.deepEqual(living.sent, [{ columns: [{ name: "no", path: "no", type: "text" }] }]);
  assert.deepEqual(notices(living), [`good: ${NAME} is saved.`]);
  const declared = {
    ...{ source: "s", key: ["id"], version: null, occurred_at: null },
    columns: [{ name: "n", path: "n", type: "integer" }],
  };
  using typed = await page("datasets", [{ ...VIEW, view: null, declared }]);
  await press(typed, `Change ${NAME}`);
  const select = typed.one("select", "Type of n");
  await choose(typed, select, "numeric");
  await submit(typed);
  assert.deepEqual(typed.asked, [`PATCH ${path}`]);
  assert.deepEqual(typed.sent, [{ add: {}, types: { n: "numeric" } }]);
  assert.deepEqual(notices(typed, "dialog"), [`problem: no PATCH ${path}`]);
  typed.answers[`PATCH ${path}`] = {};
  typed.answers["GET /etl/data/datasets"] = { items: [VIEW] };
  await submit(typed);
  assert.deepEqual([title(typed), notices(typed)], [null, [`good: ${NAME} is saved.`]]);
});
