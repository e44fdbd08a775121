import assert from "node:assert/strict";
import { runCli, runOnTerminal } from "../helpers/cli.ts";
import { mariadbIsInstalled, startMariadb } from "../helpers/mariadb.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { startServer } from "../helpers/server.ts";
import { EXIT } from "../../scripts/cli/exit_codes.ts";
import { query, withClient } from "../helpers/query.ts";

/** Statements of a shop: 20 tables that refer to each other, with every type that matters. */
const SHOP = `
  create table countries (code char(2) primary key, name varchar(80) not null, eu tinyint(1) not null);
  create table currencies (code char(3) primary key, digits tinyint unsigned not null);
  create table regions (country char(2), region varchar(20), tax decimal(5,3), primary key (country, region),
    foreign key (country) references countries (code));
  create table customers (id bigint unsigned primary key, country char(2), region varchar(20), email varchar(200) unique not null,
    born date, score double, prefs json, note text, created timestamp(6) not null default current_timestamp(6),
    foreign key (country, region) references regions (country, region));
  create table addresses (customer bigint unsigned, no int, street varchar(200), primary key (customer, no),
    foreign key (customer) references customers (id));
  create table suppliers (id int primary key, country char(2), foreign key (country) references countries (code));
  create table categories (id int primary key, parent int, name varchar(100), foreign key (parent) references categories (id));
  create table products (sku varchar(30) primary key, category int, supplier int, price decimal(12,4) not null, weight float,
    kind enum('thing','service') not null, added datetime(6), picture varbinary(20), made year,
    foreign key (category) references categories (id), foreign key (supplier) references suppliers (id));
  create table prices (sku varchar(30), currency char(3), since date, amount decimal(30,10), primary key (sku, currency, since),
    foreign key (sku) references products (sku), foreign key (currency) references currencies (code));
  create table warehouses (id smallint primary key, country char(2), foreign key (country) references countries (code));
  create table stock (warehouse smallint, sku varchar(30), amount int, primary key (warehouse, sku),
    foreign key (warehouse) references warehouses (id), foreign key (sku) references products (sku));
  create table carts (id binary(8) primary key, customer bigint unsigned, foreign key (customer) references customers (id));
  create table orders (id bigint primary key, customer bigint unsigned, currency char(3), placed timestamp null, total decimal(14,2),
    flags set('gift','express'), foreign key (customer) references customers (id), foreign key (currency) references currencies (code));
  create table order_lines (order_id bigint, line int, sku varchar(30), amount int not null, price decimal(12,4),
    primary key (order_id, line), foreign key (order_id) references orders (id), foreign key (sku) references products (sku));
  create table payments (id int primary key, order_id bigint, amount decimal(14,2), paid datetime, foreign key (order_id) references orders (id));
  create table shipments (id int primary key, order_id bigint, warehouse smallint, sent time,
    foreign key (order_id) references orders (id), foreign key (warehouse) references warehouses (id));
  create table refunds (id int primary key, payment int, amount decimal(14,2), foreign key (payment) references payments (id));
  create table reviews (customer bigint unsigned, sku varchar(30), stars tinyint, text mediumtext, primary key (customer, sku),
    foreign key (customer) references customers (id), foreign key (sku) references products (sku));
  create table coupons (code varchar(20) not null unique, percent decimal(4,1), uses bit(40));
  create table newsletters (id int primary key, subject varchar(100));
  create table clicks (at datetime, url text);
  insert into countries values ('ES', 'España', 1), ('CH', 'Schweiz', 0), ('PT', '', 1);
  insert into currencies values ('EUR', 2), ('CHF', 2);
  insert into regions values ('ES', 'Norte', 21.000), ('CH', 'Zürich', 8.1);
  insert into customers (id, country, region, email, born, score, prefs, note, created)
    select 18446744073709550000 + seq, if(seq % 2, 'ES', 'CH'), if(seq % 2, 'Norte', 'Zürich'), concat('c', seq, '@example.com'),
      date '1970-01-01' + interval seq day, seq / 7, json_object('n', seq, 'text', concat('"', seq)), if(seq % 3, concat('000', seq), ''),
      timestamp '2026-01-01 00:00:00.000001' + interval seq hour from seq_1_to_200;
  insert into addresses select 18446744073709550000 + seq, 1, 'Straße 1\\\\\\n2' from seq_1_to_200;
  insert into suppliers values (1, 'ES'), (2, 'CH');
  insert into categories values (1, null, 'all'), (2, 1, 'some');
  insert into products select concat('sku-', seq), 1 + seq % 2, 1 + seq % 2, seq / 8, seq / 10, if(seq % 2, 'thing', 'service'),
    '2026-01-31 23:59:59.999999', unhex(md5(seq)), 2000 + seq % 20 from seq_1_to_100;
  insert into prices select concat('sku-', seq), 'EUR', '2026-01-01', 12345678901234567890.0123456789 from seq_1_to_100;
  insert into warehouses values (1, 'ES'), (-2, 'PT');
  insert into stock select -2, concat('sku-', seq), seq from seq_1_to_100;
  insert into carts select unhex(left(md5(seq), 16)), 18446744073709550000 + seq from seq_1_to_200;
  insert into orders select cast(seq as signed) - 500, 18446744073709550000 + 1 + seq % 200, 'EUR', '2026-03-29 02:30:00', seq / 3, 'gift,express' from seq_1_to_1000;
  insert into order_lines select cast(seq as signed) - 500, n, concat('sku-', 1 + (seq + n) % 100), n, 1.5 from seq_1_to_1000 join (select 1 as n union select 2) as l;
  insert into payments select seq, cast(seq as signed) - 500, seq / 3, '2026-01-01 10:00:00' from seq_1_to_300;
  insert into shipments select seq, cast(seq as signed) - 500, 1, '25:00:01' from seq_1_to_300;
  insert into refunds select seq, seq, 0.01 from seq_1_to_50;
  insert into reviews select 18446744073709550000 + seq, 'sku-1', seq % 6, 'ñandú 🚲' from seq_1_to_100;
  insert into coupons values ('a', 10.5, b'1'), ('b', null, 1 << 39);
  insert into clicks values (now(), 'x');
`;

/** What happens to the shop meanwhile: new, changed and wider things. */
const CHANGES = `
  update products set price = price + 1 where sku like 'sku-1%';
  update customers set prefs = json_set(prefs, '$.n', 0), note = null where id % 10 = 0;
  insert into countries values ('FR', 'France', 1);
  insert into orders select 1000 + seq, 18446744073709550001, 'CHF', null, 0.01, '' from seq_1_to_10;
  alter table orders add column channel varchar(20);
  update orders set channel = 'web' where id > 400;
  alter table stock modify amount decimal(20,5);
  update stock set amount = amount + 0.12345 where sku = 'sku-7';
  create table visits (id int primary key, page varchar(50));
  insert into visits values (1, 'home');
  drop table newsletters;
  delete from refunds where id > 45;
  delete from stock where sku = 'sku-9';
  delete from carts where customer = 18446744073709550007;
`;

/** Statements of another PostgreSQL: names and types of all kinds. */
const SALES = `
  create schema sales;
  create type sales.state as enum ('open', 'closed');
  create domain sales.cents as numeric(9, 2);
  create domain sales.money_of_some as sales.cents check (value >= 0);
  create table sales."Odd.Names" ("Key One" uuid, "Key.Two" timestamptz, "Größe" numeric, primary key ("Key One", "Key.Two"));
  create table sales.kinds (id bigint generated always as identity primary key, small int2, big numeric(38, 10), any_number numeric,
    single float4, flag boolean, day date, at timestamptz, local timestamp, span interval, who inet, state sales.state,
    tags text[], amounts numeric(10,2)[], doc jsonb, scalar jsonb, bytes bytea, price sales.money_of_some, code varchar(20), padded char(5));
  create table sales.parts (day date not null, n int not null, primary key (day, n)) partition by range (day);
  create table sales.parts_old partition of sales.parts for values from ('2020-01-01') to ('2026-01-01');
  create table sales.parts_new partition of sales.parts for values from ('2026-01-01') to ('2030-01-01');
  create table sales.by_mail (mail text not null, note text);
  create unique index on sales.by_mail (mail) include (note);
  create table sales.log (line text, at timestamptz);
  create table sales.empty (id int primary key, what text, amount numeric(8,3));
  create view sales.some as select * from sales.kinds;
  insert into sales."Odd.Names" select gen_random_uuid(), now() + n * interval '1 microsecond', n / 3.0 from generate_series(1, 50) as n;
  insert into sales.kinds (small, big, any_number, single, flag, day, at, local, span, who, state, tags, amounts, doc, scalar, bytes, price, code, padded)
    select n, 12345678901234567890.0123456789 + n, 1.50, 0.1, n % 2 = 0, '0001-01-01', '2026-03-29 01:30:00.123456+01', '2026-03-29 02:30:00',
      interval '1 month 2 days 3 seconds', '10.0.0.1/8', 'open', array['a', null, ''], array[1.25, 2], '{"b": 12345678901234567890.10, "a": [""]}',
      to_jsonb('007'::text), '\\x00ff', 7.00, '', 'ab' from generate_series(1, 500) as n;
  insert into sales.parts select date '2024-01-01' + n, n from generate_series(1, 1200) as n;
  insert into sales.by_mail select n || '@x', null from generate_series(1, 20) as n;
`;

type Rows = Record<string, string | null>[];

/** A number, time or JSON in the one form in which both sides are compared. */
function normal(text: string | null): string | null {
  if (text === null) return null;
  if (/^[[{"]/.test(text)) return JSON.stringify(sorted(JSON.parse(text)));
  if (/^-?\d+\.\d+$/.test(text)) return text.replace(/\.?0+$/, "");
  if (/^\d{4}-\d\d-\d\d[ T]\d/.test(text)) {
    const plain = text.replace("T", " ").replace(/(\+00|Z)$/, "");
    return plain.includes(".") ? plain.replace(/\.?0+$/, "") : plain;
  }
  return text;
}

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(sorted);
  return Object.fromEntries(
    Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([k, v]) => [k, sorted(v)]),
  );
}

const inOrder = (rows: Rows) => rows.map((row) => JSON.stringify(row)).sort();

Deno.test({
  name:
    "etl replicate: a MariaDB of 20 tables and a PostgreSQL schema arrive typed, and again when they have changed",
  ignore: !await mariadbIsInstalled(),
  async fn(t) {
    await using mariadb = await startMariadb();
    await mariadb.query(`set time_zone = '+00:00'; ${SHOP}`);
    await using db = await testDatabase(t);
    await using source = await testDatabase({ name: "source" }, { setUp: false });
    await using server = await startServer({
      dsn: db.dsn,
      env: { ETL_CONNECTION_SHOP: mariadb.dsn, ETL_CONNECTION_CRM: source.dsn, ETL_WORKERS: "2" },
    });
    const etl = async (...args: string[]) => {
      const result = await runCli(["replicate", ...args], { env: { ETL_SERVER: server.address } });
      return { ...result, said: `${result.out}\n${result.err}` };
    };
    const inUtc = <R extends object>(dsn: string, text: string) =>
      withClient(dsn, async (client) => {
        await client.query("set timezone = 'UTC'; set search_path = shop, public");
        return (await client.query<R>(text)).rows;
      });
    const sql = <R extends object = Record<string, string>>(text: string) => inUtc<R>(db.dsn, text);

    /** Rows of a table of the shop, each value as the database itself writes it. */
    const rowsThere = async (table: string): Promise<[string[], Rows]> => {
      const [columns] = await mariadb.query(
        "select column_name as name, data_type as type from information_schema.columns where table_schema = 'shop' and table_name = ? order by 1",
        [table],
      ) as unknown as [{ name: string; type: string }[]];
      const list = columns.map(({ name, type }) =>
        `${
          type === "bit"
            ? `cast(\`${name}\` as unsigned)`
            : type.includes("binary")
            ? `to_base64(\`${name}\`)`
            : type === "float"
            ? `cast(\`${name}\` as double)`
            : `cast(\`${name}\` as char)`
        } as \`${name}\``
      );
      const [rows] = await mariadb.query(
        `select ${list.join(", ")} from shop.\`${table}\``,
      ) as unknown as [Record<string, unknown>[]];
      const single = new Set(
        columns.filter(({ type }) => type === "float").map(({ name }) => name),
      );
      return [
        columns.map(({ name }) => name),
        rows.map((row) =>
          Object.fromEntries(
            Object.entries(row).map(([name, value]) => [
              name,
              value === null ? null : normal(
                single.has(name) ? String(Number(Number(value).toPrecision(7))) : String(value),
              ),
            ]),
          )
        ),
      ];
    };
    const equal = async () => {
      const [tables] = await mariadb.query(
        "select table_name as name from information_schema.tables where table_schema = 'shop' and table_name <> 'clicks' order by 1",
      ) as unknown as [{ name: string }[]];
      for (const { name } of tables) {
        const [columns, expected] = await rowsThere(name);
        const list = columns.map((column) => `"${column}"::text as "${column}"`).join(", ");
        const rows = (await sql<Rows[number]>(`select ${list} from shop.${name}`)).map((row) =>
          Object.fromEntries(Object.entries(row).map(([key, value]) => [key, normal(value)]))
        );
        assert.ok(rows.length > 0 || name === "newsletters", name);
        assert.deepEqual(inOrder(rows), inOrder(expected), name);
      }
      return tables.length;
    };
    const SHOPPING = ["shop", "shop.*", "--to", "shop", "--typed", "--mirror"];

    await t.step("a dry run makes nothing and shows what each table would become", async () => {
      const { code, out } = await etl(...SHOPPING, "--dry-run");
      assert.equal(code, 0);
      assert.match(
        out,
        /shop\.order_lines +shop\.order_lines +order_id, line +5 +~\S+ +mirror +new/,
      );
      assert.match(out, /shop\.coupons +shop\.coupons +code /);
      assert.match(out, /shop\.clicks .* none .*refused: it has no primary key/);
      const [made] = await sql<{ n: number }>("select count(*)::int as n from etl.configurations");
      assert.equal(made!.n, 0);
    });

    await t.step(
      "every table arrives as it is, and the exit code says how many did not",
      async () => {
        const { code, said } = await etl(...SHOPPING);
        assert.equal(code, 11, said);
        assert.match(said, /shop\.clicks: it has no primary key/);
        assert.match(said, /20 tables replicated, 1 not/);
        assert.equal(await equal(), 20);
        const types = await sql<{ name: string; type: string }>(
          `select attrelid::regclass || '.' || attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
         where attrelid in ('shop.customers'::regclass, 'shop.prices'::regclass) and attnum > 0 and attname !~ '^_etl'`,
        );
        const typeOf = Object.fromEntries(types.map(({ name, type }) => [name, type]));
        assert.equal(typeOf["customers.id"], "numeric(20,0)");
        assert.equal(typeOf["customers.note"], "text");
        assert.equal(typeOf["customers.prefs"], "jsonb");
        assert.equal(typeOf["customers.created"], "timestamp with time zone");
        assert.equal(typeOf["prices.amount"], "numeric(30,10)");
      },
    );

    await t.step("what has changed there changes here: rows, columns, types, tables", async () => {
      await sql(
        "update etl.configurations set conf = conf || '{\"priority\": 3}', updated_at = '2026-01-01' where name in ('shop.orders', 'shop.carts')",
      );
      await mariadb.query(`set time_zone = '+00:00'; ${CHANGES}`);
      const { code, said } = await etl(...SHOPPING, "--except", "shop.clicks");
      assert.equal(code, 0, said);
      // what is the same is left alone, and so is what somebody has set besides
      assert.deepEqual(
        await sql(
          "select name, conf ->> 'priority' as priority, updated_at = '2026-01-01' as same from etl.configurations where name in ('shop.orders', 'shop.carts') order by 1",
        ),
        [{ name: "shop.carts", priority: "3", same: true }, {
          name: "shop.orders",
          priority: "3",
          same: false,
        }],
      );
      assert.match(said, /shop\.carts +succeeded +1 deleted, 199 unchanged/);
      assert.match(said, /shop\.orders .*changed: .*column channel/);
      assert.match(said, /shop\.stock .*changed: .*column amount/);
      assert.match(said, /shop\.visits .*new/);
      assert.match(said, /shop\.countries .*same/);
      assert.match(said, /shop\.newsletters is gone: shop\.newsletters stays as it is/);
      assert.equal(await equal(), 20);
    });

    await t.step("it is one group: on a page, in its status, by the clock", async () => {
      const { said, code } = await etl(
        ...SHOPPING,
        "--except",
        "shop.clicks",
        "--schedule",
        "0 3 * * *",
      );
      assert.equal(code, 0, said);
      const schedules = () =>
        sql("select name, conf::text, cron, updated_at::text from etl.schedules order by name");
      const made = await schedules();
      assert.equal(made.length, 20);
      assert.deepEqual(JSON.parse(made[0]!.conf!), { configuration: "shop.addresses" });
      await etl(...SHOPPING, "--except", "shop.clicks", "--schedule", "0 3 * * *");
      assert.deepEqual(await schedules(), made);
      // another time changes that alone
      await sql(
        `update etl.schedules set overlap = 'queue', missed = 'all', grace_seconds = 7, description = 'ours',
        conf = conf || '{"priority": 1}'`,
      );
      await etl(...SHOPPING, "--except", "shop.clicks", "--schedule", "0 4 * * *");
      assert.deepEqual(
        await sql(
          `select distinct cron, overlap, missed, grace_seconds::text, description, conf ->> 'priority' as priority
          from etl.schedules`,
        ),
        [{
          cron: "0 4 * * *",
          overlap: "queue",
          missed: "all",
          grace_seconds: "7",
          description: "ours",
          priority: "1",
        }],
      );
      const status = await etl("--status", "--to", "shop");
      assert.equal(status.code, 0, status.said);
      assert.match(status.out, /shop\.orders +succeeded .* 1,010 /);
      assert.match(status.err, /All of shop on one page: \/etl\?q=shop%2F/);
    });

    await t.step("a PostgreSQL schema, its odd names and types too", async () => {
      await query(source.dsn, SALES);
      const { code, said } = await etl("crm", "sales.*", "--to", "sales", "--typed");
      assert.equal(code, 11, said);
      assert.match(said, /sales\.log .*refused: it has no primary key/);
      assert.doesNotMatch(said, /sales\.some|parts_old/);
      const here = (text: string) => inUtc<Record<string, unknown>>(db.dsn, text);
      const there = (text: string) => inUtc<Record<string, unknown>>(source.dsn, text);
      const kinds =
        `id, small::int8, big, any_number::float8, single, flag, day, at, span::text, who::text, state::text, to_jsonb(tags)::text as tags,
        amounts[1]::text as first, doc::text, scalar::text, price, code, padded`;
      assert.deepEqual(
        await here(
          `select ${
            kinds.replace("amounts[1]::text", "(amounts -> 0)::text")
          }, local at time zone 'UTC' as local, bytes from sales.kinds order by id`,
        ),
        await there(
          `select ${
            kinds.replace("span::text", "'P1M2DT3S' as span").replace("single", "single::numeric")
          }, local, encode(bytes, 'base64') as bytes from sales.kinds order by id`,
        ),
      );
      assert.deepEqual(
        await here('select key_one, key_two, "größe" from sales."Odd_Names" order by 1'),
        await there(
          `select "Key One"::text as key_one, "Key.Two" as key_two, trim_scale("Größe") as "größe" from sales."Odd.Names" order by 1`,
        ),
      );
      for (const table of ["parts", "by_mail"]) {
        const columns = table === "parts" ? "day::text, n::int8" : "mail, note";
        assert.deepEqual(
          await here(`select ${columns} from sales.${table} order by 1, 2`),
          await there(`select ${columns} from sales.${table} order by 1, 2`),
        );
      }
      assert.deepEqual(
        await here(
          "select format_type(atttypid, atttypmod) as type from pg_attribute where (attrelid, attname) in (('sales.empty'::regclass, 'amount'), ('sales.kinds'::regclass, 'price')) order by 1",
        ),
        [{ type: "numeric(8,3)" }, { type: "numeric(9,2)" }],
      );
    });

    await t.step(
      "--cursor: of tables that have the column only what is newer is read again",
      async () => {
        const read = async (...args: string[]) => {
          const { code, json, said } = await etl(...args, "--typed", "--json");
          assert.equal(code, 0, said);
          const { runs } = json() as unknown as {
            runs: { table: string; counts: Record<string, number> }[];
          };
          return Object.fromEntries(runs.map(({ table, counts }) => [table, counts.records_read]));
        };
        const NEWER = [
          "shop",
          "shop.customers,shop.countries",
          "--to",
          "newer",
          "--cursor",
          "created",
        ];
        const { out } = await etl(...NEWER, "--typed", "--dry-run");
        assert.match(out, /shop\.customers .* upsert +created +new/);
        assert.match(out, /shop\.countries .* upsert +all +new/);
        assert.deepEqual(await read(...NEWER), { "shop.customers": 200, "shop.countries": 4 });
        await mariadb.query(
          "insert into shop.customers (id, email, created) values (1, 'new@example.com', '2026-02-01 00:00:00')",
        );
        // the newest that was there comes again, as others may have its time
        assert.deepEqual(await read(...NEWER), { "shop.customers": 2, "shop.countries": 4 });
        const ROWS = [
          "crm",
          "sales.kinds",
          "--to",
          "ledger",
          "--cursor",
          "id",
          "--set",
          "source.lookback=0",
        ];
        assert.deepEqual(await read(...ROWS), { "sales.kinds": 500 });
        await query(source.dsn, "insert into sales.kinds (small) values (7), (8)");
        assert.deepEqual(await read(...ROWS), { "sales.kinds": 3 });
        assert.equal((await sql("select count(*)::text as n from ledger.kinds"))[0]!.n, "502");
      },
    );

    await t.step("the page of a group has its tables and no others", async () => {
      const listed = async (group: string) => {
        const page = await (await fetch(`${server.address}/etl?q=${group}%2F`)).text();
        return [...page.matchAll(/data-pipeline="([^"]+)"/g)].map(([, name]) => name!);
      };
      assert.deepEqual(await listed("newer"), ["newer/countries", "newer/customers"]);
      assert.equal((await listed("shop")).length, 21);
      // "ewer" is the end of another group's name
      assert.deepEqual(await listed("ewer"), []);
    });

    await t.step("on a terminal it asks, and does what is answered", async () => {
      const ASKED = ["replicate", "shop", "shop.countries", "--to", "asked", "--typed"];
      const asked = (typed: string) =>
        runOnTerminal([...ASKED, "--schedule", "0 3 * * *"], {
          env: { ETL_SERVER: server.address },
          typed,
        });
      const made = () => sql("select name from etl.configurations where name like 'asked.%'");
      const no = await asked("n\n");
      assert.match(no.seen, /Schedule 1 table into asked\? \[Y\/n\]/);
      assert.match(no.seen, /Nothing was changed\./);
      assert.deepEqual([no.code, await made()], [EXIT.cancelled, []], no.seen);
      const yes = await asked("\n");
      assert.deepEqual(
        [yes.code, await made()],
        [EXIT.succeeded, [{ name: "asked.countries" }]],
        yes.seen,
      );
      assert.match(yes.seen, /1 table scheduled/);
    });

    await t.step("what cannot be asked for is told before anything is made", async () => {
      const wrong = async (...args: string[]) => (await etl(...args)).err;
      assert.match(await wrong("shop", "shop.*"), /--to/);
      assert.match(await wrong("shop", "none.*", "--to", "x"), /no table called none\.\*/);
      assert.match(
        await wrong("shopp", "a.*", "--to", "x"),
        /no connection "shopp".*do you mean shop/,
      );
      assert.match(
        await wrong("shop", "a.*", "--to", "x", "--mirror", "--cursor", "y"),
        /--mirror compares whole tables/,
      );
    });
  },
});
