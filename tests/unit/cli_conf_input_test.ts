import assert from "node:assert/strict";
import { applySetting, confText, readConf } from "../../scripts/cli/conf_input.ts";
import { UsageError } from "../../scripts/cli/exit_codes.ts";

const noFile = () => Promise.reject(new Error("no file was named"));

function set(...settings: string[]): Record<string, unknown> {
  const conf = {};
  for (const setting of settings) applySetting(conf, setting);
  return conf;
}

Deno.test("readConf() lets --source go over --conf, and --set over both", async () => {
  const conf = await readConf({
    conf: '{"batch_size": 1, "run_label": "a", "source": {"type": "synthetic"}}',
    source: '{"type": "file", "path": "a.csv"}',
    set: ["batch_size=2", "source.key=id"],
  }, noFile);
  assert.deepEqual(conf, {
    batch_size: 2,
    run_label: "a",
    source: { type: "file", path: "a.csv", key: "id" },
  });
});

Deno.test("readConf() reads what begins with @ from a file", async () => {
  const read: string[] = [];
  const conf = await readConf({ conf: "@nightly.json", set: [] }, (path) => {
    read.push(path);
    return Promise.resolve('{"dry_run": true}');
  });
  assert.deepEqual(read, ["nightly.json"]);
  assert.deepEqual(conf, { dry_run: true });
});

Deno.test("readConf() says how JSON is given when it is none", async () => {
  await assert.rejects(
    readConf({ conf: "{batch_size: 3}", set: [] }, noFile),
    (error: Error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, /^--conf is not JSON: /);
      assert.match(error.message, /given as: \{batch_size: 3\}/);
      assert.match(error.message, /single quotes/);
      return true;
    },
  );
});

Deno.test("readConf() refuses JSON that is no object", async () => {
  for (const conf of ["3", "null", "[]", '"a"']) {
    await assert.rejects(readConf({ conf, set: [] }, noFile), /must be a JSON object/);
  }
});

Deno.test("applySetting() keeps text where a parameter takes text, and parses the rest", () => {
  assert.deepEqual(
    set("run_label=2024", "batch_size=2024", "dry_run=true", "table_name=true", "transform=null"),
    { run_label: "2024", batch_size: 2024, dry_run: true, table_name: "true", transform: null },
  );
});

Deno.test("applySetting() sets members of the source, of text and of other types", () => {
  assert.deepEqual(
    set("source.type=synthetic", "source.seed=7", "source.name=7", 'source.key=["a","b"]'),
    { source: { type: "synthetic", seed: 7, name: "7", key: ["a", "b"] } },
  );
});

Deno.test("applySetting() puts an object in the place of what has no members", () => {
  for (const source of ["[1]", "null", "text"]) {
    const given = set(`source=${source}`, "source.path=a.csv");
    assert.equal(JSON.stringify(given), '{"source":{"path":"a.csv"}}', source);
  }
});

Deno.test("applySetting() keeps equals signs and empty values", () => {
  assert.deepEqual(set("run_label=a=b", "source.path="), {
    run_label: "a=b",
    source: { path: "" },
  });
});

Deno.test("applySetting() refuses what has no name or no value", () => {
  for (const setting of ["batch_size", "=3", ""]) {
    assert.throws(() => set(setting), /--set needs name=value/);
  }
});

Deno.test("confText() keeps every digit of what readConf() read", async () => {
  const json = '{"source":{"records":[{"id":12345678901234567890}],"type":"inline"}}';
  assert.equal(confText(await readConf({ conf: json, set: [] }, noFile)), json);
});
