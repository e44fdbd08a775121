import { fileURLToPath } from "node:url";
import { NO_REACH, realPaths } from "../workers/permissions.ts";
import type { HttpConnection } from "../sources/http/connection.ts";
import { hostedFile, moduleOf } from "../sources/modules/source.ts";
import type { SourceConf } from "../sources/schema.ts";
import type { SourceLimits } from "../sources/source.ts";
import type { RequesterOptions } from "./requests.ts";
import type { SourceLine } from "./source_client.ts";

/** What the hosts' own modules are read from; a module of the user's may import from here, too. */
const PROGRAM = ["..", "../../store", "../../vocabulary"]
  .map((dir) => fileURLToPath(new URL(dir, import.meta.url)));

/** A worker with one module of the user's, for one run, or one execution of a consumer. */
export interface Host {
  /** The private line to it, to be handed to the worker that feeds it. */
  port: MessagePort;
  /** Throws it away, whatever it does. */
  end(): void;
}

/**
 * Starts a host. Only the main thread does: it is never busy with user code, and
 * a worker within a worker takes half a second to start.
 *
 * @param dir directory of the module: all that it can read.
 * @param hosts hosts that it may reach; default none.
 */
export function startHost(dir: string, hosts: readonly string[] = []): Host {
  const worker = new Worker(new URL("./host_worker.ts", import.meta.url), {
    type: "module",
    name: "user code",
    deno: {
      permissions: {
        ...NO_REACH,
        read: [...PROGRAM, ...realPaths(dir)],
        net: hosts.length === 0 ? false : [...hosts],
      },
    },
  });
  // what it posts past the private line, and what it throws there, is nobody's business
  worker.onerror = (event) => event.preventDefault();
  const { port1, port2 } = new MessageChannel();
  worker.postMessage({ port: port2 }, [port2]);
  return { port: port1, end: () => worker.terminate() };
}

export interface SourceHosts {
  /** ETL_SOURCES_DIR, resolved. */
  sourcesDir: string;
  /** Those of the environment, with their secrets: a source gets those that its conf lists. */
  httpConnections: Record<string, HttpConnection>;
  limits: SourceLimits;
}

/**
 * Starts a host for the module of a source, without any network of its own, and a thread that carries its
 * requests out; null for a source that needs none. Only the main thread does.
 */
export function startSourceHost(
  source: SourceConf,
  { sourcesDir, httpConnections, limits }: SourceHosts,
): { line: SourceLine; end(): void } | null {
  const file = source.type === "module" ? hostedFile(source, sourcesDir) : null;
  if (source.type !== "module" || file === null) return null;
  const host = startHost(file.dir);
  const worker = new Worker(new URL("./requests_worker.ts", import.meta.url), {
    type: "module",
    name: "requests of user code",
    deno: { permissions: { ...NO_REACH, net: "inherit" } },
  });
  worker.onerror = (event) => event.preventDefault();
  const { port1: requests, port2: port } = new MessageChannel();
  const connections = Object.fromEntries(
    source.connections.flatMap((name) =>
      Object.hasOwn(httpConnections, name) ? [[name, httpConnections[name]!]] : []
    ),
  );
  const options: RequesterOptions = { connections, limits };
  worker.postMessage({ port, options }, [port]);
  return {
    line: {
      port: host.port,
      requests,
      module: moduleOf(source),
      path: file.path,
      limitMs: source.timeout_ms,
    },
    end: () => {
      host.end();
      worker.terminate();
    },
  };
}
