// @ts-types="@types/picomatch"
import picomatch from "picomatch";
import { RE2JS } from "re2js";
import { Problem } from "../../../vocabulary/problem.ts";

/**
 * What picomatch puts in against empty segments, "." and "..", none of which
 * a path has that was found by walking; RE2 knows no lookahead.
 */
const LOOKAHEADS =
  /\(\?=\.\)|\(\?!\(\?:\^\|\\\/\)\\\.\{1,2\}\(\?:\\\/\|\$\)\)|\(\?!\\\.\{[01],[12]\}\(\?:\\\/\|\$\)\)/g;

/**
 * A test of paths against a glob (`*`, `**`, `?`, `[a-z]`, `{a,b}`), in time
 * that grows with the length of the path only: a backtracking engine takes
 * hours for some patterns. Names that begin with a dot are only found where
 * the glob names them so.
 *
 * @throws {Problem} `source-refused` for what is no glob.
 */
export function globMatcher(pattern: string): (path: string) => boolean {
  const hidden = /(^|[/{,(|])\.(?!\/)/.test(pattern);
  let compiled: RE2JS;
  try {
    const { source } = picomatch.makeRe(pattern, { nonegate: true, noextglob: true, dot: true });
    compiled = RE2JS.compile(source.replaceAll(LOOKAHEADS, ""));
  } catch {
    throw new Problem("source-refused", {
      detail: `The path ${JSON.stringify(pattern)} cannot be read as a glob: ` +
        "*, **, ?, [a-z] and {a,b} have a meaning; write \\ before what is meant as it is.",
      errors: [{ field: "source.path", message: "is no glob", value: pattern }],
    });
  }
  return (path) => (hidden || !/(^|\/)\./.test(path)) && compiled.matches(path);
}
