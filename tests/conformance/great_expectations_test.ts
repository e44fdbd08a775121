import assert from "node:assert/strict";
import { describeKinds } from "../../pipeline/expectations/expectations.ts";
import { jsonText } from "../../pipeline/numbers.ts";
import type { SourceRecord } from "../../pipeline/sources/source.ts";
import { allCases } from "./cases.ts";
import { differencesOf } from "./compare.ts";
import { documentedDifference } from "./differences.ts";
import { CHUNKINGS, evaluate } from "./evaluate.ts";
import { randomCases, randomFrom } from "./random_cases.ts";
import { evaluateByReference } from "./reference.ts";

Deno.test("the engine answers as Great Expectations does, however the data is split", async (t) => {
  const cases = await allCases();
  const references = await evaluateByReference(cases);
  for (const [k, one] of cases.entries()) {
    for (const [name, chunksOf] of CHUNKINGS) {
      await t.step(`${one.name}, ${name}`, async () => {
        const spillDir = await Deno.makeTempDir();
        try {
          const ours = evaluate(one, chunksOf(one.records as SourceRecord[]), spillDir);
          const wrong = one.expectations.flatMap((expectation, i) => {
            const theirs = references[k]![i]!;
            const differences = differencesOf(ours.results[i]!, theirs);
            const documented = documentedDifference(expectation, one);
            if (documented !== undefined) {
              return differences.length > 0 || !documented.always
                ? []
                : [`${JSON.stringify(expectation)}: documented, but equal: ${documented.reason}`];
            }
            return differences.map((text) => `${JSON.stringify(expectation)}: ${text}`);
          });
          assert.deepEqual(wrong, []);
        } finally {
          await Deno.remove(spillDir, { recursive: true });
        }
      });
    }
  }
});

Deno.test("the engine answers as Great Expectations does, whatever is drawn at random", async () => {
  const seed = Number(Deno.env.get("ETL_TEST_SEED") ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`ETL_TEST_SEED=${seed} draws the same`);
  const random = randomFrom(seed);
  const cases = randomCases(random, { tables: 6, each: 25 });
  const references = await evaluateByReference(cases);
  const wrong: string[] = [];
  for (const [k, one] of cases.entries()) {
    for (const size of [one.records.length, 1 + Math.floor(random() * 20)]) {
      const chunks: SourceRecord[][] = [];
      for (let i = 0; i < one.records.length; i += size) {
        chunks.push(one.records.slice(i, i + size) as SourceRecord[]);
      }
      const spillDir = await Deno.makeTempDir();
      try {
        const ours = evaluate(one, chunks, spillDir, random);
        one.expectations.forEach((expectation, i) => {
          if (documentedDifference(expectation, one) !== undefined) return;
          for (const text of differencesOf(ours.results[i]!, references[k]![i]!)) {
            wrong.push(`${one.name}, ${size} a chunk, ${jsonText(expectation)}: ${text}`);
          }
        });
      } finally {
        await Deno.remove(spillDir, { recursive: true });
      }
    }
  }
  assert.deepEqual(wrong, [], `seed ${seed}`);
});

Deno.test("every supported expectation is compared with Great Expectations", async () => {
  const compared = new Set(
    (await allCases()).flatMap(({ expectations }) => expectations.map(({ type }) => type)),
  );
  assert.deepEqual(
    describeKinds().evaluated.map(({ type }) => type).filter((type) => !compared.has(type)),
    [],
  );
});
