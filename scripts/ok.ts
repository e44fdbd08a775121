/**
 * `deno task ok [--quick | --full] [--keep-going]`: the gate that every change passes.
 * Warnings are errors. Each check is quiet until it fails; the tests come last (with
 * `--quick` those that need no database), and after a failed check only with
 * `--keep-going`. The last line counts.
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { runScript } from "./run_script.ts";
import { countsLine } from "./test_counts.ts";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..");

interface Check {
  title: string;
  args: string[];
  /** Whether what it says is shown although nothing is wrong. */
  talks?: boolean;
}

/**
 * Twenty faults of one line that tests must notice; their seed is shown. A survivor is shown, too; so
 * many that the tests have gone blind fail the gate. The tests without a mutant run afterwards.
 */
const MUTANTS: Check = {
  title: "mutants",
  args: [
    "run",
    "--frozen",
    "-A",
    "scripts/mutate.ts",
    "--sample",
    "20",
    "--minutes",
    "6",
    "--unchecked",
    "--least",
    "0.7",
  ],
  talks: true,
};

const CHECKS: Check[] = [
  { title: "format", args: ["fmt", "--check"] },
  { title: "lint", args: ["lint"] },
  { title: "imports", args: ["run", "--frozen", "--allow-read", "scripts/check_imports.ts"] },
  {
    title: "sql",
    args: ["run", "--frozen", "--allow-read", "scripts/build_sql.ts", "--check"],
  },
  {
    title: "docs",
    args: ["run", "--frozen", "--allow-read", "scripts/build_docs.ts", "--check"],
  },
  { title: "types", args: ["check", "--frozen"] },
];

const HELP = `Usage: deno task ok [--quick | --full] [--keep-going]

Checks format, lint, imports and types, then runs the tests.

  --quick       only tests that need no database
  --full        also what needs Debian's packages, which .ci/run installs
  --keep-going  run the tests after a failed check, too
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      full: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      "keep-going": { type: "boolean", default: false },
    },
  });
  let failed = 0;
  // side by side; the mutants come after them, as their tests have time limits
  const begun = CHECKS.map((check) => carryOut(check));
  const checks = values.full ? [...CHECKS, MUTANTS] : CHECKS;
  for (const [i, check] of checks.entries()) {
    const { clean, said, seconds } = await (begun[i] ?? carryOut(check));
    console.log(`${check.title.padEnd(8)} ${clean ? "ok" : "FAILED"} (${seconds} s)`);
    if (!clean) {
      failed++;
      console.error(said);
    } else if (check.talks) console.log(said.trim());
  }
  if (failed > 0 && !values["keep-going"]) {
    console.log(`\n${countsLine({ passed: checks.length - failed, failed, skipped: 0 })}`);
    return 1;
  }
  const tests = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--frozen",
      "-A",
      "scripts/test.ts",
      ...(values.full ? ["--full"] : values.quick ? ["--quick"] : []),
      `--failed-before=${failed}`,
    ],
    cwd: PROJECT_DIR,
    stdin: "null",
  }).spawn();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => tests.kill(signal));
  }
  return (await tests.status).code;
}

interface Outcome {
  clean: boolean;
  said: string;
  seconds: string;
}

async function carryOut({ args }: Check): Promise<Outcome> {
  const start = performance.now();
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: PROJECT_DIR,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  return {
    clean: success && !/^\s*warning\b/im.test(said),
    said,
    seconds: ((performance.now() - start) / 1000).toFixed(1),
  };
}

await runScript(main, { help: HELP });
