import { request } from "../http_post.ts";
import { adviceUrl, type Notification, runUrl, type Sender } from "../integration.ts";

export interface CloudEventsOptions {
  /** `source` of the events: the address of this server. */
  source: string;
  token: string | null;
  timeoutMs?: number;
}

/** A notification as CloudEvents 1.0 in structured mode; receivers deduplicate by source and id. */
function cloudEvent(notification: Notification, source: string): Record<string, unknown> {
  const { id, type, payload } = notification;
  return {
    specversion: "1.0",
    id,
    source,
    type: `etl-improved.alert.${type}`,
    subject: payload.subject,
    time: payload.at,
    datacontenttype: "application/json",
    data: {
      ...payload,
      run_url: runUrl(notification, source),
      advice_url: adviceUrl(notification, source),
    },
  };
}

/** Sends to any web address that takes CloudEvents. */
export class CloudEventsSender implements Sender {
  readonly batch = 1;
  readonly intervalMs = 0;
  readonly #url: string;
  readonly #options: CloudEventsOptions;

  constructor(url: string, options: CloudEventsOptions) {
    this.#url = url;
    this.#options = options;
  }

  async send(notifications: Notification[]): Promise<void> {
    const { source, token, timeoutMs = 10_000 } = this.#options;
    for (const notification of notifications) {
      await request(this.#url, {
        timeoutMs,
        headers: {
          "content-type": "application/cloudevents+json; charset=utf-8",
          ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        },
        body: JSON.stringify(cloudEvent(notification, source)),
      });
    }
  }
}
