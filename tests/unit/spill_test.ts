import { verbatim } from "../../vocabulary/messages.ts";
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Event, Rejected } from "../../pipeline/event.ts";
import {
  chunkFile,
  diskProblem,
  readMeta,
  readPositions,
  writePositions,
} from "../../pipeline/spill/layout.ts";
import { possibleDuplicates } from "../../pipeline/spill/duplicates.ts";
import { readKeys, readPresent, readRows } from "../../pipeline/spill/reader.ts";
import { RejectedRows } from "../../pipeline/spill/rejected_rows.ts";
import { quarantineText } from "../../store/quarantine.ts";
import { COPY_HEADER } from "../../store/copy.ts";
import { ROW_COLUMNS } from "../../store/row_layout.ts";
import { copyText, presentLine, SpillWriter } from "../../pipeline/spill/writer.ts";
import { spillMaker } from "../../pipeline/workers/environment.ts";
import type { RunContext } from "../../pipeline/workers/task.ts";

const decoder = new TextDecoder();

class TempDir implements AsyncDisposable {
  readonly path: string;
  constructor(path: string) {
    this.path = path;
  }
  static async create(): Promise<TempDir> {
    return new TempDir(await Deno.makeTempDir({ prefix: "etl_spill_" }));
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}

function event(i: number, rest: Partial<Event> = {}): Event {
  return {
    position: i,
    output: 0,
    eventId: `e${i}`,
    eventType: "t",
    occurredAt: null,
    version: null,
    payload: {},
    text: "{}",
    raw: null,
    fingerprint: "00".repeat(32),
    ...rest,
  };
}

const META = {
  maker: "m",
  counts: {
    records_read: 0,
    rejected: 0,
    filtered: 0,
    extra: 0,
    events: 0,
    cursor_nulls: 0,
    keyless: 0,
    deletions: 0,
  },
  stageMs: {},
};

function write(dir: string, events: Event[], pageSize = 10, chunkNo = 0) {
  using writer = SpillWriter.open({
    dir,
    chunkNo,
    runId: "00000000-0000-7000-8000-000000000000",
    sourceName: "so\turce",
    pageSize,
  });
  writer.add(events);
  return writer.finish(META);
}

type ReadOptions = Parameters<typeof readRows>[2];

async function bytes(blocks: Iterable<Uint8Array>): Promise<Uint8Array> {
  const copies: Uint8Array<ArrayBuffer>[] = [];
  for (const block of blocks) copies.push(block.slice());
  return new Uint8Array(await new Blob(copies).arrayBuffer());
}

async function keys(dir: string, options: ReadOptions = {}): Promise<string> {
  return decoder.decode(await bytes(readKeys(dir, 0, options)));
}

type Field = Uint8Array | null;

/** The fields of each row of a binary COPY, after a look at its frame. */
async function rows(dir: string, options: ReadOptions = {}): Promise<Field[][]> {
  const all = await bytes(readRows(dir, 0, options));
  assert.deepEqual(all.subarray(0, COPY_HEADER.length), COPY_HEADER);
  const view = new DataView(all.buffer);
  const found: Field[][] = [];
  let at = COPY_HEADER.length;
  for (;;) {
    const count = view.getInt16(at);
    at += 2;
    if (count === -1) break;
    assert.equal(count, ROW_COLUMNS.length);
    const fields: Field[] = [];
    for (let i = 0; i < count; i++) {
      const length = view.getInt32(at);
      at += 4;
      fields.push(length === -1 ? null : all.subarray(at, at += length));
    }
    found.push(fields);
  }
  assert.equal(at, all.length);
  return found;
}

const ids = async (dir: string, options: ReadOptions = {}) =>
  (await rows(dir, options)).map(([id]) => decoder.decode(id!));

Deno.test("spill: a row has every column, keys with chunk and position", async () => {
  await using dir = await TempDir.create();
  write(dir.path, [
    event(0),
    event(1, {
      eventId: "a\\b",
      occurredAt: "2026-01-31T23:59:59.5Z",
      version: "-1.5",
      text: '{"x":"\\n"}',
    }),
  ]);
  const [first, second] = await rows(dir.path);
  const text = (field: Field | undefined) => field && decoder.decode(field);
  assert.deepEqual(first!.map((field) => field === null), [
    ...[false, false, true, false, true],
    ...[false, false, true, true, false],
  ]);
  assert.deepEqual(second!.slice(0, 2).map(text), ["a\\b", "t"]);
  assert.equal(text(second![3]), "so\turce");
  assert.equal(text(second![5]), '\u0001{"x":"\\n"}');
  assert.deepEqual(second![6], new Uint8Array(32));
  assert.equal(second![9]!.length, 16);
  assert.equal(
    await keys(dir.path),
    `e0\t\\\\x${"00".repeat(32)}\t\\N\t0\t0\na\\\\b\t\\\\x${"00".repeat(32)}\t-1.5\t0\t1\n`,
  );
});

Deno.test("spill: copyText() has no raw tab, newline or single backslash, and reads back", () => {
  const back: Record<string, string> = { t: "\t", n: "\n", r: "\r", "\\": "\\" };
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("\\", "\t", "\n", "\r", "t", "n", ".", "é") }),
      (given) => {
        const copied = copyText(given);
        assert.ok(!/[\t\n\r]/.test(copied));
        assert.equal(copied.replace(/\\(.)/g, (_, c) => back[c]!), given);
      },
    ),
    { numRuns: 2000 },
  );
});

Deno.test("spill: any choice of lines is read whole, whatever the size of the blocks", async () => {
  await using dir = await TempDir.create();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 40 }), fc.boolean()), { maxLength: 30 }),
      fc.integer({ min: 1, max: 50 }),
      async (lines, blockBytes) => {
        const all = lines.map(([length], i) => `${i}:${"é".repeat(length)}\n`);
        await Deno.writeTextFile(chunkFile(dir.path, 0, "keys"), all.join(""));
        const chosen = lines.flatMap(([, choose], i) => choose ? [i] : []);
        assert.equal(
          await keys(dir.path, { blockBytes, positions: Int32Array.from(chosen) }),
          chosen.map((i) => all[i]).join(""),
        );
        assert.equal(await keys(dir.path, { blockBytes }), all.join(""));
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("spill: rows and keys are read into one memory, however many there are", async () => {
  await using dir = await TempDir.create();
  write(dir.path, Array.from({ length: 1_000 }, (_, i) => event(i)));
  const even = Int32Array.from({ length: 500 }, (_, i) => i * 2);
  for (const read of [readRows, readKeys]) {
    for (const positions of [undefined, even]) {
      const memories = new Map<ArrayBufferLike, number>();
      for (const { buffer } of read(dir.path, 0, { blockBytes: 1_000, positions })) {
        memories.set(buffer, (memories.get(buffer) ?? 0) + 1);
      }
      assert.ok(Math.max(...memories.values()) > 10);
      // besides what is before and after the rows of a COPY
      assert.ok(memories.size <= (read === readRows ? 3 : 1));
    }
  }
});

Deno.test("spill: any choice of rows is read whole, whatever the size of the blocks", async () => {
  await using dir = await TempDir.create();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 90 }), fc.boolean()), { maxLength: 30 }),
      fc.integer({ min: 1, max: 300 }),
      fc.integer({ min: 1, max: 7 }),
      async (lines, blockBytes, pageSize) => {
        const all = lines.map(([length], i) => `${i}:${"é".repeat(length)}`);
        write(dir.path, all.map((eventId, i) => event(i, { eventId })), pageSize);
        const chosen = lines.flatMap(([, choose], i) => choose ? [i] : []);
        const positions = Int32Array.from(chosen);
        assert.deepEqual(
          await ids(dir.path, { blockBytes, positions }),
          chosen.map((i) => all[i]),
        );
        assert.deepEqual(await ids(dir.path, { blockBytes }), all);
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("spill: of a chunk that outgrows its memory each row is found, and equal keys far apart are seen", async () => {
  await using dir = await TempDir.create();
  const events = Array.from({ length: 20_000 }, (_, i) => event(i));
  events[19_000] = event(19_000, { eventId: "e7" });
  write(dir.path, events, 1_000);
  const chosen = [0, 1, 4_095, 4_096, 8_192, 16_384, 19_000, 19_999];
  assert.deepEqual(
    await ids(dir.path, { positions: Int32Array.from(chosen) }),
    chosen.map((i) => events[i]!.eventId),
  );
  const found: number[] = [];
  for await (
    const { positions } of possibleDuplicates(dir.path, [{ chunkNo: 0, events: 20_000 }])
  ) {
    found.push(...positions);
  }
  assert.deepEqual(found, [7, 19_000]);
});

Deno.test("spill: keys without an event are a file of their own, whose size in bytes is noted; without any there is none", async () => {
  await using dir = await TempDir.create();
  const finish = (chunkNo: number, present?: string) => {
    using writer = SpillWriter.open({
      ...{ dir: dir.path, chunkNo, sourceName: "s", pageSize: 10 },
      runId: "00000000-0000-7000-8000-000000000000",
    });
    return writer.finish({ ...META, ...(present === undefined ? {} : { present }) });
  };
  const present = presentLine("clé\t字\\") + presentLine("b");
  const { presentBytes } = finish(0, present);
  assert.equal(presentBytes, new TextEncoder().encode(present).length);
  const text = decoder.decode(await bytes(readPresent(dir.path, 0)));
  assert.equal(text, "clé\\t字\\\\\t\\\\x\t\\N\t-1\t0\nb\t\\\\x\t\\N\t-1\t0\n");
  assert.ok(readMeta(dir.path, 0, { maker: "m", published: false }));
  assert.equal(finish(1).presentBytes, 0);
  assert.ok(readMeta(dir.path, 1, { maker: "m", published: false }));
  await assert.rejects(Deno.stat(chunkFile(dir.path, 1, "present")), Deno.errors.NotFound);
});

Deno.test("spill: a key with a line end, a tab or a backslash is one line of keys; rows that end early are noticed", async () => {
  await using dir = await TempDir.create();
  const odd = ["a\rb", "a\nb", "a\tb", "a\\b", "é"];
  write(dir.path, odd.map((eventId, i) => event(i, { eventId })));
  const lines = (await keys(dir.path)).split("\n");
  assert.deepEqual(lines.map((line) => line.split("\t")[0]), [
    ...["a\\rb", "a\\nb", "a\\tb", "a\\\\b", "é", ""],
  ]);
  assert.deepEqual(await ids(dir.path), odd);
  const file = chunkFile(dir.path, 0, "rows");
  await Deno.truncate(file, Deno.statSync(file).size - 1);
  await assert.rejects(ids(dir.path, { positions: Int32Array.of(4) }), /ends too early/);
});

Deno.test("spill: rows reach the disk a page at a time, large rows before that", async () => {
  await using dir = await TempDir.create();
  const unfinished = () => [...Deno.readDirSync(dir.path)].find(({ name }) => /rows/.test(name))!;
  const size = () => Deno.statSync(`${dir.path}/${unfinished().name}`).size;
  using writer = SpillWriter.open({
    dir: dir.path,
    chunkNo: 0,
    runId: "00000000-0000-7000-8000-000000000000",
    sourceName: "s",
    pageSize: 3,
  });
  writer.add([event(0), event(1)]);
  assert.equal(size(), 0);
  writer.add([event(2)]);
  assert.ok(size() > 0);
  const before = size();
  writer.add([event(3, { text: `{"a":"${"x".repeat(2_000_000)}"}` })]);
  assert.ok(size() > before + 2_000_000, "a row of 2 MB did not wait for the page");
  writer.finish(META);
  assert.equal((await rows(dir.path)).length, 4);
});

Deno.test("spill: without finish() a chunk does not exist, an older one stays", async () => {
  await using dir = await TempDir.create();
  const options = { maker: "m", published: false };
  write(dir.path, [event(0)]);
  for (const chunkNo of [0, 1]) {
    using writer = SpillWriter.open({
      dir: dir.path,
      chunkNo,
      runId: "00000000-0000-7000-8000-000000000000",
      sourceName: "s",
      pageSize: 1,
    });
    writer.add([event(0), event(1)]);
  }
  assert.equal((readMeta(dir.path, 0, options))?.events, 1);
  assert.equal(readMeta(dir.path, 1, options), null);
});

Deno.test("spill: another maker's, a cut or a damaged spill is not used", async () => {
  await using dir = await TempDir.create();
  const options = { maker: "m", published: false };
  write(dir.path, [event(0), event(1)]);
  assert.equal(readMeta(dir.path, 0, { maker: "other", published: false }), null);
  assert.equal(readMeta(dir.path, 1, options), null);
  await Deno.truncate(chunkFile(dir.path, 0, "rows"), 5);
  assert.equal(readMeta(dir.path, 0, options), null);
  // of a published chunk the rows are in the table
  assert.equal((readMeta(dir.path, 0, { maker: "m", published: true }))?.events, 2);
  await Deno.truncate(chunkFile(dir.path, 0, "keys"), 5);
  assert.equal(readMeta(dir.path, 0, { maker: "m", published: true }), null);
  await Deno.writeTextFile(chunkFile(dir.path, 0, "json"), '{"chunkNo":');
  assert.equal(readMeta(dir.path, 0, options), null);
});

Deno.test("spill: positions are read as they were written", async () => {
  await using dir = await TempDir.create();
  const owner = { spillDir: dir.path, attempt: 1 };
  for (const positions of [[], [0], [1, 5, 2 ** 31 - 1]]) {
    // a view that starts inside its buffer
    const view = Int32Array.from([9, ...positions]).subarray(1);
    writePositions(owner, 3, "losers", view);
    assert.deepEqual([...readPositions(owner, 3, "losers")], positions);
  }
});

Deno.test("spill: attempts that write one chunk at once in one directory leave one whole spill", async () => {
  await using dir = await TempDir.create();
  const options = {
    dir: dir.path,
    chunkNo: 0,
    runId: "00000000-0000-7000-8000-000000000000",
    sourceName: "s",
    pageSize: 1,
  };
  using stale = SpillWriter.open(options);
  stale.add([event(0), event(1)]);
  write(dir.path, [event(0), event(1), event(2)]);
  const whole = await rows(dir.path);
  stale.add([event(2)]);
  assert.deepEqual(await rows(dir.path), whole);
  await stale.finish(META);
  assert.equal((await rows(dir.path)).length, 3);
  assert.equal((readMeta(dir.path, 0, { maker: "m", published: false }))?.events, 3);
});

Deno.test("spill: one that is given up leaves no file", async () => {
  await using dir = await TempDir.create();
  {
    using writer = SpillWriter.open({
      dir: dir.path,
      chunkNo: 0,
      runId: "00000000-0000-7000-8000-000000000000",
      sourceName: "s",
      pageSize: 1,
    });
    writer.add([event(0)]);
  }
  assert.deepEqual([...Deno.readDirSync(dir.path)], []);
});

Deno.test("spill: a full disk is a transient problem that names the directory", () => {
  const problem = diskProblem(
    Object.assign(new Error("write failed"), { code: "ENOSPC" }),
    "/spool",
  );
  assert.ok(String(problem).includes("/spool"));
  assert.equal((problem as { transient: boolean }).transient, true);
  const other = new Error("permission denied");
  assert.equal(diskProblem(other, "/spool"), other);
});

Deno.test("RejectedRows holds few in memory, many in a file, and gives all of them as often as asked", async () => {
  await using dir = await TempDir.create();
  const row = (i: number): Rejected => ({
    position: i,
    output: 0,
    rule: "r",
    message: verbatim("not\t\u0000 \u{1f600}"),
    field: null,
    raw: `${i}\u{1f600}`.repeat(6_000),
    raw_bytes: new Uint8Array([0, 255]),
    line: i,
  });
  const runId = crypto.randomUUID();
  for (const count of [0, 3, 400]) {
    {
      using rows = new RejectedRows({ dir: dir.path, runId, chunkNo: 7 });
      for (let i = 0; i < count; i++) rows.add(row(i));
      assert.deepEqual([rows.count, rows.first?.position], [count, count === 0 ? undefined : 0]);
      assert.equal([...Deno.readDirSync(dir.path)].length, count > 100 ? 1 : 0);
      const expected = Array.from({ length: count }, (_, i) => quarantineText(runId, 7, row(i)));
      for (const time of ["first", "second"]) {
        const stream = new TextDecoder();
        let text = "";
        for (const block of rows.blocks()) text += stream.decode(block, { stream: true });
        assert.ok(text === expected.join(""), `the ${time} time`);
      }
    }
    assert.deepEqual([...Deno.readDirSync(dir.path)], [], "nothing is left");
  }
});

Deno.test("spill: it is another maker's where anything differs that its rows come from, and the same where nothing does", () => {
  const params = {
    source: { type: "inline", key: "id", records: [1, 2] },
    transform: null,
    on_failure: "fail",
    db_page_size: 10,
    exclude: ["a"],
    hash: ["b"],
    schema_policy: "evolve",
  };
  const context = { params, pin: null, suite: null, privacy: null, table: null, attempt: 1 };
  const of = (given: object, to = context) =>
    spillMaker({ ...to, ...given } as unknown as RunContext);
  const maker = of({});
  const same = (given: object) => of({ params: { ...params, ...given } }) === maker;
  const { type, key } = params.source;
  // what has been in the database comes back in another order; records are not what is compared
  assert.ok(same({ source: { records: [], key, type } }));
  assert.ok(same({ db_page_size: 99 }) && of({ attempt: 2 }) === maker);
  assert.ok(same({ exclude: [], hash: [], schema_policy: "freeze" }), "where they change nothing");
  const others = [
    of({ params: { ...params, source: { type, key: "other" } } }),
    of({ params: { ...params, transform: "mine.ts" } }),
    of({ params: { ...params, on_failure: "quarantine" } }),
    of({ pin: { size: 7 } }),
    of({ suite: { expectations: [] } }),
    of({ privacy: {} }),
    of({ privacy: {}, params: { ...params, exclude: ["c"] } }),
    of({ privacy: {}, params: { ...params, hash: ["c"] } }),
    of({ table: { columns: [] } }),
    of({ table: { columns: ["n"] } }),
    of({ table: { columns: [] }, params: { ...params, schema_policy: "freeze" } }),
  ];
  assert.equal(new Set([maker, ...others]).size, others.length + 1);
});
