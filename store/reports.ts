import type { Sql } from "./database.ts";
import type { Queryable } from "./pg.ts";

/** A report as a consumer writes it. */
export interface NewReport {
  consumer: string;
  dataset: string | null;
  analysisType: string;
  /** Runs that it takes into account. */
  runIds: string[];
  report: Record<string, unknown>;
}

/** A report as the API shows it. */
export interface ReportView {
  report_id: number;
  consumer: string;
  dataset: string | null;
  analysis_type: string;
  run_ids: string[];
  report: Record<string, unknown>;
  created_at: string;
}

/** Stores a report; answers its id. */
export async function insertReport(db: Queryable, report: NewReport): Promise<number> {
  const { rows } = await db.query<{ report_id: string }>(
    `insert into etl.reports (consumer, dataset, analysis_type, run_ids, report)
     values ($1, $2, $3, $4, $5) returning report_id`,
    [report.consumer, report.dataset, report.analysisType, report.runIds, report.report],
  );
  return Number(rows[0]!.report_id);
}

/** The newest report, of a consumer or an analysis if given; null where there is none. */
export async function latestReport(
  sql: Sql,
  filter: { consumer?: string | undefined; analysisType?: string | undefined } = {},
): Promise<ReportView | null> {
  const { consumer, analysisType } = filter;
  const [row] = await sql<{ report: ReportView }[]>`
    select jsonb_build_object('report_id', report_id, 'consumer', consumer, 'dataset', dataset,
      'analysis_type', analysis_type, 'run_ids', to_jsonb(run_ids), 'report', report,
      'created_at', etl.iso(created_at)) as report
    from etl.reports where true
      ${consumer === undefined ? sql`` : sql`and consumer = ${consumer}`}
      ${analysisType === undefined ? sql`` : sql`and analysis_type = ${analysisType}`}
    order by created_at desc, report_id desc limit 1`;
  return row?.report ?? null;
}
