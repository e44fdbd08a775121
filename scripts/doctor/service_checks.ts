import type { Config } from "../../server/config.ts";
import { connectionProblem } from "../../store/connection_problem.ts";
import { connect } from "../../store/pg.ts";
import { type Check, guarded, ok, warn } from "./check.ts";

const LIMIT_MS = 5_000;

/** Whether what the server talks to can be reached. Nothing is posted anywhere. */
export async function serviceChecks(config: Config): Promise<Check[]> {
  const { telemetry, connections } = config;
  const urls: [string, string | null | undefined][] = [
    ["Slack", telemetry.slackWebhook],
    ["alert webhook", telemetry.alertWebhook?.url],
    ["MLflow", telemetry.mlflow?.url],
    ["OpenLineage", telemetry.openLineage?.url],
  ];
  const looks = [
    ...urls.flatMap(([name, url]) =>
      url && !url.startsWith("file:") ? [guarded(name, () => reached(name, url))] : []
    ),
    ...Object.entries(connections).map(([name, dsn]) =>
      guarded(`connection ${name}`, () => connected(`connection ${name}`, dsn))
    ),
  ];
  return (await Promise.all(looks)).flat();
}

/** The address may be a secret: only its host is shown. */
async function reached(name: string, url: string): Promise<Check> {
  const { origin, host } = new URL(url);
  try {
    const answer = await fetch(origin, {
      method: "HEAD",
      redirect: "manual",
      signal: AbortSignal.timeout(LIMIT_MS),
    });
    await answer.body?.cancel();
    return answer.status >= 500
      ? warn(name, `${host} answers ${answer.status}`, "See what is the matter there.")
      : ok(name, `${host} answers`);
  } catch (error) {
    const why = error instanceof DOMException
      ? `no answer in ${LIMIT_MS / 1000} s`
      : "no way there";
    return warn(
      name,
      `${host} cannot be reached: ${why}`,
      "Check the address, DNS, proxy and firewall; runs go on, and messages are tried again.",
    );
  }
}

async function connected(name: string, dsn: string): Promise<Check> {
  try {
    const client = await connect(dsn, { connectTimeoutMs: LIMIT_MS });
    await client.end();
    return ok(name, "can be connected to");
  } catch (error) {
    const found = connectionProblem(error, dsn)?.message ?? (error as Error).message;
    return warn(name, found, "Sources that use it fail until then.");
  }
}
