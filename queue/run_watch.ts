import type { Database } from "../store/database.ts";

/**
 * Tells runs of this server at once when someone asks to cancel them. Without
 * LISTEN they find out at their next progress report.
 */
export class RunWatch {
  readonly #watchers = new Map<string, Set<(state: string, cancel: boolean) => void>>();
  readonly #everyone = new Set<() => void>();

  /** Listens on the channels that runs and incidents notify. */
  async listen(database: Database): Promise<void> {
    await database.listen("etl_run", (payload) => {
      const [runId = "", state = "", cancel = ""] = payload.split(" ");
      for (const told of this.#watchers.get(runId) ?? []) told(state, cancel === "cancel");
      for (const told of this.#everyone) told();
    });
    await database.listen("etl_incidents", () => {
      for (const told of this.#everyone) told();
    });
  }

  /** Calls back on every change of any run or incident; answers a function that ends the watch. */
  watchAll(told: () => void): () => void {
    this.#everyone.add(told);
    return () => this.#everyone.delete(told);
  }

  /** Calls back on every change of a run; answers a function that ends the watch. */
  watch(runId: string, told: (state: string, cancel: boolean) => void): () => void {
    const watchers = this.#watchers.get(runId) ?? new Set();
    watchers.add(told);
    this.#watchers.set(runId, watchers);
    return () => {
      watchers.delete(told);
      if (watchers.size === 0) this.#watchers.delete(runId);
    };
  }
}
