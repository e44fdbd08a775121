import type { OverviewData } from "../../islands/overview/overview_data.ts";
import type { AppDeps } from "../shared/deps.ts";
import { overviewData } from "./overview_data.ts";

/** A part of the overview as it is sent: its name and its JSON. */
export type Part = { name: keyof OverviewData; json: string };
type Listener = (parts: Part[]) => void;

export interface LiveOverviewOptions {
  /** Only runs of this label; default: all. */
  runLabel?: string;
  /** Called when nobody looks any more. */
  onIdle?: () => void;
}

/** The overview is looked up at most so often, however much happens. */
const MIN_INTERVAL_MS = 500;
/** Alerts, schedules and health change without a notification. */
const POLL_MS = 5000;
const POLL_WITHOUT_LISTEN_MS = 2000;

/**
 * Tells every open overview what has changed. The lookup is made once for all
 * of them, and not at all while nobody looks.
 */
export class LiveOverview {
  readonly #deps: AppDeps;
  readonly #options: LiveOverviewOptions;
  readonly #listeners = new Set<Listener>();
  #sent = new Map<keyof OverviewData, string>();
  #stop: (() => void) | null = null;
  #busy = false;
  #again = false;

  constructor(deps: AppDeps, options: LiveOverviewOptions = {}) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Calls back with what is known now, and with each change; answers a function that ends it. */
  follow(told: Listener): () => void {
    this.#listeners.add(told);
    if (this.#sent.size > 0 && this.#stop !== null) {
      told([...this.#sent].map(([name, json]) => ({ name, json })));
    }
    this.#start();
    return () => {
      this.#listeners.delete(told);
      if (this.#listeners.size === 0) this.#end();
    };
  }

  #start(): void {
    if (this.#stop !== null) return;
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
    this.#sent = new Map();
    this.#options.onIdle?.();
  }

  async #look(): Promise<void> {
    if (this.#busy) {
      this.#again = true;
      return;
    }
    this.#busy = true;
    const started = performance.now();
    try {
      const data = await overviewData(this.#deps, this.#options.runLabel);
      const changed: Part[] = [];
      for (const [key, value] of Object.entries(data)) {
        const name = key as keyof OverviewData;
        const json = JSON.stringify(value);
        if (this.#sent.get(name) === json) continue;
        this.#sent.set(name, json);
        changed.push({ name, json });
      }
      if (changed.length > 0) { for (const told of this.#listeners) told(changed); }
    } catch {
      // the next look finds out whether the database is there again
    }
    const rest = Math.max(0, MIN_INTERVAL_MS - (performance.now() - started));
    setTimeout(() => {
      this.#busy = false;
      if (!this.#again || this.#stop === null) return;
      this.#again = false;
      void this.#look();
    }, rest);
  }
}
