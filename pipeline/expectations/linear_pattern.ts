/**
 * The engine's own RegExp for patterns of which it is certain that
 * backtracking takes linear time; it is five to twenty times faster than
 * RE2's automata in JavaScript on short text. These are patterns anchored at
 * the start, without groups and alternatives, in which no repeated part can
 * give up a character to what follows it: "^[a-z]+_\d+$", not "^\w+\d$".
 */

interface Part {
  source: string;
  /** Which of the 128 ASCII characters it matches. */
  ascii: boolean[];
  /** Whether it may match any other character. */
  beyond: boolean;
  min: number;
  max: number;
}

const CLASS_SOURCES: Record<string, string> = {
  d: "\\p{Nd}",
  w: "\\p{L}\\p{N}_",
  s: "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000",
};
/** Escapes that stand for the character itself. */
const LITERAL_ESCAPE = /^[-\\^$.*+?()[\]{}|/@#%&=:;,~!"'<> ]$/;

/** A test like that of RE2, or undefined where linear time is not certain. Python's syntax. */
export function linearTest(pattern: string): ((text: string) => boolean) | undefined {
  if (!pattern.startsWith("^") || pattern.length > 200) return undefined;
  const atEnd = pattern.endsWith("$") && !/\\\$$/.test(pattern);
  const parts = readParts(atEnd ? pattern.slice(1, -1) : pattern.slice(1));
  if (parts === undefined || !parts.every((_, i) => neverGivesUp(parts, i))) return undefined;
  const source = parts.map(({ source }) => source).join("");
  const regExp = new RegExp(`^${source}${atEnd ? "\\n?$" : ""}`, "u");
  return (text) => regExp.test(text);
}

/** Whether what part `i` has matched cannot be matched by the parts after it instead. */
function neverGivesUp(parts: Part[], i: number): boolean {
  const part = parts[i]!;
  if (part.min === part.max) return true;
  for (const next of parts.slice(i + 1)) {
    if (part.beyond && next.beyond) return false;
    if (part.ascii.some((matches, code) => matches && next.ascii[code])) return false;
    if (next.min > 0) return true;
  }
  return true;
}

function readParts(pattern: string): Part[] | undefined {
  const parts: Part[] = [];
  const characters = [...pattern];
  for (let at = 0; at < characters.length;) {
    const atom = readAtom(characters, at);
    if (atom === undefined) return undefined;
    at = atom.end;
    const quantifier = readQuantifier(characters, at);
    if (quantifier === undefined) return undefined;
    at = quantifier.end;
    const one = new RegExp(`^${atom.source}$`, "u");
    parts.push({
      source: atom.source + quantifier.source,
      ascii: Array.from({ length: 128 }, (_, code) => one.test(String.fromCharCode(code))),
      beyond: atom.beyond,
      min: quantifier.min,
      max: quantifier.max,
    });
  }
  return parts;
}

interface Atom {
  source: string;
  beyond: boolean;
  end: number;
}

function readAtom(characters: string[], at: number): Atom | undefined {
  const c = characters[at]!;
  if (c === "[") return readSet(characters, at);
  if (c === ".") return { source: "[^\\n]", beyond: true, end: at + 1 };
  if (c === "\\") {
    const escaped = characters[at + 1] ?? "";
    const inside = CLASS_SOURCES[escaped];
    if (inside !== undefined) return { source: `[${inside}]`, beyond: true, end: at + 2 };
    return LITERAL_ESCAPE.test(escaped) ? { ...literal(escaped), end: at + 2 } : undefined;
  }
  return /[\^$*+?()\]{}|]/.test(c) ? undefined : { ...literal(c), end: at + 1 };
}

function literal(c: string): { source: string; beyond: boolean } {
  const code = c.codePointAt(0)!;
  return { source: `\\u{${code.toString(16)}}`, beyond: code > 127 };
}

function readSet(characters: string[], start: number): Atom | undefined {
  let at = start + 1;
  const negated = characters[at] === "^";
  if (negated) at++;
  let source = "";
  let beyond = negated;
  for (let first = true;; first = false) {
    const c = characters[at];
    if (c === undefined || c === "[" || (first && c === "]")) return undefined;
    if (c === "]") break;
    const escaped = c === "\\" ? characters[at + 1] ?? "" : undefined;
    const inside = escaped === undefined ? undefined : CLASS_SOURCES[escaped];
    if (inside !== undefined) {
      // A range may not follow a class.
      if (characters[at + 2] === "-" && characters[at + 3] !== "]") return undefined;
      source += inside;
      beyond = true;
      at += 2;
      continue;
    }
    if (escaped !== undefined && !LITERAL_ESCAPE.test(escaped)) return undefined;
    const low = escaped ?? c;
    at += escaped === undefined ? 1 : 2;
    const high = characters[at + 1];
    if (characters[at] === "-" && high !== undefined && high !== "]") {
      if (high === "\\" || high === "[" || low.codePointAt(0)! > high.codePointAt(0)!) {
        return undefined;
      }
      source += `${literal(low).source}-${literal(high).source}`;
      beyond ||= literal(high).beyond;
      at += 2;
    } else {
      source += literal(low).source;
      beyond ||= literal(low).beyond;
    }
  }
  return { source: `[${negated ? "^" : ""}${source}]`, beyond, end: at + 1 };
}

function readQuantifier(
  characters: string[],
  at: number,
): { source: string; min: number; max: number; end: number } | undefined {
  const rest = characters.slice(at, at + 12).join("");
  const found = /^(?:([*+?])|\{(\d{1,3})(?:(,)(\d{1,3})?)?\})/.exec(rest);
  if (found === null) {
    return rest.startsWith("{") ? undefined : { source: "", min: 1, max: 1, end: at };
  }
  const [source, sign, low, comma, high] = found;
  // Lazy and possessive quantifiers, and repeated repetitions.
  if (/^[*+?{]/.test(rest.slice(source.length))) return undefined;
  const min = sign === undefined ? Number(low) : sign === "+" ? 1 : 0;
  const max = sign === "?"
    ? 1
    : sign !== undefined
    ? Infinity
    : comma === undefined
    ? min
    : high === undefined
    ? Infinity
    : Number(high);
  return min > max ? undefined : { source, min, max, end: at + source.length };
}
