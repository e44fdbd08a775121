import { request } from "../http_post.ts";
import {
  adviceUrl,
  facts,
  headline,
  type Notification,
  runUrl,
  type Sender,
} from "../integration.ts";

/** Longest text of a card, whose message may have 28 KB. */
const MAX_TEXT = 5_000;

/** Sends to the webhook of a Teams workflow ("Post to a channel when a webhook request is received"). */
export class TeamsSender implements Sender {
  readonly batch = 1;
  // Teams takes four messages a second
  readonly intervalMs = 250;
  readonly #url: string;
  readonly #publicUrl: string;

  constructor(url: string, options: { publicUrl: string }) {
    this.#url = url;
    this.#publicUrl = options.publicUrl;
  }

  async send(notifications: Notification[]): Promise<void> {
    for (const each of notifications) {
      await request(this.#url, {
        headers: { "content-type": "application/json; charset=utf-8" },
        body: JSON.stringify(teamsMessage(each, this.#publicUrl)),
      });
    }
  }
}

/**
 * A message with an Adaptive Card 1.4. Text of others stands in a RichTextBlock, where Teams reads no markdown.
 * https://adaptivecards.io/explorer, https://learn.microsoft.com/connectors/teams
 */
export function teamsMessage(notification: Notification, publicUrl: string) {
  const { type, payload: { severity, message } } = notification;
  const url = runUrl(notification, publicUrl);
  const actions = [
    { title: "Run", url },
    { title: "What to do", url: adviceUrl(notification, publicUrl) },
  ].filter((each) => each.url !== null).map((each) => ({ type: "Action.OpenUrl", ...each }));
  const color = type === "recovered" ? "Good" : severity === "error" ? "Attention" : "Warning";
  const plain = (text: string, look: Record<string, unknown> = {}) => ({
    type: "RichTextBlock",
    inlines: [{ type: "TextRun", text: text.slice(0, MAX_TEXT), ...look }],
  });
  return {
    type: "message",
    attachments: [{
      contentType: "application/vnd.microsoft.card.adaptive",
      contentUrl: null,
      content: {
        $schema: "http://adaptivecards.io/schemas/adaptive-card.json",
        type: "AdaptiveCard",
        version: "1.4",
        body: [
          plain(headline(notification), { weight: "Bolder", size: "Medium", color }),
          plain(message),
          ...Object.entries(facts(notification)).map(([name, value]) =>
            plain(`${name}: ${value}`, { size: "Small", isSubtle: true })
          ),
        ],
        ...(actions.length === 0 ? {} : { actions }),
      },
    }],
  };
}
