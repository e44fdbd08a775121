import type { ScheduleJson } from "../../routes/schedule_body.ts";
import type { Terminal } from "../terminal.ts";
import { printable } from "./printable.ts";
import { table } from "./table.ts";

/** A slot as the API answers with it. */
export interface SlotJson {
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
export function localText(local: string): string {
  return `${local.slice(0, 16).replace("T", " ")} ${local.slice(19).replace("Z", "UTC")}`;
}

/** All schedules, a line each. */
export function scheduleTable(out: Terminal, schedules: ScheduleJson[]): string[] {
  const [title, ...rows] = table([
    { title: "SCHEDULE", maxWidth: 30 },
    { title: "DUE", maxWidth: 44 },
    { title: "ZONE" },
    { title: "NEXT" },
    { title: "LAST" },
  ], schedules.map((each) => [each.name, each.cron_words, each.time_zone, next(each), last(each)]));
  return [out.paint("bold", title!), ...rows];
}

function next(schedule: ScheduleJson): string {
  if (!schedule.active) return "paused";
  if (schedule.problem !== null) return "cannot be computed";
  if (schedule.next_slot_local === null) return "not computed yet";
  const time = localText(schedule.next_slot_local);
  return schedule.paused ? `${time}, paused until then` : time;
}

function last({ last_slot: last }: ScheduleJson): string {
  if (last === null) return "";
  return last.run_state ?? last.state;
}

/** One schedule with its next slots and what became of the last ones. */
export function scheduleLines(
  out: Terminal,
  schedule: ScheduleJson,
  { ahead, past }: { ahead: SlotJson[]; past: SlotJson[] },
): string[] {
  const facts: [string, string | null][] = [
    ["about", schedule.description],
    ["due", `${schedule.cron_words} (${schedule.cron}), ${schedule.time_zone}`],
    ["next", next(schedule)],
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
  return table(
    [{ title: "slot" }, { title: "state" }, { title: "run" }],
    past.map((each) => [
      localText(each.local),
      each.run_state ?? each.state,
      each.run_id ?? each.note ?? each.problem?.detail ?? "",
    ]),
  ).slice(1).map((line) => `    ${line}`);
}
