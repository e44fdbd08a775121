import type { AlertAction, OpenIncident } from "../../../store/alerts.ts";
import { post, request } from "../api.ts";
import { type Command, printList } from "../command.ts";
import { EXIT } from "../exit_codes.ts";

const ACTIONS: Record<string, AlertAction> = {
  ack: "acknowledge",
  silence: "silence",
  close: "close",
};

export const alert: Command = {
  name: "alert",
  summary: "open incidents; acknowledge, silence or close one, or test the channels",
  description:
    `Without arguments lists the open incidents. ack: acknowledge; no more messages about it.
silence: no messages for --minutes. close: it is over. test: send one message to each channel.`,
  arguments: [
    { name: "action", help: "ack, silence, close or test", optional: true },
    { name: "fingerprint", help: "of the incident", optional: true },
  ],
  actions: () => [...Object.keys(ACTIONS), "test"],
  options: {
    minutes: { type: "string", value: "N", help: "how long a silence lasts; default 60" },
  },
  examples: ["etl alert", "etl alert ack run_failed:nightly", "etl alert test"],
  async run(call) {
    const { args: [what, fingerprint], text, out } = call;
    const api = await call.connect();
    if (what === "test") {
      const { channels } = await post<{ channels: string[] }>(api, "/api/alerts/test", {});
      out.line(
        channels.length === 0
          ? "No server has a channel: set SLACK_WEBHOOK, ETL_SMTP_URL or another of docs/observability.md."
          : `On its way to ${channels.join(", ")}.`,
      );
      return channels.length === 0 ? EXIT.failed : EXIT.succeeded;
    }
    const action = what === undefined ? undefined : ACTIONS[what];
    if (action !== undefined && fingerprint !== undefined) {
      await post(api, "/api/alerts/handle", {
        fingerprint,
        action,
        ...(text.minutes === undefined ? {} : { minutes: Number(text.minutes) }),
      });
      out.line(`${fingerprint}: done`);
      return EXIT.succeeded;
    }
    const { items } = await request<{ items: OpenIncident[] }>(api, "/api/alerts/open");
    return printList(call, items, {
      columns: [
        ["FINGERPRINT", ({ fingerprint }) => fingerprint],
        ["SINCE", ({ opened_at }) => opened_at.slice(0, 19).replace("T", " ")],
        ["TIMES", ({ occurrences }) => String(occurrences)],
        ["STATE", stateOf],
      ],
    });
  },
};

function stateOf({ silenced_until, silenced_by, acknowledged_by }: OpenIncident): string {
  if (silenced_until !== null && silenced_until > new Date().toISOString()) {
    return `silenced by ${silenced_by} until ${silenced_until.slice(0, 16)}`;
  }
  return acknowledged_by === null ? "open" : `acknowledged by ${acknowledged_by}`;
}

export const redeliver: Command = {
  name: "redeliver",
  summary: "redeliver the failed events of a consumer",
  description:
    `Redelivers the failed events of CONSUMER (alert consumer_failed), all of them or one, with new
attempts. GET /api/consumers counts them.`,
  arguments: [{ name: "consumer", help: "name of the consumer" }],
  options: { delivery: { type: "string", value: "ID", help: "only this delivery" } },
  examples: ["etl redeliver daily_extract"],
  async run({ args: [consumer], text, out, connect }) {
    const query = text.delivery === undefined
      ? ""
      : `?delivery_id=${encodeURIComponent(text.delivery)}`;
    const { redelivered } = await post<{ redelivered: number }>(
      await connect(),
      `/api/consumers/${encodeURIComponent(consumer!)}/redeliver${query}`,
      {},
    );
    out.line(`${redelivered} ${redelivered === 1 ? "event waits" : "events wait"} again.`);
    return EXIT.succeeded;
  },
};
