import assert from "node:assert/strict";
import { runConfOf } from "../../routes/dashboard/form_page.tsx";
import { type HistoryPoint, historyPoints, pointsOfLabels } from "../../store/dashboard.ts";
import { datasetFacts, profileDataset } from "../../store/dataset_page.ts";
import { proposeColumns } from "../../store/datasets.ts";
import { type FoundRecords, searchAll } from "../../store/search.ts";
import { connect } from "../../store/pg.ts";
import { startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";

Deno.test("the profile of a dataset counts what it has looked at whole, and estimates the rest, with statistics or without", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  await engine.succeed({ batch_size: 1_500, table_name: "many" });
  const many = await profileDataset(sql, "public.many");
  assert.deepEqual([many!.rows, many!.estimate, many!.sampled], [1_500, 1_500, false]);
  // as a load leaves it before the first analyze
  await engine.succeed({ batch_size: 5, table_name: "large" });
  await sql`
    insert into public.large (event_id, event_type, source, payload, fingerprint, run_id)
    select 'x' || i, 'event', source, jsonb_build_object('i', i), sha256(i::text::bytea), run_id
    from (select source, run_id from public.large limit 1) as s, generate_series(1, 60000) as i`;
  for (const told of [false, true]) {
    if (told) await sql`analyze public.large`;
    const large = await profileDataset(sql, "public.large");
    assert.ok(large!.sampled);
    assert.ok(Math.abs(large!.estimate - 60_005) < 15_000, `${told}: ${large!.estimate}`);
  }
  await sql`create table public.parted (like public.large including defaults) partition by hash (event_id)`;
  for (const part of [0, 1]) {
    await sql.unsafe(
      `create table public.parted_${part} partition of public.parted for values with (modulus 2, remainder ${part})`,
    );
  }
  await sql`insert into public.parted select * from public.large`;
  await sql`alter table public.many rename to gone`;
  await sql`alter table public.parted rename to many`;
  const parted = await profileDataset(sql, "public.many");
  assert.ok(parted!.sampled);
  assert.ok(Math.abs(parted!.estimate - 60_005) < 15_000, `${parted!.estimate}`);
});

Deno.test("charts have the newest runs from the oldest of them on, of all labels or of one", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const { sql } = engine;
  for (const [i, label] of ["a", "b", "a", "a"].entries()) {
    await sql`insert into public.etl_improved_metrics (run_id, run_label, total_rows, inserted, ratio, created_at)
      values (gen_random_uuid(), ${label}, 1, ${i}, 1, now() - ${9 - i} * interval '1 hour')`;
  }
  const inserted = (points: HistoryPoint[]) => points.map((point) => point.inserted);
  assert.deepEqual(inserted(await historyPoints(sql, 3)), [1, 2, 3]);
  const of = await pointsOfLabels(sql, ["a", "b", "none"], 2);
  assert.deepEqual([...of].map(([label, points]) => [label, inserted(points)]).sort(), [
    ["a", [2, 3]],
    ["b", [1]],
  ]);
});

Deno.test("a form begins with the conf of a run, without records that are too many for it", async (t) => {
  await using engine = await startEngine(t, { workers: 1 });
  const confOf = async (length: number) => {
    const source = { type: "inline", key: "id", records: [{ id: 1, text: "x".repeat(length) }] };
    const { run_id } = await engine.submit({ run_label: "a", source });
    return JSON.parse(await runConfOf(engine, run_id));
  };
  assert.equal((await confOf(10)).source.records.length, 1);
  assert.deepEqual(await confOf(250_000), {
    run_label: "a",
    source: { type: "inline", key: "id" },
  });
  await assert.rejects(runConfOf(engine, "none"), { type: "not-found" });
});

Deno.test("a dataset counts the rows that a failed run has left in it, and names the run", async (t) => {
  await using engine = await startEngine(t);
  const source = { type: "inline", name: "s", key: "id", records: [{ id: 1 }, { id: 2 }] };
  const run = await engine.runToEnd({
    ...{ run_label: "short", table_name: "short", batch_size: 3, source },
  });
  assert.equal(run.state, "failed");
  const facts = await datasetFacts(engine.sql, "public.short", "UTC");
  assert.deepEqual(facts!.days.map(({ inserted, updated }) => [inserted, updated]), [[2, 0]]);
  assert.deepEqual(
    facts!.writers.map(({ run_label, state, inserted }) => [run_label, state, inserted]),
    [["short", "failed", 2]],
  );
  assert.notEqual(facts!.last_written_at, null);
  const other = await datasetFacts(engine.sql, "public.etl_improved_events", "UTC");
  assert.deepEqual(other?.writers ?? [], []);
});

Deno.test("what is searched for is text, whatever the database makes of backslashes", async (t) => {
  await using db = await testDatabase(t);
  await query(db.dsn, `alter database "${db.name}" set standard_conforming_strings = off`);
  await using engine = await startEngine(t, { database: db });
  const raw = `a\\' b`;
  await engine.load([{ v: raw }], { source: { key: "id" }, min_acceptance_ratio: 0 });
  const attack =
    `\\')))) from etl.quarantine q join etl.runs r on true; create table public.pwned(); select $a$ --`;
  for (const text of [attack, "ab\\", "'", "$1", "%", "_"]) await searchAll(engine.sql, text);
  assert.equal((await engine.sql`select to_regclass('public.pwned') as t`)[0]!.t, null);
  const found = await searchAll(engine.sql, `"a\\\\' b"`);
  assert.equal(found.rejected.records.length, 1, JSON.stringify(found));
});

Deno.test("rejected records that have a text are found in those of the newest run first, in their order, cut around the text", async (t) => {
  await using engine = await startEngine(t);
  const { sql } = engine;
  const runs: string[] = [];
  for (const label of ["old", "new", "none"]) {
    runs.push((await engine.submit({ run_label: label, batch_size: 5 })).run_id);
    await sql`update etl.runs set requested_at = now() - ${
      3 - runs.length
    } * interval '1 hour' where run_id = ${runs.at(-1)!}`;
  }
  // more than are looked through at once; the order in the table is another one
  await sql`insert into etl.quarantine (run_id, chunk_no, position, "output", rule, message, raw)
    select run_id, n % 3, n, 0, 'type', 'm', case when n % 50 = 0 then repeat('a', 100) || 'ÄNDERE' || n || repeat('z', 300) else n::text end
    from unnest(${runs.slice(0, 2)}::uuid[]) as run_id, generate_series(3500, 1, -1) as n`;
  const found = async (text: string, shown: number) =>
    (await sql<{ found: FoundRecords }[]>`
      select etl.search_rejected(${text}, ${shown}, 60000) as found`)[0]!.found;
  const requested = async (run: number) =>
    (await sql<
      { at: string }[]
    >`select etl.iso(requested_at) as at from etl.runs where run_id = ${runs[run]!}`)[0]!.at;
  const which = ({ records }: FoundRecords) =>
    records.map(({ run_label, raw }) => `${run_label} ${/e(\d+)/i.exec(raw)![1]}`);
  const order = Array.from({ length: 70 }, (_, i) => 50 * (i + 1))
    .sort((a, b) => a % 3 - b % 3 || a - b);
  const all = await found("ändere", 200);
  assert.deepEqual(which(all), ["new", "old"].flatMap((run) => order.map((n) => `${run} ${n}`)));
  assert.deepEqual([all.looked, all.cut, all.back_to], [7000, false, await requested(0)]);
  const { raw, ...first } = all.records[0]!;
  assert.equal(raw, `${"a".repeat(60)}ÄNDERE150${"z".repeat(131)}`);
  assert.deepEqual(first, {
    ...{ run_id: runs[1], run_label: "new", requested_at: await requested(1) },
    ...{ rule: "type", message: "m", file: null, line: null },
  });

  const some = await found("ändere", 2);
  assert.deepEqual([which(some), some.cut], [["new 150", "new 300"], true]);
  assert.ok(some.looked <= 1000, `${some.looked}: no further than they were found`);
  assert.equal(some.back_to, await requested(1));
  const nothing = await found("nowhere", 2);
  assert.deepEqual([nothing.records, nothing.cut], [[], false]);
  const [late] = await sql`select etl.search_rejected('nowhere', 2, 0) as found`;
  assert.deepEqual({ ...late!.found }, { records: [], looked: 0, back_to: null, cut: true });
});

Deno.test("a table that a client keeps locked holds up neither the page of its dataset nor a proposal of columns", async (t) => {
  await using engine = await startEngine(t);
  await engine.succeed({ batch_size: 5, table_name: "locked" });
  const client = await connect(engine.db.dsn);
  try {
    await client.query("begin; lock table public.locked in access exclusive mode");
    await assert.rejects(profileDataset(engine.sql, "public.locked"), { code: "55P03" });
    await assert.rejects(proposeColumns(engine.sql, "public.locked", 100), { code: "55P03" });
    const page = await engine.request("/etl/datasets/public.locked");
    assert.equal(page.status, 200);
    assert.match(await page.text(), /could not be read within 3 seconds/);
    const proposal = await engine.request("/api/datasets/public.locked/columns/proposal");
    assert.equal(proposal.status, 503, await proposal.text());
    // a table of the program's own: nobody waits for ever, whoever asks is told who has it, and others are served
    await client.query(
      `rollback; set application_name = 'a client'; begin; lock table etl.configurations in access exclusive mode`,
    );
    const waiting = [1, 2].map(() => engine.request("/api/configurations"));
    assert.equal((await engine.request("/api/variables")).status, 200);
    const [first] = await Promise.all(waiting);
    const told = await first!.json();
    assert.equal(first!.status, 503, JSON.stringify(told));
    assert.match(told.detail, /is locked by pid \d+ \(a client.*pg_terminate_backend/);
  } finally {
    await client.end();
  }
});

Deno.test("a record of CSV is shown as an object of its cells; fields may have any name; redirects keep the prefix", async (t) => {
  await using engine = await startEngine(t, { queue: true, env: { ETL_BASE_PATH: "/x" } });
  const post = (query: string, type: string, body: string) =>
    engine.request(`/x/api/etl/run?wait=true&${query}`, {
      method: "POST",
      headers: { "content-type": type },
      body,
    }).then((response) => response.json());
  const run = await post(
    "name=a&key=id&occurred_at=at&min_acceptance_ratio=0",
    "text/csv",
    'id,at,v\n1,soon,"a ""b"", c"\n2,2026-01-01,x\n',
  );
  assert.equal(run.state, "succeeded", JSON.stringify(run));
  const list = await (await engine.request(`/x/api/etl/runs/${run.run_id}/quarantine`)).json();
  assert.deepEqual(JSON.parse(list.items[0].record), { id: "1", at: "soon", v: 'a "b", c' });
  const exported = await (await engine.request(`/x/etl/runs/${run.run_id}/quarantine.ndjson`))
    .text();
  assert.doesNotMatch(exported, /cells/);
  const page = await (await engine.request(`/x/etl/runs/${run.run_id}`)).text();
  assert.match(page, /<mark[^>]*>soon<\/mark>/);
  const names = await post(
    "name=b&key=id&table_name=names",
    "application/x-ndjson",
    '{"id":"1","constructor":"z","toString":1}\n{"id":"2"}\n',
  );
  assert.equal(names.state, "succeeded", JSON.stringify(names));
  const dataset = await engine.request("/x/etl/datasets/public.names");
  assert.equal(dataset.status, 200, await dataset.text());
  for (
    const [from, to] of [
      ["/x/etl?run_label=a", /^\/x\/etl\/overview/],
      [`/x/etl/search?q=${run.run_id}`, /^\/x\/etl\/runs\//],
    ] as const
  ) {
    const answer = await engine.request(from, { redirect: "manual" });
    assert.match(answer.headers.get("location") ?? "", to, from);
  }
});
