import { basename } from "node:path";
import { Problem } from "../../../vocabulary/problem.ts";
import { type Download, download } from "./download.ts";
import { publicUrl } from "./request.ts";
import { type HttpTarget, httpTarget } from "./connection.ts";
import { hasKnownExtension } from "../local/detect_format.ts";
import { planFiles, type PlanFilesOptions, readParts } from "../local/plan_files.ts";
import { PREVIEW_BYTES, type RawFile } from "../local/prepare_input.ts";
import type { Compression } from "../local/streams.ts";
import { findSpooled, type SpoolFile, spoolName } from "../local/spool.ts";
import type { HttpConf } from "../schema.ts";
import type { Plan, PlanContext, SourceAdapter } from "../source.ts";

type HttpPin = {
  url: string;
  sha256: string;
  size: number;
  etag: string;
  last_modified: string;
  content_type: string;
};

/** What is kept beside a download. */
type Note = HttpPin & {
  truncated: boolean;
  content_encodings: Compression[];
  file_name: string;
  /** Where redirects ended, when they led elsewhere. */
  redirected_to?: string;
  open_ended: boolean;
};

/** What downloading needs of a plan's context. */
export type FetchContext = Pick<PlanContext, "spoolDir" | "limits" | "signal">;

/** Plans a URL's content; it is downloaded whole, or for a preview its beginning. */
async function planHttpSource(conf: HttpConf, options: PlanFilesOptions): Promise<Plan> {
  const { ctx } = options;
  const preview = options.previewRecords !== undefined;
  const { file, note } = await fetchHttpSource(conf, ctx, { preview });
  const { truncated, content_encodings, file_name, redirected_to, open_ended, ...pin } = note;
  const url = parseUrl(note.url);
  if (!preview && ctx.pin !== undefined && ctx.pin.sha256 !== pin.sha256) {
    throw new Problem("source-changed", {
      detail: `The content of ${publicUrl(url)} changed since the run first read it: ` +
        "start a new run to load its current content.",
    });
  }
  const raw: RawFile = {
    ...rawFile(url, file, pin.content_type),
    truncated,
    contentEncodings: content_encodings,
  };
  if (redirected_to !== undefined) raw.label += ` (redirected to ${redirected_to})`;
  if (!hasKnownExtension(raw.name) && hasKnownExtension(file_name)) raw.name = file_name;
  const plan = await planFiles([raw], conf, options);
  const warnings = open_ended && !truncated
    ? [
      `${raw.label}: the server tells neither the length of its answer nor where it ends; ` +
      "if its connection broke, records at the end are missing.",
    ]
    : [];
  return { ...plan, pin: preview ? {} : pin, warnings: [...warnings, ...plan.warnings] };
}

/**
 * Downloads a URL's content, for a preview its beginning, unless that was done
 * before: a download that is complete is used again; its note is written last.
 *
 * `target` has what the connection of the conf adds; who only reads finds the download there.
 */
export async function fetchHttpSource(
  conf: HttpConf,
  ctx: FetchContext,
  { preview = false, target = { url: conf.url, headers: {} } }: {
    preview?: boolean;
    target?: HttpTarget;
  } = {},
): Promise<{ file: SpoolFile; note: Note }> {
  const from = conf.connection === undefined ? "" : `${conf.connection}:`;
  const name = spoolName(`http:${from}${conf.url}${preview ? ":preview" : ""}`, "download");
  const noteFile = `${ctx.spoolDir}/${name}.json`;
  const there = await findSpooled(ctx.spoolDir, name);
  const noted = there && await Deno.readTextFile(noteFile).catch(() => undefined);
  if (there !== undefined && noted !== undefined) return { file: there, note: JSON.parse(noted) };
  const url = parseUrl(target.url);
  const file = await download(url, { dir: ctx.spoolDir, name }, {
    limits: ctx.limits,
    signal: ctx.signal,
    headers: target.headers,
    ...(preview ? { previewBytes: PREVIEW_BYTES } : {}),
  });
  const finalUrl = publicUrl(file.finalUrl);
  const note: Note = {
    ...pinOf(url, file),
    truncated: file.truncated,
    content_encodings: file.contentEncodings,
    file_name: file.fileName,
    ...(finalUrl === publicUrl(url) ? {} : { redirected_to: finalUrl }),
    open_ended: file.openEnded,
  };
  await Deno.writeTextFile(noteFile, JSON.stringify(note));
  return { file, note };
}

function pinOf(url: URL, file: Download): HttpPin {
  return {
    url: publicUrl(url),
    sha256: file.sha256,
    size: file.size,
    etag: file.etag,
    last_modified: file.lastModified,
    content_type: file.contentType,
  };
}

function rawFile(url: URL, file: SpoolFile, contentType: string): RawFile {
  return {
    root: "spool",
    path: file.path,
    label: publicUrl(url),
    name: basename(url.pathname),
    size: file.size,
    mtime_ms: 0,
    absolutePath: file.absolutePath,
    identity: `http:${file.path}`,
    contentType,
  };
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === "http:" || url?.protocol === "https:") return url;
  throw new Problem("source-refused", {
    detail: "source.url must be an http or https URL.",
    errors: [{ field: "source.url", message: "must be http or https" }],
  });
}

/** A file in any of the formats, from a URL: spooled to disk, resumed when interrupted. */
export const httpAdapter: SourceAdapter<HttpConf> = {
  target: httpTarget,
  fetch: {
    download: (conf, ctx, { preview, target }) =>
      fetchHttpSource(conf, ctx, { preview, target: target as HttpTarget }),
  },
  planFirst: (conf, ctx, previewRecords) => planHttpSource(conf, { ctx, previewRecords }),
  plan: (conf: HttpConf, ctx: PlanContext) => planHttpSource(conf, { ctx }),
  read: (conf, slice, ctx) => readParts(slice, ctx, conf),
};
