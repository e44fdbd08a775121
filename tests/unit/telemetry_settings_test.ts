import assert from "node:assert/strict";
import {
  PAGERDUTY_URL,
  telemetrySecrets,
  telemetrySettings,
} from "../../telemetry/settings_schema.ts";

Deno.test("a server that is told nothing reports to nobody, and judges runs as documented", () => {
  assert.deepEqual(telemetrySettings({}), {
    publicUrl: null,
    slackWebhook: null,
    alertWebhook: null,
    email: null,
    teamsWebhook: null,
    pagerDuty: null,
    suppressSeconds: 3600,
    maintenanceSlack: true,
    trendWindow: 7,
    ratioDrop: 0.2,
    volumeDrop: 0.5,
    staleSeconds: null,
    runLogLines: 1000,
    statsd: null,
    mlflow: null,
    openLineage: null,
  });
  const { statsd, openLineage, pagerDuty } = telemetrySettings({
    STATSD_HOST: "statsd.test",
    OPENLINEAGE_URL: "https://lineage.test",
    ETL_ALERT_PAGERDUTY_KEY: "k3y",
  });
  assert.deepEqual(statsd, { host: "statsd.test", port: 8125, prefix: "airflow", tags: false });
  assert.deepEqual(openLineage, {
    url: "https://lineage.test/api/v1/lineage",
    apiKey: null,
    namespace: "etl_improved",
  });
  assert.deepEqual(pagerDuty, { key: "k3y", url: PAGERDUTY_URL });
});

Deno.test("what the environment says of reporting is what the server does", () => {
  const { statsd, alertWebhook, pagerDuty, staleSeconds, suppressSeconds } = telemetrySettings({
    STATSD_HOST: "statsd.test",
    STATSD_PORT: "9125",
    STATSD_PREFIX: "etl",
    STATSD_TAGS: "on",
    ETL_ALERT_WEBHOOK: "https://hook.test/x",
    ETL_ALERT_WEBHOOK_TOKEN: "t0ken",
    ETL_ALERT_PAGERDUTY_KEY: "k3y",
    ETL_ALERT_PAGERDUTY_URL: "https://events.eu.test/v2/enqueue",
    ETL_ALERT_STALE_SECONDS: "60",
    ETL_ALERT_SUPPRESS_SECONDS: "0",
  });
  assert.deepEqual(statsd, { host: "statsd.test", port: 9125, prefix: "etl", tags: true });
  assert.deepEqual(alertWebhook, { url: "https://hook.test/x", token: "t0ken" });
  assert.deepEqual(pagerDuty, { key: "k3y", url: "https://events.eu.test/v2/enqueue" });
  assert.deepEqual([staleSeconds, suppressSeconds], [60, 0]);
  for (const [text, told] of [["1", true], ["true", true], ["off", false], ["0", false]] as const) {
    assert.equal(telemetrySettings({ ETL_MAINTENANCE_SLACK: text }).maintenanceSlack, told, text);
  }
});

Deno.test("addresses may end in slashes; a file of lineage is taken as it is", () => {
  const env = {
    ETL_PUBLIC_URL: "https://etl.test/base//",
    MLFLOW_TRACKING_URI: "https://mlflow.test/",
    OPENLINEAGE_URL: "https://lineage.test/",
    OPENLINEAGE_ENDPOINT: "/events",
  };
  const { publicUrl, mlflow, openLineage } = telemetrySettings(env);
  assert.deepEqual(
    [publicUrl, mlflow?.url, openLineage?.url],
    ["https://etl.test/base", "https://mlflow.test", "https://lineage.test/events"],
  );
  const file = { OPENLINEAGE_URL: "file:///var/lineage.jsonl" };
  assert.equal(telemetrySettings(file).openLineage?.url, file.OPENLINEAGE_URL);
  for (const name of ["ETL_PUBLIC_URL", "ETL_ALERT_WEBHOOK", "MLFLOW_TRACKING_URI"]) {
    assert.throws(() => telemetrySettings({ [name]: "ftp://h.test/" }), /must be an http or https/);
  }
  assert.throws(() => telemetrySettings({ OPENLINEAGE_URL: "ftp://h.test/" }), /https or file URL/);
});

Deno.test("Slack's webhook is the one that SLACK_CONN_ID names, else SLACK_WEBHOOK", () => {
  const SLACK_WEBHOOK = "https://hooks.test/any";
  const env = { SLACK_WEBHOOK, SLACK_WEBHOOK_OPS: "https://hooks.test/ops" };
  assert.equal(telemetrySettings(env).slackWebhook, SLACK_WEBHOOK);
  const named = { ...env, SLACK_CONN_ID: "ops" };
  assert.equal(telemetrySettings(named).slackWebhook, env.SLACK_WEBHOOK_OPS);
  const byDefault = { ...env, SLACK_WEBHOOK_SLACK_DEFAULT: "https://hooks.test/default" };
  assert.equal(telemetrySettings(byDefault).slackWebhook, "https://hooks.test/default");
});

Deno.test("mails go to each address of the list, from the first of them unless another is given", () => {
  const env = { ETL_SMTP_URL: "smtp://h", ETL_ALERT_EMAIL_TO: " a@b.test, ,c@d.test," };
  const { email } = telemetrySettings(env);
  assert.deepEqual(email, { url: "smtp://h", from: "a@b.test", to: ["a@b.test", "c@d.test"] });
  const other = telemetrySettings({ ...env, ETL_ALERT_EMAIL_FROM: "etl@b.test" });
  assert.equal(other.email?.from, "etl@b.test");
  const wrong = (given: Record<string, string>, said: RegExp) =>
    assert.throws(() => telemetrySettings(given), said);
  wrong({ ETL_SMTP_URL: "smtp://h" }, /ETL_ALERT_EMAIL_TO is not set/);
  wrong({ ETL_ALERT_EMAIL_TO: "a@b.test" }, /ETL_SMTP_URL is not set/);
  wrong({ ...env, ETL_ALERT_EMAIL_TO: "a@b.test, nobody" }, /must be e-mail addresses/);
  wrong({ ...env, ETL_ALERT_EMAIL_FROM: "ETL <etl@b.test>" }, /must be an e-mail address/);
  wrong({ ...env, ETL_SMTP_URL: "smtp://h?x=1" }, /no parameter but \?tls=off/);
  wrong({ ...env, ETL_SMTP_URL: "https://h" }, /must be an smtp or smtps URL/);
});

Deno.test("MLflow is shown a token, else a user with a password of any letters", () => {
  const authorization = (env: Record<string, string>) =>
    telemetrySettings({ MLFLOW_TRACKING_URI: "https://mlflow.test", ...env }).mlflow?.authorization;
  const user = { MLFLOW_TRACKING_USERNAME: "ann", MLFLOW_TRACKING_PASSWORD: "pä€" };
  assert.equal(authorization({}), null);
  assert.equal(authorization({ ...user, MLFLOW_TRACKING_TOKEN: "t0ken" }), "Bearer t0ken");
  // "ann:pä€" in UTF-8, as MLflow's own client sends it
  assert.equal(authorization(user), "Basic YW5uOnDDpOKCrA==");
  assert.equal(authorization({ MLFLOW_TRACKING_USERNAME: "ann" }), "Basic YW5uOg==");
});

Deno.test("passwords, keys and webhooks are secrets, words of other addresses are none", () => {
  const secrets = telemetrySecrets(telemetrySettings({
    SLACK_WEBHOOK: "https://hooks.test/services/s1ack",
    ETL_SMTP_URL: "smtp://ann:pass%20word@mail.test",
    ETL_ALERT_EMAIL_TO: "a@b.test",
    ETL_ALERT_TEAMS_WEBHOOK: "https://teams.test/workflows/t0psecret?sig=s1gnature",
    ETL_ALERT_PAGERDUTY_KEY: "k3y",
    MLFLOW_TRACKING_URI: "https://ann:mlpw@mlflow.test/tracking",
    MLFLOW_TRACKING_TOKEN: "bear3r",
    OPENLINEAGE_URL: "https://ann:olpw@lineage.test/events",
  }));
  const some = ["/services/s1ack", "pass word", "pass%20word", "s1gnature", "k3y", "mlpw"];
  for (const secret of [...some, "bear3r", "olpw"]) assert.ok(secrets.includes(secret), secret);
  for (const word of ["/tracking", "/events", "/events/api/v1/lineage"]) {
    assert.ok(!secrets.includes(word), word);
  }
});
