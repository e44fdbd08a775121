import { type Message, say } from "../../../vocabulary/messages.ts";
import { z } from "zod";
import { Problem } from "../../../vocabulary/problem.ts";

/** Where objects are and who reads them: what an `ETL_CONNECTION_<NAME>` or the environment says. */
export interface S3Connection {
  /** URL of the service, without a bucket. */
  endpoint: string;
  region: string;
  /** Whether the bucket stands in the path, `https://host/bucket/key`, not in the host's name. */
  pathStyle: boolean;
  /** Without, requests are not signed: for public buckets. */
  keys: S3Keys | null;
}

export interface S3Keys {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string | undefined;
}

const schema = z.strictObject({
  type: z.literal("s3"),
  endpoint: z.string().optional(),
  region: z.string().regex(/^[a-z0-9-]+$/).optional(),
  path_style: z.boolean().optional(),
  access_key_id: z.string().min(1).optional(),
  secret_access_key: z.string().min(1).optional(),
  session_token: z.string().min(1).optional(),
});

/** Variables of the environment that the AWS command line reads, too. */
export const AWS_VARIABLES = [
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "AWS_REGION",
  "AWS_DEFAULT_REGION",
  "AWS_ENDPOINT_URL",
  "AWS_ENDPOINT_URL_S3",
];

/** Whether the value of an `ETL_CONNECTION_<NAME>` is meant for s3 sources: JSON that says so. */
export function isS3Connection(value: string): boolean {
  return /^\s*\{/.test(value) && /"type"\s*:\s*"s3"/.test(value);
}

/**
 * Reads `{"type": "s3", "region": "eu-central-1", "access_key_id": "…", "secret_access_key": "…"}`, for another service
 * than AWS with `"endpoint": "https://host"`.
 *
 * @throws {Problem} `invalid-conf`, which never shows the value, as it holds secrets.
 */
export function parseS3Connection(variable: string, value: string): S3Connection {
  let json: unknown;
  try {
    json = JSON.parse(value);
  } catch {
    throw wrong(variable, say("is-no-json", {}));
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw wrong(
      variable,
      issue?.code === "unrecognized_keys"
        ? say("has-unknown-name", { name: issue.keys.join(", ") })
        : say("has-no-valid", { name: issue?.path.join(".") ?? "" }),
    );
  }
  const { endpoint, region, path_style, access_key_id, secret_access_key, session_token } =
    parsed.data;
  return connectionOf(variable, {
    endpoint,
    region,
    pathStyle: path_style,
    accessKeyId: access_key_id,
    secretAccessKey: secret_access_key,
    sessionToken: session_token,
  });
}

/** What the environment says in the names of the AWS command line; null where it says nothing. */
export function s3Environment(env: Record<string, string>): S3Connection | null {
  // a region alone is on every machine of AWS, and says nothing
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL } = env;
  const endpoint = AWS_ENDPOINT_URL_S3 || AWS_ENDPOINT_URL;
  if (!AWS_ACCESS_KEY_ID && !AWS_SECRET_ACCESS_KEY && !endpoint) return null;
  return connectionOf(null, {
    endpoint,
    region: env.AWS_REGION || env.AWS_DEFAULT_REGION || undefined,
    accessKeyId: AWS_ACCESS_KEY_ID || undefined,
    secretAccessKey: AWS_SECRET_ACCESS_KEY || undefined,
    sessionToken: env.AWS_SESSION_TOKEN || undefined,
  });
}

function connectionOf(variable: string | null, given: {
  endpoint?: string | undefined;
  region?: string | undefined;
  pathStyle?: boolean | undefined;
  accessKeyId?: string | undefined;
  secretAccessKey?: string | undefined;
  sessionToken?: string | undefined;
}): S3Connection {
  const { accessKeyId, secretAccessKey, sessionToken } = given;
  if ((accessKeyId === undefined) !== (secretAccessKey === undefined)) {
    throw wrong(variable, say("one-key-only", {}));
  }
  const region = given.region ?? "us-east-1";
  const endpoint = given.endpoint ?? `https://s3.${region}.amazonaws.com`;
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw wrong(variable, say("endpoint-no-url", {}));
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw wrong(variable, say("endpoint-too-much", {}));
  }
  return {
    endpoint: url.href,
    region,
    // the names of other services mostly have no addresses for their buckets
    pathStyle: given.pathStyle ?? !/\.amazonaws\.com(\.cn)?$/.test(url.hostname),
    keys: accessKeyId === undefined || secretAccessKey === undefined
      ? null
      : { accessKeyId, secretAccessKey, sessionToken },
  };
}

/** `variable`: null of what the command line of AWS calls its variables. */
function wrong(variable: string | null, what: Message): Problem {
  return new Problem("invalid-conf", {
    detail: variable === null
      ? say("s3-environment-wrong", { what })
      : say("s3-connection-wrong", { variable, what }),
  });
}

/** Hosts that a connection's buckets are read from, as address lists have them. */
export function hostsOfS3({ endpoint, pathStyle }: S3Connection): string[] {
  const { protocol, hostname, port } = new URL(endpoint);
  const host = `${hostname}:${port || (protocol === "http:" ? "80" : "443")}`;
  return pathStyle ? [host] : [host, `*.${host}`];
}

/** What must not be seen of a connection. */
export function secretsOfS3({ keys }: S3Connection): string[] {
  if (keys === null) return [];
  const { secretAccessKey, sessionToken } = keys;
  return [secretAccessKey, sessionToken ?? ""]
    .flatMap((text) => [text, encodeURIComponent(text)])
    .filter((text) => text.length >= 6);
}
