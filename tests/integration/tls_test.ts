import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { Database } from "../../store/database.ts";
import { connect } from "../../store/pg.ts";
import { makeCertificates, opensslIsInstalled } from "../helpers/certificates.ts";
import { ownCluster } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";

const ignore = !await opensslIsInstalled();
const ENCRYPTED = "select ssl, client_dn from pg_stat_ssl where pid = pg_backend_pid()";

/** What each driver says of its connection: whether it is encrypted, or why there is none. */
async function drivers(dsn: string): Promise<string[]> {
  const database = new Database(dsn, { applicationName: "test", max: 1 });
  const said = (rows: unknown) => JSON.stringify((rows as unknown[])[0]);
  const first = await database.sql.unsafe(ENCRYPTED).then(said, (error) => `${error.message}`);
  await database.close({ timeoutSeconds: 1 });
  const second = await connect(dsn).then(
    async (client) => {
      const { rows } = await client.query(ENCRYPTED);
      await client.end();
      return said(rows);
    },
    (error) => `${error.message}`,
  );
  return [first, second];
}

Deno.test({
  name: "sslmode and sslrootcert mean the same to both drivers as to libpq",
  ignore,
  async fn() {
    await using certs = await makeCertificates();
    await using cluster = await ownCluster({ settings: certs.settings });
    await using elsewhere = await ownCluster({ settings: certs.settingsOfElsewhere });
    await using plain = await ownCluster();
    const encrypted = /"ssl":true/;
    const cases: [string, string, RegExp][] = [
      [cluster.dsn, "", encrypted],
      [plain.dsn, "", /"ssl":false/],
      [cluster.dsn, "?sslmode=disable", /"ssl":false/],
      [cluster.dsn, "?sslmode=require", encrypted],
      [cluster.dsn, `?sslmode=require&sslrootcert=${certs.ca}`, encrypted],
      [cluster.dsn, `?sslmode=require&sslrootcert=${certs.otherCa}`, /self-signed|certificate/],
      [cluster.dsn, `?sslmode=verify-full&sslrootcert=${certs.ca}`, encrypted],
      [cluster.dsn, `?sslmode=verify-full&sslrootcert=${certs.otherCa}`, /self-signed|certificate/],
      [cluster.dsn, "?sslmode=verify-full", /self-signed|certificate/],
      [elsewhere.dsn, `?sslmode=verify-ca&sslrootcert=${certs.ca}`, encrypted],
      [elsewhere.dsn, `?sslmode=verify-full&sslrootcert=${certs.ca}`, /altnames|does not match/],
      [plain.dsn, "?sslmode=require", /SSL|TLS|ECONNRESET|disconnected/i],
      [
        cluster.dsn,
        `?sslmode=verify-full&sslrootcert=${certs.ca}&sslcert=${certs.clientCert}&sslkey=${certs.clientKey}`,
        /"client_dn":"\/CN=etl"/,
      ],
    ];
    for (const [dsn, query, expected] of cases) {
      for (const host of ["127.0.0.1", "localhost"]) {
        // a client's certificate is not asked for again in a session that is taken up
        if (query.includes("sslcert") && host === "localhost") continue;
        for (const said of await drivers(dsn.replace("127.0.0.1", host) + query)) {
          assert.match(said, expected, `${host} ${query}`);
        }
      }
    }
  },
});

Deno.test({
  name:
    "with verify-full every connection of a server and its workers is encrypted, and a run succeeds",
  ignore,
  async fn() {
    await using certs = await makeCertificates();
    await using cluster = await ownCluster({ settings: certs.settings });
    const dsn = `${cluster.dsn}?sslmode=verify-full&sslrootcert=${certs.ca}`;
    await setupDatabase(dsn);
    await using server = await startServer({
      dsn,
      env: { ETL_CONNECTION_SELF: dsn.replace("127.0.0.1", "localhost") },
    });
    const run = async (conf: object) => {
      const answer = await fetch(`${server.address}/api/etl/run?wait=true`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(conf),
      });
      return await answer.json();
    };
    const first = await run({ batch_size: 2000, chunk_size: 500 });
    assert.equal(first.state, "succeeded", JSON.stringify(first.error));
    const second = await run({
      table_name: "copied",
      source: { type: "postgres", connection: "self", table: "public.etl_improved_events" },
    });
    assert.equal(second.state, "succeeded", JSON.stringify(second.error));
    assert.equal(second.total_rows, 2000);
    const rows = await withClient(cluster.dsn, async (client) =>
      (await client.query(
        `select a.application_name, s.ssl from pg_stat_ssl as s join pg_stat_activity as a using (pid)
        where a.datname = 'etl' and pid <> pg_backend_pid()`,
      )).rows);
    assert.ok(rows.length >= 3, JSON.stringify(rows));
    assert.deepEqual(rows.filter((row) => !row.ssl), []);
  },
});
