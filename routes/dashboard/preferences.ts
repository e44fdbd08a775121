import type { Context } from "hono";
import { getCookie } from "hono/cookie";
import { en, type Messages } from "../../islands/i18n/en.ts";
import { es } from "../../islands/i18n/es.ts";
import { inSpanish } from "../../vocabulary/messages.ts";
import type { Lang } from "../../islands/lib/locale.ts";

export type Theme = "system" | "light" | "dark";

/** How a viewer wants to see the dashboard: from cookies, else from what the browser asks for. */
export interface Preferences {
  lang: Lang;
  /** BCP 47 tag for numbers and dates. */
  tag: string;
  /** IANA time zone that times are shown in; UTC until the browser has told. */
  zone: string;
  /** Whether that is the browser's own or UTC, by choice. */
  clock: "local" | "utc";
  theme: Theme;
  messages: Messages;
  translate: (text: string) => string;
}

const CATALOGUES: Record<Lang, Messages> = { en, es };

export function readPreferences(c: Context): Preferences {
  const accepted = acceptedTags(c.req.header("accept-language") ?? "");
  const chosen = getCookie(c, "etl_lang");
  const lang = chosen === "en" || chosen === "es"
    ? chosen
    : accepted.map(langOf).find((each) => each !== undefined) ?? "en";
  const theme = getCookie(c, "etl_theme");
  const clock = getCookie(c, "etl_clock") === "utc" ? "utc" : "local";
  return {
    lang,
    tag: accepted.find((tag) => langOf(tag) === lang) ?? lang,
    zone: clock === "utc" ? "UTC" : validZone(getCookie(c, "etl_zone")),
    clock,
    theme: theme === "light" || theme === "dark" ? theme : "system",
    messages: CATALOGUES[lang],
    translate: lang === "es" ? inSpanish : (text) => text,
  };
}

/** The first language of an Accept-Language header that the dashboard speaks; English where there is none. */
export function acceptedLang(header: string | undefined): Lang {
  return acceptedTags(header ?? "").map(langOf).find((each) => each !== undefined) ?? "en";
}

/** Tags in the order of the header, which browsers sort by preference. */
function acceptedTags(header: string): string[] {
  return header.slice(0, 500).split(",").map((part) => part.split(";")[0]!.trim())
    .flatMap((tag) => {
      try {
        return Intl.getCanonicalLocales(tag);
      } catch {
        return [];
      }
    });
}

function langOf(tag: string): Lang | undefined {
  const primary = tag.split("-")[0]!.toLowerCase();
  return primary === "en" || primary === "es" ? primary : undefined;
}

function validZone(zone: string | undefined): string {
  if (zone === undefined) return "UTC";
  try {
    const name = decodeURIComponent(zone);
    // "+05:30" is east of Greenwich to a browser, and west to PostgreSQL: only names mean the same to both
    if (!/^[A-Za-z]/.test(name)) return "UTC";
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone;
  } catch {
    return "UTC";
  }
}
