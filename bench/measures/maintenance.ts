import { waitFor } from "../../tests/helpers/wait_for.ts";
import type { TestServer } from "../../tests/helpers/server.ts";
import type { Measure, Row } from "../bench.ts";
import { completeRun, loadConf, stageSeconds, type TimedRun, timedRun } from "../runs.ts";
import { median, rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const TABLE = "bench_maintenance";
/** Old rows in the table, for each record that is loaded. */
const OLD_PER_RECORD = 5;
const MIN_SPEED = 0.7;

export const maintenance: Measure = {
  name: "maintenance",
  about:
    `a load into a table that etl_maintenance deletes old rows of, ${OLD_PER_RECORD} times the ` +
    "records, against the same load alone",
  run: measureMaintenance,
};

interface Disturbed extends TimedRun {
  /** Old rows that were deleted while the load went on. */
  deleted: number;
}

async function measureMaintenance(world: World): Promise<Row[]> {
  const { records, rounds } = world.options;
  const conf = loadConf(await world.dataSet("scattered"), TABLE);
  await world.freshTable(TABLE);
  await world.db.query("update etl.datasets set maintained = true where dataset = $1", [
    `public.${TABLE}`,
  ]);
  await using server = await world.server();
  // the first run of a server compiles and connects
  await completeRun(server, { ...conf, batch_size: 10_000 });
  const alone: TimedRun[] = [];
  const disturbed: Disturbed[] = [];
  for (let round = 1; round <= rounds; round++) {
    world.log(`maintenance, round ${round} of ${rounds}`);
    const sides = [
      async () => alone.push(await timedRun(world, server, conf)),
      async () => disturbed.push(await loadWhileDeleting(world, server, conf)),
    ];
    // whoever is second finds a table that has been used more
    for (const side of round % 2 === 0 ? sides.reverse() : sides) {
      await refill(world, records * OLD_PER_RECORD);
      await side();
    }
  }
  await world.dropTable(TABLE);
  const speed = (runs: TimedRun[]) => records / median(runs.map(({ seconds }) => seconds));
  const [baseline, ours] = [speed(alone), speed(disturbed)];
  return [{
    measure: `${records.toLocaleString("en-US")} records while ${
      (records * OLD_PER_RECORD).toLocaleString("en-US")
    } old rows are being deleted`,
    baseline: rounded(baseline),
    ours: rounded(ours),
    unit: "rows/s",
    ratio: rounded(ours / baseline),
    target: `≥ ${MIN_SPEED} × the load alone`,
    ok: ours / baseline >= MIN_SPEED,
    detail: {
      alone: alone.map(described),
      disturbed: disturbed.map((run) => ({
        ...described(run),
        deleted: run.deleted,
        deleted_per_second: Math.round(run.deleted / run.seconds),
      })),
    },
  }];
}

const described = (run: TimedRun) => ({
  seconds: rounded(run.seconds),
  server_cpu: rounded(run.serverCpuSeconds),
  postgres_cpu: rounded(run.postgresCpuSeconds),
  wal_bytes: run.walBytes,
  stages: stageSeconds(run.run),
});

/** A table with so many old rows and none of the data set's. */
async function refill(world: World, oldRows: number): Promise<void> {
  const { db } = world;
  await db.query(`delete from public.${TABLE} where source <> 'old'`);
  const { rows: [held] } = await db.query<{ rows: number }>(
    `select count(*)::integer as rows from public.${TABLE}`,
  );
  await db.query(
    `insert into public.${TABLE} (event_id, event_type, occurred_at, source, payload, fingerprint, run_id, first_seen_at, updated_at)
     select 'old-' || md5(n::text || clock_timestamp()), 'page_view', at, 'old', jsonb_build_object('n', n, 'amount', n % 1000, 'country', 'ES'),
       sha256(n::text::bytea), '00000000-0000-7000-8000-000000000000', at, at
     from generate_series(1, $1::integer) as n cross join lateral (select now() - interval '400 days' + n * interval '1 second' as at) as t`,
    [oldRows - held!.rows],
  );
  await db.query(`vacuum (analyze) public.${TABLE}`);
  await world.settle();
}

async function loadWhileDeleting(
  world: World,
  server: TestServer,
  conf: unknown,
): Promise<Disturbed> {
  const id = await startMaintenance(server);
  const deleted = async () => {
    const { rows: [task] } = await world.db.query<{ deleted: number; state: string }>(
      `select deleted::integer, state from etl.maintenance_tasks
       where maintenance_id = $1 and task = 'clean_old_events'`,
      [id],
    );
    return task!;
  };
  const before = await waitFor(async () => {
    const { deleted: rows } = await deleted();
    return rows > 0 ? { rows } : null;
  }, { timeoutMs: 60_000, what: "the first batch" });
  const timed = await timedRun(world, server, conf);
  const after = await deleted();
  if (after.state !== "running") throw new Error("All old rows were deleted before the load ended");
  // the rest is not of interest: no attempt finds it going on
  await world.db.query(
    `update etl.maintenance_runs set state = 'failed', error = 'the measure is over', ended_at = clock_timestamp()
     where maintenance_id = $1`,
    [id],
  );
  return { ...timed, deleted: after.deleted - before.rows };
}

async function startMaintenance({ address }: TestServer): Promise<string> {
  const response = await fetch(`${address}/api/etl/maintenance`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      retention_days_metrics: -1,
      retention_days_audit: -1,
      retention_days_alerts: -1,
      retention_days_events: 365,
    }),
  });
  if (response.status !== 202) {
    throw new Error(`POST /api/etl/maintenance: ${response.status} ${await response.text()}`);
  }
  return (await response.json()).maintenance_id;
}
