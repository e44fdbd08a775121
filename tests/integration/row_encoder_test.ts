import assert from "node:assert/strict";
import fc from "fast-check";
import type { Event } from "../../pipeline/event.ts";
import { RowEncoder } from "../../pipeline/spill/row_encoder.ts";
import { COPY_HEADER, COPY_TRAILER } from "../../store/copy.ts";
import { ROW_COLUMNS } from "../../store/row_layout.ts";
import { copyIn } from "../../store/copy.ts";
import { connect } from "../../store/pg.ts";
import { testDatabase } from "../helpers/postgres.ts";

const RUN_ID = "0192f0c0-1234-7abc-8def-0123456789ab";

const time = fc.tuple(
  fc.date({ min: new Date("0001-01-01"), max: new Date("9999-12-31"), noInvalidDate: true }),
  fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 999_999 })),
).map(([date, micros]) => {
  const digits = `${micros}`.padStart(6, "0").replace(/0+$/, "");
  return date.toISOString().slice(0, 19) + (digits === "" ? "Z" : `.${digits}Z`);
});

const decimal = fc.oneof(
  fc.integer().map(String),
  fc.bigInt({ min: -(10n ** 60n), max: 10n ** 60n }).map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => `${value}`),
  fc.tuple(fc.bigInt({ min: 0n, max: 10n ** 30n }), fc.integer({ min: 0, max: 30 }), fc.boolean())
    .map(([digits, zeros, minus]) => `${minus ? "-" : ""}${digits}.${"0".repeat(zeros)}${digits}`),
);

/** Numbers of a few digits, which are written in a way of their own: zeros, signs, groups that are 0, every place of the point. */
const short = fc.tuple(
  fc.boolean(),
  fc.oneof(
    fc.constantFrom(0, 1, 9, 9_999, 10_000, 1e8, 99_999_999, 999_999_999_999, 1e12),
    fc.nat(),
  ),
  fc.integer({ min: 0, max: 6 }),
  fc.oneof(fc.constant(0), fc.nat({ max: 99_999 })),
).map(([minus, whole, places, fraction]) =>
  `${minus ? "-" : ""}${whole}${places === 0 ? "" : `.${`${fraction}`.padStart(places, "0")}`}`
);

const whole = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.integer().map(BigInt),
  fc.constantFrom(0n, -1n, 2n ** 32n, -(2n ** 32n), 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)),
).map(String);

const day = fc.date({
  min: new Date("0001-01-01"),
  max: new Date("9999-12-31"),
  noInvalidDate: true,
}).map((date) => date.toISOString().slice(0, 10));

// what validate lets through: no NUL, no halves of surrogate pairs
const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 200 })
  .filter((value) => !value.includes("\u0000") && value.isWellFormed());

const event: fc.Arbitrary<Event> = fc.record({
  eventId: text,
  eventType: text,
  occurredAt: fc.option(time),
  version: fc.option(decimal),
  text: fc.dictionary(text, fc.oneof(text, fc.integer(), fc.boolean()), { maxKeys: 5 })
    .map((value) => JSON.stringify(value)),
  fingerprint: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => bytes.toHex()),
}).map((given) => ({ position: 0, output: 0, payload: {}, raw: null, ...given }));

Deno.test("RowEncoder: PostgreSQL reads each value as it was", async (t) => {
  await using database = await testDatabase(t, { setUp: false });
  const client = await connect(database.dsn);
  try {
    await client.query("set timezone = 'UTC'");
    await client.query(
      `create temp table got (no serial, event_id text, event_type text, occurred_at timestamptz, source text,
        version numeric, payload jsonb, fingerprint bytea, event_date date, event_hour smallint, run_id uuid)`,
    );
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 50 }), async (events) => {
        const encoder = new RowEncoder({ sourceName: "tienda ñ", runId: RUN_ID });
        for (const each of events) encoder.append(each);
        await client.query("truncate got restart identity");
        const stored = await copyIn(
          client,
          `copy got (${ROW_COLUMNS.join(", ")}) from stdin (format binary)`,
          [COPY_HEADER, encoder.take().slice(), COPY_TRAILER],
        );
        assert.equal(stored, events.length);
        const { rows } = await client.query<{ wrong: unknown }>(
          `select to_jsonb(got) as wrong from got
          join jsonb_to_recordset($1::jsonb) as e ("eventId" text, "eventType" text,
            "occurredAt" timestamptz, version text, text text, fingerprint text, n bigint) on n = no
          where row(event_id, event_type, occurred_at, source, got.version, got.payload, encode(got.fingerprint, 'hex'),
              event_date, event_hour, run_id)
            is distinct from row(e."eventId", e."eventType", e."occurredAt", 'tienda ñ', e.version::numeric,
              e.text::jsonb, e.fingerprint, ("occurredAt" at time zone 'UTC')::date,
              extract(hour from "occurredAt" at time zone 'UTC')::smallint, $2::uuid)`,
          [JSON.stringify(events.map((given, i) => ({ ...given, n: i + 1 }))), RUN_ID],
        );
        assert.deepEqual(rows, []);
      }),
      { numRuns: 60 },
    );
  } finally {
    await client.end();
  }
});

/** Values of each type of a typed table, as its rows have them. */
const cells = fc.record({
  t: fc.oneof(
    text,
    fc.constant(""),
    fc.constant("é".repeat(100)),
    fc.constant("字".repeat(65)),
    fc.constant("字".repeat(23_000)),
  ),
  i: whole,
  b: fc.constantFrom("true", "false"),
  d: fc.oneof(
    day,
    fc.constantFrom("infinity", "-infinity", "0044-03-15 BC", "12026-01-31", "2000-01-01"),
  ),
  z: fc.oneof(
    time,
    fc.constantFrom(
      "infinity",
      "-infinity",
      "0044-03-15 12:00:00.25+00 BC",
      "12026-01-31 00:00:00+00",
    ),
  ),
  j: fc.constantFrom("null", "[]", '{"a": "é"}', "7"),
  n: fc.oneof(short, decimal, fc.constantFrom("NaN", "Infinity", "-Infinity", "0", "-0", "0.0000")),
});

/** What stands at an edge of how numbers are written. */
const NUMBERS = [
  ...["0", "-0", "-0.000", "9999", "10000", "-100000000", "999999999999", "1000000000000"],
  ...["9999999999999", "0.0001", "0.1000", "1.00001", "100000000.0001", "1e-30", "1e30", "-12e4"],
];
const NULLS = Array<null>(6).fill(null);

Deno.test("RowEncoder: PostgreSQL has the columns of a typed table as if it had read their texts, in its own form", async (t) => {
  await using database = await testDatabase(t, { setUp: false });
  const client = await connect(database.dsn);
  const columns = Object.entries({
    ...{ t: "text", i: "integer", b: "boolean", d: "date", z: "timestamptz", j: "jsonb" },
    n: "numeric",
  }).map(([name, type]) => ({ name, path: name, type }));
  const shared = { source: "s", version: null, occurred_at: null, columns };
  try {
    await client.query("set timezone = 'UTC'");
    await client.query(
      `create temp table got (no serial, id text, t text, i bigint, b boolean, d date, z timestamptz, j jsonb, n numeric,
        run_id uuid, fingerprint bytea, version numeric)`,
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(event, fc.option(cells, { freq: 10 })), { minLength: 1, maxLength: 60 }),
        fc.boolean(),
        fc.boolean(),
        async (given, hashed, versioned) => {
          const table = { ...shared, key: hashed ? null : ["t"], version: versioned ? "v" : null };
          const encoder = new RowEncoder({ sourceName: "s", runId: RUN_ID, table: table as never });
          const rows = given.map(([of, cell]) => ({
            of,
            row: columns.map(({ name }) => cell?.[name as "t"] ?? null),
          })).concat(NUMBERS.map((n) => ({ of: given[0]![0], row: [...NULLS, n] })));
          for (const { of, row } of rows) encoder.append({ ...of, row } as never);
          await client.query("truncate got restart identity");
          const names = [
            ...(hashed ? ["id"] : []),
            ...columns.map(({ name }) => name),
            ...["run_id", "fingerprint"],
            ...(versioned ? ["version"] : []),
          ];
          const stored = await copyIn(
            client,
            `copy got (${names.join(", ")}) from stdin (format binary)`,
            [COPY_HEADER, encoder.take().slice(), COPY_TRAILER],
          );
          assert.equal(stored, rows.length);
          // numeric_send shows a number that is not in PostgreSQL's own form, which its text does not
          const { rows: wrong } = await client.query<{ wrong: unknown }>(
            `select to_jsonb(got) as wrong from got
            join jsonb_to_recordset($1::jsonb) as e (id text, t text, i text, b text, d text, z text, j text, n text, v text,
              f text, no bigint) using (no)
            where row(got.t, got.i, got.b, got.d, got.z, got.j, got.n::text, numeric_send(got.n), encode(fingerprint, 'hex'), run_id)
              is distinct from row(e.t, e.i::bigint, e.b::boolean, e.d::date, e.z::timestamptz, e.j::jsonb, e.n::numeric::text,
                numeric_send(e.n::numeric), e.f, $2::uuid)
              or $3 and got.id is distinct from e.id
              or $4 and numeric_send(got.version) is distinct from numeric_send(e.v::numeric)`,
            [
              JSON.stringify(rows.map(({ of, row: [t, i, b, d, z, j, n] }, at) => ({
                ...{ id: of.eventId, t, i, b, d, z, j, n, v: of.version, f: of.fingerprint },
                no: at + 1,
              }))),
              ...[RUN_ID, hashed, versioned],
            ],
          );
          assert.deepEqual(wrong, []);
        },
      ),
      { numRuns: 80 },
    );
  } finally {
    await client.end();
  }
});
