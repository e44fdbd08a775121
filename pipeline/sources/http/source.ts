import { say } from "../../../vocabulary/messages.ts";
import { basename } from "node:path";
import { Problem } from "../../../vocabulary/problem.ts";
import {
  type Described as Content,
  type Download,
  download,
  type DownloadOptions,
  guardOf,
  refusedAnswer,
  type Unranged,
} from "./download.ts";
import { NoRanges, RemoteFile } from "./remote_file.ts";
import { get, publicUrl } from "./request.ts";
import { type HttpTarget, httpTarget } from "./connection.ts";
import { hasKnownExtension } from "../local/detect_format.ts";
import { areParts, planFiles, type PlanFilesOptions, readParts } from "../local/plan_files.ts";
import { PREVIEW_BYTES, type RawFile } from "../local/prepare_input.ts";
import type { Compression } from "../local/streams.ts";
import { findSpooled, type SpoolFile, spoolName } from "../local/spool.ts";
import type { Part } from "../local/slice_packer.ts";
import type { HttpConf } from "../schema.ts";
import type { Plan, PlanContext, SourceAdapter } from "../source.ts";

/** Enough to see that ranges are given. */
const PROBE_BYTES = 16;

/** What identifies content: its hash where it was downloaded, else its ETag and size. */
type HttpPin = {
  url: string;
  sha256?: string;
  size: number;
  etag: string;
  last_modified: string;
  content_type: string;
};

/** What is kept beside a download, or in its place. */
interface Note extends HttpPin {
  content_encodings: Compression[];
  file_name: string;
  /** Where redirects ended, when they led elsewhere. */
  redirected_to?: string;
  truncated: boolean;
  open_ended: boolean;
  /** Why it was downloaded; null where it is read by ranges from where it is. */
  because: Unranged | null;
}

/** What downloading needs of a plan's context. */
export type FetchContext = Pick<PlanContext, "spoolDir" | "limits" | "signal" | "pin">;

interface Fetched {
  /** Null where it is read from where it is. */
  file: SpoolFile | null;
  note: Note;
}

/** Plans a URL's content, of which a preview has the beginning. */
async function planHttpSource(conf: HttpConf, options: PlanFilesOptions): Promise<Plan> {
  const { ctx } = options;
  const preview = options.previewRecords !== undefined;
  const target = targetOf(conf, ctx);
  const { file, note } = await fetchHttpSource(conf, ctx, { preview, target });
  const { truncated, content_encodings, file_name, redirected_to, open_ended, because: _, ...pin } =
    note;
  const url = parseUrl(note.url);
  if (!preview && ctx.pin !== undefined) checkPin(ctx.pin as HttpPin, pin);
  const described: Described = {
    label: publicUrl(url),
    name: basename(url.pathname),
    size: note.size,
    mtime_ms: 0,
    contentType: pin.content_type,
    contentEncodings: content_encodings,
  };
  const raw: RawFile = file === null
    ? {
      ...described,
      root: "elsewhere",
      path: described.label,
      etag: note.etag,
      ranges: remoteFile(target, { ...described, etag: note.etag }, ctx),
      identity: `http:${identityOf(conf)}:${note.size}:${note.etag}`,
    }
    : {
      ...described,
      root: "spool",
      path: file.path,
      absolutePath: file.absolutePath,
      truncated,
      identity: `http:${file.path}`,
    };
  if (redirected_to !== undefined) raw.label += ` (redirected to ${redirected_to})`;
  if (!hasKnownExtension(raw.name) && hasKnownExtension(file_name)) raw.name = file_name;
  const plan = await planFiles([raw], conf, options);
  const warnings = open_ended && !truncated
    ? [
      say("open-ended", { file: raw.label }),
    ]
    : [];
  return { ...plan, pin: preview ? {} : pin, warnings: [...warnings, ...plan.warnings] };
}

type Described = Pick<
  RawFile,
  "label" | "name" | "size" | "mtime_ms" | "contentType" | "contentEncodings"
>;

function checkPin(then: HttpPin, now: HttpPin): void {
  const same = then.sha256 === undefined
    ? then.etag === now.etag && then.size === now.size
    : then.sha256 === now.sha256;
  if (same) return;
  throw new Problem("source-changed", {
    detail: say("url-changed", { url: now.url }),
  });
}

/** Where the conf leads with its connection, which only who fetches and reads is told. */
function targetOf(conf: HttpConf, { target }: Pick<PlanContext, "target">): HttpTarget {
  return target as HttpTarget | undefined ?? { url: conf.url, headers: {} };
}

/** The content of a URL, by ranges, as long as it is the same. */
function remoteFile(
  target: HttpTarget,
  { label, size, etag }: { label: string; size: number; etag: string },
  { limits, signal }: Pick<PlanContext, "limits" | "signal">,
): RemoteFile {
  return new RemoteFile({
    label,
    // an ETag is one of a resource: others may have it, too, and the same address gives each user their own
    identity: JSON.stringify([target.url, target.headers]),
    size,
    etag,
    signal,
    ask: async (headers, signal) => {
      const { response } = await get(parseUrl(target.url), {
        guard: guardOf(limits),
        headers,
        ownHeaders: target.headers,
        idleTimeoutMs: 30_000,
        signal,
      });
      return response;
    },
    refusal: (response, what) => Promise.resolve(refusedAnswer(response, what)),
  });
}

/**
 * Says what a URL's content is, which is left where it is if its server gives it by ranges; else, and for a preview, downloads it
 * or its beginning, unless that was done before: a download that is complete is used again; its note is written last.
 *
 * `target` has what the connection of the conf adds.
 */
export async function fetchHttpSource(
  conf: HttpConf,
  ctx: FetchContext,
  { preview = false, target = { url: conf.url, headers: {} } }: {
    preview?: boolean;
    target?: HttpTarget;
  } = {},
): Promise<Fetched> {
  const name = spoolName(`http:${identityOf(conf)}${preview ? ":preview" : ""}`, "download");
  const noteFile = `${ctx.spoolDir}/${name}.json`;
  const noted = await Deno.readTextFile(noteFile).catch(() => undefined);
  if (noted !== undefined) {
    const note: Note = JSON.parse(noted);
    const file = await findSpooled(ctx.spoolDir, name) ?? null;
    if (file !== null || note.because === null) return { file, note };
  }
  const url = parseUrl(target.url);
  const fetched = await fetchOrDescribe(url, { dir: ctx.spoolDir, name }, {
    limits: ctx.limits,
    signal: ctx.signal,
    headers: target.headers,
    ...(preview ? { previewBytes: PREVIEW_BYTES } : {}),
    // who began with a download goes on with one: the hash of all of it says that it is the same
    leavesRanged: !preview && (ctx.pin as HttpPin | undefined)?.sha256 === undefined,
  });
  const finalUrl = publicUrl(fetched.finalUrl);
  const downloaded = "sha256" in fetched;
  const note: Note = {
    url: publicUrl(url),
    ...(downloaded ? { sha256: fetched.sha256 } : {}),
    size: fetched.size,
    etag: fetched.etag,
    last_modified: fetched.lastModified,
    content_type: fetched.contentType,
    truncated: downloaded && fetched.truncated,
    content_encodings: fetched.contentEncodings,
    file_name: fetched.fileName,
    ...(finalUrl === publicUrl(url) ? {} : { redirected_to: finalUrl }),
    open_ended: downloaded && fetched.openEnded,
    because: downloaded ? fetched.because : null,
  };
  await Deno.writeTextFile(noteFile, JSON.stringify(note));
  return { file: downloaded ? fetched : null, note };
}

async function fetchOrDescribe(
  url: URL,
  target: { dir: string; name: string },
  { leavesRanged, ...options }: DownloadOptions,
): Promise<Download | Content> {
  if (!leavesRanged) return await download(url, target, options);
  const found = await download(url, target, { ...options, leavesRanged });
  if ("sha256" in found) return found;
  const { headers = {}, limits, signal } = options;
  const label = publicUrl(url);
  try {
    // a promise of ranges that is not kept shows here, and not in the middle of the run
    await remoteFile({ url: url.href, headers }, { ...found, label }, { limits, signal })
      .slice(0, PROBE_BYTES);
    return found;
  } catch (error) {
    // several servers behind one address may each have an ETag of its own
    const unsteady = error instanceof Problem && error.type === "source-changed";
    if (!(error instanceof NoRanges) && !unsteady) throw error;
    const because = unsteady ? "no steady ETag" : "no ranges";
    return { ...await download(url, target, options), because };
  }
}

function identityOf({ connection, url }: HttpConf): string {
  return `${connection === undefined ? "" : `${connection}:`}${url}`;
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === "http:" || url?.protocol === "https:") return url;
  throw new Problem("source-refused", {
    detail: say("url-not-web", {}),
    errors: [{ field: "source.url", message: "must be http or https" }],
  });
}

/** What the run's log says of content that was downloaded. */
const BECAUSE: Record<Unranged, string | null> = {
  "not asked": null,
  "small": null,
  "no ranges": "its server does not give it by ranges",
  "no strong ETag": "its server gives no strong ETag",
  "no steady ETag": "its server's answers differ in their ETags",
  "no length": "its server does not say how long it is",
};

/** A file in any of the formats, from a URL: read by ranges where it is, else spooled to disk, resumed when interrupted. */
export const httpAdapter: SourceAdapter<HttpConf> = {
  target: httpTarget,
  everywhere(slices, { pin }) {
    // nothing but all of it says that another server would download the same
    if ((pin as HttpPin | null | undefined)?.sha256 !== undefined) return null;
    return areParts(slices, "elsewhere") ? "there" : "unpacked";
  },
  fetch: {
    async download(conf, ctx, { preview, target }) {
      const { note } = await fetchHttpSource(conf, ctx, { preview, target: target as HttpTarget });
      const because = note.because === null ? null : BECAUSE[note.because];
      return because === null ? null : `${note.url} was downloaded, since ${because}`;
    },
  },
  planFirst: (conf, ctx, previewRecords) => planHttpSource(conf, { ctx, previewRecords }),
  plan: (conf: HttpConf, ctx: PlanContext) => planHttpSource(conf, { ctx }),
  read(conf, slice, ctx) {
    const elsewhere = ({ path, size, etag }: Part) =>
      remoteFile(targetOf(conf, ctx), { label: path, size, etag: etag as string }, ctx);
    return readParts(slice, { ...ctx, elsewhere }, conf);
  },
};
