import { localTime } from "../../../pipeline/schedules/cron.ts";
import type { ScheduleJson } from "../../../routes/schedule_body.ts";
import type { Submitted } from "../../../store/runs.ts";
import { type Action, remove, runAction, wholeNumber } from "../actions.ts";
import { type Api, post, request } from "../api.ts";
import type { Call, Command } from "../command.ts";
import { watchToEnd } from "../execute.ts";
import { EXIT, type ExitCode, UsageError } from "../exit_codes.ts";
import { localText, scheduleLines, scheduleTable, type SlotJson } from "../schedule_text.ts";
import { setSchedule } from "../schedule_set.ts";

export const schedule: Command = {
  name: "schedule",
  summary: "runs by the clock: list, show, set, delete, pause, resume, run, next",
  description: `Schedules: a cron expression in a time zone, and the conf of its runs.

  etl schedule list            all of them, with when they are due next
  etl schedule show NAME       one, with its next and last slots
  etl schedule set NAME        create or change one: only what is given changes
  etl schedule pause NAME      make no runs, until it is resumed or until --until
  etl schedule resume NAME     go on with the next slot; none is caught up
  etl schedule run NAME        ask for a run with its conf now
  etl schedule next NAME       when it is due next; with --cron instead of a name, any expression
  etl schedule delete NAME     remove it; its runs stay

\`etl backfill\` runs past slots. docs/schedules.md says what happens to missed slots and when
clocks change. Something has to be running for slots to become runs: a server, or pg_cron.`,
  arguments: [
    { name: "ACTION", help: "list, show, set, pause, resume, run, next or delete" },
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
      help: "set: conf of its runs, instead of the present one; @FILE reads it from a file",
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
      help: "set: slots later than the grace: last (default), all or none are run",
    },
    grace: {
      type: "string",
      value: "SECONDS",
      help: "set: how late is still on time; default 120",
    },
    overlap: {
      type: "string",
      value: "HOW",
      help: "set: while a run of its label goes on: skip (default), queue or cancel",
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
};

const pathOf = (name: string) => `/api/schedules/${encodeURIComponent(name)}`;

async function list({ connect, flags, out }: Call): Promise<ExitCode> {
  const api = await connect();
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
  if (flags.json) out.line(JSON.stringify(items));
  else if (items.length === 0) {
    out.line("There are no schedules yet. `etl schedule set NAME --cron …` makes one.");
  } else for (const line of scheduleTable(out, items)) out.line(line);
  return EXIT.succeeded;
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
  const { run_id, state, created, skipped } = submitted;
  if (skipped) {
    call.err.line(
      `No run was made: run ${run_id} of the same label is going on (overlap: skip).`,
    );
  }
  if (!skipped && (api.inProcess || call.flags.wait)) return await watchToEnd(call, api, run_id);
  if (call.flags.json) {
    call.out.line(JSON.stringify({ run_id, status: state, created, skipped }));
  } else if (!skipped) {
    call.out.line(`Run ${run_id} is ${state}. See it with \`etl show ${run_id}\`.`);
  }
  return EXIT.succeeded;
}

async function removeSchedule(call: Call, name: string): Promise<ExitCode> {
  await remove(await call.connect(), pathOf(name));
  if (call.flags.json) call.out.line(JSON.stringify({ name, deleted: true }));
  else call.out.line(`Schedule ${name} is removed. Its runs stay; those that wait are still run.`);
  return EXIT.succeeded;
}
