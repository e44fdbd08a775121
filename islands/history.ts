/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { call } from "./lib/api.ts";
import { at } from "./lib/base.ts";
import { followParts } from "./lib/follow.ts";

/** The page is looked up again at most so often. */
const MIN_INTERVAL_MS = 1500;

/**
 * Keeps the rows on the page up to date in their places. New runs are only
 * announced: rows that move while they are read help nobody.
 */
function followHistory(): void {
  const known = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let newest = "";
  const schedule = () => {
    timer ??= setTimeout(async () => {
      timer = undefined;
      await refreshRows();
      if (rowsInMotion()) schedule();
    }, MIN_INTERVAL_MS);
  };
  followParts(({ recent }) => {
    if (recent === undefined) return false;
    if (newest === "") recent.forEach(({ run_id }) => known.add(run_id));
    newest = recent[0]?.run_id ?? "-";
    announce(recent.filter(({ run_id }) => !known.has(run_id)).length, newest);
    if (rowsInMotion()) schedule();
    return true;
  });
}

const rowsInMotion = () =>
  document.querySelector(".history .state.is-running, .history .state.is-queued") !== null;

function announce(count: number, newest: string): void {
  const link = document.querySelector<HTMLAnchorElement>(".news");
  const text = link?.querySelector<HTMLElement>("[data-one]");
  if (!link || !text || count === 0) return;
  const url = new URL(link.href);
  url.searchParams.set("since", newest);
  link.href = url.href;
  link.hidden = false;
  text.textContent = count === 1
    ? text.dataset.one!
    : text.dataset.many!.replace("{n}", String(count));
}

let asked = 0;

/** Takes the server's rendering of this very page and replaces the rows that have changed. */
async function refreshRows(since?: string): Promise<void> {
  const turn = ++asked;
  const url = new URL(location.href);
  // who has acted is shown what came of it, also within the second for which a page is kept
  if (since !== undefined) url.searchParams.set("since", since);
  const response = await fetch(url, { headers: { accept: "text/html" } }).catch(() => null);
  if (response === null || !response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  // one that was asked for earlier may come later
  if (turn !== asked) return;
  for (const row of document.querySelectorAll<HTMLElement>("tr[data-run]")) {
    const other = page.querySelector(`tr[data-run="${row.dataset.run}"]`);
    if (other === null || other.isEqualNode(row) || row.contains(document.activeElement)) continue;
    const chosen = row.querySelector<HTMLInputElement>("[data-choose]")?.checked === true;
    row.replaceWith(document.adoptNode(other));
    const box = other.querySelector<HTMLInputElement>("[data-choose]");
    if (box !== null) box.checked = chosen;
  }
  dispatchEvent(new Event("contentchange"));
}

type Verb = "retry" | "cancel";
const FITS: Record<Verb, string[]> = {
  retry: ["failed", "cancelled"],
  cancel: ["queued", "running"],
};

/** Runs that are acted on at once. */
const AT_ONCE = 4;
/** Runs of a reason that are linked. */
const LINKED = 10;

/** Why some runs could not be: once, with links to the first of them. */
function reasonOf(reason: string, runs: string[]): HTMLElement {
  const line = document.createElement("span");
  line.className = "bulk-reason";
  line.append(`${runs.length} × ${reason}`);
  for (const run of runs.slice(0, LINKED)) {
    const link = document.createElement("a");
    link.href = at(`/etl/runs/${run}`);
    link.textContent = `…${run.slice(-6)}`;
    line.append(" ", link);
  }
  if (runs.length > LINKED) line.append(" …");
  return line;
}

/** Retries or cancels the runs that are chosen, a few at once; says how far it is, and of those that could not be why. */
function actOnMany(): void {
  const bar = document.querySelector<HTMLElement>(".bulk");
  const all = document.querySelector<HTMLInputElement>("[data-choose-all]");
  if (bar === null || all === null) return;
  const answer = bar.querySelector<HTMLElement>(".bulk-answer")!;
  const boxes = () => [...document.querySelectorAll<HTMLInputElement>("[data-choose]")];
  const chosen = (states?: string[]) =>
    boxes().filter((box) => box.checked).map((box) => box.closest<HTMLElement>("tr")!)
      .filter(({ dataset }) => states === undefined || states.includes(dataset.state!));
  const fill = (element: HTMLElement, n: number) => {
    element.textContent = element.dataset.text!.replace("{n}", String(n));
  };
  // while runs are retried or cancelled, what is chosen and what the buttons do stays as it was
  let acting = false;
  const show = () => {
    if (acting) return;
    const count = chosen().length;
    bar.hidden = count === 0 && answer.textContent === "";
    fill(bar.querySelector<HTMLElement>(".bulk-count")!, count);
    for (const button of bar.querySelectorAll<HTMLButtonElement>("[data-bulk]")) {
      const n = chosen(FITS[button.dataset.bulk as Verb]).length;
      button.disabled = n === 0;
      fill(button.querySelector<HTMLElement>("[data-text]")!, n);
    }
    all.checked = count > 0 && count === boxes().length;
    all.indeterminate = count > 0 && !all.checked;
  };
  const act = async (verb: Verb) => {
    if (acting) return;
    acting = true;
    const rows = chosen(FITS[verb]);
    const failures = new Map<string, string[]>();
    let done = 0;
    let failed = 0;
    const counted = (text: string, n: number) =>
      text.replace("{n}", String(n)).replace("{of}", String(rows.length));
    for (const button of bar.querySelectorAll<HTMLButtonElement>("button")) button.disabled = true;
    const waiting = [...rows];
    const work = async () => {
      for (let row = waiting.shift(); row !== undefined; row = waiting.shift()) {
        const run = row.dataset.run!;
        try {
          await call(`/api/etl/runs/${run}/${verb}`, {
            method: "POST",
            body: {},
            offline: bar.dataset.offline!,
          });
        } catch (error) {
          // the same for each run, so that what many have in common is said once
          const reason = (error as Error).message.replaceAll(run, "…");
          failures.set(reason, [...failures.get(reason) ?? [], run]);
          failed++;
        }
        answer.textContent = counted(bar.dataset.progress!, ++done);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    answer.replaceChildren(
      counted(bar.dataset.done!, rows.length - failed),
      ...[...failures].map(([reason, runs]) => reasonOf(reason, runs)),
    );
    for (const box of boxes()) box.checked = false;
    await refreshRows(String(Date.now()));
    acting = false;
    show();
  };
  document.addEventListener("change", (event) => {
    const box = event.target as HTMLInputElement;
    if (acting) {
      if (box === all || box.dataset.choose !== undefined) box.checked = !box.checked;
      return;
    }
    if (box === all) { for (const each of boxes()) each.checked = all.checked; }
    else if (box.dataset.choose === undefined) return;
    answer.textContent = "";
    show();
  });
  for (const button of bar.querySelectorAll<HTMLButtonElement>("[data-bulk]")) {
    button.addEventListener("click", () => void act(button.dataset.bulk as Verb));
  }
  addEventListener("contentchange", show);
}

/** In the browser: what the list of runs can do. */
export function begin(): void {
  followHistory();
  actOnMany();
}

if (typeof document !== "undefined") begin();
