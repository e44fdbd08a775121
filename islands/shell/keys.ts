/// <reference lib="dom" />

/** Pages by the key that follows "g". */
const PAGES: Record<string, string> = {
  o: "/etl",
  r: "/etl/runs",
  s: "/etl/schedules",
  c: "/etl/configurations",
  a: "/etl/alerts",
};
/** "g" waits so long for what follows, in ms. */
const SEQUENCE_MS = 1000;

/** "n" for a new run, "g" and a letter for a page, "/" for the first filter, Escape closes the menu. */
export function useKeys(): void {
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
    if (follows && PAGES[event.key] !== undefined) location.assign(PAGES[event.key]!);
    else if (event.key === "n") location.assign("/etl/new");
    else if (event.key === "/") {
      const field = document.querySelector<HTMLElement>("main [data-filter]");
      if (field === null) return;
      event.preventDefault();
      field.focus();
    }
  });
}
