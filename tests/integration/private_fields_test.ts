import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { parquetWriteBuffer } from "hyparquet-writer";
import { type Engine, startEngine } from "../helpers/engine.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { client } from "../helpers/sql_problems.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { alterPrivateFields } from "../../store/private_fields.ts";

const SECRET = "a secret of at least 32 characters, for tests";
const hashed = (text: string) => createHmac("sha256", SECRET).update(text).digest("hex");

/** Every text that is hidden begins with this. */
const HIDDEN = "Zq7";
const mail = (n: number) => `${HIDDEN}-mail-${n}@example.com`;
const phone = (n: number) => `${HIDDEN}-phone-${n}`;

/** Where a hidden text is: tables of all schemas, the spool, the log. */
async function leaks(engine: Engine): Promise<string[]> {
  const found: string[] = [];
  const hex = new TextEncoder().encode(HIDDEN).toHex();
  const tables = await engine.sql<{ name: string }[]>`
    select format('%I.%I', n.nspname, c.relname) as name from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')`;
  for (const { name } of tables) {
    const [row] = await engine.sql.unsafe<{ text: string | null }[]>(
      `select min(t::text) as text from ${name} as t where t::text like '%${HIDDEN}%' or t::text like '%${hex}%'`,
    );
    if (row!.text !== null) found.push(`${name}: ${row!.text.slice(0, 500)}`);
  }
  const walk = async (dir: string): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(dir)) {
      if (isDirectory) await walk(`${dir}/${name}`);
      else if ((await Deno.readTextFile(`${dir}/${name}`)).includes(HIDDEN)) {
        found.push(`${dir}/${name}`);
      }
    }
  };
  await walk(engine.config.spoolDir);
  found.push(...engine.log.filter((line) => line.includes(HIDDEN)));
  return found;
}

/** Good, rejected, unparseable and duplicate records of each format. */
function files(): Record<string, string | Uint8Array> {
  const line = (n: number, more = {}) =>
    JSON.stringify({ id: n, mail: mail(n), person: { phone: phone(n) }, price: n, ...more });
  return {
    "people.csv": [
      "id,mail,phone,price",
      `1,${mail(1)},${phone(1)},10`,
      `2,${mail(2)},${phone(2)},no number`,
      `3,${mail(3)},${phone(3)},30,one too many`,
      `4,${mail(4)},"${phone(4)}" and more,40`,
      `5,${mail(5)},${phone(5)},50`,
      `5,${mail(5)},${phone(5)},51`,
      `,${mail(6)},${phone(6)},60`,
    ].join("\n"),
    "people.ndjson": [
      line(1),
      line(2, { price: `no number` }),
      `{"id": 3, "mail": "${mail(3)}", "person": {"phone": "${phone(3)}"`,
      `["${mail(4)}"]`,
      `"${mail(4)}"`,
      `{"id": 4, "mail": "${mail(4)}" ${phone(4)}}`,
      `{"id": 4, "phone": ${phone(4)}}`,
      line(5),
      line(5, { price: 51 }),
      line(6, { id: null }),
    ].join("\n"),
    "people.json": `[${line(1)}, ${line(2, { id: null })}, "${mail(3)}"]`,
    "people.parquet": new Uint8Array(parquetWriteBuffer({
      columnData: [
        { name: "id", data: [1, 2, null], type: "INT32", nullable: true },
        { name: "mail", data: [mail(1), mail(2), mail(3)], type: "STRING" },
        { name: "person", data: [{ phone: phone(1) }, null, { phone: phone(3) }], type: "JSON" },
      ],
    })),
  };
}

Deno.test("private fields are nowhere: not in tables, quarantine, spool, log or answers, whatever becomes of a record", async (t) => {
  await using engine = await startEngine(t, {
    env: { ETL_HASH_SECRET: SECRET },
    files: files(),
    transforms: {
      shouting:
        `export function transform(record) { console.log(JSON.stringify(record)); if (record.id === 6) throw new Error(JSON.stringify(record)); return record; }`,
    },
  });
  const base = {
    exclude: ["person.phone", "phone"],
    hash: ["mail"],
    min_acceptance_ratio: 0,
    chunk_size: 3,
  };
  const file = (path: string, source = {}) => ({
    type: "file",
    path,
    key: "id",
    name: path,
    ...source,
  });
  const texts: string[] = [];
  const shown = async (path: string, init?: RequestInit) => {
    const answer = await engine.request(path, init);
    texts.push(await answer.text());
    return answer.status;
  };
  const runs = [
    { ...base, table_name: "csv", source: file("people.csv", { columns: { price: "integer" } }) },
    {
      ...base,
      table_name: "lines",
      source: file("people.ndjson", { columns: { price: "integer" } }),
    },
    { ...base, table_name: "loud", transform: "shouting", source: file("people.ndjson") },
    { ...base, table_name: "typed", layout: "typed", source: file("people.csv") },
    { ...base, table_name: "document", source: file("people.json") },
    { ...base, table_name: "parquet", source: file("people.parquet") },
    {
      ...base,
      table_name: "inline",
      source: {
        type: "inline",
        key: "id",
        records: [{ id: 1, mail: mail(1) }, { id: null, mail: mail(2) }, mail(3), [mail(4)]],
      },
    },
  ];
  const rejected: Record<string, number> = {};
  for (const conf of runs) {
    const preview = conf.table_name === "loud" ? 200 : await shown("/api/etl/preview", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(conf),
    });
    assert.equal(preview, 200, texts.at(-1)!);
    const run = await engine.runToEnd(conf);
    assert.equal(run.state, "succeeded", JSON.stringify(run.error));
    rejected[conf.table_name] = run.counts.rejected!;
    await shown(`/api/etl/runs/${run.run_id}`);
    await shown(`/api/etl/runs/${run.run_id}/quarantine`);
    const [row] = await engine.sql.unsafe<{ row: string }[]>(
      `select t::text as row from ${conf.table_name} as t limit 1`,
    );
    assert.match(row!.row, /[0-9a-f]{64}/);
  }
  assert.deepEqual(rejected, {
    csv: 4,
    lines: 7,
    loud: 6,
    typed: 3,
    document: 2,
    parquet: 1,
    inline: 3,
  });
  assert.deepEqual(texts.filter((text) => text.includes(HIDDEN)), []);
  assert.deepEqual(await leaks(engine), []);
  const quarantine = await engine.sql<{ rule: string; raw: string; message: string }[]>`
    select rule, raw, message from etl.quarantine as q join etl.runs as r using (run_id)
    where r.table_name = 'csv' order by q.chunk_no, q.position`;
  assert.deepEqual(JSON.parse(quarantine[0]!.raw), {
    id: "2",
    mail: hashed(mail(2)),
    price: "no number",
  });
  assert.match(
    quarantine[0]!.message,
    /price: "no number" is no integer.*without its private fields/,
  );
  assert.match(quarantine[1]!.raw, /^"\(\d+ bytes, not kept: this dataset has private fields\)"$/);
  assert.match(quarantine[1]!.message, /line 4 of people.csv/);
});

Deno.test("a body of data with private fields is kept until its run has succeeded, and a replay does not hash twice", async (t) => {
  await using engine = await startEngine(t, { env: { ETL_HASH_SECRET: SECRET } });
  const query = new URLSearchParams({
    hash: JSON.stringify(["mail"]),
    key: "mail",
    table_name: "people",
    columns: JSON.stringify({ price: "integer", day: { type: "date", format: "%d/%m/%Y" } }),
    min_acceptance_ratio: "0",
    name: "people",
  });
  const send = () =>
    engine.request(`/api/etl/run?${query}`, {
      method: "POST",
      headers: { "content-type": "text/csv" },
      body: `mail,price,day\n${mail(1)},1,31/01/2026\n${
        mail(2)
      },two,31/01/2026\nNULL,3,01/02/2026\n`,
    });
  const other = await (await send()).json();
  const sent = await send();
  const { run_id } = await sent.json();
  assert.equal(sent.status, 202);
  assert.equal((await engine.sql`select from etl.uploads`).length, 1, "the same data is kept once");
  assert.equal((await engine.toEnd(other.run_id)).state, "succeeded");
  assert.equal((await engine.sql`select from etl.uploads`).length, 1, "another run waits for it");
  const ended = await (await send()).json();
  await engine.post(`/api/etl/runs/${ended.run_id}/cancel`);
  const run = await engine.toEnd(run_id);
  assert.equal(run.counts.rejected, 1, JSON.stringify(run.error));
  assert.equal((await engine.sql`select from etl.uploads`).length, 1, "a retry may need it");
  await engine.post(`/api/etl/runs/${ended.run_id}/retry`);
  assert.equal((await engine.toEnd(ended.run_id)).state, "succeeded");
  assert.equal((await engine.sql`select from etl.uploads`).length, 0);
  assert.deepEqual(await leaks(engine), []);

  const replay = await engine.request(`/api/etl/runs/${run_id}/quarantine/replay`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      set: { source: { columns: { day: { type: "date", format: "%d/%m/%Y" } } } },
    }),
  });
  const { run_id: again } = await replay.json();
  assert.equal((await engine.toEnd(again)).state, "succeeded");
  const rows = await engine.rows("people");
  assert.deepEqual(
    rows.map(({ event_id }) => event_id).sort(),
    [hashed(mail(1)), hashed(mail(2)), hashed("NULL")].sort(),
  );
  assert.equal(
    (rows.find((row) => row.event_id === hashed(mail(2)))!.payload as { day: string }).day,
    "2026-01-31",
  );
});

Deno.test("private fields are the dataset's: what the first run declared holds for the next, and is changed on purpose", async (t) => {
  const database = await testDatabase(t);
  await using _db = database;
  await using engine = await startEngine(t, { env: { ETL_HASH_SECRET: SECRET }, database });
  const load = (more: object = {}, source: object = {}) =>
    engine.load([{ id: 1, mail: mail(1), phone: phone(1), n: 5 }], {
      table_name: "people",
      ...more,
      source,
    });
  await load({ exclude: ["phone"], hash: ["mail"], dry_run: true });
  assert.deepEqual(
    [...await engine.sql`select dataset from etl.datasets where private is not null`],
    [],
    "a dry run declares nothing",
  );
  await load({ exclude: ["phone"], hash: ["mail"] });
  const again = await load();
  assert.equal(again.counts.unchanged, 1, JSON.stringify(again));
  assert.deepEqual(await leaks(engine), []);
  assert.deepEqual(
    (await engine.payloads("people"))["1"],
    { id: 1, mail: hashed(mail(1)), n: 5 },
  );
  const refused = async (more: object, field: string, told: RegExp, source: object = {}) => {
    await assert.rejects(load(more, source), (error: Error & { detail?: string }) => {
      const problem = JSON.parse(error.detail ?? "{}");
      assert.deepEqual([problem.errors?.[0]?.field], [field], JSON.stringify(problem));
      assert.match(JSON.stringify(problem), told);
      return true;
    });
  };
  await refused({ exclude: [] }, "exclude", /etl dataset alter public.people --exclude/);
  await refused({ hash: ["mail", "n"] }, "hash", /differs from the declaration of public.people/);
  const other = (more: object, field: string, told: RegExp, source: object = {}) =>
    refused({ table_name: "others", ...more }, field, told, source);
  await other({ exclude: ["id"] }, "exclude", /a key may be hashed/);
  await other({ exclude: ["a"] }, "exclude", /needs unchanged \(key\)/, { key: "a.b" });
  await other({ hash: ["at"] }, "hash", /occurred_at/, { occurred_at: { field: "at" } });
  await other({ hash: ["v"] }, "hash", /version/, { version: "v" });
  await other({ hash: ["kind"] }, "hash", /event_type/, { event_type: { field: "kind" } });
  await other({ exclude: ["a"], hash: ["a.b"] }, "hash", /leaves out/);
  await assert.rejects(
    engine.submit({
      source: { type: "postgres", connection: "x", table: "public.t", cursor: "at", key: "id" },
      exclude: ["at"],
    }),
    (error: Error & { detail?: string }) => {
      assert.match(error.detail!, /"exclude".*needs unchanged \(cursor\)/);
      return true;
    },
  );
  await other({ hash: ["n"] }, "hash", /source.columns declares as integer/, {
    columns: { n: "integer" },
  });

  const alter = (body: object) =>
    engine.request("/api/datasets/public.people/private", {
      method: "PATCH",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const altered = await alter({ exclude: ["mail", "phone"], hash: ["n"] });
  assert.equal(altered.status, 200, await altered.text());
  assert.equal((await load()).counts.updated, 1);
  assert.deepEqual((await engine.payloads("people"))["1"], { id: 1, n: hashed("5") });
  const [audit] = await engine.sql<{ details: Record<string, unknown> }[]>`
    select details from etl_improved_audit where event = 'private_fields_altered'`;
  assert.deepEqual(audit!.details.hash, ["n"]);
  // each source has its own, also one that comes later
  const later = await alter({ source: "later", exclude: ["x"] });
  assert.deepEqual(await later.json(), { exclude: ["x"], hash: [] });

  const typo = await load({ table_name: "typo", exclude: ["Phone"] });
  assert.match(typo.warnings.join(), /No record has Phone, which exclude or hash name/);

  await using elsewhere = await startEngine(t, {
    env: { ETL_HASH_SECRET: `${SECRET}!` },
    database,
  });
  const otherSecret = await elsewhere.load([{ id: 2, n: 6 }], { table_name: "people" });
  assert.match(JSON.stringify(otherSecret.error), /made with another ETL_HASH_SECRET/);
  await using without = await startEngine(t, { database });
  const noSecret = await without.load([{ id: 2, n: 6 }], { table_name: "people" });
  assert.match(JSON.stringify(noSecret.error), /Set ETL_HASH_SECRET/);
  assert.deepEqual(Object.keys(await engine.payloads("people")), ["1"]);
  // whoever declares what is hashed anew takes the secret of the next run
  await alterPrivateFields(engine.sql, "public.people", {
    source: "test",
    hash: ["n"],
    actor: "test",
  });
  await elsewhere.load([{ id: 2, n: 6 }], { table_name: "people" });
  assert.deepEqual(Object.keys(await engine.payloads("people")), ["1", "2"]);
  const declared = await engine.sql`select from etl_improved_audit
    where event = 'private_fields_declared' and details ->> 'dataset' = 'public.people'`;
  assert.equal(declared.length, 1, "by the first run alone");
  // a run that was asked for before they were declared keeps to them, too
  const asked = (records: object[]) =>
    engine.submit({
      table_name: "later",
      source: { type: "inline", name: "later", key: "id", records },
    });
  await engine.execute((await asked([{ id: 0 }])).run_id);
  const { run_id: waiting } = await asked([{ id: 1, mail: mail(1), phone: phone(1) }]);
  await alterPrivateFields(engine.sql, "public.later", {
    source: "later",
    exclude: ["phone"],
    hash: ["mail"],
    actor: "test",
  });
  await engine.execute(waiting);
  assert.deepEqual((await engine.payloads("later"))["1"], { id: 1, mail: hashed(mail(1)) });
});

Deno.test("of two first runs that declare other private fields at the same moment the second is refused", async (t) => {
  await using db = await testDatabase(t);
  await using one = await client(db.dsn);
  await using two = await client(db.dsn);
  const ask = async (exclude: string[]) => {
    const conf = {
      table_name: "people",
      exclude,
      source: { type: "inline", name: "x", records: [] },
    };
    const { rows } = await one.query("select etl.request_run($1::text::jsonb) as id", [
      JSON.stringify(conf),
    ]);
    return rows[0].id;
  };
  const runs = [await ask(["mail"]), await ask(["phone"])];
  await one.query("begin");
  await one.query("select etl.declare_private_fields($1, null)", [runs[0]]);
  const refused = assert.rejects(
    two.query("select etl.declare_private_fields($1, null)", [runs[1]]),
    /exclude of this run differs from the declaration that public.people has got meanwhile/,
  );
  await waitFor(async () => {
    const { rows } = await one.query(
      "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
    );
    return rows.length > 0;
  }, { what: "the second run, which waits for the first" });
  await one.query("commit");
  await refused;
});
