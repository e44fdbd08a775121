import type { Sql } from "../store/database.ts";
import { scrape } from "../store/metrics.ts";
import { observers, type RunEndObserver, type RunObserver, type TaskObserver } from "./observer.ts";
import { ServerMetrics } from "./integrations/prometheus.ts";
import type { TelemetrySettings } from "./settings_schema.ts";
import { StatsdReporter } from "./integrations/statsd.ts";
import { RunTracer } from "./integrations/opentelemetry.ts";

/** Everything that this server tells of runs without keeping it: Prometheus, StatsD, traces. */
export class Reporting {
  readonly metrics = new ServerMetrics();
  readonly observer: Required<RunObserver>;
  readonly runEndObservers: RunEndObserver[];
  readonly tasks: TaskObserver;
  readonly #statsd: StatsdReporter | null;

  constructor(settings: TelemetrySettings) {
    this.#statsd = settings.statsd === null ? null : new StatsdReporter(settings.statsd);
    const statsd = this.#statsd === null ? [] : [this.#statsd];
    this.tasks = this.#statsd ?? { taskEnded: () => {}, dagEnded: () => {}, maintained: () => {} };
    this.runEndObservers = [this.metrics, ...statsd];
    this.observer = observers([this.metrics, ...statsd, new RunTracer()]);
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
