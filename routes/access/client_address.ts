import type { Context } from "hono";
import ipaddr from "ipaddr.js";

const LOOPBACK_NAMES = new Set(["localhost", "[::1]"]);

/** Whether only this machine can ask at an address or host name (without port). */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  if (LOOPBACK_NAMES.has(name)) return true;
  return ipaddr.isValid(name) && ipaddr.process(name).range() === "loopback";
}

/** Where a request comes from, and whether it was made over TLS. */
export interface Client {
  address: string;
  https: boolean;
}

/**
 * The peer, or whom a proxy in `trustedProxies` (addresses or CIDR ranges) names
 * in X-Forwarded-For and -Proto. What anybody else puts there does not count.
 */
export function clientOfRequest(c: Context, trustedProxies: string[]): Client {
  const peer = peerOf(c);
  if (!isIn(peer, trustedProxies)) return { address: peer, https: false };
  const https = c.req.header("x-forwarded-proto")?.split(",").at(-1)?.trim() === "https";
  const named = (c.req.header("x-forwarded-for") ?? "").split(",").map((each) => each.trim());
  // from the right: each proxy adds whom it has seen, and the beginning is what the caller wrote
  const address = named.reverse().find((each) =>
    ipaddr.isValid(each) && !isIn(each, trustedProxies)
  );
  return { address: address ?? peer, https };
}

/** Whether a request comes from one of `trustedProxies`. */
export function isTrustedPeer(c: Context, trustedProxies: string[]): boolean {
  return isIn(peerOf(c), trustedProxies);
}

function peerOf(c: Context): string {
  const env = c.env as { remoteAddr?: { hostname?: string } } | undefined;
  return env?.remoteAddr?.hostname ?? "127.0.0.1";
}

/** An address as limits count it: of IPv6 the network, which one caller has for itself. */
export function limitKey(address: string): string {
  if (!ipaddr.isValid(address)) return address;
  const parsed = ipaddr.process(address);
  return parsed.kind() === "ipv4"
    ? parsed.toString()
    : (parsed as ipaddr.IPv6).parts.slice(0, 4).map((part) => part.toString(16)).join(":");
}

function isIn(address: string, ranges: string[]): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.process(address);
  return ranges.some((text) => {
    if (!ipaddr.isValidCIDR(text)) return ipaddr.process(text).toString() === parsed.toString();
    const [network, bits] = ipaddr.parseCIDR(text);
    return network.kind() === parsed.kind() && parsed.match(network, bits);
  });
}
