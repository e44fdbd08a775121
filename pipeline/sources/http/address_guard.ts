import { say } from "../../../vocabulary/messages.ts";
import ipaddr from "ipaddr.js";
import { Problem } from "../../../vocabulary/problem.ts";

export interface Address {
  address: string;
  family: number;
}

/** Finds the addresses of a host name; dns.lookup with `all`. */
export type Lookup = (host: string) => Promise<Address[]>;

/**
 * Whether an address is one of the public internet. Private, loopback,
 * link-local, shared (CGNAT), multicast, documentation and reserved ranges
 * are not, nor is an IPv6 address that stands for one of them.
 */
export function isPublicAddress(text: string): boolean {
  if (!ipaddr.isValid(text)) return false;
  const address = meantAddress(text);
  // Global unicast is all of 2000::/3; the library calls every unknown range unicast.
  if (address instanceof ipaddr.IPv6 && (address.parts[0]! & 0xe000) !== 0x2000) return false;
  return address.range() === "unicast" && !isCloudMetadata(text);
}

/** The address, or the IPv4 one that it stands for. */
function meantAddress(text: string): ipaddr.IPv4 | ipaddr.IPv6 {
  const address = ipaddr.process(text);
  return address.range() === "rfc6052"
    ? ipaddr.process(address.toByteArray().slice(12).join("."))
    : address;
}

/** The host of a URL without the brackets of an IPv6 address. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}

export interface GuardOptions {
  /** Hosts that may be read from (`name`, `name:port`, `*.name`), `*` for any; undefined: any. */
  hosts?: string[] | undefined;
  /** host or host:port entries that may be private. */
  allowPrivateHosts: string[];
  lookup: Lookup;
}

/**
 * The addresses to connect to for a URL; each of them is allowed.
 *
 * @throws {Problem} `source-refused` when one is not public; `source-unreadable` for an unknown name.
 */
export async function allowedAddresses(url: URL, options: GuardOptions): Promise<Address[]> {
  const host = hostOf(url);
  if (options.hosts !== undefined && !isListed(url, options.hosts)) {
    throw new Problem("source-refused", {
      detail: say("host-not-listed", { host }),
      errors: [{ field: "source.url", value: host, message: "is not in ETL_HTTP_SOURCES" }],
    });
  }
  const addresses = ipaddr.isValid(host)
    ? [{ address: host, family: ipaddr.parse(host).kind() === "ipv6" ? 6 : 4 }]
    : await options.lookup(host).catch((error) => {
      const { code } = error as { code?: string };
      if (code === "EPERM") throw notPermitted(host, error);
      throw new Problem("source-unreadable", {
        detail: say("host-unknown", { host }),
        transient: code === "EAI_AGAIN",
        cause: error,
      });
    });
  const metadata = addresses.find(({ address }) => isCloudMetadata(address));
  if (metadata !== undefined) {
    throw new Problem("source-refused", {
      detail: say("host-of-credentials", { host, address: metadata.address }),
    });
  }
  if (isAllowed(url, options.allowPrivateHosts)) return addresses;
  const refused = addresses.find(({ address }) => !isPublicAddress(address));
  if (refused !== undefined || addresses.length === 0) {
    const port = url.port || (url.protocol === "https:" ? "443" : "80");
    throw new Problem("source-refused", {
      detail: refused === undefined
        ? say("host-no-address", { host, named: `${host}:${port}` })
        : say("host-private", { host, address: refused.address, named: `${host}:${port}` }),
    });
  }
  return addresses;
}

/** The server's own permissions are narrower than what the source needs. */
export function notPermitted(host: string, cause: unknown): Problem {
  return new Problem("source-refused", {
    detail: say("host-not-permitted", { host }),
    cause,
  });
}

function isListed(url: URL, hosts: string[]): boolean {
  if (hosts.includes("*") || isAllowed(url, hosts)) return true;
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const name = hostOf(url).toLowerCase();
  return hosts.some((entry) => {
    const [, suffix, wanted] = /^\*(\.[^:]+)(?::(\d+))?$/.exec(entry.trim().toLowerCase()) ?? [];
    return suffix !== undefined && name.endsWith(suffix) && (wanted ?? port) === port;
  });
}

function isAllowed(url: URL, entries: string[]): boolean {
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const names = new Set([hostOf(url), url.hostname].flatMap((host) => [host, `${host}:${port}`]));
  return entries.some((entry) => names.has(entry.trim().toLowerCase()));
}

/**
 * Where cloud machines and their agents get credentials and settings. Nothing that a run reads is there, so
 * these are never reached, whatever is allowed.
 *
 * Sources: AWS, "Use the Instance Metadata Service" (169.254.169.254, fd00:ec2::254) and "EKS Pod Identity"
 * (169.254.170.23, fd00:ec2::23); Azure, "What is IP address 168.63.129.16?"; Google Cloud, "About VM metadata"
 * (169.254.169.254, fd20:ce::254); Alibaba Cloud, "View instance metadata" (100.100.100.200);
 * Oracle Cloud, "Getting Instance Metadata" (169.254.169.254, formerly 192.0.0.192). The others use 169.254.0.0/16,
 * link-local by RFC 3927, as ECS, DigitalOcean, Hetzner, IBM, OpenStack and Tencent do.
 */
export const CLOUD_METADATA = [
  "169.254.0.0/16",
  "168.63.129.16",
  "100.100.100.200",
  "192.0.0.192",
  "fd00:ec2::254",
  "fd00:ec2::23",
  "fd20:ce::254",
];

/** Whether an address is of the list, also where IPv6 stands for IPv4, or is link-local of IPv6. */
export function isCloudMetadata(text: string): boolean {
  if (!ipaddr.isValid(text)) return false;
  const address = meantAddress(text);
  if (address instanceof ipaddr.IPv6 && address.range() === "linkLocal") return true;
  return CLOUD_METADATA.some((entry) => {
    if (entry.includes("/")) {
      return address.kind() === "ipv4" && address.match(ipaddr.parseCIDR(entry));
    }
    return ipaddr.parse(entry).toString() === address.toString();
  });
}
