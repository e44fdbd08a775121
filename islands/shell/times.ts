/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import type { Messages } from "../i18n/en.ts";
import { createLocale, type Lang, type TimeStyle } from "../lib/locale.ts";
import { setPreference } from "./cookies.ts";

const TICK_MS = 5000;

/** Times outside of islands in the viewer's zone, which the server is told for the next page. */
export function showTimes(): void {
  const { lang, dataset } = document.documentElement;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC";
  if (dataset.zone !== zone) setPreference("zone", zone);
  const locale = createLocale({
    lang: lang as Lang,
    tag: dataset.tag!,
    zone,
    messages: {} as Messages,
  });
  const show = () => {
    for (const element of document.querySelectorAll<HTMLTimeElement>("time[data-format]")) {
      if (element.closest("[data-island]") !== null) continue;
      const style = element.dataset.format as TimeStyle | "relative";
      const text = style === "relative"
        ? locale.relative(element.dateTime, Date.now())
        : locale.dateTime(element.dateTime, style);
      if (element.textContent !== text) element.textContent = text;
    }
  };
  show();
  setInterval(show, TICK_MS);
}
