import type { Forgetting, Forgotten } from "../forget.ts";
import type { PreviewContext } from "../preview.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import type { HttpConnection } from "../sources/http/connection.ts";
import { adapterFor } from "../sources/adapters.ts";
import type { CatalogueRequest, SourceCatalogue } from "../sources/catalogue.ts";
import type { SourceConf } from "../sources/schema.ts";
import type { AsideAnswer, AsideTasks } from "./aside_worker.ts";
import { startHost, startSourceHost } from "../user_code/host.ts";
import {
  databasePermissions,
  fetchPermissions,
  NO_REACH,
  workerPermissions,
} from "./permissions.ts";

export interface AsideLimits {
  /** Milliseconds that the task may take, once its worker runs; Infinity: as long as it needs. */
  timeoutMs: number;
  /** Ends the task when nobody waits for it any more. */
  signal?: AbortSignal | undefined;
  /** What is said when it took too long; default: that it did. */
  tooSlow?: (() => Problem) | undefined;
}

export interface AsideOptions extends AsideLimits {
  /** Deno permissions of the worker. */
  permissions: Deno.PermissionOptionsObject;
  /** Directory of the transform module that the task needs a host for; null where it needs none. */
  transformsDir?: string | null;
  /** The host of the source's module; null where it needs none. */
  source?: ReturnType<typeof startSourceHost>;
}

/** Tasks that read a source. */
type SourceTask = Exclude<keyof AsideTasks, "fetch" | "suite" | "tables" | "forget">;

/**
 * Does a task that reads a source outside of a run. What the source has
 * elsewhere is downloaded first, by a worker that loads no module.
 */
export async function asideOnSource<K extends SourceTask>(
  task: K,
  input: AsideTasks[K]["input"],
  options: AsideLimits & {
    context: PreviewContext;
    /** Whether only the beginning of the source is read. */
    preview: boolean;
    /** What the module of the source may name. */
    httpConnections: Record<string, HttpConnection>;
  },
): Promise<AsideTasks[K]["output"]> {
  const { context, preview, httpConnections, timeoutMs, ...limits } = options;
  const { params, transformsDir, sourcesDir, source } = context;
  const deadline = performance.now() + timeoutMs;
  const { spoolDir, limits: sizes, target } = source;
  if (target !== undefined) {
    const wanted = { conf: params.source, target, spoolDir, limits: sizes, preview };
    await fetchAside(wanted, { timeoutMs, ...limits });
  }
  const permissions = workerPermissions({
    dsns: dsnsOf(params.source, source.connections),
    dataDir: source.dataDir,
    spoolDir,
    transformsDir,
    network: target !== undefined,
    sourcesDir,
  });
  return await aside(task, input, {
    ...limits,
    timeoutMs: Math.max(1, deadline - performance.now()),
    permissions,
    transformsDir: params.transform === null ? null : transformsDir,
    source: startSourceHost(params.source, { sourcesDir, httpConnections, limits: sizes }),
  });
}

/**
 * Downloads what a source has elsewhere, if it has and does not leave it there, to its spool directory, in a worker that may use
 * the network; says why, where it might have been left.
 */
export async function fetchAside(
  input: AsideTasks["fetch"]["input"],
  limits: AsideLimits,
): Promise<string | null> {
  if (adapterFor(input.conf).fetch === undefined) return null;
  return await aside("fetch", input, { ...limits, permissions: fetchPermissions(input.spoolDir) });
}

/** The connection string that a source needs; none for an unknown connection, of which it will speak. */
function dsnsOf(source: SourceConf, connections: Record<string, string>): string[] {
  const name = adapterFor(source).connection?.(source);
  return name !== undefined && Object.hasOwn(connections, name) ? [connections[name]!] : [];
}

/** Milliseconds that reading and compiling a suite may take. */
const SUITE_MS = 10_000;

/**
 * A suite that somebody sends, checked where it can hang nobody: its schemas and patterns are programs
 * of a kind. Throws a Problem with everything that is wrong with it.
 */
export function checkedSuite(
  json: unknown,
  timeoutMs = SUITE_MS,
): Promise<AsideTasks["suite"]["output"]> {
  return aside("suite", json, {
    timeoutMs,
    tooSlow: suiteTooSlow,
    permissions: NO_REACH,
  });
}

/** Milliseconds that a database may take to list its tables. */
const CATALOGUE_MS = 60_000;

/** Tables of another database, listed where a server that never answers holds up nothing. */
export function tablesOf(
  request: CatalogueRequest,
  signal: AbortSignal,
): Promise<SourceCatalogue> {
  return aside("tables", request, {
    timeoutMs: CATALOGUE_MS,
    signal,
    permissions: databasePermissions([request.dsn]),
  });
}

/** Forgets a key where the records that are looked through for it hold up nobody. */
export function forgetAside(wanted: Forgetting): Promise<Forgotten> {
  return aside("forget", wanted, {
    timeoutMs: Infinity,
    permissions: databasePermissions([wanted.dsn]),
  });
}

function suiteTooSlow(): Problem {
  return new Problem("invalid-conf", {
    detail: say("suite-not-compiled", { seconds: SUITE_MS / 1000 }),
  });
}

/**
 * Does a task that belongs to no run in a Web Worker of its own, with a host of
 * its own for a transform module: a source that never answers holds up nothing
 * else and is ended after a while.
 */
export async function aside<K extends keyof AsideTasks>(
  task: K,
  input: AsideTasks[K]["input"],
  { timeoutMs, signal, tooSlow, permissions, transformsDir = null, source = null }: AsideOptions,
): Promise<AsideTasks[K]["output"]> {
  const { promise, resolve, reject } = Promise.withResolvers<AsideTasks[K]["output"]>();
  const worker = new Worker(new URL("./aside_worker.ts", import.meta.url), {
    type: "module",
    name: task,
    deno: { permissions },
  });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const startTimer = () => {
    if (!Number.isFinite(timeoutMs)) return;
    timer = setTimeout(() => reject((tooSlow ?? tookTooLong)()), timeoutMs);
  };
  worker.onmessage = ({ data }: MessageEvent<AsideAnswer>) => {
    if ("started" in data) startTimer();
    else if ("output" in data) resolve(data.output as AsideTasks[K]["output"]);
    else if ("defect" in data) reject(new Error(data.defect));
    else if ("tooSlow" in data) reject((tooSlow ?? tookTooLong)());
    else reject(Problem.fromJSON(data.problem, data.transient));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(event.message));
  };
  const host = transformsDir === null ? null : startHost(transformsDir);
  const gone = () => reject(signal!.reason);
  signal?.addEventListener("abort", gone);
  try {
    signal?.throwIfAborted();
    const port = host?.port ?? null;
    worker.postMessage(
      { task, input, host: port, source: source?.line ?? null, limitMs: timeoutMs },
      [
        ...port === null ? [] : [port],
        ...source === null ? [] : [source.line.port, source.line.requests],
      ],
    );
    return await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", gone);
    worker.terminate();
    host?.end();
    source?.end();
  }
}

function tookTooLong(): Problem {
  return new Problem("source-unreadable", {
    detail: say("source-slow", {}),
  });
}

export interface PreviewLimits {
  /** Milliseconds that a preview may take; default 30,000. */
  timeoutMs?: number;
  /** Ends the preview when nobody waits for it any more. */
  signal?: AbortSignal;
  /** What the module of the source may name; default none. */
  httpConnections?: Record<string, HttpConnection>;
}

/** Makes a preview in a Web Worker of its own; as JSON, whose numbers have every digit. */
export function previewInWorker(
  context: PreviewContext,
  { timeoutMs = 30_000, signal, httpConnections = {} }: PreviewLimits = {},
): Promise<string> {
  return asideOnSource("preview", context, {
    context,
    httpConnections,
    preview: true,
    timeoutMs,
    signal,
    tooSlow: () => tooSlow(timeoutMs),
  });
}

function tooSlow(timeoutMs: number): Problem {
  return new Problem("source-unreadable", {
    detail: say("preview-too-slow", { seconds: timeoutMs / 1000 }),
  });
}
