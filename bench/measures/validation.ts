import type { Measure, Row } from "../bench.ts";
import { watchMemory } from "../process_usage.ts";
import { loadConf, stageSeconds, type TimedRun, timedRun } from "../runs.ts";
import { median, rounded } from "../statistics.ts";
import type { World } from "../world.ts";
import type { TestServer } from "../../tests/helpers/server.ts";

const TABLE = "bench_validation";
const SUITE = "bench_mixed";

export const validation: Measure = {
  name: "validation",
  about: "a run judged by 20 mixed expectations against the same run without a suite",
  run: measureValidation,
};

/** Expectations of every kind that there is a state for, each of which holds. */
const EXPECTATIONS: [type: string, kwargs: Record<string, unknown>][] = [
  ["expect_table_row_count_to_be_between", { min_value: 1 }],
  ["expect_table_columns_to_match_set", { column_set: ["id", "amount"], exact_match: false }],
  ["expect_column_values_to_not_be_null", { column: "id" }],
  ["expect_column_values_to_be_unique", { column: "id" }],
  ["expect_column_values_to_match_regex", { column: "id", regex: "^evt-[0-9a-f]{8}$" }],
  ["expect_column_value_lengths_to_equal", { column: "id", value: 12 }],
  ["expect_column_values_to_match_regex", { column: "event_type", regex: "_|purchase|refund|up$" }],
  ["expect_column_values_to_be_in_set", {
    column: "type",
    value_set: ["page_view", "add_to_cart", "purchase", "refund", "signup"],
  }],
  ["expect_column_values_to_match_strftime_format", {
    column: "ts",
    strftime_format: "%Y-%m-%dT%H:%M:%S.%fZ",
  }],
  ["expect_column_values_to_be_between", { column: "user_id", min_value: 10_000 }],
  ["expect_column_values_to_be_in_type_list", { column: "user_id", type_list: ["int64"] }],
  ["expect_column_unique_value_count_to_be_between", { column: "user_id", min_value: 1 }],
  ["expect_column_values_to_be_between", {
    column: "amount",
    min_value: 0,
    max_value: 990,
    mostly: 0.9,
  }],
  ["expect_column_mean_to_be_between", { column: "amount", min_value: 400, max_value: 600 }],
  ["expect_column_stdev_to_be_between", { column: "amount", min_value: 200, max_value: 400 }],
  ["expect_column_median_to_be_between", { column: "amount", min_value: 400, max_value: 600 }],
  ["expect_column_quantile_values_to_be_between", {
    column: "amount",
    quantile_ranges: { quantiles: [0.05, 0.95], value_ranges: [[0, 100], [900, 1_000]] },
  }],
  ["expect_column_distinct_values_to_equal_set", {
    column: "device",
    value_set: ["mobile", "desktop", "tablet"],
  }],
  ["expect_column_values_to_be_in_set", {
    column: "country",
    value_set: ["ES", "MX", "AR", "CO", "US", "DE", "FR", "BR"],
    row_condition: 'type == "purchase" and amount > 10',
    condition_parser: "pandas",
  }],
  ["expect_column_pair_values_a_to_be_greater_than_b", { column_A: "user_id", column_B: "amount" }],
];

async function measureValidation(world: World): Promise<Row[]> {
  const without: TimedRun[] = [];
  const judged: TimedRun[] = [];
  {
    await using server = await world.server();
    await putSuite(server);
    for (let round = 1; round <= world.options.rounds; round++) {
      world.log(`validation, round ${round} of ${world.options.rounds}`);
      // each side is first as often as the other
      const sides = [() => load(world, server, {}), () => load(world, server, { suite: SUITE })];
      if (round % 2 === 0) judged.push(await sides[1]!());
      without.push(await sides[0]!());
      if (round % 2 === 1) judged.push(await sides[1]!());
    }
  }
  const seconds = (runs: TimedRun[]) => median(runs.map((run) => run.seconds));
  const time = seconds(judged) / seconds(without);
  const bytes = [await peak(world, {}), await peak(world, { suite: SUITE })] as const;
  await world.dropTable(TABLE);
  const memory = bytes[1] / bytes[0];
  return [
    {
      measure: "whole pipeline with a suite of 20 mixed expectations",
      baseline: seconds(without),
      ours: seconds(judged),
      unit: "s",
      ratio: time,
      target: "≤ 1.35 ×",
      ok: time <= 1.35,
      detail: { without: without.map(detailOf), judged: judged.map(detailOf) },
    },
    {
      measure: "peak memory of the server with that suite",
      baseline: bytes[0] / 1e6,
      ours: bytes[1] / 1e6,
      unit: "MB",
      ratio: memory,
      target: "≤ 1.2 × and ≤ 700 MB",
      ok: memory <= 1.2 && bytes[1] <= 700e6,
    },
  ];
}

async function putSuite(server: TestServer): Promise<void> {
  const response = await fetch(`${server.address}/api/suites/${SUITE}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      expectations: EXPECTATIONS.map(([type, kwargs]) => ({ type, kwargs })),
    }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`PUT /api/suites: ${response.status} ${text}`);
}

/** Loads into a fresh table. With `enforce_ge` a failing expectation would fail the bench. */
async function load(
  world: World,
  server: TestServer,
  { suite }: { suite?: string },
): Promise<TimedRun> {
  await world.dropTable(TABLE);
  await world.settle();
  return await timedRun(world, server, {
    ...loadConf(await world.dataSet("scattered"), TABLE),
    ...(suite === undefined ? {} : { suite, enforce_ge: true }),
  });
}

/** The most memory of a server that carries out one run: a process remembers its peak for ever. */
async function peak(world: World, options: { suite?: string }): Promise<number> {
  world.log(`validation, memory ${options.suite === undefined ? "without" : "with"} a suite`);
  await using server = await world.server();
  const memory = watchMemory(server.pid);
  await load(world, server, options);
  return await memory.stop();
}

function detailOf(timed: TimedRun): Record<string, unknown> {
  return {
    seconds: rounded(timed.seconds),
    server_cpu_seconds: rounded(timed.serverCpuSeconds),
    postgres_cpu_seconds: rounded(timed.postgresCpuSeconds),
    stage_seconds: stageSeconds(timed.run),
  };
}
