import assert from "node:assert/strict";
import pg from "pg";
import { testDatabase } from "../helpers/postgres.ts";
import { startPeer } from "../helpers/peer.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** A secret of its own for each place, so that a leak names where it comes from. */
const secret = (name: string) => `Xq9-${name}-7sEcReT`;

const SECRETS = [
  "database",
  "warehouse",
  "deadware",
  "slack",
  "hookuser",
  "hookquery",
  "hooktoken",
  "mlflowuser",
  "mlflowtoken",
  "lineageuser",
  "lineagekey",
  "sourceuser",
  "sourcequery",
  "sourcebare",
  "sourceheader",
  "oauthtoken",
  "nexttoken",
  "redirectsignature",
  "sessioncookie",
  "admin-token-of-the-environment",
];

interface Case {
  alive: boolean;
  format: "text" | "json";
}

for (
  const { alive, format } of [{ alive: true, format: "json" }, {
    alive: false,
    format: "text",
  }] as Case[]
) {
  const what = alive ? "that answer" : "that refuse, are gone or fail";
  Deno.test(`secrets: none is in what a server writes, with receivers ${what}`, async (t) => {
    await using db = await testDatabase(t);
    await using peer = startPeer(({ path, headers }) => {
      if (path.startsWith("/data/echo")) {
        // what went wrong, with everything that came
        const told = ["authorization", "x-api-key"].map((name) => headers.get(name)).join(" ");
        return new Response(`no: ${path} ${told}`, { status: alive ? 200 : 403 });
      }
      if (path.startsWith("/auth")) {
        const token = JSON.stringify({ access_token: secret("oauthtoken"), token_type: "bearer" });
        return new Response(path.endsWith("broken") ? token.slice(0, -1) : token);
      }
      if (path.startsWith("/told")) {
        const told = `${path} ${headers.get("authorization")} ${secret("sessioncookie")}`;
        const cookie = { "set-cookie": `sid=${secret("sessioncookie")}; HttpOnly` };
        if (path === "/told/text") return new Response(told, { headers: cookie });
        if (path === "/told/records") return Response.json([{ told }], { headers: cookie });
        if (path.startsWith("/told/circle")) {
          const link = `</told/circle?access_token=${secret("nexttoken")}>; rel=next`;
          return Response.json([{ id: 1 }], { headers: { link } });
        }
        if (path === "/told/redirect") {
          const location = `/told/403?X-Amz-Signature=${secret("redirectsignature")}`;
          return new Response(null, { status: 302, headers: { location } });
        }
        return new Response(told, { status: 403, headers: cookie });
      }
      if (path.startsWith("/data")) {
        return new Response('{"id":1,"v":"x"}\n{"id":', {
          headers: { etag: '"1"', "content-type": "application/x-ndjson" },
        });
      }
      if (!alive) return new Response(`no: ${path}`, { status: 403 });
      if (path.includes("experiments/get-by-name")) {
        return Response.json({ experiment: { experiment_id: "1" } });
      }
      if (path.includes("runs/search")) return Response.json({ runs: [] });
      if (path.includes("runs/create")) return Response.json({ run: { info: { run_id: "m1" } } });
      return Response.json({});
    });
    const { port } = new URL(peer.address);
    const at = (user: string, path: string) =>
      `http://user:${secret(user)}@127.0.0.1:${port}${path}`;
    const role = `leak_${db.name.slice(-8)}`;
    const admin = new pg.Client(db.dsn);
    await admin.connect();
    await admin.query(`create role ${role} login superuser password '${secret("database")}'`);
    const own = new URL(db.dsn);
    [own.username, own.password] = [role, secret("database")];
    const warehouse = new URL(own);
    const dataDir = await Deno.makeTempDir({ prefix: "etl-secrets-" });
    await Deno.writeTextFile(`${dataDir}/a.ndjson`, '{"id":1}\n');
    try {
      await using server = await startServer({
        dsn: own.href,
        env: {
          ETL_DATA_DIR: dataDir,
          ETL_RUN_MAX_ATTEMPTS: "1",
          ETL_OUTAGE_MINUTES: "0",
          ETL_LOG_LEVEL: "debug",
          ETL_LOG_FORMAT: format,
          ETL_ADMIN_TOKEN: secret("admin-token-of-the-environment"),
          ETL_CONNECTION_WAREHOUSE: warehouse.href,
          ETL_CONNECTION_DEADWARE: `postgres://u:${secret("deadware")}@127.0.0.1:1/d`,
          ETL_CONNECTION_WRONG: `postgres://u:${secret("warehouse")}@${own.host}/${db.name}`,
          ETL_CONNECTION_API: JSON.stringify({
            url: `${at("sourceuser", "/data/")}?token=${secret("sourcequery")}`,
            headers: { "x-api-key": secret("sourceheader") },
          }),
          ETL_CONNECTION_AUTH: `${peer.address}/auth/`,
          ETL_CONNECTION_BROKEN: `${peer.address}/auth/broken`,
          ETL_CONNECTION_GONE: `http://user:${secret("sourceuser")}@127.0.0.1:1/?${
            secret("sourcebare")
          }`,
          ETL_HTTP_PRIVATE_HOSTS: `127.0.0.1:${port},127.0.0.1:1`,
          SLACK_WEBHOOK: `${peer.address}/services/T/B/${secret("slack")}`,
          ETL_ALERT_WEBHOOK: `${at("hookuser", "/hook")}?key=${secret("hookquery")}`,
          ETL_ALERT_WEBHOOK_TOKEN: secret("hooktoken"),
          MLFLOW_TRACKING_URI: at("mlflowuser", "/mlflow"),
          MLFLOW_TRACKING_TOKEN: secret("mlflowtoken"),
          OPENLINEAGE_URL: at("lineageuser", ""),
          OPENLINEAGE_API_KEY: secret("lineagekey"),
          STATSD_HOST: "127.0.0.1",
        },
      });
      const bodies: string[] = [];
      const call = async (path: string, init: RequestInit = {}) => {
        const response = await fetch(`${server.address}${path}`, {
          ...init,
          headers: {
            authorization: `Bearer ${secret("admin-token-of-the-environment")}`,
            ...init.headers,
          },
          redirect: "manual",
        });
        const headers = [...response.headers].map((pair) => pair.join(": ")).join("\n");
        const text = await response.text();
        bodies.push(`${init.method ?? "GET"} ${path} ${response.status}\n${headers}\n\n${text}`);
        return { status: response.status, text };
      };
      const send = (method: string, path: string, body: unknown) =>
        call(path, {
          method,
          body: JSON.stringify(body),
          headers: { "content-type": "application/json" },
        });

      const url = `${at("sourceuser", "/data/x.ndjson")}?token=${secret("sourcequery")}&year=2026`;
      const literal = { type: "http", url, key: "id", format: "ndjson" };
      const source = { ...literal, url: "x.ndjson?year=2026", connection: "api" };
      const postgres = { type: "postgres", key: "n", query: "select 1 as n" };
      const confs = [
        { source, mlflow_enable: true, min_acceptance_ratio: 0 },
        { source, mlflow_enable: true },
        { source: { ...source, connection: "gone" } },
        { source: { ...postgres, connection: "deadware" } },
        { source: { ...postgres, connection: "wrong" } },
        {
          source: { ...postgres, query: "select 1 as n", page_key: ["n"], connection: "warehouse" },
        },
        { configuration: "leaky" },
        {
          source: {
            type: "module",
            name: "rest",
            key: "id",
            config: { url: "echo/items" },
            connections: ["api"],
          },
        },
        // these come from elsewhere, whatever becomes of the receivers
        ...(alive ? ["403", "text", "records", "circle", "redirect", "broken"] : []).map((
          told,
        ) => ({
          source: {
            type: "module",
            name: "rest",
            key: "id",
            config: {
              url: `${peer.address}/told/${told}`,
              paging: { by: "link" },
              oauth: { connection: told === "broken" ? "broken" : "auth" },
            },
            connections: [told === "broken" ? "broken" : "auth"],
          },
        })),
      ];
      const leaky = { source, run_label: "leaky", min_acceptance_ratio: 0 };
      assert.equal((await send("PUT", "/api/configurations/leaky", { conf: leaky })).status, 201);
      const schedule = { cron: "0 0 1 1 *", time_zone: "UTC", conf: leaky };
      assert.equal((await send("PUT", "/api/schedules/leaky", schedule)).status, 201);
      for (const conf of confs) {
        const asked = await send("POST", "/api/etl/run?wait=true", { ...conf, db_max_retries: 1 });
        assert.equal(asked.status, 200, asked.text);
        await send("POST", "/api/etl/preview", conf);
        await send("POST", "/api/suites/profile", conf);
      }
      // what is wrong is shown, but not what is secret
      for (
        const conf of [
          { source: literal },
          { source: { ...literal, nope: 1 } },
          { source: literal, nope: 1 },
          { source: { ...literal, url: `ftp://u:${secret("sourceuser")}@h/` } },
          { source: { ...literal, url: `https://h/x?${secret("sourcebare")}` } },
          { source: { ...literal, headers: { authorization: secret("sourceheader") } } },
          { source, headers: { cookie: secret("sourceheader") } },
        ]
      ) {
        for (const path of ["/api/etl/run", "/api/etl/preview", "/api/suites/profile"]) {
          assert.equal((await send("POST", path, conf)).status, 422, path);
        }
        for (const kind of ["configurations", "schedules"]) {
          const body = { conf, ...(kind === "schedules" ? { cron: "@daily" } : {}) };
          assert.equal((await send("PUT", `/api/${kind}/literal`, body)).status, 422, kind);
        }
      }
      const variable = await send("PUT", "/api/variables/etl_improved__source", { value: literal });
      assert.equal(variable.status, 422);
      await send("POST", "/api/schedules/leaky/run", {});
      const settled = async () => {
        const { rows: [row] } = await admin.query(
          `select (select count(*) from etl.exports where state = 'pending' and attempts = 0) as exports,
            (select count(*) from etl.runs where state in ('queued', 'running')) as runs`,
        );
        return Number(row.exports) + Number(row.runs) === 0;
      };
      await waitFor(settled, { timeoutMs: 60_000, what: "every run told" });
      await waitFor(() => peer.requests.some(({ path }) => path.startsWith("/hook")), {
        timeoutMs: 30_000,
        what: "alerts sent",
      });

      const made = await send("POST", "/api/tokens", { name: "leaky", role: "admin" });
      assert.equal(made.status, 201, made.text);
      // it is told once, there
      bodies.pop();
      const { token } = JSON.parse(made.text);
      const wrong = `${token.slice(0, -20)}${secret("x").slice(0, 20)}`;
      for (const [text, status] of [[token, 200], [wrong, 401], [`${token}x`, 401]]) {
        const headers = { authorization: `Bearer ${text}` };
        assert.equal((await call("/api/tokens", { headers })).status, status);
        await call(`/api/tokens?token=${text}`);
      }

      await walk(call);
      const leaks = [
        ...found("log", server.logs.join("\n")),
        ...bodies.flatMap((body) => found(body.split("\n")[0]!, body)),
        ...peer.requests.flatMap(({ path, body }) =>
          found(`sent to ${path.split(/[?]/)[0]!.slice(0, 12)}`, body)
        ),
        ...await inDatabase(admin),
        // the first line of a body is what was asked
        ...[...server.logs, ...bodies.map((body) => body.slice(body.indexOf("\n")))]
          .filter((text) => text.includes(token.slice(-30)))
          .map((text) => `token in ${text.slice(0, 300)}`),
      ];
      assert.deepEqual([...new Set(leaks)], []);
      // and they were used where they belong
      const seen = peer.requests.map(({ path, headers }) =>
        `${path} ${headers.get("authorization")} ${headers.get("x-api-key")}`
      );
      for (
        const name of [
          "slack",
          "hookquery",
          "hooktoken",
          "mlflowtoken",
          "lineagekey",
          "sourcequery",
          "sourceheader",
          ...(alive ? ["oauthtoken", "nexttoken", "redirectsignature"] : []),
        ]
      ) {
        assert.ok(seen.some((text) => text.includes(secret(name))), name);
      }
    } finally {
      await admin.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where usename = '${role}'`,
      );
      await admin.query(`drop owned by ${role} cascade`).catch(() => {});
      await admin.end();
      await Deno.remove(dataDir, { recursive: true });
    }
  });
}

/** The secrets in a text, each in every form that it may have been written in. */
function found(where: string, text: string): string[] {
  return SECRETS.filter((name) => {
    const plain = secret(name);
    const forms = [
      plain,
      encodeURIComponent(plain),
      btoa(`user:${plain}`),
      btoa(`u:${plain}`),
      btoa(plain),
    ];
    return forms.some((form) => text.includes(form));
  }).map((name) => `${name} in ${where}`);
}

/** Every GET of the API with every id and name that there is, and every page. */
async function walk(call: (path: string, init?: RequestInit) => Promise<{ text: string }>) {
  const { paths } = JSON.parse((await call("/api/openapi.json")).text);
  const ids: string[] = JSON.parse((await call("/api/etl/runs?limit=50")).text).items
    .map(({ run_id }: { run_id: string }) => run_id);
  for (const [path, methods] of Object.entries<Record<string, unknown>>(paths)) {
    if (methods.get === undefined) continue;
    if (!path.includes("{")) await call(path);
    for (const id of path.includes("{id}") ? ids : []) await call(path.replace("{id}", id));
    if (path.includes("{name}")) {
      for (const name of ["leaky", "default_pool"]) await call(path.replace("{name}", name));
    }
  }
  await call("/api/metrics/history?format=csv");
  const html = { headers: { accept: "text/html" } };
  const kinds = ["configurations", "variables", "pools", "suites"];
  const pages = [
    "",
    "/runs",
    "/runs.csv",
    "/new",
    "/schedules",
    "/alerts",
    "/reports",
    "/new?configuration=leaky",
  ];
  for (const page of [...pages, ...kinds.map((kind) => `/${kind}`)]) {
    await call(`/etl${page}`, html);
  }
  for (const kind of [...kinds, "schedules"]) await call(`/etl/data/${kind}`, html);
  for (const id of ids) {
    for (
      const page of [`/runs/${id}`, `/runs/${id}/data`, `/runs/${id}/chunks/0`, `/new?from=${id}`]
    ) {
      await call(`/etl${page}`, html);
    }
  }
}

/** The columns of the database that hold a secret and need not. */
async function inDatabase(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query(`
    select table_schema as s, table_name as t, column_name as c from information_schema.columns
    join information_schema.tables using (table_schema, table_name)
    where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')
      and data_type in ('text', 'character varying', 'json', 'jsonb', 'ARRAY', 'bytea')`);
  assert.ok(rows.length > 100, "columns are looked at");
  const leaks: string[] = [];
  for (const { s, t, c } of rows) {
    const values = await client.query(
      `select string_agg(x, E'\\n') as all from (select "${c}"::text as x from "${s}"."${t}") as v`,
    );
    leaks.push(...found(`${s}.${t}.${c}`, values.rows[0].all ?? ""));
  }
  return leaks;
}
