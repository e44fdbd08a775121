/**
 * `deno task test [--full | --quick] [--suite TITLE] [paths…]`: starts the PostgreSQL that the tests
 * share, runs `deno test` suite by suite, says what skipped tests need, and ends with
 * one line that sums them up, after what was said of each failure. `--quick` runs what needs no database. `--full` adds what needs more
 * than Deno and npm packages (Debian's PostgreSQL 15, Python), all faults, and whatever tests leave
 * out without `ETL_TEST_LONG=1`; there the files of failed tests run a second time, alone: what
 * passes then hangs on what ran beside it, and is listed as unstable, with what it said.
 */
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Cluster } from "./postgres/cluster.ts";
import { onEndingSignal } from "./launch.ts";
import { killTree } from "./process_tree.ts";
import { runScript } from "./run_script.ts";
import { lines } from "./server_process.ts";
import { type Counts, countsLine, FailureReader, parseSummary } from "./test_counts.ts";
import { type ClusterKind, startTestCluster, testClusterDir } from "../tests/helpers/clusters.ts";

interface Suite {
  title: string;
  /** Folders below tests/, or files. */
  paths: string[];
  kind?: ClusterKind;
  /** What the program logs in as, see tests/helpers/server_role.ts; default: the superuser. */
  role?: "minimal";
  /** How many test files run side by side. */
  parallel: number;
  /** Whether tests do all that they can, `ETL_TEST_LONG=1`, and not what represents it; default false. */
  long?: boolean;
  /** Files that are left out: part of their path. */
  except?: RegExp;
}

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..");

/** Files of a folder below tests/. */
const named = (folder: string, ...names: string[]) =>
  names.map((name) => `${folder}/${name}_test.ts`);

// more at once than the two cores of a small machine: tests also wait, for leases, for the clock
const INTEGRATION = { paths: ["unit", "integration", "launch"], parallel: 3 };

const PAGES: Suite[] = [
  { title: "browser", paths: ["browser"], except: /weight/, parallel: 2 },
  { title: "how light pages are", paths: ["browser/weight_test.ts"], parallel: 1 },
  { title: "quickstart", paths: ["quickstart"], parallel: 1 },
];

/** What represents the faults; the full tests have all of them, in every place where a run can be. */
const SOME_FAULTS = named(
  "faults",
  ...["cancel_retry", "connections", "fence", "postgres_down", "server_killed", "worker_killed"],
);

const SUITES: Suite[] = [
  {
    ...INTEGRATION,
    title: "unit, integration and some faults",
    paths: [...SOME_FAULTS, ...INTEGRATION.paths],
  },
  ...PAGES,
];

/** The main job and its faults: every statement that a server's role has to suffice for. */
const MAIN_JOB = [
  ...named("integration", "api_data", "api_requests", "database_role", "load_database_params"),
  ...named("integration", "load_versions", "races_load", "sql_destinations", "sql_requests"),
  ...named("integration", "typed_views_api", "validation_runs", "validation_suites"),
  ...named("faults", "fence", "server_killed"),
];

/** What rests on the version of PostgreSQL; tests with pg_cron have a PostgreSQL 15 of their own everywhere. */
const ON_POSTGRES = [
  // set-up, upgrades, rights
  ...["connections", "database_role", "database_statements", "doctor", "migration"],
  ...["rights_attacks", "rights_matrix", "schema_dump", "schema_version", "setup_busy"],
  // sources, the load and its locks
  ...[
    "destination_contract",
    "incremental",
    "load_json",
    "load_lookup",
    "load_model",
    "load_text",
    "load_versions",
  ],
  ...["races_load", "resolve_memory", "row_encoder", "source_postgres"],
  // leases, runs, schedules
  ...["leases", "replay", "run_states", "schedules_backfill"],
  ...["schedules_policies", "schedules_slots", "schedules_tick", "sql_requests"],
  // what is computed in the database
  ...["alert_incidents", "alerts", "metrics", "sql_destinations", "typed_views"],
  // maintenance, backups
  ...["backup_psql", "backup_restore", "maintenance", "test_database"],
];

const FULL_SUITES: Suite[] = [
  { ...INTEGRATION, title: "unit and integration", long: true },
  { title: "faults", paths: ["faults"], parallel: 3, long: true },
  ...PAGES.map((suite) => ({ ...suite, long: true })),
  // needs Python, and installs what it compares with from PyPI
  { title: "conformance", paths: ["conformance"], parallel: 2, long: true },
  { title: "a role that owns nothing", paths: MAIN_JOB, role: "minimal", parallel: 3 },
  {
    title: "PostgreSQL 15",
    paths: named("integration", ...ON_POSTGRES),
    kind: "debian15",
    parallel: 3,
  },
];

/** More than they take on a machine that has other things to do, too. */
const LIMIT_MINUTES = { normal: 40, full: 75 };

/** What can be tried without a database. */
const QUICK_SUITES: Suite[] = [{ title: "unit", paths: ["unit"], parallel: 2 }];

/** What tests that were skipped need, as tests/helpers/needs.ts says it. */
const missing = new Set<string>();

/** What was said of failures, and of tests that failed beside others and passed alone. */
const said: { failed: string[]; unstable: string[] } = { failed: [], unstable: [] };

/** The `deno test` that runs now, for Ctrl-C. */
let current: Deno.ChildProcess | undefined;

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
  const suites = positionals.length > 0
    ? [{ title: "chosen", paths: positionals, parallel: 2, long: values.full }]
    : values.full
    ? FULL_SUITES
    : values.quick
    ? QUICK_SUITES
    : SUITES;
  const total: Counts = { passed: 0, failed: Number(values["failed-before"]), skipped: 0 };
  const interrupted = { by: undefined as Deno.Signal | undefined };
  using _signals = onEndingSignal((signal) => {
    interrupted.by ??= signal;
    if (current) void killTree(current.pid);
  });
  for (const suite of suites) {
    if (!suite.title.startsWith(values.suite)) continue;
    const files = await testFiles(suite);
    if (files.length === 0) continue;
    console.log(`\n# ${suite.title}`);
    const counts = await runSuite(suite, files, { deadline, again: values.full });
    for (const key of ["passed", "failed", "skipped"] as const) total[key] += counts[key];
    if (interrupted.by) return 130;
  }
  if (total.passed + total.failed === 0) {
    console.error("No tests were found.");
    total.failed = 1;
  }
  for (const remedy of [...missing].sort()) console.log(`skipped: ${remedy}`);
  for (const lines of [said.unstable, said.failed]) {
    if (lines.length > 0) console.log(`\n${lines.join("\n")}`);
  }
  console.log(`\n${countsLine(total)}`);
  return total.failed === 0 ? 0 : 1;
}

async function testFiles({ paths, except }: Suite): Promise<string[]> {
  const found: string[] = [];
  const visit = async (path: string) => {
    const stat = await Deno.stat(path);
    if (stat.isFile) found.push(path);
    if (!stat.isDirectory) return;
    for await (const { name, isDirectory } of Deno.readDir(path)) {
      if (isDirectory || /_test\.tsx?$/.test(name)) await visit(join(path, name));
    }
  };
  for (const path of paths) {
    const below = path.startsWith("tests/") || path.startsWith("/") ? path : join("tests", path);
    await visit(resolve(PROJECT_DIR, below));
  }
  return found.filter((path) => !except?.test(path)).sort();
}

async function runSuite(
  suite: Suite,
  files: string[],
  { deadline, again }: { deadline: number; again: boolean },
): Promise<Counts> {
  const dir = testClusterDir(`run-${Deno.pid}-${suite.kind ?? suite.role ?? "default"}`);
  let cluster: Cluster | undefined;
  try {
    const needsDatabase = files.some((file) => !file.startsWith(join(PROJECT_DIR, "tests/unit/")));
    if (needsDatabase) {
      cluster = await startTestCluster(dir, suite.kind ? { kind: suite.kind } : {});
    }
    const options = {
      deadline,
      env: {
        ...(cluster ? { ETL_TEST_DSN: cluster.dsn } : {}),
        ...(suite.kind ? { ETL_TEST_PG: suite.kind } : {}),
        ...(suite.role ? { ETL_TEST_ROLE: suite.role } : {}),
        ...(suite.long ? { ETL_TEST_LONG: "1" } : {}),
      },
    };
    const first = await denoTest(suite, files, options);
    if (first.counts.failed === 0) return first.counts;
    const suspects = [...new Set(first.failed.map(({ file }) => resolve(PROJECT_DIR, file)))];
    // more than a handful is no coincidence
    if (!again || suspects.length === 0 || suspects.length > 5) {
      said.failed.push(`# ${suite.title}: failed`, ...first.errors.slice(-400));
      return first.counts;
    }
    console.log(`\n# ${suite.title}: the files of failed tests once more, alone`);
    const second = await denoTest({ ...suite, parallel: 1 }, suspects, options);
    const still = new Set(second.failed.map(({ name, file }) => `${file} ${name}`));
    const unstable = second.counts.failed > 0 && still.size === 0
      ? []
      : first.failed.filter(({ name, file }) => !still.has(`${file} ${name}`));
    if (unstable.length > 0) {
      said.unstable.push(
        ...unstable.map(({ name, file }) => `unstable: ${file}: ${name}`),
        ...first.errors.slice(-400),
      );
    }
    if (second.counts.failed > 0) {
      said.failed.push(`# ${suite.title}: failed`, ...second.errors.slice(-400));
    }
    const { passed, failed, skipped } = first.counts;
    return {
      passed: passed + failed - second.counts.failed,
      failed: second.counts.failed,
      skipped,
    };
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return { passed: 0, failed: 1, skipped: 0 };
  } finally {
    await cluster?.stop();
    await Deno.remove(dir, { recursive: true }).catch(() => {});
  }
}

async function denoTest(
  suite: Suite,
  files: string[],
  options: { deadline: number; env: Record<string, string> },
): Promise<{ counts: Counts } & Pick<FailureReader, "failed" | "errors">> {
  const child = current = new Deno.Command(Deno.execPath(), {
    args: [
      "test",
      "-A",
      // `deno task ok` checks types once; here each Web Worker would be checked anew, seconds each
      "--no-check",
      "--frozen",
      "--sanitize-ops",
      "--sanitize-resources",
      ...(suite.parallel > 1 ? ["--parallel"] : []),
      ...files.map((file) => relative(PROJECT_DIR, file)),
    ],
    cwd: PROJECT_DIR,
    env: { DENO_JOBS: String(suite.parallel), ...options.env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    void killTree(child.pid);
  }, Math.max(0, options.deadline - performance.now()));
  let counts: Counts | undefined;
  const failures = new FailureReader();
  const read = async (stream: ReadableStream<Uint8Array>, print: (line: string) => void) => {
    for await (const line of lines(stream)) {
      print(line);
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
  current = undefined;
  if (late) console.error(`${suite.title}: stopped, the time of this test run is over`);
  counts ??= { passed: 0, failed: 0, skipped: 0 };
  // A module that does not load, or an end before the summary, is a failure that no line counts.
  if (!status.success && counts.failed === 0) counts.failed = 1;
  return { counts, failed: failures.failed, errors: failures.errors };
}

await runScript(main);
