import { whereToLook } from "../../scripts/cli/commands/load.ts";
import assert from "node:assert/strict";
import { exitCodeOf, exitCodeOfFailures, exitCodeOfProblem } from "../../scripts/cli/exit_codes.ts";
import { cropped, printable, problemText, RIGHT, table } from "../../scripts/cli/text.ts";
import { TerminalProblem } from "../../vocabulary/problem.ts";

Deno.test("table() aligns columns, also with characters of double width", () => {
  const lines = table([["日本", "1", "x"], ["ab", "100", "y"]], [
    ["name", ([name]) => name!],
    ["n", ([, n]) => n!, RIGHT],
    ["rest", ([, , rest]) => rest!],
  ]);
  assert.deepEqual(lines, ["name    n  rest", "日本    1  x", "ab    100  y"]);
});

Deno.test("table() crops the last column to the width, and others to their own", () => {
  const [, row = ""] = table(
    ["x".repeat(100)],
    [["a", () => "123456", { maxWidth: 4 }], ["b", (text) => text]],
    30,
  );
  assert.equal(row, `123…  ${"x".repeat(23)}…`);
  // a narrow terminal wraps what has less room than that
  const [, narrow] = table(["x".repeat(100)], [["a", () => "12345"], ["b", (text) => text]], 10);
  assert.equal(narrow, `12345  ${"x".repeat(19)}…`);
});

Deno.test("cropped() does not cut a character in two", () => {
  assert.equal(cropped("日本語日本語", 6), "日本…");
  assert.equal(cropped("👩‍👩‍👧abc", 3), "👩‍👩‍👧…");
  assert.equal(cropped("abc", 3), "abc");
});

Deno.test("printable() lets no control character reach the terminal", () => {
  assert.equal(
    printable("a\x1b[31mb\x07\x9bc\u202e\r\n"),
    "a\\u001b[31mb\\u0007\\u009bc\\u202e\\u000d\\n",
  );
  assert.equal(printable("a\nb", { lines: true }), "a\nb");
});

Deno.test("problemText() puts each field error on its own line, and does not say it twice", () => {
  const errors = [
    { field: "chunk_size", value: -1, message: "is too small", expected: "at least 1" },
    {
      field: "batch_sise",
      message: "is not a known name; did you mean batch_size?",
      expected: "batch_size",
    },
  ];
  const detail = "The conf has 2 errors: chunk_size is too small; " +
    "batch_sise is not a known name; did you mean batch_size?";
  assert.equal(
    problemText(new TerminalProblem("invalid-conf", { detail, errors })),
    "The conf has 2 errors.\n" +
      "  chunk_size (-1) is too small; expected: at least 1\n" +
      "  batch_sise is not a known name; did you mean batch_size?",
  );
});

Deno.test("problemText() leaves what is said of a problem without fields as it is", () => {
  const detail = "The database refused a statement: it is full: wait.";
  assert.equal(problemText(new TerminalProblem("database-error", { detail })), detail);
});

Deno.test("problemText() shows control characters of what was given as escapes", () => {
  const problem = new TerminalProblem("bad-request", { detail: "no \x1b[2J", errors: [] });
  assert.equal(problemText(problem), "no \\u001b[2J");
});

Deno.test("exit codes tell the outcome of a run, and why a request was refused", () => {
  assert.deepEqual(["succeeded", "failed", "cancelled"].map(exitCodeOf), [0, 1, 3]);
  const code = (status: number) =>
    exitCodeOfProblem(new TerminalProblem("bad-request", { detail: "", status }));
  assert.deepEqual([400, 404, 409, 422, 429, 500, 503].map(code), [2, 2, 2, 2, 2, 1, 4]);
  assert.deepEqual([0, 1, 88, 89, 90, 5000].map(exitCodeOfFailures), [0, 11, 98, 99, 99, 99]);
});

Deno.test("a loaded table is shown with psql, or without its address on its own page", () => {
  const task = (name: string) => `etl ${name}`;
  const at = { table: "public.orders", view: "public.orders_typed" };
  assert.equal(
    whereToLook({ psql: '"$KPIS_PG_DSN"', task }, at),
    `psql "$KPIS_PG_DSN" -c 'select * from public.orders_typed limit 10'`,
  );
  assert.equal(
    whereToLook({ psql: null, task }, at),
    "etl start, then http://127.0.0.1:8080/etl/datasets/public.orders",
  );
});
