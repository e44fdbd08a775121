import { DeliveryError, request } from "../http_post.ts";
import { adviceUrl, headline, type Notification, runUrl, type Sender } from "../integration.ts";

export interface PagerDutyOptions {
  /** Integration key of the service. */
  key: string;
  /** Where events are taken. */
  url: string;
}

/** Limits of the Events API v2: characters of a summary, of a dedup_key. */
const MAX_SUMMARY = 1_024;
const MAX_KEY = 255;

/** Sends to PagerDuty's Events API v2: an incident there for each incident here, which ends with it. */
export class PagerDutySender implements Sender {
  readonly batch = 1;
  // 120 events a minute
  readonly intervalMs = 500;
  readonly #options: PagerDutyOptions;
  readonly #publicUrl: string;

  constructor(options: PagerDutyOptions, { publicUrl }: { publicUrl: string }) {
    this.#options = options;
    this.#publicUrl = publicUrl;
  }

  async send(notifications: Notification[]): Promise<void> {
    for (const each of notifications) {
      for (const event of pagerDutyEvents(each, this.#publicUrl)) await this.#post(event);
    }
  }

  async #post(event: Record<string, unknown>): Promise<void> {
    const { key, url } = this.#options;
    try {
      await request(url, {
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ routing_key: key, ...event }),
      });
    } catch (error) {
      if (!(error instanceof DeliveryError)) throw error;
      throw new DeliveryError(error.message.replaceAll(key, "(secret)"), {
        retryable: error.retryable,
        retryAfterMs: error.retryAfterMs,
      });
    }
  }
}

/** What is sent of a notification, without the key. A test opens nothing that stays open. */
export function pagerDutyEvents(
  notification: Notification,
  publicUrl: string,
): Record<string, unknown>[] {
  const { type, payload } = notification;
  const { kind, severity, message, fingerprint, run_label, at, details } = payload;
  const dedup_key = fingerprint.slice(0, MAX_KEY);
  const resolve = { event_action: "resolve", dedup_key };
  if (type === "recovered") return [resolve];
  const url = runUrl(notification, publicUrl);
  const links = [
    { href: url, text: "Run" },
    { href: adviceUrl(notification, publicUrl), text: "What to do" },
  ].filter(({ href }) => href !== null);
  const trigger = {
    event_action: "trigger",
    dedup_key,
    client: "etl-improved",
    client_url: `${publicUrl}/etl/alerts`,
    payload: {
      summary: `${headline(notification)}: ${message}`.slice(0, MAX_SUMMARY),
      source: new URL(publicUrl).host,
      severity: ["error", "warning", "info"].includes(severity) ? severity : "error",
      timestamp: at,
      class: kind,
      ...(run_label === null ? {} : { group: run_label }),
      custom_details: details,
    },
    ...(links.length === 0 ? {} : { links }),
  };
  return kind === "test" ? [trigger, resolve] : [trigger];
}
