import assert from "node:assert/strict";
import { join, resolve } from "node:path";
import { namedTest } from "../mutants/mutant.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");
const read = (path: string) => Deno.readTextFileSync(join(ROOT, path));

/** What a page promises, in its words, and the tests that fail when it is broken. */
const CLAIMS: Record<string, [claim: string, ...tests: string[]][]> = {
  "README.md": [
    [
      "The same data loaded twice is one set of rows.",
      "integration/load_versions_test.ts: without a key the same content is one row",
    ],
    [
      "A repeated load of unchanged data writes no row version and next to no WAL.",
      "integration/load_versions_test.ts: a repeated run writes no row version and next to no WAL",
    ],
    [
      "The newest version of each key wins, in whatever order chunks and runs arrive.",
      "integration/load_versions_test.ts: the highest version wins over all chunks",
      "integration/load_model_test.ts: any small batches, in any order of execution",
    ],
    [
      "Kill the server, a worker, a connection or PostgreSQL: a live server takes over the run within seconds, publishes no chunk twice, and produces the same table as an undisturbed run.",
      "faults/server_killed_test.ts: a server killed in any stage",
      "faults/worker_killed_test.ts: a worker that crashes in any stage",
      "faults/connections_test.ts: every connection cut in any stage",
      "faults/postgres_down_test.ts: PostgreSQL crashes in any stage",
    ],
    [
      "A record that breaks a rule goes to the quarantine with the rule and the raw record, and can be replayed.",
      "integration/replay_test.ts: a replay loads what was rejected",
      "integration/numbers_counters_test.ts: filtered, extra, duplicates and rejected add up",
    ],
    [
      "An error names the field, the value, what would be right and what to do next.",
      "integration/sql_requests_test.ts: every error of a conf is told in one answer",
    ],
    [
      "Cron expressions in any time zone, correct across daylight saving changes.",
      "unit/schedules_cron_test.ts: a local time that spring leaves out is due once",
      "unit/schedules_cron_test.ts: a local time that autumn has twice is due once",
    ],
    [
      "Each slot becomes one run; if the database has pg_cron, even while no server is up.",
      "integration/schedules_tick_test.ts: a slot becomes one run although many tick at once",
      "integration/schedules_pg_cron_test.ts: with pg_cron a slot becomes a run while no server is up",
    ],
    [
      "A policy decides about missed slots; a backfill runs past ones.",
      "integration/schedules_policies_test.ts: of slots later than the grace the policy runs",
      "integration/schedules_backfill_test.ts: a backfill runs each past slot once",
    ],
    [
      "loads 200,000 flights in parallel chunks and stays up",
      "quickstart/quickstart_test.ts: ",
    ],
  ],
  "docs/run_lifecycle.md": [
    [
      "a trigger on `etl.runs` refuses every other change, whoever makes it",
      "integration/run_states_test.ts: every change of a run's state that no arrow",
    ],
    [
      "Every change is announced on the channel `etl_run`",
      "integration/run_states_test.ts: every change of a run is told on the channel",
    ],
    [
      "The same key with the same conf returns the run that it created, in whatever state it is now; with another conf the request is refused (422).",
      "integration/sql_destinations_test.ts: the same key and conf are one run; another conf",
    ],
    [
      "It resolves and checks the parameters. All errors are reported at once.",
      "integration/sql_requests_test.ts: every error of a conf is told in one answer",
    ],
    [
      "`queue` waits for the running one of the same label, `skip` returns that run and creates none, `cancel` cancels it and waits for its end.",
      "faults/several_servers_test.ts: runs of one label wait, are skipped or cancel",
      "integration/run_states_test.ts: a waiting run of the same label is not started",
    ],
    [
      "labels take turns: a label that has just had its turn goes behind the others, and a label that requests many runs cannot hold up the rest",
      "integration/run_states_test.ts: a pool has as many runs going on as it has slots, and labels take turns",
    ],
    [
      "Two runs of one label never run at once. Runs without a `version` on one source name and dataset, and those with a cursor, run one at a time in the order of their requests, whatever their pools",
      "integration/incremental_test.ts: runs on one cursor follow each other",
      "integration/run_states_test.ts: a waiting run of the same label is not started",
    ],
    [
      "Pools are exact on any number of servers, as one admission happens at a time.",
      "faults/several_servers_test.ts: two servers do runs that were asked for before any server",
    ],
    [
      "`priority` (-10 to 10, default 0, in the conf of a request or a schedule) counts as so many minutes of waiting",
      "integration/run_states_test.ts: a higher priority goes first",
    ],
    [
      "needs a lease of 20 s, which its holder renews (`etl.leases`); a server that takes a lease over ends the transaction that the earlier holder has open",
      "integration/leases_test.ts: a lease is one holder's",
      "integration/leases_test.ts: who takes a lease over ends the transaction",
    ],
    [
      "Once a second every server calls `etl.due_work()`, which returns unclaimed work",
      "integration/leases_test.ts: work is due until somebody has its lease",
    ],
    [
      "ends the database transactions that earlier attempts still have open",
      "integration/run_states_test.ts: the next attempt of a run ends the transactions",
    ],
    [
      "a replaced one (its server was frozen, or cut off) can neither publish a chunk nor end the run",
      "faults/fence_test.ts: an attempt that was replaced can write nothing",
    ],
    [
      "no other server takes the run",
      "integration/run_states_test.ts: the next attempt of a run ends the transactions",
    ],
    [
      "so each chunk is published once",
      "faults/cancel_retry_test.ts: a run that failed while publishing is retried with the rest",
    ],
    [
      "Nothing is published before every chunk is prepared and the suite has judged all of them.",
      "integration/alerts_test.ts: failed expectations are ge_failed; with enforce_ge",
    ],
    [
      "The first attempt pins the input; if the input has changed since, the run fails with `source-changed`.",
      "unit/sources_files_test.ts: file source fails when a file changes after it was pinned",
    ],
    [
      "is retried on the spot (`db_max_retries`, with growing pauses)",
      "integration/load_database_params_test.ts: db_max_retries counts attempts",
      "unit/retry_test.ts: withRetry() doubles the delay",
    ],
    [
      "`ETL_RUN_MAX_ATTEMPTS` (5) limits this; then the run fails with `attempts-exhausted` and the last cause.",
      "integration/load_database_params_test.ts: ETL_RUN_MAX_ATTEMPTS bounds the attempts",
      "faults/worker_killed_test.ts: a run whose worker crashes again and again",
    ],
    [
      "A retry (`POST …/retry`) resets the count and continues after the published chunks.",
      "integration/run_states_test.ts: a cancel ends a waiting run at once, and a retry",
      "faults/cancel_retry_test.ts: a run cancelled in any stage ends while that still hangs",
    ],
    [
      "The runs are given back, which uses up no attempt, and continue elsewhere at once.",
      "integration/run_states_test.ts: a server that stops in an orderly way uses up no attempt",
      "faults/server_killed_test.ts: a server that is stopped in any stage ends within 15 s",
    ],
    [
      "| server frozen (SIGSTOP), wakes later |",
      "faults/server_killed_test.ts: a server that was frozen and replaced",
    ],
    [
      "| connections half-open (a network that swallows packets) |",
      "faults/connections_test.ts: half-open connections in any stage",
    ],
    [
      "| PostgreSQL restarts or crashes |",
      "faults/postgres_down_test.ts: PostgreSQL restarts in any stage",
    ],
    ["| spool disk full |", "faults/disk_full_test.ts: "],
    [
      "| spill files removed by somebody |",
      "faults/same_server_test.ts: a run whose spill files disappear",
    ],
    [
      "| deadlock, serialization failure |",
      "faults/conflicts_test.ts: a serialization failure is tried again",
    ],
    [
      "`ETL_ROLE=api` answers requests and executes nothing, `worker` the other way round.",
      "faults/several_servers_test.ts: a server with the role api executes nothing",
    ],
    [
      "Behind PgBouncer in transaction mode set `ETL_LISTEN=false`",
      "faults/pgbouncer_test.ts: behind PgBouncer in transaction mode everything works",
    ],
    [
      "In the end every run must have ended well or been cancelled",
      "faults/soak_test.ts: soak: a minute of random requests",
    ],
  ],
  "docs/schedules.md": [
    [
      "SQL wakes the servers by NOTIFY.",
      "integration/schedules_slots_test.ts: a schedule that SQL makes wakes the server",
    ],
    [
      "If SQL stores an invalid expression (`99 * * * *`), `problem` has the reason.",
      "integration/schedules_slots_test.ts: a schedule that SQL made gets its slots",
    ],
    [
      "Seconds are refused.",
      "unit/schedules_cron_test.ts: what is wrong with an expression or a zone",
    ],
    [
      "checked in the same way when it is saved; `configuration` names a saved configuration, whose changes apply",
      "integration/schedules_api_test.ts: everything that is wrong with a schedule",
      "integration/schedules_api_test.ts: a schedule may run a saved configuration",
    ],
    [
      "while a run of the same label is in progress: `skip` creates no run, `queue` waits, `cancel` replaces it",
      "integration/schedules_policies_test.ts: a slot whose label is busy makes no run",
      "integration/schedules_policies_test.ts: of several slots that are due together",
    ],
    [
      "how late a slot still counts as on time, 0 to 86400",
      "integration/schedules_policies_test.ts: the grace says how late",
    ],
    [
      "If neither conf, configuration, variable nor environment sets a run_label, it is the schedule's name",
      "integration/schedules_policies_test.ts: schedules without a label of their own",
    ],
    [
      "`{{today}}` is the slot's day in the schedule's zone. A run shows its `schedule` and `slot`.",
      "integration/schedules_tick_test.ts: a due slot becomes a run that knows its schedule",
    ],
    [
      "has a run (`run_id`), exactly one, however many servers tick at once",
      "integration/schedules_tick_test.ts: a slot becomes one run although many tick at once",
    ],
    [
      "`problem` has the reason, a `run_failed` alert is raised, other schedules continue",
      "integration/schedules_tick_test.ts: a schedule whose request is refused keeps the problem",
    ],
    [
      "`last` the newest one, `all` the newest 100, oldest first and queued whatever `overlap` is, `none` nothing.",
      "integration/schedules_policies_test.ts: of slots later than the grace the policy runs",
      "integration/schedules_policies_test.ts: with all, the newest 100 of the missed slots",
      "integration/schedules_policies_test.ts: what is caught up with all is asked for oldest first",
    ],
    [
      "If several slots are processed at once and `overlap` is `skip`, the newest gets the run.",
      "integration/schedules_policies_test.ts: of several slots that are due together",
    ],
    [
      "slots are skipped and never caught up",
      "integration/schedules_policies_test.ts: slots of a paused schedule are skipped",
      "integration/schedules_policies_test.ts: a pause holds from its first instant up to its end",
    ],
    [
      "a new expression or zone drops future slots and creates none in the past",
      "integration/schedules_policies_test.ts: an edited expression drops the slots to come",
    ],
    [
      "Past slots are kept for 400 days, the newest 10,000 of each schedule.",
      "integration/schedules_tick_test.ts: old slots are deleted",
    ],
    [
      "once, at the instant of the change: 03:00",
      "unit/schedules_cron_test.ts: a local time that spring leaves out",
    ],
    [
      "the repeated hour is run twice",
      "unit/schedules_cron_test.ts: an expression for every hour is due each hour",
    ],
    [
      "A slot whose run waits, is running or has succeeded is kept, so a backfill can be repeated",
      "integration/schedules_backfill_test.ts: a backfill runs each past slot once",
    ],
    [
      "Changes are audited.",
      "integration/schedules_api_test.ts: a schedule is made, shown, listed, changed and removed",
    ],
    [
      "A schedule is overdue if a slot has been due for longer than the grace plus three minutes and has not been processed, or if no slots are stored ahead.",
      "integration/schedules_tick_test.ts: a schedule is overdue when nobody decides",
    ],
    [
      "`schedule_overdue` is raised once and recovers by itself",
      "integration/alerts_test.ts: an overdue schedule is an alert until it is on time again",
    ],
  ],
};

/** The words of a text, without what they are set in. */
const words = (text: string) => text.replaceAll(/\*\*|\s+/g, " ").replaceAll(/ +/g, " ");

for (const [page, claims] of Object.entries(CLAIMS)) {
  Deno.test(`what ${page} promises is in tests that are there`, () => {
    const text = words(read(page));
    const wrong: string[] = [];
    for (const [claim, ...tests] of claims) {
      if (!text.includes(words(claim))) wrong.push(`the page does not say: ${claim}`);
      if (tests.length === 0) wrong.push(`no test is named for: ${claim}`);
      for (const test of tests) {
        const { file, name } = namedTest(test);
        if (!read(file).includes(name)) wrong.push(`there is no test ${test}`);
      }
    }
    assert.deepEqual(wrong, []);
  });
}
