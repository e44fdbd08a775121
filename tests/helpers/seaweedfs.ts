import { dirname, join } from "node:path";
import { AwsClient } from "aws4fetch";
import { killTree } from "../../scripts/process_tree.ts";
import { pythonVenv } from "./python.ts";
import { waitFor } from "./wait_for.ts";

export const KEYS = { accessKeyId: "AKIDTEST", secretAccessKey: "se/cr+et=of-the-test" };
export const READER = { accessKeyId: "READERTEST", secretAccessKey: "another/se+cret-of-it" };

/** A real SeaweedFS with its S3 gateway, on loopback only, with a bucket "lake". `volumes` of 64 MB hold it; default 8. */
export async function seaweedfs({ volumes = 8 } = {}) {
  const python = await pythonVenv(
    "seaweedfs",
    new URL("../conformance/seaweedfs_requirements.txt", import.meta.url).pathname,
  );
  const dir = await Deno.makeTempDir({ prefix: "etl-seaweedfs-" });
  const credentials = ({ accessKeyId, secretAccessKey }: typeof KEYS) => [
    { accessKey: accessKeyId, secretKey: secretAccessKey },
  ];
  await Deno.writeTextFile(
    join(dir, "s3.json"),
    JSON.stringify({
      identities: [
        { name: "admin", credentials: credentials(KEYS), actions: ["Admin"] },
        { name: "other", credentials: credentials(READER), actions: ["Read:another"] },
      ],
    }),
  );
  const ports = freePorts(8);
  const [s3] = ports as [number];
  const names = ["s3", "master", "volume", "filer", "s3", "master", "volume", "filer"];
  const child = new Deno.Command(join(dirname(python), "weed"), {
    args: [
      "-logtostderr=false",
      `-logdir=${dir}`,
      "server",
      `-dir=${dir}`,
      "-ip=127.0.0.1",
      "-ip.bind=127.0.0.1",
      "-master.telemetry=false",
      `-volume.max=${volumes}`,
      "-master.volumeSizeLimitMB=64",
      "-s3",
      `-s3.config=${dir}/s3.json`,
      "-s3.port.iceberg=0",
      "-s3.port.lance=0",
      ...ports.map((port, i) => `-${names[i]}.port${i < 4 ? "" : ".grpc"}=${port}`),
    ],
    cwd: dir,
    stdout: "null",
    stderr: "null",
  }).spawn();
  const endpoint = `http://127.0.0.1:${s3}`;
  const client = new AwsClient({ ...KEYS, service: "s3", region: "us-east-1", retries: 0 });
  const send = async (method: string, path: string, body?: Uint8Array<ArrayBuffer>) => {
    const response = await client.fetch(`${endpoint}/${path}`, {
      method,
      ...(body === undefined ? {} : { body }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return { text, etag: response.headers.get("etag")! };
  };
  await waitFor(() => send("PUT", "lake").then(() => true, () => false), {
    timeoutMs: 60_000,
    intervalMs: 200,
    what: "SeaweedFS to make a bucket",
  });
  await waitFor(
    () => send("PUT", "lake/ready", new Uint8Array([1])).then(() => true, () => false),
    { timeoutMs: 60_000, intervalMs: 200, what: "SeaweedFS to store an object" },
  );
  return {
    endpoint,
    host: `127.0.0.1:${s3}`,
    send,
    put: (key: string, content: string | Uint8Array) =>
      send(
        "PUT",
        `lake/${key.split("/").map(encodeURIComponent).join("/")}`,
        typeof content === "string" ? new TextEncoder().encode(content) : new Uint8Array(content),
      ),
    async [Symbol.asyncDispose]() {
      await killTree(child.pid);
      await child.status;
      await Deno.remove(dir, { recursive: true });
    },
  };
}

function freePorts(count: number): number[] {
  const listeners = Array.from(
    { length: count },
    () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  );
  const ports = listeners.map(({ addr }) => (addr as Deno.NetAddr).port);
  for (const listener of listeners) listener.close();
  return ports;
}
