import assert from "node:assert/strict";
import { ScheduleList, type ScheduleView, type SlotView } from "../../islands/schedules.tsx";
import { parseExact } from "../../vocabulary/exact_json.ts";
import { type Life, type Live, Living } from "../helpers/dom.ts";
import { attribute, element, elements, RUN, textOf, texts } from "../helpers/pages.ts";

const LIST = "GET /etl/data/schedules";
const NEXT = "2026-01-03T02:00:00Z";
/** A name that is not what it is in an address. */
const NAME = "a/b";
const at = (path: string, name = NAME) => `/api/schedules/${encodeURIComponent(name)}${path}`;

function schedule(changes: Partial<ScheduleView> = {}): ScheduleView {
  return {
    ...{ name: NAME, description: null, cron: "0 3 * * *", time_zone: "Europe/Madrid" },
    ...{ cron_words: "At 03:00", conf: { batch_size: 7 }, configuration: null },
    ...{ active: true, paused: false, paused_until: null, missed: "all", grace_seconds: 60 },
    ...{ overlap: "queue", next_slot: NEXT, last_slot: null, slots_until: null, problem: null },
    ...{ created_at: NEXT, updated_at: NEXT, updated_by: null },
    ...changes,
  } as ScheduleView;
}

interface More extends Life {
  draft?: string;
  configurations?: string[];
}

const page = (
  items: Partial<ScheduleView>[] = [{}],
  { draft, configurations = [], ...life }: More = {},
) =>
  Living.of(
    ScheduleList,
    { items: items.map(schedule), draft: draft ?? null, configurations },
    life,
  );

const refused = (detail: string, errors: unknown[] = []) => () =>
  Response.json({ detail, errors }, { status: 422 });
const listed = (...items: Partial<ScheduleView>[]) => ({ items: items.map(schedule) });

const button = (living: Living, label: string) =>
  living.all((node) =>
    node.localName === "button" &&
    (node.getAttribute("aria-label") ?? textOf(node.outerHTML)) === label
  ).at(-1)!;
const press = (living: Living, label: string) => living.on(button(living, label), "click");
const isOff = (living: Living, label: string) => button(living, label).hasAttribute("disabled");
/** A dialog's; null: none is open. */
const title = (living: Living) => living.at("dialog h2")?.textContent ?? null;
const submit = (living: Living) => living.on(living.at("dialog form"), "submit");
const choose = (living: Living, node: Live, value: string) => {
  node.value = value;
  return living.on(node, "change");
};
/** What is said above the list, or in a dialog. */
const notices = (living: Living, within = "main > .messages") =>
  living.every(`${within} .notice`).map((node) =>
    `${/is-(\w+)/.exec(node.className)![1]}: ${textOf(node.outerHTML)}`
  );
const rows = (living: Living) =>
  elements(element(living.html, "tbody"), "tr").map((row) => textOf(row));

Deno.test("a list says of each schedule when it is due, why not, and what became of the last time", async () => {
  const last = (more: object) =>
    ({
      last_slot: {
        slot: "2026-01-02T02:00:00Z",
        run_id: null,
        run_state: null,
        note: null,
        ...more,
      },
    }) as unknown as Partial<ScheduleView>;
  using living = await page([
    { name: "due", description: "Each night", ...last({ state: "missed" }) },
    {
      name: "until",
      paused: true,
      ...last({ state: "requested", run_id: RUN(1), run_state: "failed" }),
    },
    {
      name: "paused",
      paused: true,
      next_slot: null,
      ...last({ state: "requested", run_id: RUN(2) }),
    },
    { name: "none", next_slot: null },
    { name: "wrong", problem: "No such zone.", next_slot: NEXT },
  ], { zone: "UTC" });
  const when = "At 03:00 0 3 * * * · Europe/Madrid";
  assert.deepEqual(rows(living), [
    `due Each night ${when} in 14 hr 03 Jan, 02:00 Missed 02 Jan, 02:00`,
    `until ${when} in 14 hr paused · 03 Jan, 02:00 Failed 02 Jan, 02:00`,
    `paused ${when} paused Requested 02 Jan, 02:00`,
    `none ${when} – –`,
    `wrong ${when} No such zone. –`,
  ]);
  assert.deepEqual(
    living.every("tbody a").map((link) => link.getAttribute("href")),
    [`/etl/runs/${RUN(1)}`],
  );
  assert.equal(attribute(element(living.html, "tr", 'id="row-due"'), "id"), "row-due");
  assert.deepEqual(living.every("tbody .state").map((node) => node.className), [
    "state is-cancelled",
    "state is-failed",
    "state is-queued",
  ]);
  using empty = await page([]);
  assert.match(textOf(empty.html), /No schedule yet/);
});

Deno.test("each role may use its own controls of a schedule, and is told why not the others", async () => {
  const all = ["Run", "Pause", "Slots", "Change", "Remove", "New"];
  const reason = (role: string) => `This needs the role ${role}.`;
  for (
    const [role, off, said] of [
      ["viewer", ["Run", "Pause", "Change", "Remove", "New"], reason("admin")],
      ["operator", ["Change", "Remove", "New"], reason("admin")],
      ["admin", [], undefined],
    ] as const
  ) {
    using living = await page([{ name: "s" }], { role });
    const of = (what: string) =>
      living.all((node) => node.localName === "button").find((node) =>
        (node.getAttribute("aria-label") ?? textOf(node.outerHTML)).startsWith(what)
      )!;
    const is = all.filter((what) => of(what).hasAttribute("disabled"));
    assert.deepEqual(is, off, role);
    assert.equal(of("New").getAttribute("title") ?? undefined, said);
    assert.equal(
      textOf(element(living.html, "p", "lead")).includes(said ?? "needs the role"),
      role !== "admin",
    );
    if (role === "viewer") assert.equal(of("Run").getAttribute("title"), reason("operator"));
  }
  // what is off altogether can be resumed as what is paused
  using off = await page([{ name: "s", active: false }]);
  assert.ok(button(off, "Resume s"));
  assert.ok(button(off, "Pause s") === undefined);
});

Deno.test("a schedule is run, resumed and removed, and the list tells what became of it", async () => {
  const run = Promise.withResolvers();
  using living = await page([{ paused: true }], {
    answers: {
      [`POST ${at("/run")}`]: () => run.promise,
      [`POST ${at("/resume")}`]: {},
      [`DELETE ${at("")}`]: new Response(null, { status: 204 }),
      [LIST]: listed({}),
    },
  });
  await press(living, `Run ${NAME} now`);
  for (const each of [`Run ${NAME} now`, `Slots of ${NAME}`, `Resume ${NAME}`]) {
    assert.ok(isOff(living, each), `${each} waits`);
  }
  await living.do(() => run.resolve({ run_id: RUN(7) }));
  assert.deepEqual(living.went, [`/etl/runs/${RUN(7)}`]);
  assert.deepEqual(notices(living), []);
  assert.ok(!isOff(living, `Slots of ${NAME}`));
  await press(living, `Resume ${NAME}`);
  assert.deepEqual(notices(living), [`good: ${NAME} continues with its next slot.`]);
  assert.ok(button(living, `Pause ${NAME}`), "the list was looked up again");
  await press(living, `Remove ${NAME}`);
  assert.equal(title(living), `Remove ${NAME}?`);
  await press(living, "Keep it");
  assert.equal(title(living), null);
  assert.deepEqual(living.asked, [`POST ${at("/run")}`, `POST ${at("/resume")}`, LIST]);
  await press(living, `Remove ${NAME}`);
  living.answers[LIST] = listed();
  await press(living, "Remove");
  assert.equal(title(living), null);
  assert.deepEqual(notices(living), [`good: ${NAME} is removed.`]);
  assert.match(textOf(living.html), /No schedule yet/);
  assert.deepEqual(living.asked.slice(3), [`DELETE ${at("")}`, LIST]);
});

Deno.test("what cannot be done with a schedule is said, until something else is", async () => {
  using living = await page([{ paused: true }], {
    answers: { [`POST ${at("/resume")}`]: {}, [LIST]: listed({}) },
  });
  await press(living, `Run ${NAME} now`);
  assert.deepEqual(notices(living), [`problem: no POST ${at("/run")}`]);
  assert.deepEqual(living.went, []);
  assert.ok(!isOff(living, `Run ${NAME} now`));
  await press(living, `Remove ${NAME}`);
  await press(living, "Remove");
  assert.deepEqual(notices(living), [`problem: no DELETE ${at("")}`]);
  living.answers[`POST ${at("/run")}`] = { run_id: RUN(7) };
  await press(living, `Run ${NAME} now`);
  assert.deepEqual(notices(living), []);
  living.answers[LIST] = refused("The list is away.");
  await press(living, `Resume ${NAME}`);
  assert.deepEqual(notices(living), ["problem: The list is away."]);
});

Deno.test("a list that is looked at moves on by itself, says nothing of a dead server, and stops with its page", async () => {
  const late = Promise.withResolvers();
  const living = await page([{ name: "old" }], { answers: { [LIST]: () => late.promise } });
  {
    using _ = living;
    await living.tick();
    living.answers[LIST] = listed({ name: "new", next_slot: null });
    await living.tick();
    assert.match(rows(living)[0]!, /^new /);
    await living.do(() => late.resolve(listed({ name: "late" })));
    assert.match(
      rows(living)[0]!,
      /^new /,
      "an older answer does not take the place of a newer one",
    );
    delete living.answers[LIST];
    await living.tick();
    assert.deepEqual([notices(living), living.asked.length], [[], 3]);
    living.hidden = true;
    await living.tick();
    assert.equal(living.asked.length, 3);
    assert.equal(living.ticking, 1);
  }
  assert.equal(living.ticking, 0);
});

const PREVIEW = "POST /api/schedules/preview";
const upcoming = (cron_words: string, ...local: string[]) => ({
  cron_words,
  slots: local.map((each) => ({ slot: new Date(each.slice(0, 25)).toISOString(), local: each })),
});
const input = (living: Living, name: string) => living.at(`#schedule-${name}`);
const value = (living: Living, name: string) => input(living, name).value;
const write = async (living: Living, texts: Record<string, string>) => {
  for (const [name, text] of Object.entries(texts)) await living.type(input(living, name), text);
};

Deno.test("a new schedule begins with what fits most, and is sent as it was written", async () => {
  const digits = "12345678901234567890";
  const exact = JSON.stringify(listed({ conf: { id: digits } })).replace(`"${digits}"`, digits);
  using living = await page([], {
    zone: "Asia/Tokyo",
    answers: { [`PUT ${at("")}`]: {}, [LIST]: () => new Response(exact) },
  });
  await press(living, "New schedule");
  assert.equal(title(living), "New schedule");
  const names = ["name", "description", "cron", "time_zone", "missed", "grace_seconds", "overlap"];
  assert.deepEqual(names.map((name) => value(living, name)), [
    ...["", "", "0 6 * * *", "Asia/Tokyo", "last", "120", "skip"],
  ]);
  assert.ok(living.every("#time-zones option").some((each) => each.value === "Europe/Madrid"));
  assert.ok(living.at("#schedule-configuration") === null, "there is none to choose");
  assert.ok(isOff(living, "Save"), "without a name");
  await write(living, { name: NAME, description: "  ", grace_seconds: " 90 " });
  await write(living, { cron: "@daily", time_zone: "UTC", conf: '{"id": 12345678901234567890}' });
  await living.type(input(living, "missed"), "none");
  await living.type(input(living, "overlap"), "cancel");
  assert.ok(!isOff(living, "Save"));
  const saved = Promise.withResolvers();
  living.answers[`PUT ${at("")}`] = () => saved.promise;
  await submit(living);
  assert.ok(isOff(living, "Save"), "while it is saved");
  assert.equal(title(living), "New schedule");
  await living.do(() => saved.resolve({}));
  assert.equal(
    JSON.stringify(living.sent.at(-1)),
    '{"cron":"@daily","time_zone":"UTC","missed":"none","overlap":"cancel","description":null,' +
      '"conf":{"id":12345678901234567890},"grace_seconds":90}',
  );
  assert.deepEqual(living.onlyNew, [`PUT ${at("")}`], "a new one replaces none that is there");
  assert.equal(title(living), null);
  assert.deepEqual(notices(living), [`good: ${NAME} is saved.`]);
  assert.equal(rows(living).length, 1);
  // no digit of what was looked up again is lost
  await press(living, `Change ${NAME}`);
  assert.match(value(living, "conf"), /"id": 12345678901234567890\n/);
});

Deno.test("a schedule is changed from what it is", async () => {
  using living = await page([{ description: "Each night", conf: { batch_size: 7 } }], {
    answers: { [`PUT ${at("")}`]: {}, [LIST]: listed({}) },
  });
  await press(living, `Change ${NAME}`);
  assert.equal(title(living), `Change ${NAME}`);
  assert.ok(input(living, "name") === null, "its name stays");
  await write(living, { grace_seconds: "soon" });
  await submit(living);
  assert.deepEqual(living.sent, [{
    ...{ cron: "0 3 * * *", time_zone: "Europe/Madrid", missed: "all", overlap: "queue" },
    ...{ description: "Each night", conf: { batch_size: 7 } },
    // the server explains it
    grace_seconds: "soon",
  }]);
  assert.deepEqual(living.onlyNew, []);
});

Deno.test("what is wrong with a schedule is said at its fields, and gone when it is sent again", async () => {
  const wrong = [
    { field: "cron", message: "has 5 parts", expected: "minute hour day month weekday" },
    { field: "conf.batch_sise", message: "is unknown" },
    { field: "conf", message: "is too long" },
    { field: "confident", message: "is of no field" },
  ];
  using living = await page([{}], {
    answers: { [`PUT ${at("")}`]: refused("2 values are wrong.", wrong) },
  });
  await press(living, `Change ${NAME}`);
  await submit(living);
  const errors = () => living.every("dialog .field-error").map((node) => textOf(node.outerHTML));
  assert.deepEqual(errors(), [
    "cron has 5 parts: minute hour day month weekday",
    "conf.batch_sise is unknown; conf is too long",
  ]);
  assert.deepEqual(living.every("dialog [aria-invalid=true]").map(({ id }) => id), [
    "schedule-cron",
    "schedule-conf",
  ]);
  assert.match(textOf(living.at("dialog [role=alert]").outerHTML), /2 values are wrong/);
  assert.ok(!isOff(living, "Save"));
  await write(living, { conf: '{"batch_size": ' });
  await submit(living);
  assert.deepEqual(errors(), []);
  assert.match(textOf(living.at("dialog [role=alert]").outerHTML), /This is not JSON: /);
  assert.equal(living.asked.length, 1);
  assert.ok(living.at("dialog details").open, "what is wrong is in view");
  const held = Promise.withResolvers();
  living.answers[`PUT ${at("")}`] = () => held.promise;
  await write(living, { conf: "{}" });
  await submit(living);
  assert.ok(living.at("dialog [role=alert]") === null);
  assert.match(textOf(living.at("dialog").outerHTML), /default/i);
  await living.do(() => held.resolve(refused("It is away.")()));
  assert.match(textOf(living.at("dialog [role=alert]").outerHTML), /It is away/);
});

Deno.test("when a schedule will be due is said while it is typed, of what was typed last", async () => {
  const local = "2027-03-28T03:00:00+02:00[Europe/Madrid]";
  const late = Promise.withResolvers();
  using living = await page([], {
    lang: "es",
    now: "2027-03-27T01:00:00Z",
    answers: { [PREVIEW]: () => late.promise },
  });
  const said = () => texts(living.at(".next-slots").outerHTML);
  await press(living, "Nueva programación");
  assert.deepEqual(living.asked, [], "nobody is asked at each key");
  await living.pass();
  assert.deepEqual(living.sent, [{ cron: "0 6 * * *", time_zone: "UTC", count: 5 }]);
  assert.equal(living.heads[0]!.get("accept-language"), "es");
  await write(living, { cron: "@da", time_zone: "Europe/Madrid" });
  await write(living, { cron: "@daily" });
  living.answers[PREVIEW] = upcoming("Cada día", local, "2027-03-29T03:00:00Z");
  await living.pass();
  assert.equal(living.asked.length, 2);
  assert.deepEqual(living.sent[1], { cron: "@daily", time_zone: "Europe/Madrid", count: 5 });
  assert.deepEqual(
    [0, 1, 3].map((n) => said()[n]),
    ["Cada día", "2027-03-28 03:00 +02:00", "2027-03-29 03:00 Z"],
  );
  await living.do(() => late.resolve(upcoming("Tarde")));
  assert.equal(said()[0], "Cada día");
  delete living.answers[PREVIEW];
  await write(living, { cron: "x" });
  await living.pass();
  assert.deepEqual(said(), [`no ${PREVIEW}`]);
  living.answers[PREVIEW] = upcoming("Cada hora");
  await write(living, { time_zone: "UTC" });
  await living.pass();
  assert.deepEqual(said(), ["Cada hora"]);
  // a failure that comes late says nothing either
  const failing = Promise.withResolvers();
  living.answers[PREVIEW] = () => failing.promise;
  await write(living, { cron: "y" });
  await living.pass();
  living.answers[PREVIEW] = upcoming("Cada mes");
  await write(living, { cron: "@monthly" });
  await living.pass();
  await living.do(() => failing.resolve(refused("Tarde")()));
  assert.deepEqual(said(), ["Cada mes"]);
});

Deno.test("a schedule runs a saved configuration, or values of its own that come back", async () => {
  using living = await page([{ conf: { configuration: "gone" } }], {
    configurations: ["small", "large"],
    answers: { [`PUT ${at("")}`]: {}, [LIST]: listed({}) },
  });
  await press(living, `Change ${NAME}`);
  const list = living.at("#schedule-configuration");
  assert.deepEqual([...list.querySelectorAll("option")].map((each) => each.textContent), [
    ...["values of its own", "small", "large", "gone"],
  ]);
  assert.equal(list.value, "gone");
  assert.ok(input(living, "conf") === null);
  await choose(living, list, "");
  assert.equal(value(living, "conf"), '{\n  "batch_size": 1000\n}');
  await write(living, { conf: '{"batch_size": 2}' });
  await choose(living, list, "small");
  assert.ok(input(living, "conf") === null);
  await choose(living, list, "large");
  await choose(living, list, "");
  assert.equal(value(living, "conf"), '{"batch_size": 2}');
  await choose(living, list, "large");
  await submit(living);
  assert.deepEqual((living.sent.at(-1) as ScheduleView).conf, { configuration: "large" });
  // what cannot be chosen is there to be written
  using none = await page([{ conf: { configuration: "gone" } }]);
  await press(none, `Change ${NAME}`);
  assert.match(value(none, "conf"), /"gone"/);
  // what overrides a configuration is more than its name
  using other = await page([{ conf: { configuration: "small", batch_size: 1 } }], {
    configurations: ["small"],
  });
  await press(other, `Change ${NAME}`);
  assert.equal(other.at("#schedule-configuration").value, "");
  assert.deepEqual(textOf(element(other.html, "dl")), "configuration small batch_size 1");
});

Deno.test("what a schedule runs is shown by its values, and said where it has none", async () => {
  using living = await page([{ conf: { n: 5, source: { path: "a.csv", type: "file" } } }]);
  await press(living, `Change ${NAME}`);
  assert.equal(textOf(element(living.html, "dl")), "source.type file source.path a.csv n 5");
  assert.equal(living.at("dialog details").open, false);
  await write(living, { conf: "{}" });
  assert.match(textOf(living.at(".field[role=group]").outerHTML), /defaults/);
});

Deno.test("what a schedule runs is chosen in the form, with the dialog as it was", async () => {
  using living = await page([{ conf: { batch_size: 7 } }]);
  await press(living, `Change ${NAME}`);
  await write(living, { cron: "@daily", conf: "[1]" });
  await press(living, "Choose in the form");
  assert.match(textOf(living.at("dialog [role=alert]").outerHTML), /not a JSON object/);
  assert.deepEqual([living.went, living.kept("etl_schedule")], [[], null]);
  await write(living, { conf: '{"batch_size": 8}' });
  await press(living, "Choose in the form");
  assert.deepEqual(living.went, [`/etl/new?schedule=${encodeURIComponent(NAME)}`]);
  assert.equal(location.href, "http://here/etl#draft", "Back leads here");
  const kept = living.kept("etl_schedule") as Record<string, Record<string, string>>;
  assert.deepEqual([kept.schedule, kept.conf, kept.texts!.cron], [
    NAME,
    { batch_size: 8 },
    "@daily",
  ]);
});

Deno.test("a dialog goes on where the form was opened, and begins as ever afterwards", async () => {
  const kept = (more: object) => ({
    etl_schedule: {
      conf: parseExact('{"batch_size": 12345678901234567890, "overlap": "cancel"}'),
      texts: { name: "new", cron: "@hourly", overlap: "skip" },
      ...more,
    },
  });
  const look = (living: Living) =>
    ["cron", "overlap", "conf"].map((name) => value(living, name).replace(/\s/g, ""));
  using living = await page([{}], { hash: "#draft", kept: kept({ schedule: NAME }) });
  assert.equal(title(living), `Change ${NAME}`);
  assert.deepEqual(look(living), ["@hourly", "cancel", '{"batch_size":12345678901234567890}']);
  assert.equal(living.kept("etl_schedule"), null, "once");
  await press(living, "Close");
  await press(living, `Change ${NAME}`);
  assert.deepEqual(look(living), ["03***", "queue", '{"batch_size":7}']);
  // a new one
  using fresh = await page([{}], { hash: "#draft", kept: kept({}) });
  assert.deepEqual([title(fresh), value(fresh, "name")], ["New schedule", "new"]);
  // nobody comes from the form
  using other = await page([{}], { kept: kept({}) });
  assert.equal(title(other), null);
  // who may not make one is not asked to
  for (const role of ["viewer", "operator", "admin"] as const) {
    using run = await page([{}], { role, draft: '{"run_label": "x", "overlap": "queue"}' });
    assert.equal(title(run), role === "admin" ? "New schedule" : null);
    if (role !== "admin") continue;
    assert.deepEqual(look(run), ["06***", "queue", '{"run_label":"x"}']);
    await press(run, "Close");
    await press(run, "New schedule");
    assert.deepEqual(look(run), ["06***", "skip", '{"batch_size":1000}']);
  }
});

Deno.test("a schedule is paused until a time of its zone, or without an end", async () => {
  const paused = `POST ${at("/pause")}`;
  const held = Promise.withResolvers();
  using living = await page([{}], {
    answers: { [LIST]: listed({ paused: true, next_slot: null }) },
  });
  await press(living, `Pause ${NAME}`);
  assert.equal(title(living), `Pause ${NAME}?`);
  assert.match(textOf(living.at("#pause-until-help").outerHTML), /Europe\/Madrid/);
  await living.type(living.at("#pause-until"), "2020-01-01T00:00");
  await submit(living);
  assert.deepEqual(notices(living, "dialog"), [`problem: no ${paused}`]);
  assert.ok(!isOff(living, "Pause"));
  await living.type(living.at("#pause-until"), "");
  living.answers[paused] = () => held.promise;
  await submit(living);
  assert.ok(isOff(living, "Pause"));
  await living.do(() => held.resolve({}));
  assert.deepEqual(living.sent, [{ until: "2020-01-01T00:00" }, {}]);
  assert.equal(title(living), null);
  assert.deepEqual(notices(living), [`good: ${NAME} is paused.`]);
  assert.ok(button(living, `Resume ${NAME}`));
  using closed = await page();
  await press(closed, `Pause ${NAME}`);
  await press(closed, "Close");
  assert.deepEqual([title(closed), closed.asked], [null, []]);
});

const SLOTS = `GET ${at("/slots?limit=20")}`;
const slot = (n: number, changes: Partial<SlotView> = {}): SlotView => ({
  slot: `2026-01-0${n}T02:00:00Z`,
  local: `2026-01-0${n}T03:00:00+01:00[Europe/Madrid]`,
  ...{
    state: "pending",
    run_id: null,
    run_state: null,
    blocked_by: null,
    note: null,
    problem: null,
  },
  ...changes,
} as SlotView);
const shown = (living: Living) => living.every(".slot-rows li").map((row) => textOf(row.outerHTML));

Deno.test("slots say what became of them and why; older ones follow", async () => {
  const blocked = slot(1, { state: "skipped", blocked_by: RUN(3), note: "a run is going on" });
  const older = `${SLOTS}&cursor=a%26b`;
  using living = await page([{}], {
    role: "viewer",
    answers: {
      [SLOTS]: {
        ahead: [3, 4, 5, 6, 7, 8].map((n) => slot(n)),
        past: [
          slot(2, { state: "failed", note: "a note", problem: { detail: "no such pool" } }),
          slot(2, {
            slot: "2026-01-01T23:00:00Z",
            local: "x",
            state: "requested",
            run_id: RUN(1),
            run_state: "succeeded",
          }),
        ],
        next: "a&b",
      },
      [older]: { ahead: [], past: [blocked], next: null },
    },
  });
  await press(living, `Slots of ${NAME}`);
  assert.equal(title(living), `Slots of ${NAME}`);
  assert.equal(shown(living).length, 5 + 2, "the next five");
  assert.equal(shown(living)[0], "2026-01-03 03:00 +01:00 in 14 hr");
  assert.equal(shown(living)[5], "2026-01-02 03:00 +01:00 10 hr ago Refused no such pool");
  assert.match(shown(living)[6]!, /^x .*Succeeded$/);
  assert.equal(living.at(".slot-rows a").getAttribute("href"), `/etl/runs/${RUN(1)}`);
  await press(living, "Show older ones");
  assert.equal(living.asked[1], older);
  assert.deepEqual(shown(living).map((text) => /Refused|Succeeded|Skipped/.exec(text)?.[0]), [
    ...["Refused", "Succeeded", "Skipped"],
  ]);
  assert.equal(living.every(".slot-rows a").at(-1)!.getAttribute("href"), `/etl/runs/${RUN(3)}`);
  assert.ok(button(living, "Show older ones") === undefined);
  assert.match(textOf(living.html), /None yet: the schedule is paused/);
  await press(living, "Close");
  assert.equal(title(living), null);
});

Deno.test("slots that cannot be looked up say why, of the last look", async () => {
  const [first, second] = [Promise.withResolvers(), Promise.withResolvers()];
  const older = `${SLOTS}&cursor=c`;
  using living = await page([{}], { answers: { [SLOTS]: { ahead: [], past: [], next: "c" } } });
  await press(living, `Slots of ${NAME}`);
  assert.match(textOf(living.html), /It has not been due yet/);
  await press(living, "Show older ones");
  assert.deepEqual(notices(living, "dialog"), [`problem: no ${older}`]);
  living.answers[older] = () => first.promise;
  await press(living, "Show older ones");
  living.answers[older] = () => second.promise;
  await press(living, "Show older ones");
  await living.do(() =>
    second.resolve({ ahead: [], past: [slot(1, { state: "missed" })], next: null })
  );
  assert.deepEqual(notices(living, "dialog"), []);
  assert.equal(shown(living).length, 1);
  await living.do(() => first.resolve(refused("Too late.")()));
  assert.deepEqual(
    notices(living, "dialog"),
    [],
    "a failure of an older look is none of the newer one",
  );
  // what is asked for twice comes once
  const held = [Promise.withResolvers(), Promise.withResolvers()];
  using twice = await page([{}], { answers: { [SLOTS]: { ahead: [], past: [], next: "c" } } });
  await press(twice, `Slots of ${NAME}`);
  for (const { promise } of held) {
    twice.answers[older] = () => promise;
    await press(twice, "Show older ones");
  }
  const answer = { ahead: [], past: [slot(1, { state: "missed" })], next: null };
  await twice.do(() => held.forEach(({ resolve }) => resolve(answer)));
  assert.equal(shown(twice).length, 1);
});

const BACKFILL = `POST ${at("/backfill")}`;

Deno.test("past slots of a time are counted first, then run, and the slots looked up again", async () => {
  using living = await page([{}], {
    role: "operator",
    answers: {
      [SLOTS]: { ahead: [], past: [slot(1, { state: "missed" })], next: null },
      [BACKFILL]: { runs: 2, kept: 1 },
    },
  });
  await press(living, `Slots of ${NAME}`);
  const form = () => living.at("dialog form");
  const act = () => living.at("dialog form [type=submit]");
  const label = () => textOf(act().outerHTML);
  const said = () => notices(living, "dialog form");
  assert.match(textOf(form().outerHTML), /Europe\/Madrid/);
  await living.type(living.at("#backfill-from"), "2026-01-01T00:00");
  assert.equal(label(), "Count them");
  await living.on(form(), "submit");
  assert.deepEqual(said(), ["info: 2 slots would be run. 1 already has a run."]);
  assert.equal(label(), "Run 2 slots");
  // other times are counted first
  await living.type(living.at("#backfill-to"), "2026-01-02T00:00");
  assert.equal(label(), "Count them");
  assert.deepEqual(said(), []);
  await living.on(form(), "submit");
  const held = Promise.withResolvers();
  living.answers[BACKFILL] = () => held.promise;
  living.answers[SLOTS] = { ahead: [], past: [slot(1, { state: "requested" })], next: null };
  await living.on(form(), "submit");
  assert.ok(act().hasAttribute("disabled"));
  await living.do(() => held.resolve({ runs: 1, kept: 0 }));
  assert.ok(!act().hasAttribute("disabled"));
  assert.deepEqual(living.sent, [
    { from: "2026-01-01T00:00", preview: true },
    { from: "2026-01-01T00:00", to: "2026-01-02T00:00", preview: true },
    { from: "2026-01-01T00:00", to: "2026-01-02T00:00", preview: false },
  ]);
  assert.deepEqual(said(), ["good: 1 run is requested."]);
  assert.equal(label(), "Count them");
  assert.deepEqual(shown(living).map((text) => text.endsWith("Requested")), [true]);
  assert.deepEqual(living.asked.filter((each) => each === SLOTS).length, 2);
});

Deno.test("a count of past slots is of the times that are given now; none cannot be run", async () => {
  using living = await page([{}], {
    answers: { [SLOTS]: { ahead: [], past: [], next: null }, [BACKFILL]: { runs: 0, kept: 4 } },
  });
  await press(living, `Slots of ${NAME}`);
  const form = living.at("dialog form");
  const act = living.at("dialog form [type=submit]");
  const said = () => notices(living, "dialog form");
  await living.on(form, "submit");
  assert.deepEqual(said(), ["info: 0 slots would be run. 4 already have runs."]);
  assert.ok(act.hasAttribute("disabled"));
  for (const outcome of [{ runs: 9, kept: 9 }, refused("Too late.")]) {
    await living.type(living.at("#backfill-from"), "2026-01-01T00:00");
    const held = Promise.withResolvers();
    living.answers[BACKFILL] = () => held.promise;
    await living.on(form, "submit");
    assert.deepEqual(said(), []);
    await living.type(living.at("#backfill-from"), "2026-01-02T00:00");
    await living.do(() => held.resolve(typeof outcome === "function" ? outcome() : outcome));
    assert.deepEqual(said(), []);
    assert.equal(textOf(act.outerHTML), "Count them");
    assert.ok(!act.hasAttribute("disabled"));
  }
  // what was to be run and is refused is said, and counted again
  living.answers[BACKFILL] = { runs: 3, kept: 0 };
  await living.on(form, "submit");
  living.answers[BACKFILL] = refused("The queue is full.");
  await living.on(form, "submit");
  assert.deepEqual(said(), ["problem: The queue is full."]);
  assert.equal(textOf(act.outerHTML), "Count them");
  living.answers[BACKFILL] = { runs: 3, kept: 0 };
  await living.on(form, "submit");
  assert.deepEqual(said(), ["info: 3 slots would be run. 0 already have runs."]);
  using viewer = await page([{}], { role: "viewer" });
  await press(viewer, `Slots of ${NAME}`);
  const title = viewer.at("dialog form [type=submit]").getAttribute("title");
  assert.equal(title, "This needs the role operator.");
});
