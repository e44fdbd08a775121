/** A kind of alert: what it is called in messages and on the dashboard, and when it is raised. */
interface AlertKindText {
  title: string;
  /** Markdown, for docs/alerts.md: what comes after "It opens when". */
  when: string;
}

/**
 * Every kind of alert that the program raises, in the order of Prometheus and the documentation; SQL may raise others.
 * islands/i18n/es.ts has the Spanish title; etl.end_gone_incidents says when nothing can disprove one any more.
 */
export const ALERT_KINDS = {
  run_failed: {
    title: "Run failed",
    when:
      "a run failed for another reason than `low_ratio` or `ge_failed`, or a schedule could not ask for its run",
  },
  low_ratio: {
    title: "Low acceptance ratio",
    when:
      "the ratio was below 1, whether or not the run's `min_acceptance_ratio` accepts that; the alert says which (`details.accepted`). Duplicates and filtered records do not lower it",
  },
  ge_failed: {
    title: "Expectations not met",
    when: "expectations of the suite failed, whether or not the data was loaded",
  },
  trend_drop: {
    title: "Ratio is falling",
    when:
      "the ratio is more than `drop_threshold_pct` (20) % below the mean of the last `trend_window` (7) runs of the label; at least three. The alert stores `ratio`, `avg_ratio`, `threshold_pct`. Version 0.1.0 called it `ratio_drop`",
  },
  volume_drop: {
    title: "Fewer rows than usual",
    when:
      "the rows of a run are `ETL_ALERT_VOLUME_DROP` (0.5: half) or more below the mean of the last `trend_window` (7) runs of the label, at least three; or there are no rows, at the first run too. Never for incremental sources",
  },
  sla_miss: {
    title: "Deadline missed",
    when:
      "a run or a stage is not done at its deadline; raised within 5 s, while it is still running or waiting",
  },
  schedule_overdue: {
    title: "Schedule is overdue",
    when:
      "a schedule was due and nothing has decided about its run, or its slots cannot be computed",
  },
  stale: {
    title: "Data is stale",
    when:
      "a dataset was not loaded for `ETL_ALERT_STALE_SECONDS` (`etl.datasets.stale_after_seconds` for one)",
  },
  consumer_failed: {
    title: "Consumer failed",
    when: "a consumer of datasets has failed five times with an event, and gives up on it",
  },
  consumer_late: {
    title: "Consumer is late",
    when: "a dataset event has waited for its consumer for more than 15 minutes",
  },
} as const satisfies Record<string, AlertKindText>;
export type AlertKind = keyof typeof ALERT_KINDS;

/** The titles by kind, each name after a prefix: messages of the dashboard. */
export type AlertMessages = Record<`alert.${AlertKind}`, string>;

export const ALERT_MESSAGES = Object.fromEntries(
  Object.entries(ALERT_KINDS).map(([kind, { title }]) => [`alert.${kind}`, title]),
) as AlertMessages;
