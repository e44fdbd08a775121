import { nearestName } from "../vocabulary/nearest_name.ts";
import { environmentSchema } from "./config.ts";
import { maintenanceSchema } from "../pipeline/maintenance/params.ts";
import { paramsSchema } from "../pipeline/params.ts";

/** Names of environment variables that this program reads: those of the server, and of what is around it. */
export const KNOWN_VARIABLES: readonly string[] = [
  ...Object.keys(environmentSchema.shape),
  "ETL_SERVER",
  "ETL_TOKEN",
  "ETL_POOL",
  "ETL_EMBEDDED_PG_DIR",
  "ETL_DEBUG",
  "ETL_ENVIRONMENT",
  ...Object.keys(paramsSchema.shape).map((name) => `ETL_IMPROVED__${name.toUpperCase()}`),
  ...Object.keys(maintenanceSchema.shape).map((name) => `ETL_MAINTENANCE__${name.toUpperCase()}`),
];

/** Names that are made up as needed, and those that the tests, compose.yaml and Grafana read. */
const FREE = [
  /^ETL_CONNECTION_[A-Z][A-Z0-9_]*$/,
  /^SLACK_WEBHOOK_[A-Z0-9_]+$/,
  /^ETL_TEST_/,
  /^ETL_GRAFANA_/,
];

/** What Kubernetes sets for each service of the namespace, after the service's name. */
const OF_A_SERVICE = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$/;

/** A variable that nothing reads. */
export interface UnknownVariable {
  name: string;
  /** The known name that was probably meant, if one is near. */
  meant?: string;
}

/** Those of `names` that nothing reads, sorted. `<NAME>_FILE` is read where `<NAME>` is. */
export function unknownVariables(names: Iterable<string>): UnknownVariable[] {
  const all = new Set(names);
  return [...all].sort().flatMap((given) => {
    const name = given.replace(/_FILE$/, "");
    const upper = /^etl_[a-z]+__/.test(name) ? name.toUpperCase() : name;
    if (KNOWN_VARIABLES.includes(upper) || FREE.some((pattern) => pattern.test(name))) return [];
    if (all.has(`${given.replace(OF_A_SERVICE, "")}_SERVICE_HOST`)) return [];
    const meant = nearestName(upper, KNOWN_VARIABLES);
    return [{ name: given, ...(meant === undefined ? {} : { meant }) }];
  });
}
