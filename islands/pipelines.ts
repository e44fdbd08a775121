/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { reloadIfSignedOut } from "./lib/api.ts";
import { at } from "./lib/base.ts";

/** The list is looked up again at most so often. */
const MIN_INTERVAL_MS = 2000;
/** The server keeps its answer for so long: one that is asked for sooner may be from before what happened. */
const KEPT_MS = 1000;
/** Also where no run tells of itself: slots, incidents. */
const MAX_INTERVAL_MS = 30_000;
const TYPING_MS = 150;

/** Puts the server's rendering of an address into the place of the list; focus stays where it was. */
async function show(url: string): Promise<void> {
  const response = await fetch(url, { headers: { accept: "text/html" } }).catch(() => null);
  if (response === null || !response.ok || url !== location.href) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const place = document.querySelector("#pipelines")!;
  const fresh = page.querySelector("#pipelines");
  if (fresh === null || fresh.isEqualNode(place)) return;
  const focused = place.contains(document.activeElement)
    ? document.activeElement!.getAttribute("href")
    : null;
  place.replaceWith(document.adoptNode(fresh));
  dispatchEvent(new Event("contentchange"));
  if (focused !== null) {
    document.querySelector<HTMLElement>(`#pipelines a[href="${CSS.escape(focused)}"]`)?.focus();
  }
}

/** Follows what happens, while the page is in view. */
function follow(): void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = performance.now();
  const later = (ms: number) => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      last = performance.now();
      if (!document.hidden) await show(location.href);
      later(MAX_INTERVAL_MS);
    }, ms);
  };
  const open = () => {
    if (source !== null || document.hidden) return;
    const opened = source = new EventSource(at("/etl/events"));
    source.onerror = () => void reloadIfSignedOut(opened);
    source.addEventListener("hello", () => document.documentElement.dataset.following = "yes");
    source.addEventListener("parts", () => {
      later(Math.max(KEPT_MS, MIN_INTERVAL_MS - (performance.now() - last)));
    });
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) return open();
    source?.close();
    source = null;
  });
  later(MAX_INTERVAL_MS);
  open();
}

/** What is typed is looked up at once. */
function searchAsTyped(): void {
  const field = document.querySelector<HTMLInputElement>("#pipeline-search");
  let timer: ReturnType<typeof setTimeout> | undefined;
  field?.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const url = new URL(location.href);
      url.search = field.value === "" ? "" : `?q=${encodeURIComponent(field.value)}`;
      history.replaceState(null, "", url);
      void show(location.href);
    }, TYPING_MS);
  });
}

follow();
searchAsTyped();
