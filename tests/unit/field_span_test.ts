import assert from "node:assert/strict";
import { fieldSpan } from "../../islands/run/field_span.ts";

function marked(raw: string, field: string | null, record: string | null = null): string | null {
  const span = fieldSpan({ raw, record, field });
  return span === null ? null : raw.slice(...span);
}

Deno.test("the failing field is found in a record of JSON, nested, escaped and cut", () => {
  assert.equal(marked('{"id": 1, "at": "soon", "b": 2}', "at"), '"at": "soon"');
  assert.equal(marked('{"at":"x\\"}","a":{"at":[1,{"b":2}]}}', "a.at"), '"at":[1,{"b":2}]');
  assert.equal(marked('{"b":"at","list":[{"at":1},{"at":-2.5e3 }]}', "list.1.at"), '"at":-2.5e3');
  assert.equal(marked('{"a.b": null, "c": 1}', "a\\.b"), '"a.b": null');
  assert.equal(marked('{"a.b": null, "c": 1}', "a.b"), '"a.b": null');
  assert.equal(marked('{"\\u0061t": true}', "at"), '"\\u0061t": true');
  assert.equal(marked('[5, "six"]', "1"), '"six"');
  assert.equal(marked('{"id": 1, "at": "soo', "at"), '"at": "soo');
  for (const raw of ['{"id": 1}', "{", '{"id"', '{"id": {', "[", '{"a":}', "{]"]) {
    assert.equal(marked(raw, "at"), null, raw);
  }
  assert.equal(marked('{"id": 1}', null), null);
});

Deno.test("the failing field is found in a line of cells, whatever separates them", () => {
  const record = '{"id":"1","at":"soon","name":"a, b"}';
  assert.equal(marked('1,soon,"a, b"\n', "at", record), "soon");
  assert.equal(marked('1,soon,"a, b"', "name", record), '"a, b"');
  assert.equal(marked("1;soon;a, b", "at", record), "soon");
  assert.equal(marked("1\t\ta, b", "at", '{"id":"1","at":"","name":"a, b"}'), "");
  assert.equal(marked("no cells, soon", "at", record), "soon");
  assert.equal(marked("1,soon", "other", record), null);
  assert.equal(marked("1,soon", "at", "no JSON"), null);
  assert.equal(marked("1,soon", "at"), null);
});
