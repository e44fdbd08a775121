/** Records of the runs that faults are done to. */
export const RECORDS = 20_000;
export const CHUNK_SIZE = 2_000;
/** A record of the last chunk: a run that waits here has prepared all others or is about to. */
export const LAST_CHUNK_RECORD = 19_990;

interface FaultRecord {
  n: number;
  id?: string;
  type: string;
  at: string;
  v: number;
  text: string;
}

/** Position whose key record `n` has: every 50th is another version of an earlier one, mostly of another chunk. */
function keyOf(n: number): number {
  return n % 50 === 49 ? (n * 7919) % n : n;
}

function record(n: number, version: number): FaultRecord {
  return {
    n,
    // every 1,000th has no key and is rejected
    ...(n % 1_000 === 500 ? {} : { id: `k${keyOf(n)}` }),
    type: n % 3 === 0 ? "order" : "visit",
    at: new Date(Date.UTC(2026, 0, 1) + n * 60_000).toISOString(),
    v: version,
    text: `é "${n}"\t${"x".repeat(n % 40)}`,
  };
}

const ndjson = (records: FaultRecord[]) =>
  records.map((each) => JSON.stringify(each)).join("\n") + "\n";

/** Versions go up and down, so that neither the first nor the last of a key wins always. */
const versionOf = (n: number) => 10 + (n * 31) % 17;

/** What the run loads: duplicates across chunks, rejected, dropped and doubled records. */
export function newData(): string {
  return ndjson(Array.from({ length: RECORDS }, (_, n) => record(n, versionOf(n))));
}

/** What is in the table before: every fourth record, half of them as they come again, half older. */
export function oldData(): string {
  const quarter = Array.from({ length: RECORDS / 4 }, (_, i) => i * 4);
  return ndjson(quarter.map((n) => record(n, n % 8 === 0 ? versionOf(n) : 1)));
}

/** A record that is new, alone with its key, and in chunk 5. */
export const LONELY_KEY = "k10001";

const TRANSFORM = `
function change(record) {
  if (record.n % 997 === 0) return null;
  if (record.n % 991 === 0 && record.id) return [record, { ...record, id: record.id + "b" }];
  return record;
}
`;

/** A transform module that drops some records and doubles others. */
export const PLAIN_TRANSFORM = `${TRANSFORM}
export const transform = change;
`;

/** The same, but it stops its worker dead at record `at` until the gate is opened. */
export function holdingTransform({ at, gate }: { at: number; gate: string }): string {
  return transformThat(
    `if (record.n === ${at}) Deno.openSync(${JSON.stringify(gate)}).readSync(new Uint8Array(1));`,
  );
}

/** The same, but it does something with each record first. */
export function transformThat(does: string): string {
  return `${TRANSFORM}
export function transform(record) {
  ${does}
  return change(record);
}
`;
}
