import type { Sql } from "../store/database.ts";
import {
  type ExportFacts,
  exportFacts,
  type ExportOutcome,
  type ExportTarget,
  markExport,
  nextExport,
  type PendingExport,
} from "../store/exports.ts";
import type { Lease } from "../store/leases.ts";
import { DeliveryError } from "../telemetry/http_post.ts";
import type { Log } from "../telemetry/log.ts";

/** Tells a run to another system. Throws a DeliveryError where that fails. */
export type Exporter = (
  pending: PendingExport,
  facts: ExportFacts,
  progress: ExportProgress,
) => Promise<ExportOutcome>;

/** What an exporter has come to, kept also when it fails after that. */
export interface ExportProgress {
  startedAt: string | null;
  externalId: string | null;
}

export interface ExportDrainOptions {
  sql: Sql;
  target: ExportTarget;
  exporter: Exporter;
  log: Log;
  /** The target's: one server tells it at a time. */
  lease: Lease;
}

/** With pauses that double up to 10 minutes, about an hour and a half. */
const MAX_ATTEMPTS = 16;
const MAX_PAUSE_MS = 600_000;

/** Tells all runs that wait, one after the other. No transaction is open while one is told. */
export async function drainExports(options: ExportDrainOptions): Promise<void> {
  const { sql, target, log, lease } = options;
  while (!lease.signal.aborted) {
    const pending = await nextExport(sql, target);
    if (pending === null) return;
    const facts = await exportFacts(sql, pending);
    const outcome = await attempt(pending, facts, options);
    const { run_id, end_no } = pending;
    await markExport(sql, target, { run_id, end_no, outcome, holder: lease.holder });
    if (outcome.error) {
      log.warn(`run could not be told to ${target}`, {
        run_id,
        error: outcome.error,
        ...(outcome.retryMs === undefined ? {} : { again_in_ms: outcome.retryMs }),
      });
    }
  }
}

async function attempt(
  pending: PendingExport,
  facts: ExportFacts,
  { exporter, log }: ExportDrainOptions,
): Promise<ExportOutcome> {
  const progress: ExportProgress = {
    startedAt: pending.started_at,
    externalId: pending.external_id,
  };
  try {
    const outcome = await exporter(pending, facts, progress);
    return { ...progress, ...outcome };
  } catch (thrown) {
    if (!(thrown instanceof DeliveryError)) {
      log.error("a run could not be exported", { run_id: pending.run_id, error: thrown });
    }
    const error = thrown instanceof DeliveryError
      ? thrown
      : new DeliveryError("could not be put into words; the server's log says why", {
        retryable: false,
      });
    const last = !error.retryable || pending.attempts + 1 >= MAX_ATTEMPTS;
    const pause = Math.min(1_000 * 2 ** pending.attempts, MAX_PAUSE_MS);
    return {
      ...progress,
      error: error.message,
      ...(last
        ? { state: "failed" }
        : { state: "pending", retryMs: Math.max(error.retryAfterMs ?? 0, pause) }),
    };
  }
}
