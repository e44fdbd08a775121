import assert from "node:assert/strict";
import { Problem } from "../../vocabulary/problem.ts";
import { connectionProblem } from "../../store/connection_problem.ts";
import { connectionTarget, sessionName } from "../../store/connection_target.ts";

const target = (query: string, host = "db.example.com") =>
  connectionTarget(`postgres://u:geheim@${host}:5432/d${query}`);

Deno.test("without sslmode TLS is tried first, and everything else of the connection string stays", () => {
  const { ssl, options, applicationName } = target(
    "?application_name=a&options=-c%20geqo%3Doff&search_path=my%20schema",
  );
  assert.equal(ssl, "prefer");
  assert.equal(applicationName, "a");
  assert.equal(options, "-c geqo=off -c search_path=my\\ schema");
  assert.equal(target("?sslmode=prefer").ssl, "prefer");
});

Deno.test("libpq's keepalives and connect_timeout are the drivers' own settings, none of the server's", () => {
  const { options, keepAliveSeconds, connectSeconds } = target(
    "?keepalives=1&keepalives_idle=30&keepalives_interval=5&keepalives_count=3&tcp_user_timeout=9&connect_timeout=7",
  );
  assert.deepEqual({ options, keepAliveSeconds, connectSeconds }, {
    options: undefined,
    keepAliveSeconds: 30,
    connectSeconds: 7,
  });
  assert.equal(target("?keepalives=0").keepAliveSeconds, null);
  assert.equal(target("").keepAliveSeconds, 10);
  const forEver = target("?connect_timeout=-3&keepalives_idle=-1");
  assert.deepEqual([forEver.connectSeconds, forEver.keepAliveSeconds], [undefined, 10]);
});

Deno.test("sslmode means for both drivers what it means to libpq", () => {
  assert.deepEqual(target("?sslmode=require").ssl, { rejectUnauthorized: false });
  assert.deepEqual(target("?sslmode=verify-full").ssl, { rejectUnauthorized: true });
  assert.deepEqual(target("?sslmode=require&sslrootcert=system").ssl, { rejectUnauthorized: true });
  assert.equal(target("?sslmode=disable").ssl, false);
  assert.deepEqual(target("?ssl=true").ssl, { rejectUnauthorized: false });
  assert.deepEqual(target("?ssl=1").ssl, { rejectUnauthorized: false });
  for (const none of ["false", "0", "disable"]) assert.equal(target(`?ssl=${none}`).ssl, false);
  assert.equal(target("?sslmode=allow").ssl, "prefer");
  assert.deepEqual(target("?sslmode=no-verify").ssl, { rejectUnauthorized: false });
  // where one of the hosts is reached by the network, TLS is for all
  const hosts = (text: string) => connectionTarget(`postgres://u@${text}/d`).ssl;
  assert.equal(hosts("%2Frun%2Fpg"), false);
  assert.equal(hosts("%2Frun%2Fpg,db.example.com"), "prefer");
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
  assert.ok(typeof required === "object" && required.rejectUnauthorized && required.ca === "PEM");
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
  assert.equal(neon.options, undefined);
  assert.deepEqual(neon.ssl, { rejectUnauthorized: true });
  assert.equal(target("?pgbouncer=true").options, undefined);
});

Deno.test("each way in which a database cannot be used is told with its remedy, without the password", () => {
  const dsn = "postgres://loader:gehe1m@db.test/etl";
  const told = (code: string, message = "no") =>
    connectionProblem(Object.assign(new Error(message), { code }), dsn)?.message ?? "";
  for (
    const [code, why] of Object.entries({
      "28P01": /user or password is wrong/,
      "3D000": /it has no such database/,
      "53300": /all its connections are in use.*Raise max_connections, or use a pooler/,
      "42501": /its role lacks rights there.*setup-db --role loader/,
      "25006": /it takes no writes.*alter role loader reset default_transaction_read_only/,
      "57P03": /it is starting up or shutting down/,
      ECONNREFUSED: /nothing listens there/,
      EAI_AGAIN: /the host name is not known/,
      ETIMEDOUT: /there is no network route to it/,
      "28000": /lets this user not in from here.*pg_hba\.conf/,
      NO_SUCH_HOST: /none of its hosts takes writes/,
      DEPTH_ZERO_SELF_SIGNED_CERT: /its certificate is not to be trusted/,
    })
  ) {
    assert.match(told(code), why, code);
    assert.match(told(code), /^The database at db\.test:5432/);
    assert.doesNotMatch(told(code), /gehe1m/);
  }
  assert.match(told("", "The server does not support SSL connections"), /it does not speak TLS/);
  assert.equal(told("42P01"), "", "what the server answers is no connection that fails");
});

Deno.test("what cannot be kept is refused, without showing the password", () => {
  for (
    const [query, pattern] of [
      ["?sslmode=yes", /sslmode=yes.*use one of disable, prefer, require, verify-ca, verify-full/],
      ["?require_auth=none", /require_auth.*not offered/],
      ["?target_session_attrs=writable", /target_session_attrs=writable.*read-write/],
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

Deno.test("a session has the program's name, and behind it the connection string's as far as PostgreSQL keeps it", () => {
  assert.equal(sessionName("etl-improved", target("")), "etl-improved");
  assert.equal(sessionName("etl", target("?application_name=mine")), "etl (mine)");
  const long = sessionName("etl", target(`?application_name=${"x".repeat(100)}`));
  assert.deepEqual([long.length, long.startsWith("etl (xxx")], [63, true]);
});

Deno.test("of several hosts none is the one that a certificate has to be made out to", () => {
  const { ssl } = target("?sslmode=verify-full", "10.0.0.1:5432,10.0.0.2");
  assert.deepEqual(ssl, { rejectUnauthorized: true });
});
