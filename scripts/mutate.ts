/**
 * `deno task mutate [--list | --sample N | --all] [--only TEXT,…] [--seed N] [--jobs N] [--minutes N] [--unchecked]`:
 * puts faults of one line into copies of the project and sees whether the tests
 * that must notice do. Default: a random 20, two at a time. The lists are in
 * tests/mutants; docs/decisions/mutation.md says why they are ours. First each test
 * is run without any mutant, which `--unchecked` leaves out. After `--minutes` no
 * further one is begun; what was not tried is not counted.
 *
 * A mutant is killed when a test that it names fails. A copy that does not load,
 * a set-up that PostgreSQL does not take, and a test that does not end are no
 * verdict, and count as not killed. The working tree is never touched.
 */
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { dropTemplate, makeTemplate } from "../tests/helpers/postgres.ts";
import { startTestCluster, testClusterDir } from "../tests/helpers/clusters.ts";
import { MUTANTS } from "../tests/mutants/all.ts";
import { type Mutant, namedTest } from "../tests/mutants/mutant.ts";
import { forEachLane } from "../pipeline/lanes.ts";
import { onEndingSignal } from "./launch.ts";
import { killTree } from "./process_tree.ts";
import { runScript } from "./run_script.ts";
import { parseSummary } from "./test_counts.ts";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..");
/** A test that takes longer says nothing. */
const LIMIT_MS = 240_000;
/** A module that cannot be loaded is no test that has noticed anything. */
const NOT_LOADED = /could not be parsed|does not provide an export named|Module not found/;
/** What sql/etl_setup.sql is made from; the other files below sql/ are read where they are needed. */
const MAKES_SETUP = /^(sql\/(?!cron\/|restore\/)|suites\/)|(params|sources\/schema)\.ts$/;

/** `passed` and `failed` as the tests say; else why they say nothing. */
type Verdict = "passed" | "failed" | { none: string };

interface Outcome {
  mutant: Mutant;
  verdict: Verdict;
}

const children = new Set<Deno.ChildProcess>();

const HELP =
  `Usage: deno task mutate [--list | --sample N | --all] [--only TEXT,…] [--seed N] [--jobs N] [--minutes N]
                        [--least SHARE] [--unchecked]

Puts faults of one line into copies of the project, and sees whether tests notice.

  --list          show the mutants, and do nothing
  --sample N      N of them, by chance; default 20
  --all           all of them
  --only TEXT,…   those with one of the texts in their id or file
  --seed N        choose the same ones as the run that showed it
  --jobs N        so many at a time; default 2
  --minutes N     begin no further one after so long
  --least SHARE   fail only where fewer are killed; default 1, all
  --unchecked     do not run the tests without a mutant first
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      list: { type: "boolean", default: false },
      all: { type: "boolean", default: false },
      sample: { type: "string" },
      only: { type: "string", default: "" },
      seed: { type: "string" },
      jobs: { type: "string", default: "2" },
      minutes: { type: "string", default: "600" },
      // the share that has to be killed
      least: { type: "string", default: "1" },
      unchecked: { type: "boolean", default: false },
    },
  });
  const { only } = values;
  const texts = only.split(",");
  const candidates = MUTANTS.filter(({ id, file }) =>
    texts.some((text) => id.includes(text) || file.includes(text))
  );
  if (values.list) {
    for (const { id, file, find, replace, tests } of candidates) {
      const change = `${shown(find)} → ${replace === "" ? "(nothing)" : shown(replace)}`;
      console.log(`${id}  ${file}: ${change}  [${tests.join("; ")}]`);
    }
    console.log(`${candidates.length} mutants`);
    return 0;
  }
  const seed = Number(values.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]);
  const everything = values.all || (only !== "" && values.sample === undefined);
  const count = everything ? candidates.length : Number(values.sample ?? 20);
  const chosen = everything ? candidates : shuffled(candidates, seed).slice(0, count);
  if (chosen.length === 0) {
    console.error("No mutants were found: --list shows all.");
    return 1;
  }
  if (!everything) console.log(`seed ${seed}: --seed ${seed} chooses the same mutants`);
  return await mutate(chosen, {
    jobs: Math.max(1, Number(values.jobs)),
    check: !values.unchecked,
    least: Number(values.least),
    deadline: performance.now() + Number(values.minutes) * 60_000,
  });
}

async function mutate(
  chosen: Mutant[],
  { jobs, check, least, deadline }: {
    jobs: number;
    check: boolean;
    least: number;
    deadline: number;
  },
): Promise<number> {
  const root = await Deno.makeTempDir({ prefix: "etl_mutants_" });
  const dir = testClusterDir(`mutants-${Deno.pid}`);
  let over = false;
  using _signals = onEndingSignal(() => {
    over = true;
    for (const child of children) void killTree(child.pid);
  });
  const cluster = await startTestCluster(dir);
  try {
    const copies = await Promise.all(
      Array.from(
        { length: Math.min(jobs, chosen.length) },
        (_, i) => Copy.make(`${root}/${i}`, cluster.dsn),
      ),
    );
    const idle = [...copies];
    const inCopy = async <T>(work: (copy: Copy) => Promise<T>): Promise<T> => {
      const copy = idle.pop()!;
      try {
        return await work(copy);
      } finally {
        idle.push(copy);
      }
    };
    const wrong: string[] = [];
    const unmutated = check ? byFile(chosen.flatMap(({ tests }) => tests)) : [];
    if (check) console.log(`first their ${unmutated.length} files of tests without a mutant`);
    await forEachLane(unmutated, copies.length, async (tests) => {
      if (over) return;
      const verdict = await inCopy((copy) => copy.test(tests));
      if (verdict !== "passed" && !over) wrong.push(`${tests.join("; ")}: ${said(verdict)}`);
    });
    if (wrong.length > 0) {
      console.error(`Without any mutant these do not pass:\n${wrong.join("\n")}`);
      return 1;
    }
    const outcomes: Outcome[] = [];
    await forEachLane(chosen, copies.length, async (mutant) => {
      if (over || performance.now() > deadline) return;
      const started = performance.now();
      const verdict = await inCopy((copy) => copy.judge(mutant));
      if (over) return;
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      outcomes.push({ mutant, verdict });
      console.log(`${said(verdict).padEnd(8)} ${mutant.id} (${seconds} s)`);
    });
    if (over) return 130;
    if (outcomes.length < chosen.length) {
      console.log(`${chosen.length - outcomes.length} were not tried: the time was over`);
    }
    return report(outcomes, least);
  } finally {
    await cluster.stop();
    await Deno.remove(dir, { recursive: true }).catch(() => {});
    await Deno.remove(root, { recursive: true });
  }
}

function report(outcomes: Outcome[], least: number): number {
  const killed = outcomes.filter(({ verdict }) => verdict === "failed").length;
  for (const { mutant, verdict } of outcomes) {
    if (verdict === "failed") continue;
    console.log(
      `\n${said(verdict)}: ${mutant.id} in ${mutant.file}\n  ${shown(mutant.find)}\n  → ${
        shown(mutant.replace)
      }\n  breaks: ${mutant.breaks}\n  must notice: ${mutant.tests.join("; ")}`,
    );
  }
  console.log(`\n${killed} of ${outcomes.length} mutants killed`);
  return outcomes.length > 0 && killed >= outcomes.length * least ? 0 : 1;
}

/** A copy of the project in which one mutant at a time lives. */
class Copy {
  private constructor(readonly dir: string, readonly dsn: string) {}

  static async make(dir: string, dsn: string): Promise<Copy> {
    await Deno.mkdir(dir);
    // what is tracked or new, never what is ignored; packages are linked, as nothing writes to them
    await shell(
      `git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c 'for f; do [ -e "$f" ] && printf "%s\\0" "$f"; done' sh |
        xargs -0 cp --parents -t "$1" && cp -al node_modules "$1" 2>/dev/null || cp -a node_modules "$1"`,
      [dir],
    );
    return new Copy(dir, dsn);
  }

  async judge(mutant: Mutant): Promise<Verdict> {
    const path = join(this.dir, mutant.file);
    const text = await Deno.readTextFile(path);
    const parts = text.split(mutant.find);
    if (parts.length !== 2) return { none: `its text occurs ${parts.length - 1} times` };
    await Deno.writeTextFile(path, parts.join(mutant.replace));
    const setup = join(this.dir, "sql/etl_setup.sql");
    const before = await Deno.readTextFile(setup);
    let template: string | undefined;
    try {
      if (MAKES_SETUP.test(mutant.file)) {
        const built = await this.#deno(["run", "--frozen", "-A", "scripts/build_sql.ts"]);
        if (!built.success) return { none: "sql/etl_setup.sql cannot be built" };
        const sql = await Deno.readTextFile(setup);
        // else the fault would make no difference; what a schema refines is not in it
        if (sql === before && mutant.file.endsWith(".sql")) {
          return { none: "sql/etl_setup.sql is the same" };
        }
        if (sql !== before) {
          try {
            template = await makeTemplate(this.dsn, sql);
          } catch (error) {
            return { none: `the set-up fails: ${(error as Error).message}` };
          }
        }
      }
      for (const tests of byFile(mutant.tests)) {
        const verdict = await this.test(tests);
        if (verdict !== "passed") return verdict;
      }
      return "passed";
    } finally {
      await Deno.writeTextFile(path, text);
      await Deno.writeTextFile(setup, before);
      if (template !== undefined) await dropTemplate(this.dsn, template);
    }
  }

  /** Runs tests of one file. */
  async test(tests: string[]): Promise<Verdict> {
    const named = tests.map(namedTest);
    const names = named.map(({ name }) => name.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
    const ran = await this.#deno([
      "test",
      "-A",
      "--no-check",
      "--frozen",
      ...(names.includes("") ? [] : ["--filter", `/${names.join("|")}/`]),
      named[0]!.file,
    ]);
    if (ran.late) return { none: `no end within ${LIMIT_MS / 1000} s` };
    if (NOT_LOADED.test(ran.text)) return { none: `does not load: ${lastLines(ran.text)}` };
    const counts = ran.text.split("\n").map((line) => parseSummary(line)).findLast(Boolean);
    if (counts === undefined) return { none: `said nothing: ${lastLines(ran.text)}` };
    if (counts.failed > 0) return "failed";
    return counts.passed > 0 ? "passed" : { none: "no such test, or it was skipped" };
  }

  async #deno(args: string[]): Promise<{ success: boolean; late: boolean; text: string }> {
    const child = new Deno.Command(Deno.execPath(), {
      args,
      cwd: this.dir,
      env: { ETL_TEST_DSN: this.dsn, NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    children.add(child);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      void killTree(child.pid);
    }, LIMIT_MS);
    const { success, stdout, stderr } = await child.output();
    clearTimeout(timer);
    children.delete(child);
    const decoder = new TextDecoder();
    return { success, late, text: `${decoder.decode(stdout)}\n${decoder.decode(stderr)}` };
  }
}

async function shell(script: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("sh", {
    args: ["-c", script, "sh", ...args],
    cwd: PROJECT_DIR,
  }).output();
  if (!success) {
    throw new Error(`The project cannot be copied: ${new TextDecoder().decode(stderr)}`);
  }
}

/** Tests of one file together, each once. */
function byFile(tests: string[]): string[][] {
  return [...Map.groupBy(new Set(tests), (test) => namedTest(test).file).values()];
}

function said(verdict: Verdict): string {
  if (verdict === "failed") return "killed";
  return verdict === "passed" ? "SURVIVED" : `NO VERDICT (${verdict.none})`;
}

const shown = (text: string) => JSON.stringify(text).slice(1, -1);

const lastLines = (text: string) => text.trim().split("\n").slice(-8).join("\n");

/** In an order that the seed decides (mulberry32). */
function shuffled<T>(items: T[], seed: number): T[] {
  let state = seed >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return items.map((item) => ({ item, at: random() })).sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

await runScript(main, { help: HELP });
