/** How many tests passed, failed and were skipped. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

const SUMMARY =
  /^(?:ok|FAILED) \| (\d+) passed(?: \(\d+ steps?\))? \| (\d+) failed(?: \(\d+ steps?\))?(?: \| (\d+) ignored)?/;
// deno-lint-ignore no-control-regex
const COLOURS = /\x1b\[[0-9;]*m/g;

/** The counts in the summary line of `deno test`; undefined if the line is not one. */
export function parseSummary(line: string): Counts | undefined {
  const match = SUMMARY.exec(line.replaceAll(COLOURS, "").trim());
  if (!match) return undefined;
  const [, passed, failed, skipped] = match;
  return { passed: Number(passed), failed: Number(failed), skipped: Number(skipped ?? 0) };
}

/** The last line of a test run: "12 passed, 0 failed", with ", 1 skipped" if any was. */
export function countsLine({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

/** A test that failed, and the file that it stands in. */
export interface FailedTest {
  name: string;
  file: string;
}

/** What `deno test` says of failures: which tests, and the text of its section ERRORS. */
export class FailureReader {
  readonly failed: FailedTest[] = [];
  readonly errors: string[] = [];
  #section: "errors" | "failures" | undefined;

  take(line: string): void {
    const plain = line.replaceAll(COLOURS, "").trimEnd();
    if (/^\s*ERRORS\s*$/.test(plain)) this.#section = "errors";
    else if (/^\s*FAILURES\s*$/.test(plain)) this.#section = "failures";
    else if (parseSummary(plain)) this.#section = undefined;
    else if (this.#section === "errors") this.errors.push(plain);
    else if (this.#section === "failures") {
      const [, name, file] = /^(.+) => (\S+?):\d+:\d+$/.exec(plain) ?? [];
      if (name !== undefined && file !== undefined) this.failed.push({ name, file });
      const [, module] = /^(\S+_test\.tsx?) \(uncaught error\)$/.exec(plain) ?? [];
      if (module !== undefined) this.failed.push({ name: "the file itself", file: module });
    }
  }
}

const TESTCASE = /<testcase name="([^"]*)" classname="\.\/(tests\/[^"]+)" time="([\d.]+)"/g;

/** How long test files took, each the sum of its tests. */
export class FileTimes {
  readonly #seconds = new Map<string, number>();

  /** Adds a report of `deno test --junit-path`. */
  take(report: string): void {
    for (const [, name, file, time] of report.matchAll(TESTCASE)) {
      // a step is in the time of its test
      if (name!.includes(" &gt; ")) continue;
      this.#seconds.set(file!, (this.#seconds.get(file!) ?? 0) + Number(time));
    }
  }

  /** The `count` files that took longest, as lines; those of a second or more. */
  slowest(count: number): string[] {
    return [...this.#seconds].filter(([, seconds]) => seconds >= 1)
      .sort(([, a], [, b]) => b - a).slice(0, count)
      .map(([file, seconds]) => `${Math.round(seconds).toString().padStart(5)} s  ${file}`);
  }
}
