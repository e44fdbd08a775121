import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import { runCli } from "../helpers/cli.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";

const ORDERS = `order_id,ordered_at,amount,country
A-1,2026-01-01T10:00:00Z,19.90,ES
A-2,2026-01-02T10:00:00Z,5,MX
A-3,no time,7,ES
A-4,2026-01-04T10:00:00Z,1.50,AR
`;

/** A folder that somebody works in, and where their program keeps its files. */
async function home(dsn: string) {
  const dir = await Deno.makeTempDir({ prefix: "etl_load_" });
  await Deno.mkdir(`${dir}/work/monthly`, { recursive: true });
  await Deno.writeTextFile(`${dir}/work/orders.csv`, ORDERS);
  await Deno.writeTextFile(`${dir}/work/monthly/m1.ndjson`, '{"id":1,"n":10}\n');
  await Deno.writeTextFile(`${dir}/work/monthly/m2.ndjson`, '{"id":2,"n":20}\n');
  return {
    dir,
    env: {
      KPIS_PG_DSN: dsn,
      ETL_SPOOL_DIR: `${dir}/spool`,
      ETL_WORKERS: "1",
      INIT_CWD: `${dir}/work`,
    },
    [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
  };
}

Deno.test("etl load: one line takes a file from where one is to a table with columns, and tells what was rejected where", async (t) => {
  await using db = await testDatabase(t);
  await using place = await home(db.dsn);
  const etl = (...args: string[]) => runCli(args, place);
  const wrong = await etl("load", "orders.csv", "--key", "orderid");
  assert.equal(wrong.code, 2, wrong.err);
  assert.match(
    wrong.err,
    /no field 'orderid'; did you mean order_id\? .*order_id, ordered_at, amount, country/,
  );

  const loaded = await etl(
    ...["load", "orders.csv", "--key", "order_id", "--time", "ordered_at", "--to", "orders"],
    ...["--set", "min_acceptance_ratio=0"],
  );
  assert.equal(loaded.code, 0, loaded.err);
  assert.match(loaded.err, /orders\.csv:4 .*occurred_at/);
  assert.match(loaded.err, /"amount":19\.90[,}]/, "what is shown is what is stored");
  assert.match(
    loaded.err,
    /Look at it: psql "\$KPIS_PG_DSN" -c 'select \* from public\.orders_typed/,
  );
  const rows = await query(
    db.dsn,
    "select event_id, amount::text as amount from orders_typed order by 1",
  );
  assert.deepEqual(rows, [
    { event_id: "A-1", amount: "19.90" },
    { event_id: "A-2", amount: "5" },
    { event_id: "A-4", amount: "1.50" },
  ]);

  // without a terminal the usual ratio counts
  const strict = await etl("load", "./orders.csv", "--key", "order_id", "--time", "ordered_at");
  assert.equal(strict.code, 1);
  const folder = await etl("load", "monthly", "--key", "id", "--json");
  assert.equal(folder.code, 0, folder.err);
  assert.equal(folder.json().inserted, 2);
  const glob = await etl("load", `${place.dir}/work/monthly/m*.ndjson`, "--key", "id", "--json");
  assert.equal(glob.json().unchanged, 2, glob.err);
  // a header with another delimiter is taken as it is; a name may look like a glob
  await Deno.writeTextFile(`${place.dir}/work/ventas [2026].csv`, "id;importe\n1;2,50\n");
  await Deno.writeTextFile(`${place.dir}/work/ventas 2.csv`, "id;importe\n9;9\n");
  const semicolons = await etl("load", "ventas [2026].csv", "--key", "id");
  assert.equal(semicolons.code, 0, semicolons.err);
  assert.match(semicolons.err, /Columns are separated by ";": --set 'source\.delimiter=;'/);
  assert.deepEqual(await query(db.dsn, "select payload::text as payload from ventas_2026"), [
    { payload: '{"id": 1, "importe": "2,50"}' },
  ]);
  // and so is UTF-16 without a mark
  await Deno.writeFile(
    `${place.dir}/work/wide.csv`,
    new Uint8Array(Uint16Array.from("id,name\n1,Ñ\n", (c) => c.charCodeAt(0)).buffer),
  );
  const wide = await etl("load", "wide.csv", "--key", "id");
  assert.equal(wide.code, 0, wide.err);
  assert.match(wide.err, /The text is utf-16le: --set source\.encoding=utf-16le/);
  assert.match(wide.out + wide.err, /1 row is in public\.wide/);
  const missing = await etl("load", "nothing.csv");
  assert.equal(missing.code, 2);
  assert.match(missing.err, /there is no file .*work\/nothing\.csv/);
});

Deno.test("etl load --typed: the five files of vega-datasets and a folder of Parquet are tables by one command each", async (t) => {
  await using db = await testDatabase(t);
  await using place = await home(db.dsn);
  const data = join(import.meta.dirname!, "../../node_modules/vega-datasets/data");
  await Deno.mkdir(`${place.dir}/work/sales`);
  for (const part of [1, 2]) {
    const columnData = [
      { name: "id", data: [part * 2 - 1, part * 2], type: "INT64" as const },
      { name: "amount", data: [part, part + 1], type: "DOUBLE" as const },
    ].map((column) =>
      column.type === "INT64" ? { ...column, data: column.data.map(BigInt) } : column
    );
    await Deno.writeFile(
      `${place.dir}/work/sales/p${part}.parquet`,
      new Uint8Array(parquetWriteBuffer({ columnData })),
    );
  }
  const tables: [what: string, key: string | null, rows: number, columns: string][] = [
    [
      `${data}/cars.json`,
      null,
      406,
      "acceleration numeric, cylinders bigint, displacement numeric, horsepower bigint, miles_per_gallon numeric, name text, origin text, weight_in_lbs bigint, year date",
    ],
    [
      `${data}/movies.json`,
      null,
      3201,
      "creative_type text, director text, distributor text, imdb_rating numeric, imdb_votes bigint, major_genre text, mpaa_rating text, production_budget bigint, release_date text, rotten_tomatoes_rating bigint, running_time_min bigint, source text, title text, us_dvd_sales bigint, us_gross bigint, worldwide_gross bigint",
    ],
    [`${data}/stocks.csv`, "symbol,date", 560, "date text, price numeric, symbol text"],
    [
      `${data}/airports.csv`,
      "iata",
      3376,
      "city text, country text, iata text, latitude numeric, longitude numeric, name text, state text",
    ],
    [
      `${data}/seattle-weather.csv`,
      "date",
      1461,
      "date date, precipitation numeric, temp_max numeric, temp_min numeric, weather text, wind numeric",
    ],
    ["sales", "id", 4, "amount numeric, id bigint"],
  ];
  for (const [what, key, rows, columns] of tables) {
    const loaded = await runCli(
      ["load", what, "--typed", ...(key === null ? [] : ["--key", key]), "--json"],
      place,
    );
    assert.equal(loaded.code, 0, loaded.err);
    const table = basename(what).replace(/\..*/, "").replaceAll("-", "_");
    const [found] = await query<{ rows: number; columns: string }>(
      db.dsn,
      `select (select count(*)::int from ${table}) as rows, string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attname collate "C") as columns
      from pg_attribute where attrelid = '${table}'::regclass and attnum > 0 and attname not like '\\_etl\\_%'`,
    );
    assert.deepEqual(found, { rows, columns }, table);
  }
});

Deno.test("etl load: a server gets the file itself, or the standard input", async (t) => {
  await using db = await testDatabase(t);
  await using place = await home(db.dsn);
  await using server = await startServer({ dsn: db.dsn });
  const env = { INIT_CWD: place.env.INIT_CWD, ETL_SERVER: server.address };
  const options = ["--key", "order_id", "--to", "orders", "--json"];
  const file = await runCli(["load", "orders.csv", ...options], { env });
  assert.equal(file.code, 0, file.err);
  assert.equal(file.json().inserted, 4);
  const piped = await runCli(["load", "-", "--format", "csv", ...options], { env, input: ORDERS });
  assert.equal(piped.code, 0, piped.err);
  assert.equal(piped.json().unchanged, 4);
  // larger than what the server takes without a length
  const wide = `order_id,text\n${`1,${"x".repeat(1 << 20)}\n`.repeat(17)}`;
  await Deno.writeTextFile(`${place.env.INIT_CWD}/wide.csv`, wide);
  for (const [what, input] of [["wide.csv"], ["-", wide]] as const) {
    const args = ["load", what, "--format", "csv", "--key", "order_id", "--to", "wide", "--json"];
    const large = await runCli(args, { env, ...(input === undefined ? {} : { input }) });
    assert.equal(large.code, 0, large.err);
  }
  const refused = await fetch(`${server.address}/api/etl/run?key=order_id&table_name=wide`, {
    method: "POST",
    headers: { "content-type": "text/csv" },
    body: new Blob([wide]).stream(),
  });
  assert.equal(refused.status, 413);
  assert.match((await refused.json()).detail, /without Content-Length .* --data-binary/);
  const several = await runCli(["load", "monthly"], { env });
  assert.equal(several.code, 2);
  assert.match(several.err, /below its own ETL_DATA_DIR/);
});

Deno.test("etl load: on a terminal it asks first, and no loads nothing", async (t) => {
  await using db = await testDatabase(t);
  await using place = await home(db.dsn);
  const command = `${Deno.execPath()} run -A --no-prompt --quiet scripts/etl.ts load orders.csv ` +
    "--key order_id --time ordered_at --to orders";
  const answer = async (text: string) => {
    const child = new Deno.Command("script", {
      args: ["-qec", command, "/dev/null"],
      cwd: new URL("../..", import.meta.url).pathname,
      env: { ...place.env, TERM: "xterm" },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const writer = child.stdin.getWriter();
    const decoder = new TextDecoder();
    let shown = "";
    for await (const block of child.stdout) {
      const asked = shown.includes("[Y/n]");
      shown += decoder.decode(block, { stream: true });
      if (!asked && shown.includes("[Y/n]")) await writer.write(new TextEncoder().encode(text));
    }
    await writer.close().catch(() => {});
    return { code: (await child.status).code, shown };
  };
  const no = await answer("n\n");
  assert.match(no.shown, /Load it into public\.orders\?[\s\S]*Nothing was loaded/);
  assert.deepEqual(await query(db.dsn, "select to_regclass('public.orders') as made"), [{
    made: null,
  }]);
  // who has seen what is rejected and says yes wants the rest
  const yes = await answer("\n");
  assert.equal(yes.code, 0, yes.shown);
  assert.deepEqual(await query(db.dsn, "select count(*)::integer as n from orders"), [{ n: 3 }]);
});

Deno.test("etl load: the command that has the files executes its run, and no run of the servers beside it", async (t) => {
  await using db = await testDatabase(t);
  await using place = await home(db.dsn);
  // looks for files elsewhere
  await using _server = await startServer({ dsn: db.dsn });
  for (let n = 0; n < 3; n++) {
    const loaded = await runCli(["load", "monthly", "--key", "id", "--to", `m${n}`], place);
    assert.equal(loaded.code, 0, loaded.err);
  }
  const executed = await query(
    db.dsn,
    "select count(distinct server_id)::int as processes, count(*)::int as runs from etl.runs",
  );
  assert.deepEqual(executed, [{ processes: 3, runs: 3 }]);
});
