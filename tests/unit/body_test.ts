import assert from "node:assert/strict";
import { excessOf } from "../../routes/shared/body.ts";
import { bodyBytesOf, ROUTES } from "../../routes/access/route_rules.ts";

const excess = (text: string) => excessOf(new TextEncoder().encode(text));
const list = (item: string, count: number) => `[${Array(count).fill(item).join(",")}]`;

Deno.test("a body of more values than the main thread parses in a moment is refused before it is parsed", () => {
  const cases: [string, RegExp | null][] = [
    [list("1", 500_001), /more than 500000 values/],
    [list("{}", 250_001), /more than 500000 values/],
    ["[".repeat(900) + list('{"a":[]}', 170_000), /more than 500000 values/],
    [list("1", 400_000), null],
    [list("1234567890.123456", 50_001), /more than 50000 numbers of 16/],
    [list("-1e-307", 50_001), /more than 50000 numbers of 16/],
    [list("1234567890.123456", 50_000), null],
    [`{"a":${"9".repeat(1001)}}`, /a number of more than 1000 digits/],
    [`{"a":1${"0".repeat(1000)}}`, /a number of more than 1000 digits/],
    [`{"a":${"9".repeat(1000)}}`, null],
    ["[".repeat(1001) + "]".repeat(1001), /nested deeper than 1000 levels/],
    ['{"a":'.repeat(1001) + "1" + "}".repeat(1001), /nested deeper than 1000 levels/],
    ["[".repeat(1000) + "]".repeat(1000), null],
    [`[${Array(2000).fill("[]").join(",")}]`, null],
    // what stands in a text is no value
    [`"${"1234567890.123456,[".repeat(60_000)}"`, null],
    [`["\\"${",".repeat(600_000)}"]`, null],
  ];
  for (const [text, refused] of cases) {
    const found = excess(text);
    if (refused === null) assert.equal(found, null, text.slice(0, 40));
    else assert.match(`${found}`, refused, text.slice(0, 40));
  }
});

Deno.test("a body has 1 MiB at most, where a conf may hold records 8 MiB, a suite 4 MiB and a form 16 KiB", () => {
  const large = Object.keys(ROUTES).filter((route) => bodyBytesOf(route) > 1 << 20);
  assert.deepEqual(large.sort(), [
    "POST /api/etl/preview",
    "POST /api/etl/run",
    "POST /api/suites/profile",
    "POST /api/suites/try",
    "PUT /api/suites/{name}",
  ]);
  assert.deepEqual(large.map((route) => bodyBytesOf(route) >> 20), [8, 8, 8, 8, 4]);
  for (const form of ["POST /etl/sign-in", "POST /etl/sign-out", "POST /etl/preferences"]) {
    assert.equal(bodyBytesOf(form), 16 << 10, form);
  }
  assert.equal(bodyBytesOf(undefined), 1 << 20);
});
