import type { Config } from "./config.ts";
import { isDsn, passwordForms } from "./store/dsn.ts";
import { telemetrySecrets } from "./telemetry/settings_schema.ts";

/**
 * What no log line may show: the passwords in connection strings, plain and
 * encoded, and the token of the environment. Other tokens the log knows by their form.
 */
export function secretsOf(config: Config): string[] {
  const dsns = [config.dsn, config.cronDsn ?? "", ...Object.values(config.connections)];
  const passwords = dsns.flatMap((dsn) => isDsn(dsn) ? passwordForms(dsn) : []);
  const admin = config.adminToken === null ? [] : [config.adminToken];
  return [...passwords, ...admin, ...telemetrySecrets(config.telemetry)];
}
