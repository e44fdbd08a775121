import ipaddr from "ipaddr.js";

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
  const address = ipaddr.process(text);
  if (address instanceof ipaddr.IPv6) {
    if (address.range() === "rfc6052") {
      return isCloudMetadata(address.toByteArray().slice(12).join("."));
    }
    if (address.range() === "linkLocal") return true;
  }
  return CLOUD_METADATA.some((entry) => {
    if (entry.includes("/")) {
      return address.kind() === "ipv4" && address.match(ipaddr.parseCIDR(entry));
    }
    return ipaddr.parse(entry).toString() === address.toString();
  });
}
