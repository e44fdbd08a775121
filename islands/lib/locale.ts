/// <reference lib="dom" />
import type { MessageKey, Messages } from "../i18n/en.ts";

export type Lang = "en" | "es";

export interface LocaleSettings {
  lang: Lang;
  /** BCP 47 tag for numbers and dates, e.g. "en-GB". */
  tag: string;
  /** IANA time zone of the viewer. */
  zone: string;
  messages: Messages;
  /** What the server says in English, in this language as far as it is known. Default: as it is. */
  translate?: (text: string) => string;
}

export type Values = Record<string, string | number>;

/** Texts, numbers and times in the viewer's language, customs and zone. */
export interface Locale extends Omit<LocaleSettings, "messages" | "translate"> {
  /** A text; `{name}` is replaced, `one|many` chooses by `values.n`. */
  t(key: MessageKey, values?: Values): string;
  /** What the server says of alerts, health and runs; null where it says it in English alone. */
  said(text: string): string | null;
  /** A text that may be missing from the catalogue. */
  maybe(key: string): string | undefined;
  number(value: number, options?: Intl.NumberFormatOptions): string;
  percent(ratio: number): string;
  /** "340 ms", "12.4 s", "3 min 05 s" */
  duration(ms: number): string;
  dateTime(iso: string, style?: TimeStyle): string;
  /** "2026-11-24 03:50:12.000 UTC", for hovering. */
  utc(iso: string): string;
  /** "3 minutes ago", from `now` in ms. */
  relative(iso: string, now: number): string;
}

/** In the browser: the zone that times are shown in, its own unless the viewer wants UTC. */
export const viewerZone = (): string =>
  document.documentElement.dataset.clock === "utc"
    ? "UTC"
    : Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC";

export type TimeStyle = "long" | "short" | "time" | "day";

const STYLES: Record<TimeStyle, Intl.DateTimeFormatOptions> = {
  long: {
    year: "numeric",
    month: "short",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    timeZoneName: "short",
  },
  short: { month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit" },
  time: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  day: { year: "numeric", month: "short", day: "2-digit" },
};

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1000],
];

export function createLocale(settings: LocaleSettings): Locale {
  const { lang, tag, zone, messages } = settings;
  const formats = new Map<string, Intl.NumberFormat>();
  const number = (value: number, options: Intl.NumberFormatOptions = {}) => {
    const key = JSON.stringify(options);
    const format = formats.get(key) ?? new Intl.NumberFormat(tag, options);
    formats.set(key, format);
    return format.format(value);
  };
  const plural = new Intl.PluralRules(lang);
  const dates = new Map<TimeStyle, Intl.DateTimeFormat>();
  const relative = new Intl.RelativeTimeFormat(tag, { numeric: "auto", style: "short" });
  const fill = (text: string, values: Values) => {
    const forms = text.split("|");
    const chosen = forms.length === 2 && typeof values.n === "number"
      ? forms[plural.select(values.n) === "one" ? 0 : 1]!
      : text;
    return chosen.replace(/\{(\w+)\}/g, (whole, name: string) => {
      const value = values[name];
      return value === undefined ? whole : typeof value === "number" ? number(value) : value;
    });
  };
  return {
    lang,
    tag,
    zone,
    t: (key, values) => values === undefined ? messages[key] : fill(messages[key], values),
    maybe: (key) => (messages as Record<string, string>)[key],
    said(text) {
      const told = settings.translate?.(text) ?? text;
      return lang !== "en" && told === text ? null : told;
    },
    number,
    // never rounded up to 100 % while something is missing
    percent: (ratio) =>
      number(Math.floor(ratio * 10_000) / 10_000, { style: "percent", maximumFractionDigits: 2 }),
    duration: (ms) => duration(ms, number),
    dateTime(iso, style = "short") {
      const format = dates.get(style) ??
        new Intl.DateTimeFormat(tag, { ...STYLES[style], hourCycle: "h23", timeZone: zone });
      dates.set(style, format);
      return format.format(new Date(iso));
    },
    utc: (iso) => new Date(iso).toISOString().replace("T", " ").replace("Z", " UTC"),
    relative(iso, now) {
      const difference = Date.parse(iso) - now;
      const [unit, size] = UNITS.find(([, each]) => Math.abs(difference) >= each) ?? UNITS[3]!;
      return relative.format(Math.round(difference / size), unit);
    },
  };
}

function duration(ms: number, number: Locale["number"]): string {
  if (ms < 1000) return `${number(Math.round(ms))} ms`;
  if (ms < 60_000) {
    return `${number(ms / 1000, { minimumFractionDigits: 1, maximumFractionDigits: 1 })} s`;
  }
  const seconds = Math.round(ms / 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  return `${number(Math.floor(seconds / 3600))} h ${two(Math.floor(seconds / 60) % 60)} min`;
}
