import { waitFor } from "../../tests/helpers/wait_for.ts";
import type { Measure, Row } from "../bench.ts";
import { cpuSecondsOf } from "../process_usage.ts";
import { requestRun } from "../runs.ts";
import { rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const SMALL_RUNS = 600;
const SMALL_RECORDS = 100;
const CLIENTS = 8;
const QUEUED_RUNS = 100;
/** A queue that is only looked at now and then stands still for half a second or more. */
const MAX_PAUSE_MS = 250;

export const smallRuns: Measure = {
  name: "small-runs",
  about:
    `${SMALL_RUNS} runs of ${SMALL_RECORDS} new rows, each with its own run_label, two servers`,
  run: measureSmallRuns,
};

export const queuedRuns: Measure = {
  name: "queued-runs",
  about:
    `${QUEUED_RUNS} runs that are asked for at once, one server: the longest pause between starts`,
  run: measureQueuedRuns,
};

async function measureSmallRuns(world: World): Promise<Row[]> {
  const { db } = world;
  // as many as the two servers execute at once, so that they and not the pool are the limit
  await db.query("insert into etl.pools (pool, slots) values ('bench', 8) on conflict do nothing");
  await using one = await world.server();
  await using two = await world.server();
  const label = `small ${crypto.randomUUID()}`;
  const conf = (i: number) => ({
    batch_size: SMALL_RECORDS,
    run_label: `${label} ${i}`,
    table_name: "bench_small",
    pool: "bench",
    source: { type: "synthetic", seed: i },
  });
  // both servers compile their code first
  for (let i = 1; i <= 20; i++) {
    await requestRun(i % 2 ? one : two, { ...conf(1_000_000 + i), run_label: `warm up ${i}` });
  }
  await allEnded(world, "warm up");
  world.log(`asking for ${SMALL_RUNS} small runs`);
  const cpu = async () => ({
    servers: await cpuSecondsOf(one.pid) + await cpuSecondsOf(two.pid),
    postgres: await world.postgresCpuSeconds(),
    started: performance.now(),
  });
  const before = await cpu();
  let next = 0;
  await Promise.all(Array.from({ length: CLIENTS }, async (_, client) => {
    while (next < SMALL_RUNS) await requestRun(client % 2 ? one : two, conf(next++));
  }));
  await allEnded(world, label);
  const after = await cpu();
  const { rows } = await db.query<{
    seconds: number;
    runs: number;
    wrong: number;
    by_server: number[];
  }>(
    `select extract(epoch from max(ended_at) - min(requested_at))::float8 as seconds, count(*)::integer as runs,
      (count(*) filter (where state <> 'succeeded' or attempt <> 1 or total_rows <> $2))::integer as wrong,
      (select array_agg(c) from (select count(*)::integer as c from etl.runs
        where starts_with(run_label, $1) group by server_id) as s) as by_server
    from etl.runs where starts_with(run_label, $1)`,
    [label, SMALL_RECORDS],
  );
  const { seconds, runs, wrong, by_server } = rows[0]!;
  await world.dropTable("bench_small");
  const elapsed = (after.started - before.started) / 1000;
  return [{
    measure: "small runs sustained by two servers",
    baseline: null,
    ours: runs / seconds,
    unit: "runs/s",
    ratio: null,
    target: "≥ 80 runs/s",
    ok: runs === SMALL_RUNS && wrong === 0 && runs / seconds >= 80,
    detail: {
      runs,
      runs_that_went_wrong: wrong,
      runs_by_server: by_server,
      cpu_ms_a_run: {
        servers: rounded((after.servers - before.servers) / runs * 1000),
        postgres: rounded((after.postgres - before.postgres) / runs * 1000),
      },
      cpus_busy: rounded(
        (after.servers - before.servers + after.postgres - before.postgres) / elapsed,
      ),
    },
  }];
}

async function measureQueuedRuns(world: World): Promise<Row[]> {
  const { db } = world;
  await using server = await world.server();
  const label = `queued ${crypto.randomUUID()}`;
  // every worker and connection of the server has done one before
  await Promise.all(
    Array.from(
      { length: 8 },
      (_, i) => requestRun(server, { run_label: `warm up queue ${i}`, table_name: "bench_queued" }),
    ),
  );
  await allEnded(world, "warm up queue");
  world.log(`asking for ${QUEUED_RUNS} runs at once`);
  await db.query(
    `select etl.submit_run(jsonb_build_object('run_label', $1 || ' ' || i, 'batch_size', 100,
      'table_name', 'bench_queued'), '{"trigger": "sql", "requested_by": "bench"}')
    from generate_series(1, $2::integer) as i`,
    [label, QUEUED_RUNS],
  );
  await allEnded(world, label);
  const { rows } = await db.query<{ pause: number; seconds: number; wrong: number }>(
    // the transaction that asks for all of them ends after its last request; none starts before
    `select max(extract(epoch from started_at - before))::float8 * 1000 as pause,
      extract(epoch from max(ended_at) - min(requested_at))::float8 as seconds,
      (count(*) filter (where state <> 'succeeded'))::integer as wrong
    from (select *, lag(started_at, 1, latest) over (order by started_at) as before
      from (select *, max(requested_at) over () as latest
        from etl.runs where starts_with(run_label, $1)) as l) as r`,
    [label],
  );
  await world.dropTable("bench_queued");
  const { pause, seconds, wrong } = rows[0]!;
  return [{
    measure: `${QUEUED_RUNS} queued runs: longest pause between two starts`,
    baseline: null,
    ours: pause,
    unit: "ms",
    ratio: null,
    target: `≤ ${MAX_PAUSE_MS} ms`,
    ok: wrong === 0 && pause <= MAX_PAUSE_MS,
    detail: { seconds_for_all: rounded(seconds), runs_that_went_wrong: wrong },
  }];
}

/** Waits until every run of a label has ended. */
async function allEnded({ db }: World, label: string): Promise<void> {
  await waitFor(async () => {
    const { rows } = await db.query<{ ended: boolean }>(
      `select not exists (select from etl.runs
        where starts_with(run_label, $1) and state in ('queued', 'running')) as ended`,
      [label],
    );
    return rows[0]!.ended;
  }, { timeoutMs: 300_000, intervalMs: 50, what: `the end of all runs "${label}"` });
}
