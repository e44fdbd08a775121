import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import type { OverviewData } from "../../islands/overview.tsx";
import type { AppDeps } from "../shared/deps.ts";
import { say } from "../../vocabulary/messages.ts";
import { Gate, staysOpen } from "../shared/load.ts";
import { type Common, commonParts, type OfLabel, partsOfLabels } from "./overview_page.tsx";

/** A part of the overview as it is sent: its name and its JSON. */
export type Part = { name: keyof OverviewData; json: string };
type Listener = (parts: Part[]) => void;

/** What is looked up. */
interface Lookups {
  common(): Promise<Common>;
  ofLabels(labels: string[]): Promise<Map<string, OfLabel>>;
}

/** Who looks at the runs of one label, and what they know. */
interface Label {
  listeners: Set<Listener>;
  sent: Map<Part["name"], string>;
  leave: () => void;
}

/** The overview is looked up at most so often, however much happens. */
const MIN_INTERVAL_MS = 500;
/** And takes at most one part in so many of the time. */
const REST = 4;
/** Alerts, schedules and health change without a notification. */
const POLL_MS = 5000;
const POLL_WITHOUT_LISTEN_MS = 2000;

/** Labels that are looked at at once, in all and by one caller. */
const MAX_LABELS = 100;
const LABELS_OF_A_CALLER = 20;

/**
 * Tells every open overview what has changed. One lookup serves all of them, whatever label they look
 * at, and there is none while nobody looks.
 */
export class LiveOverview {
  readonly #deps: Pick<AppDeps, "watch" | "status">;
  readonly #lookups: Lookups;
  readonly #labels = new Map<string, Label>();
  readonly #gate = new Gate(MAX_LABELS, say("labels-looked-at", { n: MAX_LABELS }), {
    status: 429,
    share: LABELS_OF_A_CALLER,
  });
  #common = new Map<Part["name"], string>();
  #stop: (() => void) | null = null;
  #busy = false;
  #again = false;

  constructor(deps: Pick<AppDeps, "watch" | "status">, lookups: Lookups) {
    this.#deps = deps;
    this.#lookups = lookups;
  }

  /** Of what a database says. */
  static of(deps: AppDeps): LiveOverview {
    return new LiveOverview(deps, {
      common: () => commonParts(deps),
      ofLabels: (labels) => partsOfLabels(deps, labels),
    });
  }

  /**
   * Calls back with what is known now, and with each change; answers a function that ends it.
   * `label`: "" is every run. Throws a Problem where too many labels are looked at, by the caller too.
   */
  follow(label: string, told: Listener, caller?: string): () => void {
    let followed = this.#labels.get(label);
    if (followed === undefined) {
      const leave = label === "" ? () => {} : this.#gate.enter(1, caller);
      followed = { listeners: new Set(), sent: new Map(), leave };
      this.#labels.set(label, followed);
    }
    const { listeners, sent } = followed;
    listeners.add(told);
    const known = [...this.#common, ...sent].map(([name, json]) => ({ name, json }));
    if (known.length > 0) told(known);
    if (this.#stop === null) this.#start();
    else if (sent.size === 0) void this.#look();
    return () => {
      listeners.delete(told);
      if (listeners.size > 0 || this.#labels.get(label) !== followed) return;
      followed.leave();
      this.#labels.delete(label);
      if (this.#labels.size === 0) this.#end();
    };
  }

  #start(): void {
    const unwatch = this.#deps.watch.watchAll(() => void this.#look());
    const pollMs = this.#deps.status().listening ? POLL_MS : POLL_WITHOUT_LISTEN_MS;
    const timer = setInterval(() => void this.#look(), pollMs);
    this.#stop = () => {
      unwatch();
      clearInterval(timer);
    };
    void this.#look();
  }

  #end(): void {
    this.#stop?.();
    this.#stop = null;
    this.#common = new Map();
  }

  async #look(): Promise<void> {
    if (this.#busy) {
      this.#again = true;
      return;
    }
    this.#busy = true;
    const started = performance.now();
    try {
      const labels = [...this.#labels.keys()];
      const [common, ofLabels] = await Promise.all([
        this.#lookups.common(),
        this.#lookups.ofLabels(labels),
      ]);
      const changed = changes(common, this.#common);
      for (const [label, { listeners, sent }] of this.#labels) {
        const parts = ofLabels.get(label);
        // one that has come meanwhile is looked up next
        const own = parts === undefined ? [] : changes(parts, sent);
        const all = [...changed, ...own];
        if (all.length > 0) { for (const told of listeners) told(all); }
      }
    } catch {
      // the next look finds out whether the database is there again
    }
    const took = performance.now() - started;
    setTimeout(() => {
      this.#busy = false;
      if (!this.#again || this.#stop === null) return;
      this.#again = false;
      void this.#look();
    }, Math.max(MIN_INTERVAL_MS - took, REST * took));
  }
}

/** The parts that are not as they were sent last, which `sent` has afterwards. */
function changes(parts: Partial<OverviewData>, sent: Map<Part["name"], string>): Part[] {
  const changed: Part[] = [];
  for (const [key, value] of Object.entries(parts)) {
    const name = key as Part["name"];
    const json = JSON.stringify(value);
    if (sent.get(name) === json) continue;
    sent.set(name, json);
    changed.push({ name, json });
  }
  return changed;
}

/** Between two signs of life, so that proxies keep an idle stream open. */
const HEARTBEAT_MS = 20_000;

/** Streams the overview of a run label ("": all): an event `parts` holds each part that has changed. */
export function streamOverview(c: Context, live: LiveOverview, label: string): Response {
  const leave = staysOpen(c);
  // of a part that changed several times, while a slow reader took the last one, the newest is enough
  const waiting = new Map<Part["name"], string>();
  let wake = Promise.withResolvers<void>();
  const caller = c.get("caller");
  let unfollow = () => {};
  try {
    unfollow = live.follow(label, (parts) => {
      for (const { name, json } of parts) waiting.set(name, json);
      wake.resolve();
    }, caller.shares ? caller.key : undefined);
  } catch (error) {
    leave();
    throw error;
  }
  return streamSSE(c, async (stream) => {
    let open = true;
    stream.onAbort(() => {
      open = false;
      wake.resolve();
    });
    try {
      // says at once that the stream is open
      await stream.writeSSE({ event: "hello", data: "{}" });
      while (open) {
        const timer = setTimeout(() => wake.resolve(), HEARTBEAT_MS);
        await wake.promise;
        clearTimeout(timer);
        wake = Promise.withResolvers();
        if (!open) break;
        const parts = new Map(waiting);
        waiting.clear();
        if (parts.size === 0) await stream.writeSSE({ event: "hello", data: "{}" });
        else {
          const members = [...parts].map(([name, json]) => `${JSON.stringify(name)}:${json}`);
          await stream.writeSSE({ event: "parts", data: `{${members.join(",")}}` });
        }
      }
    } finally {
      unfollow();
      leave();
    }
  });
}
