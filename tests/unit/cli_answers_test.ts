import assert from "node:assert/strict";
import { EXIT } from "../../scripts/cli/exit_codes.ts";
import { answering } from "../helpers/cli.ts";

const event = {
  ...{ event_id: "a", event_type: "sale", occurred_at: null, version: null },
  ...{ source: "shop.csv", payload: { id: "a", n: 1 } },
};
const seen = {
  ...{ sampled: 1, counts: { events: 1, rejected: 0, filtered: 0, extra: 0 } },
  ...{ events: [event], rejected: [], rules: {}, columns: [], table: null, warnings: [] },
  key: { fields: ["id"], unique: true, distinct: 1, repeated: [] },
};

Deno.test("etl preview shows what there is, leaves out columns without values, and counts what it does not show", async () => {
  let preview: unknown = seen;
  await using cli = answering({ "/api/etl/preview": () => Response.json(preview) });
  const shown = async () => (await cli.etl("preview", "--set", "batch_size=7")).out.split("\n");
  assert.deepEqual(await shown(), [
    "",
    "The first 1 record: 1 event, 0 rejected",
    "",
    "event_id  event_type  source    payload",
    'a         sale        shop.csv  {"id":"a","n":1}',
    "",
    "✓ Key id is unique in these 1 events.",
    "",
  ]);
  assert.deepEqual(cli.asked[0]!.body, { batch_size: 7 });
  preview = {
    sampled: 1200,
    counts: { events: 1100, rejected: 60, filtered: 40, extra: 3 },
    events: [{ ...event, occurred_at: "2026-01-31T00:00:00Z" }, { ...event, version: "7" }],
    rejected: [
      {
        ...{ position: 4, file: null, line: null, rule: "key_missing", message: "id is missing" },
        raw: "{}",
      },
      {
        ...{ position: 9, file: "a.csv", line: 11, rule: "not_json", message: "bad\u001b[31m" },
        raw: "x",
      },
    ],
    rules: { key_missing: 1059, not_json: 1 },
    key: {
      ...{ fields: ["id", "line"], unique: false, distinct: 1090 },
      repeated: [{ event_id: "a|1", positions: [0, 7] }],
    },
    table: [{ name: "id", type: "text" }, { name: "n", type: "numeric" }],
    columns: [
      { name: "zip", declare: "text", why: "leading zeros", fits: 1, misfits: [] },
      { name: "n", declare: "integer", why: "whole numbers", fits: 0.9999, misfits: ["x"] },
    ],
    warnings: ["ETL_X is old"],
  };
  assert.deepEqual(await shown(), [
    "",
    "The first 1,200 records: 1,100 events, 60 rejected, 40 filtered, 3 extra outputs",
    "",
    "event_id  event_type  occurred_at           version  source    payload",
    'a         sale        2026-01-31T00:00:00Z           shop.csv  {"id":"a","n":1}',
    'a         sale                              7        shop.csv  {"id":"a","n":1}',
    "… and 1,098 more",
    "",
    "Rejected 60: key_missing 1,059 ×, not_json 1 ×",
    "   where  rule         why            as it was read",
    "record 5  key_missing  id is missing  {}",
    "a.csv:11  not_json     bad\\u001b[31m  x",
    "",
    "! Key id, line is not unique: 1,090 keys in 1,100 events. a|1 is in records 1, 8: one of them would be stored.",
    "Columns of the table: id text, n numeric",
    "Declarations to consider, in source:",
    '  "columns": {"zip":"text","n":"integer"}',
    "  zip: leading zeros",
    '  n: whole numbers, 99.9 % fit: "x"',
    "",
    "! ETL_X is old",
    "",
  ]);
  preview = { ...seen, key: { ...seen.key, fields: null } };
  assert.match((await shown()).join("\n"), /Key: none is given, so the hash of the record/);
  preview = { ...seen, events: [], counts: { ...seen.counts, events: 0 } };
  assert.match((await shown()).join("\n"), /0 events, 0 rejected\n\nKey: id\./);
});

Deno.test("etl preview shows every digit of a number, and with --json what the server answers", async () => {
  const text = JSON.stringify(seen).replace('"n":1', '"n":12345678901234567890.5');
  await using cli = answering({ "/api/etl/preview": () => new Response(text) });
  assert.equal((await cli.etl("preview", "--json")).out, text);
  assert.match((await cli.etl("preview")).out, / \{"id":"a","n":12345678901234567890\.5\}\n/);
});

Deno.test("etl profile prints a suite, or writes it to a new file and to no other", async () => {
  const suite = { name: "sales", expectations: [{ type: "a" }, { type: "b" }] };
  const columns = [{ name: "zip", declare: "text", why: "leading zeros", fits: 1, misfits: [] }];
  const result = { suite, events: 1234, warnings: ["a warning"], columns };
  await using cli = answering({ "/api/suites/profile": result });
  const printed = await cli.etl("profile", "--name", "sales", "--records", "50");
  assert.deepEqual(JSON.parse(printed.out), suite);
  assert.match(printed.err, /^2 expectations hold on 1,234 events\.\n/);
  assert.match(printed.err, /"columns": \{"zip":"text"\}[\s\S]*! a warning$/);
  assert.deepEqual(cli.asked[0]!.query, { name: "sales", records: "50" });
  const dir = await Deno.makeTempDir();
  try {
    const out = `${dir}/sales.json`;
    const written = await cli.etl("profile", "--out", out);
    assert.equal(written.out, "");
    assert.match(written.err, new RegExp(`^2 expectations .* events; they are in ${out}\\.`));
    assert.deepEqual(JSON.parse(await Deno.readTextFile(out)), suite);
    assert.equal((await cli.etl("profile", "--out", out)).code, EXIT.usage, "it is there");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
  assert.deepEqual((await cli.etl("profile", "--json")).json(), result);
  const before = cli.asked.length;
  for (const records of ["0", "-1", "1.5", "many"]) {
    const { code, err } = await cli.etl("profile", `--records=${records}`);
    assert.equal(code, EXIT.usage);
    assert.match(err, /--records must be a whole number of at least 1/);
  }
  assert.equal(cli.asked.length, before, "nothing was asked for");
});

Deno.test("etl downstream, consumer run and consumer try end with 1 where the execution failed, and say why", async () => {
  let done: unknown = { consumer: "mine", state: "done", result: { rows: 2 }, error: null };
  const tried = { event_no: 7, inserted: 1, updated: 2, deleted: 3, elapsed_ms: 4 };
  await using cli = answering({
    "/api/etl/downstream": () => Response.json(done),
    "/api/consumers/mine/try": tried,
    "/api/consumers/quiet/try": { event_no: null, elapsed_ms: 4 },
  });
  const fine = await cli.etl("downstream", "--analysis-type", "by_type", "--top-n", "5");
  assert.deepEqual([fine.code, fine.out], [
    EXIT.succeeded,
    'mine: {"rows":2}. `etl reports` shows the report.',
  ]);
  const { method, path, query, body } = cli.asked[0]!;
  assert.deepEqual([method, path, query], ["POST", "/api/etl/downstream", { wait: "true" }]);
  assert.deepEqual(body, { analysis_type: "by_type", top_n: 5 });
  assert.deepEqual((await cli.etl("downstream", "--json")).json(), done);
  await cli.etl("downstream", "--cleanup");
  assert.deepEqual(cli.asked.at(-1)!.body, { cleanup: true });
  assert.equal((await cli.etl("downstream", "--top-n", "1001")).code, EXIT.usage);
  const ran = await cli.etl("consumer", "run", "mine");
  assert.deepEqual([ran.code, ran.out], [EXIT.succeeded, 'mine: done {"rows":2}']);
  assert.deepEqual(cli.asked.at(-1)!.body, { analysis_type: "mine" });
  done = { consumer: "mine", state: "failed", result: null, error: "no table" };
  const failed = await cli.etl("downstream");
  assert.deepEqual([failed.code, failed.out], [EXIT.failed, "mine: failed: no table"]);
  const again = await cli.etl("consumer", "run", "mine");
  assert.deepEqual([again.code, again.out], [EXIT.failed, "mine: failed no table"]);
  assert.deepEqual((await cli.etl("consumer", "run", "mine", "--json")).json(), done);
  done = { consumer: "mine", state: "pending", result: null, error: null };
  assert.deepEqual((await cli.etl("downstream")).out, "mine: pending");
  assert.equal(
    (await cli.etl("consumer", "try", "mine")).out,
    "mine, with event 7: 1 inserted, 2 updated, 3 deleted, in 4 ms. It was undone.",
  );
  assert.equal(
    (await cli.etl("consumer", "try", "quiet")).out,
    "quiet, without an event: rows that are not counted, in 4 ms. It was undone.",
  );
  const nameless = await cli.etl("consumer", "try");
  assert.equal(nameless.code, EXIT.usage);
  assert.match(nameless.err, /etl consumer try needs the name of a consumer/);
});

Deno.test("etl consumer lists those that are registered now, with an error only while something waits or has failed", async () => {
  const one = {
    ...{ consumer: "mine", datasets: ["public.a", "public.b"], emits: ["mart.c"], active: true },
    ...{ pending: 0, failed: 0, last_done_at: "2026-01-31T10:00:59.123Z", last_error: "old" },
  };
  const items = [
    one,
    { ...one, consumer: "late", pending: 2, last_done_at: null },
    { ...one, consumer: "gone", active: false },
  ];
  await using cli = answering({ "/api/consumers": { items } });
  assert.deepEqual((await cli.etl("consumer")).out.split("\n").map((line) => line.trimEnd()), [
    "CONSUMER  LISTENS             WRITES  WAITS  FAILED  LAST                 ERROR",
    "mine      public.a, public.b  mart.c  0      0       2026-01-31 10:00:59",
    "late      public.a, public.b  mart.c  2      0                            old",
  ]);
  const { json } = await cli.etl("consumer", "list", "--json");
  assert.deepEqual(json(), items, "all of them");
});

Deno.test("etl reports shows the newest report of what is asked for", async () => {
  const report = {
    ...{ consumer: "mine", analysis_type: "by_type", created_at: "2026-01-31T10:00:00Z" },
    report: { rows: [1] },
  };
  await using cli = answering({ "/api/reports/latest": report });
  const shown = await cli.etl("reports", "--analysis-type", "by_type", "--consumer", "mine");
  assert.deepEqual(cli.asked[0]!.query, { consumer: "mine", analysis_type: "by_type" });
  assert.deepEqual(JSON.parse(shown.out), report.report);
  assert.equal(shown.err, "mine, by_type, 2026-01-31T10:00:00Z");
  assert.deepEqual((await cli.etl("reports", "--json")).json(), report);
  assert.deepEqual(cli.asked[1]!.query, {});
});

Deno.test("etl compare refuses what cannot be compared, and waits for the dry run that reads a source", async () => {
  const states = ["queued", "running", "succeeded"];
  const run = () => {
    const state = states.length > 1 ? states.shift()! : states[0]!;
    const ended_at = ["succeeded", "failed"].includes(state) ? "2026-01-01T00:00:00Z" : null;
    return Response.json({ run_id: "r1", state, ended_at, error: { detail: "no such file." } });
  };
  const row = { event_id: "k", what: "different", dataset: { n: 1 }, other: { n: 2 } };
  const found = {
    ...{ dataset: "public.a", other: "the source", equal: 1000, different: 1, rejected: 0 },
    ...{ only_in_dataset: 0, only_in_other: 0, fields: { n: 1000 } },
    differences: [row, { ...row, event_id: "l", what: "only_in_dataset", other: null }],
  };
  await using cli = answering({
    "/api/etl/run": run,
    "/api/etl/runs/r1": run,
    "/api/datasets/public.a/compare": found,
  });
  const compared = await cli.etl(
    "compare",
    "public.a",
    "--source",
    '{"type": "file", "path": "x"}',
  );
  assert.equal(compared.code, EXIT.failed);
  assert.deepEqual(compared.out.split("\n"), [
    "1,000 equal, 1 different, 0 only in public.a, 0 only in the source",
    "  n differs in 1,000",
    '  k different: {"n":1} and {"n":2}',
    '  l only_in_dataset: {"n":1}',
  ]);
  assert.deepEqual(cli.asked.map(({ method, path }) => `${method} ${path}`), [
    "POST /api/etl/run",
    "GET /api/etl/runs/r1",
    "GET /api/etl/runs/r1",
    "POST /api/datasets/public.a/compare",
  ]);
  assert.deepEqual(cli.asked[0]!.body, {
    ...{ source: { type: "file", path: "x" }, schema_name: "public", table_name: "a" },
    ...{ dry_run: true, compare: true },
  });
  assert.deepEqual(cli.asked[3]!.body, { run_id: "r1" });
  states.splice(0, 3, "failed");
  const failed = await cli.etl("compare", "public.a", "--conf", "{}");
  assert.equal(failed.code, EXIT.failed);
  assert.match(failed.err, /the dry run r1 ended as failed: no such file\./);
  const wrong = async (...args: string[]) => {
    const { code, err } = await cli.etl("compare", ...args);
    assert.equal(code, EXIT.usage, err);
    return err;
  };
  assert.match(await wrong("a", "public.b"), /needs a dataset, written schema\.table/);
  assert.match(await wrong("public.a"), /needs either another table, or --source or --conf/);
  assert.match(await wrong("public.a", "public.b", "--conf", "{}"), /needs either another table/);
});
