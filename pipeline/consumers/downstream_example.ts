/**
 * An example of a pipeline that runs whenever the ETL has loaded something.
 * Copy this file, rename the consumer, put it into registered.ts, and change
 * what it reads and writes.
 *
 * It reads the newest metrics and the events, makes a report of them, stores
 * it in etl.reports (GET /api/reports/latest), and cleans up on request.
 */
import { z } from "zod";
import type { Queryable } from "../../store/pg.ts";
import { quoteTable } from "../../store/pg.ts";
import { insertReport, removeOlderReports } from "../../store/reports.ts";
import { type ConsumerContext, defineConsumer } from "./consumer.ts";

const NAME = "etl_downstream_example";
const DATASET = "postgres://etl_improved/etl_improved_events";

/** Parameters, with the defaults that a dataset event starts it with. */
const params = z.object({
  analysis_type: z.enum(["daily_summary"]).default("daily_summary"),
  /** How many event types, sources and days the report lists. */
  top_n: z.number().int().min(1).max(1000).default(10),
  /** Whether to delete its own older reports and its scratch tables. */
  cleanup: z.boolean().default(false),
});

export const downstreamExample = defineConsumer({
  name: NAME,
  datasets: [DATASET],
  params,
  // one report for all events that came while the last one was made
  mode: "batch",
  run: async ({ events, params, db, log }) => {
    const dataset = events.at(-1)?.dataset ?? "public.etl_improved_events";
    const metrics = await readLatestMetrics(db);
    const analysis = await analyse(db, dataset, params.top_n);
    const report = { ...analysis, metrics, loaded: loadedBy(events) };
    const reportId = await insertReport(db, {
      consumer: NAME,
      dataset,
      analysisType: params.analysis_type,
      runIds: events.flatMap((event) => event.run_id ?? []),
      report,
    });
    const removed = params.cleanup ? await cleanUp(db, reportId) : null;
    log.info("report written", { report_id: reportId, dataset, removed });
    return { report_id: reportId, ...(removed === null ? {} : { removed }) };
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

/** Figures of the newest day that has events, and of the days before. */
async function analyse(
  db: Queryable,
  dataset: string,
  topN: number,
): Promise<Record<string, unknown>> {
  const [schema, table] = dataset.split(".") as [string, string];
  // a table of the day's rows, as pipelines have them; gone with the transaction
  await db.query(
    `create temporary table downstream_day on commit drop as
     select event_type, source, event_date, occurred_at from ${quoteTable(schema, table)}
     where event_date = (select max(event_date) from ${quoteTable(schema, table)})`,
  );
  const { rows } = await db.query<{ analysis: Record<string, unknown> }>(
    `select jsonb_build_object(
       'day', (select max(event_date) from downstream_day),
       'events', (select count(*) from downstream_day),
       'first_at', (select etl.iso(min(occurred_at)) from downstream_day),
       'last_at', (select etl.iso(max(occurred_at)) from downstream_day),
       'top_event_types', (select coalesce(jsonb_agg(t), '[]') from (
         select event_type, count(*) as events from downstream_day
         group by event_type order by events desc, event_type limit $1) as t),
       'top_sources', (select coalesce(jsonb_agg(t), '[]') from (
         select source, count(*) as events from downstream_day
         group by source order by events desc, source limit $1) as t),
       'days', (select coalesce(jsonb_agg(t), '[]') from (
         select event_date as day, count(*) as events from ${quoteTable(schema, table)}
         where event_date is not null group by event_date order by event_date desc limit $1) as t)) as analysis`,
    [topN],
  );
  return rows[0]!.analysis;
}

type Events = ConsumerContext<z.infer<typeof params>>["events"];

function loadedBy(events: Events): Record<string, number> {
  const loaded = { runs: events.length, inserted: 0, updated: 0, unchanged: 0 };
  for (const { counts } of events) {
    loaded.inserted += counts.inserted ?? 0;
    loaded.updated += counts.updated ?? 0;
    loaded.unchanged += counts.unchanged ?? 0;
  }
  return loaded;
}

/** Deletes its own reports before this one, and scratch tables that a copy of this file may have left. */
async function cleanUp(
  db: Queryable,
  reportId: number,
): Promise<{ reports: number; scratch_tables: number }> {
  const reports = await removeOlderReports(db, NAME, reportId);
  const { rows } = await db.query<{ name: string }>(
    `select relname as name from pg_class
     where relnamespace = 'etl'::regnamespace and relkind = 'r' and starts_with(relname, $1)
       and pg_has_role(relowner, 'usage')`,
    [`scratch_${NAME}_`],
  );
  for (const { name } of rows) await db.query(`drop table if exists ${quoteTable("etl", name)}`);
  return { reports, scratch_tables: rows.length };
}
