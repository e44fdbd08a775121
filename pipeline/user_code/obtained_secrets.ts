import { hider, unmistakable } from "../../telemetry/log.ts";
import type { SourceRequest } from "./messages.ts";

/** Secrets that are remembered: the newest, as pages may have a signature each. */
const MAX_SECRETS = 200;
/** Bytes of an answer that may be one with a token. */
const MAX_TOKEN_ANSWER_BYTES = 16 * 1024;

/** Names of headers and parameters whose values are secrets; a token of a page is none. */
const NAMES_SECRET =
  /(?<!(page|continuation|sync|cursor|next|previous)[^a-z]*)(auth|authorization|cookie|passwo?r?d|passphrase|pwd|secret|sig|signature|hmac|jwt|bearer|credentials?|sas|token|key|session)([^a-z]*id)?$/i;
/** Members of an answer that is a token: of data, a key or session is what is wanted. */
const NAMES_TOKEN =
  /"(\w*(?:access|refresh|id|auth|bearer|session|security|api)_?token|token|jwt|\w*client_?secret|\w*password)"\s*:\s*"((?:[^"\\]|\\.)+)/gi;

/**
 * Secrets that are known only when a source is read: tokens that its module was given and sends, cookies, signatures in the
 * addresses of pages and redirects. An API quotes them as it does those of the configuration.
 */
export class ObtainedSecrets {
  readonly #known = new Set<string>();
  readonly #news: string[] = [];
  #hide: ((text: string) => string) | null = null;

  /** What a request sends. */
  request({ url, headers, body }: Pick<SourceRequest, "url" | "headers" | "body">): void {
    for (const [name, value] of Object.entries(headers)) {
      if (NAMES_SECRET.test(name)) this.#header(value);
    }
    this.address(url);
    if (body === null || body.length > MAX_TOKEN_ANSWER_BYTES) return;
    this.#parameters(body);
    this.#members(body);
  }

  /** An address with what its query holds; relative ones, too. */
  address(url: string): void {
    this.#parameters(url.replace(/^[^?#]*[?#]?/, ""));
  }

  /** Headers Set-Cookie of an answer. */
  cookies(cookies: readonly string[]): void {
    for (const cookie of cookies) this.#header(cookie.split(";", 1)[0]!);
  }

  /** The body of an answer, if it is one that gives a token. */
  answer(body: Uint8Array): void {
    if (body.length > MAX_TOKEN_ANSWER_BYTES) return;
    const text = new TextDecoder().decode(body);
    if (/^\s*\{/.test(text)) this.#members(text);
  }

  /** Those that are new since the last call. */
  take(): string[] {
    return this.#news.splice(0);
  }

  /** What another one has taken. */
  add(secrets: readonly string[]): void {
    for (const secret of secrets) this.#add(secret);
  }

  /** A text without them. */
  hide(text: string): string {
    if (this.#known.size === 0) return text;
    this.#hide ??= hider([...this.#known]);
    return this.#hide(text);
  }

  /** "Bearer x", "Basic x", "a=x; b=y" and "x". */
  #header(value: string): void {
    this.#add(value);
    const bare = value.replace(/^[A-Za-z]+\s+/, "");
    this.#add(bare);
    for (const part of bare.split(/[;,]\s*/)) {
      this.#add(part.slice(part.indexOf("=") + 1).replaceAll('"', ""));
    }
    if (!/^basic\s/i.test(value)) return;
    try {
      this.#add(atob(bare).replace(/^[^:]*:/, ""));
    } catch {
      // no base64: what was sent is hidden
    }
  }

  #parameters(query: string): void {
    for (const parameter of query.split(/[&;#]/)) {
      const [name = "", value = ""] = parameter.split("=", 2);
      if (!NAMES_SECRET.test(name)) continue;
      this.#add(value);
      for (const [, decoded] of new URLSearchParams(parameter)) this.#add(decoded);
    }
  }

  #members(json: string): void {
    for (const [, , value] of json.matchAll(NAMES_TOKEN)) {
      this.#add(value!);
      this.#add(value!.replaceAll("\\/", "/"));
    }
  }

  #add(secret: string): void {
    if (this.#known.has(secret) || unmistakable([secret]).length === 0) return;
    this.#known.add(secret);
    this.#news.push(secret);
    if (this.#known.size > MAX_SECRETS) this.#known.delete(this.#known.values().next().value!);
    this.#hide = null;
  }
}
