import assert from "node:assert/strict";
import {
  confJsonSchema,
  confSchema,
  paramNames,
  paramsSchema,
  requestJsonSchema,
} from "../../pipeline/params.ts";

Deno.test("params: the fifteen of the original have their names and defaults", () => {
  const defaults = paramsSchema.parse({});
  const original = {
    batch_size: 500,
    run_label: "etl_improved",
    chunk_size: 500,
    schema_name: "public",
    table_name: "etl_improved_events",
    audit_table_name: "etl_improved_audit",
    min_acceptance_ratio: 1,
    enforce_ge: false,
    mlflow_enable: false,
    mlflow_experiment: "etl_improved",
    dry_run: false,
    db_statement_timeout_ms: 0,
    db_max_retries: 3,
    db_retry_initial_ms: 200,
    db_page_size: 1000,
  };
  for (const [name, value] of Object.entries(original)) {
    assert.deepEqual(defaults[name as keyof typeof defaults], value, name);
  }
  assert.deepEqual(defaults.source, { type: "synthetic", seed: 0 });
  assert.deepEqual([defaults.pool, defaults.overlap, defaults.on_failure], [
    "default_pool",
    "queue",
    "record",
  ]);
});

Deno.test("params: every one has a default and says what it is", () => {
  const schema = confJsonSchema() as {
    properties: Record<string, { default?: unknown; description?: string }>;
  };
  assert.deepEqual(Object.keys(schema.properties), paramNames);
  for (const [name, { description, ...rest }] of Object.entries(schema.properties)) {
    assert.ok("default" in rest, name);
    assert.ok((description ?? "").length > 5, name);
  }
});

Deno.test("params: a request holds no defaults, so that what was given can be told", () => {
  assert.deepEqual(confSchema.parse({}), {});
  const schema = requestJsonSchema() as {
    properties: Record<string, { default?: unknown }>;
    required?: string[];
  };
  assert.deepEqual(Object.keys(schema.properties), [...paramNames, "configuration"]);
  assert.equal(schema.required, undefined);
  for (const name of paramNames) assert.ok(!("default" in schema.properties[name]!), name);
});

Deno.test("params: names of schemas and tables are plain identifiers of at most 63 characters", () => {
  const accepts = (name: string) => paramsSchema.safeParse({ table_name: name }).success;
  for (const name of ["events", "_e", "Events$2", "a".repeat(63)]) assert.ok(accepts(name), name);
  for (const name of ["", "1a", "a-b", "a.b", 'a"b', "a b", "é", "a".repeat(64), "a;drop", "a\n"]) {
    assert.ok(!accepts(name), JSON.stringify(name));
  }
});

Deno.test("params: bounds", () => {
  const accepts = (conf: object) => paramsSchema.safeParse(conf).success;
  for (
    const [name, low, high] of [
      ["batch_size", 0, 1_000_000_000],
      ["chunk_size", 1, 1_000_000],
      ["min_acceptance_ratio", 0, 1],
      ["db_statement_timeout_ms", 0, 86_400_000],
      ["db_max_retries", 1, 20],
      ["db_retry_initial_ms", 1, 60_000],
      ["db_page_size", 1, 100_000],
    ] as const
  ) {
    assert.ok(accepts({ [name]: low }) && accepts({ [name]: high }), name);
    assert.ok(!accepts({ [name]: low - 1 }) && !accepts({ [name]: high + 1 }), name);
    assert.ok(!accepts({ [name]: String(low) }) && !accepts({ [name]: null }), name);
  }
});
