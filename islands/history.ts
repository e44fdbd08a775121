/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { reloadIfSignedOut } from "./lib/api.ts";
import { at } from "./lib/base.ts";

/** The page is looked up again at most so often. */
const MIN_INTERVAL_MS = 1500;

/**
 * Keeps the rows on the page up to date in their places. New runs are only
 * announced: rows that move while they are read help nobody.
 */
function followHistory(): void {
  const known = new Set<string>();
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let newest = "";
  const open = () => {
    if (source !== null || document.hidden) return;
    const opened = source = new EventSource(at("/etl/events"));
    source.onerror = () => void reloadIfSignedOut(opened);
    source.addEventListener("parts", (event) => {
      const { recent } = JSON.parse((event as MessageEvent<string>).data) as {
        recent?: { run_id: string }[];
      };
      if (recent === undefined) return;
      if (newest === "") recent.forEach(({ run_id }) => known.add(run_id));
      document.documentElement.dataset.following = "yes";
      newest = recent[0]?.run_id ?? "-";
      announce(recent.filter(({ run_id }) => !known.has(run_id)).length);
      if (rowsInMotion()) schedule();
    });
  };
  const schedule = () => {
    timer ??= setTimeout(async () => {
      timer = undefined;
      await refreshRows();
      if (rowsInMotion()) schedule();
    }, MIN_INTERVAL_MS);
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) return open();
    source?.close();
    source = null;
  });
  open();
}

const rowsInMotion = () =>
  document.querySelector(".history .state.is-running, .history .state.is-queued") !== null;

function announce(count: number): void {
  const link = document.querySelector<HTMLAnchorElement>(".news");
  const text = link?.querySelector<HTMLElement>("[data-one]");
  if (!link || !text || count === 0) return;
  link.hidden = false;
  text.textContent = count === 1
    ? text.dataset.one!
    : text.dataset.many!.replace("{n}", String(count));
}

/** Takes the server's rendering of this very page and replaces the rows that have changed. */
async function refreshRows(): Promise<void> {
  const response = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() =>
    null
  );
  if (response === null || !response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const row of document.querySelectorAll<HTMLElement>("tr[data-run]")) {
    const other = page.querySelector(`tr[data-run="${row.dataset.run}"]`);
    if (other === null || other.isEqualNode(row) || row.contains(document.activeElement)) continue;
    row.replaceWith(document.adoptNode(other));
  }
}

followHistory();
