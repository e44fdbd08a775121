import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import type { SourceRecord } from "../../pipeline/sources/source.ts";
import { readAll, SourceFolder } from "../helpers/sources.ts";

const DATA = new URL("../../node_modules/vega-datasets/data/", import.meta.url);

function original(name: string): Promise<Uint8Array> {
  return Deno.readFile(new URL(name, DATA));
}

/** The same records in every format, gzipped or not. */
async function writeInEveryFormat(
  folder: SourceFolder,
  records: SourceRecord[],
): Promise<[Record<string, unknown>, string][]> {
  const names = Object.keys(records[0]!);
  const cell = (value: unknown) =>
    value === null
      ? ""
      : /[",;\n\r\t]/.test(String(value))
      ? `"${String(value).replaceAll('"', '""')}"`
      : String(value);
  const table = (delimiter: string, end: string) =>
    [names, ...records.map((record) => names.map((name) => record[name]))]
      .map((row) => row.map(cell).join(delimiter)).join(end) + end;
  const columns = names.map((name) => ({ name, data: records.map((record) => record[name]) }));
  const files: [Record<string, unknown>, string, string | Uint8Array][] = [
    [{}, "d.csv", table(",", "\r\n")],
    [{ delimiter: ";" }, "semicolon.csv", table(";", "\n")],
    [{}, "d.tsv", table("\t", "\n")],
    [{}, "d.ndjson", records.map((record) => JSON.stringify(record)).join("\n")],
    [{}, "d.json", JSON.stringify(records, null, 2)],
    [
      { records_path: "result.rows" },
      "nested.json",
      JSON.stringify({ ok: 1, result: { rows: records } }),
    ],
    [{}, "d.parquet", new Uint8Array(parquetWriteBuffer({ columnData: columns }))],
  ];
  const written: [Record<string, unknown>, string][] = [];
  for (const [conf, name, content] of files) {
    await folder.write(name, content);
    await folder.write(`${name}.gz`, gzipSync(content));
    written.push([conf, name], [conf, `${name}.gz`]);
  }
  return written;
}

Deno.test("one data set gives the same records from every format, gzipped or not", async () => {
  await using folder = await SourceFolder.create();
  await folder.write("original.csv", await original("seattle-weather.csv"));
  // 0.0 and 5.0 keep their digits beside them in CSV only
  const plain = (read: SourceRecord[]) =>
    read.map((record) => Object.fromEntries(Object.entries(record)));
  const records = plain(
    (await readAll({ type: "file", path: "original.csv" }, folder.ctx)).records,
  );
  assert.equal(records.length, 1_461);
  assert.deepEqual(records[0], {
    date: "2012-01-01",
    precipitation: 0,
    temp_max: 12.8,
    temp_min: 5,
    wind: 4.7,
    weather: "drizzle",
  });
  for (const [conf, path] of await writeInEveryFormat(folder, records)) {
    for (const chunkSize of [undefined, 100]) {
      const ctx = chunkSize === undefined ? folder.ctx : { ...folder.ctx, chunkSize };
      const read = await readAll({ type: "file", path, ...conf }, ctx);
      assert.deepEqual(plain(read.records), records, `${path} in slices of ${chunkSize}`);
      assert.deepEqual(read.unreadable, []);
    }
  }
});

Deno.test("flights-200k.json is read whole, in slices of about 50,000", async () => {
  await using folder = await SourceFolder.create();
  const bytes = await original("flights-200k.json");
  await folder.write("flights-200k.json", bytes);
  const { records, slices } = await readAll(
    { type: "file", path: "flights-200k.json" },
    folder.ctx,
  );
  assert.deepEqual(records, JSON.parse(new TextDecoder().decode(bytes)));
  assert.ok(slices.length >= 4 && slices.length <= 6);
});

Deno.test("earthquakes.json gives its GeoJSON features", async () => {
  await using folder = await SourceFolder.create();
  const bytes = await original("earthquakes.json");
  await folder.write("earthquakes.json", bytes);
  const { records } = await readAll(
    { type: "file", path: "earthquakes.json", records_path: "features" },
    folder.ctx,
  );
  assert.deepEqual(records, JSON.parse(new TextDecoder().decode(bytes)).features);
});

Deno.test("the CSV data sets are read without a single rejection", async () => {
  await using folder = await SourceFolder.create();
  const counts: Record<string, number> = {
    "airports.csv": 3_376,
    "birdstrikes.csv": 10_000,
    "species.csv": 12_360,
    "unemployment.tsv": 3_218,
    "zipcodes.csv": 42_049,
  };
  for (const [name, count] of Object.entries(counts)) {
    await folder.write(name, await original(name));
    const { records, unreadable } = await readAll({ type: "file", path: name }, folder.ctx);
    assert.deepEqual([name, records.length, unreadable], [name, count, []]);
  }
  const columns = { zip_code: "text" };
  const zips = await readAll({ type: "file", path: "zipcodes.csv", columns }, folder.ctx);
  assert.ok(zips.records.every(({ zip_code }) => typeof zip_code === "string"));
});

Deno.test("flights-3m.parquet, written by Polars, is planned whole and read in part", async () => {
  await using folder = await SourceFolder.create({ maxRecords: 60_000 });
  await folder.write("flights.parquet", await original("flights-3m.parquet"));
  const { records, slices } = await readAll({ type: "file", path: "flights.parquet" }, folder.ctx);
  assert.deepEqual(slices.map((slice) => slice.length), [50_000, 10_000]);
  assert.deepEqual(records[0], {
    date: "2001-01-01T00:01:00.000",
    delay: 33,
    distance: 2176,
    origin: "LAS",
    destination: "PHL",
  });
});
