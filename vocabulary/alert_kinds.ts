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
      "a run failed for another reason than `low_ratio` or `ge_failed`, or a schedule could not ask for its run",
    advice:
      "Open the run: its error and log say why, and the page of the error what helps. Correct the cause, then retry the run, or ask for a new one. A failed slot of a schedule has its reason on the schedule's page.",
  },
  low_ratio: {
    title: "Low acceptance ratio",
    about: "label",
    when:
      "the ratio was below 1, whether or not the run's `min_acceptance_ratio` accepts that; the alert says which (`details.accepted`). Duplicates and filtered records do not lower it",
    advice:
      "Look at the run's quarantine: each rejected record has its rule, file and line. Correct mapping, transform or source, then replay the records. It ends with a run whose ratio is 1.",
  },
  ge_failed: {
    title: "Expectations not met",
    about: "label",
    when: "expectations of the suite failed, whether or not the data was loaded",
    advice:
      "Open the run: each expectation is there with counts and samples. Correct the data and load again, or correct the suite and try it first.",
  },
  trend_drop: {
    title: "Ratio is falling",
    about: "label",
    when:
      "the ratio is more than `drop_threshold_pct` (20) % below the mean of the last `trend_window` (7) runs of the label; at least three. The alert stores `ratio`, `avg_ratio`, `threshold_pct`. Version 0.1.0 called it `ratio_drop`",
    advice:
      "Compare the rules that rejected records with those of a good run. Mostly the source has a new format or lacks a field.",
  },
  volume_drop: {
    title: "Fewer rows than usual",
    about: "label",
    when:
      "the rows of a run are `ETL_ALERT_VOLUME_DROP` (0.5: half) or more below the mean of the last `trend_window` (7) runs of the label, at least three; or there are no rows, at the first run too. Never for incremental sources",
    advice:
      "See how many records were read: an empty file, a pattern that matches old names only, a query without result. Ask the source for the rest and load again. Is it right, close the incident.",
  },
  sla_miss: {
    title: "Deadline missed",
    about: "label or stage",
    when:
      "a run or a stage is not done at its deadline; raised within 5 s, while it is still running or waiting",
    advice:
      "See what takes long: the wait for a place in the pool, or a stage. The run goes on; raise the pool's places, or the deadline, where this is usual.",
  },
  schedule_overdue: {
    title: "Schedule is overdue",
    about: "schedule",
    when:
      "a schedule was due and nothing has decided about its run, or its slots cannot be computed",
    advice:
      "See that a server or pg_cron ticks: etl jobs says who does, and health why not. An expression that cannot be read is named at the schedule.",
  },
  stale: {
    title: "Data is stale",
    about: "dataset",
    when:
      "a dataset was not loaded for `ETL_ALERT_STALE_SECONDS` (`etl.datasets.stale_after_seconds` for one)",
    advice:
      "Look for the runs that should have loaded the dataset: failed, waiting, or never asked for.",
  },
  consumer_failed: {
    title: "Consumer failed",
    about: "consumer",
    when: "a consumer of datasets has failed five times with an event, and gives up on it",
    advice:
      "See the consumer's last error under GET /api/consumers, remove the cause, then deliver again: etl redeliver NAME.",
  },
  consumer_late: {
    title: "Consumer is late",
    about: "consumer",
    when: "a dataset event has waited for its consumer for more than 15 minutes",
    advice:
      "See that a server with the role all or worker runs, and whether the consumer's oldest event fails again and again: later ones wait behind it.",
  },
  maintenance_failed: {
    title: "Maintenance failed",
    about: "task",
    when: "a task of `etl_maintenance` failed; the other tasks were done",
    advice:
      "The alert says which task and why; etl maintenance list shows the others. Remove the cause, then run it again: etl maintenance.",
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
