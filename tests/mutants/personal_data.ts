import type { Mutant } from "./mutant.ts";

const NOWHERE = ["integration/private_fields_test.ts: private fields are nowhere"];

/** Personal data: what is left out or hashed is nowhere. */
export const PERSONAL_DATA: Mutant[] = [
  {
    id: "personal/origin",
    file: "pipeline/private_fields.ts",
    find: "if (origin === undefined) return;",
    replace: "return;",
    breaks: "the raw text of a rejected record does not hold a private field",
    tests: NOWHERE,
  },
  {
    id: "personal/unparseable",
    file: "pipeline/private_fields.ts",
    find: "if (record.field === null) return notKept(bytes);",
    replace: "if (record.field === null) return record.raw;",
    breaks: "of a line that cannot be parsed no text is kept",
    tests: NOWHERE,
  },
  {
    id: "personal/message",
    file: "pipeline/private_fields.ts",
    find: "const quiet = QUOTES_NOTHING.has(rule) ||",
    replace: "const quiet = true || QUOTES_NOTHING.has(rule) ||",
    breaks: "no message quotes a line that may hold private fields",
    tests: NOWHERE,
  },
  {
    id: "personal/cells",
    file: "pipeline/private_fields.ts",
    find: "const changed = this.#record(cell);",
    replace: "const changed = false;",
    breaks: "the cells of a rejected record are kept without private fields",
    tests: NOWHERE,
  },
  {
    id: "personal/upload",
    file: "sql/runs/finish.sql",
    find: "perform etl.drop_private_upload(run);",
    replace: "null;",
    breaks: "a request body with personal data is deleted when its run has succeeded",
    tests: NOWHERE,
  },
  {
    id: "personal/twice",
    file: "pipeline/private_fields.ts",
    find: "...hash.filter((path) => !hashed.includes(path)).map((path) =>",
    replace: "...hash.map((path) =>",
    breaks: "a replay does not hash what is hashed",
    tests: ["integration/private_fields_test.ts: a body of data"],
  },
  {
    id: "personal/declared",
    file: "sql/datasets/typed_tables.sql",
    find: "params := etl.with_private_fields(params, origins);",
    replace: "",
    breaks: "a conf that leaves private fields out has those that its dataset declared",
    tests: ["integration/private_fields_test.ts: private fields are the dataset's"],
  },
  {
    id: "personal/contradiction",
    file: "sql/conf/resolve.sql",
    find: "errors := errors || etl.private_errors(params, origins);",
    replace: "",
    breaks: "a conf cannot contradict the private fields of its dataset",
    tests: ["integration/private_fields_test.ts: private fields are the dataset's"],
  },
  {
    id: "personal/secret",
    file: "sql/datasets/private_fields.sql",
    find: "if mark <> coalesce(known ->> 'mark', mark) then",
    replace: "if false then",
    breaks: "hashes of two secrets do not stand in one dataset",
    tests: ["integration/private_fields_test.ts: private fields are the dataset's"],
  },
];
