import assert from "node:assert/strict";
import { EXIT } from "../../scripts/cli/exit_codes.ts";
import { answering } from "../helpers/cli.ts";

const nightly = {
  ...{ name: "nightly", description: "all orders", cron: "30 2 * * *", time_zone: "Europe/Madrid" },
  ...{ cron_words: "every day at 02:30", missed: "last", grace_seconds: 120, overlap: "skip" },
  ...{ conf: { batch_size: 7 }, configuration: null, active: true, paused: false },
  ...{ paused_until: null, problem: null, next_slot_local: "2027-03-28T03:00:00+02:00" },
  last_slot: null,
};
const slot = (local: string, more: object = {}) => ({
  ...{ slot: local, local, state: "requested", run_id: null, run_state: null, note: null },
  ...{ problem: null, ...more },
});
const trimmed = (out: string) => out.split("\n").map((line) => line.trimEnd());

Deno.test("etl schedule list reads every page and says when each is due next, or why not", async () => {
  const named = (name: string, more: object) => ({ ...nightly, name, ...more });
  const first = [
    nightly,
    named("off", { active: false, last_slot: { state: "missed", run_state: null } }),
    named("odd", {
      problem: "no such zone",
      last_slot: { state: "requested", run_state: "failed" },
    }),
  ];
  const second = [
    named("young", { next_slot_local: null, time_zone: "UTC" }),
    named("resting", { paused: true, next_slot_local: "2027-01-07T00:00:00Z" }),
  ];
  await using cli = answering({
    "/api/schedules": ({ query }: { query: Record<string, string> }) =>
      Response.json(
        query.cursor === undefined ? { items: first, next: "abc" } : { items: second, next: null },
      ),
  });
  const { code, out } = await cli.etl("schedule", "list");
  assert.equal(code, EXIT.succeeded);
  assert.deepEqual(trimmed(out), [
    "SCHEDULE  DUE                 ZONE           NEXT                                     LAST",
    "nightly   every day at 02:30  Europe/Madrid  2027-03-28 03:00 +02:00",
    "off       every day at 02:30  Europe/Madrid  paused                                   missed",
    "odd       every day at 02:30  Europe/Madrid  cannot be computed                       failed",
    "young     every day at 02:30  UTC            not computed yet",
    "resting   every day at 02:30  Europe/Madrid  2027-01-07 00:00 UTC, paused until then",
  ]);
  assert.deepEqual(cli.asked.map(({ query }) => query), [
    { limit: "500" },
    { limit: "500", cursor: "abc" },
  ]);
  assert.equal((await cli.etl("schedule", "list", "--json")).json().length, 5);
});

Deno.test("etl schedule show tells what becomes of missed slots and of overlaps, and of the last slots why there is no run", async () => {
  let found: object = nightly;
  const past = [
    slot("2027-03-27T02:30:00+01:00", { run_id: "r1", run_state: "succeeded" }),
    slot("2027-03-26T02:30:00+01:00", { state: "skipped", note: "another one ran" }),
    slot("2027-03-25T02:30:00+01:00", { state: "failed", problem: { detail: "no such pool" } }),
  ];
  let slots: object = { ahead: [slot("2027-03-28T03:00:00+02:00")], past };
  await using cli = answering({
    "/api/schedules/nightly": () => Response.json(found),
    "/api/schedules/nightly/slots": () => Response.json(slots),
  });
  const shown = async (...args: string[]) =>
    trimmed((await cli.etl("schedule", "show", "nightly", ...args)).out);
  assert.deepEqual(await shown("--count", "9"), [
    "",
    "  Schedule nightly",
    "    about     all orders",
    "    due       every day at 02:30 (30 2 * * *), Europe/Madrid",
    "    next      2027-03-28 03:00 +02:00",
    '    conf      {"batch_size":7}',
    "    grace     120 s; only the newest of the slots that were missed is run",
    "    overlap   skip: no run is made while another of its label goes on",
    "",
    "  Next slots",
    "    2027-03-28 03:00 +02:00",
    "",
    "  Last slots",
    "    2027-03-27 02:30 +01:00  succeeded  r1",
    "    2027-03-26 02:30 +01:00  skipped    another one ran",
    "    2027-03-25 02:30 +01:00  failed     no such pool",
    "",
  ]);
  assert.equal(cli.asked.at(-1)!.query.limit, "9");
  found = {
    ...nightly,
    problem: "no such zone",
    missed: "none",
    overlap: "cancel",
    description: null,
  };
  slots = { ahead: [], past: [] };
  assert.deepEqual(await shown(), [
    "",
    "  Schedule nightly",
    "    due       every day at 02:30 (30 2 * * *), Europe/Madrid",
    "    next      cannot be computed",
    "    problem   no such zone",
    '    conf      {"batch_size":7}',
    "    grace     120 s; missed slots are not run",
    "    overlap   cancel: a run takes the place of another of its label",
    "",
  ]);
  const { json } = await cli.etl("schedule", "show", "nightly", "--json");
  assert.deepEqual(json(), { ...found, ...slots });
  assert.equal((await cli.etl("schedule", "show", "nightly", "--count", "101")).code, EXIT.usage);
});

Deno.test("etl schedule set changes what is given, keeps the rest, and makes none without a cron", async () => {
  let there: object | undefined = nightly;
  let stored: object = nightly;
  await using cli = answering({
    "/api/schedules/nightly": ({ method }: { method: string }) =>
      method === "PUT"
        ? Response.json(stored)
        : there === undefined
        ? Response.json({ type: "/api/problems/not-found", detail: "none" }, { status: 404 })
        : Response.json(there),
  });
  const set = async (...args: string[]) => await cli.etl("schedule", "set", "nightly", ...args);
  const sent = () => cli.asked.at(-1)!.body;
  const rest = {
    ...{ description: "all orders", cron: "30 2 * * *", time_zone: "Europe/Madrid" },
    ...{ missed: "last", grace_seconds: 120, overlap: "skip" },
  };
  const changed = await set("--set", "batch_size=9", "--configuration", "saved", "--grace", "0");
  assert.deepEqual(sent(), {
    ...{ conf: { batch_size: 9, configuration: "saved" }, ...rest, grace_seconds: 0 },
  });
  assert.deepEqual(changed.out.split("\n"), [
    "Schedule nightly is changed: every day at 02:30.",
    "Its next slot is 2027-03-28 03:00 +02:00 (Europe/Madrid).",
  ]);
  await set("--conf", '{"pool": "x"}', "--cron", "@daily", "--time-zone", "UTC", "--missed", "all");
  assert.deepEqual(sent(), {
    ...{ conf: { pool: "x" }, ...rest, cron: "@daily", time_zone: "UTC", missed: "all" },
  });
  await set("--source", '{"type": "synthetic"}', "--overlap", "queue", "--description", "d");
  assert.deepEqual(sent(), {
    ...{ conf: { batch_size: 7, source: { type: "synthetic" } }, ...rest },
    ...{ overlap: "queue", description: "d" },
  });
  stored = { ...nightly, next_slot_local: null, paused: true };
  assert.deepEqual((await set()).out.split("\n"), [
    "Schedule nightly is changed: every day at 02:30.",
    "It is paused: `etl schedule resume nightly` resumes it.",
  ]);
  there = undefined;
  stored = { ...nightly, next_slot_local: null };
  const none = await set("--set", "batch_size=9");
  assert.equal(none.code, EXIT.usage);
  assert.match(none.err, /there is no schedule nightly; to make it, say when: --cron/);
  const made = await set("--cron", "30 2 * * *");
  assert.equal(made.out, "Schedule nightly is made: every day at 02:30.");
  assert.deepEqual(sent(), { conf: {}, cron: "30 2 * * *" });
  for (const grace of ["-1", "86401", "1.5", "soon"]) {
    const wrong = await set("--cron", "@daily", `--grace=${grace}`);
    assert.equal(wrong.code, EXIT.usage, grace);
    assert.match(wrong.err, /--grace must be whole seconds from 0 to 86400/);
  }
});

Deno.test("etl schedule next, pause, resume and delete say what they did, in the schedule's zone", async () => {
  let now: object = nightly;
  let preview: object = {
    cron_words: "every day at 02:30",
    slots: [{ slot: "x", local: "2027-03-28T03:00:00+02:00" }],
  };
  await using cli = answering({
    "/api/schedules/nightly": () => Response.json(now),
    "/api/schedules/preview": () => Response.json(preview),
    "/api/schedules/nightly/pause": () => Response.json(now),
    "/api/schedules/nightly/resume": () => Response.json(now),
  });
  const next = await cli.etl("schedule", "next", "nightly", "--count", "3");
  assert.deepEqual([next.out, next.err], ["2027-03-28 03:00 +02:00", "every day at 02:30"]);
  assert.deepEqual(cli.asked.at(-1)!.body, {
    ...{ cron: "30 2 * * *", time_zone: "Europe/Madrid", count: 3 },
  });
  await cli.etl("schedule", "next", "nightly", "--time-zone", "Asia/Tokyo");
  assert.deepEqual(cli.asked.at(-1)!.body, {
    ...{ cron: "30 2 * * *", time_zone: "Asia/Tokyo", count: 5 },
  });
  const before = cli.asked.length;
  await cli.etl("schedule", "next", "--cron", "@hourly");
  assert.deepEqual(cli.asked.slice(before).map(({ body }) => body), [
    { cron: "@hourly", time_zone: "UTC", count: 5 },
  ]);
  preview = { cron_words: "never", slots: [] };
  now = { ...nightly, paused: true };
  assert.equal(
    (await cli.etl("schedule", "next", "nightly")).err,
    "never\nSchedule nightly is paused.",
  );
  assert.match((await cli.etl("schedule", "next")).err, /needs the name of a schedule, or --cron/);

  now = { ...nightly, paused_until: "2027-01-06T23:00:00.000Z" };
  const paused = await cli.etl("schedule", "pause", "nightly", "--until", "2027-01-07");
  assert.deepEqual(cli.asked.at(-1)!.body, { until: "2027-01-07" });
  assert.equal(
    paused.out,
    "Schedule nightly is paused until 2027-01-07 00:00 +01:00; its next slot is 2027-03-28 03:00 +02:00.",
  );
  now = { ...nightly, active: false };
  assert.equal(
    (await cli.etl("schedule", "pause", "nightly")).out,
    "Schedule nightly is paused. `etl schedule resume nightly` resumes it.",
  );
  assert.deepEqual(cli.asked.at(-1)!.body, {});
  now = { ...nightly, next_slot_local: null };
  assert.equal(
    (await cli.etl("schedule", "resume", "nightly")).out,
    "Schedule nightly goes on; its next slot is not known yet.",
  );
  const removed = await cli.etl("schedule", "delete", "nightly", "--json");
  assert.deepEqual(removed.json(), { name: "nightly", deleted: true });
  assert.equal(cli.asked.at(-1)!.method, "DELETE");
});

Deno.test("etl schedule import-original makes what is missing, and leaves what is there", async () => {
  const there = new Set<string>();
  const answer = ({ method, path }: { method: string; path: string }) => {
    if (method === "PUT") there.add(path);
    return there.has(path)
      ? Response.json({})
      : Response.json({ type: "/api/problems/not-found", detail: "none" }, { status: 404 });
  };
  await using cli = answering({
    "/api/configurations/etl_improved": answer,
    "/api/schedules/etl_improved": answer,
  });
  const puts = () => cli.asked.filter(({ method }) => method === "PUT");
  there.add("/api/configurations/etl_improved");
  const first = await cli.etl("schedule", "import-original");
  assert.match(
    first.out,
    /^Made: schedule etl_improved\. The schedule is off: `etl schedule resume/,
  );
  assert.deepEqual(puts().map(({ path }) => path), ["/api/schedules/etl_improved"]);
  assert.deepEqual(puts()[0]!.body, {
    ...{ cron: "@daily", time_zone: "UTC", configuration: "etl_improved", overlap: "queue" },
    ...{ missed: "none", active: false, description: "the DAG etl_improved of the original" },
  });
  const again = await cli.etl("schedule", "import-original");
  assert.equal(again.out, "Configuration and schedule etl_improved are there already.");
  there.clear();
  assert.deepEqual((await cli.etl("schedule", "import-original", "--json")).json(), {
    made: ["configuration", "schedule"],
  });
  const { conf } = puts().at(-2)!.body as { conf: Record<string, unknown> };
  assert.deepEqual(conf.sla_seconds, { run: 2700, stages: { load: 900 } });
  assert.deepEqual(conf.timeout_seconds, {
    run: 2700,
    stages: {
      ...{ extract: 300, transform: 300, chunk: 180, validate: 180, ge_validate: 300 },
      ...{ load: 600, finalize: 180 },
    },
  });
});

Deno.test("etl backfill shows what would be run, waits for what is run, and ends as its runs did", async () => {
  const item = (local: string, more: object) => ({
    ...{ slot: local, local, action: "run", run_id: null, state_before: null, ...more },
  });
  const items = [
    item("2027-01-01T00:00:00Z", { run_id: "r1" }),
    item("2027-01-02T00:00:00Z", { run_id: "r2", state_before: "failed" }),
    item("2027-01-03T00:00:00Z", { action: "kept", run_id: "r0", state_before: "succeeded" }),
    item("2027-01-04T00:00:00Z", { action: "kept", state_before: "requested" }),
  ];
  let done: object = { schedule: "daily", preview: true, runs: 2, kept: 2, items };
  const ends: Record<string, string> = { r1: "succeeded", r2: "succeeded" };
  const events = (id: string) => () =>
    new Response(`id: 1\ndata: ${JSON.stringify({ run_id: id, state: ends[id] })}\n\n`, {
      headers: { "content-type": "text/event-stream" },
    });
  await using cli = answering({
    "/api/schedules/daily/backfill": () => Response.json(done),
    "/api/etl/runs/r1/events": events("r1"),
    "/api/etl/runs/r2/events": events("r2"),
  });
  const fill = async (...args: string[]) => {
    const { code, out } = await cli.etl("backfill", "daily", "--from", "2027-01-01", ...args);
    return [code, ...trimmed(out)];
  };
  assert.deepEqual(await fill("--preview", "--to", "2027-01-04", "--wait"), [
    EXIT.succeeded,
    "SLOT                  WHAT                   RUN",
    "2027-01-01 00:00 UTC  would be run           r1",
    "2027-01-02 00:00 UTC  would be run (failed)  r2",
    "2027-01-03 00:00 UTC  kept (succeeded)       r0",
    "2027-01-04 00:00 UTC  kept (done)",
    "",
    "2 slots would be run, 2 kept.",
  ]);
  assert.deepEqual(cli.asked.map(({ body }) => body), [
    { from: "2027-01-01", to: "2027-01-04", preview: true },
  ], "nothing is waited for");
  done = { ...done, preview: false };
  assert.deepEqual((await fill()).slice(2, 4), [
    "2027-01-01 00:00 UTC  asked for         r1",
    "2027-01-02 00:00 UTC  asked for         r2",
  ]);
  assert.deepEqual((await fill("--wait")).slice(-1), ["2 slots run, 2 kept."]);
  ends.r2 = "cancelled";
  const cancelled = await fill("--wait");
  assert.deepEqual([cancelled[0], cancelled[3], cancelled.at(-1)], [
    EXIT.cancelled,
    "2027-01-02 00:00 UTC  cancelled         r2",
    "2 slots run, 2 kept; 1 did not succeed.",
  ]);
  ends.r1 = "failed";
  assert.equal((await fill("--wait"))[0], EXIT.failed, "what failed counts more");
  const { json } = await cli.etl("backfill", "daily", "--from", "x", "--wait", "--json");
  assert.deepEqual(
    (json() as { items: { status: string | null }[] }).items.map(({ status }) => status),
    ["failed", "cancelled", null, null],
  );
  done = { schedule: "daily", preview: false, runs: 0, kept: 0, items: [] };
  assert.deepEqual(await fill(), [0, "Schedule daily has no slots in this time."]);
  const without = await cli.etl("backfill", "daily");
  assert.equal(without.code, EXIT.usage);
  assert.match(without.err, /needs --from/);
});
