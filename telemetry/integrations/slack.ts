import { IncomingWebhook, type IncomingWebhookSendArguments } from "@slack/webhook";
import type { AlertSeverity } from "../../vocabulary/words.ts";
import { DeliveryError, statusError, withoutAddress } from "../http_post.ts";
import { adviceUrl, headline, type Notification, runUrl, type Sender } from "../integration.ts";

/** Slack's own limits: characters of a section, blocks of a message. */
const MAX_SECTION = 2_900;
const MAX_SECTIONS = 20;

const ICONS: Record<string, string> = {
  error: "\u{1F534}",
  warning: "\u{1F7E0}",
  info: "\u2705",
} satisfies Record<AlertSeverity, string>;

/** Text of others in a Slack message: nothing in it is a link, a mention or a command. */
function escapeSlack(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** Keeps what stands around it apart, and is not seen. */
const WORD_JOINER = "\u2060";

/** The same where Slack also reads markup: no bold, no code, no bare address that it makes a link of. */
function withoutMarkup(text: string): string {
  return escapeSlack(text).replaceAll(/[*_~`@]|:(?=\/\/)|\.(?=\w)/g, `$&${WORD_JOINER}`);
}

/** One message for notifications that came together, each with a link to its run. */
export function slackMessage(
  notifications: Notification[],
  publicUrl: string,
): IncomingWebhookSendArguments {
  const blocks = notifications.flatMap((notification) => section(notification, publicUrl));
  return { text: summary(notifications), blocks, unfurl_links: false, unfurl_media: false };
}

function summary(notifications: Notification[]): string {
  const [first] = notifications;
  const rest = notifications.length - 1;
  const text = `${headline(first!)}: ${first!.payload.message}`.slice(0, 300);
  return withoutMarkup(rest > 0 ? `${text} (and ${rest} more)` : text);
}

type Block = NonNullable<IncomingWebhookSendArguments["blocks"]>[number];

function section(notification: Notification, publicUrl: string): Block[] {
  const { type, id, payload } = notification;
  const advice = adviceUrl(notification, publicUrl);
  const icon = ICONS[type === "recovered" ? "info" : payload.severity] ?? ICONS.warning;
  const details = [
    payload.run_id === null ? null : `<${runUrl(notification, publicUrl)}|run ${payload.run_id}>`,
    advice === null ? null : `<${advice}|what to do>`,
    (payload.suppressed_before ?? 0) > 0
      ? `${payload.suppressed_before} more since the last message`
      : null,
    (payload.occurrences ?? 1) > 1
      ? `${payload.occurrences} times since ${payload.opened_at}`
      : null,
    payload.at,
    `id ${id}`,
  ].filter((part) => part !== null);
  const text = escapeSlack(
    `${icon} ${headline(notification)}\n${payload.message}`.slice(0, MAX_SECTION),
  );
  return [
    // of plain text Slack makes no link, no mention and no markup
    {
      type: "section",
      text: { type: "plain_text", text: text.slice(0, MAX_SECTION), emoji: false },
    },
    context(details.join("  ·  ")),
  ];
}

function context(text: string): Block {
  return { type: "context", elements: [{ type: "mrkdwn", text }] };
}

/** Sends to a Slack webhook, which takes one message a second: what waits goes into one. */
export class SlackSender implements Sender {
  readonly batch = MAX_SECTIONS;
  readonly intervalMs = 1_000;
  readonly #url: string;
  readonly #publicUrl: string;
  readonly #timeoutMs: number;

  constructor(url: string, options: { publicUrl: string; timeoutMs?: number }) {
    this.#url = url;
    this.#publicUrl = options.publicUrl;
    this.#timeoutMs = options.timeoutMs ?? 10_000;
  }

  /** Throws a DeliveryError, whose text does not hold the webhook's address: that is its password. */
  async send(notifications: Notification[]): Promise<void> {
    let refused: DeliveryError | undefined;
    // the library does not tell Retry-After, nor what was wrong with an answer of 200
    const watched: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (!response.ok) {
        const text = await response.clone().text();
        refused = statusError(response, withoutAddress(text, this.#url));
      }
      if (response.ok && (response.headers.get("content-type") ?? "").includes("html")) {
        refused = new DeliveryError("answered with a web page instead of Slack's ok", {
          retryable: true,
        });
      }
      return response;
    };
    const webhook = new IncomingWebhook(this.#url, { timeout: this.#timeoutMs, fetch: watched });
    try {
      await webhook.send(slackMessage(notifications, this.#publicUrl));
    } catch (error) {
      throw refused ?? new DeliveryError(
        (error as Error).message.replaceAll(/https?:\/\/\S+/g, "(address)").slice(0, 300),
        { retryable: true },
      );
    }
    if (refused !== undefined) throw refused;
  }
}
