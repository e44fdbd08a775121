import type { Config } from "../../server/config.ts";
import { Problem } from "../../vocabulary/problem.ts";
import type { Sql } from "../../store/database.ts";
import { tokenState } from "../../store/tokens.ts";
import { Access } from "./access.ts";
import { isLoopback } from "./client_address.ts";

interface AccessDeps {
  sql: Sql;
  config: Pick<Config, "host" | "allowedHosts" | "adminToken">;
}

/** What judges callers, by the configuration of the server. */
export function accessOf({ sql, config }: AccessDeps): Access {
  return new Access({ sql, adminToken: config.adminToken, exposed: whyExposed(config) !== null });
}

/**
 * Refuses to serve others than this machine without a token: whoever reaches the
 * port could load data, read files below ETL_DATA_DIR and everything that is stored.
 */
export async function requireSafeAddress({ sql, config }: AccessDeps): Promise<void> {
  const why = whyExposed(config);
  if (why === null || config.adminToken !== null || (await tokenState(sql)).usable) return;
  throw new Problem("unauthorized", {
    detail: `${why}, so that others than this machine can ask this server, and there is no API ` +
      "token: anybody could start runs and read what is stored. Set ETL_ADMIN_TOKEN, e.g. to the " +
      "output of `openssl rand -hex 32`, or make a token with `deno task etl token create NAME " +
      "--role admin`. Without ETL_HOST and ETL_ALLOWED_HOSTS the server is for this machine alone. " +
      "docs/security.md says more.",
  });
}

/** What lets others than this machine in; null where nothing does. */
function whyExposed({ host, allowedHosts }: AccessDeps["config"]): string | null {
  if (!isLoopback(host)) return `ETL_HOST is ${host}`;
  const other = allowedHosts.find((each) => !isLoopback(each));
  return other === undefined ? null : `ETL_ALLOWED_HOSTS names ${other}`;
}
