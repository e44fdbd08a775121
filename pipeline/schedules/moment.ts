import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";

/**
 * A moment that somebody wrote: an instant ("2027-03-28T01:00:00Z"), a local
 * time of the zone ("2027-03-28T03:00"), or a day ("2027-03-28"), which means
 * its first moment, with `end` its last millisecond. Throws a Problem that
 * names `field`.
 */
export function readMoment(
  text: string,
  { field, timeZone, end = false }: { field: string; timeZone: string; end?: boolean },
): Date {
  try {
    if (/^\d{4}-\d{2}-\d{2}$/.test(text)) {
      const day = Temporal.PlainDate.from(text);
      return end
        ? new Date(day.add({ days: 1 }).toZonedDateTime(timeZone).epochMilliseconds - 1)
        : new Date(day.toZonedDateTime(timeZone).epochMilliseconds);
    }
    if (/(Z|[+-]\d{2}:?\d{2})$/i.test(text)) {
      return new Date(Temporal.Instant.from(text).epochMilliseconds);
    }
    return new Date(Temporal.PlainDateTime.from(text).toZonedDateTime(timeZone).epochMilliseconds);
  } catch {
    throw new Problem("bad-request", {
      detail: say("not-a-time", { field }),
      errors: [{
        field,
        value: text.slice(0, 100),
        message: "is not a time",
        expected: "a day such as 2027-03-28, or a time such as 2027-03-28T02:30 or …T02:30:00Z",
      }],
    });
  }
}
