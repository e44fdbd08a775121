import assert from "node:assert/strict";
import type { SourceRecord } from "../../pipeline/sources/source.ts";
import { keptAnswers } from "../conformance/answers.ts";
import { allCases } from "../conformance/cases.ts";
import { differencesOf } from "../conformance/compare.ts";
import { documentedDifference } from "../conformance/differences.ts";
import { CHUNKINGS, evaluate } from "../conformance/evaluate.ts";

Deno.test("the engine answers as Great Expectations does, however the data is split", async (t) => {
  const answers = await keptAnswers();
  const spillDir = await Deno.makeTempDir();
  for (const [k, one] of (await allCases()).entries()) {
    for (const [name, chunksOf] of CHUNKINGS) {
      await t.step(`${one.name}, ${name}`, () => {
        const ours = evaluate(one, chunksOf(one.records as SourceRecord[]), spillDir);
        assert.equal(answers[k]!.length, one.expectations.length);
        const wrong = one.expectations.flatMap((expectation, i) => {
          const differences = differencesOf(ours.results[i]!, answers[k]![i]!);
          const documented = documentedDifference(expectation, one);
          if (documented !== undefined) {
            return differences.length > 0 || !documented.always
              ? []
              : [`${JSON.stringify(expectation)}: documented, but equal: ${documented.reason}`];
          }
          return differences.map((text) => `${JSON.stringify(expectation)}: ${text}`);
        });
        assert.deepEqual(wrong, []);
      });
    }
  }
  await Deno.remove(spillDir, { recursive: true });
});
