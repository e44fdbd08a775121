import assert from "node:assert/strict";
import Papa from "papaparse";
import { runCli } from "../helpers/cli.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { startServer } from "../helpers/server.ts";

/** Two records without their key, and one whose time is none. */
const SOURCE = JSON.stringify({
  type: "inline",
  name: "a",
  key: "id",
  occurred_at: "at",
  records: [
    { id: 1, at: "2026-01-01T00:00:00Z" },
    { no: 2, at: "2026-01-01T00:00:00Z", text: "a\u001b[31mb" },
    { no: 3, at: "2026-01-01T00:00:00Z" },
    { id: 4, at: "no time" },
  ],
});

interface Quarantine {
  items: { rule: string; raw: string; replayed_by: string | null }[];
  rules: { rule: string; count: number }[];
}

/** A database that is not there: what is wrong with a call is said before it is looked for. */
const NOWHERE = { KPIS_PG_DSN: "postgres://nobody@127.0.0.1:1/none" };

/** Directories of a user's own, and the database. */
async function homeOf(dsn: string) {
  const dir = await Deno.makeTempDir({ prefix: "etl_cli_" });
  return {
    env: { KPIS_PG_DSN: dsn, ETL_DATA_DIR: dir, ETL_SPOOL_DIR: `${dir}/spool`, ETL_WORKERS: "1" },
    [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
  };
}

Deno.test("etl in process: what a run rejected is shown with its rule, replayed once, and its log is kept", async (t) => {
  await using db = await testDatabase(t);
  await using home = await homeOf(db.dsn);
  const etl = (...args: string[]) => runCli(args, home);
  const failed = await etl("run", "--source", SOURCE);
  assert.equal(failed.code, 1, failed.err);
  const [, id] = /`etl quarantine ([0-9a-f-]{36})`/.exec(failed.out) ?? [];
  assert.ok(id, failed.out);

  const shown = await etl("quarantine", id);
  assert.equal(shown.code, 0, shown.err);
  assert.match(shown.out, /^RECORDS +RULE\n +2 +key_missing\n +1 +\w+/);
  assert.match(
    shown.out,
    /the request body:2 +key_missing \(id\): .*missing or null\n {2}\{.*"no":2/,
  );
  assert.ok(!shown.out.includes("\u001b"));
  assert.match(shown.err, new RegExp(`etl replay ${id}`));
  const first = (await etl("quarantine", id, "--limit", "1")).out;
  assert.match(first, /There are more: --limit/);
  const all = (await etl("quarantine", id, "--json")).json() as unknown as Quarantine;
  assert.deepEqual(all.rules.map(({ count }) => count), [2, 1]);
  const other = all.rules[1]!.rule;
  const one = (await etl("quarantine", id, "--rule", other, "--json"))
    .json() as unknown as Quarantine;
  assert.deepEqual(one.items.map(({ rule }) => rule), [other]);
  assert.equal(JSON.parse(one.items[0]!.raw).id, 4);
  assert.match((await etl("quarantine", id, "--rule", "nope")).out, /rejected by that rule/);

  // not shown, yet kept
  assert.ok(!/run started/.test(failed.err));
  const log = await etl("logs", id);
  assert.match(log.out, /^\d{4}-\S+Z info +run started/m);
  assert.match(log.out, /run ended .*state=failed/);
  const kept = (await etl("logs", id, "--json")).json() as unknown as { message: string }[];
  assert.equal(kept.length, log.out.split("\n").length);
  assert.equal((await etl("logs", id, "--limit", "1")).out, log.out.split("\n").at(-1));

  const warned = (await etl("logs", id, "--level", "warn", "--json")).json() as unknown as {
    level: string;
  }[];
  assert.ok(warned.length < kept.length && warned.every(({ level }) => level !== "info"));
  assert.match((await etl("logs", id, "--search", "RUN ENDED")).out, /^[^\n]*run ended[^\n]*$/);
  assert.match((await etl("logs", id, "--search", "no such")).out, /None of its \d+ lines/);

  const replayed = await etl("replay", id, "--rule", "key_missing", "--json");
  assert.equal(replayed.code, 0, replayed.err);
  assert.deepEqual([replayed.json().rejected, replayed.json().inserted], [2, 0]);
  const after = (await etl("quarantine", id, "--json")).json() as unknown as Quarantine;
  assert.deepEqual(
    after.items.map(({ rule, replayed_by }) => [rule === "key_missing", replayed_by]),
    [[true, replayed.json().run_id], [true, replayed.json().run_id], [false, null]],
  );
  assert.match((await etl("quarantine", id)).out, /still rejected after 1 replay, last by run/);
  const nothing = await etl("replay", id, "--rule", "no_such_rule");
  assert.equal(nothing.code, 2);
  assert.match(nothing.err, /no open record in its quarantine that rule no_such_rule rejected/);
  const settled = await etl("replay", id, "--set", "source.key=no", "--rule", "key_missing");
  assert.equal(settled.code, 0, settled.err);
  assert.match((await etl("quarantine", id)).out, /replayed by run/);
});

Deno.test("etl quarantine, replay and logs with a server: what it keeps, and --wait", async (t) => {
  await using db = await testDatabase(t);
  await using server = await startServer({ dsn: db.dsn });
  const env = { ETL_SERVER: server.address, ...NOWHERE };
  const etl = (...args: string[]) => runCli(args, { env });
  const good = await etl("run", "--set", "batch_size=2", "--wait", "--json");
  assert.equal(good.code, 0, good.err);
  assert.match((await etl("quarantine", "latest")).out, /has rejected no record/);
  const nothing = await etl("replay", "latest");
  assert.equal(nothing.code, 2);

  const failed = await etl("run", "--source", SOURCE, "--wait", "--json");
  const id = String(failed.json().run_id);
  const asked = await etl("replay", id, "--json");
  assert.equal(asked.code, 0, asked.err);
  assert.equal(asked.json().replay_of, id);
  const ended = await etl("show", String(asked.json().run_id), "--follow", "--json");
  assert.equal(ended.json().rejected, 3, ended.err);
  const again = await etl("replay", String(asked.json().run_id), "--wait");
  assert.equal(again.code, 0, again.err);
  assert.match(again.out, /rejected +3/);
});

Deno.test("etl quarantine --all exports every record with file, line and field; etl logs --follow goes on to the run's end", async (t) => {
  await using db = await testDatabase(t);
  await using server = await startServer({ dsn: db.dsn });
  const etl = (...args: string[]) => runCli(args, { env: { ETL_SERVER: server.address } });
  const rejected = Array.from(
    { length: 2500 },
    (_, n) => ({ n, text: n === 1 ? '=1+1;"a\nb' : "é" }),
  );
  // a run whose first 1,000 records are all rejected would end there
  const records = [{ id: 1 }, ...rejected];
  const run = await etl(
    "run",
    "--source",
    JSON.stringify({ type: "inline", key: "id", records }),
    "--json",
  );
  const id = String(run.json().run_id);
  const followed = await etl("logs", id, "--follow");
  assert.equal(followed.code, 0, followed.err);
  assert.match(followed.out, /run started[\s\S]*run ended/);
  assert.equal(new Set(followed.out.split("\n")).size, followed.out.split("\n").length);
  assert.match(followed.err, /has failed/);

  const exact = (await etl("quarantine", id, "--all", "--format", "ndjson")).out.split("\n")
    .map((line) => JSON.parse(line));
  assert.deepEqual(exact.map(({ line }) => line), rejected.map((_, n) => n + 2));
  assert.ok(exact.every(({ field, rule }) => field === "id" && rule === "key_missing"));
  assert.deepEqual(JSON.parse(exact[1].raw).text, rejected[1]!.text);
  const csv = Papa.parse<Record<string, string>>(
    (await etl("quarantine", id, "--all", "--format", "csv")).out,
    { header: true },
  );
  assert.deepEqual(csv.errors, []);
  assert.deepEqual(csv.data.map(({ line }) => Number(line)), rejected.map((_, n) => n + 2));
  assert.equal(csv.data[2]!.raw, exact[2].raw);
  assert.match((await etl("quarantine", id, "--all")).out, /"n":2499/);
  const few = (await etl("quarantine", id, "--limit", "2", "--format", "csv")).out;
  assert.equal(Papa.parse(few, { header: true }).data.length, 2);
});

Deno.test("etl quarantine, replay and logs say what is wrong with how they are called", async () => {
  const cases: [string[], RegExp][] = [
    [["quarantine"], /needs RUN: the run's id/],
    [["quarantine", "latest", "--limit", "0"], /whole number from 1 to 1000, not '0'/],
    [["quarantine", "latest", "--all", "--limit", "5"], /exclude each other/],
    [["quarantine", "latest", "--format", "xml"], /csv or ndjson, not 'xml'/],
    [["logs", "latest", "--level", "loud"], /one of debug, info, warn, error, not 'loud'/],
    [["logs", "latest", "-f", "--json"], /leave one out/],
    [["replay"], /needs RUN/],
    [["logs", "latest", "--limit", "x"], /whole number from 1 to 1000000, not 'x'/],
  ];
  for (const [args, message] of cases) {
    const { code, err } = await runCli(args, { env: NOWHERE });
    assert.equal(code, 2);
    assert.match(err, message);
  }
});
