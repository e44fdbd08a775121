import assert from "node:assert/strict";
import { EXIT } from "../../scripts/cli/exit_codes.ts";
import { answering } from "../helpers/cli.ts";

const ID = "019eb1c9-4e5f-7a6b-8c7d-9e0f1a2b3c4d";
const RUN = `/api/etl/runs/${ID}`;
const URL_OF_FILE = "https://example.com/a/2026%20Rates.v2.csv.gz?day=1";

const run = {
  ...{ run_id: ID, run_label: "load", state: "succeeded", attempt: 1, dry_run: false },
  ...{ dataset: "public.orders", requested_by: "ann", trigger: "cli", pool: "default_pool" },
  ...{ requested_at: "2027-01-31T10:00:00Z", started_at: "2027-01-31T10:00:01Z" },
  ...{ ended_at: "2027-01-31T10:00:03Z", duration_ms: 2000, total_rows: 2, expected_rows: 2 },
  ...{ ratio: 1, num_chunks: 1, counts: { records_read: 2, inserted: 2 } as object, params: {} },
  ...{ chunks: { published: 1 }, warnings: [], error: null, replay_of: null, cursor: null },
  ...{ schedule: null, slot: null, servers: [], sharing: { alone: null, left: [] }, revision: 7 },
  stages: [],
};
const seen = {
  ...{ sampled: 1, counts: { events: 1, rejected: 0, filtered: 0, extra: 0 } },
  events: [{
    ...{ event_id: "a", event_type: "x", occurred_at: null, version: null, source: "s" },
    payload: { id: "a", sold_at: "2026-01-01", "n\u0007": 1 },
  }],
  ...{ rejected: [] as object[], rules: {}, columns: [], table: null, warnings: [] },
  key: { fields: ["id"], unique: true, distinct: 1, repeated: [] },
};

/** A server on which a load goes well, with these answers in the place of its own. */
function loading(other: Record<string, unknown> = {}) {
  const cli = answering({
    "/api/etl/preview": seen,
    "/api/etl/run": { run_id: ID, state: "queued", created: true, skipped: false },
    [RUN]: run,
    [`${RUN}/events`]: () =>
      new Response(`id: 1\ndata: ${JSON.stringify(run)}\n\n`, {
        headers: { "content-type": "text/event-stream" },
      }),
    ...other,
  });
  const submitted = () => cli.asked.filter(({ path }) => path === "/api/etl/run");
  return { submitted, ...cli };
}

Deno.test("etl load makes the conf of its options, over those of --set, with the table named after the file", async () => {
  await using cli = loading();
  const conf = async (...args: string[]) => {
    const { code, err } = await cli.etl("load", ...args);
    assert.equal(code, EXIT.succeeded, err);
    return cli.submitted().at(-1)!.body;
  };
  assert.deepEqual(await conf(URL_OF_FILE), {
    ...{ run_label: "load t_2026_rates_v2", table_name: "t_2026_rates_v2" },
    source: { type: "http", url: URL_OF_FILE, name: "t_2026_rates_v2" },
  });
  assert.deepEqual(cli.asked[0]!.body, cli.submitted()[0]!.body, "what is loaded was shown");
  assert.deepEqual(
    await conf(
      ...["https://example.com/", "--key", "id", "--time", "sold_at", "--version", "n\u0007"],
      ...["--to", "shop.orders.v2", "--typed", "--format", "csv", "--dry-run", "--exclude", "a, b"],
      ...["--hash", "c", "--write", "mirror", "--on-missing", "mark", "--yes"],
      ...["--set", "batch_size=7", "--set", "source.delimiter=;"],
    ),
    {
      ...{ run_label: "load orders.v2", batch_size: 7, schema_name: "shop" },
      ...{ table_name: "orders.v2", dry_run: true, layout: "typed", exclude: ["a", "b"] },
      ...{ hash: ["c"], write: "mirror", on_missing: "mark", max_delete_ratio: 1 },
      source: {
        ...{ type: "http", url: "https://example.com/", name: "orders.v2", key: "id" },
        ...{ occurred_at: "sold_at", version: "n\u0007", format: "csv", delimiter: ";" },
      },
    },
  );
  const { source, ...given } = await conf(
    ...["https://example.com", "--key", "id, sold_at", "--add-columns", "--set", "run_label=mine"],
    ...["--set", "source.name=its", "--set", "max_delete_ratio=0.5", "--set", "write=mirror", "-y"],
  ) as Record<string, unknown>;
  assert.deepEqual(given, {
    ...{ run_label: "mine", max_delete_ratio: 0.5, write: "mirror", table_name: "example" },
    ...{ layout: "typed", add_columns: true },
  });
  assert.deepEqual(source, {
    ...{ type: "http", url: "https://example.com", name: "its", key: ["id", "sold_at"] },
  });
  // who does not say yes has the bound of mirrors, and so has who says yes to another way to write
  assert.equal(
    "max_delete_ratio" in (await conf(URL_OF_FILE, "--write", "mirror") as object),
    false,
  );
  assert.equal("max_delete_ratio" in (await conf(URL_OF_FILE, "--yes") as object), false);
  const set = await conf(URL_OF_FILE, "--yes", "--set", "write=mirror");
  assert.equal((set as { max_delete_ratio?: number }).max_delete_ratio, 1);
});

Deno.test("etl load sends a file to a server as its body, with the conf in the query and its media type", async () => {
  await using cli = loading();
  await using files = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir();
  files.defer(() => Deno.remove(dir, { recursive: true }));
  const send = async (name: string, ...args: string[]) => {
    await Deno.writeTextFile(`${dir}/${name}`, "id\n1\n");
    return await cli.etl("load", `${dir}/${name}`, ...args);
  };
  const sent = await send(
    "My Orders.CSV",
    "--key",
    "id,line",
    "--time",
    "at",
    "--set",
    "batch_size=7",
  );
  assert.equal(sent.code, EXIT.succeeded, sent.err);
  const [asked] = cli.asked;
  assert.equal(asked!.body, "id\n1\n", "and no preview before it");
  assert.deepEqual(
    [...new URL(asked!.url, "http://server").searchParams],
    Object.entries({
      ...{ run_label: "load my_orders", batch_size: "7", table_name: "my_orders" },
      ...{ name: "my_orders", key: "id" },
    }).concat([["key", "line"], ["occurred_at", "at"]]),
  );
  const types = async (name: string, ...args: string[]) => {
    const { code, err } = await send(name, ...args);
    assert.equal(code, EXIT.succeeded, err);
    return cli.submitted().at(-1)!.headers["content-type"];
  };
  assert.equal(asked!.headers["content-type"], "text/csv");
  assert.equal(await types("a.tsv"), "text/tab-separated-values");
  assert.equal(await types("a.ndjson"), "application/x-ndjson");
  assert.equal(await types("a.jsonl.gz"), "application/x-ndjson");
  assert.equal(await types("a.parquet"), "application/vnd.apache.parquet");
  assert.equal(await types("a.arrow"), "application/vnd.apache.arrow.file");
  assert.equal(await types("a.txt", "--format", "csv"), "text/csv");
  assert.equal(cli.submitted().at(-1)!.query.format, undefined);
  const before = cli.asked.length;
  const unknown = await send("a.txt");
  assert.equal(unknown.code, EXIT.usage);
  assert.match(unknown.err, /give the format of a\.txt with --format: csv, tsv, ndjson/);
  for (
    const [what, said] of [
      ["missing.csv", /there is no file .*\/missing\.csv/],
      ["-", /to load standard input, name the table with --to/],
      ["https://", /'https:\/\/' is not a URL/],
      [dir, /a server reads several files only below its own ETL_DATA_DIR/],
      [`${dir}/*.csv`, /a server reads several files only below its own ETL_DATA_DIR/],
    ] as const
  ) {
    const { code, err } = await cli.etl("load", what);
    assert.equal(code, EXIT.usage, what);
    assert.match(err, said);
  }
  assert.equal(cli.asked.length, before);
});

Deno.test("etl load asks on a terminal; whoever says yes gets what was not rejected", async () => {
  await using cli = loading();
  const ask = async (answer: string | null, ...args: string[]) => {
    const typed = { answer, asked: [] as string[] };
    return { ...await cli.etlAsking(typed, "load", URL_OF_FILE, "--to", "t", ...args), ...typed };
  };
  for (const answer of ["n", "No", null]) {
    const no = await ask(answer);
    assert.equal(no.code, EXIT.cancelled, no.err);
    assert.deepEqual(no.asked, ["Load it into public.t? [Y/n]"]);
    assert.match(no.err, /The first 1 record: 1 event[\s\S]*Nothing was loaded\./);
  }
  assert.equal(cli.submitted().length, 0);
  const ratio = async (...args: [string | null, ...string[]]) => {
    const { asked } = await ask(...args);
    const { min_acceptance_ratio } = cli.submitted().at(-1)!.body as Record<string, unknown>;
    return { asked: asked.length, ratio: min_acceptance_ratio };
  };
  assert.deepEqual(await ratio(""), { asked: 1, ratio: 0 });
  assert.deepEqual(await ratio("y", "--set", "min_acceptance_ratio=0.9"), { asked: 1, ratio: 0.9 });
  assert.deepEqual(await ratio("n", "--yes"), { asked: 0, ratio: undefined });
  assert.deepEqual(await ratio("n", "--json"), { asked: 0, ratio: undefined });
  assert.equal((await cli.etl("load", URL_OF_FILE)).code, EXIT.succeeded, "nobody is there");
});

Deno.test("etl load names the field that was meant, and takes the delimiter or encoding that the beginning shows", async () => {
  let expected: Record<string, string> = {};
  const previews = (asked: { body: { source: Record<string, unknown> } }) => {
    const [[field, value] = []] = Object.entries(expected);
    if (field === undefined || asked.body.source[field] === value) return Response.json(seen);
    const errors = [{ field: `source.${field}`, message: "is wrong", expected: value }];
    const problem = { type: "/api/problems/invalid-parameters", status: 400, detail: "no", errors };
    return Response.json(problem, { status: 400 });
  };
  await using cli = loading({ "/api/etl/preview": previews });
  for (const option of ["--key", "--time", "--version"]) {
    const wrong = await cli.etl("load", URL_OF_FILE, option, "sold_ta");
    assert.equal(wrong.code, EXIT.usage);
    assert.match(
      wrong.err,
      /there is no field 'sold_ta'; did you mean sold_at\? The records have: id, sold_at, n\\u0007\n/,
    );
  }
  assert.match((await cli.etl("load", URL_OF_FILE, "--key", "id,zzz")).err, /no field 'zzz'\. The/);
  assert.equal(cli.submitted().length, 0);
  // a path into a field is none of their names
  assert.equal((await cli.etl("load", URL_OF_FILE, "--key", "id.of")).code, EXIT.succeeded);

  const source = () => (cli.submitted().at(-1)!.body as { source: object }).source;
  expected = { delimiter: "\t" };
  const tabs = await cli.etl("load", URL_OF_FILE, "--to", "t");
  assert.match(tabs.err, /^Columns are separated by "\\t": --set \$'source\.delimiter=\\t'\n/);
  assert.deepEqual(source(), { type: "http", url: URL_OF_FILE, name: "t", delimiter: "\t" });
  expected = { delimiter: ";" };
  assert.match((await cli.etl("load", URL_OF_FILE)).err, /: --set 'source\.delimiter=;'\n/);
  expected = { encoding: "latin1" };
  const latin = await cli.etl("load", URL_OF_FILE, "--to", "t");
  assert.match(latin.err, /^The text is latin1: --set source\.encoding=latin1\n/);
  assert.deepEqual(source(), { type: "http", url: URL_OF_FILE, name: "t", encoding: "latin1" });
  // what was given is not gone against
  const given = await cli.etl("load", URL_OF_FILE, "--set", "source.encoding=utf-8");
  assert.equal(given.code, EXIT.usage);
  assert.match(given.err, /source\.encoding is wrong/);
});

Deno.test("etl load finds the fields of rejected records as they were read", async () => {
  const rejected = [
    { position: 0, file: null, line: 2, rule: "key_missing", message: "no", raw: '{"id": 1}' },
    {
      position: 1,
      file: null,
      line: 3,
      rule: "a",
      message: "b",
      record: '{"\\u0000cells": [["q", 1]]}',
    },
    { position: 2, file: null, line: 4, rule: "a", message: "b", raw: "{not json" },
    { position: 3, file: null, line: 5, rule: "a", message: "b", raw: "null" },
  ];
  const counts = { events: 0, rejected: 4, filtered: 0, extra: 0 };
  await using cli = loading({ "/api/etl/preview": { ...seen, events: [], counts, rejected } });
  const { err } = await cli.etl("load", URL_OF_FILE, "--key", "zzz");
  assert.match(err, /The records have: id, q\n/);
});

Deno.test("etl load takes a key that no record shows, as there is none", async () => {
  const counts = { events: 0, rejected: 0, filtered: 0, extra: 0 };
  await using cli = loading({ "/api/etl/preview": { ...seen, events: [], counts } });
  assert.equal((await cli.etl("load", URL_OF_FILE, "--key", "id")).code, EXIT.succeeded);
});

Deno.test("etl load tells what was rejected and where, and gives the columns a view by name", async () => {
  const item = {
    ...{ position: 4, file: "(request body)", line: 3, rule: "not_a_number", field: "n" },
    ...{ message: "x is no number", record: null, raw: "a" },
  };
  let ended: object = { ...run, counts: { records_read: 9, inserted: 2, rejected: 1234 } };
  const columns = [{ name: "n", path: "n", type: "numeric" }];
  let view: string | null = null;
  let proposed = columns;
  const path = "/api/datasets/public.t/columns";
  await using cli = loading({
    [RUN]: () => Response.json(ended),
    [`${RUN}/quarantine`]: { items: [item, { ...item, field: null }], next: null },
    [path]: (asked: { method: string }) =>
      Response.json(asked.method === "PUT" ? { view: "public.made" } : { view }),
    [`${path}/proposal`]: () => Response.json({ columns: proposed, rows: 1, left_out: 0 }),
  });
  const load = async (...args: string[]) => {
    const before = cli.asked.length;
    const { err } = await cli.etl("load", URL_OF_FILE, "--to", "t", ...args);
    const asked = cli.asked.slice(before).map(({ method, path }) => `${method} ${path}`);
    return { said: err.slice(err.indexOf("succeeded") + 1).split("\n"), asked };
  };
  const first = await load();
  assert.deepEqual(first.said.slice(-5), [
    "(request body):3  not_a_number (n): x is no number",
    "(request body):3  not_a_number: x is no number",
    "… and 1,232 more",
    `All of them: etl quarantine ${ID}; load them again: etl replay ${ID}`,
    "public.made has its columns by name.",
  ]);
  const asked = cli.asked.find(({ path }) => path.endsWith("/quarantine"))!;
  assert.deepEqual(asked.query, { limit: "5" });
  const put = cli.asked.find(({ method }) => method === "PUT")!;
  assert.deepEqual(put.body, { columns });
  view = "public.its";
  const known = await load();
  assert.equal(known.said.at(-1), "public.its has its columns by name.");
  assert.ok(!known.asked.some((each) => each.startsWith("PUT")), "one that is there stays");
  view = null;
  proposed = [];
  const none = await load();
  assert.match(none.said.at(-1)!, /^All of them/);
  assert.ok(!none.asked.some((each) => each.startsWith("PUT")));
  ended = run;
  assert.ok(!(await load()).asked.some((each) => each.includes("quarantine")));
  assert.ok(!(await load("--typed")).asked.some((each) => each.includes("/columns")));
  ended = { ...run, dry_run: true };
  assert.ok(!(await load()).asked.some((each) => each.includes("/columns")));
  const json = await load("--json");
  assert.ok(!json.asked.includes(`GET ${RUN}`), "programs read the result");
});

Deno.test("etl load tells of a body by the name of what was sent", async () => {
  const item = {
    ...{ position: 4, file: "the request body", line: 3, rule: "a", field: null, record: null },
    ...{ message: "the request body has b, the request body", raw: "a" },
  };
  await using cli = loading({
    [RUN]: { ...run, counts: { rejected: 1 } },
    [`${RUN}/quarantine`]: { items: [item], next: null },
  });
  const file = await Deno.makeTempFile({ suffix: ".csv" });
  try {
    const { err } = await cli.etl("load", file, "--to", "t");
    assert.doesNotMatch(err, /request body/);
    assert.match(
      err,
      new RegExp(`${file.slice(file.lastIndexOf("/") + 1)}:3  a: \\w+\\.csv has b, \\w+\\.csv\\n`),
    );
    assert.doesNotMatch(err, /and \d+ more/);
  } finally {
    await Deno.remove(file);
  }
});
