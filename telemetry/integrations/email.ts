import { createHash } from "node:crypto";
import { connect, type Socket } from "node:net";
import nodemailer from "nodemailer";
import { addressSecrets, DeliveryError } from "../http_post.ts";
import {
  adviceUrl,
  facts,
  headline,
  type Notification,
  runUrl,
  type Sender,
} from "../integration.ts";
import type { EmailSettings } from "../settings_schema.ts";

/** Sends mails over SMTP: a mail a notification, so that a mail program keeps an incident's together. */
export class EmailSender implements Sender {
  readonly batch = 1;
  readonly intervalMs = 0;
  readonly #settings: EmailSettings;
  readonly #publicUrl: string;
  readonly #timeoutMs: number;

  constructor(settings: EmailSettings, options: { publicUrl: string; timeoutMs?: number }) {
    this.#settings = settings;
    this.#publicUrl = options.publicUrl;
    this.#timeoutMs = options.timeoutMs ?? 20_000;
  }

  /** Answers which addresses the server refused, where it took others. */
  async send(notifications: Notification[]): Promise<string | void> {
    const transport = nodemailer.createTransport(this.#options());
    try {
      for (const each of notifications) {
        const info = await transport.sendMail(mail(each, this.#settings, this.#publicUrl));
        if (info.rejected.length > 0) {
          return `the mail server does not take mails to ${info.rejected.join(", ")}`;
        }
      }
    } catch (error) {
      throw this.#problem(error as SmtpError);
    } finally {
      transport.close();
    }
  }

  #options() {
    const { protocol, hostname, port, username, password, searchParams } = new URL(
      this.#settings.url,
    );
    const host = decodeURIComponent(hostname).replace(/^\[(.*)\]$/, "$1");
    const secure = protocol === "smtps:";
    const timeoutMs = this.#timeoutMs;
    return {
      host,
      port: Number(port || (secure ? 465 : 587)),
      secure,
      // a password goes nowhere in clear text, unless somebody says so
      requireTLS: password !== "" && searchParams.get("tls") !== "off",
      ignoreTLS: searchParams.get("tls") === "off",
      ...(username === "" ? {} : {
        auth: { user: decodeURIComponent(username), pass: decodeURIComponent(password) },
      }),
      connectionTimeout: timeoutMs,
      greetingTimeout: timeoutMs,
      socketTimeout: timeoutMs,
      disableFileAccess: true,
      disableUrlAccess: true,
      // the library would ask the name servers itself, which the server's permissions do not allow
      getSocket: openSocket,
    };
  }

  #problem(error: SmtpError): DeliveryError {
    const hidden = addressSecrets(this.#settings.url)
      .reduce((text, secret) => text.replaceAll(secret, "(secret)"), error.message);
    return new DeliveryError(hidden.replaceAll(/\s+/g, " ").slice(0, 300), {
      // what is wrong with this mail stays so; a password or an address of the server can be put right
      retryable: !(["EENVELOPE", "EMESSAGE"].includes(error.code ?? "") &&
        (error.responseCode ?? 0) >= 500),
    });
  }
}

interface SmtpError extends Error {
  code?: string;
  /** What the server answered, e.g. 550. */
  responseCode?: number;
}

function openSocket(
  options: { host?: string; port?: number | string; connectionTimeout?: number },
  done: (error: Error | null, socket?: { connection: Socket }) => void,
): void {
  const { host = "localhost", port = 587, connectionTimeout = 20_000 } = options;
  const socket = connect({ host, port: Number(port) });
  const end = (error: Error | null) => {
    clearTimeout(timer);
    socket.removeListener("error", end);
    if (error === null) return done(null, { connection: socket });
    socket.destroy();
    done(error);
  };
  const timer = setTimeout(() => end(new Error("did not answer in time")), connectionTimeout);
  socket.once("error", end);
  socket.once("connect", () => end(null));
}

function mail(notification: Notification, { from, to }: EmailSettings, publicUrl: string) {
  const { id, payload: { message, fingerprint, opened_at } } = notification;
  const host = from.slice(from.lastIndexOf("@") + 1);
  const incident = createHash("sha256").update(`${fingerprint} ${opened_at}`).digest("hex");
  const link = runUrl(notification, publicUrl) ?? `${publicUrl}/etl/alerts`;
  const advice = adviceUrl(notification, publicUrl);
  const lines = Object.entries(facts(notification)).map(([name, value]) => `${name}: ${value}`);
  return {
    from: { name: "etl-improved", address: from },
    to,
    subject: `[etl-improved] ${headline(notification)}`.replaceAll(/\s+/g, " ").slice(0, 300),
    text: `${message}\n\n${lines.join("\n")}\n${link}\n${
      advice === null ? "" : `What to do: ${advice}\n`
    }`,
    // the same when it is sent again, so that a repetition can be told
    messageId: `<${id}@${host}>`,
    references: `<${incident.slice(0, 32)}@${host}>`,
    headers: { "auto-submitted": "auto-generated", "x-auto-response-suppress": "All" },
  };
}
