/** From and to, in characters of the text; null where it cannot be said. */
export type Span = [from: number, to: number] | null;

/**
 * Where a field stands in a record as it was read: JSON, or a line of cells, of which `record` is the JSON.
 * `field` is a path: "properties.mag"; a dot of a name is written "\.".
 */
export function fieldSpan(
  { raw, record, field }: { raw: string; record: string | null; field: string | null },
): Span {
  if (field === null || field === "") return null;
  const path = field.split(/(?<!\\)\./).map((part) => part.replaceAll("\\.", "."));
  if (/^\s*[{[]/.test(raw)) return new JsonText(raw).find(path) ?? new JsonText(raw).find([field]);
  if (record === null) return null;
  try {
    const members = JSON.parse(record) as Record<string, unknown>;
    const names = Object.keys(members);
    const index = names.indexOf(field in members ? field : path[0]!);
    if (index < 0) return null;
    for (const separator of [",", ";", "\t", "|"]) {
      const cells = cellSpans(raw, separator);
      if (cells.length === names.length) return cells[index]!;
    }
    const value = String(members[names[index]!]);
    const at = value === "" ? -1 : raw.indexOf(value);
    return at < 0 || raw.indexOf(value, at + 1) >= 0 ? null : [at, at + value.length];
  } catch {
    return null;
  }
}

/** Cells of a line of RFC 4180, quotes included. */
function cellSpans(raw: string, separator: string): [number, number][] {
  const line = raw.replace(/\r?\n$/, "");
  const spans: [number, number][] = [];
  let from = 0;
  let quoted = false;
  for (let at = 0; at <= line.length; at++) {
    if (line[at] === '"') quoted = !quoted;
    else if (at === line.length || (line[at] === separator && !quoted)) {
      spans.push([from, at]);
      from = at + 1;
    }
  }
  return spans;
}

/** A text of JSON that need not be whole: one that was cut is searched as far as it goes. */
class JsonText {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  find(path: string[]): Span {
    this.#at = 0;
    return this.#inValue(path);
  }

  /** At the beginning of a value, which has the rest of the path in it. */
  #inValue(path: string[]): Span {
    this.#space();
    const [name, ...rest] = path;
    if (name === undefined) {
      const from = this.#at;
      this.#skip();
      return [from, this.#at];
    }
    const open = this.#text[this.#at];
    if (open !== "{" && open !== "[") return null;
    this.#at++;
    for (let index = 0;; index++) {
      this.#space();
      const next = this.#text[this.#at];
      if (next === undefined || next === "}" || next === "]") return null;
      const from = this.#at;
      let found = String(index);
      if (open === "{") {
        found = this.#string();
        this.#space();
        this.#at++;
      }
      if (found === name) {
        const span = this.#inValue(rest);
        // with its name, where it is the field itself
        return span === null || rest.length > 0 || open === "[" ? span : [from, span[1]];
      }
      this.#space();
      this.#skip();
      this.#space();
      if (this.#text[this.#at] === ",") this.#at++;
      if (this.#at === from) return null;
    }
  }

  #space(): void {
    while (/\s/.test(this.#text[this.#at] ?? "")) this.#at++;
  }

  #string(): string {
    const from = this.#at++;
    while (this.#at < this.#text.length && this.#text[this.#at] !== '"') {
      this.#at += this.#text[this.#at] === "\\" ? 2 : 1;
    }
    this.#at++;
    try {
      return JSON.parse(this.#text.slice(from, this.#at)) as string;
    } catch {
      return "";
    }
  }

  #skip(): void {
    let depth = 0;
    do {
      const char = this.#text[this.#at];
      if (char === undefined) return;
      if (char === '"') this.#string();
      else if (char === "{" || char === "[") {
        depth++;
        this.#at++;
      } else if (char === "}" || char === "]") {
        if (depth === 0) return;
        depth--;
        this.#at++;
      } else if (depth > 0) this.#at++;
      else while (/[^\s,\]}]/.test(this.#text[this.#at] ?? "")) this.#at++;
    } while (depth > 0);
  }
}
