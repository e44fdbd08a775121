import assert from "node:assert/strict";
import { openTrusted } from "../../pipeline/sources/modules/trusted.ts";
import { beforeTasks } from "../helpers/before_tasks.ts";
import { startEngine } from "../helpers/engine.ts";
import { mariadbIsInstalled, startMariadb } from "../helpers/mariadb.ts";

Deno.test({
  name: "mysql: a MariaDB, every value as it is",
  ignore: !await mariadbIsInstalled(),
  async fn(t) {
    await using mariadb = await startMariadb();
    await mariadb.query(`
      create table kinds (
        id bigint unsigned primary key, d decimal(40,10), f float, g double, i int, y year, b bit(64),
        s varchar(50), e enum('a','b'), bin varbinary(4), j json, ts timestamp null, dt datetime(6), day date,
        tm time, p point);
      set time_zone = '+02:00';
      insert into kinds values
        (18446744073709551615, 123456789012345678901234567890.0123456789, 0.1, 1e25, -5, 2026, b'${
      "1".repeat(64)
    }',
          'ñandú 🚲', 'b', x'00ff10', '{"n": 12345678901234567890.10}', '2026-01-31 12:00:00',
          '2026-01-31 12:00:00.123456', '2026-02-28', '-12:30:00', point(1, 2)),
        (18446744073709551614, null, null, null, null, null, null, null, null, null, '12345678901234567890.10', null, null, null, null, null);
      set sql_mode = '';
      insert into kinds (id, dt) values (7, '0000-00-00');
      create table items (a int, b varchar(20), n int, changed timestamp(6) not null, primary key (a, b));
      insert into items select seq % 7, concat('k', seq), seq, '2026-01-01' + interval seq second from seq_1_to_2000;
      create table numbers (id bigint unsigned primary key);
      insert into numbers select 18446744073709500000 + seq from seq_1_to_500;
      create table keyless (a int);
      create table by_enum (e enum('z', 'b', 'm'), s set('y', 'x'), n int, primary key (e, s, n));
      insert into by_enum select 1 + seq % 3, 1 + seq % 3, seq from seq_1_to_500;
      create table by_bits (b bit(40) primary key);
      insert into by_bits select seq * 1099511 from seq_1_to_300;
      create table by_float (f float primary key);
      insert into by_float select seq / 7 from seq_1_to_300;
      create table by_null (a int, b int);
      insert into by_null values (null, 1), (1, 2);
      insert into keyless select floor(seq / 2) from seq_1_to_300;
      create table large (id int primary key, t longtext);
      insert into large select seq, repeat('x', if(seq < 200, 10, 3000000)) from seq_1_to_212;
      create view some_items as select * from items where a = 3;
    `);
    await using engine = await startEngine(t, {
      env: {
        ETL_CONNECTION_SHOP: mariadb.dsn,
        ETL_CONNECTION_GONE: "mysql://x:y@127.0.0.1:1/shop",
      },
    });
    const conf = (table: string, { key = "id", name = table, connection = "shop", ...config }: {
      key?: string | string[];
      name?: string;
      connection?: string;
      [member: string]: unknown;
    } = {}) => ({
      source: {
        type: "module",
        name,
        module: "mysql",
        key,
        connections: [connection],
        config: { table, ...config },
      },
      table_name: name,
      db_page_size: 100,
    });

    await t.step(
      "no digit, zone or byte is lost; a day that does not exist is quarantined",
      async () => {
        const run = await engine.succeed({ ...conf("kinds"), min_acceptance_ratio: 0 });
        assert.deepEqual([run.counts!.inserted, run.counts!.rejected], [2, 1]);
        const [row] = await engine.sql.unsafe(
          "select payload::text from public.kinds where event_id = '18446744073709551615'",
        );
        for (
          const part of [
            '"d": 123456789012345678901234567890.0123456789',
            '"f": 0.1',
            '"g": 10000000000000000000000000',
            '"b": 18446744073709551615',
            '"y": 2026',
            '"s": "ñandú 🚲"',
            '"bin": "AP8Q"',
            '"n": 12345678901234567890.10',
            '"ts": "2026-01-31T10:00:00Z"',
            '"dt": "2026-01-31T12:00:00.123456"',
            '"day": "2026-02-28"',
            '"tm": "-12:30:00"',
            '"coordinates": [1',
          ]
        ) assert.ok(row!.payload.includes(part), `${part} is not in ${row!.payload}`);
        const [scalar] = await engine.sql.unsafe(
          "select payload ->> 'j' as j from public.kinds where event_id = '18446744073709551614'",
        );
        assert.equal(scalar!.j, "12345678901234567890.10");
        const [wrong] = await engine.sql`
        select rule, field, message from etl.quarantine where run_id = ${run.run_id}`;
        assert.deepEqual([wrong!.rule, wrong!.field], ["zero_date", "dt"]);
      },
    );

    await t.step("pages by a key of several columns, slices side by side", async () => {
      const items = conf("items", { key: ["a", "b"], slice_rows: 450 });
      const run = await engine.succeed(items);
      assert.deepEqual([run.num_chunks, run.counts!.inserted], [5, 2000]);
      assert.equal((await engine.succeed(items)).counts!.unchanged, 2000);
      // beyond 2^63, where a comparison as double would repeat or lose rows
      const numbers = await engine.succeed(conf("numbers", { slice_rows: 120 }));
      assert.deepEqual([numbers.num_chunks, numbers.counts!.inserted], [5, 500]);
      assert.equal(numbers.counts!.records_read, 500);
    });

    await t.step("pages by keys of any type lose no row", async () => {
      for (
        const [table, key, rows] of [["by_enum", ["e", "s", "n"], 500], ["by_bits", "b", 300], [
          "by_float",
          "f",
          300,
        ]] as const
      ) {
        const run = await engine.succeed(conf(table, { key: [key].flat(), slice_rows: 130 }));
        assert.deepEqual([run.counts!.records_read, run.counts!.inserted], [rows, rows], table);
      }
      const run = await engine.runToEnd(conf("by_null", { key: "b", page_key: ["a"] }));
      assert.match(String(run.error!.detail), /by_null have no value in a, by which it is paged/);
    });

    await t.step("a mirror deletes only where rows are paged by what identifies them", async () => {
      const asked = (key: string | string[]) =>
        engine.runToEnd({
          ...conf("items", { key }),
          table_name: `mirrored_${[key].flat().join("_")}`,
          write: "mirror",
        });
      assert.equal((await asked(["a", "b"])).state, "succeeded");
      const { error } = await asked("b");
      assert.match(String(error?.detail), /paged by columns that are not part of source\.key/);
    });

    /** The source as a worker has it, without a run. */
    const opened = (config: object, pageSize: number) =>
      openTrusted("mysql", {
        config,
        since: null,
        connections: ["shop"],
        pageSize,
        maxRecordBytes: 1 << 24,
      }, {
        connections: { shop: mariadb.dsn },
        dataDir: engine.dataDir,
        signal: new AbortController().signal,
      });

    await t.step("large rows come in pages of so many bytes", async () => {
      const source = await opened({ table: "large" }, 1000);
      const { slices } = await source.plan();
      const pages: number[] = [];
      const ids: number[] = [];
      for await (const page of source.read(slices[0]!)) {
        const records = page as unknown as { id: number; t: string }[];
        ids.push(...records.map(({ id }) => id));
        pages.push(records.reduce((sum, { t }) => sum + t.length, 0));
      }
      assert.deepEqual(ids, Array.from({ length: 212 }, (_, i) => i + 1));
      assert.ok(Math.max(...pages) <= 16 * 1024 ** 2, `${pages}`);
    });

    await t.step("a key that is none loses no row: it is refused", async () => {
      const run = await engine.runToEnd(conf("keyless", { key: "a", page_key: ["a"] }));
      assert.match(
        run.error!.detail!,
        /several rows with a = .*: name columns in source.config.page_key that/,
      );
    });

    await t.step(
      "columns that change while a table is read fail its run; one that is added is the next run's",
      async () => {
        await mariadb.query(`create table altered (id int primary key, code int);
          insert into altered select seq, seq from seq_1_to_400`);
        const source = await opened({ table: "altered", slice_rows: 200 }, 100);
        const { slices } = await source.plan();
        await mariadb.query("alter table altered add later int");
        const [begun, next] = slices.map((slice) => Array.fromAsync(source.read(slice)));
        for (const record of [...await begun!, ...await next!].flat()) {
          assert.deepEqual(Object.keys(record), ["id", "code"]);
        }
        const reading = source.read(slices[0]!)[Symbol.asyncIterator]();
        assert.equal((await reading.next()).value.length, 100);
        await mariadb.query(
          "alter table altered modify code varchar(9); update altered set code = lpad(code, 6, '0')",
        );
        const rest = { [Symbol.asyncIterator]: () => reading };
        for (const unread of [rest, source.read(slices[1]!)]) {
          await assert.rejects(Array.fromAsync(unread), {
            type: "source-changed",
            message: /^altered of connection "shop" has other columns/,
          });
        }
      },
    );

    await t.step("only what is newer, with a cursor", async () => {
      const newer = conf("items", { name: "newer", key: ["a", "b"], cursor: "changed" });
      await engine.succeed(newer);
      await mariadb.query(
        "update items set n = -1, changed = '2026-03-01 00:00:00.5' where b = 'k3'",
      );
      const run = await engine.succeed(newer);
      assert.deepEqual([run.counts!.records_read, run.counts!.updated], [2, 1]);
      for (
        const [table, first, later] of [
          ["counted", "'9'), (2, '99'", "'8'), (4, '100'"],
          [
            "timed",
            "'2026-01-01'), (2, '2026-01-02T09:00:00Z'",
            "'2026-01-02 08:00:00'), (4, '2026-01-02 10:00:00'",
          ],
        ] as const
      ) {
        await mariadb.query(`create table ${table} (id int primary key, v varchar(40))`);
        await mariadb.query(`insert into ${table} values (1, ${first})`);
        const texts = conf(table, { key: "id", cursor: "v" });
        await engine.succeed(texts);
        await mariadb.query(`insert into ${table} values (3, ${later})`);
        const { counts } = await engine.succeed(texts);
        assert.deepEqual([counts!.unchanged, counts!.inserted], [1, 1], table);
      }
      // equal values at the border, also of a float, which no short decimal number is; rows without a value, in every run
      await mariadb.query(
        "create table singles (id int primary key, v float); insert into singles values (1, 9.9)",
      );
      const singles = conf("singles", { key: "id", cursor: "v" });
      await engine.succeed(singles);
      await mariadb.query("insert into singles values (2, 9.9), (3, null)");
      const { counts: border } = await engine.succeed(singles);
      assert.deepEqual([border!.unchanged, border!.inserted], [1, 2]);
      // what changes while the table is read is the next run's
      await mariadb.query(
        "create table moving (id int primary key, v int); insert into moving values (1, 1), (2, 2)",
      );
      const moving = conf("moving", { key: "id", cursor: "v", slice_rows: 1 });
      const { run_id } = await engine.submit(moving);
      const workers = beforeTasks(engine.deps.workers, async (kind) => {
        if (kind === "prepare") await mariadb.query("update moving set v = 9 where id = 2");
      });
      await engine.execute(run_id, { workers });
      await mariadb.query("update moving set v = 8 where id = 1");
      const { counts: moved } = await engine.succeed(moving);
      assert.deepEqual([moved!.updated, moved!.unchanged], [1, 1]);
      await mariadb.query("create table bytes (id int primary key, v binary(4))");
      const bytes = await engine.runToEnd(conf("bytes", { key: "id", cursor: "v" }));
      assert.match(String(bytes.error?.detail), /Column v is of type binary, whose values do not/);
      const misspelt = await engine.runToEnd(conf("items", { key: ["a", "b"], cursor: "nosuch" }));
      assert.match(String(misspelt.error?.detail), /no column nosuch/);
    });

    await t.step(
      "a typed table has the types of the catalogue, whatever the values are",
      async () => {
        const [bare] = [
          `id int primary key, price decimal(8,2), code varchar(20), big bigint unsigned, flag tinyint(1),
        d double, day date, at datetime(6), doc json, kind enum('1','2'), none int`,
        ];
        await mariadb.query(`create table typed (${bare});
        insert into typed values (1, 5, '2026-01-01', 7, 1, 2, '2026-01-01', '2026-01-01 10:00:00', '"x"', '1', null)`);
        const run = await engine.succeed({ ...conf("typed"), layout: "typed" });
        assert.equal(run.counts!.inserted, 1, JSON.stringify(run));
        const columns = await engine.sql<{ column: string }[]>`
        select attname || ' ' || format_type(atttypid, atttypmod) as column from pg_attribute
        where attrelid = to_regclass('typed') and attnum > 0 and attname not like '\\_etl%' order by attnum`;
        assert.deepEqual(columns.map(({ column }) => column), [
          "id bigint",
          "price numeric(8,2)",
          "code text",
          "big numeric(20,0)",
          "flag bigint",
          "d numeric",
          "day date",
          "at timestamp with time zone",
          "doc jsonb",
          "kind text",
          "none bigint",
        ]);
      },
    );

    await t.step("bytes are bytes in bytea, and a time is a time or an interval", async () => {
      await mariadb.query(`create table bodies (id int primary key, b varbinary(9), t time, d time);
        insert into bodies values (1, x'00ff', '12:00:00', '-838:59:59'), (2, null, '25:00:00', null)`);
      await engine.sql.unsafe(
        "create table public.bodies (id bigint primary key, b bytea, t time, d interval)",
      );
      const run = await engine.succeed({
        ...conf("bodies"),
        layout: "typed",
        add_columns: true,
        min_acceptance_ratio: 0,
      });
      assert.deepEqual([run.counts!.inserted, run.counts!.rejected], [1, 1]);
      const [row] = await engine
        .sql`select b::text as b, t::text as t, d::text as d from public.bodies`;
      assert.deepEqual({ ...row }, { b: "\\x00ff", t: "12:00:00", d: "-838:59:59" });
    });

    await t.step("what cannot be read says what to do", async () => {
      const refused = async (given: object) => {
        const run = await engine.runToEnd({ ...given, db_max_retries: 1 });
        assert.equal(run.state, "failed");
        return String(run.error!.detail);
      };
      assert.match(await refused(conf("keyless")), /no primary key.*page_key/);
      assert.match(await refused(conf("missing")), /no table missing/);
      assert.match(
        await refused(conf("keyless", { key: "a", page_key: ["none"] })),
        /keyless.* no column none/,
      );
      assert.match(
        await refused(conf("items", { connection: "nowhere" })),
        /ETL_CONNECTION_NOWHERE/,
      );
      const view = await engine.succeed(
        conf("some_items", { key: ["a", "b"], page_key: ["a", "b"] }),
      );
      assert.equal(view.counts!.inserted, 286);
    });
  },
});
