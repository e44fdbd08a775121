import type { Config } from "./config.ts";
import { secretsOfConnection } from "../pipeline/sources/http/connection.ts";
import { secretsOfS3 } from "../pipeline/sources/s3/connection.ts";
import { isDsn, passwordForms } from "../store/dsn.ts";
import { telemetrySecrets } from "../telemetry/settings_schema.ts";

/**
 * What no log line may show: the passwords in connection strings, plain and
 * encoded, the environment's token and its key of hashes. Other tokens the log knows by their form.
 */
export function secretsOf(config: Config): string[] {
  const dsns = [config.dsn, config.cronDsn ?? "", ...Object.values(config.connections)];
  const passwords = dsns.flatMap((dsn) => isDsn(dsn) ? passwordForms(dsn) : []);
  const { remotes } = config;
  const http = Object.values(remotes.http).flatMap(secretsOfConnection);
  const s3 = [...Object.values(remotes.s3), remotes.s3Environment].flatMap((connection) =>
    connection === null ? [] : secretsOfS3(connection)
  );
  const own = [config.adminToken, config.hashSecret].filter((secret) => secret !== null);
  return [...passwords, ...http, ...s3, ...own, ...telemetrySecrets(config.telemetry)];
}
