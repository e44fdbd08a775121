import assert from "node:assert/strict";
import type { Socket } from "node:net";
import fc from "fast-check";
import { toUtcText, utcTextToEpoch } from "../../pipeline/timestamps.ts";
import { copyText } from "../../pipeline/spill/writer.ts";
import { copiedText, copyIn, copyOut } from "../../store/copy.ts";
import { connect } from "../../store/pg.ts";
import { startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";

const encode = (text: string) => new TextEncoder().encode(text);

/** Text with what COPY, JSON and PostgreSQL treat in a way of their own. */
const anyText = fc.array(
  fc.oneof(
    fc.constantFrom(
      "\\",
      "\t",
      "\n",
      "\r",
      "\\N",
      "\\.",
      "\u0000",
      "\ud800",
      "\udc00",
      '"',
      "'",
      "\u0001",
      "\u2028",
      "é",
      "\u{1f600}",
    ),
    fc.string({ unit: "binary", maxLength: 3 }),
  ),
  { maxLength: 8 },
).map((parts) => parts.join(""));

Deno.test("load: any text arrives as it was, as key, type, name of a field and content; what cannot be stored is quarantined", async (t) => {
  await using engine = await startEngine(t);
  const texts = fc.sample(anyText, { numRuns: 3_000, seed: 7 });
  // a prefix makes each key another one, and none is empty
  // V8's JSON.parse confuses names that end in a backslash with others, so no name does
  const records = texts.map((text, i) => ({
    id: `${i}${text}`,
    t: `t${text}`,
    [`f${text}.`]: text,
    list: [text],
  }));
  await Deno.writeTextFile(
    `${engine.dataDir}/texts.ndjson`,
    records.map((record) => JSON.stringify(record)).join("\n"),
  );
  const conf = {
    min_acceptance_ratio: 0,
    chunk_size: 700,
    source: {
      type: "file",
      name: 'it\'s a \\ "source" of $1',
      path: "texts.ndjson",
      key: "id",
      event_type: { field: "t" },
    },
  };
  const run = await engine.succeed(conf);
  const storable = records.filter(({ id }) => id.isWellFormed() && !id.includes("\u0000"));
  assert.ok(storable.length > 500 && storable.length < 2_500);
  assert.equal(run.counts.inserted, storable.length);
  assert.equal(run.counts.rejected, records.length - storable.length);
  const rows = new Map((await engine.rows()).map((row) => [row.event_id, row]));
  for (const record of storable) {
    const row = rows.get(record.id);
    assert.ok(row !== undefined, JSON.stringify(record.id));
    assert.deepEqual(row.payload, record);
    assert.equal(row.event_type, record.t.trim());
  }
  const rules = await engine.sql`select distinct rule from etl.quarantine order by rule`;
  assert.deepEqual(rules.map(({ rule }) => rule), ["nul_character", "unicode"]);
  // and each key, sent with the statement that looks it up, is found again
  const again = await engine.succeed({ ...conf, chunk_size: records.length });
  assert.equal(again.counts.unchanged, storable.length);
  // or, with those of other chunks, joined with the table
  const joined = await engine.succeed(conf);
  assert.equal(joined.counts.unchanged, storable.length);
  // the quarantined text can be read back and holds the record
  const [raw] = await engine
    .sql`select raw, chunk_no, position from etl.quarantine order by chunk_no, position limit 1`;
  assert.deepEqual(JSON.parse(raw!.raw), records[raw!.chunk_no * 700 + raw!.position]);
});

Deno.test("copyText() and COPY, as copiedText(), give back any text that can be stored", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  const client = await connect(db.dsn);
  try {
    await client.query("create temp table texts (n integer, x text)");
    const texts = fc.sample(anyText, { numRuns: 5_000, seed: 11 })
      .filter((text) => text.isWellFormed() && !text.includes("\u0000"));
    assert.deepEqual(texts.map((text) => copiedText(copyText(text))), texts);
    assert.equal(copiedText("\\N"), null);
    const blocks = texts.map((text, n) => encode(`${n}\t${copyText(text)}\n`));
    assert.equal(await copyIn(client, "copy texts from stdin", blocks), texts.length);
    const { rows } = await client.query<{ x: string }>("select x from texts order by n");
    assert.deepEqual(rows.map(({ x }) => x), texts);
  } finally {
    await client.end();
  }
});

Deno.test("copyOut() and copiedText() give back any text, and copyOut() is one statement", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  const client = await connect(db.dsn);
  try {
    const texts = fc.sample(anyText, { numRuns: 2_000, seed: 12 })
      .filter((text) => text.isWellFormed() && !text.includes("\u0000"));
    const all = ["\b\f\n\r\t\v\\", "\\N", "\\.", "", "\uFEFF", "\\\\t", ...texts];
    await client.query("create table texts (n integer, x text)");
    await client.query(
      "insert into texts select n, x from unnest($1::text[]) with ordinality as t(x, n)",
      [all],
    );
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    let read = "";
    for await (const block of copyOut(client, "copy (select x from texts order by n) to stdout")) {
      read += decoder.decode(block, { stream: true });
    }
    assert.deepEqual(read.split("\n").slice(0, -1).map(copiedText), all);
    const two = copyOut(client, "copy (select 1) to stdout; drop table texts");
    await assert.rejects(Array.fromAsync(two), /cannot insert multiple commands/);
    const { rows } = await client.query("select from texts limit 1");
    assert.equal(rows.length, 1);
  } finally {
    await client.end();
  }
});

Deno.test("copiedText() of a long text is right at each place, and takes little memory", () => {
  for (const text of ["\t", "\\", "a\\", "\\\\t", "ab\n"]) {
    for (let before = 0; before < 4; before++) {
      const long = "x".repeat(before) + text.repeat(40_000);
      assert.ok(copiedText(copyText(long)) === long, `${text} after ${before}`);
    }
  }
  const tabs = "\\t".repeat(5_000_000);
  const before = Deno.memoryUsage().heapTotal;
  assert.equal(copiedText(tabs)!.length, 5_000_000);
  const grown = Deno.memoryUsage().heapTotal - before;
  assert.ok(grown < 100e6, `${grown} bytes`);
});

Deno.test("copyIn() has sent a block when it asks for the next, so that one memory serves all of them", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  const client = await connect(db.dsn);
  try {
    await client.query("create temp table texts (n integer, x text)");
    const lengths = Array.from({ length: 300 }, (_, n) => n % 7 === 0 ? 200_000 : n);
    const memory = new Uint8Array(1 << 18);
    const { connection } = client as unknown as { connection: { stream: Socket } };
    const lent = function* () {
      // nothing is sent before all has been asked for that is asked for without waiting
      connection.stream.cork();
      setTimeout(() => connection.stream.uncork());
      for (const [n, length] of lengths.entries()) {
        const line = encode(`${n}\t${"abcdefg"[n % 7]!.repeat(length)}\n`);
        memory.set(line);
        yield memory.subarray(0, line.length);
        memory.fill(0);
      }
    };
    assert.equal(await copyIn(client, "copy texts from stdin", lent()), lengths.length);
    const { rows } = await client.query<{ x: string }>("select x from texts order by n");
    assert.deepEqual(
      rows.map(({ x }) => x),
      lengths.map((length, n) => "abcdefg"[n % 7]!.repeat(length)),
    );
  } finally {
    await client.end();
  }
});

Deno.test("copyOut(): what is not read to its end leaves the connection to the next statement", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  const client = await connect(db.dsn);
  try {
    const rows = copyOut(client, "copy (select generate_series(1, 1000000)) to stdout");
    for await (const block of rows) {
      assert.equal(new TextDecoder().decode(block.subarray(0, 4)), "1\n2\n");
      // as more has come than may wait for a reader
      const { connection } = client as unknown as { connection: { stream: Socket } };
      await waitFor(() => connection.stream.isPaused());
      break;
    }
    const { rows: [row] } = await client.query("select 'next' as x");
    assert.equal(row.x, "next");
  } finally {
    await client.end();
  }
});

Deno.test("copyIn() ends the COPY when its source fails, and the connection goes on", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  const client = await connect(db.dsn);
  try {
    await client.query("create temp table n (n integer)");
    const failing = async function* () {
      yield encode("1\n");
      await Promise.resolve();
      throw new Error("the disk went away");
    };
    await assert.rejects(copyIn(client, "copy n from stdin", failing()), /the disk went away/);
    await assert.rejects(copyIn(client, "copy n from stdin", [encode("one\n"), encode("2\n")]), {
      code: "22P02",
    });
    await assert.rejects(copyIn(client, "copy missing from stdin", [encode("1\n")]), {
      code: "42P01",
    });
    assert.equal(await copyIn(client, "copy n from stdin", []), 0);
    assert.equal(
      await copyIn(client, "copy n from stdin", [encode("1"), encode("2\n3"), encode("\n")]),
      2,
    );
    assert.deepEqual((await client.query("select n from n order by n")).rows, [{ n: 3 }, {
      n: 12,
    }]);
  } finally {
    await client.end();
  }
});

Deno.test("times: PostgreSQL reads every text as the same instant, in any DateStyle and time zone", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  const client = await connect(db.dsn);
  try {
    const micros = fc.sample(
      fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n }),
      { numRuns: 2_000, seed: 3 },
    );
    const texts = micros.map((value) => toUtcText(value, "epoch_us")!);
    for (const style of ["ISO, MDY", "SQL, DMY", "German"]) {
      await client.query(`set datestyle = '${style}'; set timezone = 'America/Caracas'`);
      const { rows } = await client.query<{ micros: string; epoch: string }>(
        `select (extract(epoch from at::timestamptz) * 1000000)::bigint as micros,
          trim_scale(extract(epoch from at::timestamptz)) as epoch
        from unnest($1::text[]) with ordinality as t (at, n) order by n`,
        [texts],
      );
      assert.deepEqual(rows.map((row) => BigInt(row.micros)), micros);
      assert.deepEqual(rows.map((row) => row.epoch), texts.map(utcTextToEpoch));
    }
  } finally {
    await client.end();
  }
});

Deno.test("times: what toUtcText() takes, PostgreSQL takes as the same instant; its days are the calendar's", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  const client = await connect(db.dsn);
  try {
    await client.query("set timezone = 'UTC'");
    const two = (max: number) => fc.integer({ min: 0, max }).map((n) => String(n).padStart(2, "0"));
    const text = fc.tuple(
      fc.integer({ min: 1, max: 9998 }).map((n) => String(n).padStart(4, "0")),
      two(13),
      two(32),
      fc.constantFrom("T", " "),
      two(23),
      two(59),
      two(59),
      fc.constantFrom("", ".5", ".123456", ".000001"),
      fc.constantFrom("", "Z", "+00:00", "+05:30", "-03", "+1345", "-15:59"),
    ).map(([y, mo, d, sep, h, mi, s, f, o]) => `${y}-${mo}-${d}${sep}${h}:${mi}:${s}${f}${o}`);
    let taken = 0;
    for (const given of fc.sample(text, { numRuns: 1_500, seed: 5 })) {
      const ours = toUtcText(given);
      let theirs: string | null = null;
      try {
        theirs =
          (await client.query("select extract(epoch from $1::text::timestamptz)::text as e", [
            given,
          ])).rows[0].e;
      } catch (error) {
        assert.match((error as { code: string }).code, /^2200[78]|22009$/);
      }
      if (ours === null) {
        // the years 0 and 10000 are all that we refuse and PostgreSQL does not
        assert.ok(theirs === null || /^(0001-01-01|9998-12-31)/.test(given), given);
        continue;
      }
      taken++;
      assert.equal(Number(utcTextToEpoch(ours)), Number(theirs), given);
    }
    assert.ok(taken > 700);
  } finally {
    await client.end();
  }
});

Deno.test("load: records that jsonb cannot hold are quarantined, the run goes on", async (t) => {
  await using engine = await startEngine(t);
  const deep = (levels: number) => `${"[".repeat(levels)}1${"]".repeat(levels)}`;
  await Deno.writeTextFile(
    `${engine.dataDir}/hard.ndjson`,
    [
      `{"id":"deep","x":${deep(15_000)}}`,
      `{"id":"fits","x":${deep(900)}}`,
      `{"id":"digits","x":${"9".repeat(140_000)}}`,
      `{"id":"range","x":1e400}`,
      `{"id":"small","x":1e-308}`,
      `{"id":"zero","x":-0.0}`,
    ].join("\n"),
  );
  const run = await engine.succeed({
    min_acceptance_ratio: 0,
    source: { type: "file", path: "hard.ndjson", key: "id" },
  });
  assert.deepEqual(Object.keys(await engine.payloads()), ["fits", "range", "small", "zero"]);
  const rules = await engine
    .sql`select rule from etl.quarantine where run_id = ${run.run_id} order by position`;
  assert.deepEqual(rules.map(({ rule }) => rule), ["not_storable", "number_range"]);
});

Deno.test("load: a line with NUL that is no record is quarantined, and shown with the picture of NUL", async (t) => {
  await using engine = await startEngine(t, {
    workers: 1,
    files: { "nul.ndjson": '{"id":1}\n{"id":\u0000}\n{"id":3}\n' },
  });
  const run = await engine.succeed({
    min_acceptance_ratio: 0,
    source: { type: "file", path: "nul.ndjson", key: "id" },
  });
  assert.equal(run.counts.rejected, 1);
  const [row] = await engine.sql`select raw from etl.quarantine`;
  assert.equal(row!.raw, '{"id":\u2400}');
});
