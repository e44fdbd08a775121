import { psqlUpsert } from "../baselines/psql_upsert.ts";
import type { Measure, Row } from "../bench.ts";
import type { DataFormat, KeyOrder } from "../data_set.ts";
import { loadConf, stageSeconds, type TimedRun, timedRun } from "../runs.ts";
import { median, rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const BASELINE = "bench_baseline";
const OURS = "bench_ours";

/** The whole pipeline from a file, fresh and again, against psql with the finished rows. */
function loadMeasure(name: string, order: KeyOrder, format: DataFormat): Measure {
  return {
    name,
    about: `${
      NAMES[format]
    } with ${order} keys, whole pipeline, fresh and again, against psql's upsert`,
    run: (world) => measureLoad(world, order, format),
  };
}

const NAMES = { ndjson: "NDJSON", csv: "CSV", parquet: "Parquet" };

export const load = loadMeasure("load", "scattered", "ndjson");
export const loadSequential = loadMeasure("load-sequential", "sequential", "ndjson");
export const loadCsv = loadMeasure("load-csv", "scattered", "csv");
export const loadParquet = loadMeasure("load-parquet", "scattered", "parquet");

interface Side {
  seconds: number;
  postgresCpuSeconds: number;
  clientCpuSeconds: number;
  walBytes: number;
}

async function measureLoad(
  world: World,
  order: KeyOrder,
  format: DataFormat,
): Promise<Row[]> {
  const { records, rounds } = world.options;
  const { rowsPath } = await world.finishedRows(order);
  const conf = loadConf(await world.dataSet(order, records, format), OURS);
  const fresh = { baseline: [] as Side[], ours: [] as TimedRun[] };
  const again = { baseline: [] as Side[], ours: [] as TimedRun[] };
  let rewritten = 0;
  {
    await using server = await world.server();
    const baseline = async () => {
      await world.settle();
      return await timedUpsert(world, rowsPath);
    };
    const ours = async () => {
      await world.settle();
      return await timedRun(world, server, conf);
    };
    for (let round = 1; round <= rounds; round++) {
      world.log(`${order} keys, round ${round} of ${rounds}`);
      await world.freshTable(BASELINE);
      await world.dropTable(OURS);
      fresh.baseline.push(await baseline());
      fresh.ours.push(await ours());
      // what autovacuum would do within a minute: without, its time falls on some side by chance
      await world.db.query(`vacuum (analyze) ${BASELINE}, ${OURS}`);
      const before = await rowVersions(world);
      again.baseline.push(await baseline());
      again.ours.push(await ours());
      if (await rowVersions(world) !== before) rewritten++;
      if (round === 1) await requireEqualTables(world);
    }
  }
  // backends report their statistics when they end at the latest
  const written = await writtenRows(world) - records;
  await world.dropTable(BASELINE);
  await world.dropTable(OURS);
  const name = `${NAMES[format]}, ${records.toLocaleString("en-US")} ${order} keys`;
  const walShare = median(again.ours.map((t) => t.walBytes)) /
    median(fresh.ours.map((t) => t.walBytes));
  return [
    timeRow(`${name}, fresh table`, fresh, 1),
    timeRow(`${name}, again`, again, 0.9),
    {
      measure: `${name}, again: row versions written`,
      baseline: null,
      ours: written,
      unit: "row versions",
      ratio: null,
      target: "0",
      ok: written === 0 && rewritten === 0,
    },
    {
      measure: `${name}, again: WAL against the fresh run's`,
      baseline: null,
      ours: walShare * 100,
      unit: "%",
      ratio: null,
      target: "< 2%",
      ok: walShare < 0.02,
      detail: {
        fresh_wal_bytes: fresh.ours.map((t) => t.walBytes),
        again_wal_bytes: again.ours.map((t) => t.walBytes),
        baseline_again_wal_bytes: again.baseline.map((t) => t.walBytes),
      },
    },
  ];
}

function timeRow(
  measure: string,
  { baseline, ours }: { baseline: Side[]; ours: TimedRun[] },
  atMost: number,
): Row {
  const ratio = median(ours.map((t) => t.seconds)) / median(baseline.map((t) => t.seconds));
  return {
    measure,
    baseline: median(baseline.map((t) => t.seconds)),
    ours: median(ours.map((t) => t.seconds)),
    unit: "s",
    ratio,
    target: `≤ ${atMost.toFixed(1)} ×`,
    ok: ratio <= atMost,
    detail: {
      baseline_seconds: baseline.map((t) => rounded(t.seconds)),
      ours_seconds: ours.map((t) => rounded(t.seconds)),
      cpu_seconds: {
        baseline_postgres: rounded(median(baseline.map((t) => t.postgresCpuSeconds))),
        baseline_psql: rounded(median(baseline.map((t) => t.clientCpuSeconds))),
        ours_postgres: rounded(median(ours.map((t) => t.postgresCpuSeconds))),
        ours_server: rounded(median(ours.map((t) => t.serverCpuSeconds))),
      },
      stage_seconds: ours.map((t) => stageSeconds(t.run)),
      server_logged: ours.flatMap((t) => t.logged),
    },
  };
}

async function timedUpsert(world: World, rowsPath: string): Promise<Side> {
  const wal = await world.walBytes();
  const cpu = await world.postgresCpuSeconds();
  const timed = await psqlUpsert(world.dsn, { table: BASELINE, rowsPath, scratch: world.dir });
  return {
    ...timed,
    postgresCpuSeconds: await world.postgresCpuSeconds() - cpu,
    walBytes: await world.walBytes() - wal,
  };
}

/** A number that changes when any row of our table gets another version or place. */
async function rowVersions(world: World): Promise<string> {
  const { rows } = await world.db.query<{ sum: string }>(
    `select sum(hashtextextended(ctid::text || xmin::text || event_id, 0)) as sum from ${OURS}`,
  );
  return rows[0]!.sum;
}

async function writtenRows(world: World): Promise<number> {
  const { rows } = await world.db.query<{ written: string }>(
    `select n_tup_ins + n_tup_upd + n_tup_del as written
    from pg_stat_user_tables where relname = $1`,
    [OURS],
  );
  return Number(rows[0]!.written);
}

/** Both sides must have done the same work. */
async function requireEqualTables(world: World): Promise<void> {
  const sum = (table: string) =>
    `(select array[count(*), sum(hashtextextended(concat_ws('|', event_id, event_type, occurred_at, source,
      version, payload, fingerprint, event_date, event_hour), 0))] from ${table})`;
  const { rows } = await world.db.query<{ equal: boolean; count: string }>(
    `select ${sum(BASELINE)} = ${sum(OURS)} as equal, (select count(*) from ${OURS}) as count`,
  );
  if (!rows[0]!.equal || Number(rows[0]!.count) !== world.options.records) {
    throw new Error(`${BASELINE} and ${OURS} differ: the comparison would mean nothing`);
  }
}
