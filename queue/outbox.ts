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
import { channelState, markSent, markUnsent, pendingNotifications } from "../store/alerts.ts";
import { delay } from "../store/retry.ts";
import { DeliveryError } from "../telemetry/http_post.ts";
import type { Exporter, ExportProgress, Notification, Sender } from "../telemetry/integration.ts";
import type { Log } from "../telemetry/log.ts";

interface ExportDrainOptions {
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
      log.warn(`run could not be sent to ${target}`, {
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
      : new DeliveryError("message could not be made; see the server's log", {
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

interface NotifierOptions {
  sql: Sql;
  channel: string;
  sender: Sender;
  log: Log;
  /** The channel's: one server sends to it at a time. */
  lease: Lease;
}

/** Longest rest of a failing channel. */
const MAX_REST_MS = 300_000;
/** Notifications that nobody took for so long are given up. */
const MAX_AGE_HOURS = 24;

/**
 * Sends what waits for a channel, several in one message. No transaction is open meanwhile: whoever dies leaves
 * them to the next, who sends them again under the same id.
 */
export async function drainChannel(options: NotifierOptions): Promise<void> {
  const alone = { left: 0 };
  while (!options.lease.signal.aborted && await sendOne(options, alone));
}

/**
 * One message; whether there may be more to send. What is refused with several in it is sent again one by one,
 * which `alone` counts, so that the one that is to blame is given up and no other.
 */
async function sendOne(
  { sql, channel, sender, log, lease }: NotifierOptions,
  alone: { left: number },
): Promise<boolean> {
  const { waitMs, blockedMs, failures } = await channelState(sql, channel);
  if (blockedMs > 0) return false;
  await delay(waitMs, lease.signal);
  const rows = await pendingNotifications(sql, channel, alone.left > 0 ? 1 : sender.batch);
  if (rows.length === 0 || lease.signal.aborted) return false;
  const ids = rows.map((row) => row.notification_id);
  alone.left = Math.max(0, alone.left - 1);
  let remark: string | void;
  try {
    remark = await sender.send(rows.map(({ notification_id, type, payload }) => ({
      id: notification_id,
      type,
      payload: payload as Notification["payload"],
    })));
  } catch (thrown) {
    const error = thrown instanceof DeliveryError
      ? thrown
      : new DeliveryError("could not be made", { retryable: false });
    const retryMs = error.retryable
      ? Math.max(error.retryAfterMs ?? 0, Math.min(1_000 * 2 ** failures, MAX_REST_MS))
      : null;
    if (retryMs === null && rows.length > 1) {
      alone.left = rows.length;
      log.warn("a message with several alerts was refused, they are sent one by one", {
        channel,
        error: error.message,
      });
      return true;
    }
    await markUnsent(sql, channel, {
      ids,
      error: error.message,
      retryMs,
      maxAgeHours: MAX_AGE_HOURS,
    });
    log.warn("alerts could not be sent", {
      channel,
      error: thrown instanceof DeliveryError ? error.message : thrown,
      alerts: ids.length,
      again_in_ms: retryMs,
    });
    return !error.retryable;
  }
  if (remark !== undefined) log.warn("alerts were sent in part", { channel, error: remark });
  await markSent(sql, channel, { ids, intervalMs: sender.intervalMs });
  return true;
}
