import assert from "node:assert/strict";
import {
  allowedAddresses,
  isCloudMetadata,
  isPublicAddress,
} from "../../pipeline/sources/http/address_guard.ts";

Deno.test("isPublicAddress() knows the ranges that are not the public internet", () => {
  const inside = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001:db8::1",
    "2001::1",
    "2002:7f00:1::",
    "fc00::1",
    "fd12::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "5f00::1",
    "not an address",
  ];
  for (const address of inside) assert.equal(isPublicAddress(address), false, address);
  const outside = [
    "1.1.1.1",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
  ];
  for (const address of outside) assert.equal(isPublicAddress(address), true, address);
});

Deno.test("addresses with which clouds hand out credentials are refused, whatever is allowed", async () => {
  for (
    const address of [
      "168.63.129.16",
      "169.254.169.254",
      "169.254.170.2",
      "100.100.100.200",
      "192.0.0.192",
      "fd00:ec2::254",
      "fd00:0ec2:0:0:0:0:0:254",
      "fd20:ce::254",
      "::ffff:168.63.129.16",
      "64:ff9b::a83f:8110",
      "fe80::a9fe:a9fe",
    ]
  ) {
    assert.equal(isCloudMetadata(address), true, address);
    assert.equal(isPublicAddress(address), false, address);
    await assert.rejects(
      allowedAddresses(new URL("http://metadata.example/"), {
        hosts: ["*"],
        allowPrivateHosts: ["metadata.example"],
        lookup: () => Promise.resolve([{ address, family: address.includes(":") ? 6 : 4 }]),
      }),
      /credentials/,
    );
  }
  for (const address of ["168.63.129.17", "10.0.0.1", "2001:4860:4860::8888", "x"]) {
    assert.equal(isCloudMetadata(address), false, address);
  }
});

Deno.test("a host is read from where the list names it: its own name, any below a name, on any port or on one", async () => {
  const lookup = () => Promise.resolve([{ address: "192.0.2.1", family: 4 }]);
  const taken = async (url: string, ...hosts: string[]) => {
    const options = { hosts, allowPrivateHosts: [new URL(url).hostname], lookup };
    try {
      await allowedAddresses(new URL(url), options);
      return true;
    } catch (error) {
      assert.match((error as Error).message, /ETL_HTTP_SOURCES|is not one/);
      return false;
    }
  };
  for (
    const [entry, ...urls] of [
      ["data.example", "https://data.example/a", "http://data.example:8080/a"],
      ["data.example:443", "https://data.example/a"],
      ["*.example", "https://data.example/a", "http://a.b.example:8080/a", "https://DATA.example"],
      ["*.Example:80 ", "http://data.example/a"],
      ["*", "https://anything.test:1/"],
    ] as const
  ) {
    for (const url of urls) {
      assert.equal(await taken(url, "other.test", entry), true, `${entry} ${url}`);
    }
  }
  for (
    const [entry, ...urls] of [
      ["data.example", "https://x.data.example/a", "https://data.example.test/"],
      ["data.example:443", "http://data.example/a", "https://data.example:8443/a"],
      ["*.example", "https://example/a", "https://badexample/", "https://data.example.test/"],
      ["*.example:80", "https://data.example/a", "http://data.example:8080/a"],
    ] as const
  ) for (const url of urls) assert.equal(await taken(url, entry), false, `${entry} ${url}`);
});

Deno.test("a private host is allowed by its name, on any port or on the one that stands beside it", async () => {
  const lookup = () => Promise.resolve([{ address: "10.0.0.5", family: 4 }]);
  const refused = (url: string, entry: string) =>
    allowedAddresses(new URL(url), { allowPrivateHosts: [entry], lookup })
      .then(() => null, (error: Error) => error.message);
  for (
    const [entry, ...urls] of [
      ["db.lan", "http://db.lan/", "https://db.lan:9/"],
      ["DB.lan:443", "https://db.lan/"],
      ["db.lan:80", "http://db.lan/"],
      ["10.0.0.5:8080", "http://10.0.0.5:8080/"],
      ["[fd00::1]:80", "http://[fd00::1]/"],
      ["fd00::1", "http://[fd00::1]:81/"],
    ] as const
  ) for (const url of urls) assert.equal(await refused(url, entry), null, `${entry} ${url}`);
  for (
    const [entry, url, told] of [
      ["db.lan:443", "http://db.lan/", "db.lan:80"],
      ["db.lan:80", "https://db.lan/", "db.lan:443"],
      ["db.lan:80", "http://db.lan:81/", "db.lan:81"],
      ["lan", "http://db.lan/", "db.lan:80"],
      ["10.0.0.50", "http://10.0.0.5/", "10.0.0.5:80"],
    ] as const
  ) assert.ok((await refused(url, entry))?.includes(told), `${entry} ${url}`);
});
