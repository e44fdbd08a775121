import assert from "node:assert/strict";
import { RunForm, type RunFormProps } from "../../islands/form.tsx";
import type { JsonSchema } from "../../islands/form/conf.ts";
import type { Preview } from "../../pipeline/preview.ts";
import { confJsonSchema } from "../../pipeline/params.ts";
import { type Life, type Live, Living } from "../helpers/dom.ts";
import { element, elements, RUN, textOf, texts } from "../helpers/pages.ts";

const RUNS = "POST /api/etl/run";
const PREVIEW = "POST /api/etl/preview";
const schema = confJsonSchema() as JsonSchema;

interface More extends Life, Partial<Omit<RunFormProps, "conf">> {
  conf?: unknown;
}

const form = (
  { conf = {}, known = {}, from = null, editing = null, scheduling = null, ...life }: More = {},
) => {
  const props = { schema, known, origin: "http://here", from, editing, scheduling };
  return Living.of(RunForm, { ...props, conf: JSON.stringify(conf) }, life);
};

const refused = (detail: string, errors: unknown[] = []) => () =>
  Response.json({ detail, errors }, { status: 422 });
const buttons = (living: Living, label: string) =>
  living.all((node) =>
    node.localName === "button" &&
    (node.getAttribute("aria-label") ?? textOf(node.outerHTML)) === label
  );
/** The last one where a dialog has the same. */
const button = (living: Living, label: string) => buttons(living, label).at(-1)!;
const press = (living: Living, label: string) => living.on(button(living, label), "click");
const isOff = (living: Living, label: string) => button(living, label).hasAttribute("disabled");
const field = (living: Living, path: string) => living.at(`#field-${path.replaceAll(".", "-")}`);
const write = (living: Living, path: string, text: string) =>
  living.type(field(living, path), text);
const choose = (living: Living, node: Live, value: string) => {
  node.value = value;
  return living.on(node, "change");
};
const submit = (living: Living) => living.on(living.at("form"), "submit");
const sourceOf = (living: Living, type: string) => living.on(living.one("input", type), "change");
const notices = (living: Living, within = "main") =>
  living.every(`${within} .notice`).filter((node) => node.closest(".only-without-script") === null)
    .map((node) => `${/is-(\w+)/.exec(node.className)![1]}: ${textOf(node.outerHTML)}`);
const key = (living: Living) => living.heads.at(-1)!.get("idempotency-key");
const ctrlEnter = (living: Living, at = "#field-run_label", more: object = { ctrlKey: true }) =>
  living.on(living.at(at), "keydown", { key: "Enter", ...more });

const event = (position: number, payload: unknown, occurred_at: string | null = null) => ({
  ...{ position, event_id: `e${position}`, event_type: "sale", occurred_at, payload },
});
function preview(changes: Partial<Preview> = {}): Preview {
  return {
    ...{ sampled: 3, fields: ["id", "price"], rejected: [], rules: {}, columns: [], table: null },
    events: [event(0, { id: 1, price: "2,5" }), event(1, { id: 2, price: "3,5" })],
    counts: { events: 2, rejected: 0, filtered: 0, extra: 0 },
    key: { fields: ["id"], distinct: 2, unique: true, repeated: [] },
    ...{ slot: null, warnings: [] },
    ...changes,
  } as unknown as Preview;
}

Deno.test("a run is started with what was typed, once however often it is asked for, until something changes", async () => {
  const run = Promise.withResolvers();
  using living = await form({ answers: { [RUNS]: () => run.promise } });
  await write(living, "batch_size", "7");
  await submit(living);
  assert.ok(isOff(living, "Starting") && isOff(living, "Preview"));
  await living.do(() => run.resolve(refused("It is away.")()));
  assert.ok(!isOff(living, "Start run"));
  assert.deepEqual(notices(living), ["problem: It is away."]);
  const first = key(living)!;
  assert.match(first, /^[0-9a-f-]{36}$/);
  await submit(living);
  assert.equal(key(living), first);
  await write(living, "run_label", "x");
  living.answers[RUNS] = { run_id: RUN(1) };
  await ctrlEnter(living);
  assert.notEqual(key(living), first);
  assert.deepEqual(living.asked, [RUNS, RUNS, RUNS]);
  assert.deepEqual(living.sent, [
    { batch_size: 7 },
    { batch_size: 7 },
    { run_label: "x", batch_size: 7 },
  ]);
  assert.deepEqual(living.went, [`/etl/runs/${RUN(1)}`]);
  assert.deepEqual(notices(living), []);
  assert.equal(living.kept("etl_form"), null, "what was started is no draft any more");
});

Deno.test("Enter with Ctrl or Cmd starts a run of a new run's form, alone and in other forms it does not", async () => {
  using living = await form({ answers: { [RUNS]: { run_id: RUN(1) } } });
  await ctrlEnter(living, "#field-run_label", {});
  await living.on(living.at("#field-run_label"), "keydown", { key: "x", ctrlKey: true });
  assert.deepEqual(living.asked, []);
  await ctrlEnter(living, "#field-run_label", { metaKey: true });
  assert.deepEqual(living.asked, [RUNS]);
  for (
    const more of [{ scheduling: "s" }, { editing: { name: "c", description: "" } }] as More[]
  ) {
    using other = await form(more);
    await ctrlEnter(other);
    const { defaultPrevented } = await submit(other);
    assert.deepEqual([other.asked, defaultPrevented], [[], true]);
    assert.ok(button(other, "Start run") === undefined);
  }
});

Deno.test("what is wrong with a run is listed first, each with its field, and said there", async () => {
  using living = await form({
    answers: {
      [RUNS]: refused("3 values are wrong.", [
        { field: "batch_size", message: "must be a number", expected: "1 to 9" },
        { field: "source.key[0]", message: "must be one of a, b", expected: "a, b" },
        { field: "chunk_sizes", message: "is unknown" },
      ]),
    },
  });
  await submit(living);
  const summary = living.at("#form-errors");
  assert.deepEqual(texts(summary.outerHTML), [
    "3 values are wrong",
    "batch_size must be a number",
    "source.key[0] must be one of a, b",
    "chunk_sizes is unknown",
  ]);
  assert.deepEqual([...summary.querySelectorAll("a")].map((each) => each.getAttribute("href")), [
    "#field-batch_size",
    "#field-source-key",
  ]);
  assert.equal(summary.querySelector(".notice")!.getAttribute("role"), "alert");
  await living.pass();
  assert.equal(living.focused(summary), 1);
  const said = (path: string) => {
    const { id } = field(living, path);
    const describes = field(living, path).getAttribute("aria-describedby")!.split(" ");
    assert.ok(describes.includes(`${id}-error`) && describes.includes(`${id}-help`));
    assert.equal(field(living, path).getAttribute("aria-invalid"), "true");
    return living.at(`#${id}-error`).textContent;
  };
  assert.equal(said("batch_size"), "must be a number: 1 to 9");
  assert.equal(said("source.key"), "must be one of a, b");
  assert.equal(field(living, "chunk_size").getAttribute("aria-invalid"), "false");
  const held = Promise.withResolvers();
  living.answers[RUNS] = () => held.promise;
  await submit(living);
  assert.ok(living.at("#form-errors") === null);
  assert.ok(living.at("#field-batch_size-error") === null);
  await living.do(() => held.resolve({ run_id: RUN(1) }));
});

Deno.test("what was typed is there again in this tab, and a fresh start forgets all of it", async () => {
  using living = await form({
    kept: { etl_form: { run_label: "mine", batch_size: "5", "source.type": "inline" } },
    answers: { [RUNS]: refused("It is away."), [PREVIEW]: preview() },
  });
  assert.match(notices(living)[0]!, /^info: Your previous input was restored/);
  assert.equal(field(living, "run_label").value, "mine");
  await write(living, "run_label", "yours");
  assert.deepEqual(living.kept("etl_form"), {
    ...{ run_label: "yours", batch_size: "5", "source.type": "inline" },
  });
  await write(living, "batch_size", "");
  assert.equal((living.kept("etl_form") as Record<string, string>).run_label, "yours");
  await write(living, "source.records", '[{"id": 1}]');
  await press(living, "Preview");
  await submit(living);
  const before = key(living);
  await press(living, "Start again");
  assert.deepEqual(notices(living), []);
  assert.deepEqual(["run_label", "batch_size"].map((each) => field(living, each).value), ["", ""]);
  assert.equal(living.one("input", "synthetic").checked, true);
  assert.equal(living.kept("etl_form"), null);
  assert.ok(living.at(".preview") === null);
  // it is another run, which the server would refuse under the key of the first
  await submit(living);
  assert.notEqual(key(living), before);
  await write(living, "run_label", "x");
  await write(living, "run_label", "");
  assert.equal(living.kept("etl_form"), null, "nothing is no draft");
  using other = await form({
    kept: { etl_form: { run_label: "mine" } },
    answers: { [PREVIEW]: preview() },
  });
  await press(other, "Preview");
  await press(other, "Start again");
  assert.equal(other.every(".preview").length, 0);
});

Deno.test("a form that begins with something neither takes a draft nor leaves one", async () => {
  const kept = { etl_form: { run_label: "mine" } };
  const begun: [More, string][] = [
    [{ from: RUN(1) }, ""],
    [{ conf: { run_label: "given" } }, "given"],
    [{ scheduling: "s" }, ""],
    [{ editing: { name: "", description: "" } }, ""],
  ];
  for (const [more, label] of begun) {
    using living = await form({ ...more, kept });
    assert.equal(field(living, "run_label").value, label);
    await write(living, "run_label", "other");
    assert.deepEqual(living.kept("etl_form"), kept.etl_form);
    if (more.from === undefined) continue;
    assert.deepEqual(notices(living), [`info: Based on the values of this run: ${RUN(1)}`]);
    assert.equal(living.at(".notice a[href*=runs]").getAttribute("href"), `/etl/runs/${RUN(1)}`);
  }
});

Deno.test("each role may use its own controls of the form, and is told what they need", async () => {
  const all = [
    "Start run",
    "Preview",
    "Show the columns",
    "Save as configuration",
    "Schedule this",
  ];
  const conf = { source: { type: "http", url: "http://there/a.csv" } };
  for (
    const [role, off, said] of [
      ["viewer", all, ["info: This needs the role operator."]],
      ["operator", all.slice(3), []],
      ["admin", [], []],
    ] as [NonNullable<Life["role"]>, string[], string[]][]
  ) {
    using living = await form({ conf, role });
    assert.deepEqual(all.filter((each) => isOff(living, each)), off, role);
    assert.deepEqual(notices(living), said);
    using scheduling = await form({ scheduling: "s", role });
    assert.equal(isOff(scheduling, "Use for the schedule"), role !== "admin");
    using editing = await form({ editing: { name: "c", description: "" }, role });
    assert.equal(isOff(editing, "Save"), role !== "admin");
  }
});

Deno.test("a preview says what records would become, what of them not, and what is doubtful", async () => {
  const rejected = Array.from({ length: 6 }, (_, n) => ({
    ...{ position: n, output: 0, message: `no id in ${n}`, raw: `raw ${n}` },
  }));
  const answer = preview({
    events: [event(0, { price: 2, id: 1 }, "2026-01-02T03:04:05Z"), event(1, null)] as never,
    counts: { events: 1234, rejected: 6, filtered: 2, extra: 1 },
    key: {
      ...{ fields: ["id", "day"], distinct: 1, unique: false },
      repeated: [
        { event_id: "e1", positions: [0, 1] },
        { event_id: "e2", positions: [2, 3] },
      ],
    },
    slot: "2026-01-03T02:00:00Z",
    warnings: ["The file has no header."],
    rejected: rejected as never,
  });
  const held = Promise.withResolvers();
  using living = await form({ answers: { [PREVIEW]: () => held.promise } });
  await press(living, "Preview");
  assert.ok(isOff(living, "Reading") && isOff(living, "Start run"));
  await living.do(() => held.resolve(answer));
  assert.deepEqual(living.asked, [PREVIEW], "of what is generated no columns are asked for");
  const card = living.at(".preview");
  await living.pass();
  assert.equal(living.focused(living.at("#preview-title")), 1);
  assert.match(textOf(card.outerHTML), /3 records read/);
  const facts = Object.fromEntries(
    [...card.querySelectorAll("dl > div")].map((each) => {
      const [name, value] = [...each.children];
      return [
        name!.textContent,
        `${value!.textContent}${value!.className === "is-bad" ? "!" : ""}`,
      ];
    }),
  );
  assert.deepEqual(facts, {
    "{{slot}}": "2026-01-03T02:00:00Z",
    Events: "1,234",
    Rejected: "6!",
    Filtered: "2",
    Extra: "1",
    Key: "id + day",
    Unique: "no!",
  });
  assert.deepEqual(notices(living, ".preview"), [
    "warning: The file has no header.",
    "warning: These keys occur several times; only one version of each is kept: e1, e2",
  ]);
  assert.deepEqual(
    elements(element(card.outerHTML, "ul"), "li").map(textOf),
    rejected.slice(0, 5).map(({ message, raw }) => `${message} ${raw}`),
  );
  assert.deepEqual(elements(element(card.outerHTML, "tbody"), "tr").map(textOf), [
    'e0 sale 02 Jan 2026, 03:04:05 UTC {"id":1,"price":2}',
    "e1 sale – null",
  ]);
  // another, without anything to say
  living.answers[PREVIEW] = preview({
    events: [],
    key: { ...answer.key, fields: null, unique: true },
  });
  await press(living, "Preview");
  assert.match(textOf(living.at(".preview dl").outerHTML), /Key hash of the record Unique yes/);
  assert.deepEqual(notices(living), []);
  assert.ok(living.at(".preview ul") ?? living.at(".preview table") === null);
  // what fails shows no older one
  living.answers[PREVIEW] = refused("No such file.");
  await press(living, "Preview");
  assert.ok(living.at(".preview") === null);
  assert.deepEqual(notices(living), ["problem: No such file."]);
  assert.ok(!isOff(living, "Preview"));
});

const FILES = "GET /etl/data/files?folder=";
const columnNames = (living: Living) =>
  living.every(".column-table:not(.editor-table) tbody th").map((each) => each.textContent);

Deno.test("the columns of a file that is picked say key and types, until it is another file", async () => {
  const proposal = { name: "price", declare: "numeric", fits: 1, misfits: [], why: "it fits" };
  using living = await form({
    conf: { source: { type: "file", path: "b.csv", key: "no", format: "csv" } },
    answers: {
      [FILES]: { entries: [{ name: "a.csv", folder: false, bytes: 1 }], more: false },
      [PREVIEW]: preview({
        columns: [proposal as never],
        events: [event(0, { id: 1, price: "2,5", place: { city: "x" } })] as never,
      }),
    },
  });
  assert.deepEqual(columnNames(living), []);
  await press(living, "Choose a file");
  await press(living, "a.csv 0 kB");
  assert.equal(field(living, "source.path").value, "a.csv");
  assert.deepEqual(living.sent, [{ source: { type: "file", path: "a.csv", format: "csv" } }]);
  assert.deepEqual(columnNames(living), ["id", "price", "place.city"]);
  assert.equal(
    living.at("#field-source-key-error").textContent,
    "no is not a column; columns are: id, price, place.city",
  );
  const known = living.every("#field-source-key-known option").map((each) => each.value);
  assert.deepEqual(known, ["id", "price", "place.city"]);
  await write(living, "source.key", "");
  const box = living.one("input", "id is (part of) the key");
  Object.assign(box, { checked: true });
  await living.on(box, "change");
  assert.equal(field(living, "source.key").value, "id");
  assert.ok(living.at("#field-source-key-error") === null);
  await write(living, "source.key", '["id", "day", 3]');
  assert.match(living.at("#field-source-key-error").textContent, /^day is not a column/);
  assert.ok(button(living, "Use the proposed type"));
  await press(living, "Use numeric");
  assert.match(textOf(living.at(".equivalent").outerHTML), /"columns":\{"price":"numeric"\}/);
  // of another file they are not
  await write(living, "source.path", "c.csv");
  assert.deepEqual(columnNames(living), []);
  assert.ok(living.at("#field-source-key-error") === null);
  living.answers[PREVIEW] = refused("No such file.");
  await press(living, "Show the columns");
  assert.deepEqual(notices(living), ["problem: No such file."]);
  await write(living, "source.path", "a.csv");
  assert.deepEqual(columnNames(living), ["id", "price", "place.city"], "they are known");
  // they are the file's in whatever order the form writes how it is read
  using other = await form({
    conf: { source: { type: "file", format: "csv" } },
    answers: { [FILES]: living.answers[FILES], [PREVIEW]: preview() },
  });
  await press(other, "Choose a file");
  await press(other, "a.csv 0 kB");
  assert.deepEqual(columnNames(other), ["id", "price"]);
});

Deno.test("what is answered of a source that was left is not shown, and what comes late fails for nobody", async () => {
  const picked = { entries: [{ name: "a.csv", folder: false, bytes: 1 }], more: false };
  const conf = { source: { type: "file", path: "b.csv" } };
  const older = preview({ sampled: 99, fields: ["old"], events: [event(0, { old: 1 })] as never });
  const pick = async (living: Living, answer: unknown) => {
    living.answers[PREVIEW] = answer;
    await press(living, "Choose a file");
    await press(living, "a.csv 0 kB");
  };
  for (const outcome of [refused("Too late."), () => older]) {
    const [old, now] = [Promise.withResolvers(), Promise.withResolvers()];
    using living = await form({ conf, answers: { [FILES]: picked, [PREVIEW]: () => old.promise } });
    await press(living, "Show the columns");
    assert.ok(isOff(living, "Reading"));
    await pick(living, () => now.promise);
    await living.do(() => old.resolve(outcome()));
    assert.deepEqual(notices(living), []);
    assert.ok(isOff(living, "Preview"), "the newer one is still read");
    await living.do(() => now.resolve(preview()));
    assert.deepEqual(columnNames(living), ["id", "price"]);
    assert.ok(!isOff(living, "Preview"));
    // nor does what comes later still take its place
    const last = Promise.withResolvers();
    living.answers[PREVIEW] = () => last.promise;
    await write(living, "source.path", "c.csv");
    await press(living, "Show the columns");
    await pick(living, preview());
    await living.do(() => last.resolve(outcome()));
    assert.deepEqual([columnNames(living), notices(living)], [["id", "price"], []]);
    // an older preview takes the place of nothing
    const late = Promise.withResolvers();
    living.answers[PREVIEW] = () => late.promise;
    await press(living, "Preview");
    await pick(living, preview({ fields: ["n"], events: [event(0, { n: 1 })] as never }));
    await living.do(() => late.resolve(outcome()));
    assert.equal(living.every(".preview").length, 0);
    assert.deepEqual([columnNames(living), notices(living)], [["n"], []]);
    // a run that is refused is no question that something newer answers
    const run = Promise.withResolvers();
    living.answers[RUNS] = () => run.promise;
    await submit(living);
    await pick(living, preview());
    await living.do(() => run.resolve(refused("It is away.")()));
    assert.deepEqual(notices(living), ["problem: It is away."]);
  }
});

Deno.test("a preview that fails for a wrong key tells the columns there are", async () => {
  let asked = 0;
  using living = await form({
    conf: { batch_size: 3, source: { type: "file", path: "b.csv", key: "no", version: "v" } },
    answers: {
      [PREVIEW]: () => asked++ === 0 ? refused("No column no.")() : preview(),
    },
  });
  await press(living, "Preview");
  assert.deepEqual(living.sent, [
    { batch_size: 3, source: { type: "file", path: "b.csv", key: "no", version: "v" } },
    { source: { type: "file", path: "b.csv" } },
  ]);
  assert.deepEqual(notices(living), ["problem: No column no."]);
  // both come in time
  assert.deepEqual(columnNames(living), ["id", "price"]);
  await press(living, "Preview");
  assert.equal(living.asked.length, 3, "the columns are known");
  // of no records nobody knows the columns
  living.answers[PREVIEW] = preview({ events: [] });
  await write(living, "source.path", "empty.csv");
  await press(living, "Show the columns");
  assert.deepEqual([columnNames(living), living.every(".field-error").length], [[], 0]);
  // columns that cannot be read do not matter where the preview is there
  asked = 1;
  living.answers[PREVIEW] = () => asked++ === 1 ? preview() : refused("No.")();
  await write(living, "source.path", "c.csv");
  await press(living, "Preview");
  assert.ok(living.at(".preview"));
  assert.deepEqual(notices(living), []);
});

const upload = async (living: Living, file?: File) => {
  Object.assign(living.at("#upload"), { files: file === undefined ? [] : [file] });
  await living.on(living.at("#upload"), "change");
};

Deno.test("a file of one's own is sent with its values in the address, and is neither scheduled nor kept", async () => {
  const query = "run_label=my+run&batch_size=7&delimiter=%3B&skip_lines=1&key=%5B%22a%22%5D";
  const file = new File(["a;b\n1;2\n"], "it's.csv");
  using living = await form({
    conf: {
      ...{ run_label: "my run", batch_size: 7 },
      source: { type: "inline", records: [{ a: 1 }], format: "csv", delimiter: ";", skip_lines: 1 },
    },
    answers: {
      [`${PREVIEW}?delimiter=%3B&skip_lines=1`]: preview({
        ...{ fields: ["a"], events: [event(0, { a: 1 })] as never },
      }),
    },
  });
  assert.ok(!isOff(living, "Schedule this"));
  await upload(living, file);
  assert.deepEqual(living.sent, [file]);
  assert.equal(living.heads[0]!.get("content-type"), "text/csv");
  assert.deepEqual(columnNames(living), ["a"]);
  assert.ok(field(living, "source.records") === null);
  await write(living, "source.key", '["a"]');
  assert.ok(isOff(living, "Schedule this"));
  const at = new URLSearchParams(query);
  const asked = () => {
    const [, path, search] = /^POST ([^?]*)\?(.*)$/.exec(living.asked.at(-1)!)!;
    const given = new URLSearchParams(search);
    at.sort();
    given.sort();
    return [path, given.toString() === at.toString()];
  };
  await press(living, "Preview");
  const curl = living.at(".equivalent").textContent;
  assert.match(curl, /^curl -X POST 'http:\/\/here\/api\/etl\/run\?.*key=%5B%22a%22%5D/);
  assert.ok(curl.endsWith("-H 'content-type: text/csv' \\\n  --data-binary @'it'\\''s.csv'"), curl);
  await submit(living);
  assert.deepEqual(asked(), ["/api/etl/run", true]);
  assert.equal(living.sent.at(-1), file);
  assert.equal(living.heads.at(-1)!.get("content-type"), "text/csv");
  const first = key(living);
  // another file is another run
  await upload(living, new File(["a\n"], "b.csv"));
  await submit(living);
  assert.notEqual(key(living), first);
  await upload(living);
  assert.ok(field(living, "source.records"));
  // without one of these there is nothing to run
  const before = living.asked.length;
  await write(living, "source.records", "");
  for (const what of ["Start run", "Preview"]) {
    if (what === "Preview") await press(living, what);
    else await submit(living);
    assert.match(living.at("#field-source-records-error").textContent, /^Choose a file, or give/);
  }
  assert.equal(living.asked.length, before);
  await upload(living, file);
  await submit(living);
  assert.deepEqual(asked(), ["/api/etl/run", true], "a file is enough");
  await upload(living);
  await write(living, "source.records", '[{"a": 1}]');
  await submit(living);
  assert.equal(living.asked.at(-1), RUNS);
  // a source of another type has no file
  await upload(living, file);
  await sourceOf(living, "synthetic");
  await submit(living);
  assert.equal(living.asked.at(-1), RUNS);
  assert.ok(!isOff(living, "Schedule this"));
});

Deno.test("a configuration is changed in the form, is saved by Enter, and what is wrong is told at its fields", async () => {
  const PUT = "PUT /api/configurations/a%20b";
  using living = await form({
    conf: { batch_size: 1, suite: null, pool: null },
    editing: { name: "a b", description: "At night" },
    answers: { [PUT]: refused("1 value is wrong.", [{ field: "batch_size", message: "is bad" }]) },
  });
  assert.ok(field(living, "configuration") === null);
  assert.ok(living.at("#configuration-name") === null);
  assert.equal(living.at("#configuration-description").value, "At night");
  for (const none of ["Start run", "Save as configuration", "Schedule this"]) {
    assert.ok(button(living, none) === undefined);
  }
  await write(living, "pool", "p");
  await press(living, "Save");
  assert.deepEqual(living.sent, [{
    conf: { batch_size: 1, suite: null, pool: "p" },
    description: "At night",
  }]);
  assert.equal(living.at("#field-batch_size-error").textContent, "is bad");
  await living.pass();
  assert.equal(living.focused(living.at("#form-errors")), 1);
  const held = Promise.withResolvers();
  living.answers[PUT] = () => held.promise;
  await living.type(living.at("#configuration-description"), "");
  const { defaultPrevented } = await ctrlEnter(living, "#configuration-description", {});
  assert.ok(defaultPrevented);
  assert.ok(isOff(living, "Save"));
  assert.ok(living.at("#form-errors") === null);
  await ctrlEnter(living, "#configuration-description", {});
  assert.equal(living.asked.length, 2, "while it is saved");
  await living.do(() => held.resolve({}));
  assert.deepEqual(living.sent[1], {
    conf: { batch_size: 1, suite: null, pool: "p" },
    description: null,
  });
  assert.match(notices(living)[0]!, /^good: Saved. It can be run as “a b” from anywhere/);
  living.answers[PUT] = refused("It is away.");
  await press(living, "Save");
  assert.deepEqual(notices(living), ["problem: It is away."]);
  assert.ok(!isOff(living, "Save"));
});

Deno.test("what the form holds is saved in a dialog, in which Enter saves and starts no run", async () => {
  using living = await form({ conf: { configuration: "c", batch_size: 1 } });
  await press(living, "Save as configuration");
  assert.ok(living.at("dialog").closest("form") === null, "Enter would send the form");
  assert.ok(isOff(living, "Save"), "without a name");
  await ctrlEnter(living, "#configuration-name", {});
  await ctrlEnter(living, "#configuration-name");
  assert.deepEqual(living.asked, []);
  await living.type(living.at("#configuration-name"), "a/b");
  await ctrlEnter(living, "#configuration-name", {});
  const PUT = "PUT /api/configurations/a%2Fb";
  assert.deepEqual(living.asked, [PUT]);
  assert.deepEqual(living.sent, [{ conf: { batch_size: 1 }, description: null }]);
  assert.deepEqual(notices(living), [`problem: no ${PUT}`]);
  assert.deepEqual(notices(living, "dialog"), [`problem: no ${PUT}`]);
  living.answers[PUT] = {};
  await living.on(living.at("#configuration-name"), "keydown", { key: "x" });
  assert.equal(living.asked.length, 1);
  await press(living, "Save");
  assert.match(notices(living, "dialog")[0]!, /^good: Saved\. It can be run as “a\/b”/);
  // what was saved keeps its name while another is typed
  await living.type(living.at("#configuration-name"), "other");
  assert.match(notices(living, "dialog")[0]!, /“a\/b”/);
  // one that is there is not replaced, but for the one that was saved here
  assert.deepEqual(living.onlyNew, [PUT, PUT]);
  await living.type(living.at("#configuration-name"), "a/b");
  await press(living, "Save");
  assert.deepEqual([living.asked.length, living.onlyNew.length], [3, 2]);
  await press(living, "Close");
  assert.ok(living.at("dialog") === null);
});

Deno.test("what a schedule runs is chosen from what its dialog held, and goes back there", async () => {
  const texts = { name: "s", cron: "0 3 * * *", time_zone: "Europe/Madrid" };
  const query = "?cron=0+3+*+*+*&time_zone=Europe%2FMadrid";
  using living = await form({
    scheduling: "s",
    kept: { etl_schedule: { conf: { batch_size: 9, suite: null }, texts, schedule: "s" } },
    answers: { [`${PREVIEW}${query}`]: preview({ slot: "2026-01-03T02:00:00Z" }) },
  });
  assert.equal(field(living, "batch_size").value, "9");
  assert.ok(living.at(".equivalent") === null);
  await press(living, "Preview");
  assert.deepEqual(living.asked, [`${PREVIEW}${query}`]);
  assert.match(textOf(living.at(".preview").outerHTML), /\{\{slot\}\} 2026-01-03T02:00:00Z/);
  await write(living, "batch_size", "10");
  await press(living, "Use for the schedule");
  assert.deepEqual(living.kept("etl_schedule"), {
    ...{ conf: { batch_size: 10, suite: null }, texts, schedule: "s" },
  });
  assert.deepEqual(living.went, ["/etl/schedules#draft"]);
  assert.equal(
    living.one("a", "Back without changes").getAttribute("href"),
    "/etl/schedules#draft",
  );
  await sourceOf(living, "inline");
  await upload(living, new File(["a\n"], "a.csv"));
  assert.equal(living.asked.at(-1), PREVIEW, "a file has no slot");
  assert.ok(isOff(living, "Use for the schedule"), "a file cannot be scheduled");
  // an expression that is still to be written has no slot
  using empty = await form({
    scheduling: "",
    kept: { etl_schedule: { conf: {}, texts: { ...texts, cron: "" } } },
  });
  await press(empty, "Preview");
  assert.deepEqual(empty.asked, [PREVIEW]);
  // and from the form of a run
  using run = await form({ conf: { batch_size: 1 }, kept: { etl_schedule: { conf: {}, texts } } });
  await press(run, "Preview");
  assert.deepEqual(run.asked, [PREVIEW], "a run has no slot");
  await press(run, "Schedule this");
  assert.deepEqual(run.kept("etl_schedule"), { conf: { batch_size: 1 } });
  assert.deepEqual(run.went, ["/etl/schedules#draft"]);
});

Deno.test("a field is a list where it takes what is there, otherwise a text with what is known", async () => {
  using living = await form({
    conf: { suite: "gone", pool: "p" },
    known: {
      pool: ["p", "default_pool"],
      suite: ["s"],
      configuration: ["c"],
      run_label: ["a", "b"],
    },
  });
  const options = (path: string) =>
    [...field(living, path).querySelectorAll("option")].map((each) => each.textContent);
  assert.deepEqual([field(living, "pool").localName, field(living, "pool").value], ["select", "p"]);
  assert.deepEqual(options("pool"), ["Default: default_pool", "p", "default_pool"]);
  assert.deepEqual([field(living, "suite").localName, field(living, "suite").value], [
    ...["input", "gone"],
  ]);
  assert.deepEqual(options("configuration"), ["Not given", "c"]);
  const label = field(living, "run_label");
  assert.equal(label.getAttribute("list"), "field-run_label-known");
  const hints = living.every("#field-run_label-known option").map((each) => each.value);
  assert.deepEqual(hints, ["a", "b"]);
  assert.equal(label.getAttribute("placeholder"), "etl_improved");
  assert.equal(field(living, "transform").localName, "input", "there is none to choose");
  assert.equal(field(living, "transform").getAttribute("list"), null);
  assert.deepEqual(options("dry_run"), ["Default: no", "yes", "no"]);
  await choose(living, field(living, "dry_run"), "true");
  await choose(living, field(living, "pool"), "");
  assert.match(
    textOf(living.at(".equivalent").outerHTML),
    /\{"suite":"gone","dry_run":true\}|\{"dry_run":true,"suite":"gone"\}/,
  );
  assert.equal(field(living, "batch_size").getAttribute("inputmode"), "numeric");
  assert.equal(field(living, "min_acceptance_ratio").getAttribute("inputmode"), "decimal");
  assert.match(textOf(living.at("#field-chunk_size-help").outerHTML), /1 to 1,000,000$/);
  // what is not given has no value to fall back to
  await sourceOf(living, "file");
  assert.equal(options("source.format")[0], "Not given");
  assert.equal(field(living, "source.path").getAttribute("aria-required"), "true");
  assert.match(textOf(living.at("label[for=field-source-path]").outerHTML), /required/);
});

Deno.test("how a file is read is folded away until something of it is given or wrong", async () => {
  const fold = (living: Living) =>
    living.all((node) => node.localName === "details").find((node) =>
      node.textContent.startsWith("How it is read")
    )!;
  using living = await form({
    conf: { source: { type: "file", path: "a.csv" } },
    answers: { [RUNS]: refused("No.", [{ field: "source.encoding", message: "is unknown" }]) },
  });
  assert.equal(fold(living).hasAttribute("open"), false);
  assert.ok(fold(living).contains(field(living, "source.delimiter")));
  assert.ok(!fold(living).contains(field(living, "source.path")));
  assert.ok(!fold(living).contains(field(living, "source.key")));
  await submit(living);
  assert.equal(fold(living).hasAttribute("open"), true);
  using given = await form({ conf: { source: { type: "file", path: "a.csv", delimiter: ";" } } });
  assert.equal(fold(given).hasAttribute("open"), true);
});

Deno.test("an event type that comes from a field is checked against the columns, a fixed one is not", async () => {
  for (
    const [event_type, error] of [["sale", false], [{ field: "no" }, true], [
      { field: "id" },
      false,
    ]]
  ) {
    using living = await form({
      conf: { source: { type: "file", path: "a.csv", event_type } },
      answers: { [PREVIEW]: preview() },
    });
    await press(living, "Show the columns");
    assert.equal(
      living.at("#field-source-event_type-error") !== null,
      error,
      JSON.stringify(event_type),
    );
  }
});

Deno.test("the same request is shown for curl, the command line and SQL, by keys as well", async () => {
  using living = await form({ conf: { run_label: "it's" } });
  const tab = () => living.every("[role=tab][aria-selected=true]").map((each) => each.id).join();
  const text = () => living.at("#equivalent-panel").textContent;
  const arrow = (key: string) => living.on(living.at(`#${tab()}`), "keydown", { key });
  assert.equal(tab(), "tab-curl");
  assert.match(text(), /^curl -X POST http:\/\/here\/api\/etl\/run/);
  await arrow("ArrowRight");
  assert.equal(tab(), "tab-cli");
  assert.equal(living.focused(living.at("#tab-cli")), 1);
  assert.match(text(), /^deno task etl run --server http:\/\/here/);
  await living.click("button", "SQL");
  assert.equal(tab(), "tab-sql");
  assert.match(text(), /'\{"run_label":"it''s"\}'::jsonb/);
  await arrow("ArrowRight");
  assert.equal(tab(), "tab-curl");
  await arrow("ArrowLeft");
  assert.equal(tab(), "tab-sql");
  await arrow("x");
  assert.equal(tab(), "tab-sql");
  assert.deepEqual(
    living.every("[role=tab]").map((each) => each.getAttribute("tabindex")),
    ["-1", "-1", "0"],
  );
});
