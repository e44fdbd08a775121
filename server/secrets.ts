import type { Config } from "./config.ts";
import { secretsOfConnection } from "../pipeline/sources/http/connection.ts";
import { isDsn, passwordForms } from "../store/dsn.ts";
import { telemetrySecrets } from "../telemetry/settings_schema.ts";

/**
 * What no log line may show: the passwords in connection strings, plain and
 * encoded, and the token of the environment. Other tokens the log knows by their form.
 */
export function secretsOf(config: Config): string[] {
  const dsns = [config.dsn, config.cronDsn ?? "", ...Object.values(config.connections)];
  const passwords = dsns.flatMap((dsn) => isDsn(dsn) ? passwordForms(dsn) : []);
  const http = Object.values(config.httpConnections).flatMap(secretsOfConnection);
  const admin = config.adminToken === null ? [] : [config.adminToken];
  return [...passwords, ...http, ...admin, ...telemetrySecrets(config.telemetry)];
}
