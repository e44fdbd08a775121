import assert from "node:assert/strict";
import { Problem } from "../../vocabulary/problem.ts";
import { PROBLEM_TYPES, type ProblemType } from "../../vocabulary/problem_types.ts";
import { PROBLEMS_ES, spanishProblem } from "../../vocabulary/problems_es.ts";

Deno.test("every kind of problem has as many remedies in Spanish, with the same commands and names", () => {
  const names = (text: string) =>
    (text.match(/ETL_[A-Z_]+|KPIS_PG_DSN|\/api\/[a-z/{}]+|min_acceptance_ratio/g) ?? []).sort();
  for (const [type, english] of Object.entries(PROBLEM_TYPES)) {
    const spanish = PROBLEMS_ES[type as ProblemType];
    assert.equal(spanish.remedies.length, english.remedies.length, type);
    const texts = (
      { meaning, remedies }: { meaning: string; remedies: string[] },
    ) => [meaning, ...remedies];
    assert.deepEqual(texts(spanish).map(names), texts(english).map(names), type);
    assert.notEqual(spanish.meaning, english.meaning);
  }
});

Deno.test("a problem in Spanish keeps its codes, fields and what only its words say", () => {
  const problem = new Problem("invalid-conf", {
    detail: "The conf has 2 errors",
    errors: [
      {
        field: "bach_size",
        code: "unknown-name",
        message: "is not a known name; did you mean batch_size?",
      },
      { field: "pool", code: "not-found", message: "is not a known pool", expected: "one of: a" },
    ],
  }).toJSON();
  const spanish = spanishProblem(problem);
  assert.equal(spanish.title, "La configuración no es válida");
  assert.equal(spanish.type, problem.type);
  assert.deepEqual(spanish.errors!.map(({ field, code, message }) => [field, code, message]), [
    ["bach_size", "unknown-name", "no es un nombre conocido; ¿querías decir batch_size?"],
    ["pool", "not-found", "no se encuentra (is not a known pool)"],
  ]);
  assert.match(spanish.detail, /bach_size: no es un nombre conocido/);
  const other = spanishProblem(new Problem("not-found", { detail: "There is no run 7." }).toJSON());
  assert.equal(other.title, "No encontrado");
  assert.match(other.detail, /\(There is no run 7\.\)$/);
});
