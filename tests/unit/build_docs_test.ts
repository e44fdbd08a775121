import assert from "node:assert/strict";
import { filled } from "../../scripts/build_docs.ts";

Deno.test("filled() replaces what is between the marks and nothing else", () => {
  const page = filled("before\n<!-- begin exit_codes -->\nold\n<!-- end exit_codes -->\nafter\n");
  assert.match(page, /^before\n<!-- begin exit_codes -->\n\n\| Code \| Meaning \|/);
  assert.ok(page.endsWith("<!-- end exit_codes -->\nafter\n"));
  assert.ok(!page.includes("old"));
  assert.equal(filled(page), page);
});

Deno.test("filled() refuses a part that it does not know", () => {
  assert.throws(() => filled("<!-- begin nope -->\n<!-- end nope -->\n"), /'nope' is not known/);
});
