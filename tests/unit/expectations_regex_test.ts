import assert from "node:assert/strict";
import fc from "fast-check";
import {
  compileLike,
  compileRegex,
  compileSchemaPattern,
  linearTest,
  patternStates,
} from "../../pipeline/expectations/regex.ts";
import { Problem } from "../../vocabulary/problem.ts";

/** Fails when it takes unreasonably long. */
function timed(run: () => unknown): void {
  const start = performance.now();
  run();
  const ms = performance.now() - start;
  assert.ok(ms < 2_000, `took ${ms} ms`);
}

Deno.test("compileRegex() takes linear time on patterns that make backtracking explode", () => {
  const text = "a".repeat(100_000) + "!";
  for (
    const pattern of [
      "^(a+)+$",
      "(a*)*b",
      "^(a|aa)+$",
      "(.*a){20}b",
      "(x+x+)+y",
      "^(([a-z])+.)+[A-Z]$",
    ]
  ) {
    const matches = compileRegex(pattern);
    timed(() => assert.equal(matches(text), false, pattern));
  }
});

Deno.test("compileSchemaPattern() and compileLike() take linear time as well", () => {
  const text = "a".repeat(100_000);
  timed(() => assert.equal(compileSchemaPattern("^(a+)+$")(text + "!"), false));
  timed(() => assert.equal(compileLike("%a%a%a%a%a%a%a%a%a%a%b")(text), false));
});

Deno.test("compileRegex() has Python's classes, which are those of Unicode", () => {
  assert.equal(compileRegex("^\\d+$")("١٢٣"), true);
  assert.equal(compileRegex("^\\w+$")("größe_1"), true);
  assert.equal(compileRegex("^[\\w-]+$")("é-1"), true);
  assert.equal(compileRegex("\\s")("\u3000"), true);
  assert.equal(compileRegex("^\\W$")("é"), false);
  assert.equal(compileRegex("^.$")("\u{1F600}"), true);
});

Deno.test("compileRegex() lets $ match before a newline at the end, and \\Z not", () => {
  assert.equal(compileRegex("^a$")("a\n"), true);
  assert.equal(compileRegex("^a$")("a\nb"), false);
  assert.equal(compileRegex("^a\\Z")("a\n"), false);
  // one that may backtrack for long is matched by another engine
  assert.equal(compileRegex("(a*)*b$")("aab\n"), true);
  assert.equal(compileRegex("(a*)*b$")("aab\nc"), false);
  assert.equal(compileRegex("(a*)*b\\Z")("aab\n"), false);
});

Deno.test("compileRegex() searches and keeps alternatives of anchored patterns apart", () => {
  assert.equal(compileRegex("b")("abc"), true);
  assert.equal(compileRegex("^a|b$")("xb"), true);
  assert.equal(compileRegex("^a|b$")("xa"), false);
  assert.equal(compileRegex("(?i)^AB")("abc"), true);
  assert.equal(compileRegex("a{,2}b")("b"), true);
  assert.equal(compileRegex("[]x]")("]"), true);
  assert.equal(compileRegex("[[]")("["), true);
});

Deno.test("compileRegex() refuses what it cannot match as Python would", () => {
  for (
    const pattern of [
      "(?=a)",
      "(?<!a)b",
      "(a)\\1",
      "(?P<n>a)(?P=n)",
      "a++",
      "(?>a)",
      "(?x) a",
      "(?m)^a",
      "(",
      "a\\",
      "[\\S]",
      "\\q",
      "\\u12",
      "\\u12g4",
      "\\U0001f60",
      "a".repeat(3_000),
      "(a{1000}){1000}",
    ]
  ) {
    assert.throws(() => compileRegex(pattern), Problem, pattern);
  }
  const told = (pattern: string, reason: RegExp) =>
    assert.throws(() => compileRegex(pattern), reason, pattern);
  told("(?=a)", /: look-around is not supported/);
  told("(?<!a)b", /: look-around is not supported/);
  told("(a)\\1", /: back references are not supported/);
  told("a++", /: possessive quantifiers are not supported/);
  told("(?>a)", /: atomic groups are not supported/);
  told("(?x) a", /: verbose mode is not supported/);
  told("(?m)^a", /: multi-line mode is not supported/);
  told("[\\u12]", /\\u needs 4 .*digits/);
  for (const pattern of ["\\u00e9", "[\\u00E9]", "\\U000000e9"]) {
    assert.deepEqual(["é", "e"].map((text) => compileRegex(pattern)(text)), [true, false], pattern);
  }
});

Deno.test("compileRegex() gives a test or a Problem for any text", () => {
  const piece = fc.constantFrom(..."ab\\[](){}*+?|^$.-,123:=!<>PdwsZ".split(""));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 15 }), (pieces) => {
      try {
        compileRegex(pieces.join(""))("ab12");
      } catch (error) {
        assert.ok(error instanceof Problem, String(error));
      }
    }),
    { numRuns: 3_000 },
  );
});

Deno.test("compileLike() has % and _ over the whole text, and an escape", () => {
  assert.equal(compileLike("a%")("abc"), true);
  assert.equal(compileLike("a%")("ba"), false);
  assert.equal(compileLike("_")("\u{1F600}"), true);
  assert.equal(compileLike("a_c")("abc"), true);
  assert.equal(compileLike("a_c")("ac"), false);
  assert.equal(compileLike("a_c")("abbc"), false);
  assert.equal(compileLike("a\\%")("a%"), true);
  assert.equal(compileLike("a\\%")("ab"), false);
  assert.equal(compileLike("a!_", "!")("a_"), true);
  assert.equal(compileLike("%.b")("axb"), false);
  assert.equal(compileLike("a%z")("a\nz"), true);
  assert.throws(() => compileLike("a\\"), Problem);
});

Deno.test("linearTest() answers as RE2 does, for the patterns that it takes", () => {
  const atom = fc.constantFrom(
    "a",
    "b",
    "-",
    "_",
    "é",
    "\\.",
    "\\d",
    "\\w",
    "\\s",
    ".",
    "[a-c]",
    "[^a]",
    "[\\w.-]",
    "[0-9_]",
    "[é-ü]",
    "\u{1F600}",
  );
  const quantifier = fc.constantFrom("", "", "", "+", "*", "?", "{2}", "{1,3}", "{2,}");
  const pattern = fc.tuple(
    fc.array(fc.tuple(atom, quantifier).map((parts) => parts.join("")), { maxLength: 5 }),
    fc.constantFrom("", "$"),
  ).map(([parts, end]) => `^${parts.join("")}${end}`);
  const text = fc.array(
    fc.constantFrom("a", "b", "c", "-", "_", ".", "1", "é", " ", "\n", "٣", "\u{1F600}"),
    { maxLength: 8 },
  ).map((characters) => characters.join(""));
  let taken = 0;
  fc.assert(
    fc.property(pattern, fc.array(text, { minLength: 5, maxLength: 5 }), (source, texts) => {
      const linear = linearTest(source);
      if (linear === undefined) return;
      taken++;
      // Without the anchor in front, the pattern is RE2's.
      const reference = compileRegex(`(?:${source})`);
      for (const one of texts) assert.equal(linear(one), reference(one), `${source} on ${one}`);
    }),
    { numRuns: 3_000 },
  );
  assert.ok(taken > 500, `only ${taken} taken`);
});

Deno.test("linearTest() leaves patterns that may backtrack for long to RE2", () => {
  for (
    const pattern of [
      "^(a+)+$",
      "^\\w+\\d$",
      "^a+a$",
      "^a*b?a$",
      "^.*x$",
      "^a+?b",
      "a+b",
      "^a|b",
      "^\\w+é",
    ]
  ) {
    assert.equal(linearTest(pattern), undefined, pattern);
  }
  const text = "a".repeat(1_000_000);
  for (const pattern of ["^a+b$", "^a*b*c*d$", "^[a-f]+-[0-9]*_$", "^[^-]+$", "^a{2,}b"]) {
    const test = linearTest(pattern)!;
    timed(() => test(text));
  }
});

Deno.test("patternStates() is about what the automaton has, without making it", () => {
  for (
    const [pattern, states] of [
      ["a+b", 5],
      ["((a{30}){30})", 964],
      ["[\\w\\d]{10,20}x{3,}", 36],
      ["^(\\d{4})-(?P<m>\\d{2})|b*", 17],
      ["[]a]{5}", 7],
      ["\\{50}", 5],
      ["(?:ab){20}", 42],
    ] as const
  ) {
    const estimate = patternStates(pattern);
    assert.ok(estimate > states / 2 && estimate < states * 2, `${pattern}: ${estimate}`);
  }
});

Deno.test("compileRegex() refuses at once what would have very many states", () => {
  for (
    const pattern of ["(?:[\\w]{1000})".repeat(130), "((a{100}){100}){100}", "(?:\\w{900}){9}"]
  ) {
    timed(() => assert.throws(() => compileRegex(pattern), /repetitions written out/));
  }
  timed(() => compileRegex("\\w{1000}")("a".repeat(2_000)));
});

Deno.test("a pattern has 2,000 characters at most, and 2,500 parts with its repetitions written out", () => {
  for (const compile of [compileRegex, compileLike]) {
    assert.equal(compile("a".repeat(2_000))("a"), false);
    assert.throws(() => compile("a".repeat(2_001)), Problem);
  }
  const parts = (count: number) => `a{1000}b{1000}c{${count - 2_003}}`;
  assert.equal(compileRegex(parts(2_500))("a"), false);
  assert.throws(() => compileRegex(parts(2_501)), /repetitions written out/);
});

Deno.test("compileRegex() has the flags a and u at the start, as in Python", () => {
  assert.equal(compileRegex("(?a)^\\w+$")("é"), false);
  assert.equal(compileRegex("(?u)^\\w+$")("é"), true);
  assert.equal(compileRegex("(?a)\\d")("٣"), false);
  assert.equal(compileRegex("(?as)^\\W.$")("é\n"), true);
  assert.throws(() => compileRegex("(?ai)k"), /the flags a and i together are not supported/);
});

Deno.test("compileRegex() takes a brace that closes no repetition for a character", () => {
  assert.equal(compileRegex("^}+$")("}}"), true);
  assert.equal(compileRegex("^\\{\\{.*}}+$")("{{x}}}"), true);
  assert.equal(compileRegex("^a\\{2}+$")("a{2}}"), true);
  for (const pattern of ["a{2}+", "a{2,}+", "a{,2}+", "a{1,2}+"]) {
    assert.throws(() => compileRegex(pattern), /possessive quantifiers are not supported/, pattern);
  }
});
