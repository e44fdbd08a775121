import assert from "node:assert/strict";
import { suiteRows } from "../../pipeline/expectations/expectations.ts";
import { storeFileSuites } from "../../store/suites.ts";
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

async function put(engine: Engine, name: string, body: unknown): Promise<Response> {
  return await engine.request(`/api/suites/${name}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

async function json<T = Record<string, unknown>>(response: Response): Promise<T> {
  const text = await response.text();
  assert.ok(response.ok, text);
  return JSON.parse(text);
}

Deno.test("suites over HTTP", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });

  await t.step("put creates, replaces, get shows, list counts, delete removes", async () => {
    const created = await put(engine, "mine", suiteOf(NOT_NULL, UNIQUE));
    assert.equal(created.status, 201);
    await created.body?.cancel();
    const replaced = await put(engine, "mine", suiteOf(NOT_NULL));
    assert.equal(replaced.status, 200);
    const stored = await json(await engine.request("/api/suites/mine"));
    assert.deepEqual(stored, await replaced.json());
    assert.equal(stored.name, "mine");
    const { items } = await json<{ items: unknown[] }>(await engine.request("/api/suites"));
    assert.deepEqual(items, [
      { name: "etl_improved_events", expectations: 5, row_wise: true, origin: "file" },
      { name: "mine", expectations: 1, row_wise: true, origin: "api" },
    ]);
    const removed = await engine.request("/api/suites/mine", { method: "DELETE" });
    assert.equal(removed.status, 204);
    for (const method of ["GET", "DELETE"]) {
      const gone = await problemOf(await engine.request("/api/suites/mine", { method }));
      assert.equal(gone.status, 404);
    }
    const audited = await engine.sql`
      select event, details ->> 'name' as name from public.etl_improved_audit
      where event like 'suites_%' order by audit_id`;
    assert.deepEqual(audited.map(({ event, name }) => [event, name]), [
      ["suites_put", "mine"],
      ["suites_put", "mine"],
      ["suites_delete", "mine"],
    ]);
  });

  await t.step("integers beyond 2^53 keep every digit, put, stored, shown and tried", async () => {
    const text = `{"expectations": [{"type": "expect_column_values_to_be_in_set",
      "kwargs": {"column": "a", "value_set": [9007199254740993], "row_condition": "a > 9007199254740992"}}]}`;
    for (
      const response of [
        await put(engine, "big", text),
        await engine.request("/api/suites/big"),
      ]
    ) {
      const answer = await response.text();
      assert.ok(response.ok, answer);
      assert.match(answer, /"value_set": ?\[9007199254740993\]/);
    }
    const [row] = await engine.sql<{ json: string }[]>`
      select suite #>> '{expectations,0,kwargs,value_set,0}' as json from etl.suites where name = 'big'`;
    assert.equal(row!.json, "9007199254740993");
    const tried = await engine.request("/api/suites/try", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: `{"suite": ${text}, "records": [{"a": 9007199254740992}, {"a": 9007199254740993},
        {"a": 9007199254740994}]}`,
    });
    const { results } = await json<{ results: { result: Record<string, unknown> }[] }>(tried);
    assert.equal(results[0]!.result.element_count, 2);
    assert.deepEqual(results[0]!.result.partial_unexpected_list, ["9007199254740994"]);
    await (await engine.request("/api/suites/big", { method: "DELETE" })).body?.cancel();
  });

  await t.step("a suite of 0.18 is read back as one of 1.x", async () => {
    await putSuite(engine, "old", {
      expectation_suite_name: "its.own.name",
      data_asset_type: "Dataset",
      ge_cloud_id: null,
      evaluation_parameters: { most: 10 },
      expectations: [{
        expectation_type: "expect_column_values_to_be_between",
        kwargs: {
          column: "amount",
          max_value: { $PARAMETER: "most" },
          result_format: "SUMMARY",
        },
        meta: {},
      }],
      meta: { great_expectations_version: "0.18.22" },
    });
    assert.deepEqual(await json(await engine.request("/api/suites/old")), {
      name: "old",
      id: null,
      expectations: [{
        type: "expect_column_values_to_be_between",
        kwargs: { column: "amount", max_value: { $PARAMETER: "most" } },
        meta: {},
        severity: "critical",
      }],
      suite_parameters: { most: 10 },
      meta: { great_expectations_version: "0.18.22" },
      notes: null,
    });
    const run = await engine.load([{ id: "a", amount: 11 }], { suite: "old" });
    assert.equal((await validationOf(engine, run.run_id)).success, false);
  });

  await t.step("a hostile suite gets a clear answer at once", async () => {
    const between = "expect_column_values_to_be_between";
    const regex = (pattern: string): Given => [
      "expect_column_values_to_match_regex",
      { column: "a", regex: pattern },
    ];
    const cases: [suite: unknown, field: string, says: RegExp][] = [
      [
        suiteOf(["expect_colum_values_to_be_unique", { column: "a" }]),
        "expectations[0].type",
        /did you mean expect_column_values_to_be_unique\?/,
      ],
      [
        suiteOf([between, { colum: "a", min_value: 1 }]),
        "expectations[0].kwargs.colum",
        /did you mean column\?/,
      ],
      [
        suiteOf([between, { column: "a", min_value: "b", max_value: 1 }]),
        "expectations[0].kwargs.max_value",
        /must be of the same type/,
      ],
      [
        suiteOf(["expect_column_kl_divergence_to_be_less_than", { column: "a" }]),
        "expectations[0].type",
        /is not supported: /,
      ],
      [suiteOf(NOT_NULL, regex("(a")), "expectations[1].kwargs.regex", /cannot be used/],
      [suiteOf(regex("(?=a)")), "expectations[0].kwargs.regex", /look-around is not supported/],
      [
        suiteOf(regex("((a{100}){100}){100}")),
        "expectations[0].kwargs.regex",
        /repetitions written out/,
      ],
      [
        suiteOf([between, { column: "a", min_value: { $PARAMETER: "no" } }]),
        "expectations[0].kwargs.min_value",
        /parameter no has no value/,
      ],
      [{ expectations: Array.from({ length: 1_001 }, () => ({})) }, "expectations", /1000/],
      [
        { expectations: [], meta: { payload_schema: { $ref: "#" } } },
        "meta.payload_schema",
        /refers to itself/,
      ],
      [{ expectations: [], expectatons: [] }, "expectatons", /did you mean expectations\?/],
      [{ expectations: "all" }, "expectations", /array/],
    ];
    for (const [suite, field, says] of cases) {
      const { status, type, errors } = await problemOf(await put(engine, "hostile", suite));
      assert.deepEqual([status, type], [422, "invalid-conf"], JSON.stringify(suite).slice(0, 200));
      const error = errors.find((each) => each.field === field);
      assert.match(String(error?.message), says, JSON.stringify(errors).slice(0, 400));
    }
    for (const body of ["{", "[]", '"suite"', "null"]) {
      assert.equal((await problemOf(await put(engine, "hostile", body))).status, 400, body);
    }
    for (const body of ["", "{}"]) {
      const { status, detail } = await problemOf(await put(engine, "hostile", body));
      assert.equal(status, 422);
      assert.match(detail, /it has no expectations/);
    }
    const huge = `{"expectations": [], "notes": "${"x".repeat(5 << 20)}"}`;
    assert.equal((await problemOf(await put(engine, "hostile", huge))).status, 413);
    assert.equal((await put(engine, "no%20name", suiteOf())).status, 400);
    assert.equal((await engine.sql`select from etl.suites where name = 'hostile'`).length, 0);
  });

  await t.step("a draft is tried on records, or on a source as a run would see it", async () => {
    const suite = suiteOf(NOT_NULL, UNIQUE, ["expect_column_values_to_not_be_null", {
      column: "event_id",
    }]);
    const records = [{ id: 1, amount: 1 }, { id: 2, amount: 1 }];
    const tried = async (body: unknown) =>
      (await json<{ results: { success: boolean }[] }>(await engine.post("/api/suites/try", body)))
        .results.map(({ success }) => success);
    assert.deepEqual(await tried({ suite, records }), [true, false, false]);
    const source = { type: "inline", records, key: "id" };
    assert.deepEqual(await tried({ suite, conf: { source } }), [true, false, true]);
    const many = { suite, conf: { source: { type: "synthetic" }, batch_size: 10_001 } };
    const { results: [sample] } = await json<{ results: { result: { element_count: number } }[] }>(
      await engine.post("/api/suites/try", many),
    );
    assert.equal(sample!.result.element_count, 10_000);
    assert.equal(
      (await engine.sql`select from etl.suites where name in ('draft', 'any')`).length,
      0,
    );
    assert.deepEqual([...Deno.readDirSync(engine.config.spoolDir)], []);
    for (
      const [body, status] of [
        [{ records }, 400],
        [{ suite }, 400],
        [{ suite, records, more: 1 }, 400],
        [{ suite, records, conf: { source } }, 400],
        [{ suite, records: Array(10_001).fill({ id: 1 }) }, 400],
        [{ suite, records: [{ id: 1 }, null] }, 400],
        [{ suite, records: [[1]] }, 400],
        [{ suite: [], records }, 400],
        [[], 400],
        [{ suite: suiteOf(["nothing", {}]), records }, 422],
        [{ suite, conf: { sorce: 1 } }, 422],
      ] as const
    ) {
      assert.equal((await problemOf(await engine.post("/api/suites/try", body))).status, status);
    }
  });
});

Deno.test("a run's suite is the one that it names, else its dataset's, else its table's", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const dir = await Deno.makeTempDir({ prefix: "etl_suites_" });
  const storeFiles = async () => await storeFileSuites(engine.sql, await suiteRows(dir));
  const chosen = async (conf: object) => {
    const run = await engine.load([{ id: 1, amount: 1 }], { ...conf, dry_run: true });
    const { suite_name, results } = await validationOf(engine, run.run_id);
    return [suite_name, results.length];
  };
  try {
    await Deno.writeTextFile(
      `${dir}/a.json`,
      JSON.stringify({ ...suiteOf(POSITIVE), name: "orders" }),
    );
    await storeFiles();
    assert.deepEqual(await chosen({ table_name: "orders" }), ["orders", 1]);
    assert.deepEqual(await chosen({ table_name: "orders", schema_name: "sales" }), ["orders", 1]);

    await putSuite(engine, "sales.orders", suiteOf());
    assert.deepEqual(await chosen({ table_name: "orders", schema_name: "sales" }), [
      "sales.orders",
      0,
    ]);
    assert.deepEqual(await chosen({ table_name: "orders" }), ["orders", 1]);
    assert.deepEqual(await chosen({ table_name: "orders", suite: "sales.orders" }), [
      "sales.orders",
      0,
    ]);

    // what a person has put stays when files are read again
    await putSuite(engine, "orders", suiteOf(POSITIVE, NOT_NULL));
    await storeFiles();
    assert.deepEqual(await chosen({ table_name: "orders" }), ["orders", 2]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("suites are proposed from data", async (t) => {
  const rows = Array.from(
    { length: 300 },
    (_, i) => `${i},${i % 7},2024-01-${10 + i % 9},k${i % 3}`,
  );
  await using engine = await startEngine(t, {
    workers: 1,
    files: { "sales.csv": `id,amount,day,kind\n${rows.join("\n")}\n` },
    transforms: { doubled: "export const transform = (r) => ({ ...r, amount: r.amount * 2 });" },
  });
  const conf = {
    transform: "doubled",
    source: { type: "file", path: "sales.csv", key: "id", event_type: { field: "kind" } },
  };
  const profiled = async (query: string, body: unknown = conf) =>
    await json<{
      suite: { name: string; expectations: { type: string; kwargs: Record<string, unknown> }[] };
      records: number;
      cut: boolean;
      warnings: string[];
    }>(await engine.post(`/api/suites/profile${query}`, body));

  await t.step("the proposal holds on the data, as a run transforms it", async () => {
    const { suite, records, cut, warnings } = await profiled("?name=sales");
    assert.deepEqual({ name: suite.name, records, cut, warnings }, {
      name: "sales",
      records: 300,
      cut: false,
      warnings: [],
    });
    const proposed = suite.expectations.map(({ type, kwargs }) =>
      `${type} ${kwargs.column ?? ""} ${JSON.stringify(kwargs.value_set ?? kwargs.max_value ?? "")}`
    );
    for (
      const one of [
        "expect_column_values_to_be_unique event_id ",
        'expect_column_values_to_be_in_set event_type ["k0","k1","k2"]',
        "expect_column_values_to_be_in_set amount [0,2,4,6,8,10,12]",
        "expect_column_values_to_match_regex day ",
      ]
    ) assert.ok(proposed.some((each) => each.startsWith(one)), `${one}\n${proposed.join("\n")}`);
    await putSuite(engine, "sales", suite);
    const run = await engine.succeed({ ...conf, suite: "sales", enforce_ge: true });
    assert.equal(
      (await validationOf(engine, run.run_id)).results.length,
      suite.expectations.length,
    );
    const other = await engine.runToEnd({
      ...conf,
      transform: null,
      suite: "sales",
      enforce_ge: true,
    });
    assert.equal(other.state, "failed");
    assert.equal((await engine.sql`select from etl.suites where name = 'proposed'`).length, 0);
  });

  await t.step("a profile of the first records says that it is one", async () => {
    const { records, cut, warnings } = await profiled("?records=100");
    assert.deepEqual({ records, cut }, { records: 100, cut: true });
    assert.match(warnings.join(), /Only the first 100 records were looked at and there are more/);
    assert.equal((await profiled("?records=300")).cut, false);
    const synthetic = await profiled("?records=10", { batch_size: 20 });
    assert.deepEqual([synthetic.records, synthetic.cut], [10, true]);
    assert.deepEqual([...Deno.readDirSync(engine.config.spoolDir)], []);
  });

  await t.step("records that a run would quarantine are left out and told of", async () => {
    const { warnings, suite } = await profiled("", {
      source: { type: "inline", key: "id", records: [{ id: 1, a: 1 }, { a: "text" }] },
    });
    assert.match(warnings.join(), /1 record was left out/);
    assert.deepEqual(
      suite.expectations.find(({ type, kwargs }) => kwargs.column === "a" && /type_list/.test(type))
        ?.kwargs.type_list,
      ["int64"],
    );
    const none = await profiled("", { source: { type: "inline", records: [] } });
    assert.match(none.warnings.join(), /no events to make proposals from/);
  });

  await t.step("wrong requests are refused", async () => {
    for (const query of ["?records=0", "?records=1000001", "?records=x", "?name=a%20b"]) {
      const { status } = await problemOf(await engine.post(`/api/suites/profile${query}`, conf));
      assert.equal(status, 400, query);
    }
    const missing = await problemOf(
      await engine.post("/api/suites/profile", { source: { type: "file", path: "nope.csv" } }),
    );
    assert.equal(missing.status, 422);
    assert.match(missing.detail, /nope\.csv/);
  });
});
