import assert from "node:assert/strict";
import { describeKinds } from "../../pipeline/expectations/expectations.ts";
import { jsonText } from "../../pipeline/numbers.ts";
import type { SourceRecord } from "../../pipeline/sources/source.ts";
import { keepAnswers, keptAnswers } from "./answers.ts";
import { allCases } from "./cases.ts";
import { differencesOf } from "./compare.ts";
import { documentedDifference } from "./differences.ts";
import { evaluate } from "./evaluate.ts";
import { randomCases, randomFrom } from "./random_cases.ts";
import { evaluateByReference } from "./reference.ts";

Deno.test("the answers that are kept are those of Great Expectations; ETL_TEST_KEEP=1 keeps new ones", async () => {
  const cases = await allCases();
  const answers = await evaluateByReference(cases);
  if (Deno.env.get("ETL_TEST_KEEP") === "1") await keepAnswers(answers);
  const kept = await keptAnswers();
  assert.deepEqual(kept.map(({ length }) => length), answers.map(({ length }) => length));
  const wrong = cases.flatMap((one, k) =>
    one.expectations.flatMap((expectation, i) => {
      const [theirs, { refused, success, result, raised, message }] = [
        answers[k]![i]!,
        kept[k]![i]!,
      ];
      const before = {
        success,
        result,
        exception_info: { raised_exception: raised, exception_message: message },
      };
      // what Python lists of a set comes in another order each time
      const differs = documentedDifference(expectation, one) !== undefined
        ? success !== theirs.success
        : (refused === undefined) !== (theirs.refused === undefined) ||
          refused === undefined && differencesOf(before, theirs).length > 0;
      return differs ? [`${one.name}: ${jsonText(expectation as never)}`] : [];
    })
  );
  assert.deepEqual(wrong, []);
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
