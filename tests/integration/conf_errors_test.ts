import assert from "node:assert/strict";
import { parseConf } from "../../pipeline/conf_errors.ts";
import { type FieldError, Problem } from "../../vocabulary/problem.ts";
import { startEngine } from "../helpers/engine.ts";

/** Confs that are wrong in every way that the schema knows, at every depth. */
const WRONG: unknown[] = [
  { batch_size: -1 },
  { batch_size: 1_000_000_001 },
  { batch_size: 1.5 },
  { batch_size: "5" },
  { batch_size: null },
  { batch_size: [5] },
  { chunk_size: 0 },
  { chunk_size: {} },
  { min_acceptance_ratio: 1.01 },
  { min_acceptance_ratio: -0.5 },
  { min_acceptance_ratio: true },
  { dry_run: "yes" },
  { dry_run: 0 },
  { schema_name: 'a"; drop' },
  { table_name: "1abc" },
  { table_name: "" },
  { table_name: "a".repeat(64) },
  { table_name: 7 },
  { run_label: "" },
  { run_label: "a\nb" },
  // what shows as another label than it is
  { run_label: "orders\u200b" },
  { run_label: "a\u202eb" },
  { run_label: "a\u0085b" },
  { run_label: "\ufeffa" },
  { run_label: "x".repeat(201) },
  { overlap: "maybe" },
  { overlap: 3 },
  { on_failure: null },
  { transform: "../up" },
  { transform: 1 },
  { suite: "-" },
  { sla_seconds: 0 },
  { sla_seconds: "soon" },
  { sla_seconds: { run: 0 } },
  { sla_seconds: { stages: { load: -1 } } },
  { sla_seconds: { stages: { laod: 1 } } },
  { priority: 11 },
  { db_max_retries: 0 },
  { pool: "" },
  { source: "synthetic" },
  { source: null },
  { source: {} },
  { source: { type: "nope" } },
  { source: { type: "synthetic", seed: -1 } },
  { source: { type: "file" } },
  { source: { type: "file", path: 1 } },
  { source: { type: "file", path: "x", kye: "id" } },
  { source: { type: "inline", key: [] } },
  { source: { type: "inline", key: 5 } },
  { source: { type: "inline", key: ["a", 5] } },
  { source: { type: "inline", occurred_at: { field: "a", format: "iso9" } } },
  { source: { type: "inline", occurred_at: { fromat: "iso" } } },
  { batchsize: 5 },
  { batchsize: 5, chunksize: 7 },
  { batchsize: 5, chunk_size: 0 },
  { utterly_different_thing: 1 },
];

interface Told {
  type: string;
  errors: { code: unknown; field: string; message: string; expected: unknown }[];
}

/** What each way in has to say in the same words; the values that are shown differ in how they are shortened. */
function told(type: string, errors: FieldError[]): Told {
  return {
    type: type.replace("/api/problems/", ""),
    errors: errors.map(({ code, field, message, expected }) => ({
      code,
      field,
      message,
      // names that there are come in the order of each side
      expected: expected?.startsWith("one of: ") ? expected.slice(8).split(", ").sort() : expected,
    })).sort((a, b) => a.field < b.field ? -1 : a.field > b.field ? 1 : 0),
  };
}

function byProgram(conf: unknown): Told {
  try {
    parseConf(conf);
  } catch (error) {
    if (error instanceof Problem) return told(error.type, error.errors);
    throw error;
  }
  throw new Error(`${JSON.stringify(conf)} was accepted`);
}

Deno.test("a wrong conf is refused with the same code, field and words over HTTP, by the command line and in psql", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const wrong: string[] = [];
  for (const conf of WRONG) {
    const text = JSON.stringify(conf);
    const program = byProgram(conf);
    const answer = await engine.request("/api/etl/run", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: text,
    });
    const overHttp = await answer.json();
    const inSql = await engine.sql`select etl.request_run(${text}::text::jsonb)`.then(
      () => ({ type: "accepted", errors: [] }),
      (error: { detail: string }) => JSON.parse(error.detail),
    );
    for (
      const [way, { type, errors }] of Object.entries({ "over HTTP": overHttp, "in SQL": inSql })
    ) {
      try {
        assert.deepEqual(told(type, errors), program);
      } catch (error) {
        wrong.push(`${text} ${way}: ${(error as Error).message}`);
      }
    }
    for (const { code } of program.errors) assert.ok(code !== undefined, text);
  }
  assert.deepEqual(wrong, []);
});
