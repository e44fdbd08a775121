import assert from "node:assert/strict";
// @ts-types="@types/picomatch"
import picomatch from "picomatch";
import { Problem } from "../../vocabulary/problem.ts";
import { globMatcher } from "../../pipeline/sources/file.ts";

Deno.test("globMatcher() finds what picomatch finds", () => {
  const globs = [
    ...["*", "*.csv", "**", "**/*.json", "a/*", "a/**", "a/**/b", "**/b", "{a,b}/**", "*/x"],
    ...["a?[b-c]{x,y*}.csv", "{a,b/*}/c", "[!a]*", "[^a]b", ".*", "a/.*/b", "a\\*b*", "{,x}a"],
    ...["a/b*/**/c*.csv", "!a*", "**a", "a**", "{{a,b},c}*", "?", "data (1)*.csv", "./*.csv"],
  ];
  const names = ["a", "b", "x", "ab", ".h", "a.csv", "c1.csv", "a*b", "axbx.csv", "x.json", "!a"];
  names.push(".csv", "data (1)x.csv");
  const paths = names.flatMap((a) => [
    a,
    ...names.flatMap((b) => [`${a}/${b}`, ...names.map((c) => `${a}/${b}/${c}`)]),
  ]);
  for (const glob of globs) {
    const [ours, theirs] = [globMatcher(glob), picomatch(glob, { nonegate: true })];
    for (const path of paths) assert.equal(ours(path), theirs(path), `${glob} on ${path}`);
  }
});

Deno.test("globMatcher() is as fast for patterns that keep a backtracking engine for hours", () => {
  const started = performance.now();
  for (
    const glob of [
      "*([a]*)*([a]*)b",
      "+(*a*a)b",
      "*a".repeat(40) + "b",
      "{a,a}".repeat(200) + "b",
      "**/".repeat(300) + "b",
      "*?".repeat(500),
      "((a*){9}".repeat(50) + ")".repeat(50),
    ]
  ) {
    try {
      const matches = globMatcher(glob);
      assert.equal(matches("a".repeat(250)), false);
      assert.equal(matches("a/".repeat(100) + "a"), false);
    } catch (error) {
      assert.ok(error instanceof Problem, String(error));
    }
  }
  assert.ok(performance.now() - started < 10_000);
});

Deno.test("globMatcher() says what is no glob", () => {
  for (const glob of ["(?=a)", "(?<!a)b", "(?<=a)*"]) {
    assert.throws(
      () => globMatcher(glob),
      (error) => error instanceof Problem && error.type === "source-refused",
    );
  }
});
