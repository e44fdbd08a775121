/**
 * An example of a pipeline that runs whenever the ETL has loaded something.
 * Copy this file to ETL_CONSUMERS_DIR, rename the consumer, and change what it reads and writes.
 *
 * It reads the newest metrics and the events, makes a report of them, stores
 * it in etl.reports (GET /api/reports/latest), and cleans up on request.
 */
import { z } from "zod";
import type { Queryable } from "../../store/pg.ts";
import { quoteTable } from "../../store/quote.ts";
import { insertReport } from "../../store/reports.ts";
import { type ConsumerContext, defineConsumer } from "./consumer.ts";

const NAME = "etl_downstream_example";
const DATASET = "postgres://etl_improved/etl_improved_events";

/** What a report may be about: the newest day, all events by type and source, days that are unlike the others. */
export const ANALYSES = ["daily_summary", "by_type", "anomalies"] as const;

/** Parameters, with the defaults that a dataset event starts it with. */
const params = z.object({
  analysis_type: z.enum(ANALYSES).default("daily_summary"),
  /** How many event types, sources, days or anomalies the report lists. */
  top_n: z.number().int().min(1).max(1000).default(10),
  /** Whether to drop temporary tables of the run at its end. */
  cleanup: z.boolean().default(false),
});

export const downstreamExample = defineConsumer({
  name: NAME,
  datasets: [DATASET],
  params,
  // one report for all events that came while the last one was made
  mode: "batch",
  // and at most one a second, however many small runs there are
  pauseMs: 1_000,
  run: async ({ events, params, db, log }) => {
    const dataset = events.at(-1)?.dataset ?? "public.etl_improved_events";
    const tasks: Record<string, number> = {};
    /** A step with the name of the original's task: how long it took is told, and which one failed. */
    const task = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
      const started = performance.now();
      try {
        return await work();
      } catch (error) {
        if (error instanceof Error) error.message = `${name}: ${error.message}`;
        throw error;
      } finally {
        tasks[name] = performance.now() - started;
      }
    };
    const metrics = await task("read_latest_metrics", () => readLatestMetrics(db));
    const analysis = await task(
      "analyze_events",
      () => ANALYSE[params.analysis_type](db, dataset, params.top_n),
    );
    const reportId = await task("generate_report", () =>
      insertReport(db, {
        consumer: NAME,
        dataset,
        analysisType: params.analysis_type,
        runIds: events.flatMap((event) => event.run_id ?? []),
        report: { ...analysis, metrics, loaded: loadedBy(events) },
      }));
    const removed = await task(
      "cleanup_temp_data",
      async () => params.cleanup ? await cleanUp(db) : null,
    );
    log.info("report written", { report_id: reportId, dataset, removed });
    return { report_id: reportId, ...(removed === null ? {} : { removed }), tasks };
  },
});

/** The newest run with a ratio, as GET /api/metrics/latest shows it; null before the first. */
async function readLatestMetrics(db: Queryable): Promise<Record<string, unknown> | null> {
  const { rows } = await db.query<{ metrics: Record<string, unknown> }>(
    `select jsonb_build_object('run_id', run_id, 'run_label', run_label, 'status', status, 'total_rows', total_rows,
       'expected_rows', expected_rows, 'ratio', ratio, 'created_at', etl.iso(created_at)) as metrics
     from public.v_etl_latest_metrics`,
  );
  return rows[0]?.metrics ?? null;
}

/** Figures of the newest day that has events, and of the days before: reads no more than the days that it lists. */
async function dailySummary(
  db: Queryable,
  dataset: string,
  topN: number,
): Promise<Record<string, unknown>> {
  const table = tableOf(dataset);
  const newest = await db.query<{ day: string | null }>(
    `select quote_literal(date_trunc('day', max(occurred_at), 'UTC')) as day from ${table}`,
  );
  const day = `${newest.rows[0]!.day ?? "null"}::timestamptz`;
  const { rows } = await db.query<{ analysis: Record<string, unknown> }>(
    `with recursive days (day) as (
       select ${day}
       union all
       select (select date_trunc('day', max(occurred_at), 'UTC') from ${table} where occurred_at < d.day)
       from days as d where d.day is not null),
     newest as materialized (
       select event_type, source, count(*) as events, min(occurred_at) as first_at, max(occurred_at) as last_at
       from ${table} where ${within(day)} group by event_type, source)
     select jsonb_build_object(
       'day', (${day} at time zone 'UTC')::date,
       'events', coalesce(sum(d.events), 0), 'first_at', etl.iso(min(d.first_at)), 'last_at', etl.iso(max(d.last_at)),
       'top_event_types', (select coalesce(jsonb_agg(t), '[]') from (
         select event_type, sum(events) as events from newest
         group by event_type order by events desc, event_type limit $1) as t),
       'top_sources', (select coalesce(jsonb_agg(t), '[]') from (
         select source, sum(events) as events from newest
         group by source order by events desc, source limit $1) as t),
       'days', (select coalesce(jsonb_agg(t), '[]') from (
         select (c.day at time zone 'UTC')::date as day, (select count(*) from ${table} where ${
      within("c.day")
    }) as events
         from (select day from days limit $1) as c where c.day is not null) as t)) as analysis
     from newest as d`,
    [topN],
  );
  return rows[0]!.analysis;
}

/** Condition on the events of a day in UTC. */
const within = (day: string) =>
  `occurred_at >= ${day} and occurred_at < ${day} + interval '24 hours'`;

/** All events by type and source, with the time that each covers. */
async function byType(db: Queryable, dataset: string, topN: number) {
  const { rows } = await db.query<{ analysis: Record<string, unknown> }>(
    `select jsonb_build_object('events', coalesce(sum(t.events), 0), 'types', coalesce(jsonb_agg(t order by t.events desc, t.event_type)
       filter (where t.place <= $1), '[]')) as analysis
     from (select event_type, source, count(*) as events, etl.iso(min(occurred_at)) as first_at, etl.iso(max(occurred_at)) as last_at,
         row_number() over (order by count(*) desc, event_type, source) as place
       from ${tableOf(dataset)} group by event_type, source) as t`,
    [topN],
  );
  return rows[0]!.analysis;
}

/** Days whose number of events is more than two standard deviations away from the mean of all days, the farthest first. */
async function anomalies(db: Queryable, dataset: string, topN: number) {
  const { rows } = await db.query<{ analysis: Record<string, unknown> }>(
    `with days as (
       select event_date as day, count(*) as events from ${
      tableOf(dataset)
    } where event_date is not null group by event_date),
     figures as (select avg(events) as mean, stddev_samp(events) as deviation, count(*) as days from days)
     select jsonb_build_object('days', f.days, 'mean', round(f.mean, 2), 'deviation', round(f.deviation, 2),
       'anomalies', coalesce((select jsonb_agg(a) from (
         select d.day, d.events, round((d.events - f.mean) / f.deviation, 2) as deviations from days as d
         where abs(d.events - f.mean) > 2 * f.deviation
         order by abs(d.events - f.mean) desc, d.day limit $1) as a), '[]')) as analysis
     from figures as f`,
    [topN],
  );
  return rows[0]!.analysis;
}

const ANALYSE = { daily_summary: dailySummary, by_type: byType, anomalies };

function tableOf(dataset: string): string {
  const [schema, table] = dataset.split(".") as [string, string];
  return quoteTable(schema, table);
}

type Events = ConsumerContext<z.infer<typeof params>>["events"];

function loadedBy(events: Events): Record<string, number> {
  const loaded = {
    runs: events.length,
    inserted: 0,
    updated: 0,
    unchanged: 0,
    deleted: 0,
    marked: 0,
  };
  for (const { counts } of events) {
    loaded.inserted += counts.inserted ?? 0;
    loaded.updated += counts.updated ?? 0;
    loaded.unchanged += counts.unchanged ?? 0;
    loaded.deleted += counts.deleted ?? 0;
    loaded.marked += counts.marked ?? 0;
  }
  return loaded;
}

/** Drops the temporary tables that the run has made (this example makes none). Older reports are not its business. */
async function cleanUp(db: Queryable): Promise<{ tables: number }> {
  const { rows } = await db.query<{ name: string }>(
    `select c.oid::regclass::text as name from pg_class as c
     where c.relnamespace = pg_my_temp_schema() and c.relkind = 'r'`,
  );
  for (const { name } of rows) await db.query(`drop table if exists ${name}`);
  return { tables: rows.length };
}
