import assert from "node:assert/strict";
import fc from "fast-check";
import { recordLine, writeDataSet } from "../../bench/data_set.ts";
import { finishRows } from "../../bench/finished_rows.ts";
import { cpuSecondsOf, cpuSecondsOfPrograms, watchMemory } from "../../bench/process_usage.ts";
import { table } from "../../bench/report.ts";
import { median, quantile, rounded } from "../../bench/statistics.ts";
import { ROW_COLUMNS } from "../../store/row_layout.ts";
import { lacks } from "../helpers/needs.ts";

Deno.test("median() is the middle value, or the mean of the two middle ones", () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.throws(() => median([]), RangeError);
});

Deno.test("quantile() is never outside the values and grows with the share", () => {
  fc.assert(fc.property(
    fc.array(fc.integer(), { minLength: 1 }),
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.double({ min: 0, max: 1, noNaN: true }),
    (values, a, b) => {
      const [low, high] = [quantile(values, Math.min(a, b)), quantile(values, Math.max(a, b))];
      return Math.min(...values) <= low && low <= high + 1e-6 &&
        high <= Math.max(...values) + 1e-6;
    },
  ));
});

Deno.test("rounded() keeps three digits that count", () => {
  assert.deepEqual([1234.5, 0.012345, 0].map((value) => rounded(value)), [1230, 0.0123, 0]);
});

Deno.test("recordLine() gives about 150 bytes of JSON with a key that no other record has", () => {
  for (const order of ["scattered", "sequential"] as const) {
    const lines = Array.from({ length: 20_000 }, (_, i) => recordLine(i, order));
    const ids = lines.map((line) => JSON.parse(line).id as string);
    assert.equal(new Set(ids).size, ids.length);
    const mean = lines.join("").length / lines.length;
    assert.ok(mean > 140 && mean < 165, `${mean} bytes`);
    assert.equal(order === "sequential", ids.every((id, i) => i === 0 || ids[i - 1]! < id));
  }
});

Deno.test("finishRows() gives each record as a COPY line with the columns of the spill", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await writeDataSet(`${dir}/set.ndjson`, { records: 2500, order: "scattered" });
    const { rowsPath, records, stages } = await finishRows("set.ndjson", {
      dataDir: dir,
      dir: `${dir}/rows`,
    });
    assert.equal(records, 2500);
    const lines = (await Deno.readTextFile(rowsPath)).trimEnd().split("\n");
    assert.equal(lines.length, 2500);
    const first = lines[0]!.split("\t");
    assert.equal(first.length, ROW_COLUMNS.length);
    assert.equal(first[0], JSON.parse(recordLine(0, "scattered")).id);
    assert.ok(stages.transform.cpuMs > 0);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

const linuxOnly = {
  ignore: lacks(Deno.build.os === "linux", "run on Linux for the tests that read /proc"),
};

Deno.test("cpuSecondsOfPrograms() counts the programs that have ended", linuxOnly, async () => {
  const before = await cpuSecondsOfPrograms();
  const script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
  await new Deno.Command("sh", { args: ["-c", script] }).output();
  assert.ok(await cpuSecondsOfPrograms() - before > 0.02);
});

Deno.test(
  "cpuSecondsOf() and watchMemory() count the descendants of a process",
  linuxOnly,
  async () => {
    // the child of the shell's child is the one that works and holds memory
    const script = "x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo ${#x}; read line";
    const child = new Deno.Command("sh", {
      args: ["-c", `sh -c 'sh -c "$0"; true' "$0"; true`, script],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    await reader.read();
    const memory = watchMemory(child.pid);
    const cpu = await cpuSecondsOf(child.pid);
    const bytes = await memory.stop();
    await child.stdin.close();
    await reader.cancel();
    await child.status;
    assert.ok(cpu > 0, `${cpu} s`);
    assert.ok(bytes > 30e6, `${bytes} bytes`);
  },
);

Deno.test("table() says what was reached", () => {
  const text = table([
    {
      measure: "fresh",
      baseline: 12.345,
      ours: 9.876,
      unit: "s",
      ratio: 0.8,
      target: "≤ 1.0 ×",
      ok: true,
    },
    {
      measure: "run",
      baseline: null,
      ours: 123,
      unit: "ms",
      ratio: null,
      target: "≤ 100 ms",
      ok: false,
    },
  ]);
  assert.deepEqual(text.split("\n").map((line) => line.split(/ {2,}/)), [
    ["measure", "baseline", "ours", "unit", "ratio", "target", "ok"],
    ["fresh", "12.3", "9.88", "s", "0.80", "≤ 1.0 ×", "yes"],
    ["run", "–", "123", "ms", "–", "≤ 100 ms", "NO"],
  ]);
});
