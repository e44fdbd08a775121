import { say } from "../../../vocabulary/messages.ts";
import picomatch from "picomatch";
import { basename } from "node:path";
import { Problem } from "../../../vocabulary/problem.ts";
import { checkPin, globMatcher, naturalOrder } from "../file.ts";
import { contentEncodings } from "../http/download.ts";
import { areParts, planFiles, type PlanFilesOptions, readParts } from "../local/plan_files.ts";
import type { RawFile } from "../local/prepare_input.ts";
import type { Part } from "../local/slice_packer.ts";
import { parseS3Url, type S3Conf } from "../schema.ts";
import type { Plan, PlanContext, ReadContext, Remotes, SourceAdapter } from "../source.ts";
import { Bucket, type S3Object } from "./bucket.ts";
import type { S3Connection } from "./connection.ts";

const MAX_OBJECTS = 10_000;
const MAX_LISTED = 20;
/** Objects whose beginnings are fetched at once while a run is planned. */
const AHEAD = 8;

/** What is read from an s3 source's conf, with the keys of its connection. */
export type S3Target = S3Connection;

/**
 * @throws {Problem} `invalid-conf` for an unknown connection, or none at all.
 */
function s3Target({ connection: name }: S3Conf, { s3, s3Environment }: Remotes): S3Target {
  const known = Object.keys(s3).sort();
  const connection = name === undefined
    ? s3Environment ?? undefined
    : Object.hasOwn(s3, name)
    ? s3[name]
    : undefined;
  if (connection !== undefined) return connection;
  const also = known.length > 0 ? say("known-are", { list: known.join(", ") }) : "";
  throw new Problem("invalid-conf", {
    detail: name === undefined
      ? say("s3-unnamed", { also })
      : say("s3-no-connection", { name, variable: `ETL_CONNECTION_${name.toUpperCase()}`, also }),
    errors: [{ field: "source.connection", message: "unknown", value: name ?? null }],
  });
}

function bucketOf(conf: S3Conf, ctx: Pick<PlanContext, "target" | "limits" | "signal">): Bucket {
  if (ctx.target === undefined) throw new Error("an s3 source needs its target");
  return new Bucket(parseS3Url(conf.url)!.bucket, ctx.target as S3Target, ctx);
}

/** Plans the objects; a preview pins nothing and stops early. */
async function planS3Source(conf: S3Conf, options: PlanFilesOptions): Promise<Plan> {
  const { ctx } = options;
  const bucket = bucketOf(conf, ctx);
  const objects = await findObjects(conf.url, bucket);
  const pin = { files: objects.map(({ key, size, etag }) => ({ path: key, size, etag })) };
  if (ctx.pin !== undefined) checkPin(ctx.pin, pin.files);
  const plan = await planFiles(rawFiles(objects, bucket), conf, options);
  return { ...plan, pin };
}

/** The objects as files, in their order; of the next ones the beginnings are on their way. */
async function* rawFiles(objects: S3Object[], bucket: Bucket): AsyncGenerator<RawFile> {
  const describing: Promise<RawFile>[] = [];
  try {
    for (let i = 0; i < objects.length; i++) {
      while (describing.length < objects.length && describing.length < i + AHEAD) {
        const file = rawFile(objects[describing.length]!, bucket);
        // it is waited for in its turn
        file.catch(() => {});
        describing.push(file);
      }
      yield await describing[i]!;
    }
  } finally {
    await Promise.allSettled(describing);
  }
}

async function rawFile(object: S3Object, bucket: Bucket): Promise<RawFile> {
  const { key, size, etag } = object;
  const ranges = bucket.open(object);
  const label = bucket.label(key);
  const headers = await ranges.describe();
  return {
    root: "elsewhere",
    path: key,
    label,
    name: basename(key),
    size,
    mtime_ms: 0,
    etag,
    ranges,
    identity: `${label}:${size}:${etag}`,
    contentType: headers["content-type"],
    contentEncodings: contentEncodings(label, headers),
  };
}

/**
 * The objects that a URL names, in natural order.
 *
 * @throws {Problem} `source-unreadable` where there is none.
 */
async function findObjects(url: string, bucket: Bucket): Promise<S3Object[]> {
  const { key: pattern } = parseS3Url(url)!;
  if (!picomatch.scan(pattern).isGlob) {
    const key = pattern.replace(/\\(.)/g, "$1");
    const object = await bucket.find(key);
    if (object === undefined) throw await nothingFound(url, bucket, key);
    return [object];
  }
  const matches = globMatcher(pattern, "source.url");
  const [prefix] = /^[^*?[\]{}()|\\]*/.exec(pattern)!;
  const objects: S3Object[] = [];
  const flat = !pattern.slice(prefix.length).includes("/") && !pattern.includes("**");
  for await (const object of bucket.list(prefix, { flat })) {
    // what consoles make for a folder
    if (object.key.endsWith("/") || !matches(object.key)) continue;
    if (objects.push(object) > MAX_OBJECTS) {
      throw new Problem("source-refused", {
        detail: say("s3-many-objects", { url, n: MAX_OBJECTS }),
      });
    }
  }
  if (objects.length === 0) throw await nothingFound(url, bucket, prefix);
  return objects.sort((a, b) => naturalOrder(a.key, b.key));
}

async function nothingFound(url: string, bucket: Bucket, prefix: string): Promise<Problem> {
  const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
  const there: string[] = [];
  for await (const { key } of bucket.list(folder, { flat: false })) {
    if (there.push(key) > MAX_LISTED) break;
  }
  const list = there.slice(0, MAX_LISTED).join(", ") + (there.length > MAX_LISTED ? ", …" : "");
  return new Problem("source-unreadable", {
    detail: list === ""
      ? say("no-object-begins", { url, prefix: bucket.label(folder) })
      : say("no-object-of", { url, list }),
    errors: [{ field: "source.url", message: "matches no object", value: url }],
  });
}

/** Objects of an S3-compatible service in every format, by URL or glob, read by ranges from where they are. */
export const s3Adapter: SourceAdapter<S3Conf> = {
  target: s3Target,
  everywhere: (slices) => areParts(slices, "elsewhere") ? "there" : "unpacked",
  planFirst: (conf, ctx, previewRecords) => planS3Source(conf, { ctx, previewRecords }),
  plan: (conf: S3Conf, ctx: PlanContext) => planS3Source(conf, { ctx }),
  read(conf, slice, ctx: ReadContext) {
    const bucket = bucketOf(conf, ctx);
    const elsewhere = ({ path, size, etag }: Part) =>
      bucket.open({ key: path, size, etag: etag as string });
    return readParts(slice, { ...ctx, elsewhere }, conf);
  },
};
