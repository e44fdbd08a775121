/**
 * `deno task test [--full | --quick] [--suite TITLE] [paths…]`: runs `deno test` for a few files at a time,
 * several times side by side, each with a PostgreSQL of its own. It lists the files that
 * took longest and what skipped tests need, and ends with one line that sums them up, after the output of
 * each failure. `--quick` runs what needs no database. `--full` adds what needs more
 * than Deno and npm packages (Debian's PostgreSQL 15, Python), all faults, and whatever tests leave
 * out without `ETL_TEST_LONG=1`; there the files of failed tests run a second time, alone: what
 * passes then hangs on what ran beside it, and is listed as unstable, with its output.
 */
import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import type { Cluster } from "./postgres/cluster.ts";
import { onEndingSignal } from "./launch.ts";
import { killTree } from "./process_tree.ts";
import { runScript } from "./run_script.ts";
import { lines } from "./server_process.ts";
import {
  type Counts,
  countsLine,
  type FailedTest,
  FailureReader,
  FileTimes,
  parseSummary,
} from "./test_counts.ts";
import {
  type ClusterKind,
  copyTestClusters,
  startTestCluster,
  testClusterDir,
} from "../tests/helpers/clusters.ts";

interface Suite {
  title: string;
  /** Folders below tests/, or files. */
  paths: string[];
  kind?: ClusterKind;
  /** What the program logs in as, see tests/helpers/server_role.ts; default: the superuser. */
  role?: "minimal";
  /** Whether no two of its files may run side by side; default false. */
  inTurn?: boolean;
  /** Whether its tests wait more than they compute, and so have tracks of their own; default false. */
  waits?: boolean;
  /** Whether tests do all that they can, `ETL_TEST_LONG=1`, and not what represents it; default false. */
  long?: boolean;
  /** Files that are left out: part of their path. */
  except?: RegExp;
}

/** What tracks take parts of, in this order: the longest first; what runs alone comes after all others. */
interface Plan {
  suites: Suite[];
  alone: Suite[];
}

/**
 * Parts that run side by side, of those that compute and of those that wait most of their time. Each kind has tracks of its
 * own, so that neither comes last and leaves a core idle; who has no more of his own helps the others. With four in all, two
 * cores were idle for 30% of the time.
 */
const TRACKS = { working: 4, waiting: 2 };

/**
 * Files that share a process: each alone would load the program anew, and start workers of its own, which is a second of
 * a core. Fewer end at about the same time on all tracks.
 */
const FILES_OF_A_PROCESS = 8;

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..");

/** Files of a folder below tests/. */
const named = (folder: string, ...names: string[]) =>
  names.map((name) => `${folder}/${name}_test.ts`);

/**
 * What waits for the clock most of its time: jobs that fire each minute, servers that are frozen or gone
 * for as long as others may take to notice.
 */
const FOR_THE_CLOCK = [
  ...named("integration", "jobs_other_database", "jobs_pg_cron", "jobs_servers"),
  ...named("integration", "schedules_pg_cron", "outages", "secrets", "consumer", "queue"),
];

/** What matches the paths of files. */
const pathsOf = (...files: string[][]) =>
  new RegExp(files.flat().map((path) => `/${path.replaceAll(".", "\\.")}$`).join("|"));

const INTEGRATION = {
  title: "unit and integration",
  // the longest first, so that the last parts are short
  paths: ["launch", "integration", "unit"],
  except: pathsOf(FOR_THE_CLOCK),
};

const WAITING: Suite = { title: "what waits", paths: FOR_THE_CLOCK, waits: true };

const BROWSER: Suite = { title: "browser", paths: ["browser"], except: /weight/, inTurn: true };

/** What measures, or counts processes: nothing runs beside it. */
const ALONE: Suite[] = [
  { title: "how light pages are", paths: ["browser/weight_test.ts"] },
  { title: "quickstart", paths: ["quickstart"] },
];

/** What represents the faults; the full tests have all of them, in every place where a run can be. */
const SOME_FAULTS = named(
  "faults",
  ...["cancel_retry", "connections", "fence", "postgres_down", "server_killed", "worker_killed"],
);

const PLAN: Plan = {
  suites: [
    BROWSER,
    INTEGRATION,
    WAITING,
    { title: "some faults", paths: SOME_FAULTS, waits: true },
  ],
  alone: ALONE,
};

/** The main job and its faults on the oldest PostgreSQL: every statement that a server's role has to suffice for. */
const MAIN_JOB = [
  ...named("integration", "api_data", "api_requests", "database_role", "load_database_params"),
  ...named("integration", "load_versions", "races_load", "sql_destinations", "sql_requests"),
  ...named("integration", "typed_views_api", "validation_runs", "validation_suites"),
  ...named("faults", "fence", "server_killed"),
];

/** What rests on the version of PostgreSQL most: the full tests try it on the newest and the oldest. */
const ON_EACH_POSTGRES = [
  // set-up, upgrades, rights, backups
  ...["connections", "doctor", "migration", "rights_attacks", "rights_matrix", "schema_dump"],
  ...["schema_version", "setup_busy", "backup_psql", "backup_restore"],
  // the load and its locks
  ...["destination_contract", "load_model", "ways_to_write", "own_tables"],
  // plans that are made before there is anything
  ...["backlog"],
];

/**
 * What rests on it less: the full tests try it on the oldest, `deno task test` on the newest. Tests with pg_cron
 * have a PostgreSQL 15 of their own everywhere.
 */
const ON_OLDEST_POSTGRES = named(
  "integration",
  ...["alert_incidents", "alerts", "database_statements", "incremental", "leases", "load_json"],
  ...["load_lookup", "load_text", "maintenance", "metrics", "replay", "resolve_memory"],
  ...["row_encoder", "run_states", "schedules_backfill", "schedules_policies", "schedules_slots"],
  ...["schedules_tick", "source_postgres", "test_database", "typed_views"],
);

const long = (suites: Suite[]): Suite[] => suites.map((suite) => ({ ...suite, long: true }));

const FULL_PLAN: Plan = {
  suites: [
    ...long([
      // need Python, and install what they compare with from PyPI; in one chain, all others would wait for them
      { title: "API fuzz", paths: ["conformance/api_fuzz_test.ts"] },
      { title: "conformance", paths: ["conformance"], except: /api_fuzz/, inTurn: true },
      BROWSER,
      { ...INTEGRATION, except: pathsOf(FOR_THE_CLOCK, ON_OLDEST_POSTGRES) },
      { title: "faults", paths: ["faults"], waits: true },
      WAITING,
    ]),
    { title: "a role that owns nothing", paths: MAIN_JOB, role: "minimal", kind: "debian15" },
    {
      title: "PostgreSQL 15",
      paths: [...named("integration", ...ON_EACH_POSTGRES), ...ON_OLDEST_POSTGRES],
      kind: "debian15",
    },
  ],
  alone: long(ALONE),
};

/** What can be tried without a database. */
const QUICK_PLAN: Plan = { suites: [{ title: "unit", paths: ["unit"] }], alone: [] };

/** More than they take on a machine that has other things to do, too. */
const LIMIT_MINUTES = { normal: 40, full: 75 };

/** What tests that were skipped need, as tests/helpers/needs.ts says it. */
const missing = new Set<string>();

/** What was said of failures, and of tests that failed beside others and passed alone. */
const said: { failed: string[]; unstable: string[] } = { failed: [], unstable: [] };

/** The `deno test`s that run now, for Ctrl-C. */
const running = new Set<Deno.ChildProcess>();

const times = new FileTimes();

/** How long each part took. */
const took: string[] = [];

const HELP = `Usage: deno task test [--quick | --full] [--suite TITLE] [PATH…]

Runs the tests, files side by side, each track with a PostgreSQL of its own, and lists what failed.

  PATH…          only these files or folders below tests/
  --quick        only what needs no database
  --full         also what needs Debian's packages (.ci/run installs them) and more time
  --suite TITLE  only suites whose title begins so
`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    args: Deno.args,
    options: {
      full: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      // only those suites whose title begins so
      suite: { type: "string", default: "" },
      // failed checks of `deno task ok`, to be in the sum
      "failed-before": { type: "string", default: "0" },
    },
    allowPositionals: true,
  });
  const minutes = values.full ? LIMIT_MINUTES.full : LIMIT_MINUTES.normal;
  const deadline = performance.now() + minutes * 60_000;
  const plan: Plan = positionals.length > 0
    ? { suites: [{ title: "chosen", paths: positionals, long: values.full }], alone: [] }
    : values.full
    ? FULL_PLAN
    : values.quick
    ? QUICK_PLAN
    : PLAN;
  const total: Counts = { passed: 0, failed: Number(values["failed-before"]), skipped: 0 };
  const interrupted = { by: undefined as Deno.Signal | undefined };
  using _signals = onEndingSignal((signal) => {
    interrupted.by ??= signal;
    for (const child of running) void killTree(child.pid);
  });
  const again: Again[] = [];
  const follow = async (next: () => Part | undefined) => {
    await using cluster = new TrackCluster();
    for (let part = next(); part !== undefined && !interrupted.by; part = next()) {
      const { title, suite } = part;
      console.log(`\n# ${title}`);
      const began = performance.now();
      const { counts, failures } = await runPart(part, { deadline, cluster });
      const seconds = Math.round((performance.now() - began) / 1_000);
      took.push(`${String(seconds).padStart(5)} s  ${title}`);
      for (const key of ["passed", "failed", "skipped"] as const) total[key] += counts[key];
      if (counts.failed > 0) again.push({ suite, failures, failed: counts.failed });
    }
  };
  const chosen = ({ title }: Suite) => title.startsWith(values.suite);
  const all = await partsOf(plan.suites.filter(chosen));
  // a few files have few clusters
  if (positionals.length === 0 && !values.quick) await copyTestClusters();
  const { waiting = [], working = [] } = Object.groupBy(
    all,
    ({ suite }) => suite.waits ? "waiting" : "working",
  );
  const tracks = (count: number, own: Part[], others: Part[]) =>
    Array.from({ length: count }, () => follow(() => own.shift() ?? others.shift()));
  await Promise.all([
    ...tracks(TRACKS.working, working, waiting),
    ...tracks(TRACKS.waiting, waiting, working),
  ]);
  const alone = await partsOf(plan.alone.filter(chosen));
  await follow(() => alone.shift());
  for (const each of again) {
    if (interrupted.by) break;
    const recovered = values.full ? await runAgain(each, deadline) : notAgain(each);
    total.failed -= recovered;
    total.passed += recovered;
  }
  if (interrupted.by) return 130;
  if (total.passed + total.failed === 0) {
    console.error("No tests were found.");
    total.failed = 1;
  }
  const slowest = times.slowest(15);
  if (positionals.length === 0 && slowest.length > 0) {
    console.log(`\n# suites\n${took.join("\n")}\n\n# slowest files\n${slowest.join("\n")}\n`);
  }
  for (const remedy of [...missing].sort()) console.log(`skipped: ${remedy}`);
  for (const lines of [said.unstable, said.failed]) {
    if (lines.length > 0) console.log(`\n${lines.join("\n")}`);
  }
  console.log(`\n${countsLine(total)}`);
  return total.failed === 0 ? 0 : 1;
}

/** Files of a suite that run in one process. */
interface Part {
  title: string;
  suite: Suite;
  files: string[];
}

async function partsOf(suites: Suite[]): Promise<Part[]> {
  const parts = await Promise.all(suites.map(async (suite) => {
    const files = await testFiles(suite);
    const count = suite.inTurn ? 1 : Math.ceil(files.length / FILES_OF_A_PROCESS);
    return Array.from({ length: count }, (_, i) => ({
      title: count === 1 ? suite.title : `${suite.title}, part ${i + 1} of ${count}`,
      suite,
      // neighbours in the list: those that need no database come last, together
      files: files.slice(
        Math.round(i * files.length / count),
        Math.round((i + 1) * files.length / count),
      ),
    }));
  }));
  return parts.flat();
}

async function testFiles({ paths, except }: Suite): Promise<string[]> {
  const found: string[] = [];
  const visit = async (path: string) => {
    const stat = await Deno.stat(path);
    if (stat.isFile) found.push(path);
    if (!stat.isDirectory) return;
    const entries = (await Array.fromAsync(Deno.readDir(path))).sort((a, b) =>
      a.name < b.name ? -1 : 1
    );
    for (const { name, isDirectory } of entries) {
      if (isDirectory || /_test\.tsx?$/.test(name)) await visit(join(path, name));
    }
  };
  for (const path of paths) {
    const below = path.startsWith("tests/") || path.startsWith("/") ? path : join("tests", path);
    await visit(resolve(PROJECT_DIR, below));
  }
  return found.filter((path) => !except?.test(path));
}

/** A suite with failures. */
interface Again {
  suite: Suite;
  failures: FailureReader;
  failed: number;
}

/** Shows the failures of a suite, none of which passes. */
function notAgain({ suite, failures }: Again): 0 {
  said.failed.push(`# ${suite.title}: failed`, ...failures.errors.slice(-400));
  return 0;
}

/** Runs the files of failed tests once more, with nothing beside them; answers how many tests pass then. */
async function runAgain(first: Again, deadline: number): Promise<number> {
  const { suite, failures, failed } = first;
  const suspects = [...new Set(failures.failed.map(({ file }) => resolve(PROJECT_DIR, file)))]
    // not a process of several files that did not load, or ended at once
    .filter((path) => path.startsWith(join(PROJECT_DIR, "tests")));
  // more than a handful is no coincidence
  if (suspects.length === 0 || suspects.length > 5) return notAgain(first);
  console.log(`\n# ${suite.title}: the files of failed tests once more, alone`);
  await using cluster = new TrackCluster();
  const second = await runPart({ title: suite.title, suite, files: suspects }, {
    deadline,
    cluster,
  });
  const testOf = ({ name, file }: FailedTest) => `${file} ${name}`;
  const still = new Set(second.failures.failed.map(testOf));
  const unstable = second.counts.failed > 0 && still.size === 0
    ? []
    : failures.failed.filter((test) => !still.has(testOf(test)));
  if (unstable.length > 0) {
    said.unstable.push(
      ...unstable.map(({ name, file }) => `unstable: ${file}: ${name}`),
      ...failures.errors.slice(-400),
    );
  }
  if (second.counts.failed > 0) {
    notAgain({ suite, failures: second.failures, failed: second.counts.failed });
  }
  return failed - second.counts.failed;
}

interface Outcome {
  counts: Counts;
  failures: FailureReader;
}

/** The PostgreSQL of a track, which stays as long as the next part needs the same. */
class TrackCluster implements AsyncDisposable {
  #cluster: Cluster | undefined;
  #dir: string | undefined;
  #for: string | undefined;

  /** Its connection string, for tests of this suite. */
  async dsn({ kind, role }: Suite): Promise<string> {
    const what = `${kind} ${role}`;
    if (this.#cluster === undefined || this.#for !== what) {
      await this[Symbol.asyncDispose]();
      this.#dir = testClusterDir(`run-${Deno.pid}-${crypto.randomUUID().slice(0, 8)}`);
      this.#cluster = await startTestCluster(this.#dir, kind ? { kind } : {});
      this.#for = what;
    }
    return this.#cluster.dsn;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster?.stop();
    this.#cluster = undefined;
    if (this.#dir !== undefined) await Deno.remove(this.#dir, { recursive: true }).catch(() => {});
  }
}

async function runPart(
  { title, suite, files }: Part,
  { deadline, cluster }: { deadline: number; cluster: TrackCluster },
): Promise<Outcome> {
  try {
    const needsDatabase = files.some((file) => !file.startsWith(join(PROJECT_DIR, "tests/unit/")));
    return await denoTest(files, {
      deadline,
      title,
      env: {
        ...(needsDatabase ? { ETL_TEST_DSN: await cluster.dsn(suite) } : {}),
        ...(suite.kind ? { ETL_TEST_PG: suite.kind } : {}),
        ...(suite.role ? { ETL_TEST_ROLE: suite.role } : {}),
        ...(suite.long ? { ETL_TEST_LONG: "1" } : {}),
      },
    });
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return { counts: { passed: 0, failed: 1, skipped: 0 }, failures: new FailureReader() };
  }
}

/** A module with the tests of all files, each of which is a failed test if it does not load. */
const moduleOf = (files: string[]) =>
  `for (const file of ${JSON.stringify(files.map((file) => pathToFileURL(file).href))}) {
  try {
    await import(file);
  } catch (error) {
    Deno.test(\`\${file} loads\`, () => {
      throw error;
    });
  }
}
`;

async function denoTest(
  files: string[],
  options: { deadline: number; title: string; env: Record<string, string> },
): Promise<Outcome> {
  const dir = await Deno.makeTempDir({ prefix: "etl-tests-" });
  try {
    return await denoTestIn(dir, files, options);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function denoTestIn(
  dir: string,
  files: string[],
  options: { deadline: number; title: string; env: Record<string, string> },
): Promise<Outcome> {
  const report = join(dir, "report.xml");
  const several = join(dir, "several_test.ts");
  await Deno.writeTextFile(several, moduleOf(files));
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "test",
      "-A",
      // `deno task ok` checks types once; here each Web Worker would be checked anew, seconds each
      "--no-check",
      "--frozen",
      "--sanitize-ops",
      "--sanitize-resources",
      `--junit-path=${report}`,
      files.length > 1 ? several : relative(PROJECT_DIR, files[0]!),
    ],
    cwd: PROJECT_DIR,
    env: options.env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  running.add(child);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    void killTree(child.pid);
  }, Math.max(0, options.deadline - performance.now()));
  let counts: Counts | undefined;
  const failures = new FailureReader();
  const read = async (stream: ReadableStream<Uint8Array>, print: (line: string) => void) => {
    for await (const line of lines(stream)) {
      print(line === "" ? "" : `${options.title}: ${line}`);
      const [, remedy] = /^skipped: (.+)/.exec(line) ?? [];
      if (remedy !== undefined) missing.add(remedy);
      counts = parseSummary(line) ?? counts;
      failures.take(line);
    }
  };
  const [status] = await Promise.all([
    child.status,
    read(child.stdout, console.log),
    read(child.stderr, console.error),
  ]);
  clearTimeout(timer);
  running.delete(child);
  times.take(await Deno.readTextFile(report).catch(() => ""));
  if (late) console.error("stopped: the time of this test run is over");
  counts ??= { passed: 0, failed: 0, skipped: 0 };
  // A module that does not load, or an end before the summary, is a failure that no line counts.
  if (!status.success && counts.failed === 0) counts.failed = 1;
  return { counts, failures };
}

await runScript(main, { help: HELP });
