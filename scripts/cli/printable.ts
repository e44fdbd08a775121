/**
 * Text as a terminal may show it: control characters, which could move the
 * cursor or change colours, are written as escapes. Line breaks stay if `lines`.
 */
export function printable(text: string, { lines = false } = {}): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]/g, (c) => {
    if (c === "\n") return lines ? c : "\\n";
    if (c === "\t") return lines ? c : "\\t";
    return `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
