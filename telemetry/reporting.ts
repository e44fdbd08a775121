import type { Sql } from "../store/database.ts";
import { scrape } from "../store/metrics.ts";
import { observers, type RunObserver } from "./observer.ts";
import { ServerMetrics } from "./prometheus.ts";
import type { RunEndObserver } from "./run_end.ts";
import type { TelemetrySettings } from "./settings_schema.ts";
import { StatsdReporter } from "./statsd.ts";
import { RunTracer } from "./tracing.ts";

/** Everything that this server tells of runs without keeping it: Prometheus, StatsD, traces. */
export class Reporting {
  readonly metrics = new ServerMetrics();
  readonly observer: Required<RunObserver>;
  readonly runEndObservers: RunEndObserver[];
  readonly taskObservers: StatsdReporter[];
  readonly #statsd: StatsdReporter | null;

  constructor(settings: TelemetrySettings) {
    this.#statsd = settings.statsd === null ? null : new StatsdReporter(settings.statsd);
    this.taskObservers = this.#statsd === null ? [] : [this.#statsd];
    this.runEndObservers = [this.metrics, ...this.taskObservers];
    this.observer = observers([this.metrics, ...this.taskObservers, new RunTracer()]);
  }

  /** What the sweeper tells. */
  sweepObservers(sql: Sql): { onMissed: () => void; onTick: () => void } {
    const statsd = this.#statsd;
    return {
      onMissed: () => statsd?.slaMissed(),
      onTick: () => {
        if (statsd === null) return;
        scrape(sql).then(({ pools }) => {
          for (const { pool, slots, active } of pools) {
            statsd.poolSlots(pool, Math.max(0, slots - active));
          }
        }, () => {});
      },
    };
  }

  async close(): Promise<void> {
    await this.#statsd?.close();
  }
}
