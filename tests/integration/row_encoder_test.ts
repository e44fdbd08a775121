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
