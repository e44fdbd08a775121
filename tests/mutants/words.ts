import type { Mutant } from "./mutant.ts";

const SAME_WORDS = ["integration/conf_errors_test.ts: a wrong conf is refused with the same code"];

/** The vocabulary, and errors of confs: the same words on every side. */
export const WORDS: Mutant[] = [
  {
    id: "words/alert-kind",
    file: "vocabulary/alert_kinds.ts",
    find: "  stale: {",
    replace: "  outdated: {",
    breaks: "the kinds of alert are those that SQL raises",
    tests: ["unit/vocabulary_test.ts: SQL raises and ends the kinds of alert"],
  },
  {
    id: "words/alert-section",
    file: "docs/alerts.md",
    find: "## `stale`",
    replace: "## `outdated`",
    breaks: "each kind of alert has its section in docs/alerts.md",
    tests: ["unit/alerts_document_test.ts: docs/alerts.md has a section for each kind"],
  },
  {
    id: "words/run-state",
    file: "vocabulary/words.ts",
    find: 'export const END_STATES = ["succeeded", "failed", "cancelled"] as const;',
    replace: 'export const END_STATES = ["succeeded", "failed"] as const;',
    breaks: "the states of a run are those that the schema accepts",
    tests: ["unit/vocabulary_test.ts: the checks of the schema accept"],
  },
  {
    id: "words/problem-type",
    file: "vocabulary/problem_types.ts",
    find: '  "idempotency-conflict": {',
    replace: '  "idempotency": {',
    breaks: "each problem that SQL raises is documented",
    tests: ["unit/vocabulary_test.ts: SQL names only problems"],
  },
  {
    id: "words/unknown-name",
    file: "pipeline/conf_errors.ts",
    find: 'errors.every((error) => error.code === "unknown-name")',
    replace: 'errors.some((error) => error.code === "unknown-name")',
    breaks: "a conf with other errors than unknown names is an invalid one",
    tests: SAME_WORDS,
  },
  {
    id: "words/known-below-null",
    file: "pipeline/conf_errors.ts",
    find: "(node.oneOf ?? node.anyOf)?.flatMap(branches) ?? [node]",
    replace: "node.oneOf ?? node.anyOf ?? [node]",
    breaks: "the nearest name is told in members of a value that may be null, too",
    tests: SAME_WORDS,
  },
  {
    id: "words/nearest-branch",
    file: "sql/conf/schema_errors.sql",
    find: "elsif rank > best_rank then",
    replace: "elsif rank >= best_rank then",
    breaks: "of a value of several forms the first that fits as far says what is wrong",
    tests: SAME_WORDS,
  },
  {
    id: "words/no-suggestion",
    file: "sql/conf/schema_errors.sql",
    find: "coalesce('; did you mean ' || near || '?', '')",
    replace: "format('; did you mean %s?', near)",
    breaks: "psql suggests no name where none is near",
    tests: SAME_WORDS,
  },
  {
    id: "words/one-error-a-field",
    file: "sql/conf/resolve.sql",
    find:
      "where not exists (select from jsonb_array_elements(known) as k where k -> 'field' = e -> 'field')",
    replace: "where true",
    breaks: "a name of the wrong form is not called unknown as well",
    tests: SAME_WORDS,
  },
  {
    id: "words/nearest-length",
    file: "vocabulary/nearest_name.ts",
    find: "candidate.toLowerCase()) + other",
    replace: "candidate.toLowerCase())",
    breaks: "of names at the same distance one of the same length was meant",
    tests: ["integration/nearest_name_test.ts: the name"],
  },
  {
    id: "words/nearest-short",
    file: "vocabulary/nearest_name.ts",
    find: "const limit = Math.max(2, ",
    replace: "const limit = Math.max(1, ",
    breaks: "two slips in a short name are forgiven",
    tests: ["integration/nearest_name_test.ts: the name"],
  },
  {
    id: "words/nearest-spanish",
    file: "vocabulary/problems_es.ts",
    find: '(near === undefined ? "" : `; ¿quería decir ${near}?`)',
    replace: '""',
    breaks: "a wrong name is answered with the one that was meant, in Spanish too",
    tests: ["unit/problems_es_test.ts: a problem in Spanish"],
  },
];
