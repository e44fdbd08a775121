import { type Config, readConfig } from "../../server/config.ts";
import { unknownVariables } from "../../server/environment_names.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { type Check, fail, ok, warn } from "./check.ts";

/** Names with this beginning are ours, or meant to be. */
const OURS = /^(ETL|KPIS)_/i;
/** Other programs have names with these, so that only what is nearly one of ours is told of. */
const SHARED = /^(STATSD|OPENLINEAGE|SLACK|MLFLOW)_/;
/** Names, values, and what is usually forgotten. `config` is undefined where the values are not valid. */
export function environmentChecks(
  env: Record<string, string>,
): { checks: Check[]; config: Config | undefined } {
  const checks = misspelled(env);
  let config: Config | undefined;
  try {
    config = readConfig({ ...env, KPIS_PG_DSN: env.KPIS_PG_DSN || "postgres://embedded" }, 1);
    checks.push(ok("environment", "its values are valid"));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    checks.push(
      fail("environment", error.message, "Correct it; docs/configuration.md has every variable."),
    );
  }
  if (config !== undefined) checks.push(...forgotten(config));
  return { checks, config };
}

function misspelled(env: Record<string, string>): Check[] {
  return unknownVariables(Object.keys(env))
    .filter(({ name, meant }) => OURS.test(name) || meant !== undefined && SHARED.test(name))
    .map(({ name, meant }) =>
      warn(
        "environment",
        `${name} is no variable of ours and does nothing`,
        meant === undefined
          ? "Remove it, or see docs/configuration.md."
          : `Is ${meant} meant? Otherwise remove it.`,
      )
    );
}

function forgotten(config: Config): Check[] {
  const { telemetry, host, allowedHosts } = config;
  const checks: Check[] = [];
  if (telemetry.slackWebhook === null && telemetry.alertWebhook === null) {
    checks.push(
      warn(
        "alerts",
        "neither SLACK_WEBHOOK nor ETL_ALERT_WEBHOOK is set: alerts are stored and nobody is told",
        "Set one of them, or watch GET /api/alerts/recent or Prometheus.",
      ),
    );
  } else if (telemetry.publicUrl === null) {
    checks.push(
      warn(
        "alerts",
        "ETL_PUBLIC_URL is not set: links in messages lead to the address that this server listens on",
        "Set ETL_PUBLIC_URL to the address under which people open the dashboard.",
      ),
    );
  } else {
    checks.push(ok("alerts", "somebody is told"));
  }
  const wide = !["127.0.0.1", "::1", "localhost"].includes(host);
  if (wide && allowedHosts.length === 0) {
    checks.push(
      warn(
        "access",
        `ETL_HOST is ${host}, and only requests to localhost are answered`,
        "Set ETL_ALLOWED_HOSTS to the names and addresses under which this server is asked.",
      ),
    );
  }
  return checks;
}
