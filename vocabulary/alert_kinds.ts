/** A kind of alert: what it is called in messages and on the dashboard, when it is raised, and what helps. */
interface AlertKindText {
  title: string;
  /** What its subject names: a run label; a label, and perhaps a stage after a space; a schedule; a dataset; a consumer; a task of maintenance. */
  about: "label" | "label or stage" | "schedule" | "dataset" | "consumer" | "task";
  /** Markdown, for docs/alerts.md: what comes after "It opens when". */
  when: string;
  /** Plain text, for the dashboard: what to look at and what to do. docs/alerts.md says more. */
  advice: string;
}

/**
 * Every kind of alert that the program raises, in the order of Prometheus and the documentation; SQL may raise others.
 * islands/i18n/es.ts has the Spanish title; etl.end_gone_incidents says when nothing can disprove one any more.
 */
export const ALERT_KINDS = {
  run_failed: {
    title: "Run failed",
    about: "label",
    when:
      "a run failed for a reason other than `low_ratio` or `ge_failed`, or a schedule could not request its run",
    advice:
      "Open the run: its error and log show why it failed, and the error's page shows what helps. Correct the cause, then retry the run or request a new one. The reason for a failed slot is on the schedule's page.",
  },
  low_ratio: {
    title: "Low acceptance ratio",
    about: "label",
    when:
      "the ratio is below 1, whether or not the run's `min_acceptance_ratio` accepts it (`details.accepted`). Duplicates and filtered records do not lower it",
    advice:
      "Look at the run's quarantine: each rejected record has its rule, file and line. Correct mapping, transform or source, then replay the records. It ends when a run reaches a ratio of 1.",
  },
  ge_failed: {
    title: "Expectations not met",
    about: "label",
    when: "expectations of the suite fail, whether or not the data is loaded",
    advice:
      "Open the run: it lists each expectation with counts and samples. Correct the data and load again, or correct the suite and try it first.",
  },
  trend_drop: {
    title: "Ratio is falling",
    about: "label",
    when:
      "the ratio is more than `drop_threshold_pct` (20) % below the mean of the last `trend_window` (7) runs of the label (three or more). The alert stores `ratio`, `avg_ratio`, `threshold_pct`. Version 0.1.0 called it `ratio_drop`",
    advice:
      "Compare the rules that rejected records with those of a good run. Usually the source has a new format or lacks a field.",
  },
  volume_drop: {
    title: "Fewer rows than usual",
    about: "label",
    when:
      "the rows of a run are `ETL_ALERT_VOLUME_DROP` (0.5: half) or more below the mean of the last `trend_window` (7) runs of the label (three or more), or a run has no rows, even the first one. Never for incremental sources",
    advice:
      "See how many records were read: an empty file, a pattern that matches only old names, a query without results? Get the missing data and load again. If the number is right, close the incident.",
  },
  sla_miss: {
    title: "Deadline missed",
    about: "label or stage",
    when:
      "a run or a stage is not done at its deadline; raised within 5 s, while it is still running or waiting",
    advice:
      "See what takes long: the wait for a place in the pool, or a stage. The run continues. If this is normal, raise the pool's places or the deadline.",
  },
  schedule_overdue: {
    title: "Schedule is overdue",
    about: "schedule",
    when:
      "a slot of a schedule was due and has not been processed, or its slots cannot be computed",
    advice:
      "Check that a server or pg_cron processes the slots: etl jobs shows which does, and health why it does not. The schedule's page shows an invalid expression.",
  },
  stale: {
    title: "Data is stale",
    about: "dataset",
    when:
      "a dataset was not loaded for `ETL_ALERT_STALE_SECONDS` (`etl.datasets.stale_after_seconds` for one)",
    advice:
      "Look for the runs that should have loaded the dataset: failed, waiting, or never requested.",
  },
  consumer_failed: {
    title: "Consumer failed",
    about: "consumer",
    when: "a consumer has failed five times with an event and gives up on it",
    advice:
      "See the consumer's last error at GET /api/consumers, remove the cause, then deliver again: etl redeliver NAME.",
  },
  consumer_late: {
    title: "Consumer is late",
    about: "consumer",
    when: "a dataset event has waited for its consumer for more than 15 minutes",
    advice:
      "Check that a server with the role all or worker is running, and whether the consumer's oldest event keeps failing: later events wait for it.",
  },
  maintenance_failed: {
    title: "Maintenance failed",
    about: "task",
    when: "a task of `etl_maintenance` failed; the other tasks ran",
    advice:
      "The alert names the task and the error; etl maintenance list shows the other tasks. Remove the cause, then run it again: etl maintenance.",
  },
} as const satisfies Record<string, AlertKindText>;
export type AlertKind = keyof typeof ALERT_KINDS;

/** Titles and advice by kind, each name after a prefix: messages of the dashboard. */
export type AlertMessages = Record<`${"alert" | "advice"}.${AlertKind}`, string>;

/** The kinds whose subject names such a thing. */
export const kindsAbout = (thing: AlertKindText["about"]): string[] =>
  Object.entries(ALERT_KINDS).filter(([, { about }]) => about === thing).map(([kind]) => kind);

export const ALERT_MESSAGES = Object.fromEntries(
  Object.entries(ALERT_KINDS).flatMap(([kind, { title, advice }]) => [
    [`alert.${kind}`, title],
    [`advice.${kind}`, advice],
  ]),
) as AlertMessages;
