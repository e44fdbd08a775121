import assert from "node:assert/strict";
import type { ExportFacts, PendingExport } from "../../store/exports.ts";
import { addressSecrets, DeliveryError, request, statusError } from "../../telemetry/http_post.ts";
import { adviceUrl, facts, headline, type Notification } from "../../telemetry/integration.ts";
import { MlflowClient, mlflowExporter, mlflowRun } from "../../telemetry/integrations/mlflow.ts";
import {
  databaseName,
  lineageEvent,
  lineageExporter,
  LineageSender,
} from "../../telemetry/integrations/openlineage.ts";
import { pagerDutyEvents, PagerDutySender } from "../../telemetry/integrations/pagerduty.ts";
import { slackMessage } from "../../telemetry/integrations/slack.ts";
import { teamsMessage } from "../../telemetry/integrations/teams.ts";
import { CloudEventsSender } from "../../telemetry/integrations/webhook.ts";
import { LogTail } from "../../telemetry/log.ts";
import { type Peer, startPeer } from "../helpers/peer.ts";

const refusal = (status: number, headers: Record<string, string> = {}) =>
  statusError(new Response(null, { status, headers }), "no");

Deno.test("what a receiver may take later is tried again, anything else is given up", () => {
  for (const status of [408, 409, 425, 429, 500, 502, 503, 504]) {
    assert.ok(refusal(status).retryable, `${status}`);
  }
  for (const status of [301, 307, 400, 401, 403, 404, 410, 413, 422, 499]) {
    assert.ok(!refusal(status).retryable, `${status}`);
  }
});

Deno.test("Retry-After is seconds or a time to come, of an hour at most; anything else asks for nothing", () => {
  const asked = (header: string) => refusal(429, { "retry-after": header }).retryAfterMs;
  assert.equal(asked("3"), 3_000);
  assert.equal(asked("3600"), 3_600_000);
  assert.equal(asked("86400"), 3_600_000);
  const soon = asked(new Date(Date.now() + 60_000).toUTCString());
  assert.ok(soon !== null && soon > 50_000 && soon <= 60_000, `${soon}`);
  assert.equal(asked(new Date(Date.now() + 7_200_000).toUTCString()), 3_600_000);
  for (const nothing of ["0", "-5", "soon", "Thu, 01 Jan 1970 00:00:00 GMT"]) {
    assert.equal(asked(nothing), null, nothing);
  }
  assert.equal(refusal(429).retryAfterMs, null);
});

Deno.test("an answer that repeats the request tells neither its address nor its token", async () => {
  const secrets = [
    "t0ken-of-ours",
    "us er-name",
    "p w",
    "/hook/s3cret",
    "sign%2Fature",
    "sign/ature",
  ];
  await using peer = startPeer(() => new Response(secrets.join(" | "), { status: 400 }));
  const { host } = new URL(peer.address);
  const address = `http://us%20er-name:p%20w@${host}/hook/s3cret?sig=sign%2Fature`;
  assert.ok(addressSecrets(address).includes("us%20er-name"));
  const error = await request(`${peer.address}/hook/s3cret?sig=sign%2Fature`, {
    headers: { authorization: "Bearer t0ken-of-ours" },
  }).then(() => assert.fail("it was refused"), (error: unknown) => error as DeliveryError);
  assert.match(error.message, /^answered 400: \(secret\) \|/);
  assert.doesNotMatch(error.message, /t0ken|s3cret|ature/);
  const all = addressSecrets(address);
  for (const secret of secrets.slice(1)) {
    assert.ok(all.some((each) => each === secret), secret);
  }
  assert.deepEqual(
    all,
    all.toSorted((a, b) => b.length - a.length),
    "no rest of a longer one stays",
  );
});

Deno.test("an answer of more than 4 MiB is not read, and may be another one next time", async () => {
  const peer = startPeer(() => new Response("x".repeat((4 << 20) + 1)));
  await using _peer = peer;
  await assert.rejects(request(peer.address), (error: DeliveryError) => {
    assert.match(error.message, /answered more than 4194304 bytes/);
    return error.retryable;
  });
  peer.answer = () => new Response("x".repeat(4 << 20));
  assert.equal((await request(peer.address)).length, 4 << 20);
});

Deno.test("who cannot be reached, or says nothing, may be reached later; the address is not told", async () => {
  const peer = startPeer(() => "hang");
  const { address } = peer;
  await assert.rejects(request(address, { timeoutMs: 20 }), (error: DeliveryError) => {
    assert.equal(error.message, "did not answer in time");
    return error.retryable;
  });
  await peer[Symbol.asyncDispose]();
  await assert.rejects(request(`${address}/hook/s3cret`), (error: DeliveryError) => {
    assert.match(error.message, /^could not be reached: /);
    assert.doesNotMatch(error.message, /s3cret/);
    return error.retryable;
  });
});

Deno.test("an answer is read as it was sent, also where a letter is divided; only its beginning is told", async () => {
  const [first, second] = ["€€".repeat(100), "€"].map((text) => new TextEncoder().encode(text));
  const parts = [first!, second!.subarray(0, 1), second!.subarray(1)];
  const body = () => ReadableStream.from(parts);
  await using peer = startPeer(() => new Response(body(), { status: 400 }));
  const refused = await request(peer.address).catch((error) => error);
  assert.equal(refused.message, `answered 400: ${"€".repeat(200)}`);
  peer.answer = () => new Response(body());
  assert.equal(await request(peer.address), "€".repeat(201));
});

Deno.test("words that anything may hold are no secret of an address, a password of any length is", () => {
  assert.deepEqual(addressSecrets("https://ann:pw@h.test/hooks?a=b"), [
    "/hooks?a=b",
    "/hooks",
    "pw",
  ]);
  assert.deepEqual(addressSecrets("https://h.test/hook?a=12345"), ["/hook?a=12345", "?a=12345"]);
  assert.deepEqual(addressSecrets("nonsense"), []);
});

const notification = (
  payload: Partial<Notification["payload"]> = {},
  type: Notification["type"] = "raised",
): Notification => ({
  id: "7",
  type,
  payload: {
    kind: "run_failed",
    subject: "night",
    severity: "error",
    message: "It broke.",
    run_id: "r1",
    run_label: "night",
    fingerprint: "run_failed:night",
    opened_at: "2026-01-01T00:00:00.000Z",
    at: "2026-01-01T01:00:00.000Z",
    details: { problem: "x" },
    ...payload,
  },
});

Deno.test("a message says how often and how many more, where there were several, and what is over needs no advice", () => {
  const often = notification({ occurrences: 2, suppressed_before: 1 });
  assert.deepEqual(facts(often), {
    Label: "night",
    Run: "r1",
    Times: "2 since 2026-01-01T00:00:00.000Z",
    "Since the last message": "1 more",
    At: "2026-01-01T01:00:00.000Z",
    Id: "7",
  });
  const once = notification({
    occurrences: 1,
    suppressed_before: 0,
    run_id: null,
    run_label: null,
  });
  assert.deepEqual(facts(once), { At: "2026-01-01T01:00:00.000Z", Id: "7" });
  const over = notification({}, "recovered");
  assert.equal(headline(over), `Recovered: ${headline(notification())}`);
  assert.equal(adviceUrl(over, "https://etl.test"), null);
  assert.equal(adviceUrl(notification({ kind: "theirs" }), "https://etl.test"), null);
});

Deno.test("Slack shows how often and how many more, links to run and advice, and no preview of them", () => {
  const shown = (of: Notification) => {
    const message = slackMessage([of], "https://etl.test");
    const [section, context] = message.blocks as unknown as {
      text: { text: string };
      elements: { text: string }[];
    }[];
    return { message, text: section!.text.text, context: context!.elements[0]!.text };
  };
  const often = shown(notification({ occurrences: 2, suppressed_before: 1, message: "a & b <c>" }));
  assert.match(often.context, /1 more since the last message/);
  assert.match(often.context, /2 times since 2026-01-01T00:00:00.000Z/);
  assert.ok(often.context.startsWith("<https://etl.test/etl/runs/r1|run r1>  ·  "));
  assert.ok(often.context.includes("<https://etl.test/etl/alerts#do-run_failed|what to do>"));
  assert.ok(often.text.endsWith("a &amp; b &lt;c&gt;"), often.text);
  assert.deepEqual([often.message.unfurl_links, often.message.unfurl_media], [false, false]);
  const once = shown(notification({ occurrences: 1, suppressed_before: 0, run_id: null }));
  assert.equal(
    once.context,
    "<https://etl.test/etl/alerts#do-run_failed|what to do>  ·  2026-01-01T01:00:00.000Z  ·  id 7",
  );
  const icon = (of: Notification) => [...shown(of).text][0];
  assert.deepEqual(
    [
      icon(notification()),
      icon(notification({ severity: "warning" })),
      icon(notification({}, "recovered")),
      icon(notification({ severity: "theirs" })),
    ],
    ["\u{1F534}", "\u{1F7E0}", "\u2705", "\u{1F7E0}"],
  );
  const text = (count: number) =>
    slackMessage(new Array(count).fill(notification()), "https://etl.test").text!;
  assert.match(text(3), /\(and 2 more\)$/);
  assert.match(text(2), /\(and 1 more\)$/);
  assert.doesNotMatch(text(1), /more/);
});

Deno.test("Teams shows severity as a colour, and no link that leads nowhere", () => {
  const card = (of: Notification) => teamsMessage(of, "https://etl.test").attachments[0]!.content;
  const colour = (of: Notification) => (card(of).body[0]!.inlines[0] as { color?: string }).color;
  assert.equal(colour(notification()), "Attention");
  assert.equal(colour(notification({ severity: "warning" })), "Warning");
  assert.equal(colour(notification({}, "recovered")), "Good");
  assert.deepEqual(card(notification({ run_id: null }, "recovered")).actions, undefined);
  assert.deepEqual(card(notification({ run_id: null })).actions!.map(({ title }) => title), [
    "What to do",
  ]);
});

Deno.test("Teams shows label, run, times and id of an alert below its message", () => {
  const [content] = teamsMessage(notification({ occurrences: 3 }), "https://etl.test").attachments;
  const [, , ...rest] = content!.content.body.map(({ inlines }) => inlines[0]!.text);
  assert.deepEqual(
    rest,
    Object.entries(facts(notification({ occurrences: 3 }))).map((each) => each.join(": ")),
  );
  assert.ok(
    rest.includes("Label: night") && rest.some((text) => text.startsWith("Times: 3 since ")),
  );
});

Deno.test("PagerDuty takes the severities that it knows, and no link that leads nowhere", () => {
  const sent = (of: Notification) => pagerDutyEvents(of, "https://etl.test")[0]!;
  const severity = (given: string) =>
    (sent(notification({ severity: given })).payload as { severity: string }).severity;
  assert.deepEqual(["error", "warning", "info", "theirs"].map(severity), [
    "error",
    "warning",
    "info",
    "error",
  ]);
  assert.deepEqual(sent(notification({ run_id: null })).links, [
    { href: "https://etl.test/etl/alerts#do-run_failed", text: "What to do" },
  ]);
  const { group, custom_details, timestamp } = sent(notification()).payload as Record<
    string,
    unknown
  >;
  assert.deepEqual([group, custom_details, timestamp], [
    "night",
    { problem: "x" },
    "2026-01-01T01:00:00.000Z",
  ]);
});

Deno.test("PagerDuty's refusal keeps its Retry-After and does not tell the key", async () => {
  await using peer = startPeer(({ body }) =>
    new Response(`no: ${JSON.parse(body).routing_key}`, {
      status: 429,
      headers: { "retry-after": "9" },
    })
  );
  const sender = new PagerDutySender({ key: "k3y-of-ours", url: peer.address }, {
    publicUrl: "https://etl.test",
  });
  await assert.rejects(sender.send([notification()]), (error: DeliveryError) => {
    assert.equal(error.message, "answered 429: no: (secret)");
    assert.deepEqual([error.retryable, error.retryAfterMs], [true, 9_000]);
    return true;
  });
});

Deno.test("a CloudEvent leads to its run and to what to do", async () => {
  await using peer = startPeer();
  const sender = new CloudEventsSender(peer.address, { source: "https://etl.test", token: null });
  await sender.send([notification(), notification({ run_id: null }, "recovered")]);
  const [raised, recovered] = peer.requests.map(({ body }) => JSON.parse(body));
  assert.equal(raised.data.run_url, "https://etl.test/etl/runs/r1");
  assert.equal(raised.data.advice_url, "https://etl.test/etl/alerts#do-run_failed");
  assert.deepEqual([raised.id, raised.time, raised.datacontenttype], [
    "7",
    "2026-01-01T01:00:00.000Z",
    "application/json",
  ]);
  assert.deepEqual([recovered.data.run_url, recovered.data.advice_url], [null, null]);
  assert.equal(peer.requests[0]!.headers.get("authorization"), null);
  assert.deepEqual([raised.type, recovered.type], [
    "etl-improved.alert.raised",
    "etl-improved.alert.recovered",
  ]);
  const known = new CloudEventsSender(peer.address, { source: "https://etl.test", token: "abc" });
  await known.send([notification()]);
  assert.equal(peer.requests.at(-1)!.headers.get("authorization"), "Bearer abc");
});

const ended = (
  run: Record<string, unknown> = {},
  more: Partial<ExportFacts> = {},
): ExportFacts => ({
  run: {
    run_id: "019eb1c9-4e5f-7a6b-8c7d-9e0f1a2b3c4d",
    run_label: "sales",
    state: "succeeded",
    trigger: "http",
    requested_by: "ann",
    replay_of: null,
    schema_name: "public",
    table_name: "events",
    params: {
      source: { type: "http", name: "web", url: "https://u:p@h/x?t=s3cret" },
      batch_size: 5,
      transform: null,
    },
    requested_at: "2026-01-01T00:00:00.000Z",
    started_at: "2026-01-01T00:00:01.000Z",
    ended_at: "2026-01-01T00:00:03.500Z",
    error: null,
    attempt: 2,
    dry_run: false,
    low_ratio: true,
    ratio: null,
    total_rows: 3,
    expected_rows: 4,
    num_chunks: 1,
    counts: { records_read: 4, inserted: 2, updated: 1 },
    ...run,
  } as unknown as ExportFacts["run"],
  stages: [
    {
      stage: "load",
      state: "succeeded",
      busy_ms: 1500,
      records_in: 4,
      records_out: 3,
      started_at: "2026-01-01T00:00:02.000Z",
      ended_at: "2026-01-01T00:00:03.000Z",
    } as unknown as ExportFacts["stages"][number],
  ],
  ended: true,
  validation: null,
  ...more,
});

Deno.test("MLflow is told a run's figures, its parameters as text, and of its source only kind and name", () => {
  const run = mlflowRun(ended());
  const metrics = Object.fromEntries(run.metrics.map(({ key, value }) => [key, value]));
  assert.deepEqual(metrics, {
    total_rows: 3,
    expected_rows: 4,
    num_chunks: 1,
    duration_seconds: 3.5,
    low_ratio: 1,
    records_read: 4,
    inserted: 2,
    updated: 1,
    "stage.load.busy_seconds": 1.5,
    "stage.load.records_in": 4,
    "stage.load.records_out": 3,
    "stage.load.seconds": 1,
  });
  assert.ok(run.metrics.every(({ step, timestamp }) => step === 2 && timestamp === run.end));
  assert.deepEqual([run.start, run.end, run.status], [
    Date.parse("2026-01-01T00:00:01.000Z"),
    Date.parse("2026-01-01T00:00:03.500Z"),
    "FINISHED",
  ]);
  const params = Object.fromEntries(run.params.map(({ key, value }) => [key, value]));
  assert.equal(params["source.type"], "http");
  assert.equal(params["source.name"], "web");
  assert.equal(params.batch_size, "5");
  assert.ok(!("transform" in params), "what has no value is no parameter");
  assert.doesNotMatch(JSON.stringify(run), /s3cret|u:p@/);
  const tags = Object.fromEntries(run.tags.map(({ key, value }) => [key, value]));
  assert.deepEqual([tags["etl.requested_by"], tags["etl.dataset"], tags["etl.attempt"]], [
    "ann",
    "public.events",
    "2",
  ]);
  assert.equal(tags["etl.error"], undefined);
});

/** A stand-in for MLflow that knows one experiment at most. */
function startMlflow(experiment: Record<string, unknown> | null, found: unknown[] = []) {
  return startPeer(({ path }) => {
    if (path.startsWith("/api/2.0/mlflow/experiments/get-by-name?")) {
      return experiment === null
        ? Response.json({ error_code: "RESOURCE_DOES_NOT_EXIST" }, { status: 404 })
        : Response.json({ experiment });
    }
    const answers: Record<string, unknown> = {
      "experiments/create": { experiment_id: "e-new" },
      "runs/search": { runs: found },
      "runs/create": { run: { info: { run_id: "m-new" } } },
    };
    return Response.json(answers[path.replace("/api/2.0/mlflow/", "")] ?? {});
  });
}

Deno.test("MLflow is told of a run once: in its experiment, which is made if need be, and in the run that is there", async () => {
  const tell = async (url: string, externalId: string | null = null, authorization?: string) => {
    const client = new MlflowClient({ url, authorization: authorization ?? null });
    const progress = { startedAt: null, externalId };
    const facts = ended();
    Object.assign(facts.run.params, { mlflow_experiment: "a & b" });
    const pending = { run_id: facts.run.run_id } as PendingExport;
    const outcome = await mlflowExporter(client)(pending, facts, progress);
    return { outcome, externalId: progress.externalId };
  };
  const calls = (peer: Peer) => peer.requests.map(({ path }) => path.split("/mlflow/")[1]!);
  await using fresh = startMlflow(null);
  assert.deepEqual(await tell(fresh.address, null, "Basic abc"), {
    outcome: { state: "done" },
    externalId: "m-new",
  });
  assert.deepEqual(calls(fresh), [
    "experiments/get-by-name?experiment_name=a%20%26%20b",
    "experiments/create",
    "runs/search",
    "runs/create",
    "runs/log-batch",
    "runs/update",
  ]);
  for (const { headers } of fresh.requests) assert.equal(headers.get("authorization"), "Basic abc");
  const bodies = fresh.requests.slice(1).map(({ body }) => JSON.parse(body));
  assert.deepEqual(bodies[1].experiment_ids, ["e-new"]);
  assert.match(bodies[1].filter, /'019eb1c9-4e5f-7a6b-8c7d-9e0f1a2b3c4d'/);
  assert.deepEqual([bodies[3].run_id, bodies[4].run_id, bodies[4].status], [
    "m-new",
    "m-new",
    "FINISHED",
  ]);
  assert.equal(bodies[4].end_time, Date.parse("2026-01-01T00:00:03.500Z"));

  await using known = startMlflow({ experiment_id: "e1" }, [{ info: { run_id: "m1" } }]);
  assert.equal((await tell(known.address)).externalId, "m1");
  assert.ok(!calls(known).includes("runs/create") && !calls(known).includes("experiments/create"));
  assert.equal(known.requests[0]!.headers.get("authorization"), null);
  await using noted = startMlflow({ experiment_id: "e1" });
  assert.equal((await tell(noted.address, "m7")).externalId, "m7");
  assert.deepEqual(calls(noted), ["runs/log-batch", "runs/update"]);

  await using deleted = startMlflow({ experiment_id: "e1", lifecycle_stage: "deleted" });
  await assert.rejects(tell(deleted.address), (error: DeliveryError) => {
    assert.match(error.message, /experiment a & b is deleted in MLflow: restore it/);
    return !error.retryable;
  });
  await using foreign = startMlflow({});
  await assert.rejects(tell(foreign.address), (error: DeliveryError) => {
    assert.equal(error.message, "answered something that is not MLflow's (no experiment_id)");
    return error.retryable;
  });
  foreign.answer = () => new Response("null");
  await assert.rejects(tell(foreign.address), /that is not MLflow's$/);
});

Deno.test("an experiment that somebody else makes at the same moment is taken", async () => {
  let looks = 0;
  await using peer = startPeer(({ path }) => {
    if (!path.includes("get-by-name")) return new Response("exists", { status: 400 });
    return looks++ === 0
      ? Response.json({ error_code: "RESOURCE_DOES_NOT_EXIST" }, { status: 404 })
      : Response.json({ experiment: { experiment_id: "theirs" } });
  });
  const client = new MlflowClient({ url: peer.address, authorization: null });
  assert.equal(await client.experiment("x"), "theirs");
});

Deno.test("what MLflow is told stays within what it takes", () => {
  const long = mlflowRun(ended({
    run_label: "l".repeat(300),
    state: "failed",
    error: { detail: "e".repeat(6_000) },
    params: {
      source: { type: "synthetic" },
      ...Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`p${i}`, "v".repeat(600)])),
    },
  }));
  assert.equal(long.name.length, 250);
  assert.equal(long.status, "FAILED");
  assert.equal(long.params.length, 100);
  assert.ok(long.params.every(({ value }) => value.length <= 500));
  assert.equal(Math.max(...long.params.map(({ value }) => value.length)), 500);
  assert.equal(long.tags.find(({ key }) => key === "etl.error")!.value.length, 5_000);
  // a run that was cancelled before it started
  const { start, end, status } = mlflowRun(ended({
    state: "cancelled",
    started_at: null,
    requested_at: "2026-01-01T00:00:04.000Z",
  }));
  assert.deepEqual([start, status], [end, "KILLED"]);
});

const LINEAGE = {
  namespace: "prod",
  destination: { namespace: "postgres://db:5432", database: "etl" },
  connections: { shop: { namespace: "postgres://shop:5432", database: "shop" } },
  httpConnections: { api: { url: "https://api.test/v1/" } },
  dataDir: "/data",
  version: "1",
};

Deno.test("lineage names a database as libpq finds it: of no name that of the user, never with a password", () => {
  assert.deepEqual(databaseName("postgres://u:secret@db.test:6000/shop"), {
    namespace: "postgres://db.test:6000",
    database: "shop",
  });
  assert.deepEqual(databaseName("postgres://u@db.test"), {
    namespace: "postgres://db.test:5432",
    database: "u",
  });
});

const lineage = (of: ExportFacts, { kind = "end", endNo = 1 }: {
  kind?: "start" | "end";
  endNo?: number;
} = {}) =>
  // deno-lint-ignore no-explicit-any -- an event of a foreign schema
  lineageEvent(kind, { facts: of, endNo, startedAt: "2026-01-01T00:00:01.000Z" }, LINEAGE) as any;

Deno.test("lineage names each input as its system does, without credentials and queries", () => {
  const name = (source: Record<string, unknown>) => {
    const [input] = lineage(ended({ params: { source } })).inputs;
    return `${input.namespace} ${input.name}`;
  };
  assert.equal(name({ type: "file", path: "a/*.csv" }), "file /data/a/*.csv");
  assert.equal(
    name({ type: "http", url: "https://u:p@h.test:8443/x?t=1" }),
    "https://h.test:8443 /x",
  );
  assert.equal(
    name({ type: "http", connection: "api", url: "orders?k=1" }),
    "https://api.test /v1/orders",
  );
  assert.equal(name({ type: "http", connection: "gone", url: "orders" }), "http://gone orders");
  assert.equal(name({ type: "s3", url: "s3://bucket/a/b.csv" }), "s3://bucket a/b.csv");
  const table = { type: "postgres", connection: "shop" };
  assert.equal(name({ ...table, table: "orders" }), "postgres://shop:5432 shop.public.orders");
  assert.equal(name({ ...table, table: "s.orders" }), "postgres://shop:5432 shop.s.orders");
  assert.match(
    name({ ...table, query: "select 1" }),
    /^postgres:\/\/shop:5432 shop\.query_[0-9a-f]{12}$/,
  );
  assert.equal(name({ type: "inline" }), "prod inline/sales");
  assert.equal(name({ type: "inline", name: "web" }), "prod inline/web");
});

Deno.test("lineage tells what a run wrote and took away, of a dry run and a start nothing of the kind", () => {
  const [output] =
    lineage(ended({ counts: { inserted: 2, updated: 1, deleted: 3, marked: 4 } })).outputs;
  assert.equal(output.name, "etl.public.events");
  assert.equal(output.outputFacets.outputStatistics.rowCount, 3);
  const { deleted, marked } = output.outputFacets.etl_improved_rowsGone;
  assert.deepEqual([deleted, marked], [3, 4]);
  const [kept] = lineage(ended()).outputs;
  assert.equal(kept.outputFacets.etl_improved_rowsGone, undefined);
  assert.ok(kept.facets.schema.fields.some(({ name }: { name: string }) => name === "payload"));
  const [typed] = lineage(ended({}, { columns: [{ name: "id", type: "text" }] })).outputs;
  assert.deepEqual(typed.facets.schema.fields, [{ name: "id", type: "text" }]);
  assert.deepEqual(lineage(ended({ dry_run: true })).outputs, []);
  const start = lineage(ended(), { kind: "start" });
  assert.deepEqual([start.eventType, start.eventTime], ["START", "2026-01-01T00:00:01.000Z"]);
  assert.deepEqual([start.outputs[0].outputFacets, start.inputs[0].inputFacets], [{}, {}]);
  const states = { succeeded: "COMPLETE", failed: "FAIL", cancelled: "ABORT" };
  for (const [state, type] of Object.entries(states)) {
    assert.equal(lineage(ended({ state })).eventType, type);
  }
});

Deno.test("lineage tells how much a run read, and what each expectation found of which column", () => {
  const results = [
    { success: true, expectation_config: { type: "a_kind", kwargs: { column: "price" } } },
    { success: false, expectation_config: { type: "b_kind", kwargs: { column_list: ["x"] } } },
  ];
  const [input] =
    lineage(ended({ counts: { records_read: 7 } }, { validation: { results } as never }))
      .inputs;
  const { inputStatistics, dataQualityMetrics, dataQualityAssertions } = input.inputFacets;
  assert.deepEqual([inputStatistics.rowCount, dataQualityMetrics.rowCount], [7, 7]);
  assert.deepEqual(dataQualityAssertions.assertions, [
    { assertion: "a_kind", success: true, column: "price" },
    { assertion: "b_kind", success: false },
  ]);
  const [unknown] = lineage(ended({ counts: null })).inputs;
  assert.deepEqual(unknown.inputFacets, {});
});

Deno.test("lineage puts a retry below its run, and a replay below the run that it replays", () => {
  const first = lineage(ended());
  assert.equal(first.run.facets.parent, undefined);
  const again = lineage(ended(), { endNo: 2 });
  assert.equal(again.run.facets.parent.run.runId, first.run.runId);
  assert.match(again.run.runId, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(lineage(ended(), { endNo: 2, kind: "start" }).run.runId, again.run.runId);
  assert.notEqual(lineage(ended(), { endNo: 3 }).run.runId, again.run.runId);
  const replay = lineage(ended({ replay_of: "019eb1c9-0000-7000-8000-000000000000" }));
  assert.equal(replay.run.facets.parent.run.runId, "019eb1c9-0000-7000-8000-000000000000");
  const failed = lineage(ended({ state: "failed", error: { detail: "It broke." } }));
  assert.equal(failed.run.facets.errorMessage.message, "It broke.");
  const begun = lineage(ended({ state: "failed", error: { detail: "It broke." } }), {
    kind: "start",
  });
  assert.equal(begun.run.facets.errorMessage, undefined, "the error of an earlier end");
});

Deno.test("lineage is told START once and then the end, of a run that never began too", async () => {
  await using peer = startPeer();
  const sender = new LineageSender({ url: peer.address, apiKey: "k3y", namespace: "prod" });
  const exporter = lineageExporter(sender, LINEAGE);
  const pending = {
    run_id: ended().run.run_id,
    end_no: 1,
    requested_at: "2026-01-01T00:00:02.000Z",
  } as PendingExport;
  const progress = { startedAt: null, externalId: null };
  assert.deepEqual(await exporter(pending, ended({}, { ended: false }), progress), {
    state: "started",
  });
  assert.equal(progress.startedAt, "2026-01-01T00:00:02.000Z");
  assert.deepEqual(await exporter(pending, ended(), progress), { state: "done" });
  const cancelled = ended({ state: "cancelled", ended_at: "2026-01-01T00:00:01.000Z" });
  await exporter(pending, cancelled, { startedAt: null, externalId: null });
  const told = peer.requests.map(({ body }) => JSON.parse(body));
  assert.deepEqual(told.map(({ eventType, eventTime }) => [eventType, eventTime]), [
    ["START", "2026-01-01T00:00:02.000Z"],
    ["COMPLETE", "2026-01-01T00:00:03.500Z"],
    ["START", "2026-01-01T00:00:01.000Z"],
    ["ABORT", "2026-01-01T00:00:01.000Z"],
  ]);
  assert.equal(peer.requests[0]!.headers.get("authorization"), "Bearer k3y");
});

Deno.test("lineage goes to a file, one event a line; a file that cannot be written may be later", async () => {
  const file = await Deno.makeTempFile();
  const to = (url: string) => new LineageSender({ url, apiKey: null, namespace: "prod" });
  for (const eventType of ["START", "COMPLETE"]) await to(`file://${file}`).send({ eventType });
  assert.equal(
    await Deno.readTextFile(file),
    '{"eventType":"START"}\n{"eventType":"COMPLETE"}\n',
  );
  await Deno.remove(file);
  await assert.rejects(
    to(`file://${file}/x`).send({ eventType: "START" }),
    (error: DeliveryError) => error.retryable,
  );
});

const entry = (message: string, fields: Record<string, unknown>) => ({
  time: "2026-01-01T00:00:00.000Z",
  level: "info" as const,
  message,
  fields,
});

Deno.test("lines about runs are kept with them, and no others; what is too long is cut", async () => {
  const stored: Record<string, unknown>[] = [];
  const tail = new LogTail();
  tail.add(entry("of a run", { run_id: "r1", n: 1 }));
  tail.add(entry("of none", { n: 1 }));
  tail.add(entry("m".repeat(3_000), { run_id: "r1", long: "f".repeat(9_000) }));
  // deno-lint-ignore require-await -- stands for the database
  tail.start(async (lines) => void stored.push(...lines as never[]));
  await tail.close();
  assert.equal(stored.length, 2);
  assert.deepEqual(stored[0], {
    run_id: "r1",
    logged_at: "2026-01-01T00:00:00.000Z",
    level: "info",
    message: "of a run",
    fields: { n: 1 },
  });
  assert.equal((stored[1]!.message as string).length, 2_000);
  assert.equal((stored[1]!.fields as { cut: string }).cut.length, 8_000);
  tail.add(entry("late", { run_id: "r1" }));
  await tail.flush();
  assert.equal(stored.length, 2, "nothing is stored behind the end");
});

/** The first and the last of lines that are numbered without a gap. */
function newest(lines: { message: string }[]): [number, number] {
  const numbers = lines.map(({ message }) => Number(message));
  assert.ok(numbers.every((each, i) => each === numbers[0]! + i), "in their order, without a gap");
  return [numbers[0]!, numbers.at(-1)!];
}

Deno.test("while lines cannot be stored the newest wait, in their order", async () => {
  let stored: { message: string }[] = [];
  let isDown = true;
  const tail = new LogTail();
  const add = (from: number, to: number) => {
    for (let i = from; i < to; i++) tail.add(entry(`${i}`, { run_id: "r1" }));
  };
  // deno-lint-ignore require-await -- stands for the database
  tail.start(async (lines) => {
    stored = lines;
    if (!isDown) return;
    // what comes meanwhile
    add(3_000, 5_500);
    isDown = false;
    throw new Error("down");
  });
  add(0, 3_000);
  await tail.flush();
  add(5_500, 7_000);
  await tail.close();
  assert.deepEqual(newest(stored), [2_000, 6_999]);
  // before the database is there
  const early = new LogTail();
  for (let i = 0; i < 5_001; i++) early.add(entry(`${i}`, { run_id: "r1" }));
  // deno-lint-ignore require-await -- stands for the database
  early.start(async (lines) => void (stored = lines));
  await early.close();
  assert.deepEqual(newest(stored), [1, 5_000]);
});
