/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import type { OverviewData } from "../overview.tsx";
import { reloadIfSignedOut } from "./api.ts";
import { at } from "./base.ts";

/**
 * Calls back with what has changed of the overview, first with all of it; `told` answers false where it needs more to follow it.
 * While the page is hidden there is no connection, as browsers allow only six to a server.
 */
export function followParts(told: (parts: Partial<OverviewData>) => boolean): void {
  let source: EventSource | null = null;
  const open = () => {
    if (source !== null || document.hidden) return;
    const opened = source = new EventSource(at("/etl/events"));
    source.onerror = () => void reloadIfSignedOut(opened);
    source.addEventListener("parts", (event) => {
      const parts = JSON.parse((event as MessageEvent<string>).data) as Partial<OverviewData>;
      if (told(parts)) document.documentElement.dataset.following = "yes";
    });
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) return open();
    source?.close();
    source = null;
  });
  open();
}

let asked = 0;

/**
 * Puts the server's rendering of an address into the places of this page that have these ids; the focus stays where it was. Of
 * several that are asked for at once, the last one counts.
 */
export async function showAgain(ids: string[], url: string | URL = location.href): Promise<void> {
  const turn = ++asked;
  const response = await fetch(url, { headers: { accept: "text/html" } }).catch(() => null);
  if (response === null || !response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (turn !== asked) return;
  for (const id of ids) {
    const place = document.getElementById(id)!;
    const fresh = page.getElementById(id);
    if (fresh === null || fresh.isEqualNode(place)) continue;
    const focused = place.contains(document.activeElement) ? document.activeElement! : null;
    place.replaceWith(document.adoptNode(fresh));
    if (focused !== null) focusAgain(fresh, focused);
  }
  dispatchEvent(new Event("contentchange"));
}

/** What does or leads to the same; else the first of its kind in the same row; else the page. */
function focusAgain(fresh: HTMLElement, focused: Element): void {
  const all = [...fresh.querySelectorAll<HTMLElement>(`${focused.localName}:not(:disabled)`)];
  const sameIn = (name: string) => {
    const value = focused.closest(`[${name}]`)?.getAttribute(name);
    return value == null
      ? undefined
      : all.find((each) => each.closest(`[${name}]`)?.getAttribute(name) === value);
  };
  const next = sameIn("href") ?? sameIn("aria-label") ?? sameIn("data-row");
  (next ?? document.querySelector("main")!).focus();
}
