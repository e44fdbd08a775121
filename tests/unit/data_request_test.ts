import assert from "node:assert/strict";
import { Hono } from "hono";
import { notEmpty, readQuery, readRunRequest } from "../../routes/run_request.ts";
import { Problem } from "../../vocabulary/problem.ts";

/** What a request with data says of its run. */
async function read(query: string, type = "text/csv", format = "csv", headers = {}) {
  const app = new Hono();
  let said: ReturnType<typeof readQuery> | Problem | undefined;
  app.post("/", (c) => {
    try {
      said = readQuery(c, format);
    } catch (error) {
      said = error as Problem;
    }
    return c.body(null);
  });
  await app.request(`/?${query}`, {
    method: "POST",
    headers: { "content-type": type, ...headers },
  });
  return said!;
}

const sourceOf = async (...args: Parameters<typeof read>) => {
  const said = await read(...args);
  if (said instanceof Problem) throw said;
  const { type, format, ...others } = said.source;
  assert.deepEqual([type, format], ["inline", args[2] ?? "csv"]);
  return others;
};

Deno.test("the query of data is its conf: lists from one value, from several and as JSON, text where text is taken", async () => {
  const said = await read(
    "wait=true&run_label=2026&batch_size=7&exclude=a&hash=b&hash=c&key=%5B%22d%22,%22e%22%5D&key=f" +
      "&delimiter=;&header=false&skip_lines=2&columns=%7B%22n%22:%22integer%22%7D&event_type=7&null_values=",
  );
  assert.ok(!(said instanceof Problem));
  assert.deepEqual(said.conf, {
    ...{ run_label: "2026", batch_size: 7, exclude: ["a"], hash: ["b", "c"] },
  });
  assert.deepEqual(said.source, {
    ...{ type: "inline", format: "csv", key: ["d", "e", "f"], delimiter: ";", header: false },
    ...{ skip_lines: 2, columns: { n: "integer" }, event_type: "7", null_values: [""] },
  });
  const text = await read("run_label=%7Bno+json&key=%5Bno");
  assert.ok(!(text instanceof Problem));
  assert.deepEqual([text.conf.run_label, text.source.key], ["{no json", "[no"]);
});

Deno.test("what is given several times and is no list, and a source beside the data, is refused", async () => {
  for (
    const [query, field, expected] of [
      ["batch_size=1&batch_size=2", "batch_size", /^one value$/],
      ["delimiter=;&delimiter=,", "delimiter", /^one value$/],
      ["nonsense=1&nonsense=2", "nonsense", /^one value$/],
      ["source=x", "source", /^name, key, event_type/],
    ] as const
  ) {
    const problem = await read(query);
    assert.ok(problem instanceof Problem, query);
    assert.equal(problem.status, 400);
    assert.equal(problem.errors[0]!.field, field);
    assert.match(problem.errors[0]!.expected!, expected);
  }
});

Deno.test("the media type of data says its encoding and whether a header is there", async () => {
  const of = async (type: string, format?: string) => await sourceOf("", type, format);
  for (
    const type of [
      "text/csv",
      "text/csv; charset=utf-8",
      "text/csv; charset=UTF8",
      "text/csv;charset=us-ascii",
      "text/csv; charset=ASCII",
      "text/csv; header=present",
    ]
  ) {
    assert.deepEqual(await of(type), {}, type);
  }
  assert.deepEqual(await of("text/csv; header=absent"), { header: false });
  assert.deepEqual(await of('text/csv; Charset="ISO-8859-1"'), { encoding: "windows-1252" });
  assert.deepEqual(await of("text/csv; charset=utf-16"), { encoding: "utf-16" });
  assert.deepEqual(await of("application/x-ndjson; charset=latin1", "ndjson"), {
    encoding: "windows-1252",
  });
  assert.deepEqual(await of("application/vnd.apache.parquet; charset=latin1", "parquet"), {});
  for (const charset of ["klingon", "x-user-defined"]) {
    const problem = await read("", `text/csv; charset=${charset}`);
    assert.ok(problem instanceof Problem);
    assert.deepEqual([problem.status, problem.message.includes(charset)], [415, true]);
  }
  // the query goes over what the type says
  assert.deepEqual(
    await sourceOf("header=true&encoding=utf-8", "text/csv; header=absent; charset=latin1"),
    {
      ...{ header: true, encoding: "utf-8" },
    },
  );
});

Deno.test("data that is compressed for the way is refused, and so is a body without a byte", async () => {
  const identity = await sourceOf("", "text/csv", "csv", { "content-encoding": "identity" });
  assert.deepEqual(identity, {});
  const problem = await read("", "text/csv", "csv", { "content-encoding": "gzip" });
  assert.ok(problem instanceof Problem);
  assert.equal(problem.status, 415);
  const body = async (...sizes: number[]) => {
    async function* blocks() {
      for (const size of sizes) yield await Promise.resolve(new Uint8Array(size));
    }
    return (await Array.fromAsync(notEmpty(blocks()))).map(({ length }) => length);
  };
  assert.deepEqual(await body(0, 3, 0), [0, 3, 0]);
  await assert.rejects(body(), /empty/);
  await assert.rejects(body(0, 0), /empty/);
});

/** What is wrong with the conf of a request, whose other mistakes the database finds. */
async function wrongs(body: object, found: { field: string }[], query = "") {
  const app = new Hono();
  const asked: string[] = [];
  const sql = (_parts: TemplateStringsArray, conf: string) => {
    asked.push(conf);
    return Promise.resolve([{ errors: found.map((each) => ({ message: "is wrong", ...each })) }]);
  };
  let said: unknown;
  app.post("/", async (c) => {
    said = await readRunRequest(c, { sql } as never).catch((error) => error);
    return c.body(null);
  });
  await app.request(`/${query}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  assert.ok(said instanceof Problem, String(said));
  return { type: said.type, fields: said.errors.map(({ field }) => field), asked };
}

Deno.test("all that is wrong with a conf is told at once, and no field twice, whoever has found it", async () => {
  const conf = { batch_size: "many", source: { type: "inline", records: [{ id: 1 }], key: 5 } };
  const { fields: own } = await wrongs(conf, []);
  assert.deepEqual(own, ["batch_size", "source.key"]);
  const of = (...names: string[]) => names.map((field) => ({ field }));
  const { fields, asked } = await wrongs(
    conf,
    of("batch_size", "batch", "batch_size.x", "source", "source.key.0", "source.keys", "pool"),
  );
  assert.deepEqual(fields, [...own, "batch", "source.keys", "pool"]);
  // the database need not see the records
  assert.deepEqual(JSON.parse(asked[0]!).source.records, []);
  const { type } = await wrongs({ batch_size: 5 }, [], "?batch_size=7");
  assert.equal(type, "bad-request");
});
