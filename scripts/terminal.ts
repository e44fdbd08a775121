/**
 * Plain text for people: aligned columns, colour only where it is welcome, and
 * on a terminal an area at the bottom that is drawn again and again.
 */
export interface TerminalOptions {
  /** Whether the output is a terminal, for the drawing; default: whether stdout is one. */
  isTerminal?: boolean;
  /** Whether to use colours; default: on a terminal, unless NO_COLOR is set. */
  colour?: boolean;
  /** Columns of a line; default: those of the terminal, elsewhere 160. */
  width?: number;
  /** Where text goes; default stdout. */
  write?: (text: string) => void;
}

/**
 * Writes all of each text. Whoever read may have gone (`| head`): then what else
 * would be written is dropped, and the work goes on to its end.
 */
export function writerTo(stream: { writeSync(bytes: Uint8Array): number }): (text: string) => void {
  let gone = false;
  return (text) => {
    const bytes = new TextEncoder().encode(text);
    try {
      for (let done = 0; done < bytes.length && !gone;) {
        done += stream.writeSync(bytes.subarray(done));
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
      gone = true;
    }
  };
}

const CODES = { bold: "1", dim: "2", green: "32", red: "31", yellow: "33", cyan: "36" } as const;

export class Terminal {
  readonly isTerminal: boolean;
  readonly #width: number | undefined;
  readonly #colour: boolean;
  readonly #write: (text: string) => void;
  #drawn = 0;

  constructor(options: TerminalOptions = {}) {
    this.isTerminal = options.isTerminal ?? Deno.stdout.isTerminal();
    this.#colour = options.colour ?? (this.isTerminal && !Deno.noColor);
    this.#width = options.width;
    this.#write = options.write ?? writerTo(Deno.stdout);
  }

  /** What a table may take. */
  get width(): number {
    return this.#width ?? (this.isTerminal ? Deno.consoleSize().columns : 160);
  }

  /** `text` in a colour, or as it is. */
  paint(style: keyof typeof CODES, text: string): string {
    return this.#colour ? `\x1b[${CODES[style]}m${text}\x1b[0m` : text;
  }

  /** Writes a line that stays, in place of what was drawn. */
  line(text = ""): void {
    this.#erase();
    this.#write(`${text}\n`);
  }

  /** Draws lines in place of those drawn before; elsewhere than on a terminal, nothing. */
  draw(lines: string[]): void {
    if (!this.isTerminal) return;
    this.#erase();
    if (lines.length === 0) return;
    // what is wider than the terminal is cut there: a second row would stay when it is drawn over
    this.#write(`\x1b[?7l${lines.map((line) => `${line}\n`).join("")}\x1b[?7h`);
    this.#drawn = lines.length;
  }

  #erase(): void {
    if (this.#drawn > 0) this.#write(`\x1b[${this.#drawn}A\x1b[0J`);
    this.#drawn = 0;
  }
}

/** "200,000" */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** "340 ms", "1.2 s", "2 min 05 s" */
export function duration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
}

/** A bar of `width` characters, filled from the left; `share` is between 0 and 1. */
export function bar(share: number, width: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * width);
  return "█".repeat(filled) + "░".repeat(width - filled);
}
