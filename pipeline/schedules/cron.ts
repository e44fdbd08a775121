import { Cron } from "croner";
import { nearestName } from "../../vocabulary/nearest_name.ts";
import { errorsText, type FieldError, Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import cronstrue from "cronstrue";
import "cronstrue/locales/es.js";

const NICKNAMES: Record<string, string> = {
  "@hourly": "0 * * * *",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@weekly": "0 0 * * 0",
  "@monthly": "0 0 1 * *",
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
};

/** Hour fields that mean every hour: such slots follow the time that passes, not the clock on the wall. */
const EVERY_HOUR = new Set(["*", "*/1", "?", "0-23"]);

const EXPECTED = "five fields (minute hour day month weekday) such as 30 2 * * *, or @hourly, " +
  "@daily, @weekly, @monthly, @yearly";

/** Times that are looked for together, at first and at most. */
const FIRST_PAGE = 8;
const PAGE = 500;

/**
 * When a schedule is due: a cron expression of five fields in a time zone.
 * Where clocks change, an expression for certain hours (`30 2 * * *`) is due
 * once for each local time: one that does not exist at the instant of the
 * change (02:30 becomes 03:00, several become one), one that exists twice at
 * the first of the two. An expression for every hour follows the time that
 * passes: `0 * * * *` is due each 60 minutes, whatever the clock says.
 */
export class SlotClock {
  readonly #cron: Cron;
  readonly #timeZone: string;
  /** Whether croner computes local times, which are turned into instants here. */
  readonly #local: boolean;

  /** Throws a Problem that names `cron` or `time_zone`. */
  constructor(cron: string, timeZone: string) {
    const errors = [...cronErrors(cron), ...zoneErrors(timeZone)];
    if (errors.length > 0) {
      throw new Problem("invalid-conf", {
        detail: say("schedule-errors", { errors: errorsText(errors) }),
        errors,
      });
    }
    const pattern = expanded(cron);
    timeZone = tidyZone(timeZone)!;
    this.#timeZone = timeZone;
    this.#local = !EVERY_HOUR.has(pattern.split(" ")[1]!);
    this.#cron = parsed(pattern, this.#local ? "UTC" : timeZone);
  }

  /** Slots after an instant, at most `limit`, until `until` (inclusive) where it is given. */
  *after(from: Date, { limit = Infinity, until }: { limit?: number; until?: Date } = {}) {
    let given = 0;
    let last = from.getTime();
    let reference = this.#local ? wall(from, this.#timeZone) : from;
    for (let size = FIRST_PAGE; given < limit; size = Math.min(2 * size, PAGE)) {
      const page = this.#cron.nextRuns(size, reference);
      if (page.length === 0) return;
      for (const each of page) {
        const slot = this.#local ? instant(each, this.#timeZone) : each;
        if (slot.getTime() <= last) continue;
        if (given >= limit || (until !== undefined && slot > until)) return;
        last = slot.getTime();
        given++;
        yield slot;
      }
      reference = page.at(-1)!;
    }
  }

  /** The slots before an instant, newest first, at most `limit`. */
  *before(from: Date, { limit = Infinity }: { limit?: number } = {}) {
    let given = 0;
    let last = from.getTime();
    // in the second of two equal hours local times that the clocks show later were there already
    let reference = this.#local ? latestWall(from, this.#timeZone) : from;
    for (let size = FIRST_PAGE; given < limit; size = Math.min(2 * size, PAGE)) {
      const page = this.#cron.previousRuns(size, reference);
      if (page.length === 0) return;
      for (const each of page) {
        const slot = this.#local ? instant(each, this.#timeZone) : each;
        if (slot.getTime() >= last) continue;
        if (given >= limit) return;
        last = slot.getTime();
        given++;
        yield slot;
      }
      reference = page.at(-1)!;
    }
  }

  /** An instant as the clocks of the zone show it, with their offset: 2027-03-28T03:00:00+02:00. */
  local(at: Date): string {
    return localTime(at, this.#timeZone);
  }
}

/** An instant as the clocks of a zone show it, with their offset. */
export function localTime(at: Date, timeZone: string): string {
  return Temporal.Instant.fromEpochMilliseconds(at.getTime())
    .toString({ timeZone, smallestUnit: "second" });
}

/** A cron expression with single blanks between its fields. */
export function tidyCron(cron: string): string {
  return cron.trim().split(/\s+/).join(" ");
}

/** Five fields of figures, `*`, `,`, `-` and `/`, or a shorthand: what pg_cron reads as we do; undefined for anything else. */
export function jobSchedule(given: unknown): string | undefined {
  if (typeof given !== "string") return undefined;
  const tidy = tidyCron(given).toLowerCase();
  return (/^[0-9*,/ -]+$/.test(tidy) || tidy in NICKNAMES) && cronErrors(tidy).length === 0
    ? tidy
    : undefined;
}

/** The local time at an instant, written as if it were UTC. */
function wall(at: Date, timeZone: string): Date {
  const local = Temporal.Instant.fromEpochMilliseconds(at.getTime()).toZonedDateTimeISO(timeZone);
  return new Date(at.getTime() + local.offsetNanoseconds / 1e6);
}

/** The latest local time that the clocks have shown by an instant, a millisecond on where they were set back since. */
function latestWall(at: Date, timeZone: string): Date {
  const now = wall(at, timeZone);
  const zoned = Temporal.Instant.fromEpochMilliseconds(at.getTime()).toZonedDateTimeISO(timeZone);
  const change = zoned.add({ nanoseconds: 1 }).getTimeZoneTransition("previous");
  if (change === null) return now;
  const before = new Date(change.epochMilliseconds - 1);
  const shown = new Date(wall(before, timeZone).getTime() + 1);
  return shown > now ? shown : now;
}

/** The instant of a local time that is written as if it were UTC. */
function instant(local: Date, timeZone: string): Date {
  const plain = Temporal.PlainDateTime.from(local.toISOString().slice(0, 19));
  const zoned = plain.toZonedDateTime(timeZone, { disambiguation: "compatible" });
  if (zoned.toPlainDateTime().equals(plain)) return new Date(zoned.epochMilliseconds);
  // clocks skip this time: what is due then is due when they do; `zoned` may be that very instant
  const change = zoned.add({ nanoseconds: 1 }).getTimeZoneTransition("previous");
  return new Date((change ?? zoned).epochMilliseconds);
}

function expanded(cron: string): string {
  const tidy = tidyCron(cron);
  return NICKNAMES[tidy.toLowerCase()] ?? tidy;
}

function parsed(pattern: string, timezone: string): Cron {
  return new Cron(pattern, { timezone, paused: true, mode: "5-part" });
}

function cronErrors(cron: string): FieldError[] {
  const wrong = (message: string, expected = EXPECTED): FieldError[] => [
    { field: "cron", value: cron.slice(0, 200), message, expected },
  ];
  const pattern = expanded(cron);
  const fields = pattern.split(" ").length;
  if (pattern.startsWith("@")) return wrong("is not a known shorthand");
  if (fields === 6 || fields === 7) {
    return wrong(`has ${fields} fields; seconds and years are not supported`);
  }
  if (fields !== 5) return wrong(`has ${fields} of the five fields`);
  try {
    const next = parsed(pattern, "UTC").nextRun();
    return next === null ? wrong("is never due", "a day that its months have") : [];
  } catch (error) {
    const { message } = error as Error;
    return wrong(`cannot be read: ${message.replace(/^CronPattern: /, "")}`);
  }
}

function zoneErrors(timeZone: string): FieldError[] {
  if (tidyZone(timeZone) !== undefined) return [];
  const nearest = nearestZone(timeZone, Intl.supportedValuesOf("timeZone"));
  return [{
    field: "time_zone",
    value: timeZone.slice(0, 200),
    message: `is not a known time zone${nearest === undefined ? "" : `; did you mean ${nearest}?`}`,
    expected: nearest ?? "an IANA name such as Europe/Madrid",
  }];
}

/**
 * A time zone by any of IANA's names, those of its `backward` file among them (Japan, EST5EDT, Asia/Calcutta),
 * in the case in which it is written; undefined where there is none. Offsets (+02:00) are none: they know no summer.
 */
export function tidyZone(given: string): string | undefined {
  if (!/^[A-Za-z]/.test(given)) return undefined;
  try {
    return Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(given).timeZoneId;
  } catch {
    return undefined;
  }
}

/** The zone that was probably meant; a city alone will do ("Madrid"). */
function nearestZone(given: string, known: string[]): string | undefined {
  const zones = ["UTC", ...known];
  const ofCity = new Map(zones.map((zone) => [zone.split("/").at(-1)!, zone]));
  const meant = nearestName(given.replaceAll(" ", "_"), [...zones, ...ofCity.keys()]);
  return meant === undefined ? undefined : zones.includes(meant) ? meant : ofCity.get(meant);
}

/** A cron expression in words: "At 02:30, Monday through Friday"; itself where it is not valid. */
export function cronWords(cron: string, lang: "en" | "es" = "en"): string {
  try {
    return cronstrue.toString(tidyCron(cron), { use24HourTimeFormat: true, locale: lang });
  } catch {
    return cron;
  }
}
