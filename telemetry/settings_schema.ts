import { z } from "zod";
import { TerminalProblem } from "../vocabulary/problem.ts";
import { addressSecrets } from "./http_post.ts";

const flag = z.enum(["true", "false", "1", "0", "on", "off"])
  .transform((text) => ["true", "1", "on"].includes(text));
const whole = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const seconds = z.coerce.number().positive().max(31_536_000);
const share = z.coerce.number().min(0).max(1);

/** Addresses of a list that commas divide. */
const emailAddresses = (text: string) =>
  text.split(",").map((each) => each.trim()).filter((each) => each !== "");
/** Enough to tell a slip; the mail server says whether there is such an address. */
const isEmailAddress = (text: string) => /^[^\s@<>,]+@[^\s@<>,]+$/.test(text);
const webUrl = z.url({ protocol: /^https?$/, error: "must be an http or https URL" });

/** Where PagerDuty takes events, but for its EU region. */
export const PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue";

/** The part of the environment that says where the server reports to. */
export const telemetryEnvironment = {
  ETL_PUBLIC_URL: webUrl.optional()
    .describe("address under which people open this server; links in messages begin with it"),
  SLACK_CONN_ID: z.string().regex(/^[A-Za-z0-9_]+$/, "must be letters, digits and _")
    .default("slack_default")
    .describe("names the webhook to use: the one in SLACK_WEBHOOK_<NAME>"),
  SLACK_WEBHOOK: webUrl.optional()
    .describe("Slack webhook, where SLACK_WEBHOOK_<NAME> of SLACK_CONN_ID is not set"),
  ETL_ALERT_WEBHOOK: webUrl.optional()
    .describe("gets alerts and recoveries as CloudEvents"),
  ETL_ALERT_WEBHOOK_TOKEN: z.string().optional()
    .describe("bearer token for ETL_ALERT_WEBHOOK"),
  ETL_ALERT_EMAIL_TO: z.string().optional().refine(
    (text) => text === undefined || emailAddresses(text).every(isEmailAddress),
    "must be e-mail addresses, divided by commas",
  ).describe("e-mail addresses, divided by commas, that alerts and recoveries go to"),
  ETL_ALERT_EMAIL_FROM: z.string().refine(isEmailAddress, "must be an e-mail address").optional()
    .describe("sender of these mails; default: the first address of ETL_ALERT_EMAIL_TO"),
  ETL_SMTP_URL: z.url({ protocol: /^smtps?$/, error: "must be an smtp or smtps URL" })
    .refine((url) => /^[^?]*(\?tls=off)?$/.test(url), "may have no parameter but ?tls=off")
    .optional()
    .describe(
      "mail server: `smtp://user:password@host:587` (STARTTLS where the server has it; a password requires it unless `?tls=off`) or `smtps://…:465`",
    ),
  ETL_ALERT_TEAMS_WEBHOOK: webUrl.optional()
    .describe("webhook of a Microsoft Teams workflow, which gets Adaptive Cards"),
  ETL_ALERT_PAGERDUTY_KEY: z.string().min(1).optional()
    .describe("integration key of a PagerDuty service (Events API v2)"),
  ETL_ALERT_PAGERDUTY_URL: webUrl.default(PAGERDUTY_URL)
    .describe("where PagerDuty takes events; its EU region has another address"),
  ETL_MAINTENANCE_SLACK: flag.default(true)
    .describe(
      "whether Slack gets a message for each successful maintenance; a failed one raises an alert",
    ),
  ETL_ALERT_SUPPRESS_SECONDS: z.coerce.number().min(0).max(31_536_000).default(3600)
    .describe("seconds between two messages about an open incident"),
  ETL_ALERT_WINDOW: whole(3, 1000).default(7)
    .describe(
      "number of runs of a label whose mean a run is compared with: trend_window, if no variable sets it",
    ),
  ETL_ALERT_RATIO_DROP: share.default(0.2)
    .describe(
      "trend_drop: share by which the ratio may be below that mean; as drop_threshold_pct in percent",
    ),
  ETL_ALERT_VOLUME_DROP: share.default(0.5)
    .describe("volume_drop: share by which the rows may be below that mean"),
  ETL_ALERT_STALE_SECONDS: seconds.optional()
    .describe("stale: seconds that a dataset may go without being loaded; not set: for ever"),
  ETL_RUN_LOG_LINES: whole(10, 100_000).default(1000)
    .describe("last lines of a run's log that are kept"),
  STATSD_HOST: z.string().optional().describe("StatsD server; not set: no StatsD"),
  STATSD_PORT: whole(1, 65535).default(8125).describe("its UDP port"),
  STATSD_PREFIX: z.string().default("airflow").describe("what every StatsD name begins with"),
  STATSD_TAGS: flag.default(false).describe("adds DogStatsD tags: dag_id, task_id, run_label"),
  MLFLOW_TRACKING_URI: webUrl.optional()
    .describe("MLflow server, for runs with mlflow_enable"),
  MLFLOW_TRACKING_TOKEN: z.string().optional().describe("bearer token for MLflow"),
  MLFLOW_TRACKING_USERNAME: z.string().optional().describe("user for MLflow"),
  MLFLOW_TRACKING_PASSWORD: z.string().optional().describe("password for MLflow"),
  OPENLINEAGE_URL: z.url({
    protocol: /^(https?|file)$/,
    error: "must be an http, https or file URL",
  }).optional()
    .describe("OpenLineage server; file:///path appends the events to a file, one a line"),
  OPENLINEAGE_ENDPOINT: z.string().default("api/v1/lineage")
    .describe("path of OPENLINEAGE_URL that takes events"),
  OPENLINEAGE_API_KEY: z.string().optional().describe("bearer token for OpenLineage"),
  OPENLINEAGE_NAMESPACE: z.string().min(1).default("etl_improved")
    .describe("namespace of the jobs in OpenLineage"),
};

const environment = z.object(telemetryEnvironment);

export interface EmailSettings {
  /** `smtp:` or `smtps:`, with user and password where the server wants them. */
  url: string;
  from: string;
  to: string[];
}

/** Where the server reports to, and how finished runs are judged. */
export interface TelemetrySettings {
  /** Without a slash at the end; null: the address that the server listens on. */
  publicUrl: string | null;
  slackWebhook: string | null;
  alertWebhook: { url: string; token: string | null } | null;
  email: EmailSettings | null;
  teamsWebhook: string | null;
  pagerDuty: { key: string; url: string } | null;
  suppressSeconds: number;
  /** Whether Slack is told of maintenances that succeeded. */
  maintenanceSlack: boolean;
  trendWindow: number;
  ratioDrop: number;
  volumeDrop: number;
  staleSeconds: number | null;
  runLogLines: number;
  statsd: { host: string; port: number; prefix: string; tags: boolean } | null;
  mlflow: { url: string; authorization: string | null } | null;
  openLineage: { url: string; apiKey: string | null; namespace: string } | null;
}

/** What telemetry needs of an environment that `telemetryEnvironment` has accepted. */
export function telemetrySettings(env: Record<string, string>): TelemetrySettings {
  const values = environment.parse(env);
  const named = env[`SLACK_WEBHOOK_${values.SLACK_CONN_ID.toUpperCase()}`];
  return {
    publicUrl: values.ETL_PUBLIC_URL?.replace(/\/+$/, "") ?? null,
    slackWebhook: named ?? values.SLACK_WEBHOOK ?? null,
    alertWebhook: values.ETL_ALERT_WEBHOOK === undefined
      ? null
      : { url: values.ETL_ALERT_WEBHOOK, token: values.ETL_ALERT_WEBHOOK_TOKEN ?? null },
    email: emailSettings(values),
    teamsWebhook: values.ETL_ALERT_TEAMS_WEBHOOK ?? null,
    pagerDuty: values.ETL_ALERT_PAGERDUTY_KEY === undefined
      ? null
      : { key: values.ETL_ALERT_PAGERDUTY_KEY, url: values.ETL_ALERT_PAGERDUTY_URL },
    suppressSeconds: values.ETL_ALERT_SUPPRESS_SECONDS,
    maintenanceSlack: values.ETL_MAINTENANCE_SLACK,
    trendWindow: values.ETL_ALERT_WINDOW,
    ratioDrop: values.ETL_ALERT_RATIO_DROP,
    volumeDrop: values.ETL_ALERT_VOLUME_DROP,
    staleSeconds: values.ETL_ALERT_STALE_SECONDS ?? null,
    runLogLines: values.ETL_RUN_LOG_LINES,
    statsd: values.STATSD_HOST === undefined ? null : {
      host: values.STATSD_HOST,
      port: values.STATSD_PORT,
      prefix: values.STATSD_PREFIX,
      tags: values.STATSD_TAGS,
    },
    mlflow: values.MLFLOW_TRACKING_URI === undefined
      ? null
      : { url: values.MLFLOW_TRACKING_URI.replace(/\/+$/, ""), authorization: mlflowAuth(values) },
    openLineage: values.OPENLINEAGE_URL === undefined ? null : {
      url: values.OPENLINEAGE_URL.startsWith("file:")
        ? values.OPENLINEAGE_URL
        : `${values.OPENLINEAGE_URL.replace(/\/+$/, "")}/${
          values.OPENLINEAGE_ENDPOINT.replace(/^\/+/, "")
        }`,
      apiKey: values.OPENLINEAGE_API_KEY ?? null,
      namespace: values.OPENLINEAGE_NAMESPACE,
    },
  };
}

function emailSettings(values: z.infer<typeof environment>): EmailSettings | null {
  const { ETL_ALERT_EMAIL_TO: to, ETL_ALERT_EMAIL_FROM: from, ETL_SMTP_URL: url } = values;
  if (to === undefined && url === undefined) return null;
  if (to === undefined || url === undefined) {
    throw new TerminalProblem("invalid-conf", {
      detail: `Mails need both ETL_SMTP_URL and ETL_ALERT_EMAIL_TO, and ${
        to === undefined ? "ETL_ALERT_EMAIL_TO" : "ETL_SMTP_URL"
      } is not set.`,
    });
  }
  const recipients = emailAddresses(to);
  return { url, from: from ?? recipients[0]!, to: recipients };
}

function mlflowAuth(values: z.infer<typeof environment>): string | null {
  if (values.MLFLOW_TRACKING_TOKEN !== undefined) return `Bearer ${values.MLFLOW_TRACKING_TOKEN}`;
  if (values.MLFLOW_TRACKING_USERNAME === undefined) return null;
  const bytes = new TextEncoder().encode(
    `${values.MLFLOW_TRACKING_USERNAME}:${values.MLFLOW_TRACKING_PASSWORD ?? ""}`,
  );
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

/** What no log line may show. */
export function telemetrySecrets(settings: TelemetrySettings): string[] {
  const { slackWebhook, alertWebhook, email, teamsWebhook, pagerDuty, mlflow, openLineage } =
    settings;
  const [hook, lineage] = [alertWebhook?.url ?? "", openLineage?.url ?? ""];
  return [
    slackWebhook,
    ...addressSecrets(slackWebhook ?? ""),
    ...addressSecrets(hook),
    alertWebhook?.token,
    ...credentials(email?.url),
    ...addressSecrets(teamsWebhook ?? ""),
    pagerDuty?.key,
    ...credentials(mlflow?.url),
    mlflow?.authorization?.replace(/^\w+ /, ""),
    ...credentials(lineage),
    openLineage?.apiKey,
  ].filter((secret): secret is string => typeof secret === "string" && secret !== "");
}

/** The paths of these systems' addresses are no secret, and are words of log lines. */
function credentials(url: string | undefined): string[] {
  if (url === undefined || !URL.canParse(url)) return [];
  const { protocol, host, username, password } = new URL(url);
  return addressSecrets(`${protocol}//${username}:${password}@${host}`);
}
