/** About as many states as an automaton may have; time to match grows with text length times states. */
export const MAX_PATTERN_STATES = 2_500;

/**
 * About how many states the automaton of a regular expression has: its
 * characters and classes, repeated ones as often as they are repeated. Found
 * without compiling, which takes half a second for the largest. Whether the
 * pattern is valid is not looked at.
 */
export function patternStates(pattern: string): number {
  /** Of the pattern, and of each group that is open. */
  const open = [{ closed: 0, last: 0 }];
  for (let at = 0; at < pattern.length;) {
    const top = open.at(-1)!;
    const c = pattern[at]!;
    const counted = c === "{" ? /^\{(\d*)(,?)(\d*)\}/.exec(pattern.slice(at, at + 20)) : null;
    if (counted !== null) {
      const [text, low, comma, high] = counted;
      const times = Math.max(Number(low), Number(high)) + (comma && !high ? 1 : 0);
      top.last = top.last * Math.max(1, times) + 1;
      at += text.length;
      continue;
    }
    at += lengthAt(pattern, at);
    if (c === "*" || c === "+" || c === "?") {
      top.last++;
      continue;
    }
    if (c === ")" && open.length > 1) {
      const inside = open.pop()!;
      open.at(-1)!.last = inside.closed + inside.last + 2;
      continue;
    }
    top.closed += top.last;
    top.last = c === "(" ? 0 : 1;
    if (c === "(") open.push({ closed: 0, last: 0 });
  }
  return open.reduce((sum, { closed, last }) => sum + closed + last, 0);
}

/** Characters of the pattern that belong to the part at `at`. */
function lengthAt(pattern: string, at: number): number {
  const rest = pattern.slice(at);
  if (rest[0] === "\\") return /^\\[pPx]\{[^}]*\}|^\\[^]?/.exec(rest)![0].length;
  if (rest[0] === "[") return /^\[\^?\]?(?:\\[^]|[^\]\\])*\]?/.exec(rest)![0].length;
  return rest.startsWith("(?") ? /^\(\?(?:P?<[^>]*>|[a-z]*:)?/.exec(rest)![0].length : 1;
}
