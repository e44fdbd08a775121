import assert from "node:assert/strict";
import { withoutConflicts } from "../../store/retry.ts";

const failing = (codes: string[]) => {
  let calls = 0;
  return {
    get calls() {
      return calls;
    },
    statement: () => {
      const code = codes[calls++];
      return code === undefined
        ? Promise.resolve("done")
        : Promise.reject(Object.assign(new Error(code), { code }));
    },
  };
};

Deno.test("withoutConflicts() tries again after a deadlock and a serialization failure", async () => {
  const twice = failing(["40P01", "40001"]);
  assert.equal(await withoutConflicts(twice.statement), "done");
  assert.equal(twice.calls, 3);
});

Deno.test("withoutConflicts() does not repeat a statement that may have been carried out", async () => {
  for (const code of ["57P01", "ECONNRESET", "23505"]) {
    const once = failing([code]);
    await assert.rejects(withoutConflicts(once.statement), { message: code });
    assert.equal(once.calls, 1);
  }
});

Deno.test("withoutConflicts() gives up after eight tries", async () => {
  const always = failing(Array(20).fill("40P01"));
  await assert.rejects(withoutConflicts(always.statement), { message: "40P01" });
  assert.equal(always.calls, 8);
});
