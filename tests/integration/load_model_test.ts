import assert from "node:assert/strict";
import fc from "fast-check";
import { type Engine, startEngine } from "../helpers/engine.ts";

const source = (records: unknown[], rest: object = {}) => ({
  type: "inline",
  name: "test",
  key: "id",
  records,
  ...rest,
});

/** A row as the model of the table keeps it. */
interface ModelRow {
  text: string;
  version: number;
  run: number;
}

interface Step {
  /** Records as [key, version, content]; key 0 has none and is rejected. */
  records: [number, number, number][];
  chunkSize: number;
  /** Attempts that are broken off after publishing a chunk. */
  breaks: number;
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    records: fc.array(
      fc.tuple(
        fc.integer({ min: 0, max: 5 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 0, max: 1 }),
      ),
      { maxLength: 9 },
    ),
    chunkSize: fc.integer({ min: 1, max: 4 }),
    breaks: fc.integer({ min: 0, max: 1 }),
  }),
  { minLength: 1, maxLength: 3 },
);

Deno.test("any small batches, in any order of execution, repeated and broken off, end as a simple model says", async (t) => {
  await using engine = await startEngine(t, { workers: 2 });
  let tables = 0;
  await fc.assert(
    fc.asyncProperty(steps, fc.boolean(), fc.boolean(), async (given, versioned, backwards) => {
      const table_name = `model_${tables++}`;
      const confs = [...given, ...given.slice(-1)].map((step, run) => ({
        run,
        step,
        conf: {
          table_name,
          run_label: `${table_name} ${run}`,
          chunk_size: step.chunkSize,
          min_acceptance_ratio: 0,
          source: source(
            step.records.map(([key, v, x]) => ({ ...(key === 0 ? {} : { id: key }), v, x })),
            versioned ? { version: "v" } : {},
          ),
        },
      }));
      const ids: string[] = [];
      for (const { conf } of confs) ids.push((await engine.submit(conf)).run_id);
      await engine.sideBySide();
      const table = new Map<number, ModelRow>();
      for (const { run, step, conf } of backwards ? confs.reverse() : confs) {
        for (let i = 0; i < step.breaks; i++) await breakOff(engine, ids[run]!);
        const ended = await engine.toEnd(ids[run]!);
        assert.equal(ended.state, "succeeded", JSON.stringify(ended.error));
        const model = apply(
          table,
          run,
          conf.source.records as { id?: number; v: number }[],
          versioned,
        );
        const { counts } = ended;
        assert.equal(counts.records_read, step.records.length);
        assert.equal(counts.rejected, step.records.filter(([key]) => key === 0).length);
        assert.equal(counts.duplicates, model.duplicates);
        // an attempt that was broken off had done part of it
        assert.deepEqual(
          [counts.inserted, counts.updated, counts.unchanged],
          [model.inserted, model.updated, model.unchanged],
        );
        const total = ended.total_rows!;
        assert.equal(total + counts.duplicates! + counts.rejected!, counts.records_read);
        assert.equal(ended.expected_rows, counts.records_read! - counts.duplicates!);
        assert.equal(ended.ratio, ended.expected_rows === 0 ? 1 : total / ended.expected_rows!);
      }
      assert.deepEqual(
        (await engine.rows(`public.${table_name}`)).map(({ event_id, payload, run_id }) => [
          Number(event_id),
          payload,
          ids.indexOf(run_id),
        ]),
        [...table].sort(([a], [b]) => a - b).map(([id, row]) => [
          id,
          JSON.parse(row.text),
          row.run,
        ]),
      );
    }),
    { numRuns: 25 },
  );
  const [row] = await engine.sql`select count(*)::int as n from etl.runs where attempt > 1`;
  assert.ok(row!.n > 0, "some runs were taken up again");
});

/** One attempt that loses its server when the first chunk has been published. */
async function breakOff(engine: Engine, runId: string): Promise<void> {
  const stopping = new AbortController();
  const unwatch = engine.deps.onCancel(runId, () => {});
  const attempt = engine.execute(runId, { stopping: stopping.signal });
  const published = async () => {
    const [row] = await engine
      .sql`select count(*)::int as n from etl.chunks where run_id = ${runId} and state = 'published'`;
    return row!.n > 0;
  };
  let ended = false;
  void attempt.finally(() => ended = true);
  while (!ended && !(await published()));
  stopping.abort();
  await attempt;
  unwatch();
}

/** The rules of product.md: highest version, then later request; within a run the last in source order. */
function apply(
  table: Map<number, ModelRow>,
  run: number,
  records: { id?: number; v: number }[],
  versioned: boolean,
) {
  const winners = new Map<number, { text: string; version: number }>();
  let keyed = 0;
  for (const record of records) {
    if (record.id === undefined) continue;
    keyed++;
    const version = versioned ? record.v : 0;
    const best = winners.get(record.id);
    if (best === undefined || version >= best.version) {
      winners.set(record.id, { text: JSON.stringify(record), version });
    }
  }
  const result = { duplicates: keyed - winners.size, inserted: 0, updated: 0, unchanged: 0 };
  for (const [id, { text, version }] of winners) {
    const row = table.get(id);
    if (row === undefined) result.inserted++;
    else if (
      row.text !== text && (version > row.version || (version === row.version && run > row.run))
    ) result.updated++;
    else {
      result.unchanged++;
      continue;
    }
    table.set(id, { text, version, run });
  }
  return result;
}
