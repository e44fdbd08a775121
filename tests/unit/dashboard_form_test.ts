import assert from "node:assert/strict";
import { widerTypes } from "../../islands/datasets/columns_editor.tsx";
import { declaredIn, declaredText, digitsIn, numericType } from "../../islands/form/declared.tsx";
import { valueType } from "../../islands/resources.tsx";
import { replaySet } from "../../islands/run/replay.tsx";
import fc from "fast-check";
import {
  confOf,
  equivalent,
  fieldGroups,
  type JsonSchema,
  sourceFields,
  sourceTypes,
  valuesOf,
} from "../../islands/form/conf.ts";
import { confJsonSchema, confSchema, paramNames } from "../../pipeline/params.ts";

const schema = confJsonSchema() as JsonSchema;
const groups = fieldGroups(schema);
const allFields = (type: string) => [
  ...sourceFields(schema, type),
  ...groups.flatMap(({ fields }) => fields),
];

Deno.test("a column is offered the wider types that keep its values, and no other", () => {
  const offered = ["integer", "numeric(5,2)", "numeric", "date", "timestamptz", "text"].map(
    widerTypes,
  );
  assert.deepEqual(offered, [["numeric"], ["numeric"], [], ["timestamptz"], [], []]);
});

Deno.test("fieldGroups() has every parameter exactly once", () => {
  const names = groups.flatMap(({ fields }) => fields.map(({ name }) => name)).sort();
  const expected = [...paramNames.filter((name) => name !== "source"), "configuration"].sort();
  assert.deepEqual(names, expected);
});

Deno.test("what the table becomes and how it is written stands where the table is named", () => {
  const names = groups.find(({ name }) => name === "destination")!.fields.map(({ name }) => name);
  assert.deepEqual(
    ["table_name", "layout", "write", "schema_policy"].filter((name) => !names.includes(name)),
    [],
  );
});

Deno.test("a parameter that no group names is in the last group", () => {
  const extended = {
    ...schema,
    properties: { ...schema.properties, brand_new: { type: "integer" } },
  };
  const last = fieldGroups(extended).at(-1)!;
  assert.ok(last.fields.some(({ name, kind }) => name === "brand_new" && kind === "integer"));
});

Deno.test("sourceFields() begins with what is required and hides what the server sets", () => {
  assert.deepEqual(sourceTypes(schema), [
    ...["synthetic", "inline", "file", "http", "postgres", "s3", "module"],
  ]);
  assert.equal(sourceFields(schema, "file")[0]!.name, "path");
  const inline = sourceFields(schema, "inline").map(({ name }) => name);
  assert.ok(!inline.includes("upload_id") && !inline.includes("type"));
});

Deno.test("confOf() leaves out what is empty and gives each value its type", () => {
  const values = {
    batch_size: "1200",
    dry_run: "true",
    run_label: "  ",
    min_acceptance_ratio: "0.5",
    sla_seconds: '{"run": 60}',
    "source.path": "a.csv",
    "source.key": "id",
    "source.event_type": '{"field": "type"}',
  };
  const conf = confOf(allFields("file"), values, "file");
  assert.deepEqual(conf, {
    source: { type: "file", path: "a.csv", key: "id", event_type: { field: "type" } },
    batch_size: 1200,
    dry_run: true,
    min_acceptance_ratio: 0.5,
    sla_seconds: { run: 60 },
  });
  assert.ok(confSchema.safeParse(conf).success);
});

Deno.test("confOf() keeps what does not parse as it was typed, for the server to explain", () => {
  const conf = confOf(
    allFields("synthetic"),
    { batch_size: "many", sla_seconds: "{" },
    "synthetic",
  );
  assert.deepEqual(conf, { batch_size: "many", sla_seconds: "{" });
});

Deno.test("the form takes from the schema what a column and a time can be said to be", () => {
  const field = (name: string) => sourceFields(schema, "file").find((each) => each.name === name)!;
  assert.equal(field("event_type").kind, "text_or_field");
  assert.deepEqual(
    [field("occurred_at").kind, ...field("occurred_at").options],
    ["field_and_format", "iso", "epoch_s", "epoch_ms", "epoch_us"],
  );
  assert.deepEqual(
    field("columns").members!.map(({ name, list }) => list ? `${name}[]` : name).sort(),
    [
      "column",
      "decimal",
      "false_values[]",
      "format",
      "null_values[]",
      "thousands",
      "true_values[]",
    ],
  );
});

Deno.test("declared columns come from rows of inputs as they went into them", () => {
  for (
    const text of [
      "",
      '{"price":"numeric(12,2)"}',
      '{"No.":{"column":"number"},"sold":{"type":"date","format":"%d/%m/%Y"}}',
      '{"ok":{"type":"boolean","true_values":["a, b","ja"]}}',
    ]
  ) assert.equal(declaredText(declaredIn(text)), text);
  const rows = [{ name: "", declaration: { type: "text" } }, {
    name: "n",
    declaration: { type: "numeric", decimal: "", null_values: [] },
  }];
  assert.equal(declaredText(rows), '{"n":"numeric"}');
});

Deno.test("a numeric type has the digits that are typed, in any order", () => {
  for (const type of ["numeric", "numeric(12,2)", "numeric(5)", "numeric(,2)"]) {
    assert.equal(numericType(digitsIn(type)!), type);
  }
  assert.deepEqual(digitsIn("numeric( 12, 2 )"), { precision: "12", scale: "2" });
  assert.equal(numericType({ precision: "1x0", scale: "" }), "numeric(10)");
  assert.equal(digitsIn("integer"), null);
});

Deno.test("a variable's value has the simplest input that holds it", () => {
  const types = ['"a\\"b"', "-1.5e3", "12345678901234567890", "false", "[1]", '{"a":"b"}', "null"];
  assert.deepEqual(types.map(valueType), [
    ...["text", "number", "number", "flag", "json", "json", "json"],
  ]);
});

Deno.test("valuesOf() and confOf() are inverse for confs of the API", () => {
  for (
    const conf of [
      { batch_size: 5, source: { type: "synthetic", seed: 7 } },
      { source: { type: "synthetic" } },
      {
        source: { type: "inline", records: [{ id: 1, deep: { a: [1] } }], key: ["id", "deep.a.0"] },
      },
      {
        source: { type: "postgres", connection: "erp", table: "t", page_key: ["a", "b"] },
        dry_run: false,
      },
      { source: { type: "inline", upload_id: "u", format: "csv", cells: true } },
      { configuration: "nightly", sla_seconds: 30, suite: "mine" },
      // of private fields a run that is repeated must leave out the same
      {
        exclude: ["email", "a, b", "[c]"],
        hash: ["phone"],
        deleted: { field: "op", equals: null },
      },
      {
        source: {
          ...{
            type: "inline",
            name: "x",
            key: "[odd]",
            event_type: '"quoted"',
            occurred_at: "2024",
          },
          ...{
            delimiter: "\t",
            quote: false,
            header: ["id", "n"],
            comment: " ",
            null_values: ["", "-", " NA"],
          },
          records: [{ id: 1 }],
        },
      },
      {
        source: {
          type: "module",
          name: "crm",
          connections: ["crm", "auth"],
          config: { since: "2026" },
        },
      },
    ]
  ) {
    const type = (conf as { source?: { type: string } }).source?.type ?? "synthetic";
    assert.deepEqual(confOf(allFields(type), valuesOf(conf), type), conf);
  }
});

Deno.test("what is typed for a field is read as its schema says", () => {
  const typed = {
    exclude: '["a, b"]',
    hash: " email , phone.home ",
    sla_seconds: "90",
    deleted: "op = D",
    "source.key": "2024",
    "source.occurred_at": "true",
    "source.delimiter": "\\t",
    "source.quote": "false",
    "source.header": "false",
  };
  assert.deepEqual(confOf(allFields("file"), typed, "file"), {
    exclude: ["a, b"],
    hash: ["email", "phone.home"],
    sla_seconds: 90,
    deleted: { field: "op", equals: "D" },
    source: {
      type: "file",
      key: "2024",
      occurred_at: "true",
      delimiter: "\t",
      quote: false,
      header: false,
    },
  });
});

Deno.test("records that are typed in keep every digit", () => {
  const records = '[{"id":12345678901234567890,"price":19.90,"n":[0.1,1e400]}]';
  const conf = confOf(allFields("inline"), { "source.records": records }, "inline");
  assert.equal(JSON.stringify(conf), `{"source":{"type":"inline","records":${records}}}`);
  assert.deepEqual(valuesOf(conf), { "source.type": "inline", "source.records": records });
});

Deno.test("equivalent() quotes any text so that shell and SQL read the same JSON", async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ maxLength: 40 }), async (text) => {
      const conf = { run_label: text.replaceAll("\u0000", "") };
      const shell = equivalent("curl", conf, { origin: "http://h" }).replace(
        /^curl .*? -d /s,
        "printf %s ",
      );
      const { stdout } = await new Deno.Command("sh", { args: ["-c", shell] }).output();
      assert.deepEqual(JSON.parse(new TextDecoder().decode(stdout)), conf);
      const sql = /'(.*)'::jsonb/s.exec(equivalent("sql", conf, { origin: "http://h" }))![1]!;
      assert.doesNotMatch(sql.replaceAll("''", ""), /'/);
      assert.deepEqual(JSON.parse(sql.replaceAll("''", "'")), conf);
    }),
    { numRuns: 30 },
  );
});

Deno.test("a replay is asked for with what differs from the original alone", () => {
  const before = {
    transform: "orders",
    suite: "",
    mapping: { "source.key": '["region","id"]', "source.occurred_at": "at" },
  };
  assert.deepEqual(replaySet(before, before), {});
  assert.deepEqual(
    replaySet(before, {
      transform: "",
      suite: "strict",
      mapping: {
        "source.key": "id",
        "source.occurred_at": "",
        "source.columns": '{"id":"text"}',
      },
    }),
    {
      transform: null,
      suite: "strict",
      source: { key: "id", occurred_at: null, columns: { id: "text" } },
    },
  );
});
