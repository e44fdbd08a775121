import assert from "node:assert/strict";
import pg from "pg";
import { testDatabase } from "../helpers/postgres.ts";
import { SourceFolder } from "../helpers/sources.ts";
import { random } from "../helpers/random.ts";
import { madeAlike } from "../helpers/spills.ts";

/** Types of columns, with values that are plain and some that are not. */
const COLUMNS: Record<string, { plain: string[]; odd: string[] }> = {
  text: {
    plain: ["a", "con ñ", "日本語", "", " padded ", "17", "true"],
    odd: ['"', "\\", "\t", "\n", "a\u0001b", "\u007f", "🎉", "\\N", "\u2028", "x".repeat(3_000)],
  },
  "varchar(20)": { plain: ["a", "b c"], odd: ["\r\n", "\\."] },
  "char(5)": { plain: ["a", "abc"], odd: ["a\t"] },
  int2: { plain: ["0", "-7", "32767"], odd: ["-32768"] },
  int4: { plain: ["1", "2147483647"], odd: ["-2147483648"] },
  int8: {
    plain: ["12", "-3", "123456789012345"],
    odd: ["9007199254740993", "9007199254740991", "-9223372036854775808"],
  },
  numeric: {
    plain: ["1.5", "19.90", "100", "0.00", "-2.50"],
    odd: [
      "NaN",
      "Infinity",
      "1e30",
      "0.0000001",
      "12345678901234567.890",
      "0.30000000000000004",
      "1e-20",
    ],
  },
  "numeric(10,2)": { plain: ["1.50", "19.90", "0.05"], odd: ["99999999.99", "-0.01"] },
  float4: { plain: ["1.5", "0.25"], odd: ["NaN", "1e30", "3.4e38", "-0", "0.1"] },
  float8: {
    plain: ["1.5", "0.1", "123456.789"],
    odd: [
      "Infinity",
      "-0",
      "1e21",
      "1e-7",
      "0.30000000000000004",
      "5e-324",
      "1.7976931348623157e308",
    ],
  },
  boolean: { plain: ["true", "false"], odd: [] },
  date: { plain: ["2026-01-31", "1999-12-31"], odd: ["infinity", "0044-03-15 BC", "12026-01-01"] },
  timestamp: {
    plain: ["2026-01-31 10:20:30", "2026-01-31 10:20:30.5"],
    odd: ["infinity", "0044-03-15 12:00:00 BC", "12026-01-01 00:00:00"],
  },
  timestamptz: {
    plain: ["2026-01-31 10:20:30+02", "2026-01-31 10:20:30.123456Z"],
    odd: [
      "-infinity",
      "0044-03-15 12:00:00+00 BC",
      "12026-01-01 00:00:00+00",
      "0001-01-01 00:00:00+00",
    ],
  },
  uuid: { plain: ["0198c0de-0000-7000-8000-000000000001"], odd: [] },
  time: { plain: ["10:20:30"], odd: ["24:00:00"] },
  interval: { plain: ["1 day", "-3 hours"], odd: [] },
  inet: { plain: ["10.0.0.1"], odd: ["::1"] },
  bytea: { plain: ["\\x00ff"], odd: [] },
  jsonb: { plain: ['{"a": 1}', "null", "12"], odd: ['{"b": "x\\ny"}'] },
  json: { plain: ['{"a": 1, "a": 2}'], odd: [] },
  "int4[]": { plain: ["{1,2}"], odd: [] },
};

Deno.test("a flat row of PostgreSQL becomes the row that any record becomes", async (t) => {
  await using database = await testDatabase(t, { setUp: false });
  const client = new pg.Client({ connectionString: database.dsn });
  await client.connect();
  await using _end = { [Symbol.asyncDispose]: () => client.end() };
  let flat = 0;
  let all = 0;
  for (let seed = 1; seed <= Number(Deno.env.get("FLAT_SEEDS") ?? 40); seed++) {
    const pick = random(seed);
    const one = <T>(values: T[]): T => values[pick(values.length)]!;
    const types = Array.from({ length: 1 + pick(6) }, () => {
      // types whose values have to be read leave no row flat
      const type = one(Object.keys(COLUMNS));
      return ["bytea", "jsonb", "json", "int4[]"].includes(type) && pick(4) > 0 ? "text" : type;
    });
    const rows = 1 + pick(80);
    const oddness = one([0, 200, 15]);
    const names = types.map((_, i) => one([`c${i}`, `c${i}`, `c${i}`, `Ñ ${i}`, `q"${i}`]));
    const key = one(["id", "id", "code"]);
    const quoted = (name: string) => pg.escapeIdentifier(name);
    await client.query(`drop table if exists items; create table items (
      ${key === "code" ? names.map((name, i) => `${quoted(name)} ${types[i]}`).join(",") + "," : ""}
      id bigint, code text collate "C", kind text, at timestamptz${
      key === "code" ? "" : "," + names.map((name, i) => `${quoted(name)} ${types[i]}`).join(",")
    }, primary key (${key}))`);
    const cells = Array.from({ length: rows }, (_, i) => [
      i * 3 - 20,
      `k${i}`.padStart(5, "0") + (pick(60) === 0 ? one(["|", '"', "ñ"]) : ""),
      oddness > 0 && pick(oddness) === 0 ? one([null, " ", ""]) : one(["sale", "refund"]),
      oddness > 0 && pick(oddness) === 0 ? null : "2026-01-31 10:20:30+02",
      ...types.map((type) => {
        if (pick(9) === 0) return null;
        const { plain, odd } = COLUMNS[type]!;
        return oddness > 0 && odd.length > 0 && pick(oddness) === 0 ? one(odd) : one(plain);
      }),
    ]);
    const into = ["id", "code", "kind", "at", ...names];
    const list = cells.map((row) =>
      `(${row.map((cell) => cell === null ? "null" : pg.escapeLiteral(`${cell}`)).join(",")})`
    );
    await client.query(
      `insert into items (${into.map(quoted).join(",")}) values ${list.join(",")}`,
    );
    await using folder = await SourceFolder.create({
      connections: { shop: database.dsn },
      pageSize: one([1, 100]),
    });
    await Deno.mkdir(folder.ctx.spoolDir, { recursive: true });
    const source = {
      type: "postgres",
      connection: "shop",
      table: "items",
      ...one([
        { key, event_type: { field: "kind" }, occurred_at: "at" },
        { key, occurred_at: "at", version: "id" },
        { key: ["code", "kind"], event_type: "item" },
        { event_type: { field: "id" } },
        { key, cursor: "at" },
        { key: "code", cursor: "id" },
      ]),
    };
    const columns = pick(2) === 0 || !("key" in source) ? undefined : Object.fromEntries(
      into.map((name) => [name, columnType(name, types[names.indexOf(name)], pick)]),
    );
    all += rows;
    flat += await madeAlike({ source, ctx: folder.ctx, columns }, `${seed}: ${types}`);
  }
  assert.ok(flat > all / 4, `${flat} of ${all}`);
});

/** A column's type, a value, and whether its row need not be parsed. */
const VALUES: [type: string, value: string | null, isFlat: boolean][] = [
  ["text", "con ñ 日本語 🎉 \u007f", true],
  ["text", "", true],
  ["text", null, true],
  ["text", 'a"b', false],
  ["text", "a\\b", false],
  ["text", "a\nb", false],
  ["text", "a\u0001b", false],
  ["int8", "-12", true],
  ["int8", "9007199254740991", true],
  ["int8", "9007199254740993", false],
  ["numeric", "19.90", true],
  ["numeric", "NaN", false],
  ["float8", "0.1", true],
  ["float8", "0.30000000000000004", true],
  ["float8", "1e30", false],
  ["float8", "-0", true],
  ["float4", "Infinity", false],
  ["boolean", "t", true],
  ["boolean", "f", true],
  ["date", "2026-01-31", true],
  ["timestamp", "2026-01-31 10:20:30", true],
  ["timestamp", "2026-01-31 10:20:30.123456", true],
  ["timestamp", "infinity", false],
  ["timestamp", "12026-01-31 10:20:30", false],
  ["timestamptz", "2026-01-31 10:20:30Z", true],
  ["timestamptz", "2026-01-31 10:20:30.5Z", true],
  ["timestamptz", "0044-03-15 10:20:30Z BC", false],
  ["uuid", "0198c0de-0000-7000-8000-000000000001", true],
  ["bytea", "\\x00", false],
  ["jsonb", "{}", false],
  ["jsonb", null, true],
  ["int4[]", "{}", false],
];

Deno.test("a row of PostgreSQL is parsed only if it has to be", async (t) => {
  await using database = await testDatabase(t, { setUp: false });
  const client = new pg.Client({ connectionString: database.dsn });
  await client.connect();
  await using _end = { [Symbol.asyncDispose]: () => client.end() };
  await using folder = await SourceFolder.create({ connections: { shop: database.dsn } });
  await Deno.mkdir(folder.ctx.spoolDir, { recursive: true });
  const flatOf = (key: string) =>
    madeAlike({
      source: { type: "postgres", connection: "shop", table: "items", key },
      ctx: folder.ctx,
    }, "");
  for (const [type, value, isFlat] of VALUES) {
    // columns behind it are found, too
    await client.query(
      `drop table if exists items; create table items (id int primary key, v ${type}, w text);
       insert into items values (1, ${value === null ? "null" : pg.escapeLiteral(value)}, 'w')`,
    );
    assert.equal(await flatOf("id"), isFlat ? 1 : 0, `${type} ${value}`);
  }
  // a key that is no column as it is read, and a column whose name JSON writes otherwise
  await client.query(
    `drop table items; create table items (code bytea primary key, n int);
     insert into items values ('\\x00', 1)`,
  );
  assert.equal(await flatOf("n"), 0);
  await client.query(
    `drop table items; create table items (id int primary key, "a""b" int); insert into items values (1, 2)`,
  );
  assert.equal(await flatOf("id"), 0);
  // whatever is in their way, rows that are flat are read so
  await client.query(
    `drop table items; create table items (id int primary key, v text);
     insert into items select i, case when i in (500, 2100) then 'a"b' else 'x' end from generate_series(1, 3000) as i`,
  );
  assert.equal(await flatOf("id"), 2_998);
  await client.query(
    `drop table items; create table items (id int primary key, v text);
     insert into items select i, repeat('x', case i when 7 then 3000000 else 300000 end) from generate_series(1, 20) as i`,
  );
  assert.equal(await flatOf("id"), 18);
});

/** The type of a typed table's column for one of PostgreSQL, now and then another one. */
function columnType(
  name: string,
  type: string | undefined,
  pick: (limit: number) => number,
): string {
  const given = type ?? { id: "int8", at: "timestamptz" }[name] ?? "text";
  if (pick(15) === 0 && type !== undefined) return ["text", "numeric", "integer"][pick(3)]!;
  const types: Record<string, string> = {
    int2: "integer",
    int4: "integer",
    int8: "integer",
    numeric: "numeric",
    "numeric(10,2)": "numeric(10,2)",
    float4: "numeric",
    float8: "numeric",
    boolean: "boolean",
    date: "date",
    timestamptz: "timestamptz",
    jsonb: "jsonb",
    json: "jsonb",
    "int4[]": "jsonb",
  };
  return types[given] ?? "text";
}
