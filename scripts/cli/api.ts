import { CLIENT_HEADER } from "../../routes/access/identity.ts";
import { Problem, type ProblemDetails, TerminalProblem } from "../../vocabulary/problem.ts";
import { UsageError } from "./exit_codes.ts";

export interface ConnectOptions {
  /** Whether runs are to be executed; default false: looking needs less. */
  executes?: boolean;
  /** Where a process of our own finds files; default: ETL_DATA_DIR. A server has its own. */
  dataDir?: string;
}

/** The HTTP interface, of a server or of this process. */
export interface Api {
  /** Whether the server is this process, so that a run ends when it ends. */
  inProcess: boolean;
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Ends what was started for it. Runs in hand are given back to the queue. */
  close(): Promise<void>;
}

export interface RemoteOptions {
  /** The API token that is sent; default: none. */
  token?: string | undefined;
  /** Ends requests when it is aborted. */
  signal?: AbortSignal | undefined;
}

/** A server that runs elsewhere. */
export function remoteApi(address: string, { token, signal }: RemoteOptions = {}): Api {
  const base = serverUrl(address);
  return {
    inProcess: false,
    async fetch(path, init = {}) {
      try {
        return await fetch(new URL(base.pathname.replace(/\/+$/, "") + path, base), {
          ...init,
          headers: clientHeaders(init, token),
          ...(signal === undefined ? {} : { signal }),
        });
      } catch (cause) {
        signal?.throwIfAborted();
        throw unreachable(base.origin, cause);
      }
    },
    close: () => Promise.resolve(),
  };
}

/** The request's headers, with the name of this client for the audit table, and its token. */
export function clientHeaders(init: RequestInit, token?: string): Headers {
  const headers = new Headers(init.headers);
  headers.set(CLIENT_HEADER, "cli");
  if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
  return headers;
}

function serverUrl(text: string): URL {
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new UsageError(
      `--server must be an address such as http://127.0.0.1:8080, not '${text}'`,
    );
  }
  return url;
}

function unreachable(where: string, cause: unknown): Problem {
  const reason = cause instanceof Error ? deepest(cause).message : String(cause);
  return new TerminalProblem("unavailable", {
    detail: `No server answers at ${where} (${reason}). Start one with \`deno task start\`, ` +
      "or leave out --server and ETL_SERVER to work without one.",
    transient: true,
    cause,
  });
}

function deepest(error: Error): Error {
  return error.cause instanceof Error ? deepest(error.cause) : error;
}

/** Asks for JSON. A problem that is answered is thrown. */
export async function request<T>(api: Api, path: string, init: RequestInit = {}): Promise<T> {
  return JSON.parse(await requestText(api, path, init));
}

/** The same as text, for what is shown with every digit. */
export async function requestText(api: Api, path: string, init: RequestInit = {}): Promise<string> {
  const response = await api.fetch(path, init);
  const text = await response.text();
  if (response.ok && parsed(text) !== undefined) return text;
  throw problemOf(response, text);
}

/** Asks for JSON; null where there is nothing. Another problem that is answered is thrown. */
export async function find<T>(api: Api, path: string): Promise<T | null> {
  const response = await api.fetch(path);
  const text = await response.text();
  if (response.status === 404) return null;
  if (!response.ok) throw problemOf(response, text);
  return JSON.parse(text);
}

/** A request with a body: JSON text, or a value that becomes it. */
export const sending = (
  method: "POST" | "PUT" | "PATCH",
  body: unknown,
  headers: Record<string, string> = {},
): RequestInit => ({
  method,
  headers: { "content-type": "application/json", ...headers },
  body: typeof body === "string" ? body : JSON.stringify(body),
});

/** Posts a body, and asks for JSON. */
export const post = <T>(
  api: Api,
  path: string,
  body: unknown,
  headers?: Record<string, string>,
): Promise<T> => request(api, path, sending("POST", body, headers));

/** The problem that an answer holds, or one that says that it holds none. */
export function problemOf(response: Response, text: string): Problem {
  const details = parsed<ProblemDetails>(text);
  if (typeof details?.detail === "string" && typeof details.type === "string") {
    return Problem.fromJSON(details);
  }
  return new TerminalProblem("unavailable", {
    detail: `What answers at ${response.url || "this address"} is no etl-improved server: it ` +
      `answered with status ${response.status} and ${
        response.headers.get("content-type") ?? "no content type"
      }. Check --server and ETL_SERVER.`,
  });
}

function parsed<T>(text: string): T | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
