import type { Measure, Row } from "../bench.ts";
import { completeRun } from "../runs.ts";
import { median, quantile, rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const RUNS = 250;
const WARM_UP = 20;
const FINISHED = { target: 40, p99: 80 };

export const defaultRun: Measure = {
  name: "default-run",
  about: `a run of 500 records: request to finished and to the first chunk, median of ${RUNS}`,
  run: measureDefaultRun,
};

async function measureDefaultRun(world: World): Promise<Row[]> {
  await using server = await world.server();
  for (let i = 0; i < WARM_UP; i++) await completeRun(server, {});
  const same = await series(world, () => completeRun(server, {}));
  let seed = 1;
  const fresh = await series(
    world,
    () => completeRun(server, { source: { type: "synthetic", seed: seed++ } }),
  );
  return [
    row("a default run again, request to finished", same.finished, FINISHED, same.stored),
    row("500 new rows, request to finished", fresh.finished, FINISHED, fresh.stored),
    row("request to first chunk", [...same.firstChunk, ...fresh.firstChunk], { target: 50 }),
  ];
}

interface Series {
  /** ms from before the request to after the answer of `wait=true`. */
  finished: number[];
  /** ms from requested_at to ended_at, as the database has them. */
  stored: number[];
  /** ms from requested_at until a worker had the first chunk in hand. */
  firstChunk: number[];
}

async function series(world: World, run: () => Promise<{ run_id: string }>): Promise<Series> {
  const finished: number[] = [];
  const ids: string[] = [];
  for (let i = 0; i < RUNS; i++) {
    const started = performance.now();
    ids.push((await run()).run_id);
    finished.push(performance.now() - started);
  }
  // a chunk was begun when it was prepared, less the time that its stages took
  const { rows } = await world.db.query<{ stored: number; first_chunk: number }>(
    `select extract(epoch from r.ended_at - r.requested_at)::float8 * 1000 as stored,
      extract(epoch from c.prepared_at - r.requested_at)::float8 * 1000 - (
        select sum(value::float8) from jsonb_each_text(c.stage_ms) where key <> 'load') as first_chunk
    from etl.runs as r join etl.chunks as c on c.run_id = r.run_id and c.chunk_no = 0
    where r.run_id = any ($1::uuid[])`,
    [ids],
  );
  return {
    finished,
    stored: rows.map((each) => each.stored),
    firstChunk: rows.map((each) => each.first_chunk),
  };
}

function row(
  measure: string,
  values: number[],
  { target, p99 }: { target: number; p99?: number },
  stored?: number[],
): Row {
  return {
    measure,
    baseline: null,
    ours: median(values),
    unit: "ms",
    ratio: null,
    target: `≤ ${target} ms${p99 === undefined ? "" : `, p99 ≤ ${p99} ms`}`,
    ok: median(values) <= target && (p99 === undefined || quantile(values, 0.99) <= p99),
    detail: {
      p10: rounded(quantile(values, 0.1)),
      p90: rounded(quantile(values, 0.9)),
      p99: rounded(quantile(values, 0.99)),
      max: rounded(Math.max(...values)),
      ...(stored === undefined ? {} : { requested_to_ended_at_median: rounded(median(stored)) }),
    },
  };
}
