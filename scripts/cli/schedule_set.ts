import type { ScheduleJson } from "../../routes/schedule_body.ts";
import { type Api, problemOf, request } from "./api.ts";
import type { Call } from "./command.ts";
import { applySetting, confText, readConf } from "./conf_input.ts";
import { EXIT, type ExitCode, UsageError } from "./exit_codes.ts";
import { localText } from "./schedule_text.ts";

/** `etl schedule set NAME`: what is given over what the schedule has; what it has not, by default. */
export async function setSchedule(call: Call, name: string): Promise<ExitCode> {
  const { text, lists, flags, out } = call;
  const given = await readConf({ conf: text.conf, source: text.source, set: [] }, call.readFile);
  const api = await call.connect();
  const present = await find(api, name);
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
  const stored = await request<ScheduleJson>(api, `/api/schedules/${encodeURIComponent(name)}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: `{"conf":${confText(conf)},${JSON.stringify(values).slice(1)}`,
  });
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

async function find(api: Api, name: string): Promise<ScheduleJson | null> {
  const response = await api.fetch(`/api/schedules/${encodeURIComponent(name)}`);
  const body = await response.text();
  if (response.status === 404) return null;
  if (!response.ok) throw problemOf(response, body);
  return JSON.parse(body);
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
