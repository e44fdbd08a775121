import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import { handleAlert, sendTestAlert } from "../../store/alerts.ts";
import { pagerDutyEvents } from "../../telemetry/integrations/pagerduty.ts";
import { teamsMessage } from "../../telemetry/integrations/teams.ts";
import { startEngine } from "../helpers/engine.ts";
import { startPeer } from "../helpers/peer.ts";
import { startReacting } from "../helpers/reacting.ts";
import { waitFor } from "../helpers/wait_for.ts";

interface Mail {
  from: string;
  to: string[];
  secure: boolean;
  text: string;
}

/** A mail server on a free port of this machine; its certificate is signed by nobody. */
async function startMailServer(options: SMTPServerOptions = {}) {
  const mails: Mail[] = [];
  const passwords: string[] = [];
  const server = new SMTPServer({
    authOptional: true,
    allowInsecureAuth: true,
    disableReverseLookup: true,
    onAuth(auth, _session, done) {
      passwords.push(auth.password ?? "");
      done(auth.password === "pass word" ? null : new Error("wrong password"), { user: "u" });
    },
    onData(stream, { envelope, secure }, done) {
      const chunks: Uint8Array[] = [];
      stream.on("data", (chunk: Uint8Array) => chunks.push(chunk));
      stream.on("end", () => {
        mails.push({
          from: (envelope.mailFrom as { address: string }).address,
          to: envelope.rcptTo.map(({ address }) => address),
          secure,
          text: new TextDecoder().decode(Buffer.concat(chunks)),
        });
        done();
      });
    },
    ...options,
  });
  server.on("error", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const { port } = server.server.address() as { port: number };
  return {
    mails,
    passwords,
    address: `127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

type Engine = Awaited<ReturnType<typeof startEngine>>;

const raise = async (engine: Engine, subject: string, message = "It broke.") => {
  await engine.submit({ run_label: subject, batch_size: 1 });
  await engine.sql`select etl.raise_alert('run_failed', ${subject}, ${message},
    jsonb_build_object('run_label', ${subject}::text, 'severity', 'error'))`;
};

const channels = (engine: Engine) =>
  engine.sql<{ channel: string; state: string; last_error: string | null }[]>`
    select channel, state, last_error from etl.notifications order by notification_id`;

Deno.test("a test alert arrives once on each channel: Slack, webhook, mail, Teams, PagerDuty", async (t) => {
  await using engine = await startEngine(t);
  await using peer = startPeer();
  await using smtp = await startMailServer();
  await using _reacting = await startReacting(engine, {
    env: {
      SLACK_WEBHOOK: `${peer.address}/slack`,
      ETL_ALERT_WEBHOOK: `${peer.address}/hook`,
      ETL_ALERT_TEAMS_WEBHOOK: `${peer.address}/teams`,
      ETL_ALERT_PAGERDUTY_KEY: "0123456789abcdef0123456789abcdef",
      ETL_ALERT_PAGERDUTY_URL: `${peer.address}/pagerduty`,
      ETL_SMTP_URL: `smtp://${smtp.address}?tls=off`,
      ETL_ALERT_EMAIL_TO: "ops@etl.test, night@etl.test",
    },
  });
  const all = ["email", "pagerduty", "slack", "teams", "webhook"];
  assert.deepEqual((await sendTestAlert(engine.sql, "ann")).toSorted(), all);
  await waitFor(async () => (await channels(engine)).every(({ state }) => state === "sent"), {
    what: "all channels",
  });
  const counts = Map.groupBy(peer.requests, ({ path }) => path);
  assert.deepEqual(
    [...counts].map(([path, { length }]) => `${path} ${length}`).toSorted(),
    ["/hook 1", "/pagerduty 2", "/slack 1", "/teams 1"],
  );
  const events = counts.get("/pagerduty")!.map(({ body }) => JSON.parse(body));
  assert.deepEqual(events.map(({ event_action }) => event_action), ["trigger", "resolve"]);
  assert.equal(smtp.mails.length, 1);
  assert.deepEqual(smtp.mails[0]!.to, ["ops@etl.test", "night@etl.test"]);
  assert.match(smtp.mails[0]!.text, /A test that ann asked for\./);
});

Deno.test("mails of an incident belong together, a repetition has the same id, and no text becomes a header", async (t) => {
  await using engine = await startEngine(t);
  await using smtp = await startMailServer({
    onRcptTo: ({ address }, _session, done) =>
      done(
        address === "gone@etl.test"
          ? Object.assign(new Error("no such user"), { responseCode: 550 })
          : null,
      ),
  });
  await using reacting = await startReacting(engine, {
    sweeper: false,
    env: {
      ETL_SMTP_URL: `smtp://ann:pass%20word@${smtp.address}?tls=off`,
      ETL_ALERT_EMAIL_TO: "gone@etl.test, ops@etl.test",
      ETL_ALERT_EMAIL_FROM: "etl@etl.test",
    },
  });
  await engine
    .sql`select etl.raise_alert('run_failed', ${"night\r\nBcc: spy@etl.test"}, 'It broke.')`;
  await handleAlert(engine.sql, {
    fingerprint: "run_failed:night\r\nBcc: spy@etl.test",
    action: "close",
    actor: "ann",
    minutes: null,
  });
  await waitFor(() => smtp.mails.length === 2, { what: "alert and recovery" });
  const [raised, recovered] = smtp.mails;
  assert.deepEqual(raised!.to, ["ops@etl.test"], "one refused address costs the others nothing");
  assert.equal(raised!.from, "etl@etl.test");
  assert.match(raised!.text, /^Subject: \[etl-improved\] Run failed: night Bcc: spy@etl\.test\r$/m);
  assert.doesNotMatch(raised!.text, /^Bcc:/m);
  assert.match(recovered!.text, /^Subject: \[etl-improved\] Recovered: Run failed/m);
  const header = (text: string, name: string) =>
    new RegExp(`^${name}: (.*)\r$`, "m").exec(text)?.[1];
  assert.equal(header(raised!.text, "References"), header(recovered!.text, "References"));
  const [{ notification_id: id }] = (await engine.sql`
    select notification_id from etl.notifications where type = 'raised'`) as unknown as [
    { notification_id: string },
  ];
  assert.equal(header(raised!.text, "Message-ID"), `<${id}@etl.test>`);
  await engine
    .sql`select etl.raise_alert('run_failed', ${"night\r\nBcc: spy@etl.test"}, 'It broke again.')`;
  await waitFor(() => smtp.mails.length === 3, { what: "the next incident" });
  assert.notEqual(header(smtp.mails[2]!.text, "References"), header(raised!.text, "References"));
  assert.deepEqual(new Set(smtp.passwords), new Set(["pass word"]));
  assert.match(reacting.log.join("\n"), /does not take mails to gone@etl\.test/);
});

Deno.test("a password waits where the connection cannot be trusted; what a mail server refuses for good is given up", async (t) => {
  await using engine = await startEngine(t);
  await using untrusted = await startMailServer();
  const start = (url: string) =>
    startReacting(engine, { env: { ETL_SMTP_URL: url, ETL_ALERT_EMAIL_TO: "ops@etl.test" } });
  {
    await using reacting = await start(`smtp://ann:pass%20word@${untrusted.address}`);
    await raise(engine, "a");
    await waitFor(() => /alerts could not be sent/.test(reacting.log.join("\n")));
    assert.doesNotMatch(reacting.log.join("\n"), /pass.word/);
  }
  {
    await using clear = await startMailServer({ disabledCommands: ["STARTTLS"] });
    await engine.sql`update etl.notification_channels set blocked_until = '-infinity'`;
    await using reacting = await start(`smtp://ann:pass%20word@${clear.address}`);
    await waitFor(() => /alerts could not be sent/.test(reacting.log.join("\n")));
    assert.deepEqual([...untrusted.passwords, ...clear.passwords], [], "no password in clear text");
  }
  assert.equal((await channels(engine))[0]!.state, "pending", "somebody can put it right");
  await using refusing = await startMailServer({
    onRcptTo: (_address, _session, done) =>
      done(Object.assign(new Error("no relaying"), { responseCode: 550 })),
  });
  await engine.sql`update etl.notification_channels set blocked_until = '-infinity'`;
  await using _reacting = await start(`smtp://${refusing.address}?tls=off`);
  await waitFor(async () => (await channels(engine))[0]!.state === "failed");
  assert.match((await channels(engine))[0]!.last_error!, /no relaying/);
});

Deno.test("one alert that Slack refuses does not lose the others of its message", async (t) => {
  await using engine = await startEngine(t);
  await using slack = startPeer(({ body }) =>
    body.includes("poison") ? new Response("invalid_blocks", { status: 400 }) : new Response("ok")
  );
  await engine.sql`update etl.reaction_settings set channels = '{slack}'`;
  for (const subject of ["a", "poison", "b"]) await raise(engine, subject);
  await using _reacting = await startReacting(engine, { env: { SLACK_WEBHOOK: slack.address } });
  await waitFor(async () => (await channels(engine)).every(({ state }) => state !== "pending"), {
    what: "all that wait",
  });
  assert.deepEqual((await channels(engine)).map(({ state }) => state), ["sent", "failed", "sent"]);
});

const notification = (type: "raised" | "recovered") => ({
  id: "1",
  type,
  payload: {
    kind: "run_failed",
    subject: "[click](https://evil.example) **x**",
    severity: "error",
    message: "m".repeat(50_000),
    run_id: "r1",
    run_label: "night",
    fingerprint: `run_failed:${"n".repeat(400)}`,
    opened_at: "2026-01-01T00:00:00.000Z",
    at: "2026-01-01T00:00:00.000Z",
    details: { problem: "x" },
  },
});

Deno.test("Teams and PagerDuty get what they take, within their limits", () => {
  const card = teamsMessage(notification("raised"), "https://etl.test");
  assert.ok(JSON.stringify(card).length < 28_000);
  const { body, actions } = card.attachments[0]!.content;
  assert.ok(body.every(({ type }) => type === "RichTextBlock"), "no markdown is read in these");
  const { kind } = notification("raised").payload;
  assert.deepEqual(actions!.map(({ url }) => url), [
    "https://etl.test/etl/runs/r1",
    `https://etl.test/etl/alerts#do-${kind}`,
  ]);
  const [trigger] = pagerDutyEvents(notification("raised"), "https://etl.test/base");
  assert.equal(trigger!.client_url, "https://etl.test/base/etl/alerts");
  assert.equal(
    (trigger!.links as { href: string }[])[1]!.href,
    `https://etl.test/base/etl/alerts#do-${kind}`,
  );
  assert.equal((trigger!.dedup_key as string).length, 255);
  const { summary, source, severity } = trigger!.payload as Record<string, string>;
  assert.equal(summary!.length, 1_024);
  assert.deepEqual([source, severity], ["etl.test", "error"]);
  assert.deepEqual(
    pagerDutyEvents(notification("recovered"), "https://etl.test"),
    [{ event_action: "resolve", dedup_key: trigger!.dedup_key }],
  );
});
