import assert from "node:assert/strict";
import { join, resolve } from "node:path";
import { MUTANTS } from "../mutants/all.ts";
import { namedTest } from "../mutants/mutant.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");
const read = (path: string) => Deno.readTextFileSync(join(ROOT, path));

Deno.test("every mutant can be applied: its text occurs once in its file, and it changes it", () => {
  const wrong: string[] = [];
  for (const { id, file, find, replace } of MUTANTS) {
    const count = read(file).split(find).length - 1;
    if (count !== 1) wrong.push(`${id}: its text occurs ${count} times in ${file}`);
    if (find === replace) wrong.push(`${id}: changes nothing`);
    if (file.startsWith("tests/")) wrong.push(`${id}: is no product code`);
  }
  assert.deepEqual(wrong, []);
});

Deno.test("every mutant names tests that are there", () => {
  const wrong: string[] = [];
  for (const { id, tests } of MUTANTS) {
    if (tests.length === 0) wrong.push(`${id}: names no test`);
    for (const test of tests) {
      const { file, name } = namedTest(test);
      // what stands before the last colon may be put together
      if (!read(file).includes(name.split(": ").at(-1)!)) wrong.push(`${id}: ${test}`);
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("there are at least 150 mutants, each with an id of its own and a promise that it breaks", () => {
  assert.ok(MUTANTS.length >= 150, `${MUTANTS.length}`);
  const ids = MUTANTS.map(({ id }) => id);
  assert.deepEqual([...new Set(ids)], ids);
  for (const { id, breaks } of MUTANTS) assert.ok(breaks.length > 10, id);
});
