import { type Line, type Lines, MAX_LINE_LENGTH, MAX_LINES_A_BATCH } from "./messages.ts";

/** Lines that are kept of a host in all. */
const MAX_LINES = 500;

const inspect = Deno.inspect;

/** Collects what a module prints, for the run's log. */
export class Printed {
  #lines: Line[] = [];
  #kept = 0;
  #dropped = 0;
  readonly #position: () => number | null;

  constructor(position: () => number | null) {
    this.#position = position;
  }

  add(level: Line["level"], values: unknown[]): void {
    if (this.#lines.length >= MAX_LINES_A_BATCH || this.#kept >= MAX_LINES) {
      this.#dropped++;
      return;
    }
    this.#kept++;
    const text = values.map((value) => typeof value === "string" ? value : shown(value)).join(" ");
    this.#lines.push({ level, text: text.slice(0, MAX_LINE_LENGTH), position: this.#position() });
  }

  take(): Lines {
    const taken = { lines: this.#lines, dropped: this.#dropped };
    this.#lines = [];
    this.#dropped = 0;
    return taken;
  }
}

function shown(value: unknown): string {
  try {
    return inspect(value, { depth: 3, iterableLimit: 20, strAbbreviateSize: 200 });
  } catch {
    return "(cannot be shown)";
  }
}

/** What was thrown, in words; a module may throw anything. */
export function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message) : String(error);
  } catch {
    return "it threw what cannot be shown";
  }
}
