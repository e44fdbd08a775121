import assert from "node:assert/strict";
import { join } from "node:path";
import { readConfig } from "../../server/config.ts";
import {
  type Check,
  environmentChecks,
  machineChecks,
  programChecks,
  serviceChecks,
  spaceCheck,
} from "../../scripts/doctor/checks.ts";
import { connectionsNeeded, factChecks } from "../../scripts/doctor/database_checks.ts";
import { notifies, type ServerFacts, serverFacts } from "../../store/installation.ts";
import type { Client } from "../../store/pg.ts";

const config = (env: Record<string, string> = {}) =>
  readConfig({ KPIS_PG_DSN: "postgres://u@127.0.0.1/x", ETL_PORT: "0", ...env }, 1);

const named = (checks: Check[], name: string) => {
  const found = checks.find((each) => each.name === name);
  assert.ok(found, `${name} in ${JSON.stringify(checks)}`);
  return found;
};

/** A manifest of the dashboard that names one file. */
const manifestOf = (file: string) => ({
  sources: "",
  scripts: {},
  style: file,
  noscript: file,
  font: file,
  icon: file,
  files: [file],
});

/** A server that answers everything with one status. */
function answering(status: number, headers: Record<string, string> = {}) {
  const asked: string[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
    asked.push(new URL(request.url).pathname);
    return new Response(null, { status, headers });
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    asked,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test("doctor: any answer but an error of the server's own says that a service is there, and no redirect is followed", async () => {
  for (const [status, state] of [[204, "ok"], [404, "ok"], [499, "ok"], [500, "warn"]] as const) {
    await using peer = answering(status);
    const checks = await serviceChecks(config({ MLFLOW_TRACKING_URI: peer.url }));
    assert.equal(named(checks, "MLflow").state, state, `${status}`);
  }
  await using other = answering(500);
  await using redirects = answering(302, { location: `${other.url}/elsewhere` });
  const checks = await serviceChecks(config({ MLFLOW_TRACKING_URI: redirects.url }));
  assert.equal(named(checks, "MLflow").state, "ok");
  assert.deepEqual(other.asked, []);
});

Deno.test("doctor: a mail server is looked for where mails are sent to", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const mail = { ETL_ALERT_EMAIL_FROM: "a@example.com", ETL_ALERT_EMAIL_TO: "b@example.com" };
  const look = async (url: string) =>
    named(await serviceChecks(config({ ...mail, ETL_SMTP_URL: url })), "mail server");
  assert.equal((await look(`smtp://127.0.0.1:${port}`)).state, "ok");
  assert.equal((await look("smtp://127.0.0.1:1")).state, "warn");
  // where the address names no port, the one that the protocol has
  const { connect } = Deno;
  const asked: unknown[] = [];
  Deno.connect = ((to: Deno.ConnectOptions) => {
    asked.push(to.port);
    return Promise.reject(new Error("nobody"));
  }) as unknown as typeof connect;
  try {
    for (const protocol of ["smtp", "smtps"]) await look(`${protocol}://mail.example.com`);
  } finally {
    Deno.connect = connect;
  }
  assert.deepEqual(asked, [587, 465]);
});

Deno.test("doctor: names that are nobody's are told, those of other programs only where they are nearly ours", () => {
  const told = (name: string) =>
    environmentChecks({ [name]: "x" }).checks.filter(({ found }) => found.startsWith(name))
      .map(({ remedy }) => remedy!.split(/[?.] /)[0]);
  assert.deepEqual(told("ETL_WORKRES"), ["Did you mean ETL_WORKERS"]);
  assert.deepEqual(told("etl_improvd__pool"), ["Did you mean ETL_IMPROVED__POOL"]);
  assert.deepEqual(told("KPIS_WAREHOUSE"), ["Remove it, or see docs/configuration.md."]);
  assert.deepEqual(told("STATSD_HOTS"), ["Did you mean STATSD_HOST"]);
  assert.deepEqual([told("STATSD_FLUSH_INTERVAL"), told("PATH_OF_OURS")], [[], []]);
});

Deno.test("doctor: lineage that goes to a file is no service", async () => {
  const lineage = await serviceChecks(config({ OPENLINEAGE_URL: "file:///var/lineage.jsonl" }));
  assert.deepEqual(lineage, []);
});

Deno.test("doctor: a port has a server of ours, another program, or nobody", async () => {
  const dir = await Deno.makeTempDir();
  const port = async (env: Record<string, string>) => {
    const { state, found } = named(await machineChecks(dir, config(env)), "port");
    return `${state}: ${found}`;
  };
  assert.equal(await port({ ETL_PORT: "0" }), "ok: any free one");
  for (
    const [body, said] of [
      [{ status: "ok" }, /^ok: a server answers at http:\/\/127\.0\.0\.1:\d+$/],
      [{ status: "up" }, /^fail: \d+ is used by another program$/],
      ["hello", /^fail: \d+ is used by another program$/],
    ] as const
  ) {
    const server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen: () => {} },
      () => typeof body === "string" ? new Response(body) : Response.json(body),
    );
    const ETL_PORT = `${server.addr.port}`;
    assert.match(await port({ ETL_PORT }), said);
    await server.shutdown();
    assert.equal(await port({ ETL_PORT }), `ok: ${ETL_PORT} is free: no server runs here now`);
  }
  assert.match(await port({ ETL_HOST: "192.0.2.1", ETL_PORT: "8080" }), /^fail: cannot listen on/);
  const transforms = async (path: string) =>
    named(await machineChecks(dir, config({ ETL_TRANSFORMS_DIR: path })), "transforms").state;
  await Deno.writeTextFile(join(dir, "a file"), "");
  assert.deepEqual([await transforms(dir), await transforms(join(dir, "a file"))], ["ok", "fail"]);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("doctor: a channel is enough for alerts, a mail server too; whoever listens to others has to name them", () => {
  const states = (env: Record<string, string>, name: string) =>
    environmentChecks({ ETL_PUBLIC_URL: "https://etl.example.com", ...env }).checks
      .filter((check) => check.name === name).map(({ state }) => state);
  assert.deepEqual(states({}, "alerts"), ["warn"]);
  for (
    const channel of [
      { SLACK_WEBHOOK: "https://hooks.example.com/x" },
      { ETL_ALERT_WEBHOOK: "https://hooks.example.com/x" },
      { ETL_ALERT_TEAMS_WEBHOOK: "https://hooks.example.com/x" },
      { ETL_ALERT_PAGERDUTY_KEY: "0123456789abcdef0123456789abcdef" },
      {
        ETL_SMTP_URL: "smtp://127.0.0.1:1",
        ETL_ALERT_EMAIL_FROM: "a@example.com",
        ETL_ALERT_EMAIL_TO: "b@example.com",
      },
    ]
  ) {
    assert.deepEqual(states(channel, "alerts"), ["ok"], JSON.stringify(channel));
  }
  for (const ETL_HOST of ["127.0.0.1", "::1", "localhost"]) {
    assert.deepEqual(states({ ETL_HOST }, "access"), [], `${ETL_HOST} needs no name`);
  }
  const wide = { ETL_HOST: "0.0.0.0" };
  assert.deepEqual(states(wide, "access"), ["warn"]);
  assert.deepEqual(states({ ...wide, ETL_ALLOWED_HOSTS: "etl.example.com" }, "access"), []);
  const mute = { SLACK_WEBHOOK: "https://hooks.example.com/x", ETL_PUBLIC_URL: "" };
  assert.deepEqual(states(mute, "alerts"), ["warn"], "links in messages would lead nowhere");
});

Deno.test("doctor: a directory that is missing is told from one that may not be read, and little space from none", async () => {
  const dir = await Deno.makeTempDir();
  const file = join(dir, "a file");
  await Deno.writeTextFile(file, "");
  const data = async (path: string) =>
    named(await machineChecks(dir, config({ ETL_DATA_DIR: path })), "data");
  assert.equal((await data(join(dir, "none"))).state, "warn");
  const unreadable = await data(file);
  assert.equal(unreadable.state, "fail");
  assert.match(unreadable.found, /cannot be read/);
  await Deno.remove(dir, { recursive: true });
  const gib = 2 ** 30;
  const states = [0.19, 0.21, 1.9, 2.1].map((free) => spaceCheck("/spool", free * gib).state);
  assert.deepEqual(states, ["fail", "warn", "warn", "ok"]);
});

Deno.test("doctor: packages with peers are found, and the dashboard is whole or what is missing is named", async () => {
  const dir = await Deno.makeTempDir();
  const write = async (path: string, content: unknown) => {
    await Deno.mkdir(join(dir, path, ".."), { recursive: true });
    await Deno.writeTextFile(join(dir, path), JSON.stringify(content));
  };
  await write("deno.json", { imports: { hono: "npm:hono@1", peers: "npm:@x/peers@^2" } });
  await write("deno.lock", {
    specifiers: { "npm:hono@1": "1.2.3", "npm:@x/peers@^2": "2.0.0_hono@1.2.3" },
  });
  await write("node_modules/.deno/hono@1.2.3/package.json", {});
  const packages = async () => named(await programChecks(dir), "npm packages");
  assert.match((await packages()).found, /not installed: @x\/peers@2\.0\.0/);
  await write("node_modules/.deno/@x+peers@2.0.0_1/package.json", {});
  assert.equal((await packages()).state, "ok");
  // of an image that was pruned no more is wanted than was left
  await Deno.remove(join(dir, "node_modules/.deno/hono@1.2.3"), { recursive: true });
  assert.match((await packages()).found, /not installed: hono@1\.2\.3/);
  await write("node_modules/.deno/pruned.json", ["@x+peers@2.0.0_1"]);
  assert.match((await packages()).found, /pruned to the server's/);
  const states = [];
  for (const deno of ["2.9.5", "2.9.6", "2.10.0", "3.0.0", "1.99.0", "2.8.9"]) {
    states.push(named(await programChecks(dir, deno), "Deno").state);
  }
  assert.deepEqual(states, ["warn", "ok", "warn", "warn", "fail", "fail"]);

  const dashboard = async () => named(await programChecks(dir), "dashboard");
  await write(".data/assets/manifest.json", { of: "another version" });
  assert.match((await dashboard()).found, /of another version/);
  await write(".data/assets/manifest.json", manifestOf("site.css"));
  assert.match((await dashboard()).found, /site\.css is missing/);
  await write(".data/assets/site.css", "");
  assert.equal((await dashboard()).state, "ok");
  await Deno.remove(dir, { recursive: true });
});

Deno.test("doctor: clocks are compared in the middle of the question, and a pooler is told by who answers", async () => {
  const facts = async (processID: number) => {
    const answers = [{ now: "10500", pid: 7 }, { version: 180_000, used: 3, max_connections: 100 }];
    const times = [10_000, 11_000];
    const client = { processID, query: () => Promise.resolve({ rows: [answers.shift()] }) };
    return await serverFacts(client as unknown as Client, () => times.shift()!);
  };
  const { clockAheadMs, pooled, usedConnections } = await facts(7);
  assert.deepEqual([clockAheadMs, pooled, usedConnections], [0, false, 3]);
  assert.equal((await facts(8)).pooled, true);
});

Deno.test("doctor: a notification has arrived when it is doctor's own, and within the time", async () => {
  const heard = async (channels: string[]) => {
    let told: ((message: { channel: string }) => void) | undefined;
    const asked: string[] = [];
    const listener = {
      on: (_: string, each: typeof told) => told = each,
      off: () => told = undefined,
      query: (text: string) => Promise.resolve(asked.push(text)),
    };
    const notifier = {
      query: () => Promise.resolve(channels.forEach((channel) => told?.({ channel }))),
    };
    const answer = await notifies(listener as unknown as Client, notifier as never, 5);
    // the connection is left as it was
    assert.deepEqual([asked, told], [["listen etl_doctor", "unlisten etl_doctor"], undefined]);
    return answer;
  };
  assert.equal(await heard(["etl_work", "etl_doctor"]), true);
  assert.equal(await heard(["etl_work"]), false);
  assert.equal(await heard([]), false);
});

Deno.test("doctor: what a database's server says of itself is fine, or what to mend is told", () => {
  const near = "postgres://u@127.0.0.1/x";
  const far = "postgres://u@db.internal/x";
  const verified = `${far}?sslmode=verify-full`;
  const needed = connectionsNeeded(config());
  const fine = {
    version: 170_004,
    versionText: "17.4",
    encrypted: false,
    maxConnections: 10 + needed,
    usedConnections: 10,
    off: [] as string[],
    clockAheadMs: 0,
  };
  const bad = (more: Partial<ServerFacts>, dsn = near) =>
    factChecks({ ...fine, ...more } as ServerFacts, { dsn, config: config() })
      .filter(({ state }) => state !== "ok")
      .map(({ name, state, found }) => `${name} ${state}: ${found}`);
  assert.deepEqual(bad({}), []);
  assert.deepEqual([bad({ version: 150_000 }), bad({ version: 180_001 })], [[], []]);
  const old = bad({ version: 140_015, versionText: "14.15" });
  assert.deepEqual(old, ["PostgreSQL fail: 14.15 is older than 15"]);
  const later = bad({ version: 190_000, versionText: "19.0" });
  assert.deepEqual(later, ["PostgreSQL warn: 19.0; tested up to 18"]);
  assert.deepEqual(bad({}, far), [
    "encryption warn: the connection to db.internal:5432 is not encrypted",
  ]);
  const unverified = bad({ encrypted: true }, `${far}?sslmode=require`);
  assert.deepEqual(unverified, ["encryption warn: TLS without verification of the server"]);
  assert.deepEqual([bad({ encrypted: true }, verified), bad({ encrypted: true })], [[], []]);
  const clocks = [1_900, -1_900, 2_000, -59_900, 60_000].map((clockAheadMs) =>
    bad({ clockAheadMs })[0] ?? "ok"
  );
  assert.deepEqual(clocks, [
    "ok",
    "ok",
    "clock warn: the database's clock is 2 s ahead",
    "clock warn: the database's clock is 59.9 s behind",
    "clock fail: the database's clock is 60 s ahead",
  ]);
  assert.match(bad({ usedConnections: 11 }).join(), /^connections warn: a server uses up to/);
  assert.deepEqual(bad({ off: ["autovacuum", "fsync"] }), [
    "settings warn: autovacuum is off",
    "settings warn: fsync is off",
  ]);
  const remedies = factChecks({ ...fine, off: ["autovacuum", "fsync"] } as ServerFacts, {
    dsn: near,
    config: config(),
  }).flatMap(({ remedy }) => remedy ?? []);
  assert.match(remedies[0]!, /tables grow/);
  assert.match(remedies[1]!, /damage the database/);
});
