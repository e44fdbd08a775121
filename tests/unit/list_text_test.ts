import assert from "node:assert/strict";
import { listText } from "../../store/database.ts";

Deno.test("listText() writes lists of any values as PostgreSQL reads them", () => {
  assert.equal(listText([]), "{}");
  assert.equal(
    listText(["a", 'q"', "b\\", "NULL", null, ""]),
    '{"a","q\\"","b\\\\","NULL",NULL,""}',
  );
  assert.equal(listText([1, 2n, true, undefined]), '{"1","2","true",NULL}');
  assert.equal(listText([Uint8Array.of(255, 0)]), '{"\\\\xff00"}');
  assert.equal(listText([{ a: '"' }]), '{"{\\"a\\":\\"\\\\\\"\\"}"}');
  assert.equal(listText([new Date(0)]), '{"1970-01-01T00:00:00.000Z"}');
  assert.equal(listText([["a"], []]), '{{"a"},{}}');
});
