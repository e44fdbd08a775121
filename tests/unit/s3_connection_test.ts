import assert from "node:assert/strict";
import {
  AWS_VARIABLES,
  hostsOfS3,
  isS3Connection,
  parseS3Connection,
  s3Environment,
  secretsOfS3,
} from "../../pipeline/sources/s3/connection.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { serverPermissions } from "../../scripts/server_permissions.ts";
import { readConfig } from "../../server/config.ts";
import { secretsOf } from "../../server/secrets.ts";

const KEYS = { access_key_id: "AKIDEXAMPLE", secret_access_key: "never/shown+anywhere" };
const text = (rest: Record<string, unknown>) => JSON.stringify({ type: "s3", ...KEYS, ...rest });

Deno.test("a connection of object storage has AWS's address for its region, or an endpoint with buckets in the path", () => {
  const aws = parseS3Connection("X", text({ region: "eu-central-1" }));
  assert.deepEqual([aws.endpoint, aws.pathStyle], [
    "https://s3.eu-central-1.amazonaws.com/",
    false,
  ]);
  assert.deepEqual(hostsOfS3(aws), [
    "s3.eu-central-1.amazonaws.com:443",
    "*.s3.eu-central-1.amazonaws.com:443",
  ]);
  const minio = parseS3Connection("X", text({ endpoint: "http://minio:9000" }));
  assert.deepEqual([minio.region, minio.pathStyle, hostsOfS3(minio)], ["us-east-1", true, [
    "minio:9000",
  ]]);
  assert.equal(parseS3Connection("X", '{"type": "s3"}').keys, null);
  assert.ok(!isS3Connection('{"url": "https://h/s3"}'));
});

Deno.test("the environment says where object storage is as it does for the AWS command line", () => {
  const [url, own] = ["https://all.test", "https://s3.test"];
  const at = (env: Record<string, string>) => s3Environment(env)?.endpoint;
  assert.equal(at({ AWS_ENDPOINT_URL: url }), `${url}/`);
  assert.equal(
    at({ AWS_ENDPOINT_URL: url, AWS_ENDPOINT_URL_S3: own }),
    `${own}/`,
    "S3's own first",
  );
  assert.equal(s3Environment({ AWS_REGION: "eu-central-1" }), null);
  const of = { AWS_ENDPOINT_URL: url, AWS_DEFAULT_REGION: "eu-west-1" };
  assert.equal(s3Environment(of)!.region, "eu-west-1");
  assert.equal(s3Environment({ ...of, AWS_REGION: "eu-north-1" })!.region, "eu-north-1");
  assert.throws(() => s3Environment({ AWS_ACCESS_KEY_ID: "A" }), /one of the two keys/);
  // the server may read what is looked at
  const read = new Set<string | symbol>();
  s3Environment(
    new Proxy({ AWS_ENDPOINT_URL: url }, {
      get: (given, name) => (read.add(name), Reflect.get(given, name)),
    }),
  );
  assert.deepEqual([...read].sort(), AWS_VARIABLES.toSorted());
});

Deno.test("a connection of object storage that is wrong is refused by name, without its value", () => {
  const wrong: [string, RegExp][] = [
    ['{"type": "s3", "secret_access_key": "never/shown+anywhere"', /^X is no JSON/],
    [text({ regoin: "x" }), /a name that is not known \(regoin\)/],
    [text({ region: "EU West" }), /no valid region/],
    [
      JSON.stringify({ type: "s3", secret_access_key: KEYS.secret_access_key }),
      /one of the two keys/,
    ],
    [text({ endpoint: "ftp://h" }), /not an http\(s\) URL/],
    [text({ endpoint: "https://user:never@h" }), /more than a host/],
  ];
  for (const [value, message] of wrong) {
    assert.throws(() => parseS3Connection("X", value), (error: Problem) => {
      assert.match(error.message, message);
      assert.ok(!error.message.includes("never"));
      return true;
    });
  }
});

Deno.test("the server takes keys of object storage from its environment, hides them and may reach their endpoint", () => {
  const env = {
    KPIS_PG_DSN: "postgres://etl@db.internal/etl",
    ETL_DATA_DIR: "data",
    ETL_SPOOL_DIR: "spool",
    ETL_CONNECTION_LAKE: text({ endpoint: "http://10.1.2.3:9000" }),
    AWS_REGION: "eu-west-1",
  };
  assert.equal(s3Environment(env), null, "a region alone says nothing");
  const config = readConfig({
    ...env,
    AWS_ACCESS_KEY_ID: "AKIDOTHER",
    AWS_SECRET_ACCESS_KEY: "the/other+secret",
  }, 2);
  assert.equal(config.remotes.s3Environment!.endpoint, "https://s3.eu-west-1.amazonaws.com/");
  const hidden = secretsOf(config);
  for (const secret of ["never/shown+anywhere", "the/other+secret", "the%2Fother%2Bsecret"]) {
    assert.ok(hidden.includes(secret), secret);
  }
  assert.deepEqual(secretsOfS3(config.remotes.s3.lake!), [
    "never/shown+anywhere",
    "never%2Fshown%2Banywhere",
  ]);
  const net = serverPermissions(env, { projectDir: "/srv" }).find((arg) =>
    arg.startsWith("--allow-net")
  )!;
  assert.ok(net.split(/[=,]/).includes("10.1.2.3:9000"), net);
});
