import { Connection } from "../store/connection.ts";
import { delay } from "../store/retry.ts";
import { lockChannel, markSent, markUnsent, pendingNotifications } from "../store/notifications.ts";
import { DeliveryError } from "../telemetry/http_post.ts";
import type { Log } from "../telemetry/log.ts";
import type { Notification, Sender } from "../telemetry/notification.ts";
import { heldTransaction } from "./held_transaction.ts";

export interface NotifierOptions {
  dsn: string;
  channel: string;
  sender: Sender;
  log: Log;
  signal: AbortSignal;
}

/** Longest rest of a failing channel. */
const MAX_REST_MS = 300_000;
/** Notifications that nobody took for so long are given up. */
const MAX_AGE_HOURS = 24;

/**
 * Sends what waits for a channel, several in one message. The rows stay locked
 * while a message is on its way: whoever dies then leaves them for the next,
 * who sends them again under the same id.
 */
export async function drainChannel(options: NotifierOptions): Promise<void> {
  const connection = new Connection(options.dsn, `etl-improved ${options.channel}`);
  try {
    while (!options.signal.aborted && await sendOne(connection, options));
  } finally {
    await connection.close();
  }
}

/** One message; whether there may be more to send. */
function sendOne(connection: Connection, options: NotifierOptions): Promise<boolean> {
  const { channel, sender, log, signal } = options;
  return heldTransaction(connection, signal, async (client) => {
    const { waitMs, blockedMs, failures } = await lockChannel(client, channel);
    if (blockedMs > 0) return false;
    await delay(waitMs, signal);
    if (signal.aborted) return false;
    const rows = await pendingNotifications(client, channel, sender.batch);
    if (rows.length === 0) return false;
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
      await markUnsent(client, channel, {
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
    await markSent(client, channel, { ids, intervalMs: sender.intervalMs });
    return true;
  });
}
