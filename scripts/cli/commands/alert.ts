import type { AlertAction, OpenIncident } from "../../../store/alerts.ts";
import { post, request } from "../api.ts";
import { type Action, type Call, type Command, printList, runAction } from "../command.ts";
import { EXIT, type ExitCode } from "../exit_codes.ts";
import { printable } from "../text.ts";

const HANDLED: Record<string, AlertAction> = {
  ack: "acknowledge",
  silence: "silence",
  close: "close",
};

const ACTIONS: Record<string, Action> = {
  ...Object.fromEntries(
    Object.keys(HANDLED).map((
      name,
    ) => [name, { needs: "the incident's fingerprint", run: handle }]),
  ),
  test: { run: test },
};

export const alert: Command = {
  name: "alert",
  summary: "open incidents; acknowledge, silence or close one, or test the channels",
  description:
    `Without arguments lists the open incidents. ack: acknowledge; no more messages about it.
silence: no messages for --minutes. close: it is over. test: send one message to each channel.`,
  arguments: [
    { name: "ACTION", help: "ack, silence, close or test; default: list them", optional: true },
    { name: "FINGERPRINT", help: "of the incident", optional: true },
  ],
  actions: () => Object.keys(ACTIONS),
  options: {
    minutes: { type: "string", value: "N", help: "how long a silence lasts; default 60" },
  },
  examples: ["etl alert", "etl alert ack run_failed:nightly", "etl alert test"],
  run: (call) => call.args.length === 0 ? list(call) : runAction("alert", ACTIONS, call),
};

async function handle(call: Call, fingerprint: string): Promise<ExitCode> {
  const { minutes } = call.text;
  const handled = await post<unknown>(await call.connect(), "/api/alerts/handle", {
    fingerprint,
    action: HANDLED[call.args[0]!],
    // what is no number goes as it is: the server says what would be right
    ...(minutes === undefined ? {} : { minutes: Number(minutes) || minutes }),
  });
  call.out.line(call.flags.json ? JSON.stringify(handled) : `${printable(fingerprint)}: done`);
  return EXIT.succeeded;
}

async function test(call: Call): Promise<ExitCode> {
  const sent = await post<{ channels: string[] }>(await call.connect(), "/api/alerts/test", {});
  const { channels } = sent;
  call.out.line(
    call.flags.json
      ? JSON.stringify(sent)
      : channels.length === 0
      ? "No server has a channel: set SLACK_WEBHOOK, ETL_SMTP_URL or another of docs/observability.md."
      : `On its way to ${channels.join(", ")}.`,
  );
  return channels.length === 0 ? EXIT.failed : EXIT.succeeded;
}

async function list(call: Call): Promise<ExitCode> {
  const { items } = await request<{ items: OpenIncident[] }>(
    await call.connect(),
    "/api/alerts/open",
  );
  return printList(call, items, {
    none: "No incident is open.",
    columns: [
      ["FINGERPRINT", ({ fingerprint }) => fingerprint],
      ["SINCE", ({ opened_at }) => opened_at.slice(0, 19).replace("T", " ")],
      ["TIMES", ({ occurrences }) => String(occurrences)],
      ["STATE", stateOf],
    ],
  });
}

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
  arguments: [{ name: "CONSUMER", help: "name of the consumer" }],
  options: { delivery: { type: "string", value: "ID", help: "only this delivery" } },
  examples: ["etl redeliver daily_extract"],
  async run({ args: [consumer], text, flags, out, connect }) {
    const query = text.delivery === undefined
      ? ""
      : `?delivery_id=${encodeURIComponent(text.delivery)}`;
    const done = await post<{ redelivered: number }>(
      await connect(),
      `/api/consumers/${encodeURIComponent(consumer!)}/redeliver${query}`,
      {},
    );
    const { redelivered } = done;
    out.line(
      flags.json
        ? JSON.stringify(done)
        : `${redelivered} ${redelivered === 1 ? "event waits" : "events wait"} again.`,
    );
    return EXIT.succeeded;
  },
};
