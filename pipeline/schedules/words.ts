import cronstrue from "cronstrue";
import { tidyCron } from "./cron.ts";

/** A cron expression in English words: "At 02:30, Monday through Friday". */
export function cronWords(cron: string): string {
  return cronstrue.toString(tidyCron(cron), {
    use24HourTimeFormat: true,
    throwExceptionOnParseError: false,
  });
}
