import assert from "node:assert/strict";
import { Problem } from "../../pipeline/problem.ts";
import { connectionTarget } from "../../store/connection_target.ts";

const target = (query: string, host = "db.example.com") =>
  connectionTarget(`postgres://u:geheim@${host}:5432/d${query}`);

Deno.test("without sslmode there is no TLS, and everything else of the connection string stays", () => {
  const { dsn, ssl } = target("?application_name=a&options=endpoint%3Dx");
  assert.equal(ssl, false);
  assert.equal(
    dsn,
    "postgres://u:geheim@db.example.com:5432/d?application_name=a&options=endpoint%3Dx",
  );
});

Deno.test("sslmode means for both drivers what it means to libpq", () => {
  assert.deepEqual(target("?sslmode=require").ssl, { rejectUnauthorized: false });
  assert.deepEqual(target("?sslmode=verify-full").ssl, { rejectUnauthorized: true });
  assert.deepEqual(target("?sslmode=require&sslrootcert=system").ssl, { rejectUnauthorized: true });
  assert.equal(target("?sslmode=disable").ssl, false);
  assert.deepEqual(target("?ssl=true").ssl, { rejectUnauthorized: false });
});

Deno.test("an address is compared with the certificate too", () => {
  assert.deepEqual(target("?sslmode=verify-full", "10.0.0.1").ssl, {
    rejectUnauthorized: true,
    host: "10.0.0.1",
  });
  assert.deepEqual(target("?sslmode=verify-full", "[::1]").ssl, {
    rejectUnauthorized: true,
    host: "::1",
  });
});

Deno.test("with an authority's certificate, require checks who signed, and verify-full also the name", async () => {
  const ca = await Deno.makeTempFile();
  await Deno.writeTextFile(ca, "PEM");
  const required = target(`?sslmode=require&sslrootcert=${ca}`).ssl;
  assert.ok(required !== false && required.rejectUnauthorized && required.ca === "PEM");
  assert.equal(typeof required.checkServerIdentity, "function");
  for (const query of ["sslmode=verify-full&", ""]) {
    assert.deepEqual(target(`?${query}sslrootcert=${ca}`).ssl, {
      rejectUnauthorized: true,
      ca: "PEM",
    });
  }
  await Deno.remove(ca);
});

Deno.test("what Neon and Supabase put into connection strings is not sent to the server as a setting", () => {
  const neon = target("?sslmode=require&channel_binding=require");
  assert.equal(neon.dsn, "postgres://u:geheim@db.example.com:5432/d");
  assert.deepEqual(neon.ssl, { rejectUnauthorized: true });
  assert.equal(target("?pgbouncer=true").dsn, "postgres://u:geheim@db.example.com:5432/d");
});

Deno.test("what cannot be kept is refused, without showing the password", () => {
  for (
    const [query, pattern] of [
      ["?sslmode=prefer", /sslmode=prefer.*use disable, require, verify-ca or verify-full/],
      ["?sslmode=verify-ca", /sslrootcert/],
      ["?sslmode=verify-full&sslrootcert=/nowhere.crt", /\/nowhere\.crt .*ENOENT.*absolute path/],
      ["?sslmode=require&sslcert=/c.crt", /sslcert and sslkey/],
    ] as const
  ) {
    assert.throws(() => target(query), (error) => {
      assert.ok(error instanceof Problem);
      assert.match(error.message, pattern);
      assert.ok(!error.message.includes("geheim"));
      return true;
    });
  }
});
