import assert from "node:assert/strict";
import { httpTarget, parseHttpConnection } from "../../pipeline/sources/http/connection.ts";
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
      ['{"url": "https://h/", "headers": {"Host": "s3cret"}}', /not yours to set/],
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
