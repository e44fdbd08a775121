import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";
import { waitFor } from "../helpers/wait_for.ts";

const LONG = Deno.env.get("ETL_TEST_LONG") !== undefined;

/** Cases that are tried side by side on one engine, each with tables of its own. */
const LANES = 4;

/** Random cases of a property; each failure names its seed, with which ETL_TEST_SEED repeats it. */
async function check<T>(
  inputs: fc.Arbitrary<T>,
  { engine, normal, long }: { engine: Engine; normal: number; long: number },
  property: (input: T) => Promise<void>,
): Promise<void> {
  const seed = Number(Deno.env.get("ETL_TEST_SEED") ?? Date.now() % 2 ** 31);
  await engine.sql`update etl.pools set slots = 1000`;
  const numRuns = Math.ceil((LONG ? long : normal) / LANES);
  const lanes = await Promise.allSettled(
    Array.from(
      { length: LANES },
      (_, lane) => fc.assert(fc.asyncProperty(inputs, property), { seed: seed + lane, numRuns }),
    ),
  );
  for (const lane of lanes) if (lane.status === "rejected") throw lane.reason;
  if (!LONG) return;
  const [runs] = await engine.sql`select count(*)::int as n from etl.runs`;
  console.log(`seed ${seed}: ${numRuns * LANES} random cases, ${runs!.n} runs`);
}

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
        fc.integer({ min: 0, max: 2 }),
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
  engine.deps.settings.firstLoadRows = 1;
  let tables = 0;
  await check(
    fc.tuple(
      steps,
      fc.boolean(),
      fc.boolean(),
      fc.constantFrom("events", "typed"),
      fc.constantFrom<Way[]>(
        ["upsert"],
        ["append"],
        ["replace"],
        ["mirror"],
        ["upsert", "mirror"],
        ["replace", "append", "mirror", "upsert"],
      ),
      fc.boolean(),
    ),
    { engine, normal: 28, long: 200 },
    async ([given, versioned, reversed, layout, ways, feed]) => {
      // those that delete are executed in the order of requests
      const backwards = reversed && !ways.some((way) => AT_ONCE.has(way));
      const table_name = `model_${tables++}`;
      const confs = [...given, ...given.slice(-1)].map((step, run) => ({
        run,
        step,
        rule: {
          versioned,
          write: ways[run % ways.length]!,
          // what only adds rows deletes none
          feed: feed && ways[run % ways.length] !== "append",
        },
        conf: {
          table_name,
          run_label: `${table_name} ${run}`,
          chunk_size: step.chunkSize,
          min_acceptance_ratio: 0,
          layout,
          write: ways[run % ways.length],
          ...(AT_ONCE.has(ways[run % ways.length]!) ? { max_delete_ratio: 1 } : {}),
          ...(feed && ways[run % ways.length] !== "append"
            ? { deleted: { field: "x", equals: DELETES } }
            : {}),
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
      const buried = new Map<number, Omit<ModelRow, "text">>();
      for (const { run, step, conf, rule } of backwards ? confs.reverse() : confs) {
        for (let i = 0; i < step.breaks; i++) await breakOff(engine, ids[run]!);
        const ended = await engine.toEnd(ids[run]!);
        assert.equal(ended.state, "succeeded", JSON.stringify(ended.error));
        const model = apply(
          table,
          run,
          conf.source.records as { id?: number; v: number; x: number }[],
          { ...rule, buried },
        );
        const { counts } = ended;
        assert.equal(counts.records_read, step.records.length);
        assert.equal(counts.rejected, step.records.filter(([key]) => key === 0).length);
        assert.equal(counts.duplicates, model.duplicates);
        // an attempt that was broken off had done part of it
        assert.deepEqual(
          [counts.inserted, counts.updated, counts.unchanged, counts.deleted, counts.deletions],
          [model.inserted, model.updated, model.unchanged, model.deleted, model.deletions],
          JSON.stringify({ run, rule, given, layout }),
        );
        const total = ended.total_rows!;
        const read = counts.records_read! - counts.deletions!;
        assert.equal(total + counts.duplicates! + counts.rejected!, read);
        assert.equal(ended.expected_rows, read - counts.duplicates!);
        assert.equal(ended.ratio, ended.expected_rows === 0 ? 1 : total / ended.expected_rows!);
      }
      assert.deepEqual(
        (layout === "typed"
          ? await typedRows(engine, `public.${table_name}`)
          : await engine.rows(`public.${table_name}`)).map((
            { event_id, payload, run_id },
          ) => [
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
    },
  );
  const [row] = await engine.sql`select count(*)::int as n from etl.runs where attempt > 1`;
  assert.ok(row!.n > 0, "some runs were taken up again");
});

/** Rows of a typed table as the model has them; a table that no record has made yet has none. */
async function typedRows(engine: Engine, table: string) {
  const [known] = await engine.sql`select to_regclass(${table}) is not null as there`;
  if (!known!.there) return [];
  return await engine.sql.unsafe<{ event_id: string; payload: unknown; run_id: string }[]>(
    `select id::text as event_id, jsonb_build_object('id', id, 'v', v, 'x', x) as payload, _etl_run_id as run_id
    from ${table} order by id`,
  );
}

type Way = "upsert" | "append" | "replace" | "mirror";
const AT_ONCE: ReadonlySet<Way> = new Set(["replace", "mirror"]);
/** The content of a record that deletes, where the feed has such. */
const DELETES = 2;

/** One attempt that loses its server when the first chunk has been published, or prepared where all are published at once. */
async function breakOff(engine: Engine, runId: string): Promise<void> {
  const stopping = new AbortController();
  const unwatch = engine.deps.onCancel(runId, () => {});
  const attempt = engine.execute(runId, { stopping: stopping.signal });
  const published = async () => {
    const [row] = await engine
      .sql`select count(*)::int as n from etl.chunks as c join etl.runs as r using (run_id) where run_id = ${runId}
        and (c.state = 'published' or c.state = 'prepared' and etl.at_once(r))`;
    return row!.n > 0;
  };
  let ended = false;
  void attempt.finally(() => ended = true);
  // a moment between two looks leaves the core to the run
  await waitFor(async () => ended || await published(), { intervalMs: 2, timeoutMs: 120_000 });
  stopping.abort();
  await attempt;
  unwatch();
}

/**
 * The rules of product.md: highest version, then later request; within a run the last in source order. Deletions are
 * compared like rows; what replaces or mirrors takes away what the source no longer has.
 */
function apply<K>(
  table: Map<K, ModelRow>,
  run: number,
  records: { id?: K; v: number; x?: unknown }[],
  { versioned, write = "upsert", feed = false, buried = new Map() }: {
    versioned: boolean;
    write?: Way;
    feed?: boolean;
    /** Keys that were deleted. */
    buried?: Map<K, Omit<ModelRow, "text">>;
  },
) {
  const winners = new Map<K, { text: string; version: number; deletes: boolean }>();
  let keyed = 0;
  for (const record of records) {
    if (record.id === undefined) continue;
    keyed++;
    const version = versioned ? record.v : 0;
    const best = winners.get(record.id);
    if (best === undefined || version >= best.version) {
      const deletes = feed && record.x === DELETES;
      winners.set(record.id, { text: JSON.stringify(record), version, deletes });
    }
  }
  const result = {
    duplicates: keyed - winners.size,
    inserted: 0,
    updated: 0,
    unchanged: 0,
    deleted: 0,
    deletions: 0,
  };
  const everyKeyKnown = keyed === records.length;
  if (records.length > 0 && (write === "replace" || write === "mirror" && everyKeyKnown)) {
    for (const [id, row] of table) {
      if (winners.has(id) || row.run >= run) continue;
      table.delete(id);
      result.deleted++;
    }
  }
  for (const [id, { text, version, deletes }] of winners) {
    const row = table.get(id);
    const grave = buried.get(id);
    const beats = (other: Omit<ModelRow, "text"> | undefined) =>
      other === undefined ||
      (write === "replace"
        ? run > other.run
        : version > other.version || (version === other.version && run > other.run));
    if (deletes) {
      result.deletions++;
      if (row !== undefined && !beats(row)) continue;
      if (table.delete(id)) result.deleted++;
      if (beats(grave)) buried.set(id, { version, run });
      continue;
    }
    if (row === undefined && beats(grave)) result.inserted++;
    else if (row !== undefined && write !== "append" && row.text !== text && beats(row)) {
      result.updated++;
    } else {
      result.unchanged++;
      continue;
    }
    table.set(id, { text, version, run });
  }
  return result;
}

/** A record as a source writes it: its key (none: rejected), its version and what else it says. */
type Written = [key: string | null, version: number, content: string];

/** Ways to write records down; a record without a key is one that lacks it. */
const DIALECTS: Record<string, { ext: string; conf?: object; write(records: Written[]): string }> =
  {
    csv: { ext: "csv", write: (records) => delimited(records, ",", true) },
    semicolons: {
      ext: "csv",
      conf: { delimiter: ";" },
      write: (records) => delimited(records, ";", true).replaceAll("\n", "\r\n"),
    },
    tsv: { ext: "tsv", write: (records) => delimited(records, "\t", false) },
    ndjson: { ext: "ndjson", write: (records) => records.map((r) => json(r) + "\n").join("") },
    json: { ext: "json", write: (records) => `{"rows": [${records.map(json).join(",\n ")}]}` },
  };

function delimited(records: Written[], delimiter: string, quotes: boolean): string {
  const cell = (text: string) =>
    quotes && /["\s,;]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  return [["id", "v", "x"], ...records.map(([key, v, x]) => [key ?? "", String(v), x])]
    .map((cells) => cells.map(cell).join(delimiter) + "\n").join("");
}

const json = ([key, v, x]: Written) =>
  JSON.stringify({ ...(key === null ? {} : { id: key }), v, x });

interface FileStep {
  /** Records of each file of the step, which are called part-1, part-2, part-10. */
  files: Written[][];
  chunkSize: number;
  breaks: number;
  replay: boolean;
}

/** Keys that are equal as numbers, or differ in what is easily lost, are different keys. */
const KEYS = ["1", "1.0", "1.00", "01", "true", "True", "a", "A", "é", "e\u0301", "x|y", "-0", "0"];
/** Texts that no dialect may change. */
const CONTENTS = ["plain", "5'9\"", '"', "a;b", "c,d", "NA", "0x1"];

const fileSteps: fc.Arbitrary<FileStep[]> = fc.array(
  fc.record({
    files: fc.array(
      fc.array(
        fc.tuple(
          fc.option(fc.constantFrom(...KEYS), { freq: 8 }),
          fc.integer({ min: 1, max: 3 }),
          fc.constantFrom(...CONTENTS),
        ),
        { minLength: 1, maxLength: 4 },
      ),
      { minLength: 1, maxLength: 3 },
    ),
    chunkSize: fc.integer({ min: 1, max: 5 }),
    breaks: fc.integer({ min: 0, max: 1 }),
    replay: fc.boolean(),
  }),
  { minLength: 1, maxLength: 3 },
);

Deno.test("files in any dialect, in any order, at once, broken off and replayed, end as the model says", async (t) => {
  await using engine = await startEngine(t, { workers: 2 });
  engine.deps.settings.firstLoadRows = 1;
  let tables = 0;
  await check(
    fc.tuple(
      fileSteps,
      fc.constantFrom(...Object.keys(DIALECTS)),
      fc.boolean(),
      fc.constantFrom("in order", "backwards", "at once"),
    ),
    { engine, normal: 12, long: 60 },
    async ([given, name, mayHaveVersion, order]) => {
      // without versions runs of one source are not executed at once
      const versioned = mayHaveVersion || order === "at once";
      const table_name = `files_${tables++}`;
      const { ext, conf, write } = DIALECTS[name]!;
      const ids: string[] = [];
      for (const [i, { files, chunkSize }] of given.entries()) {
        const dir = `${engine.dataDir}/${table_name}/${i}`;
        await Deno.mkdir(dir, { recursive: true });
        for (const [n, records] of files.entries()) {
          await Deno.writeTextFile(`${dir}/part-${[1, 2, 10][n]}.${ext}`, write(records));
        }
        const { run_id } = await engine.submit({
          table_name,
          run_label: `${table_name} ${i}`,
          chunk_size: chunkSize,
          min_acceptance_ratio: 0,
          source: {
            type: "file",
            path: `${table_name}/${i}/*`,
            name: "test",
            key: "id",
            ...conf,
            // what a cell becomes is not what this is about
            columns: { id: "text" },
            ...(ext === "json" ? { records_path: "rows" } : {}),
            ...(versioned ? { version: "v" } : {}),
          },
        });
        ids.push(run_id);
      }
      await engine.sideBySide();
      const table = new Map<string, ModelRow>();
      const records = given.map(({ files }) =>
        files.flat().map(([id, v, x]) => ({ ...(id === null ? {} : { id }), v, x }))
      );
      const run = async (i: number) => {
        for (let n = 0; n < given[i]!.breaks; n++) await breakOff(engine, ids[i]!);
        const ended = await engine.toEnd(ids[i]!);
        assert.equal(ended.state, "succeeded", JSON.stringify(ended.error));
        assert.equal(ended.counts.records_read, records[i]!.length);
        assert.equal(
          ended.counts.rejected,
          records[i]!.filter(({ id }) => id === undefined).length,
        );
        return ended;
      };
      const indices = given.map((_, i) => i);
      if (order === "backwards") indices.reverse();
      const ended = order === "at once" ? await Promise.all(indices.map(run)) : [];
      for (const i of indices) {
        if (order !== "at once") ended.push(await run(i));
        const said = apply(table, i, records[i]!, { versioned });
        const { counts, warnings } = ended.at(order === "at once" ? i : -1)!;
        assert.equal(counts.duplicates, said.duplicates);
        assert.equal(
          warnings.some((text) => /different contents in several files/.test(text)),
          !versioned && differsBetweenFiles(given[i]!.files),
        );
        if (order === "at once") continue;
        assert.deepEqual(
          [counts.inserted, counts.updated, counts.unchanged],
          [said.inserted, said.updated, said.unchanged],
        );
      }
      // what has no key has none when it is replayed, and changes nothing
      for (const i of indices) {
        if (!given[i]!.replay) continue;
        const url = `/api/etl/runs/${ids[i]}/quarantine/replay`;
        const answer = await engine.post(url);
        const { run_id } = await answer.json();
        if (records[i]!.every(({ id }) => id !== undefined)) continue;
        assert.equal(answer.status, 202);
        assert.equal(
          (await engine.toEnd(run_id)).counts.rejected,
          0 + records[i]!.filter(({ id }) => id === undefined).length,
        );
      }
      const rows = await engine.rows(`public.${table_name}`);
      if (order === "at once") {
        // of equal versions either may be the first; the highest wins
        const highest = (id: string) =>
          Math.max(...records.flat().filter((record) => record.id === id).map(({ v }) => v));
        assert.deepEqual(rows.map(({ event_id }) => event_id).sort(), [...table.keys()].sort());
        for (const { event_id, payload } of rows) {
          assert.equal((payload as { v: number }).v, highest(event_id));
          assert.ok(records.flat().some((record) => isDeepStrictEqual(record, payload)));
        }
        return;
      }
      assert.deepEqual(
        new Map(
          rows.map((
            { event_id, payload, run_id },
          ) => [event_id, [payload, ids.indexOf(run_id)]]),
        ),
        new Map([...table].map(([id, row]) => [id, [JSON.parse(row.text), row.run]])),
      );
    },
  );
});

/** Whether a key stands in several files with different contents. */
function differsBetweenFiles(files: Written[][]): boolean {
  const found = new Map<string, { files: Set<number>; texts: Set<string> }>();
  for (const [n, records] of files.entries()) {
    for (const record of records) {
      if (record[0] === null) continue;
      const of = found.get(record[0]) ?? { files: new Set(), texts: new Set() };
      found.set(record[0], of);
      of.files.add(n);
      of.texts.add(json(record));
    }
  }
  return [...found.values()].some((of) => of.files.size > 1 && of.texts.size > 1);
}

/** What happens to a table between runs: rows written with a cursor late by up to the lookback; then a run. */
const changes = fc.array(
  fc.record({
    rows: fc.array(
      fc.record({ id: fc.integer({ min: 1, max: 8 }), late: fc.integer({ min: 0, max: 5 }) }),
      {
        maxLength: 5,
      },
    ),
    full: fc.boolean(),
    breaks: fc.integer({ min: 0, max: 1 }),
    chunkSize: fc.integer({ min: 1, max: 4 }),
  }),
  { minLength: 2, maxLength: 4 },
);

Deno.test("incremental runs, late rows, breaks and full_refresh in any order leave nothing behind", async (t) => {
  await using shop = await testDatabase({ name: `shop of ${t.name}` }, { setUp: false });
  await using engine = await startEngine(t, { env: { ETL_CONNECTION_SHOP: shop.dsn } });
  let tables = 0;
  await check(
    fc.tuple(changes, fc.constantFrom("window", "exact")),
    { engine, normal: 8, long: 40 },
    async ([given, cursor_mode]) => {
      const table = `orders_${tables++}`;
      await query(
        shop.dsn,
        `create table ${table} (id integer primary key, changed bigint, v integer)`,
      );
      const rows = new Map<number, { id: number; changed: number; v: number }>();
      let clock = 100;
      for (const [i, { rows: written, full, breaks, chunkSize }] of given.entries()) {
        for (const { id, late } of written) {
          // exact loses nothing however late it is
          const changed = ++clock - (cursor_mode === "exact" ? late * 15 : late);
          rows.set(id, { id, changed, v: clock });
          await query(
            shop.dsn,
            `insert into ${table} values (${id}, ${changed}, ${clock})
             on conflict (id) do update set changed = excluded.changed, v = excluded.v`,
          );
        }
        const { run_id } = await engine.submit({
          table_name: table,
          run_label: `${table} ${i}`,
          chunk_size: chunkSize,
          full_refresh: full,
          source: {
            type: "postgres",
            connection: "shop",
            table,
            name: table,
            key: "id",
            cursor: "changed",
            cursor_mode,
            lookback: 10,
          },
        });
        await engine.sideBySide();
        for (let n = 0; n < breaks; n++) await breakOff(engine, run_id);
        const ended = await engine.toEnd(run_id);
        assert.equal(ended.state, "succeeded", JSON.stringify(ended.error));
        assert.deepEqual(
          (await engine.rows(`public.${table}`)).map(({ payload }) => payload),
          [...rows.values()].sort((a, b) => a.id - b.id),
        );
      }
    },
  );
});
