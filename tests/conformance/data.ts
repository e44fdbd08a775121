/**
 * Columns of every kind that JSON data has, and what is hard about them:
 * nulls, mixed types, integers beyond 2^53 and 2^64, huge and tiny numbers,
 * text outside the BMP, dates, lists and objects.
 */
export const ZOO: Record<string, unknown[]> = {
  ints: [3, -1, 4, 1, 5, -9, 2, 6, 5, 3, 5, 8],
  ints_null: [3, null, 4, 1, null, -9, 2, 6, 5, 3, 5, 8],
  sorted: [1, 2, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144],
  floats: [1.5, 2.25, -0.125, 1e-7, 3.5, 2.25, null, 12345.678, 0.1, 0.2, 1e15, -7.75],
  huge_floats: [1e300, 1.5, -1e300, 2.5, 1e22, 1e16, 1.25e-5, 0.5, 9.5, 8.25, 7.5, 6.5],
  big: [2n ** 60n, 2n ** 60n + 1n, -(2n ** 60n), 1, 2, 3, 4, 5, 6, 7, 8, 9],
  unsigned: [2n ** 63n + 5n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
  beyond: [2n ** 70n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
  text: ["apple", "pear", "fig", "", "kiwi", "apple", "Äpfel", "banana", "a b", "x1", "9", "pear"],
  text_null: ["a", null, "b", "c", null, "a", "d", "e", "f", "g", "h", "i"],
  unicode: [
    "\u{1F600}",
    "\uFFFD",
    "é",
    "e\u0301",
    "日本語",
    "\u{1F600}\u{1F600}",
    "ß",
    "ñ",
    null,
    "\n",
    " ",
    "Z",
  ],
  dates: [
    "2024-01-01",
    "2024-02-29",
    "2023-12-31",
    "2024-01-01",
    "not a date",
    "2024-13-01",
    "2023-02-29",
    null,
    "2024-1-1",
    "2024-06-30",
    "1999-12-31",
    "2024-01-01T00:00:00",
  ],
  bools: [true, false, true, true, false, true, true, false, true, true, true, false],
  bools_null: [true, null, true, true, false, true, true, false, true, true, null, false],
  mixed: [1, "a", null, 2.5, true, "a", 3, "b", 1, null, "c", false],
  nothing: new Array(12).fill(null),
  lists: [[1], [2], null, [1], [], ["a"], [1, 2], [null], [2], [1], [3], [4]],
  objects: [
    { a: 1 },
    { a: 2 },
    null,
    { a: 1 },
    {},
    { b: "x" },
    { a: { b: 1 } },
    { a: null },
    { a: 1 },
    { a: 3 },
    { a: 4 },
    { a: 5 },
  ],
  json: [
    '{"a":1}',
    "[1,2]",
    "nope",
    "1",
    '"x"',
    null,
    "{",
    "null",
    '{"a":"x"}',
    "NaN",
    " 1 ",
    "{}",
  ],
  constant: new Array(12).fill("same"),
};

/** The columns as records. */
export function zooRecords(): Record<string, unknown>[] {
  const names = Object.keys(ZOO);
  return ZOO.ints!.map((_, row) =>
    Object.fromEntries(names.map((name) => [name, ZOO[name]![row]]))
  );
}

/** Records with nested fields and fields that are sometimes missing. */
export function nestedRecords(): Record<string, unknown>[] {
  return Array.from({ length: 50 }, (_, i) => ({
    id: `r${i % 45}`,
    amount: i % 7 === 0 ? null : (i * 37) % 101 - 20,
    limit: (i * 53) % 97 - 20,
    part: { name: i % 5 === 0 ? null : `n${i % 4}`, sizes: [i, i * 2, i % 3] },
    ...(i % 3 === 0 ? { optional: i } : {}),
    country: ["ES", "MX", "AR", null][i % 4],
  }));
}

/** A real data set of vega-datasets, as its JSON file holds it. */
export async function vegaRecords(name: string, limit: number): Promise<Record<string, unknown>[]> {
  const path = new URL(`../../node_modules/vega-datasets/data/${name}`, import.meta.url);
  const text = await Deno.readTextFile(path);
  return (JSON.parse(text) as Record<string, unknown>[]).slice(0, limit);
}

/** The value at a nested path of a record, undefined where there is none. */
export function at(record: Record<string, unknown>, path: string): unknown {
  if (Object.hasOwn(record, path)) return record[path];
  return path.split(".").reduce<unknown>(
    (value, part) => (value as Record<string, unknown> | null | undefined)?.[part],
    record,
  );
}

/** Times of the form that events have, which order as text as they do in time. */
export function datedRecords(): Record<string, unknown>[] {
  return Array.from({ length: 60 }, (_, i) => ({
    day: i % 9 === 0
      ? null
      : new Date(Date.UTC(2023, 11, 1 + (i * 7) % 60)).toISOString().slice(0, 10),
    time: i % 11 === 0
      ? null
      : new Date(Date.UTC(2024, 0, 1, (i * 5) % 48, i)).toISOString().slice(0, 19),
  }));
}
