/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { at } from "./lib/base.ts";
import type { Messages } from "./i18n/en.ts";
import { createLocale, type Lang, type TimeStyle, viewerZone } from "./lib/locale.ts";

const TICK_MS = 5000;

/** Times outside of islands in the viewer's zone, which the server is told for the next page. */
function showTimes(): void {
  const { lang, dataset } = document.documentElement;
  const zone = viewerZone();
  if (dataset.clock !== "utc" && dataset.zone !== zone) setPreference("zone", zone);
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
  addEventListener("contentchange", show);
  // the exact one of what the pointer is on: a page has hundreds
  document.addEventListener("pointerover", ({ target }) => {
    const time = (target as Element).closest("time");
    if (time !== null) time.title = locale.utc(time.dateTime);
    // and what does not fit its place
    const cut = (target as Element).closest<HTMLElement>(".clip:not([title])");
    if (cut !== null && cut.scrollWidth > cut.clientWidth) cut.title = cut.textContent;
  });
}

/** Switches colours at once; without this the form does it with a new page. */
function switchTheme(): void {
  const buttons = [
    ...document.querySelectorAll<HTMLButtonElement>('.settings-row button[name="theme"]'),
  ];
  const announce = () => dispatchEvent(new Event("themechange"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", announce);
  for (const button of buttons) {
    button.addEventListener("click", (event) => {
      event.preventDefault();
      document.documentElement.dataset.theme = button.value;
      setPreference("theme", button.value);
      for (const each of buttons) {
        each.setAttribute("aria-pressed", String(each.value === button.value));
      }
      announce();
    });
  }
}

const YEAR_SECONDS = 365 * 24 * 3600;

/** Keeps a preference, for the server's next page. */
function setPreference(name: "theme" | "zone", value: string): void {
  document.cookie = `etl_${name}=${encodeURIComponent(value)}; path=${
    at("/etl")
  }; max-age=${YEAR_SECONDS}; samesite=lax`;
}

/** "g" waits so long for what follows, in ms. */
const SEQUENCE_MS = 1000;

/** The field of the search that is in view; on a phone it is in the menu. */
function searchField(): HTMLElement | undefined {
  const fields = [...document.querySelectorAll<HTMLElement>("[data-search]")];
  const seen = () => fields.find((field) => field.checkVisibility());
  if (seen() === undefined) {
    const menu = document.querySelector<HTMLDetailsElement>(".menu");
    if (menu !== null) menu.open = true;
  }
  return seen();
}

function showShortcuts(): void {
  const dialog = document.querySelector<HTMLDialogElement>("#shortcuts");
  if (dialog !== null && !dialog.open) dialog.showModal();
}

/** "/" searches, "f" filters, "n" is a new run, "g" and a letter a page (links name their keys), "?" shows all, Escape closes the menu. */
function useKeys(): void {
  let wentAt = -SEQUENCE_MS;
  document.addEventListener("keydown", (event) => {
    const menu = document.querySelector<HTMLDetailsElement>(".menu[open]");
    if (event.key === "Escape" && menu !== null) {
      menu.open = false;
      menu.querySelector("summary")?.focus();
    }
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.closest("input, select, textarea, [contenteditable], dialog") !== null) return;
    const follows = event.timeStamp - wentAt < SEQUENCE_MS;
    wentAt = event.key === "g" ? event.timeStamp : -SEQUENCE_MS;
    const key = CSS.escape(follows ? `g ${event.key}` : event.key);
    const link = document.querySelector<HTMLAnchorElement>(`a[data-key="${key}"]`);
    if (link !== null) location.assign(link.href);
    else if (event.key === "?") showShortcuts();
    else if (event.key === "/" || event.key === "f") {
      const field = event.key === "/"
        ? searchField()
        : document.querySelector<HTMLElement>("main [data-filter]");
      if (!field) return;
      event.preventDefault();
      field.focus();
    }
  });
  for (const button of document.querySelectorAll("[data-shortcuts]")) {
    button.addEventListener("click", showShortcuts);
  }
}

/** A choice in a filter takes effect at once. */
function submitOnChange(): void {
  document.addEventListener("change", (event) => {
    const field = event.target as HTMLElement;
    if (field.dataset.submit === undefined) return;
    field.closest("form")?.requestSubmit();
  });
}

/** In the browser: what every page can do. */
export function begin(): void {
  showTimes();
  switchTheme();
  useKeys();
  submitOnChange();
  document.documentElement.classList.add("ready");
}

if (typeof document !== "undefined") begin();
