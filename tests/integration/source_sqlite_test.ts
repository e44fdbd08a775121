import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { openTrusted } from "../../pipeline/sources/modules/trusted.ts";
import { beforeTasks } from "../helpers/before_tasks.ts";
import { startEngine } from "../helpers/engine.ts";

Deno.test("sqlite: a file below ETL_DATA_DIR, every value as it is", async (t) => {
  await using engine = await startEngine(t);
  const path = `${engine.dataDir}/shop.db`;
  using database = new DatabaseSync(path);
  database.exec(`
    create table items (id integer primary key, n integer, price real, name text, photo blob, none);
    insert into items values (1, 9223372036854775807, 0.1, 'ñandú 🚲', x'00ff10', null);
    insert into items values (2, -9223372036854775808, 1e300, '', zeroblob(0), 'x');
    with recursive c(i) as (select 10 union all select i + 7 from c where i < 7000)
      insert into items (id, n) select i, i from c;
    insert into items (id, price) values (9000000000000000001, 9e999);
    create table pairs (a text, b integer, primary key (a, b)) without rowid;
    insert into pairs values ('x', 1), ('y', 2);
    create table named (id integer, rowid text);
    with recursive c(i) as (select 1 union all select i + 1 from c where i < 500)
      insert into named select i, case i % 2 when 0 then 'row ' || i end from c;
  `);
  const conf = (config: object, table: string, more = {}) => ({
    source: {
      type: "module",
      name: table,
      module: "sqlite",
      key: "id",
      config: { path: "shop.db", ...config },
      ...more,
    },
    table_name: table,
  });
  const payload = async (table: string, id: string) =>
    (await engine.sql.unsafe(`select payload::text from public.${table} where event_id = $1`, [
      id,
    ]))[0]
      ?.payload as string;

  await t.step("integers of 64 bits, bytes, text; in slices of rowids", async () => {
    const run = await engine.succeed(conf({ table: "items", slice_rows: 300 }, "items"));
    assert.deepEqual([run.num_chunks, run.counts!.inserted], [4, 1003]);
    assert.match(await payload("items", "1"), /"n": 9223372036854775807/);
    assert.match(await payload("items", "1"), /"photo": "AP8Q"/);
    assert.match(await payload("items", "1"), /"name": "ñandú 🚲"/);
    assert.match(await payload("items", "2"), /"n": -9223372036854775808/);
    assert.match(await payload("items", "9000000000000000001"), /"price": "Infinity"/);
  });

  await t.step("tables without rowid, views and queries in one part", async () => {
    const run = await engine.succeed(conf({ table: "pairs" }, "pairs", { key: ["a", "b"] }));
    assert.deepEqual([run.num_chunks, run.counts!.inserted], [1, 2]);
    // a column may have the name of the row's id
    const named = await engine.succeed(conf({ table: "named", slice_rows: 200 }, "named"));
    assert.deepEqual([named.num_chunks, named.counts!.inserted], [3, 500]);
    const query = "select id, hex(photo) as h from items where id < 3 order by id;";
    assert.equal((await engine.succeed(conf({ query }, "queried"))).counts!.inserted, 2);
  });

  await t.step(
    "what could run for ever or fill the memory is refused: recursion, values of 1 GB",
    async () => {
      const endless =
        "with recursive c(id) as (select 1 union all select id + 1 from c) select * from c";
      database.exec(`create view endless as ${endless}`);
      for (const config of [{ query: `${endless} where id < 0` }, { table: "endless" }]) {
        const run = await engine.runToEnd({
          ...conf(config, "endless"),
          timeout_seconds: 60,
        });
        assert.match(String((run.error as { detail?: string }).detail), /recursive/);
      }
      const large = await engine.runToEnd(
        conf({ query: "select 1 as id, length(hex(zeroblob(400000000))) as n" }, "large"),
      );
      assert.match(String((large.error as { detail?: string }).detail), /failed after 0 rows/);
    },
  );

  await t.step(
    "a read that SQLite ends with an error fails the run, whatever came before",
    async () => {
      const run = await engine.runToEnd(
        conf({ query: "select id, abs(n) as etl_end from items order by id" }, "cut"),
      );
      assert.match(String((run.error as { detail?: string }).detail), /failed after 1 rows/);
    },
  );

  await t.step(
    "a mirror finds each row that stays, though its rowid changes meanwhile",
    async () => {
      database.exec(`
      create table moving (sku text primary key, n integer);
      insert into moving values ('a', 1), ('b', 1), ('c', 1), ('d', 1), ('e', 1);
      create table stock (id integer primary key, sku text unique, n integer);
      insert into stock (sku, n) select sku, n from moving;
      create table turned (sku integer primary key desc, n integer);
      insert into turned values (1, 1), (2, 1), (3, 1), (4, 1), (5, 1);
    `);
      const reading = async (table: string, key: string, whole: boolean) => {
        const source = await openTrusted("sqlite", {
          config: { path: "shop.db", table, slice_rows: 2 },
          since: null,
          connections: [],
          pageSize: 1000,
          maxRecordBytes: 1 << 24,
          key,
        }, {
          connections: {},
          dataDir: engine.dataDir,
          signal: new AbortController().signal,
          whole,
        });
        const { slices } = await source.plan();
        return {
          slices: slices.length,
          keys: async () => {
            const keys: unknown[] = [];
            for (const slice of slices) {
              for await (const page of source.read(slice)) {
                keys.push(
                  ...(page as unknown as Record<string, unknown>[]).map((each) => each[key]),
                );
              }
            }
            return keys.sort();
          },
        };
      };
      for (const [table, first] of [["moving", "a"], ["stock", "a"], ["turned", "1"]] as const) {
        const mirror = await reading(table, "sku", true);
        const before = await mirror.keys();
        assert.equal(before.length, 5);
        database.exec(`insert or replace into ${table} (sku, n) values ('${first}', 2)`);
        assert.deepEqual(await mirror.keys(), before, table);
      }
      assert.equal((await reading("stock", "id", true)).slices, 3, "an id that is the key stays");
      assert.equal((await reading("moving", "sku", false)).slices, 3);
      const run = await engine.succeed({
        ...conf({ table: "moving", slice_rows: 2 }, "moving", { key: "sku" }),
        write: "mirror",
      });
      assert.deepEqual([run.num_chunks, run.counts!.inserted], [1, 5]);
    },
  );

  await t.step("a text that is not what the file has is quarantined, with its column", async () => {
    database.exec(`
      create table "names" (id integer primary key, "__proto__" text, "constructor" integer, "2" text, "1" text);
      insert into "names" values (1, 'p', 2, 'two', 'one');
      create table texts (id integer primary key, t text, u text);
      insert into texts values
        (1, cast(x'ff41' as text), 'x'), (2, 'a' || char(0) || 'b', 'x'), (3, 'x', cast(x'f09f9a' as text)),
        (4, char(65533) || 'ñ🚲', char(65279) || 'bom'), (5, cast(x'efbfbdf09f9a' as text), null), (6, '', x'00ff');
    `);
    const { counts, run_id } = await engine.succeed({
      ...conf({ table: "texts" }, "texts"),
      min_acceptance_ratio: 0,
    });
    assert.deepEqual([counts!.inserted, counts!.rejected], [2, 4]);
    assert.match(await payload("texts", "4"), /"t": "\uFFFDñ🚲", "u": "\uFEFFbom"/u);
    const rejected = await engine.sql`
      select rule, message from etl.quarantine where run_id = ${run_id} order by position`;
    assert.deepEqual(
      rejected.map(({ rule, message }) => [rule, /text in (\w+) is/.exec(message)?.[1]]),
      [["encoding", "t"], ["nul_character", "t"], ["encoding", "u"], ["encoding", "t"]],
    );
    await engine.succeed(conf({ table: "names" }, "names"));
    assert.equal(
      await payload("names", "1"),
      '{"1": "one", "2": "two", "id": 1, "__proto__": "p", "constructor": 2}',
    );
    // a query has no rowid: what has another length is found all the same
    const query = "select id, t from texts where id in (1, 2, 4) -- some of them";
    const asked = await engine.succeed({
      ...conf({ query }, "asked_texts"),
      min_acceptance_ratio: 0,
    });
    assert.deepEqual([asked.counts!.inserted, asked.counts!.rejected], [1, 2]);
    using wide = new DatabaseSync(`${engine.dataDir}/wide.db`);
    wide.exec(
      "pragma encoding = 'UTF-16le'; create table texts (id integer primary key, t text);" +
        "insert into texts values (1, 'ñandú 🚲'), (2, 'a' || char(0) || 'b'), (3, cast(x'00d8' as text))",
    );
    const utf16 = await engine.succeed({
      ...conf({ path: "wide.db", table: "texts" }, "wide_texts"),
      min_acceptance_ratio: 0,
    });
    assert.deepEqual([utf16.counts!.inserted, utf16.counts!.rejected], [1, 2]);
  });

  await t.step("large rows come in pages of so many bytes", async () => {
    const source = await openTrusted("sqlite", {
      config: {
        path: "shop.db",
        query: "select id, hex(zeroblob(1500000)) as t from named where id <= 20",
      },
      since: null,
      connections: [],
      pageSize: 1000,
      maxRecordBytes: 1 << 24,
    }, { connections: {}, dataDir: engine.dataDir, signal: new AbortController().signal });
    const { slices } = await source.plan();
    const pages: number[] = [];
    for await (const page of source.read(slices[0]!)) pages.push(page.length);
    assert.deepEqual(pages, Array(6).fill(3).concat(2));
  });

  await t.step("only what is newer, with a cursor", async () => {
    const conf1 = conf({ table: "items", cursor: "n" }, "newer");
    database.exec("update items set n = 5000 where id = 1");
    await engine.succeed(conf1);
    database.exec("insert into items (id, n) values (20000, 8000), (20001, 3)");
    const run = await engine.succeed(conf1);
    assert.deepEqual(run.counts!.inserted, 1);
  });

  await t.step("a table whose columns change while it is read fails its run", async () => {
    const given = (table: string) => conf({ table, slice_rows: 1 }, table);
    for (
      const [table, change] of [
        ["dropped", "alter table dropped drop column v"],
        ["renamed", "alter table renamed rename column v to w"],
        ["another", "drop table another; create table another (id integer primary key, v text)"],
      ] as const
    ) {
      database.exec(`create table ${table} (id integer primary key, v integer);
        insert into ${table} values (1, 1), (2, 2)`);
      const { run_id } = await engine.submit(given(table));
      let prepared = 0;
      const workers = beforeTasks(engine.deps.workers, (kind) => {
        if (kind === "prepare" && ++prepared === 2) database.exec(change);
      });
      await engine.execute(run_id, { workers });
      const { state, error } = await engine.run(run_id);
      assert.equal(state, "failed", table);
      assert.match(
        String((error as { detail?: string }).detail),
        /^(dropped|renamed|another) of the file shop\.db has other columns than when/,
      );
    }
    database.exec(
      "create table same (id integer primary key, v integer); insert into same values (1, 1), (2, 2)",
    );
    const { run_id } = await engine.submit(given("same"));
    const workers = beforeTasks(
      engine.deps.workers,
      () => database.exec("create index if not exists same_v on same (v)"),
    );
    await engine.execute(run_id, { workers });
    assert.equal((await engine.run(run_id)).counts!.inserted, 2, "an index is no column");
  });

  await t.step("what changes while it is read is read by the next run", async () => {
    database.exec(`
      create table drifting (id integer primary key, v integer);
      insert into drifting values (1, 1), (2, 2);
      create table blank (id integer primary key, v integer);
      insert into blank values (1, null), (2, null);
    `);
    for (const table of ["drifting", "blank"]) {
      const given = conf({ table, cursor: "v", slice_rows: 1 }, table);
      const { run_id } = await engine.submit(given);
      const workers = beforeTasks(engine.deps.workers, (kind) => {
        if (kind === "prepare") database.exec(`update ${table} set v = 9 where id = 2`);
      });
      await engine.execute(run_id, { workers });
      // as if the change of row 1 had come between the reading of both
      database.exec(`update ${table} set v = 8 where id = 1`);
      const { counts } = await engine.succeed(given);
      assert.deepEqual([counts!.updated, counts!.unchanged], [1, 1], table);
      assert.match(await payload(table, "1"), /"v": 8/);
    }
  });

  await t.step(
    "nothing newer is skipped where numbers and times are texts; a cursor that is no column is refused",
    async () => {
      database.exec(`
      create table counted (id integer primary key, v text);
      insert into counted values (1, '9'), (2, '99');
      create table timed (id integer primary key, v text);
      insert into timed values (1, '2026-01-01'), (2, '2026-01-02T09:00:00Z');
      create table large (id integer primary key, v real);
      insert into large values (1, 1.5), (2, 1e20);
      create table mixed (id integer primary key, v integer);
      insert into mixed values (1, '2025-12-31'), (2, '2026-01-01');
    `);
      const newest = {
        counted: ["'8'", "'100'"],
        timed: ["'2026-01-02 08:00:00'", "'2026-01-02 10:00:00'"],
        large: ["3.5", "2e20"],
        mixed: ["'2025-12-30'", "1767225600"],
      };
      for (const [table, values] of Object.entries(newest)) {
        const given = conf({ table, cursor: "v" }, table);
        await engine.succeed(given);
        database.exec(
          `insert into ${table} values (3, ${values[0]}), (4, ${values[1]}), (5, null)`,
        );
        const { counts } = await engine.succeed(given);
        assert.deepEqual([counts!.unchanged, counts!.inserted], [1, 2], `${table}, and no value`);
      }
      const run = await engine.runToEnd(conf({ table: "timed", cursor: "nosuch" }, "misspelt"));
      assert.match(
        String(run.error?.detail),
        /no column nosuch, which source\.config\.cursor names/,
      );
    },
  );

  await t.step("a typed table has the types that SQLite holds its values to", async () => {
    database.exec(`
      create table held (id integer primary key, code varchar(20), day date, note text);
      insert into held values (1, '2026-01-01', '2026-01-01', '7'), (2, 'n/a', '2026-01-02', null);
      create table bound (id int primary key, r real, t text, b blob, a any) strict;
      insert into bound values (1, 1, '2026-01-01', null, 1), (2, 2, '2026-01-02', null, 2);
    `);
    for (const table of ["held", "bound"]) {
      const given = conf({ table }, table);
      const run = await engine.succeed({ ...given, table_name: table, layout: "typed" });
      assert.equal(run.counts!.inserted, 2, JSON.stringify(run));
    }
    const columns = async (table: string) =>
      (await engine.sql<{ column: string }[]>`
        select attname || ' ' || format_type(atttypid, atttypmod) as column from pg_attribute
        where attrelid = to_regclass(${table}) and attnum > 0 and attname not like '\\_etl%' order by attnum`)
        .map(({ column }) => column).join(", ");
    assert.equal(await columns("held"), "id bigint, code text, day date, note text");
    assert.equal(await columns("bound"), "id bigint, r numeric, t text, b text, a bigint");
    // of a query nothing is known
    const query = conf({ query: "select * from bound" }, "asked");
    await engine.succeed({ ...query, layout: "typed" });
    assert.equal(await columns("asked"), "id bigint, r bigint, t date, b text, a bigint");
  });

  await t.step(
    "bytes of a strict table are bytes in bytea; of another they may be text",
    async () => {
      database.exec(`
      create table bodies (id int primary key, b blob) strict;
      insert into bodies values (1, x'00ff'), (2, null);
      create table loose (id integer primary key, b blob);
      insert into loose values (1, x'00ff'), (2, 'AP8=');
    `);
      for (const table of ["bodies", "loose"]) {
        await engine.sql.unsafe(`create table public.${table} (id bigint primary key, b bytea)`);
      }
      const load = (table: string) =>
        engine.succeed({
          ...conf({ table }, table),
          table_name: table,
          layout: "typed",
          add_columns: true,
          min_acceptance_ratio: 0,
        });
      assert.equal((await load("bodies")).counts!.inserted, 2);
      const [row] = await engine.sql`select b::text as b from public.bodies where id = 1`;
      assert.equal(row!.b, "\\x00ff");
      assert.equal((await load("loose")).counts!.rejected, 2);
    },
  );

  await t.step(
    "nothing outside of the directory, nothing written, no other file attached",
    async () => {
      const refused = async (config: object) => {
        const run = await engine.runToEnd(conf(config, "refused"));
        assert.equal(run.state, "failed");
        return String(run.error!.detail);
      };
      await Deno.writeTextFile(`${engine.dataDir}/../outside.db`, "");
      assert.match(
        await refused({ path: "../outside.db", table: "t" }),
        /leads out of|cannot be read/,
      );
      assert.match(await refused({ table: "missing" }), /no such table: missing/);
      assert.match(await refused({ query: "delete from items returning id" }), /cannot be read/);
      await Deno.writeTextFile(
        `${engine.dataDir}/text.db`,
        "this is no database, it is text".repeat(100),
      );
      assert.match(await refused({ path: "text.db", table: "t" }), /not a database/);
      assert.match(await refused({ table: "items", query: "select 1" }), /either table or query/);
    },
  );
});
