/**
 * Text of others (what a module throws, a server or a file says) as PostgreSQL can hold it: NUL is shown as its
 * picture, half of a surrogate pair as U+FFFD. For words about data; data itself is refused or quarantined instead.
 */
export function storableText(text: string): string {
  return text.replaceAll("\u0000", "␀").toWellFormed();
}

/** JSON for a parameter that is cast to jsonb, its texts and names as in {@linkcode storableText}. */
export function storableJson(value: unknown): string {
  const json = JSON.stringify(value);
  if (!json.includes("\\u")) return json;
  // an escaped backslash is taken with the sign after it, so that what follows it is no escape
  return json.replace(
    /\\(?:u(0000|d[89a-f][0-9a-f]{2})|[^])/g,
    (escape, code?: string) => code === undefined ? escape : code === "0000" ? "␀" : "\ufffd",
  );
}
