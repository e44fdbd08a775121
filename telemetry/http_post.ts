/** An answer, or its absence, that is not what was hoped for. */
export class DeliveryError extends Error {
  override readonly name = "DeliveryError";
  /** Whether the same may succeed later. */
  readonly retryable: boolean;
  /** What Retry-After asked for, in ms. */
  readonly retryAfterMs: number | null;

  constructor(message: string, options: { retryable: boolean; retryAfterMs?: number | null }) {
    super(message);
    this.retryable = options.retryable;
    this.retryAfterMs = options.retryAfterMs ?? null;
  }
}

export interface HttpRequest {
  /** Default POST. */
  method?: "GET" | "POST" | "PATCH";
  headers?: Record<string, string>;
  body?: string;
  /** Default 10,000. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** Longest answer that is read. */
const MAX_ANSWER_BYTES = 4 << 20;
const MAX_RETRY_AFTER_MS = 3_600_000;

/**
 * One request with a time limit; redirects are not followed, and the answer is
 * read up to 4 MiB. Throws a DeliveryError for anything but a 2xx; its text
 * holds neither address nor headers, as those may be secret.
 */
export async function request(url: string, options: HttpRequest = {}): Promise<string> {
  const limit = AbortSignal.timeout(options.timeoutMs ?? 10_000);
  const signal = options.signal === undefined ? limit : AbortSignal.any([limit, options.signal]);
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, {
      method: options.method ?? "POST",
      redirect: "manual",
      signal,
      ...(options.headers === undefined ? {} : { headers: options.headers }),
      ...(options.body === undefined ? {} : { body: options.body }),
    });
    text = await readBounded(response);
  } catch (error) {
    if (error instanceof DeliveryError) throw error;
    throw new DeliveryError(reason(error, limit), { retryable: true });
  }
  if (response.ok) return text;
  throw statusError(response, withoutAddress(text, url, options.headers?.authorization));
}

/** What somebody answers, without what it repeats of the address and the token it was sent. */
export function withoutAddress(text: string, address: string, authorization = ""): string {
  const token = authorization.replace(/^\w+ /, "");
  return [...addressSecrets(address), ...(token === "" ? [] : [token])]
    .reduce((rest, secret) => rest.replaceAll(secret, "(secret)"), text);
}

/** What of an address may be secret, the longest first: user, password, path, values of the query. */
export function addressSecrets(address: string): string[] {
  if (!URL.canParse(address)) return [];
  const { username, password, pathname, search, searchParams } = new URL(address);
  // as they are written, and as they are read
  const values = [...search.matchAll(/=([^&]*)/g)].map(([, value]) => value!);
  const parts = [
    username,
    `${pathname}${search}`,
    pathname,
    search,
    ...values,
    ...searchParams.values(),
  ]
    // short ones are words that anything may hold
    .filter((part) => part.length >= 6);
  return [...new Set([...parts, password].flatMap((part) => [part, decoded(part)]))]
    .filter((part) => part !== "").toSorted((a, b) => b.length - a.length);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The error for a status that is not 2xx. */
export function statusError(response: Response, text: string): DeliveryError {
  const { status } = response;
  return new DeliveryError(
    status >= 300 && status < 400
      ? `answered ${status}: redirects are not followed`
      : `answered ${status}: ${text.slice(0, 200)}`,
    {
      retryable: status >= 500 || [408, 409, 425, 429].includes(status),
      retryAfterMs: retryAfter(response.headers.get("retry-after")),
    },
  );
}

/** Milliseconds that a Retry-After header asks for; null where it asks for nothing that makes sense. */
function retryAfter(header: string | null, now = Date.now()): number | null {
  if (header === null) return null;
  const ms = /^\s*\d+\s*$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isFinite(ms) && ms > 0 ? Math.min(ms, MAX_RETRY_AFTER_MS) : null;
}

async function readBounded(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const block of response.body ?? []) {
    bytes += block.byteLength;
    if (bytes > MAX_ANSWER_BYTES) {
      throw new DeliveryError(`answered more than ${MAX_ANSWER_BYTES} bytes`, { retryable: true });
    }
    text += decoder.decode(block, { stream: true });
  }
  return text + decoder.decode();
}

function reason(error: unknown, limit: AbortSignal): string {
  if (limit.aborted) return "did not answer in time";
  const { message, cause } = error instanceof Error ? error : new Error(String(error));
  const inner = cause instanceof Error ? cause.message : message;
  // the address may hold a token
  return `could not be reached: ${inner.replaceAll(/https?:\/\/\S+/g, "(address)")}`.slice(0, 300);
}
