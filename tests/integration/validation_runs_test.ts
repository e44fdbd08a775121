import assert from "node:assert/strict";
import { runDir } from "../../pipeline/spill/layout.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";
import {
  type Given,
  NOT_NULL,
  POSITIVE,
  problemOf,
  putSuite,
  suiteOf,
  UNIQUE,
  validationOf,
} from "../helpers/suites.ts";

const amounts = (...values: unknown[]) => values.map((amount, i) => ({ id: `r${i}`, amount }));

async function rejections(engine: Engine, runId: string) {
  return await engine.sql<{ rule: string; message: string; raw: string }[]>`
    select rule, message, raw from etl.quarantine where run_id = ${runId}
    order by chunk_no, position`;
}

/** A suite with one of each kind of state: counted, sampled, spilled, ordered, sorted, summed. */
const MANY: Given[] = [
  NOT_NULL,
  POSITIVE,
  UNIQUE,
  ["expect_column_values_to_be_increasing", { column: "amount" }],
  ["expect_column_median_to_be_between", { column: "amount", min_value: 0 }],
  ["expect_column_sum_to_be_between", { column: "amount", min_value: 1e9 }],
  ["expect_column_distinct_values_to_be_in_set", { column: "kind", value_set: ["a", "b"] }],
  ["expect_column_most_common_value_to_be_in_set", { column: "kind", value_set: ["a"] }],
  ["expect_column_unique_value_count_to_be_between", { column: "text", max_value: 10 }],
  ["expect_compound_columns_to_be_unique", { column_list: ["kind", "amount"] }],
  ["expect_column_value_lengths_to_be_between", { column: "event_id", max_value: 3 }],
  ["expect_column_values_to_match_regex", {
    column: "text",
    regex: "^v\\d",
    row_condition: 'kind == "a"',
    condition_parser: "pandas",
  }],
  ["expect_table_row_count_to_equal", { value: 1 }],
];

/** 700 records in which the suite finds something everywhere. */
const VARIED = Array.from({ length: 700 }, (_, i) => ({
  id: `r${i}`,
  amount: i % 50 === 7 ? -i : i % 90 === 5 ? null : i % 300,
  kind: ["a", "b", "c"][i % 3],
  text: i % 40 === 0 ? "odd" : `v${i}`,
}));

Deno.test("a run is judged by its suite", async (t) => {
  await using engine = await startEngine(t, {
    files: {
      "plain.csv": "city,people\nLima,10\nQuito,20\n,\n",
      "times.ndjson": '{"at":"2024-02-29T10:00:00+02:00"}\n{"at":"0001-01-01"}\n{"at":null}\n',
      "epochs.ndjson": '{"at":-62135596800000}\n{"at":253402300799999}\n',
      "empty.ndjson": "",
      "big.ndjson": '{"id":1,"amount":9007199254740993}\n{"id":2,"amount":9007199254740994}\n',
    },
  });
  await t.step(
    "enforce_ge loads nothing where an expectation of the whole batch fails",
    async () => {
      await putSuite(engine, "strict", suiteOf(NOT_NULL, UNIQUE));
      // the two equal values are in different chunks, each of which is fine by itself
      const run = await engine.load(amounts(1, 2, 3, 4, 1), {
        enforce_ge: true,
        suite: "strict",
        chunk_size: 2,
        table_name: "fails",
      });
      assert.equal(run.state, "failed");
      assert.equal(run.error!.type, "/api/problems/validation-failed");
      assert.match(
        String(run.error!.detail),
        /1 of 2 expectations of suite strict .*to_be_unique\(amount\)/,
      );
      assert.equal((await engine.rows("public.fails")).length, 0);
      const { success, results, statistics } = await validationOf(engine, run.run_id);
      assert.equal(success, false);
      assert.deepEqual(results.map((each) => each.success), [true, false]);
      assert.equal(statistics.unsuccessful_expectations, 1);
      assert.equal(results[1]!.result.unexpected_count, 2);
      assert.deepEqual(results[1]!.result.partial_unexpected_index_list, [0, 4]);
    },
  );

  await t.step("a run compares with every digit of integers beyond 2^53", async () => {
    const stored = await engine.request("/api/suites/digits", {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: `{"expectations": [{"type": "expect_column_values_to_be_between",
        "kwargs": {"column": "amount", "max_value": 9007199254740993}}]}`,
    });
    assert.equal(stored.status, 201, await stored.text());
    const run = await engine.load([], {
      source: { type: "file", path: "big.ndjson", records: undefined },
      suite: "digits",
      table_name: "digits",
    });
    assert.equal(run.state, "succeeded");
    const { results } = await validationOf(engine, run.run_id);
    assert.deepEqual(results[0]!.result.partial_unexpected_list, ["9007199254740994"]);
    assert.equal(results[0]!.expectation_config.kwargs.max_value, "9007199254740993");
  });

  await t.step("enforce_ge loads what holds", async () => {
    await putSuite(engine, "strict", suiteOf(NOT_NULL, UNIQUE));
    const run = await engine.load(amounts(1, 2, 3, 4), {
      enforce_ge: true,
      suite: "strict",
      table_name: "holds",
    });
    assert.equal(run.state, "succeeded", JSON.stringify(run.error));
    assert.equal((await engine.rows("public.holds")).length, 4);
    assert.equal((await validationOf(engine, run.run_id)).success, true);
  });

  await t.step("a dry run is judged as a real one is", async () => {
    await putSuite(engine, "strict", suiteOf(UNIQUE));
    const conf = { enforce_ge: true, suite: "strict", dry_run: true };
    assert.equal((await engine.load(amounts(1, 1), conf)).state, "failed");
    assert.equal((await engine.load(amounts(1, 2), conf)).state, "succeeded");
  });

  await t.step(
    "without enforce_ge a failed expectation is recorded and the load goes on",
    async () => {
      await putSuite(engine, "loose", suiteOf(POSITIVE, UNIQUE));
      const run = await engine.load(amounts(1, -2, 1), { suite: "loose", table_name: "loose" });
      assert.equal(run.state, "succeeded", JSON.stringify(run.error));
      assert.equal((await engine.rows("public.loose")).length, 3);
      const { success, results, suite_name } = await validationOf(engine, run.run_id);
      assert.deepEqual({ success, suite_name }, { success: false, suite_name: "loose" });
      assert.deepEqual(results.map(({ result }) => result.unexpected_count), [1, 2]);
      assert.deepEqual(results[0]!.result.partial_unexpected_list, [-2]);
    },
  );

  await t.step("the original's default run with enforce_ge works", async () => {
    const run = await engine.succeed({ enforce_ge: true, batch_size: 500 });
    assert.equal(run.total_rows, 500);
    const { suite_name, success } = await validationOf(engine, run.run_id);
    assert.deepEqual({ suite_name, success }, { suite_name: "etl_improved_events", success: true });
  });

  await t.step(
    "the suite of the default table holds for files without times, types and keys",
    async () => {
      for (
        const source of [
          { path: "plain.csv" },
          { path: "plain.csv", name: "keyed", key: "city", event_type: { field: "city" } },
          { path: "times.ndjson", occurred_at: "at" },
          { path: "epochs.ndjson", occurred_at: { field: "at", format: "epoch_ms" } },
          { path: "empty.ndjson" },
        ]
      ) {
        const run = await engine.runToEnd({
          enforce_ge: true,
          min_acceptance_ratio: 0,
          source: { type: "file", ...source },
        });
        const told = JSON.stringify({ source, error: run.error });
        assert.equal(run.state, "succeeded", told);
        assert.equal((await validationOf(engine, run.run_id)).success, true, told);
      }
    },
  );

  await t.step("a run without a suite has no validation, and says so", async () => {
    const run = await engine.load(amounts(1), { table_name: "other" });
    const problem = await problemOf(await engine.request(`/api/etl/runs/${run.run_id}/validation`));
    assert.equal(problem.status, 404);
    assert.match(problem.detail, /had no suite/);
  });
});

Deno.test("failing rows and wrong requests", async (t) => {
  await using engine = await startEngine(t);
  await t.step("on_failure quarantine keeps failing rows out and loads the rest", async () => {
    await putSuite(engine, "rows", suiteOf(NOT_NULL, POSITIVE));
    const run = await engine.load(amounts(1, -2, null, 4, -5, 6), {
      suite: "rows",
      on_failure: "quarantine",
      min_acceptance_ratio: 0.5,
      chunk_size: 2,
    });
    assert.equal(run.state, "succeeded", JSON.stringify(run.error));
    assert.deepEqual((await engine.rows()).map(({ event_id }) => event_id), ["r0", "r3", "r5"]);
    const { total_rows, expected_rows, ratio, counts } = run;
    assert.deepEqual({ total_rows, expected_rows, ratio, rejected: counts.rejected }, {
      total_rows: 3,
      expected_rows: 6,
      ratio: 0.5,
      rejected: 3,
    });
    const stored = await rejections(engine, run.run_id);
    assert.deepEqual(stored.map(({ rule, raw }) => [rule, JSON.parse(raw).id]), [
      [POSITIVE[0], "r1"],
      [NOT_NULL[0], "r2"],
      [POSITIVE[0], "r4"],
    ]);
    assert.match(stored[0]!.message, /\(column "amount", min_value 0\): -2$/);
    const { results } = await validationOf(engine, run.run_id);
    assert.deepEqual(results.map(({ result }) => result.element_count), [6, 6]);
    assert.deepEqual(results[1]!.result.partial_unexpected_index_list, [1, 4]);
    const stage = run.stages.find(({ stage }) => stage === "ge_validate")!;
    assert.deepEqual([stage.records_in, stage.records_out], [6, 3]);
  });

  await t.step(
    "on_failure quarantine is refused with enforce_ge and for the batch, over HTTP and SQL",
    async () => {
      await putSuite(engine, "rows", suiteOf(POSITIVE));
      await putSuite(engine, "batch", suiteOf(POSITIVE, UNIQUE));
      const before = await engine.sql`select from etl.runs`;
      for (
        const [conf, says] of [
          [{ suite: "rows", enforce_ge: true }, /either the failing rows stay out/],
          [{ suite: "batch" }, /judges rows one by one; batch has expectations of the whole batch/],
        ] as const
      ) {
        const whole = { ...conf, on_failure: "quarantine", batch_size: 1 };
        const problem = await problemOf(await engine.post("/api/etl/run", whole));
        assert.deepEqual([problem.status, problem.type], [422, "invalid-conf"]);
        assert.match(problem.detail, says);
        assert.equal(problem.errors[0]!.field, "on_failure");
        await assert.rejects(
          engine.sql`select etl.request_run(${JSON.stringify(whole)}::text::jsonb)`,
          says,
        );
      }
      assert.equal((await engine.sql`select from etl.runs`).length, before.length);
    },
  );

  await t.step("enforce_ge without a suite, and an unknown suite, are refused", async () => {
    const none = await problemOf(
      await engine.post("/api/etl/run", { enforce_ge: true, table_name: "other" }),
    );
    assert.equal(none.status, 422);
    assert.match(none.detail, /needs a suite, and there is none for this table/);
    const unknown = await problemOf(await engine.post("/api/etl/run", { suite: "nope" }));
    assert.equal(unknown.errors[0]!.field, "suite");
    assert.match(unknown.errors[0]!.expected!, /etl_improved_events/);
  });
});

Deno.test("a batch of many chunks", async (t) => {
  await using engine = await startEngine(t);
  await t.step("the verdict over many chunks is that over one", async () => {
    await putSuite(engine, "many", suiteOf(...MANY));
    const judged = async (chunk_size: number) => {
      const run = await engine.load(VARIED, { suite: "many", chunk_size });
      assert.equal(run.state, "succeeded", JSON.stringify(run.error));
      return await validationOf(engine, run.run_id);
    };
    const whole = await judged(700);
    assert.equal(whole.results.length, MANY.length);
    assert.deepEqual(whole.results.filter(({ exception_info: e }) => e.raised_exception), []);
    assert.deepEqual(await judged(101), whole);
    assert.deepEqual(await judged(37), whole);
  });

  await t.step(
    "a run that is taken up again judges the whole batch, from what is there or again",
    async () => {
      await putSuite(engine, "many", suiteOf(...MANY));
      const conf = (name: string) => ({
        suite: "many",
        chunk_size: 50,
        table_name: name,
        source: { type: "inline", name: "test", key: "id", records: VARIED },
      });
      const { run_id } = await engine.succeed(conf("undisturbed"));
      const expected = await validationOf(engine, run_id);

      const preparedAt = async (run_id: string) =>
        new Map(
          (await engine.sql<{ chunk_no: number; at: string }[]>`
            select chunk_no, prepared_at::text as at from etl.chunks
            where run_id = ${run_id} and prepared_at is not null`)
            .map(({ chunk_no, at }) => [chunk_no, at]),
        );
      for (const lost of [/^none$/, /\.ge\d+\.1$/, /./]) {
        const { run_id } = await engine.submit(conf(`disturbed`));
        const stop = new AbortController();
        let prepared = 0;
        const how = await engine.execute(run_id, {
          stopping: stop.signal,
          observer: {
            taskDone: (_run, { kind }) => kind === "prepare" && ++prepared === 4 && stop.abort(),
          },
        });
        assert.equal(how, "given back");
        const dir = runDir(engine.config.spoolDir, run_id);
        const names = [...Deno.readDirSync(dir)].map(({ name }) => name);
        assert.ok(names.some((name) => /\.ge\d+\.1$/.test(name)), names.join(" "));
        for (const name of names) if (lost.test(name)) await Deno.remove(`${dir}/${name}`);
        const before = await preparedAt(run_id);
        const run = await engine.toEnd(run_id);
        assert.equal(run.state, "succeeded", `${lost}: ${JSON.stringify(run.error)}`);
        assert.equal(run.attempt, 2);
        // what is there whole is not prepared again
        const after = await preparedAt(run_id);
        const same = [...before].filter(([chunk, at]) => after.get(chunk) === at);
        assert.ok(before.size >= 4);
        assert.equal(same.length, lost.source === "^none$" ? before.size : 0, String(lost));
        assert.deepEqual(await validationOf(engine, run_id), expected, String(lost));
      }
    },
  );
});

Deno.test("payloads", async (t) => {
  await using engine = await startEngine(t, {
    transforms: {
      checked: `import { z } from "${import.meta.resolve("zod")}";
export const schema = z.object({ id: z.string(), amount: z.number().max(10) });
export const transform = (record) => ({ ...record, amount: record.amount * 2 });
`,
    },
  });
  await t.step("payloads are checked by the schema that comes with the suite", async () => {
    await putSuite(engine, "schema", {
      ...suiteOf(["expect_table_row_count_to_equal", { value: 2 }]),
      meta: {
        payload_schema: {
          type: "object",
          required: ["amount"],
          properties: { amount: { type: "integer", minimum: 0 } },
        },
      },
    });
    const records = [...amounts(1, -2, 3), { id: "none" }];
    const run = await engine.load(records, { suite: "schema", min_acceptance_ratio: 0.5 });
    assert.equal(run.state, "succeeded", JSON.stringify(run.error));
    assert.deepEqual(
      (await rejections(engine, run.run_id)).map(({ rule, message }) => [rule, message]),
      [
        ["payload_schema:minimum", "amount must be >= 0"],
        ["payload_schema:required", "the payload must have required property 'amount'"],
      ],
    );
    // the suite sees what has passed
    assert.equal((await validationOf(engine, run.run_id)).success, true);
    assert.equal((await engine.rows()).length, 2);
  });

  await t.step(
    "payloads are checked by the zod schema of a module, after its transform",
    async () => {
      const run = await engine.load(amounts(1, 5, 6), {
        transform: "checked",
        table_name: "modules",
        min_acceptance_ratio: 0.5,
      });
      assert.equal(run.state, "succeeded", JSON.stringify(run.error));
      const [rejected, ...others] = await rejections(engine, run.run_id);
      assert.deepEqual(others, []);
      assert.equal(rejected!.rule, "payload_schema:too_big");
      assert.match(rejected!.message, /^amount must be <= 10$/);
      assert.equal(JSON.parse(rejected!.raw).amount, 6);
    },
  );
});
