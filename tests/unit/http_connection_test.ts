import assert from "node:assert/strict";
import {
  hostOfConnection,
  httpTarget,
  isHttpConnection,
  parseHttpConnection,
  secretsOfConnection,
} from "../../pipeline/sources/http/connection.ts";
import { httpSource } from "../../pipeline/sources/schema.ts";

const conf = (url: string, connection?: string) =>
  httpSource.parse({ type: "http", url, ...(connection === undefined ? {} : { connection }) });

Deno.test("http connection: a URL or JSON; what is wrong is said without showing the value", () => {
  assert.deepEqual(parseHttpConnection("V", " https://u:p@h/base "), {
    url: "https://u:p@h/base",
    headers: {},
  });
  const json = { url: "https://h/", headers: { authorization: "Bearer x" } };
  assert.deepEqual(parseHttpConnection("V", JSON.stringify(json)), json);
  for (
    const [value, what] of [
      ['{"url": "https://s3cret', /as JSON and is none/],
      ['{"headers": {"a": "s3cret"}}', /no URL/],
      ['{"url": "ftp://u:s3cret@h/"}', /not http/],
      ['{"url": "https://h/", "token": "s3cret"}', /more than url and headers/],
      ['{"url": "https://h/", "headers": {"a": "s3cret\\r\\nhost: x"}}', /text of one line/],
      ['{"url": "https://h/", "headers": {"s3cret\\n": "x"}}', /no valid name/],
      ['{"url": "https://h/#s3cret"}', /has a URL with a #/],
      ...["Host", "Content-Length", "transfer-encoding", "Range", "if-range", "accept-encoding"]
        .map((name) =>
          [`{"url": "https://h/", "headers": {"${name}": "s3cret"}}`, /not yours to set/] as const
        ),
      ['{"url": "https://h/", "headers": ["s3cret"]}', /not an object/],
    ] as const
  ) {
    assert.throws(() => parseHttpConnection("ETL_CONNECTION_API", value), (error: Error) => {
      assert.match(error.message, what);
      assert.match(error.message, /^ETL_CONNECTION_API /);
      return !error.message.includes("s3cret");
    });
  }
});

Deno.test("http connection: its URLs stay on its server, below its path, with its user and query", () => {
  const connections = {
    api: { url: "https://u:p@api.example.org/v1?sig=s", headers: { "x-api-key": "k" } },
  };
  const target = (url: string) => httpTarget(conf(url, "api"), { http: connections });
  assert.deepEqual(target("day.csv?year=2026"), {
    url: "https://u:p@api.example.org/v1/day.csv?year=2026&sig=s",
    headers: { "x-api-key": "k" },
  });
  // as a module may ask for it
  const itself = httpTarget({ ...conf("x", "api"), url: "" }, { http: connections });
  assert.equal(itself.url, "https://u:p@api.example.org/v1?sig=s");
  assert.equal(target("/other").url, "https://u:p@api.example.org/other?sig=s");
  assert.equal(target("https://api.example.org/v2").url, "https://u:p@api.example.org/v2?sig=s");
  assert.equal(target("day.csv?sig=mine").url, "https://u:p@api.example.org/v1/day.csv?sig=mine");
  for (
    const url of [
      "https://evil.example.org/",
      "//evil.example.org/",
      "http://api.example.org/",
      "\\\\evil.example.org",
      "https://api.example.org:444/",
    ]
  ) {
    assert.throws(() => target(url), /leads away from the server/, url);
  }
  assert.throws(
    () => httpTarget(conf("a", "gone"), { http: connections }),
    /ETL_CONNECTION_GONE.*Known: api/,
  );
  assert.throws(() => httpTarget(conf("a", "constructor"), { http: connections }), /no connection/);
  const { api } = connections;
  assert.throws(
    () => httpTarget(conf("a", "gone"), { http: { shop: api, api } }),
    /Known: api, shop/,
  );
  assert.throws(() => httpTarget(conf("a", "gone"), { http: {} }), (error: Error) => {
    assert.match(error.message, /ETL_CONNECTION_GONE/);
    return !error.message.includes("Known");
  });
  // without a connection a URL is whole
  assert.deepEqual(httpTarget(conf("https://h/a"), { http: connections }), {
    url: "https://h/a",
    headers: {},
  });
  for (const url of ["a.csv", "ftp://h/a", "file:///etc/passwd"]) {
    assert.throws(() => conf(url), /whole URL/);
  }
  assert.throws(() => conf("ftp://h/a", "api"));
});

Deno.test("http connection: told by its beginning, in any spelling, from those of databases and of S3", () => {
  for (const value of ["https://h/", " HTTP://h/", '\n{"url": "https://h/"}']) {
    assert.ok(isHttpConnection(value), value);
  }
  for (const value of ["postgres://u@h/d", "mysql://h/d", '{"type": "s3", "bucket": "b"}']) {
    assert.ok(!isHttpConnection(value), value);
  }
});

Deno.test("http connection: its host has the port that its protocol implies", () => {
  const hosts = { "http://h/": "h:80", "https://h/": "h:443", "https://h:8443/": "h:8443" };
  for (const [url, host] of Object.entries(hosts)) {
    assert.equal(hostOfConnection({ url, headers: {} }), host);
  }
});

Deno.test("http connection: its secrets are hidden as they are written, read and sent; short words are none", () => {
  const secrets = secretsOfConnection({
    url: "https://ann:pass%20word@h/?sig=s1gnature&v=2",
    headers: { authorization: "Bearer t0ken-of-mine", accept: "text" },
  });
  // the last of them is "ann:pass word" in base64
  for (
    const secret of [
      "pass%20word",
      "pass word",
      "s1gnature",
      "t0ken-of-mine",
      "YW5uOnBhc3Mgd29yZA==",
    ]
  ) {
    assert.ok(secrets.includes(secret), secret);
  }
  for (const word of ["ann", "2", "text"]) assert.ok(!secrets.includes(word), word);
  // a user without a password is no secret in any spelling
  assert.deepEqual(secretsOfConnection({ url: "https://ann@h/", headers: {} }), []);
});
