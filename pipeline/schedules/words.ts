import cronstrue from "cronstrue";
import "cronstrue/locales/es.js";
import { tidyCron } from "./cron.ts";

/** A cron expression in words: "At 02:30, Monday through Friday"; itself where it is not valid. */
export function cronWords(cron: string, lang: "en" | "es" = "en"): string {
  try {
    return cronstrue.toString(tidyCron(cron), { use24HourTimeFormat: true, locale: lang });
  } catch {
    return cron;
  }
}
