import assert from "node:assert/strict";
import { resolveEnvironment } from "../../scripts/environment.ts";
import { databaseAddresses, formatDsn, inDatabase, parseDsn } from "../../store/dsn.ts";
import { createLog } from "../../telemetry/log.ts";
import { readConfig } from "../../server/config.ts";
import { secretsOf } from "../../server/secrets.ts";

function fields(text: string) {
  const { parameters, ...rest } = parseDsn(text);
  return { ...rest, parameters: Object.fromEntries(parameters) };
}
const plain = {
  hosts: [{ host: "h", port: 5432 }],
  user: "u",
  password: "p",
  database: "d",
  parameters: {},
};

Deno.test("characters that should have been encoded count as themselves", () => {
  for (
    const [written, password] of [
      ["s3cret#b", "s3cret#b"],
      ["100%", "100%"],
      ["a%zz", "a%zz"],
      ["a?b", "a?b"],
      ["a:b", "a:b"],
      ["a b", "a b"],
      ["a@b", "a@b"],
      ["a/b", "a/b"],
      ["a@b/c", "a@b/c"],
      ["1?b", "1?b"],
      ["%40%2F%23", "@/#"],
      ["ñ%C3%B1", "ññ"],
      ["[x]", "[x]"],
    ] as const
  ) {
    assert.deepEqual(fields(`postgres://u:${written}@h/d`), { ...plain, password }, written);
  }
  assert.deepEqual(fields("postgresql://the user:p@h/my db"), {
    ...plain,
    user: "the user",
    database: "my db",
  });
  assert.equal(fields("postgres://u:p@h/d#1").database, "d#1");
});

Deno.test("several hosts, IPv6 literals, ports and parameters are read as libpq does", () => {
  assert.deepEqual(fields("postgres://u:p@[::1]:15630,b,c:7/d?target_session_attrs=read-write"), {
    ...plain,
    hosts: [{ host: "::1", port: 15630 }, { host: "b", port: 5432 }, { host: "c", port: 7 }],
    parameters: { target_session_attrs: "read-write" },
  });
  assert.deepEqual(fields("postgres://h/d?user=u&password=p%40&options=-c%20a=b@c"), {
    ...plain,
    password: "p@",
    parameters: { options: "-c a=b@c" },
  });
  assert.deepEqual(fields("postgres://u:p@/d?host=a,b&port=1"), {
    ...plain,
    hosts: [{ host: "a", port: 1 }, { host: "b", port: 1 }],
  });
  assert.deepEqual(fields("postgres://h").hosts, [{ host: "h", port: 5432 }]);
  assert.deepEqual(databaseAddresses("postgres://[fd00::1],h:1/d"), ["[fd00::1]:5432", "h:1"]);
});

Deno.test("pairs of keys and values are read as libpq does", () => {
  assert.deepEqual(
    fields("host=h port = 5433 dbname='my db' user=u password='it\\'s' sslmode=require"),
    {
      hosts: [{ host: "h", port: 5433 }],
      user: "u",
      password: "it's",
      database: "my db",
      parameters: { sslmode: "require" },
    },
  );
});

Deno.test("a written connection string reads as it was", () => {
  for (
    const text of [
      "postgres://the user:a@/#%?:b@[::1]:1,h:2/my db?sslmode=require&options=-c a=b",
      "host=/run/postgresql dbname=d user=u",
      "postgres://h/",
    ]
  ) assert.deepEqual(fields(formatDsn(parseDsn(text))), fields(text));
  assert.equal(parseDsn(inDatabase("postgres://u:a#b@h/d", "a/b")).database, "a/b");
});

Deno.test("what cannot be read is refused with what is wrong, never with the text", () => {
  for (
    const [text, pattern] of [
      ["postgres://u:geheim@h:54x/d", /a port is a number/i],
      ["postgres://u:geheim@::1:5432/d", /brackets/],
      ["postgres://u:geheim@h:99999/d", /1 to 65535/],
      ["postgres://u:geheim@[::1]/d?x", /are percent-encoded/],
      ["postgres://u:geheim@h/a/b", /slash in .*database is written %2F/],
      ["mysql://u:geheim@h/a", /form postgres:\/\//],
      ["host=h password=geheim with spaces", /quotes/],
    ] as const
  ) {
    assert.throws(() => parseDsn(text), (error: Error) => {
      assert.match(error.message, pattern);
      assert.ok(!error.message.includes("geheim"));
      return true;
    }, text);
  }
});

Deno.test("what a connection string does not say of TLS comes from libpq's variables", () => {
  const env = resolveEnvironment({
    KPIS_PG_DSN: "postgres://u@h/d",
    ETL_CONNECTION_CRM: "postgres://u:p@h/d",
    ETL_CONNECTION_OWN: "postgres://u:p@h/d?sslmode=disable",
    PGSSLMODE: "require",
    PGPASSWORD: "a#@b",
  });
  assert.deepEqual(fields(env.KPIS_PG_DSN!), {
    ...plain,
    password: "a#@b",
    parameters: { sslmode: "require" },
  });
  assert.deepEqual(fields(env.ETL_CONNECTION_CRM!).parameters, { sslmode: "require" });
  assert.deepEqual(fields(env.ETL_CONNECTION_OWN!).parameters, { sslmode: "disable" });
});

Deno.test("a password is masked in each form, and no part of a word where it is short", () => {
  const written = (dsn: string, text: string) => {
    const lines: string[] = [];
    const secrets = secretsOf(readConfig({ KPIS_PG_DSN: dsn }, 1));
    createLog({ level: "info", format: "text", write: (line) => lines.push(line), secrets }).info(
      text,
    );
    return lines[0]!.split("info  ")[1];
  };
  assert.equal(
    written("postgres://u:o@h/d", "etl_improved at postgres://u:o@h/d o"),
    "etl_improved at postgres://u:***@h/d ***",
  );
  assert.equal(
    written("postgres://u:a%23b c@h/d", "a#b c a%23b%20c a%23b c x%20a#b c"),
    "*** *** *** x%20***",
  );
  assert.equal(
    written("postgres://u:long-enough-to-be-secret@h/d", "Xlong-enough-to-be-secretX"),
    "X***X",
  );
});
