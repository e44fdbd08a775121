import type { Measure, Row } from "../bench.ts";
import { completeRun, loadConf } from "../runs.ts";
import { median, rounded } from "../statistics.ts";
import type { World } from "../world.ts";

const TABLE = "bench_typed";
const COLUMNS = [
  { name: "country", type: "text" },
  { name: "returning", type: "boolean" },
  { name: "amount", type: "numeric" },
  { name: "user_id", type: "integer" },
  { name: "ts", type: "timestamptz" },
  { name: "day", path: "ts", type: "date" },
];
/** An aggregate over the view, the same with a bare cast of the JSON path, and how much dearer it may be. */
const QUERIES = [
  { name: "count", view: "count(*)", bare: "count(*)", most: 1.2 },
  { name: "text", view: "max(country)", bare: "max(payload ->> 'country')", most: 1.2 },
  {
    name: "boolean",
    view: 'count(*) filter (where "returning")',
    bare: "count(*) filter (where (payload ->> 'returning')::boolean)",
    most: 2,
  },
  { name: "numeric", view: "sum(amount)", bare: "sum((payload ->> 'amount')::numeric)", most: 2 },
  { name: "integer", view: "sum(user_id)", bare: "sum((payload ->> 'user_id')::bigint)", most: 3 },
  { name: "timestamptz", view: "max(ts)", bare: "max((payload ->> 'ts')::timestamptz)", most: 6 },
  { name: "date", view: "max(day)", bare: "max((payload ->> 'ts')::date)", most: 8 },
];

export const typedView: Measure = {
  name: "typed-view",
  about: "aggregates over the columns of a typed view against bare casts of JSON paths",
  run: measureTypedView,
};

async function measureTypedView(world: World): Promise<Row[]> {
  const { rounds } = world.options;
  await world.dropTable(TABLE);
  {
    await using server = await world.server();
    await completeRun(server, loadConf(await world.dataSet("scattered"), TABLE));
  }
  const { db } = world;
  const { rows: [made] } = await db.query<{ view: string }>(
    "select etl.set_dataset_columns($1, $2::text::jsonb) as view",
    [`public.${TABLE}`, JSON.stringify(COLUMNS)],
  );
  await db.query(`vacuum (analyze) public.${TABLE}`);
  // in one process each, so that the planner does not choose for one side only
  await db.query("set max_parallel_workers_per_gather = 0; set jit = off");
  const time = async (query: string) => {
    const started = performance.now();
    await db.query(query);
    return performance.now() - started;
  };
  const measured: Row[] = [];
  for (const { name, view, bare, most } of QUERIES) {
    world.log(`typed view: ${name}`);
    const ours: number[] = [];
    const baseline: number[] = [];
    for (let round = 0; round < rounds; round++) {
      ours.push(await time(`select ${view} from ${made!.view}`));
      baseline.push(await time(`select ${bare} from public.${TABLE}`));
    }
    const ratio = median(ours) / median(baseline);
    measured.push({
      measure: `typed view, ${name}, against a bare cast`,
      baseline: median(baseline),
      ours: median(ours),
      unit: "ms",
      ratio,
      target: `≤ ${most.toFixed(1)} ×`,
      ok: ratio <= most,
      detail: { baseline: baseline.map((v) => rounded(v)), ours: ours.map((v) => rounded(v)) },
    });
  }
  await db.query("reset max_parallel_workers_per_gather; reset jit");
  await db.query("select etl.set_dataset_columns($1, null)", [`public.${TABLE}`]);
  await world.dropTable(TABLE);
  return measured;
}
