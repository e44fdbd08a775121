import { fileURLToPath } from "node:url";
import { realPaths } from "../workers/permissions.ts";

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
        read: [...PROGRAM, ...realPaths(dir)],
        write: false,
        net: hosts.length === 0 ? false : [...hosts],
        env: false,
        sys: false,
        run: false,
        ffi: false,
        import: false,
      },
    },
  });
  // what it posts past the private line, and what it throws there, is nobody's business
  worker.onerror = (event) => event.preventDefault();
  const { port1, port2 } = new MessageChannel();
  worker.postMessage({ port: port2 }, [port2]);
  return { port: port1, end: () => worker.terminate() };
}
