import assert from "node:assert/strict";
import type { SourceTables } from "../../routes/connections.ts";
import { EXIT } from "../../scripts/cli/exit_codes.ts";
import { cliOf } from "../helpers/cli.ts";

type Table = SourceTables["tables"][number];
type Conf = Record<string, unknown>;

/** A table of a source's catalogue with a key of its own. */
const table = (name: string, more: Partial<Table> = {}): Table => ({
  schema: "sales",
  name,
  key: ["id"],
  primary: true,
  readable: true,
  rows: 5,
  columns: [{ name: "id", type: "integer", declare: "integer" }],
  ...more,
} as Table);

/**
 * What `etl replicate` asks a server, answered with a catalogue: a plan depends on names and types of every kind, more
 * than databases can be filled with. Real ones are in tests/integration/replicate_test.ts.
 */
function catalogue(kind: SourceTables["kind"], tables: Table[]) {
  const confs = new Map<string, Conf>();
  const schedules = new Map<string, Conf>();
  const declared = new Map<string, unknown>();
  const ends = new Map<string, string>();
  const sent: string[] = [];
  const glob = (pattern: string) =>
    new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", ".*").replaceAll("?", ".")}$`);
  const missing = () =>
    Response.json({ type: "/api/problems/not-found", title: "", status: 404, detail: "none" }, {
      status: 404,
    });
  const request = async (path: string, init: RequestInit): Promise<Response> => {
    const url = new URL(path, "http://server");
    const body = init.method === "GET" ? undefined : await new Response(init.body).json();
    const parts = url.pathname.split("/").slice(2).map(decodeURIComponent);
    if (body !== undefined) sent.push(`${init.method} ${parts.join(" ")}`);
    switch (parts.length === 2 ? `${parts[0]} of one` : parts[0]) {
      case "connections": {
        const patterns = url.searchParams.get("tables")!.split(",").map(glob);
        return Response.json({
          kind,
          tables: tables.filter(({ schema, name }) =>
            patterns.some((each) => each.test(`${schema}.${name}`))
          ),
        });
      }
      case "configurations":
        return Response.json({ items: [...confs].map(([name, conf]) => ({ name, conf })) });
      case "configurations of one":
        confs.set(parts[1]!, body.conf);
        return Response.json(body);
      case "datasets":
        return declared.has(parts[1]!) ? Response.json(declared.get(parts[1]!)) : missing();
      case "schedules of one":
        if (body === undefined) {
          const there = schedules.get(parts[1]!);
          return there === undefined ? missing() : Response.json(there);
        }
        schedules.set(parts[1]!, { ...body, configuration: body.conf.configuration });
        return Response.json(body);
      case "etl of one":
        if (body === undefined) {
          const id = url.searchParams.get("run_label")!.replace("/", ".");
          const run = { run_id: id, state: ends.get(id) ?? "succeeded", total_rows: 1234 };
          return Response.json({
            items: ends.get(id) === "none"
              ? []
              : [{ ...run, requested_at: "2026-01-31T10:00:00Z" }],
          });
        }
        if (ends.get(body.configuration) === "away") {
          return Response.json({
            ...{ type: "/api/problems/unavailable", title: "", status: 503, detail: "It is away." },
          }, { status: 503 });
        }
        return Response.json({ run_id: body.configuration, state: "queued", created: true });
      default: {
        // the events of a run
        const id = parts[2]!;
        const run = {
          ...{ run_id: id, state: ends.get(id) ?? "succeeded", counts: { inserted: 5 } },
          ...{ duration_ms: 1000, error: ends.has(id) ? { detail: "the disk is full." } : null },
        };
        return new Response(`id: 1\ndata: ${JSON.stringify(run)}\n\n`, {
          headers: { "content-type": "text/event-stream" },
        });
      }
    }
  };
  const cli = cliOf({ request });
  const replicate = async (...args: string[]) => {
    const { code, out, err } = await cli.etl("replicate", ...args);
    return { code, out, err, said: `${out}\n${err}` };
  };
  return {
    ...{ catalogue: tables, confs, schedules, declared, ends, sent, replicate },
    /** The plan of a dry run, by the tables' names. */
    plan: async (...args: string[]) => {
      const { code, out, said } = await replicate("crm", ...args, "--dry-run", "--json");
      assert.equal(code, EXIT.succeeded, said);
      const { tables } = JSON.parse(out) as { tables: (Conf & { name: string })[] };
      return Object.fromEntries(tables.map((each) => [each.name, each]));
    },
    [Symbol.asyncDispose]: () => cli[Symbol.asyncDispose](),
  };
}

Deno.test("etl replicate: a table that cannot be replicated is refused with the reason, and the others are not", async () => {
  const columns = Array.from({ length: 17 }, (_, i) => `c${i}`);
  await using source = catalogue("postgres", [
    table("fine"),
    table("hidden", { readable: false }),
    table("heap", { key: null }),
    table("wide", { key: columns }),
    table("sixteen", { key: columns.slice(1) }),
    table("a.b"),
    table("a-b"),
    table("x".repeat(64)),
    table("y".repeat(63)),
    table("bare", { columns: [] }),
    table("orders", { schema: "old.sales" }),
  ]);
  const plan = await source.plan("*", "--to", "crm");
  const refused = Object.fromEntries(
    Object.values(plan).filter(({ what }) => what === "refused").map((
      { name, why },
    ) => [name, why]),
  );
  assert.deepEqual(refused, {
    "sales.hidden": "the connection's user may not read it",
    "sales.heap":
      "it has no primary key and no unique key without nulls, by which its rows could be told apart",
    "sales.wide": "its key has 17 columns, and 16 are possible",
    "sales.a.b": "sales.a-b would have the same table here",
    "sales.a-b": "sales.a.b would have the same table here",
    [`sales.${"x".repeat(64)}`]: `its name is too long: crm.${"x".repeat(64)}`,
    "sales.bare": "it has no columns",
    "old.sales.orders": "its schema has a dot in its name",
  });
  for (const { name, conf, what } of Object.values(plan)) {
    assert.equal(conf === null, what === "refused", name);
  }
  const all = await source.replicate("crm", "*", "--to", "crm", "--yes");
  assert.equal(all.code, 18, all.said);
  assert.match(all.out, /3 tables replicated, 8 not/);
  const seen = await source.replicate("crm", "*", "--to", "crm", "--dry-run");
  assert.match(seen.said, /sales\.fine +.*crm\.fine/);
  assert.match(seen.said, /sales\.bare .*refused: it has no columns/);
  assert.doesNotMatch(seen.said, /refused\s*$/m);
});

Deno.test("etl replicate: a table's name here needs no quotes, and a name with a quote or a dot is quoted there", async () => {
  await using source = catalogue("postgres", [
    table("2026 orders"),
    table('the "best"'),
    table("Größe"),
    table("plain_1"),
    table("a.dot"),
  ]);
  const plan = await source.plan("*", "--to", "crm");
  assert.deepEqual(
    Object.values(plan).map(({ into, conf }) => [into, (conf as { source: Conf }).source.table]),
    [
      ["crm.t_2026_orders", "sales.2026 orders"],
      ["crm.the_best_", 'sales."the ""best"""'],
      ["crm.Gr_e", "sales.Größe"],
      ["crm.plain_1", "sales.plain_1"],
      ["crm.a_dot", 'sales."a.dot"'],
    ],
  );
});

Deno.test("etl replicate: what a typed table is made of, and a cursor only where its column has an order that holds", async () => {
  const at = (declare: string) =>
    [
      { name: "id", type: "integer", declare: "integer" },
      { name: "at", type: declare, declare },
    ] as Table["columns"];
  await using source = catalogue("postgres", [
    table("times", { columns: at("timestamptz") }),
    table("days", { columns: at("date") }),
    table("numbers", { columns: at("numeric(10,2)") }),
    table("texts", { columns: at("text") }),
    table("none"),
    table("by_mail", { key: ["mail", "a.b"], primary: false }),
  ]);
  const plan = await source.plan("*", "--to", "crm", "--typed", "--cursor", "at");
  assert.deepEqual(
    Object.fromEntries(Object.values(plan).map(({ name, cursor }) => [name, cursor])),
    {
      "sales.times": "at",
      "sales.days": "at",
      "sales.numbers": "at",
      "sales.texts": null,
      "sales.none": null,
      "sales.by_mail": null,
    },
  );
  const conf = (name: string) => plan[name]!.conf as Conf & { source: Conf };
  const { source: of, ...params } = conf("sales.times");
  assert.deepEqual(params, {
    layout: "typed",
    schema_policy: "evolve",
    run_label: "crm/times",
    schema_name: "crm",
    table_name: "times",
  });
  assert.deepEqual(of, {
    ...{ type: "postgres", connection: "crm", table: "sales.times", cursor: "at" },
    ...{ name: "crm.sales.times", key: "id", columns: { id: "integer", at: "timestamptz" } },
    read_columns: false,
  });
  const { source: byMail } = conf("sales.by_mail");
  assert.deepEqual([byMail.key, byMail.page_key], [["mail", "a\\.b"], ["mail", "a.b"]]);
});

Deno.test("etl replicate: a typed table that is there keeps its key, and what its columns cannot hold is refused", async () => {
  await using source = catalogue("postgres", [table("orders", { key: ["id", "line"] })]);
  const columns = [{ name: "id", path: "id", type: "integer" }];
  source.declared.set("crm.orders", { table: { key: ["id"], columns } });
  const orders = async () => (await source.plan("*", "--to", "crm", "--typed"))["sales.orders"]!;
  assert.equal(
    (await orders()).why,
    "its key is id, line now, and that of crm.orders is id: replicate it into another schema",
  );
  source.declared.set("crm.orders", {
    table: { key: ["id", "line"], columns: [{ name: "id", path: "id", type: "date" }] },
  });
  assert.match(
    String((await orders()).why),
    /its column id is integer now, which date .* not hold/,
  );
  source.declared.set("crm.orders", { table: { key: ["id", "line"], columns } });
  assert.equal((await orders()).what, "new");
  // a column more there, and one that has to be wider here
  const number = { type: "decimal", declare: "numeric(12,4)" };
  source.declared.set("crm.orders", {
    table: {
      key: ["id", "line"],
      columns: [...columns, { name: "a_b", path: "a\\.b", type: "numeric(10,2)" }],
    },
  });
  await source.replicate("crm", "*", "--to", "crm", "--typed");
  source.catalogue[0]!.columns.push(
    { name: "line", type: "integer", declare: "integer" },
    { name: "a.b", ...number },
  );
  const { what, why, alter, conf } = await orders();
  assert.deepEqual([what, why], ["changed", "source.columns, column line, column a_b"]);
  assert.deepEqual(alter, { add: { line: "integer" }, types: { a_b: "numeric" } });
  assert.deepEqual((conf as { source: Conf }).source.columns, {
    ...{ id: "integer", line: "integer", "a.b": "numeric" },
  });
  source.sent.length = 0;
  await source.replicate("crm", "*", "--to", "crm", "--typed");
  assert.deepEqual(source.sent, [
    "PATCH datasets crm.orders columns",
    "PUT configurations crm.orders",
    "POST etl run",
  ]);
});

Deno.test("etl replicate: gone is what the same call would have made of this connection, and nothing else", async () => {
  const tables = [table("kept"), table("orders"), table("left")];
  await using source = catalogue("postgres", tables);
  const made = async (connection: string, pattern: string) => {
    const { code, said } = await source.replicate(connection, pattern, "--to", "crm", "--yes");
    assert.equal(code, EXIT.succeeded, said);
  };
  await made("crm", "*.kept,*.left");
  tables.push(table('the "odd"'), table("order1"));
  await made("crm", '*.the "odd",*.order1');
  tables.push(table("others"));
  await made("elsewhere", "*.others");
  // one that somebody else made of the same name, in another schema
  source.confs.set("crm.by_hand", {
    ...{ run_label: "crm/by_hand", schema_name: "public", table_name: "x" },
    source: { type: "postgres", connection: "crm", table: "sales.by_hand" },
  });
  tables.splice(0, tables.length, table("kept"), table("orders"));
  const gone = async (...args: string[]) =>
    Object.values(await source.plan(...args, "--to", "crm"))
      .filter(({ what }) => what === "gone").map(({ name }) => name).sort();
  assert.deepEqual(await gone("*"), ["sales.left", "sales.order1", 'sales.the "odd"']);
  assert.deepEqual(await gone("sales.order?,*.kept"), ["sales.order1"]);
  assert.deepEqual(await gone("sales.ord?,*.kept"), []);
  // a table that is left out is there, and is none of the plan
  tables.push(table("left"));
  assert.equal(
    (await source.plan("*", "--to", "crm", "--except", "sales.left"))["sales.left"],
    undefined,
  );
  tables.push(table('the "odd"'));
  assert.deepEqual(await gone("*", "--except", "sales.left"), ["sales.order1"]);
  const { err, out } = await source.replicate("crm", "*", "--to", "crm", "--json");
  assert.deepEqual(JSON.parse(out).gone, ["sales.order1"], err);
});

Deno.test("etl replicate: what differs is named as in a conf, and what somebody has set besides stays", async () => {
  const mysql = [table("orders", {
    columns: [
      { name: "id", type: "int", declare: "integer" },
      { name: "at", type: "datetime", declare: "timestamptz" },
    ] as Table["columns"],
  })];
  await using source = catalogue("mysql", mysql);
  const GROUP = ["sales.*", "--to", "crm"];
  assert.equal((await source.replicate("crm", ...GROUP, "--cursor", "at")).code, 0);
  const first = source.confs.get("crm.orders") as Conf & { source: Conf };
  assert.deepEqual(first.source.config, { table: "sales.orders", cursor: "at" });
  source.confs.set("crm.orders", {
    ...first,
    pool: "nightly",
    source: {
      ...first.source,
      lookback: 60,
      config: { ...first.source.config as Conf, zone: "x" },
    },
  });
  const planned = async (...more: string[]) =>
    (await source.plan(...GROUP, ...more))["sales.orders"]!;
  assert.deepEqual(
    [(await planned("--cursor", "at")).what, (await planned("--cursor", "at")).why],
    [
      "same",
      null,
    ],
  );
  // without the option the cursor is no more
  const { what, why, conf } = await planned();
  assert.deepEqual([what, why], ["changed", "source.config"]);
  const { source: of, pool } = conf as Conf & { source: Conf };
  assert.deepEqual([pool, of.lookback, of.config], ["nightly", 60, {
    table: "sales.orders",
    zone: "x",
  }]);
  assert.deepEqual((await planned("--cursor", "at", "--typed")).why, "layout, schema_policy");
});

Deno.test("etl replicate: a schedule is changed where its cron or its time zone is another, and only there", async () => {
  await using source = catalogue("postgres", [table("orders")]);
  const scheduled = async (...when: string[]) => {
    source.sent.length = 0;
    const { code, said } = await source.replicate("crm", "*", "--to", "crm", "--schedule", ...when);
    assert.equal(code, EXIT.succeeded, said);
    return source.sent;
  };
  await scheduled("0 3 * * *");
  assert.deepEqual(source.schedules.get("crm.orders"), {
    ...{ conf: { configuration: "crm.orders" }, configuration: "crm.orders" },
    ...{ cron: "0 3 * * *", time_zone: "UTC" },
    description: "replicates sales.orders of connection crm",
  });
  assert.deepEqual(await scheduled("0 3 * * *"), []);
  assert.deepEqual(await scheduled("0 3 * * *", "--time-zone", "Europe/Madrid"), [
    "PUT schedules crm.orders",
  ]);
  assert.deepEqual(await scheduled("0 4 * * *", "--time-zone", "Europe/Madrid"), [
    "PUT schedules crm.orders",
  ]);
  const set = {
    ...{ cron: "0 4 * * *", time_zone: "Europe/Madrid", configuration: "crm.orders" },
    ...{ description: "ours", missed: "all", grace_seconds: 7, overlap: "queue" },
    conf: { configuration: "crm.orders", pool: "nightly" },
  };
  source.schedules.set("crm.orders", set);
  await scheduled("0 5 * * *");
  assert.deepEqual(source.schedules.get("crm.orders"), {
    ...{ ...set, cron: "0 5 * * *", time_zone: "UTC" },
  });
});

Deno.test("etl replicate: a run that does not succeed counts as a table that was not replicated", async () => {
  await using source = catalogue("postgres", [table("orders"), table("people")]);
  source.ends.set("crm.people", "failed");
  const { code, out, err } = await source.replicate("crm", "*", "--to", "crm");
  assert.equal(code, 11);
  assert.match(out, /1 table replicated, 1 not/);
  assert.match(err, /sales\.people: failed: the disk is full\. \(etl show crm\.people\)/);
  assert.match(err, /crm\.orders +succeeded +5 inserted, 1/);
});

Deno.test("etl replicate --status: the tables of a group with their last runs, and how many of those failed", async () => {
  await using source = catalogue("postgres", [table("orders"), table("people"), table("fresh")]);
  for (const group of ["crm", "crm2"]) {
    assert.equal((await source.replicate("crm", "*", "--to", group)).code, EXIT.succeeded);
  }
  source.schedules.set("crm.people", { next_slot: "2026-02-01T03:00:00Z" });
  source.ends.set("crm.orders", "failed").set("crm.people", "cancelled").set("crm.fresh", "none");
  const { code, out, err } = await source.replicate("--status", "--to", "crm");
  assert.equal(code, 12, "two of them");
  assert.deepEqual(out.split("\n").slice(1).map((line) => line.trim().split(/ {2,}/)), [
    ["crm.orders", "failed", "2026-01-31 10:00", "1,234", "crm.orders"],
    ["crm.people", "cancelled", "2026-01-31 10:00", "1,234", "2026-02-01 03:00", "crm.people"],
    ["crm.fresh", "not run yet"],
  ]);
  assert.match(err, /All of crm on one page: \/etl\?q=crm%2F/);
  const all = await source.replicate("--status", "--json");
  assert.equal(JSON.parse(all.out).length, 6);
  const none = await source.replicate("--status", "--to", "cr");
  assert.deepEqual([none.code, none.out], [
    EXIT.succeeded,
    "There is no group cr; `etl replicate --status` lists all.",
  ]);
});

Deno.test("etl replicate: a server that goes away in the middle ends it, and is no table's fault", async () => {
  await using source = catalogue("postgres", [table("orders"), table("people")]);
  source.ends.set("crm.people", "away");
  const { code, err } = await source.replicate("crm", "*", "--to", "crm");
  assert.equal(code, EXIT.unreachable);
  assert.match(err, /It is away\./);
});

Deno.test("etl replicate: --set reaches every conf, a member of a MySQL source's config too", async () => {
  await using source = catalogue("mysql", [table("orders")]);
  const set = ["--set", "pool=nightly", "--set", "source.config.time_zone=+01:00"];
  const { "sales.orders": orders } = await source.plan("*", "--to", "crm", ...set);
  const { pool, source: { config } } = orders!.conf as Conf & { source: Conf };
  assert.deepEqual([pool, config], ["nightly", { time_zone: "+01:00", table: "sales.orders" }]);
});

Deno.test("etl replicate: options that cannot be meant are refused before a server is asked", async () => {
  const wrong = async (...args: string[]) => {
    await using source = catalogue("postgres", [table("orders")]);
    const { code, err } = await source.replicate(...args);
    assert.equal(code, EXIT.usage, err);
    return err;
  };
  assert.match(await wrong("crm", "*", "--to", "a$b"), /--to is a schema of letters, digits/);
  assert.match(await wrong("crm", "*", "--to", "1a"), /--to is a schema of letters, digits/);
  assert.match(await wrong("crm", "*", "--to", "a".repeat(64)), /--to is a schema of/);
  assert.match(
    await wrong("crm", "*", "--to", "a", "--time-zone", "UTC"),
    /--time-zone is that of --schedule/,
  );
  assert.match(
    await wrong("crm", "*", "--to", "a", "--mirror", "--cursor", "at"),
    /--mirror compares whole tables/,
  );
  assert.match(await wrong("crm"), /needs a connection and its tables/);
});
