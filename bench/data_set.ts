import { parquetWriteBuffer } from "hyparquet-writer";

/** In which order the keys of the records come. */
export type KeyOrder = "scattered" | "sequential";

/** What a data set is written as; the records are the same. */
export type DataFormat = "ndjson" | "csv" | "parquet";

const TYPES = ["page_view", "add_to_cart", "purchase", "refund", "signup"];
const COUNTRIES = ["ES", "MX", "AR", "CO", "US", "DE", "FR", "BR"];
const DEVICES = ["mobile", "desktop", "tablet"];
const FIRST_MS = Date.UTC(2025, 0, 1);
const LINES_A_WRITE = 10_000;

/** MurmurHash3's finaliser: different for different 32-bit integers, and as good as random. */
function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * Record `index` as a line of NDJSON, about 150 bytes: the same on every
 * machine, its key unique. Scattered keys fall anywhere in the index, as those of
 * UUIDs do; sequential ones at its end.
 */
export function recordLine(index: number, order: KeyOrder): string {
  const a = mix(index);
  const key = order === "scattered"
    ? a.toString(16).padStart(8, "0")
    : String(index).padStart(8, "0");
  const time = new Date(FIRST_MS + index * 1000 + (a >>> 22)).toISOString();
  return `{"id":"evt-${key}","type":"${TYPES[a % 5]}","ts":"${time}","user_id":${
    (a >>> 3) % 90_000 + 10_000
  },"amount":${((a >>> 5) % 100_000) / 100},"country":"${COUNTRIES[a & 7]}","device":"${
    DEVICES[(a >>> 9) % 3]
  }","returning":${(a & 64) === 64}}\n`;
}

/** Writes the first `records` records to a file; answers its bytes. */
export async function writeDataSet(
  path: string,
  { records, order, format = "ndjson" }: {
    records: number;
    order: KeyOrder;
    /** Default: `ndjson`. */
    format?: DataFormat;
  },
): Promise<number> {
  if (format === "parquet") {
    const file = parquetOf(records, order);
    await Deno.writeFile(path, file);
    return file.length;
  }
  const encoder = new TextEncoder();
  using file = await Deno.create(path);
  let bytes = 0;
  for (let start = 0; start < records; start += LINES_A_WRITE) {
    let text = start === 0 && format === "csv" ? `${fieldsOf(0, order).join(",")}\n` : "";
    const end = Math.min(records, start + LINES_A_WRITE);
    for (let index = start; index < end; index++) {
      const line = recordLine(index, order);
      text += format === "csv" ? `${Object.values(JSON.parse(line)).join(",")}\n` : line;
    }
    const block = encoder.encode(text);
    for (let done = 0; done < block.length;) done += await file.write(block.subarray(done));
    bytes += block.length;
  }
  return bytes;
}

const fieldsOf = (index: number, order: KeyOrder) =>
  Object.keys(JSON.parse(recordLine(index, order)));

/** As a Parquet file with row groups of 100,000; times are text, as in the other formats. */
function parquetOf(records: number, order: KeyOrder): Uint8Array {
  const columns = fieldsOf(0, order).map((name) => ({ name, data: new Array(records) }));
  for (let index = 0; index < records; index++) {
    const record = JSON.parse(recordLine(index, order));
    for (const { name, data } of columns) data[index] = record[name];
  }
  const types = { user_id: "INT32", amount: "DOUBLE", returning: "BOOLEAN" } as const;
  return new Uint8Array(parquetWriteBuffer({
    columnData: columns.map((column) => ({
      ...column,
      type: types[column.name as keyof typeof types] ?? "STRING",
    })),
    rowGroupSize: 100_000,
  }));
}
