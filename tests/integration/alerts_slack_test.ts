import assert from "node:assert/strict";
import { slackMessage } from "../../telemetry/integrations/slack.ts";
import { startEngine } from "../helpers/engine.ts";
import { type Peer, startPeer } from "../helpers/peer.ts";
import { startReacting } from "../helpers/reacting.ts";
import { waitFor } from "../helpers/wait_for.ts";

type Engine = Awaited<ReturnType<typeof startEngine>>;

/** Raises an alert of a label that has a run: one of no label at all would be closed. */
const raise = async (engine: Engine, subject: string, message = "It broke.") => {
  await engine.submit({ run_label: subject, batch_size: 1 });
  return await engine.sql`select etl.raise_alert('run_failed', ${subject}, ${message},
    jsonb_build_object('run_label', ${subject}::text, 'severity', 'error'))`;
};

const states = async (engine: Engine) =>
  (await engine.sql<{ state: string }[]>`
    select state from etl.notifications order by notification_id`).map((row) => row.state);

const allSent = (engine: Engine) => async () => {
  const all = await states(engine);
  return all.length > 0 && all.every((state) => state === "sent");
};

interface Message {
  text: string;
  blocks: { type: string; text?: { text: string }; elements?: { text: string }[] }[];
}

const messages = (peer: Peer) => peer.requests.map((request): Message => JSON.parse(request.body));

Deno.test("a failed run is told to Slack with a link, by the webhook that SLACK_CONN_ID names", async (t) => {
  await using engine = await startEngine(t);
  await using slack = startPeer();
  await using _reacting = await startReacting(engine, {
    env: {
      SLACK_CONN_ID: "ops",
      SLACK_WEBHOOK_OPS: `${slack.address}/ops`,
      SLACK_WEBHOOK: "http://127.0.0.1:1/no",
    },
  });
  const run = await engine.runToEnd({ source: { type: "file", path: "missing.csv", key: "id" } });
  await waitFor(allSent(engine), { what: "the message" });
  const [message] = messages(slack);
  assert.equal(slack.requests[0]!.path, "/ops");
  // what Slack could take for markup is kept from it by characters that nobody sees
  assert.match(message!.text.replaceAll("\u2060", ""), /^Run failed: etl_improved: /);
  assert.match(message!.blocks[0]!.text!.text, /missing\.csv/);
  assert.ok(
    message!.blocks[1]!.elements![0]!.text.includes(`<http://etl.test/etl/runs/${run.run_id}|`),
  );
  assert.ok(
    message!.blocks[1]!.elements![0]!.text.includes("<http://etl.test/etl/alerts#do-run_failed|"),
  );
});

Deno.test("alerts that wait go into one message, and messages keep a second's distance", async (t) => {
  await using engine = await startEngine(t);
  await using slack = startPeer();
  for (let i = 0; i < 25; i++) {
    await engine.sql`update etl.reaction_settings set channels = '{slack}'`;
    await raise(engine, `label_${i}`);
  }
  await using _reacting = await startReacting(engine, { env: { SLACK_WEBHOOK: slack.address } });
  await waitFor(allSent(engine), { what: "all messages" });
  assert.deepEqual(messages(slack).map((message) => message.blocks.length / 2), [20, 5]);
  assert.match(messages(slack)[0]!.text, /and 19 more/);
  assert.ok(slack.requests[1]!.at - slack.requests[0]!.at >= 995, "one message a second");
});

Deno.test("429 is obeyed, 5xx and broken connections are tried again, each alert arrives", async (t) => {
  await using engine = await startEngine(t);
  const answers = [
    () => new Response("slow down", { status: 429, headers: { "retry-after": "3" } }),
    () => new Response("oops", { status: 503 }),
    () => new Response("<html>log in</html>", { headers: { "content-type": "text/html" } }),
  ];
  await using slack = startPeer(() => answers.shift()?.() ?? new Response("ok"));
  await using reacting = await startReacting(engine, { env: { SLACK_WEBHOOK: slack.address } });
  await raise(engine, "a");
  const [channel] = await waitFor(async () => {
    const rows = await engine.sql<{ rest: number }[]>`
      select extract(epoch from blocked_until - clock_timestamp())::float as rest
      from etl.notification_channels where failures = 1`;
    return rows.length === 1 ? rows : null;
  });
  assert.ok(channel!.rest > 1.5, `Retry-After of 3 s left ${channel!.rest} s`);
  await waitFor(allSent(engine), { timeoutMs: 60_000, what: "the message, in the end" });
  assert.equal(slack.requests.length, 4);
  assert.ok(slack.requests[1]!.at - slack.requests[0]!.at >= 2_990, "Retry-After was obeyed");
  const ids = new Set(
    messages(slack).map(({ blocks }) => /id (\S+)/.exec(blocks[1]!.elements![0]!.text)![1]),
  );
  assert.equal(ids.size, 1, "the same id each time");
  assert.ok(!reacting.log.join("\n").includes(slack.address), "the webhook's address is a secret");
});

Deno.test("a Slack that is down, hangs or refuses keeps no run and no other channel", async (t) => {
  await using engine = await startEngine(t);
  await using slack = startPeer(() => "hang");
  await using webhook = startPeer();
  await using _reacting = await startReacting(engine, {
    env: { SLACK_WEBHOOK: slack.address, ETL_ALERT_WEBHOOK: webhook.address },
  });
  const started = performance.now();
  for (let i = 0; i < 2; i++) {
    await engine.runToEnd({
      source: { type: "file", path: "missing.csv", key: "id" },
      run_label: `l${i}`,
    });
  }
  await waitFor(() => webhook.requests.length === 2, { what: "both alerts at the webhook" });
  await engine.succeed({ batch_size: 5 });
  await waitFor(
    async () => (await engine.sql`select from etl.run_ends where consumed_at is null`).length === 0,
    { what: "all runs consumed" },
  );
  assert.ok(performance.now() - started < 60_000);
  const [pending] = await engine
    .sql`select count(*)::int as n from etl.notifications where channel = 'slack' and state = 'pending'`;
  assert.equal(pending!.n, 2);
});

Deno.test("a message that Slack will never take is given up, the next one is sent", async (t) => {
  await using engine = await startEngine(t);
  let first = true;
  await using slack = startPeer(() => {
    if (!first) return new Response("ok");
    first = false;
    return new Response("invalid_blocks", { status: 400 });
  });
  await using _reacting = await startReacting(engine, { env: { SLACK_WEBHOOK: slack.address } });
  await raise(engine, "a");
  await waitFor(async () => (await states(engine))[0] === "failed");
  await raise(engine, "b");
  await waitFor(async () => (await states(engine))[1] === "sent");
  const [row] = await engine.sql`select last_error from etl.notifications where state = 'failed'`;
  assert.match(row!.last_error, /answered 400: invalid_blocks/);
});

Deno.test("the generic webhook gets CloudEvents 1.0, with a token, and follows no redirect", async (t) => {
  await using engine = await startEngine(t);
  await using elsewhere = startPeer();
  let redirects = 1;
  await using webhook = startPeer(() =>
    redirects-- > 0
      ? new Response(null, { status: 307, headers: { location: elsewhere.address } })
      : new Response(null, { status: 204 })
  );
  await using _reacting = await startReacting(engine, {
    env: { ETL_ALERT_WEBHOOK: `${webhook.address}/hook`, ETL_ALERT_WEBHOOK_TOKEN: "s3cret" },
  });
  await raise(engine, "redirected");
  await raise(engine, "taken");
  await engine.sql`select etl.resolve_alert('run_failed', 'taken', 'Works again.')`;
  await waitFor(() => webhook.requests.length === 3);
  assert.equal(elsewhere.requests.length, 0);
  const [, raised, recovered] = webhook.requests;
  assert.equal(raised!.headers.get("content-type"), "application/cloudevents+json; charset=utf-8");
  assert.equal(raised!.headers.get("authorization"), "Bearer s3cret");
  const event = JSON.parse(raised!.body);
  assert.equal(event.specversion, "1.0");
  assert.equal(event.source, "http://etl.test");
  assert.equal(event.type, "etl-improved.alert.raised");
  assert.equal(event.subject, "taken");
  assert.ok(!Number.isNaN(Date.parse(event.time)));
  assert.equal(event.data.kind, "run_failed");
  const end = JSON.parse(recovered!.body);
  assert.equal(end.type, "etl-improved.alert.recovered");
  assert.notEqual(end.id, event.id);
});

Deno.test("slackMessage() shows foreign text as text", () => {
  const { text, blocks } = slackMessage([{
    id: "1",
    type: "raised",
    payload: {
      kind: "run_failed",
      subject: "<!channel> & co",
      severity: "error",
      message: "x".repeat(5_000) + "<https://evil|click>",
      run_id: null,
      run_label: null,
      fingerprint: "f",
      opened_at: "2025-01-01T00:00:00.000Z",
      at: "2025-01-01T00:00:00.000Z",
      details: {},
    },
  }], "http://etl.test");
  assert.ok(!JSON.stringify(blocks).includes("<!channel>"));
  assert.ok(!text!.includes("<"));
  const section = blocks![0] as { text: { text: string; type: string } };
  assert.ok(section.text.text.length <= 3_000, "Slack takes 3,000 characters a section");
  // Slack makes bold, code and links of what stands in mrkdwn, and of a bare address too
  const marks = "*bold* `code` _x_ https://evil.example/?a=1 evil.example @channel";
  const marked = slackMessage([{
    id: "1",
    type: "raised",
    payload: {
      kind: "run_failed",
      subject: marks,
      severity: "error",
      message: marks,
      run_id: null,
      run_label: marks,
      fingerprint: "f",
      opened_at: "2025-01-01T00:00:00.000Z",
      at: "2025-01-01T00:00:00.000Z",
      details: {},
    },
  }], "http://etl.test");
  const [shown] = marked.blocks as { text: { text: string; type: string } }[];
  assert.equal(shown!.text.type, "plain_text");
  assert.ok(shown!.text.text.endsWith(marks), "it is shown as it is");
  assert.doesNotMatch(marked.text!, /https?:\/\/|evil\.example|\*bold|`code|@channel/);
});
