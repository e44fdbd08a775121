import { localTime } from "../../../pipeline/schedules/cron.ts";
import type { ScheduleJson } from "../../../routes/schedule_body.ts";
import type { Submitted } from "../../../vocabulary/run_schema.ts";
import type { Terminal } from "../../terminal.ts";
import { type Api, find, post, request, sending } from "../api.ts";
import {
  type Action,
  type Call,
  type Command,
  printList,
  remove,
  runAction,
  wholeNumber,
} from "../command.ts";
import { applySetting, confText, readConf } from "../conf_input.ts";
import { EXIT, type ExitCode, UsageError } from "../exit_codes.ts";
import { followed, followRun } from "../run_follow.ts";
import { printable, table } from "../text.ts";

export const schedule: Command = {
  name: "schedule",
  summary: "schedules of runs: list, show, set, delete, pause, resume, run, next",
  description: `Schedules: a cron expression in a time zone, and the conf of its runs.

  etl schedule list            all of them, with their next slots
  etl schedule show NAME       one, with its next and last slots
  etl schedule set NAME        create or change one; only the given members change
  etl schedule pause NAME      create no runs until it is resumed, or until --until
  etl schedule resume NAME     continue with the next slot; missed ones are not caught up
  etl schedule run NAME        request a run with its conf now
  etl schedule next NAME       its next slots; with --cron, those of any expression
  etl schedule delete NAME     remove it; its runs stay
  etl schedule import-original create the original's configuration and schedule etl_improved, off

\`etl backfill\` runs past slots. docs/schedules.md explains missed slots and changes of
the clock. Slots become runs only while a server or pg_cron is running.`,
  arguments: [
    {
      name: "ACTION",
      help: "list, show, set, pause, resume, run, next, delete or import-original",
    },
    { name: "NAME", help: "the schedule", optional: true },
  ],
  options: {
    cron: {
      type: "string",
      value: "CRON",
      help: "set, next: minute hour day month weekday, or @hourly, @daily, @weekly, …",
    },
    "time-zone": { type: "string", value: "ZONE", help: "set, next: IANA name; default UTC" },
    conf: {
      type: "string",
      value: "JSON",
      help: "set: conf of its runs, replaces the current one; @FILE reads it from a file",
    },
    source: { type: "string", value: "JSON", help: "set: the source of the conf" },
    set: {
      type: "string",
      multiple: true,
      value: "NAME=VALUE",
      help: "set: one parameter of the conf",
    },
    configuration: { type: "string", value: "NAME", help: "set: saved configuration of its runs" },
    description: { type: "string", value: "TEXT", help: "set: what it is for" },
    missed: {
      type: "string",
      value: "POLICY",
      help: "set: which slots later than the grace run: last (default), all or none",
    },
    grace: {
      type: "string",
      value: "SECONDS",
      help: "set: how late a slot still counts as on time; default 120",
    },
    overlap: {
      type: "string",
      value: "HOW",
      help: "set: while a run of its label is in progress: skip (default), queue or cancel",
    },
    until: { type: "string", value: "TIME", help: "pause: a time, or a day of its zone" },
    count: { type: "string", value: "N", help: "next, show: how many slots, 1 to 100; default 5" },
    wait: { type: "boolean", help: "run: with a server, watch the run until it has ended" },
  },
  examples: [
    `etl schedule set nightly --cron "30 2 * * 1-5" --time-zone Europe/Madrid --conf @nightly.json`,
    "etl schedule set nightly --missed all --set batch_size=2000",
    "etl schedule next nightly",
    `etl schedule next --cron "0 */6 * * *" --time-zone America/New_York --count 8`,
    "etl schedule pause nightly --until 2027-01-07",
    "etl backfill nightly --from 2026-12-01 --to 2026-12-31",
  ],
  actions: () => Object.keys(ACTIONS),
  run: (call) => runAction("schedule", ACTIONS, call),
};

const needs = "the name of a schedule";
const ACTIONS: Record<string, Action> = {
  list: { run: list },
  show: { needs, run: show },
  set: { needs, run: setSchedule },
  pause: { needs, run: pause },
  resume: { needs, run: resume },
  run: { needs, run: runNow },
  next: { run: next },
  delete: { needs, run: removeSchedule },
  "import-original": { run: importOriginal },
};

/**
 * The DAG etl_improved as a configuration: an alert after 15 minutes of load, and the limits of its tasks,
 * of 45 minutes for a run.
 */
const ORIGINAL_CONF = {
  run_label: "etl_improved",
  sla_seconds: { run: 2_700, stages: { load: 900 } },
  timeout_seconds: {
    run: 2_700,
    stages: {
      extract: 300,
      transform: 300,
      chunk: 180,
      validate: 180,
      ge_validate: 300,
      load: 600,
      finalize: 180,
    },
  },
};
/** Its schedule: daily at midnight UTC, one run at a time, nothing caught up. */
const ORIGINAL_SCHEDULE = {
  cron: "@daily",
  time_zone: "UTC",
  configuration: "etl_improved",
  overlap: "queue",
  missed: "none",
  active: false,
  description: "the DAG etl_improved of the original",
};

/** Makes configuration and schedule of the original's DAG, switched off; what is there already stays as it is. */
async function importOriginal({ connect, flags, out }: Call): Promise<ExitCode> {
  const api = await connect();
  const made: string[] = [];
  for (
    const [what, path, body] of [
      ["configuration", "/api/configurations/etl_improved", {
        conf: ORIGINAL_CONF,
        description: ORIGINAL_SCHEDULE.description,
      }],
      ["schedule", pathOf("etl_improved"), ORIGINAL_SCHEDULE],
    ] as const
  ) {
    if (await find(api, path) !== null) continue;
    await request(api, path, sending("PUT", body));
    made.push(what);
  }
  if (flags.json) out.line(JSON.stringify({ made }));
  else {
    out.line(
      made.length === 0
        ? "Configuration and schedule etl_improved are there already."
        : `Made: ${made.map((what) => `${what} etl_improved`).join(", ")}. The schedule is off: ` +
          "`etl schedule resume etl_improved` switches it on.",
    );
  }
  return EXIT.succeeded;
}

const pathOf = (name: string) => `/api/schedules/${encodeURIComponent(name)}`;

async function list(call: Call): Promise<ExitCode> {
  const api = await call.connect();
  const items: ScheduleJson[] = [];
  let cursor = "";
  do {
    const page = await request<{ items: ScheduleJson[]; next: string | null }>(
      api,
      `/api/schedules?limit=500${cursor}`,
    );
    items.push(...page.items);
    cursor = page.next === null ? "" : `&cursor=${page.next}`;
  } while (cursor !== "");
  return printList(call, items, {
    none: "There are no schedules yet. `etl schedule set NAME --cron …` makes one.",
    columns: [
      ["SCHEDULE", ({ name }) => name, { maxWidth: 30 }],
      ["DUE", ({ cron_words }) => cron_words, { maxWidth: 44 }],
      ["ZONE", ({ time_zone }) => time_zone],
      ["NEXT", nextText],
      ["LAST", ({ last_slot: last }) => last?.run_state ?? last?.state ?? ""],
    ],
  });
}

async function show(call: Call, name: string): Promise<ExitCode> {
  const limit = countOf(call);
  const api = await call.connect();
  const found = await request<ScheduleJson>(api, pathOf(name));
  const slots = await slotsOf(api, name, limit);
  if (call.flags.json) call.out.line(JSON.stringify({ ...found, ...slots }));
  else for (const line of scheduleLines(call.out, found, slots)) call.out.line(line);
  return EXIT.succeeded;
}

async function slotsOf(api: Api, name: string, limit: number) {
  const { ahead, past } = await request<{ ahead: SlotJson[]; past: SlotJson[] }>(
    api,
    `${pathOf(name)}/slots?limit=${limit}`,
  );
  return { ahead, past };
}

async function next(call: Call, name?: string): Promise<ExitCode> {
  const { cron, "time-zone": zone } = call.text;
  if (name === undefined && cron === undefined) {
    throw new UsageError(`etl schedule next needs ${needs}, or --cron`);
  }
  const count = countOf(call);
  const api = await call.connect();
  const of = cron === undefined ? await request<ScheduleJson>(api, pathOf(name!)) : undefined;
  const preview = await post<{ cron_words: string; slots: { slot: string; local: string }[] }>(
    api,
    "/api/schedules/preview",
    { cron: cron ?? of!.cron, time_zone: zone ?? of?.time_zone ?? "UTC", count },
  );
  if (call.flags.json) call.out.line(JSON.stringify(preview));
  else {
    call.err.line(preview.cron_words);
    for (const { local } of preview.slots) call.out.line(localText(local));
    if (of?.paused) call.err.line(`Schedule ${name} is paused.`);
  }
  return EXIT.succeeded;
}

function countOf(call: Call): number {
  return wholeNumber(call, "count", { least: 1, most: 100, otherwise: 5 });
}

async function pause(call: Call, name: string): Promise<ExitCode> {
  const { until } = call.text;
  const body = until === undefined ? {} : { until };
  const now = await post<ScheduleJson>(await call.connect(), `${pathOf(name)}/pause`, body);
  if (call.flags.json) call.out.line(JSON.stringify(now));
  else if (now.active) {
    call.out.line(
      `Schedule ${name} is paused until ${
        localText(localTime(new Date(now.paused_until!), now.time_zone))
      }; its next slot is ${
        now.next_slot_local === null ? "not known yet" : localText(now.next_slot_local)
      }.`,
    );
  } else call.out.line(`Schedule ${name} is paused. \`etl schedule resume ${name}\` resumes it.`);
  return EXIT.succeeded;
}

async function resume(call: Call, name: string): Promise<ExitCode> {
  const now = await post<ScheduleJson>(await call.connect(), `${pathOf(name)}/resume`, {});
  if (call.flags.json) call.out.line(JSON.stringify(now));
  else {
    call.out.line(
      `Schedule ${name} goes on; its next slot is ${
        now.next_slot_local === null ? "not known yet" : localText(now.next_slot_local)
      }.`,
    );
  }
  return EXIT.succeeded;
}

async function runNow(call: Call, name: string): Promise<ExitCode> {
  const api = await call.connect({ executes: true });
  const submitted = await post<Submitted>(api, `${pathOf(name)}/run`, {});
  return await followed(call, api, submitted);
}

async function removeSchedule(call: Call, name: string): Promise<ExitCode> {
  await remove(await call.connect(), pathOf(name));
  if (call.flags.json) call.out.line(JSON.stringify({ name, deleted: true }));
  else call.out.line(`Schedule ${name} is removed. Its runs stay; those that wait are still run.`);
  return EXIT.succeeded;
}

/** `etl schedule set NAME`: what is given over what the schedule has; what it has not, by default. */
async function setSchedule(call: Call, name: string): Promise<ExitCode> {
  const { text, lists, flags, out } = call;
  const given = await readConf({ conf: text.conf, source: text.source, set: [] }, call.readFile);
  const api = await call.connect();
  const present = await find<ScheduleJson>(api, pathOf(name));
  if (present === null && text.cron === undefined) {
    throw new UsageError(`there is no schedule ${name}; to make it, say when: --cron "30 2 * * *"`);
  }
  const conf: Record<string, unknown> = text.conf === undefined
    ? { ...present?.conf, ...given }
    : given;
  for (const setting of lists.set ?? []) applySetting(conf, setting);
  if (text.configuration !== undefined) conf.configuration = text.configuration;
  const { description, cron, time_zone, missed, grace_seconds, overlap } = {
    ...present,
    ...defined({
      description: text.description,
      cron: text.cron,
      time_zone: text["time-zone"],
      missed: text.missed,
      overlap: text.overlap,
      grace_seconds: text.grace === undefined ? undefined : secondsOf(text.grace),
    }),
  };
  const values = defined({ description, cron, time_zone, missed, grace_seconds, overlap });
  const body = `{"conf":${confText(conf)},${JSON.stringify(values).slice(1)}`;
  const stored = await request<ScheduleJson>(api, pathOf(name), sending("PUT", body));
  if (flags.json) out.line(JSON.stringify(stored));
  else {
    out.line(`Schedule ${name} is ${present === null ? "made" : "changed"}: ${stored.cron_words}.`);
    if (stored.next_slot_local !== null) {
      out.line(`Its next slot is ${localText(stored.next_slot_local)} (${stored.time_zone}).`);
    }
    if (stored.paused) out.line(`It is paused: \`etl schedule resume ${name}\` resumes it.`);
  }
  return EXIT.succeeded;
}

function defined<T extends Record<string, unknown>>(values: T): Partial<T> {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined),
  ) as Partial<T>;
}

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (Number.isInteger(seconds) && seconds >= 0 && seconds <= 86_400) return seconds;
  throw new UsageError(`--grace must be whole seconds from 0 to 86400, not '${text}'`);
}

/** A slot as the API answers with it. */
interface SlotJson {
  slot: string;
  local: string;
  state: string;
  run_id: string | null;
  run_state: string | null;
  note: string | null;
  problem: { detail?: string } | null;
}

const MISSED = {
  last: "only the newest of the slots that were missed is run",
  all: "up to 100 missed slots are run, oldest first",
  none: "missed slots are not run",
};
const OVERLAP = {
  skip: "no run is made while another of its label goes on",
  queue: "a run waits for another of its label",
  cancel: "a run takes the place of another of its label",
};

/** "2027-03-28T03:00:00+02:00" as "2027-03-28 03:00 +02:00" */
function localText(local: string): string {
  return `${local.slice(0, 16).replace("T", " ")} ${local.slice(19).replace("Z", "UTC")}`;
}

function nextText(schedule: ScheduleJson): string {
  if (!schedule.active) return "paused";
  if (schedule.problem !== null) return "cannot be computed";
  if (schedule.next_slot_local === null) return "not computed yet";
  const time = localText(schedule.next_slot_local);
  return schedule.paused ? `${time}, paused until then` : time;
}

/** One schedule with its next slots and what became of the last ones. */
function scheduleLines(
  out: Terminal,
  schedule: ScheduleJson,
  { ahead, past }: { ahead: SlotJson[]; past: SlotJson[] },
): string[] {
  const facts: [string, string | null][] = [
    ["about", schedule.description],
    ["due", `${schedule.cron_words} (${schedule.cron}), ${schedule.time_zone}`],
    ["next", nextText(schedule)],
    ["problem", schedule.problem],
    ["conf", JSON.stringify(schedule.conf)],
    ["grace", `${schedule.grace_seconds} s; ${MISSED[schedule.missed]}`],
    ["overlap", `${schedule.overlap}: ${OVERLAP[schedule.overlap]}`],
  ];
  return [
    "",
    `  ${out.paint("bold", `Schedule ${schedule.name}`)}`,
    ...facts.flatMap(([name, value]) =>
      value === null ? [] : [`    ${name.padEnd(10)}${printable(value)}`]
    ),
    "",
    ...(ahead.length === 0 ? [] : [
      `  ${out.paint("bold", "Next slots")}`,
      ...ahead.map(({ local }) => `    ${localText(local)}`),
      "",
    ]),
    ...(past.length === 0 ? [] : [`  ${out.paint("bold", "Last slots")}`, ...pastLines(past), ""]),
  ];
}

function pastLines(past: SlotJson[]): string[] {
  return table(past, [
    ["slot", ({ local }) => localText(local)],
    ["state", ({ run_state, state }) => run_state ?? state],
    ["run", ({ run_id, note, problem }) => run_id ?? note ?? problem?.detail ?? ""],
  ]).slice(1).map((line) => `    ${line}`);
}

interface Backfill {
  schedule: string;
  preview: boolean;
  runs: number;
  kept: number;
  items: {
    slot: string;
    local: string;
    action: "run" | "kept";
    run_id: string | null;
    state_before: string | null;
  }[];
}

export const backfill: Command = {
  name: "backfill",
  summary: "run past slots of a schedule, each once",
  description:
    `Runs the slots of a schedule between two times that have no run, or whose run failed or was
cancelled. Slots whose run waits, is running or has succeeded are kept, so it can be repeated.
The runs are executed one after the other. Without a server this process executes them.`,
  arguments: [{ name: "NAME", help: "the schedule" }],
  options: {
    from: {
      type: "string",
      value: "TIME",
      help: "first slot: a day or local time in the schedule's zone, or an instant (…Z)",
    },
    to: { type: "string", value: "TIME", help: "last slot; a day includes all of it; default now" },
    preview: { type: "boolean", help: "only list the slots and what would happen to them" },
    wait: { type: "boolean", help: "with a server: wait until the runs have ended" },
  },
  examples: [
    "etl backfill nightly --from 2026-12-01 --to 2026-12-31 --preview",
    "etl backfill nightly --from 2026-12-01 --to 2026-12-31",
    "etl backfill hourly --from 2026-12-24T00:00 --to 2026-12-24T12:00 --wait",
  ],
  async run(call) {
    const { text, flags, args, out } = call;
    const [name = ""] = args;
    if (text.from === undefined) {
      throw new UsageError("etl backfill needs --from: the day or time of the first slot");
    }
    const preview = flags.preview === true;
    const api = await call.connect({ executes: !preview });
    const done = await post<Backfill>(api, `/api/schedules/${encodeURIComponent(name)}/backfill`, {
      from: text.from,
      ...(text.to === undefined ? {} : { to: text.to }),
      preview,
    });
    const states = !preview && (api.inProcess || flags.wait)
      ? await waitForAll(call, api, done)
      : new Map<string, string>();
    if (flags.json) {
      const items = done.items.map((each) => ({
        ...each,
        status: states.get(each.run_id ?? "") ?? null,
      }));
      out.line(JSON.stringify({ ...done, items }));
    } else {
      for (const line of lines(call, done, states)) out.line(line);
    }
    return exitCode([...states.values()]);
  },
};

/** Waits for the runs that were made, in the order in which they are executed; answers their states. */
async function waitForAll(call: Call, api: Api, done: Backfill): Promise<Map<string, string>> {
  const states = new Map<string, string>();
  const made = done.items.filter(({ action, run_id }) => action === "run" && run_id !== null);
  for (const [i, { run_id, local }] of made.entries()) {
    const { state } = await followRun(api, run_id!, {
      onChange: (run) =>
        call.err.draw([
          call.err.paint("dim", `  ${i + 1} of ${made.length}: ${localText(local)} ${run.state} …`),
        ]),
      signal: call.signals.signal,
    });
    states.set(run_id!, state);
  }
  call.err.draw([]);
  return states;
}

function lines({ out }: Call, done: Backfill, states: Map<string, string>): string[] {
  if (done.items.length === 0) return [`Schedule ${done.schedule} has no slots in this time.`];
  const what = ({ action, run_id, state_before: before }: Backfill["items"][number]) => {
    if (action === "kept") return `kept (${before === "requested" ? "done" : before})`;
    if (done.preview) return before === null ? "would be run" : `would be run (${before})`;
    return states.get(run_id ?? "") ?? "asked for";
  };
  const [title, ...rows] = table(done.items, [
    ["SLOT", ({ local }) => localText(local)],
    ["WHAT", what],
    ["RUN", ({ run_id }) => run_id ?? ""],
  ]);
  const failed = [...states.values()].filter((state) => state !== "succeeded").length;
  return [
    out.paint("bold", title!),
    ...rows,
    "",
    done.preview
      ? `${done.runs} slots would be run, ${done.kept} kept.`
      : `${done.runs} slots run, ${done.kept} kept${
        failed > 0 ? `; ${failed} did not succeed` : ""
      }.`,
  ];
}

function exitCode(states: string[]): ExitCode {
  if (states.includes("failed")) return EXIT.failed;
  return states.includes("cancelled") ? EXIT.cancelled : EXIT.succeeded;
}
