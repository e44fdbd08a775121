import assert from "node:assert/strict";
import type { RunDetail } from "../../vocabulary/run_schema.ts";
import { type Engine, startEngine } from "../helpers/engine.ts";

const utf16be = (text: string, mark = true) => {
  const units = Uint16Array.from((mark ? "\ufeff" : "") + text, (c) => c.charCodeAt(0));
  return new Uint8Array(units.buffer).map((_, i, bytes) => bytes[i ^ 1]!);
};
const latin1 = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

const FILES = {
  "codes.csv":
    "code,name\n250.0,Diabetes\n250.00,Diabetes type II\n1.1,one-one\n1.10,one-ten\n2.5,x\n",
  "d1.csv": "code,name\n250.0,Diabetes\n401.10,Hyper\n",
  "d2.csv": "code,name\n250.0,Diabetes v2\n401.10,Hyper v2\nV10.1,History\n",
  "mon.csv": "zip,city\n10001,New York\n90210,Beverly Hills\n",
  "tue.csv": "zip,city\n10001,New York\n90210,Beverly Hills\n02134,Boston\n",
  "dec.csv": "id,v\n1,883406386745030.3\n2,9007199254740993.5\n3,50000.0000000000000001\n" +
    "4,0.12345678901234567890\n5,12345678901234567.89\n6,-3\n7,19.90\n8,123456789012345678901234567890\n",
  "be.csv": utf16be("id,name\n1,Ana\n2,Bob\n3,Zoë\n"),
  "benobom.csv": utf16be("id,name\n1,Ana\n2,Bob\n3,Zoë\n", false),
  "cp1252.csv": latin1("id,name\n1,Ana\n2,Zo\xeb\n"),
  "q.tsv":
    'id\ttitle\n1\tplain\n2\t"Lorem" ipsum\n3\tsaid "hi"\n4\t5\'9" tall\n5\t"starts quote only\n6\tsix\n7\tseven\n',
  "q2.tsv": 'id\ttitle\n1\tplain\n2\t"starts\n3\tthree\n4\tends"\n5\tfive\n',
  "part-1.csv": "id,seq\nA,1\nB1,1\n",
  "part-2.csv": "id,seq\nA,2\nB2,2\n",
  "part-9.csv": "id,seq\nA,9\nB9,9\n",
  "part-10.csv": "id,seq\nA,10\nB10,10\n",
  "part-11.csv": "id,seq\nA,11\nB11,11\n",
  "mixed1.csv": "id\n1\r2\r3\r",
  "crcrlf.csv": "id,name\r\r\n1,a\r\r\n2,b\r\r\n",
  "lfcr.csv": "id,name\n\r1,a\n\r2,b\n\r",
  "catbom.csv": "\ufeffid,name\n1,a\n2,b\n\ufeffid,name\n3,c\n4,d\n",
};

interface Quarantined {
  rule: string;
  field: string | null;
  raw: string;
  raw_base64: string | null;
  file: string | null;
  line: number | null;
}

class Loads {
  constructor(readonly engine: Engine) {}

  run(path: string, source: object = {}, params: object = {}): Promise<RunDetail> {
    return this.engine.runToEnd({
      min_acceptance_ratio: 0,
      table_name: path.replace(/\W/g, "_"),
      ...params,
      source: { type: "file", name: "s", path, ...source },
    });
  }

  /** Payloads as the database writes them, by key. */
  async payloads(table: string): Promise<Record<string, string>> {
    const rows = await this.engine.sql<{ event_id: string; payload: string }[]>`
      select event_id, payload::text from ${this.engine.sql(table)}`;
    return Object.fromEntries(rows.map(({ event_id, payload }) => [event_id, payload]));
  }

  async quarantine(run: RunDetail): Promise<Quarantined[]> {
    const answer = await this.engine.request(`/api/etl/runs/${run.run_id}/quarantine`);
    assert.equal(answer.status, 200);
    return (await answer.json()).items;
  }
}

Deno.test("CSV files: values, keys and dialects as they are written; what is none is quarantined with file and line", async (t) => {
  await using engine = await startEngine(t, { files: FILES });
  const loads = new Loads(engine);
  const problemOf = (run: RunDetail) => {
    assert.equal(run.state, "failed");
    return String(run.error!.detail);
  };

  await t.step("keys are the text of their cells", async () => {
    await loads.run("codes.csv", { key: "code" });
    assert.deepEqual(Object.keys(await loads.payloads("codes_csv")).sort(), [
      "1.1",
      "1.10",
      "2.5",
      "250.0",
      "250.00",
    ]);
    for (const day of ["d1.csv", "d2.csv"]) {
      await loads.run(day, { key: "code" }, { table_name: "icd" });
    }
    assert.deepEqual(await loads.payloads("icd"), {
      "250.0": '{"code": 250.0, "name": "Diabetes v2"}',
      "401.10": '{"code": 401.10, "name": "Hyper v2"}',
      "V10.1": '{"code": "V10.1", "name": "History"}',
    });
  });

  await t.step("a row is what it was, whatever other rows a file has", async () => {
    for (const day of ["mon.csv", "tue.csv"]) await loads.run(day, {}, { table_name: "keyless" });
    assert.equal(Object.keys(await loads.payloads("keyless")).length, 3);
    const counts = [];
    for (const day of ["mon.csv", "tue.csv", "mon.csv"]) {
      const run = await loads.run(day, { key: "city" }, { table_name: "zips" });
      counts.push([run.counts.inserted, run.counts.updated, run.counts.unchanged]);
    }
    assert.deepEqual(counts, [[2, 0, 0], [1, 0, 2], [0, 0, 2]]);
  });

  await t.step("numbers keep every digit", async () => {
    await loads.run("dec.csv", { key: "id" });
    const values = Object.values(await loads.payloads("dec_csv")).map((text) =>
      /"v": ([^,]*),/.exec(text)![1]
    );
    assert.deepEqual(values, [
      "883406386745030.3",
      "9007199254740993.5",
      "50000.0000000000000001",
      "0.12345678901234567890",
      "12345678901234567.89",
      "-3",
      "19.90",
      "123456789012345678901234567890",
    ]);
  });

  await t.step("UTF-16 is told by its mark; a wrong encoding is refused", async () => {
    for (const encoding of [undefined, "utf-16", "utf-16le", "utf-16be"]) {
      const table_name = `be_${encoding ?? "auto"}`.replace("-", "_");
      await loads.run("be.csv", { key: "id", encoding }, { table_name });
      assert.equal((await loads.payloads(table_name))["3"], '{"id": 3, "name": "Zoë"}');
    }
    await loads.run("benobom.csv", { key: "id", encoding: "utf-16be" });
    assert.equal(Object.keys(await loads.payloads("benobom_csv")).length, 3);
    const wrong = async (path: string, encoding: string) =>
      problemOf(await loads.run(path, { encoding }, { table_name: "wrong" }));
    assert.match(await wrong("benobom.csv", "utf-16le"), /UTF-16BE.*"utf-16be"/);
    assert.match(await wrong("cp1252.csv", "utf-16le"), /not UTF-16/);
    assert.match(await wrong("cp1252.csv", "utf-16be"), /not UTF-16/);
    assert.match(await wrong("be.csv", "latin1"), /mark of UTF-16BE/);
  });

  await t.step("TSV has no quotes unless asked", async () => {
    await loads.run("q.tsv", { key: "id" });
    assert.equal(
      (await loads.payloads("q_tsv"))["5"],
      '{"id": 5, "title": "\\"starts quote only"}',
    );
    await loads.run("q2.tsv", { key: "id" });
    assert.equal(Object.keys(await loads.payloads("q2_tsv")).length, 5);
    await loads.run("q2.tsv", { key: "id", quote: '"' }, { table_name: "q2_quoted" });
    assert.equal(Object.keys(await loads.payloads("q2_quoted")).length, 3);
  });

  await t.step("files are read in natural order", async () => {
    await loads.run("part-*.csv", { key: "id" }, { table_name: "parts" });
    assert.equal((await loads.payloads("parts")).A, '{"id": "A", "seq": 11}');
  });

  await t.step(
    "bare CRs and a header among the records are quarantined, as they stand there",
    async () => {
      const shown = async (path: string) =>
        (await loads.quarantine(await loads.run(path, { key: "id" })))
          .map(({ rule, file, line, raw }) => [rule, file, line, raw]);
      assert.deepEqual(await shown("mixed1.csv"), [
        ["csv_line_end", "mixed1.csv", 2, "1\r2\r3\r"],
      ]);
      assert.deepEqual(await shown("lfcr.csv"), [
        ["csv_line_end", "lfcr.csv", 2, "\r1,a"],
        ["csv_line_end", "lfcr.csv", 3, "\r2,b"],
      ]);
      assert.match(problemOf(await loads.run("crcrlf.csv")), /CR alone/);
      assert.deepEqual(await shown("catbom.csv"), [
        ["csv_header_repeated", "catbom.csv", 4, "\ufeffid,name"],
      ]);
      assert.equal(Object.keys(await loads.payloads("catbom_csv")).length, 4);
    },
  );
});

Deno.test("CSV files: a rejected record is kept byte for byte, with its line in any chunk, and can be replayed", async (t) => {
  const rows = Array.from({ length: 4_000 }, (_, i) => `${i},"text\n${i}",19.90`);
  rows[3_500] = '3500,"a ""b""\r\nc",oops';
  rows[3_600] = "ragged,row";
  const bad = new TextEncoder().encode(rows.join("\n").replace("\n3700,", "\n3700\u0001,"));
  bad[bad.indexOf(1)] = 0xff;
  const header = new TextEncoder().encode("id,note,price\n");
  const file = new Uint8Array(header.length + bad.length);
  file.set(header);
  file.set(bad, header.length);
  await using engine = await startEngine(t, { files: { "big.csv": file } });
  const loads = new Loads(engine);
  const run = await loads.run(
    "big.csv",
    { key: "id", columns: { price: "numeric(6,2)" } },
    { chunk_size: 500 },
  );
  assert.deepEqual([run.state, run.counts.rejected, run.counts.inserted], ["succeeded", 3, 3_997]);
  const [cell, ragged, bytes] = await loads.quarantine(run);
  assert.deepEqual(cell, {
    ...cell!,
    rule: "column_type",
    field: "price",
    file: "big.csv",
    line: 2 + 3_500 * 2,
    raw: '3500,"a ""b""\r\nc",oops',
  });
  assert.deepEqual([ragged!.rule, ragged!.line], ["csv_columns", 2 + 3_600 * 2]);
  assert.deepEqual([bytes!.rule, bytes!.line], ["encoding", 2 + 3_700 * 2 - 1]);
  const kept = Uint8Array.fromBase64(bytes!.raw_base64!);
  assert.deepEqual(
    kept,
    new Uint8Array([...latin1("3700"), 0xff, ...latin1(',"text\n3700",19.90')]),
  );

  const replayed = await engine.post(
    `/api/etl/runs/${run.run_id}/quarantine/replay?rule=column_type`,
  );
  assert.equal(replayed.status, 202);
  const again = await engine.toEnd((await replayed.json()).run_id);
  assert.deepEqual([again.counts.inserted, again.counts.rejected], [0, 1]);
  const [still, ...others] = await loads.quarantine(again);
  assert.deepEqual([still!.rule, still!.field, others], ["column_type", "price", []]);
  assert.ok(still!.raw.includes("oops"));
});

Deno.test("a preview of CSV shows digits, file and line, and proposes declarations", async (t) => {
  const csv = "id,zip,price\n1,10001,19.90\n2,02134,1.10\n3,x\n";
  await using engine = await startEngine(t, { files: { "p.csv": csv } });
  const answer = await engine.post("/api/etl/preview", {
    source: { type: "file", path: "p.csv", key: "price" },
  });
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  assert.match(text, /"payload":\{"id":1,"price":19\.90,"zip":10001\}/);
  const { events, rejected, columns } = JSON.parse(text);
  assert.deepEqual(events.map((event: { event_id: string }) => event.event_id), ["19.90", "1.10"]);
  assert.deepEqual([rejected[0].file, rejected[0].line, rejected[0].raw], ["p.csv", 4, "3,x"]);
  assert.deepEqual(columns, [{
    name: "zip",
    declare: "text",
    fits: 1,
    misfits: ["02134"],
    why: "some values look like numbers, others are codes",
  }]);
});

Deno.test("CSV bodies: header=absent and the dialect of the query are obeyed", async (t) => {
  await using engine = await startEngine(t);
  const send = async (type: string, query: string, body: string) => {
    const answer = await engine.request(`/api/etl/run?${query}`, {
      method: "POST",
      headers: { "content-type": type },
      body,
    });
    assert.equal(answer.status, 202, await answer.clone().text());
    const run = await engine.toEnd((await answer.json()).run_id);
    assert.equal(run.state, "succeeded", JSON.stringify(run.error));
  };
  const loads = new Loads(engine);
  await send("text/csv; charset=utf-8; header=absent", "key=column_1&table_name=a", "1,x\n2,y\n");
  assert.deepEqual(await loads.payloads("a"), {
    "1": '{"column_1": 1, "column_2": "x"}',
    "2": '{"column_1": 2, "column_2": "y"}',
  });
  await send(
    "text/csv",
    `key=id&table_name=b&quote='&skip_lines=1&comment=%23&columns=${
      encodeURIComponent('{"n":{"type":"numeric","decimal":","}}')
    }&delimiter=;`,
    "exported yesterday\nid;n\n# nothing\n1;'1,50'\n",
  );
  assert.deepEqual(await loads.payloads("b"), { "1": '{"n": 1.50, "id": 1}' });
});

Deno.test("a key that files of a glob have with different contents is warned of, where no version says which is newest", async (t) => {
  const files = Object.fromEntries(
    [1, 2, 9, 10, 11].map((n) => [`part-${n}.csv`, `id,n\nA,${n}\nB${n},0\nsame,0\n`]),
  );
  await using engine = await startEngine(t, { files });
  const load = (table: string, source: object, params: object = {}) =>
    engine.succeed({
      ...params,
      table_name: table,
      source: { type: "file", path: "part-*.csv", key: "id", ...source },
    });
  const warned = [
    '1 key has different contents in several files, of which the last file won, as there is no source.version: "A" in part-1.csv and part-11.csv',
  ];
  assert.deepEqual((await load("one_chunk", {})).warnings, warned);
  assert.deepEqual((await engine.payloads("public.one_chunk")).A, { id: "A", n: 11 });
  assert.deepEqual((await load("chunks", {}, { chunk_size: 4 })).warnings, warned);
  assert.deepEqual((await load("chunks", {}, { chunk_size: 1 })).warnings, warned);
  assert.deepEqual((await load("versions", { version: "n" })).warnings, []);
  assert.deepEqual((await load("one_file", { path: "part-9.csv" })).warnings, []);
  assert.deepEqual((await load("hashes", { key: undefined })).warnings, []);
});
