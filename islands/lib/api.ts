/// <reference lib="dom" />
import { parseExact } from "../../vocabulary/exact_json.ts";
import { at } from "./base.ts";
import type { FieldError, ProblemDetails } from "../../vocabulary/problem.ts";

/** What the server says is wrong with a request, in the terms of RFC 9457. */
export class ApiError extends Error {
  readonly status: number;
  readonly errors: FieldError[];

  constructor(message: string, { status = 0, errors = [] as FieldError[] } = {}) {
    super(message);
    this.status = status;
    this.errors = errors;
  }
}

export interface CallOptions {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Sent as JSON. */
  body?: unknown;
  /** Whether the answer is given as text; default: as the value of its JSON. */
  asText?: boolean;
  /** Whether numbers keep the digits that a double has not (parseExact); default false. */
  exact?: boolean;
  /** Sent as it is, with the media type `type`, instead. */
  data?: Blob;
  type?: string;
  headers?: Record<string, string>;
  /** What to say when the server does not answer. */
  offline: string;
}

/** Headers of a PUT that may only create: what has the name already stays as it is. */
export const ONLY_NEW = { "if-none-match": "*" };

/** Calls the API. Throws an ApiError with what the server says, or that it does not answer. */
export async function call<T>(url: string, options: CallOptions): Promise<T> {
  const { method = "GET", body, data, type, headers = {}, offline, asText = false, exact = false } =
    options;
  let response: Response;
  try {
    response = await fetch(at(url), {
      method,
      headers: {
        accept: "application/json",
        // what the server says is in the language of the page, whatever the browser's is
        "accept-language": document.documentElement.lang,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(type === undefined ? {} : { "content-type": type }),
        ...headers,
      },
      ...(data === undefined ? {} : { body: data }),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new ApiError(offline);
  }
  if (response.ok && asText) return await response.text() as T;
  if (response.ok && exact) return parseExact(await response.text()) as T;
  if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
  const problem = await response.json().catch(() => null) as ProblemDetails | null;
  throw new ApiError(problem?.detail ?? `${offline} (${response.status})`, {
    status: response.status,
    errors: problem?.errors ?? [],
  });
}

/**
 * A stream that the server has refused for good may mean that the session is
 * over: then the page is loaded again, which leads to the sign-in and back.
 */
export async function reloadIfSignedOut(source: EventSource): Promise<void> {
  if (source.readyState !== EventSource.CLOSED) return;
  const answer = await fetch(at("/etl/data/pools"), { headers: { accept: "application/json" } })
    .catch(() => null);
  if (answer?.status === 401) location.reload();
}
