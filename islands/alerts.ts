/// <reference lib="dom" />
import { type ApiError, call } from "./lib/api.ts";
import { followParts, showAgain } from "./lib/follow.ts";

const incidents = () => document.querySelector<HTMLElement>("#incidents")!;

/** What the server renders from now on: all who are told of the same change share its answer. */
function show(since: string): Promise<void> {
  const url = new URL(location.href);
  url.searchParams.set("since", since);
  return showAgain(["incidents", "alerts"], url);
}

/** Acknowledges, silences or closes the incident of a row. */
function handleIncidents(): void {
  const failure = document.querySelector<HTMLElement>("#incidents-failure")!;
  let busy = false;
  document.addEventListener("click", async (event) => {
    const button = (event.target as Element).closest<HTMLButtonElement>("button[data-handle]");
    // not disabled meanwhile: that would take the focus away
    if (button === null || busy) return;
    busy = true;
    const action = button.dataset.handle!;
    const fingerprint = button.closest<HTMLElement>("[data-row]")!.dataset.row!;
    failure.textContent = "";
    try {
      await call("/api/alerts/handle", {
        method: "POST",
        body: { fingerprint, action, ...(action === "silence" ? { minutes: 60 } : {}) },
        offline: incidents().dataset.offline!,
      });
      await show(crypto.randomUUID());
    } catch (error) {
      failure.textContent = (error as ApiError).message;
    } finally {
      busy = false;
    }
  });
}

/** In the browser: what the list of alerts can do. */
export function begin(): void {
  followParts(({ incidents: mark }) => {
    if (mark !== undefined && mark !== incidents().dataset.mark) void show(mark);
    return true;
  });
  handleIncidents();
}

if (typeof document !== "undefined") begin();
