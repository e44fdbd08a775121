import type { Sql } from "../store/database.ts";
import type { Lease } from "../store/leases.ts";
import {
  channelState,
  markSent,
  markUnsent,
  pendingNotifications,
} from "../store/notifications.ts";
import { delay } from "../store/retry.ts";
import { DeliveryError } from "../telemetry/http_post.ts";
import type { Log } from "../telemetry/log.ts";
import type { Notification, Sender } from "../telemetry/notification.ts";

export interface NotifierOptions {
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
  while (!options.lease.signal.aborted && await sendOne(options));
}

/** One message; whether there may be more to send. */
async function sendOne({ sql, channel, sender, log, lease }: NotifierOptions): Promise<boolean> {
  const { waitMs, blockedMs, failures } = await channelState(sql, channel);
  if (blockedMs > 0) return false;
  await delay(waitMs, lease.signal);
  const rows = await pendingNotifications(sql, channel, sender.batch);
  if (rows.length === 0 || lease.signal.aborted) return false;
  const ids = rows.map((row) => row.notification_id);
  try {
    await sender.send(rows.map(({ notification_id, type, payload }) => ({
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
  await markSent(sql, channel, { ids, intervalMs: sender.intervalMs });
  return true;
}
