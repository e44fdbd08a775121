import assert from "node:assert/strict";
import {
  COUNT_LIMIT,
  type HistoryFilter,
  historyPage,
  type HistoryRow,
  SORT_COLUMNS,
  type SortColumn,
} from "../../store/history.ts";
import { startEngine } from "../helpers/engine.ts";

const COUNT = 60;

/** What a row is ordered by, where there is nothing: before all numbers. */
function rank(row: HistoryRow, sort: SortColumn): number | string {
  if (sort === "requested_at") return Date.parse(row.requested_at);
  // what a run has worked so far is no duration yet
  if (sort === "duration_ms" && row.ended_at === null) return -1;
  return row[sort] ?? -1;
}

function inOrder(rows: HistoryRow[], { sort, descending }: HistoryFilter): string[] {
  const compare = <T>(a: T, b: T) => a < b ? -1 : a > b ? 1 : 0;
  const sorted = rows.toSorted((a, b) =>
    compare(rank(a, sort), rank(b, sort)) || compare(a.run_id, b.run_id)
  );
  return (descending ? sorted.reverse() : sorted).map(({ run_id }) => run_id);
}

Deno.test("the history has each run once, by any column, there and back, and only those that are asked for", async (t) => {
  await using engine = await startEngine(t, { workers: 0 });
  const { sql } = engine;
  // every column has ties, and all but three have runs without a value
  await sql.unsafe(`
    set session_replication_role = replica;
    insert into etl.runs (run_id, run_label, conf, params, origins, schema_name, table_name, audit_table_name, dry_run, pool,
      overlap, state, requested_at, started_at, ended_at, worked_ms, num_chunks, total_rows, expected_rows, ratio, counts, low_ratio, trigger, attempt)
    select md5(i::text)::uuid, 'label_' || i % 4, '{}', '{}', '{}', 'public', 'x', 'y', i % 5 = 0, 'default_pool', 'queue',
      (array['queued', 'succeeded', 'failed', 'cancelled'])[1 + i % 4], timestamptz '2026-01-01Z' + i / 3 * interval '1 hour',
      case when i % 4 > 0 then timestamptz '2026-01-01Z' + i / 3 * interval '1 hour' end,
      case when i % 4 > 0 then timestamptz '2026-02-01Z' end, case when i % 4 > 0 or i % 8 = 0 then i % 7 * 1000 end,
      case when i % 3 > 0 then i % 6 end, case when i % 3 > 0 then i % 9 * 100 end, 1000, case when i % 3 > 1 then i % 8 / 10.0 end,
      case when i % 2 > 0 then jsonb_build_object('inserted', 1, 'updated', 2, 'unchanged', 3, 'rejected', i % 5, 'deleted', 4, 'marked', 5) end,
      i % 6 = 0, 'http', case when i % 4 > 0 or i % 8 = 0 then 1 else 0 end
    from generate_series(1, ${COUNT}) as i;
    update etl.runs set replay_of = run_id where run_label = 'label_3';
    reset session_replication_role;`);
  const page = (filter: Partial<HistoryFilter>) =>
    historyPage(sql, { sort: "requested_at", descending: true, limit: 100, ...filter });
  const { rows: all, count, hasNext, hasPrevious } = await page({});
  assert.deepEqual([all.length, count, hasNext, hasPrevious], [COUNT, COUNT, false, false]);

  await t.step("each value is the run's", () => {
    const [row] = all.filter(({ inserted, num_chunks }) =>
      inserted !== null && num_chunks !== null
    );
    const { inserted, updated, unchanged, deleted, marked } = row!;
    assert.deepEqual({ inserted, updated, unchanged, deleted, marked }, {
      inserted: 1,
      updated: 2,
      unchanged: 3,
      deleted: 4,
      marked: 5,
    });
    assert.deepEqual(
      all.filter(({ replay }) => replay).map(({ run_label }) => run_label),
      all.map(({ run_label }) => run_label).filter((label) => label === "label_3"),
    );
  });

  for (const sort of SORT_COLUMNS) {
    for (const descending of [true, false]) {
      await t.step(`${sort} ${descending ? "descending" : "ascending"}`, async () => {
        const filter = { sort, descending, limit: 10 };
        const expected = inOrder(all, { ...filter, limit: 10 });
        const forth: string[] = [];
        let at: HistoryFilter["from"];
        let last = await page(filter);
        for (;;) {
          assert.equal(last.hasPrevious, forth.length > 0);
          forth.push(...last.rows.map(({ run_id }) => run_id));
          if (!last.hasNext) break;
          const { position, run_id } = last.rows.at(-1)!;
          at = { value: position, runId: run_id, backwards: false };
          last = await page({ ...filter, from: at });
        }
        assert.deepEqual(forth, expected);
        const back: string[] = last.rows.map(({ run_id }) => run_id);
        while (last.hasPrevious) {
          const { position, run_id } = last.rows[0]!;
          last = await page({
            ...filter,
            from: { value: position, runId: run_id, backwards: true },
          });
          assert.equal(last.hasNext, true);
          back.unshift(...last.rows.map((row) => row.run_id));
        }
        assert.deepEqual(back, expected);
      });
    }
  }

  await t.step("filters, alone and together", async () => {
    const found = async (filter: Partial<HistoryFilter>, keep: (row: HistoryRow) => boolean) => {
      const { rows, count } = await page(filter);
      const expected = all.filter(keep).map(({ run_id }) => run_id);
      assert.deepEqual([rows.map(({ run_id }) => run_id), count], [expected, expected.length]);
      assert.ok(expected.length > 0 && expected.length < COUNT, JSON.stringify(filter));
    };
    const at = "2026-01-01T10:00:00.000Z";
    await found({ start: at }, (row) => row.requested_at >= at);
    await found({ end: at }, (row) => row.requested_at < at);
    await found({ runLabel: "label_1" }, (row) => row.run_label === "label_1");
    await found({ state: "failed" }, (row) => row.state === "failed");
    await found({ dryRun: true }, (row) => row.dry_run);
    await found({ dryRun: false }, (row) => !row.dry_run);
    await found(
      { start: at, state: "succeeded", dryRun: false },
      (row) => row.requested_at >= at && row.state === "succeeded" && !row.dry_run,
    );
  });

  await t.step("more than 10,000 are not counted", async () => {
    assert.equal(COUNT_LIMIT, 10_000);
    await sql.unsafe(`set session_replication_role = replica;
      insert into etl.runs (run_id, run_label, conf, params, origins, schema_name, table_name, audit_table_name, dry_run, pool, overlap)
      select gen_random_uuid(), 'many', '{}', '{}', '{}', 'public', 'x', 'y', false, 'default_pool', 'queue'
      from generate_series(1, 10500); reset session_replication_role`);
    assert.equal((await page({ runLabel: "many", limit: 1 })).count, COUNT_LIMIT + 1);
  });
});
