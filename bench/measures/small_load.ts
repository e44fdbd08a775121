import { join } from "node:path";
import { psqlUpsert } from "../baselines/psql_upsert.ts";
import type { Measure, Row } from "../bench.ts";
import { recordLine } from "../data_set.ts";
import { finishRows } from "../finished_rows.ts";
import { loadConf, stageSeconds, type TimedRun, timedRun } from "../runs.ts";
import { median, rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const BASELINE = "bench_small_baseline";
const OURS = "bench_small_ours";
/** Of the records of a small load, what is new; the rest is changed and the same, half and half. */
const NEW_SHARE = 0.8;

/** What users do most: a small load into a large table. */
export const smallLoad: Measure = {
  name: "small-load",
  about: "a tenth of --records (80% new, 10% changed, 10% the same) into a table of 3 × --records",
  run: measure,
};

async function measure(world: World): Promise<Row[]> {
  const { records, rounds, full } = world.options;
  const stored = records * (full ? 10 : 3);
  const small = Math.round(records / 10);
  const fresh = { baseline: [] as number[], ours: [] as TimedRun[] };
  const again = { baseline: [] as number[], ours: [] as TimedRun[] };
  {
    await using server = await world.server();
    world.log(`filling tables of ${stored.toLocaleString("en-US")} rows`);
    await world.dropTable(OURS);
    await timedRun(world, server, loadConf(await world.dataSet("scattered", stored), OURS));
    await world.freshTable(BASELINE);
    await world.db.query(`insert into ${BASELINE} select * from ${OURS} order by ctid`);
    await world.db.query(`vacuum (analyze) ${BASELINE}, ${OURS}`);
    for (let round = 1; round <= rounds; round++) {
      world.log(`small load, round ${round} of ${rounds}`);
      const name = await writeSmallLoad(world, { stored, small, round });
      const { rowsPath } = await finishRows(name, {
        dataDir: world.dir,
        dir: join(world.dir, `rows-small-${round}`),
      });
      for (const side of [fresh, again]) {
        await world.settle();
        side.baseline.push(
          (await psqlUpsert(world.dsn, { table: BASELINE, rowsPath, scratch: world.dir })).seconds,
        );
        await world.settle();
        side.ours.push(await timedRun(world, server, loadConf(name, OURS)));
      }
    }
    const counts = fresh.ours.map(({ run }) => run.counts);
    const expected = { inserted: small * NEW_SHARE, updated: Math.round(small * 0.1) };
    if (counts.some((c) => c?.inserted !== expected.inserted || c?.updated !== expected.updated)) {
      throw new Error(`the small loads did something else: ${JSON.stringify(counts)}`);
    }
  }
  await world.dropTable(BASELINE);
  await world.dropTable(OURS);
  const name = `${small.toLocaleString("en-US")} records into ${stored.toLocaleString("en-US")}`;
  return [row(name, fresh), row(`${name}, again`, again)];
}

/** Writes the file of one round: its new records are no other round's. */
async function writeSmallLoad(
  world: World,
  { stored, small, round }: { stored: number; small: number; round: number },
): Promise<string> {
  const name = `small-${round}.ndjson`;
  const lines: string[] = [];
  const fresh = Math.round(small * NEW_SHARE);
  for (let i = 0; i < fresh; i++) lines.push(recordLine(stored + round * fresh + i, "scattered"));
  const known = small - fresh;
  const step = Math.floor(stored / known);
  for (let i = 0; i < known; i++) {
    const line = recordLine(i * step + round, "scattered");
    lines.push(i % 2 === 0 ? line.replace('"device":"', `"device":"round ${round} `) : line);
  }
  await Deno.writeTextFile(join(world.dir, name), lines.join(""));
  return name;
}

function row(measure: string, side: { baseline: number[]; ours: TimedRun[] }): Row {
  const seconds = side.ours.map((t) => t.seconds);
  const ratio = median(seconds) / median(side.baseline);
  return {
    measure,
    baseline: median(side.baseline),
    ours: median(seconds),
    unit: "s",
    ratio,
    target: "≤ 0.8 ×",
    ok: ratio <= 0.8,
    detail: {
      baseline_seconds: side.baseline.map((s) => rounded(s)),
      ours_seconds: seconds.map((s) => rounded(s)),
      stage_seconds: side.ours.map((t) => stageSeconds(t.run)),
      server_cpu: side.ours.map((t) => rounded(t.serverCpuSeconds)),
      postgres_cpu: side.ours.map((t) => rounded(t.postgresCpuSeconds)),
    },
  };
}
