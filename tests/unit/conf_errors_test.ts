import assert from "node:assert/strict";
import { parseConf } from "../../pipeline/conf_errors.ts";
import { type FieldError, Problem } from "../../vocabulary/problem.ts";

function problemOf(conf: unknown): Problem {
  try {
    parseConf(conf);
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error(`${JSON.stringify(conf)} was accepted`);
}

function errorAt(conf: unknown, field: string): FieldError {
  const found = problemOf(conf).errors.find((error) => error.field === field);
  assert.ok(found !== undefined, JSON.stringify(problemOf(conf).errors));
  return found;
}

Deno.test("parseConf() gives back what is valid, as it was given", () => {
  const conf = {
    batch_size: 0,
    sla_seconds: { run: 5, stages: { load: 1.5 } },
    configuration: "saved",
    source: {
      type: "inline",
      records: [1, { a: 12345678901234567890n }, "\u0000"],
      key: ["a", "b"],
    },
  };
  assert.equal(parseConf(conf), conf);
  assert.deepEqual(parseConf({}), {});
});

Deno.test("parseConf() tells the bounds, and whether they belong to it", () => {
  assert.equal(errorAt({ batch_size: -1 }, "batch_size").expected, "at least 0");
  assert.equal(errorAt({ sla_seconds: 0 }, "sla_seconds").expected, "more than 0");
  assert.equal(
    errorAt({ min_acceptance_ratio: 1.1 }, "min_acceptance_ratio").expected,
    "at most 1",
  );
  assert.equal(errorAt({ run_label: "" }, "run_label").expected, "at least 1 character");
  assert.equal(
    errorAt({ source: { type: "inline", key: [] } }, "source.key").expected,
    "at least 1 item",
  );
});

Deno.test("parseConf() tells the nearest known name, at every depth", () => {
  assert.equal(errorAt({ batchsize: 1 }, "batchsize").expected, "batch_size");
  assert.equal(errorAt({ configuraton: "a" }, "configuraton").expected, "configuration");
  assert.equal(
    errorAt({ source: { type: "file", path: "a", pth: 1 } }, "source.pth").expected,
    "path",
  );
  assert.equal(
    errorAt(
      { source: { type: "inline", occurred_at: { field: "a", fromat: "iso" } } },
      "source.occurred_at.fromat",
    )
      .expected,
    "format",
  );
  assert.match(
    errorAt({ utterly_different_thing: 1 }, "utterly_different_thing").expected!,
    /^one of: batch_size, /,
  );
  assert.equal(problemOf({ batchsize: 1, chunksize: 2 }).type, "unknown-parameter");
  assert.equal(problemOf({ batchsize: 1, chunk_size: 0 }).type, "invalid-conf");
  assert.deepEqual(errorAt({ batchsize: 17 }, "batchsize").value, 17);
});

Deno.test("parseConf() names the kinds of source that there are", () => {
  for (const source of [{}, { type: "nope" }]) {
    const [error] = problemOf({ source }).errors;
    assert.match(
      error!.expected!,
      /synthetic, inline, file, http, postgres/,
      JSON.stringify(error),
    );
  }
});

Deno.test("parseConf() collects every error, and the detail names each", () => {
  const problem = problemOf({
    batch_size: -1,
    chunk_size: 0,
    overlap: "x",
    source: { type: "file" },
  });
  assert.deepEqual(problem.errors.map(({ field }) => field).sort(), [
    "batch_size",
    "chunk_size",
    "overlap",
    "source.path",
  ]);
  for (const { field } of problem.errors) assert.ok(problem.message.includes(field));
  assert.match(problem.message, /^The conf has 4 errors: /);
});

Deno.test("parseConf() shows a long value shortened and an integer with every digit", () => {
  const long = errorAt({ overlap: "x".repeat(10_000) }, "overlap");
  assert.ok(JSON.stringify(long).length < 500);
  assert.equal(
    errorAt({ batch_size: 12345678901234567890n }, "batch_size").value,
    "12345678901234567890",
  );
});

Deno.test("parseConf() shows no credentials of what was meant as a URL", () => {
  const secret = "Xq9aa7sEcReT0000000000";
  for (
    const url of [
      `https://user:${secret}\uff20example.org/a.csv`,
      `https://user:${secret}%40example.org/a.csv`,
      `ftp://example.org/a.csv?token=${secret}`,
      `//example.org/a.csv?page=1&token=${secret}`,
      `https://example.org:99999/a.csv#${secret}`,
    ]
  ) {
    for (const source of [{ type: "http", url }, { type: "synthetic", seed: url }, { type: url }]) {
      assert.ok(!JSON.stringify(problemOf({ source }).errors).includes(secret), url);
    }
    assert.ok(
      !JSON.stringify(problemOf({ batch_size: { a: [url] } }).errors).includes(secret),
      url,
    );
  }
});

Deno.test("parseConf() refuses text that PostgreSQL cannot store, except in records", () => {
  assert.match(
    errorAt({ source: { type: "synthetic", name: "a\u0000" } }, "source").message,
    /NUL/,
  );
  assert.match(errorAt({ mlflow_experiment: "\ud800" }, "mlflow_experiment").message, /surrogate/);
});

Deno.test("parseConf() refuses what is no object", () => {
  for (const conf of [null, undefined, 5, "text", [], true]) {
    assert.equal(problemOf(conf).status, 400);
  }
});
