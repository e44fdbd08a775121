import assert from "node:assert/strict";
import {
  progressLines,
  progressText,
  RunScreen,
  runSummary,
  summaryLines,
} from "../../scripts/cli/run_screen.ts";
import { Terminal } from "../../scripts/terminal.ts";
import type { RunDetail } from "../../vocabulary/run_schema.ts";

const STAGES = ["extract", "transform", "chunk", "validate", "ge_validate", "load", "finalize"];

function runOf(changes: Partial<RunDetail> = {}): RunDetail {
  return {
    run_id: "019eb1c9-4e5f-7a6b-8c7d-9e0f1a2b3c4d",
    run_label: "daily",
    state: "running",
    attempt: 1,
    dataset: "public.etl_improved_events",
    dry_run: false,
    pool: "default_pool",
    started_at: new Date(Date.now() - 10_000).toISOString(),
    ended_at: null,
    duration_ms: 10_000,
    queue_position: null,
    num_chunks: 8,
    total_rows: null,
    expected_rows: null,
    ratio: null,
    counts: { records_read: 100_000 },
    chunks: { planned: 4, prepared: 4 },
    stages: STAGES.map((stage) => ({
      stage,
      state: "running",
      started_at: null,
      ended_at: null,
      busy_ms: 0,
      records_in: 0,
      records_out: 0,
      attempts: 1,
      error: null,
    })),
    error: null,
    warnings: [],
    ...changes,
  } as RunDetail;
}

function plainTerminal(): { terminal: Terminal; text: () => string } {
  let text = "";
  const terminal = new Terminal({ isTerminal: false, write: (more) => text += more });
  return { terminal, text: () => text };
}

Deno.test("progressText() tells chunks, speed and time left", () => {
  const text = progressText(runOf());
  assert.match(
    text,
    /^chunk 5 of 8, 100,000 records, (9,\d{3}|10,000) rows\/s, about 2[3-6]\.\d s left$/,
  );
});

Deno.test("progressText() tells how many chunks are in the table once all are prepared", () => {
  assert.match(
    progressText(runOf({ chunks: { prepared: 6, published: 2 } })),
    /, 2 in the table, /,
  );
});

Deno.test("progressText() tells the place in the queue", () => {
  assert.equal(
    progressText(runOf({ state: "queued", queue_position: 3 })),
    "waiting: number 3 in pool default_pool",
  );
});

Deno.test("progressText() does not count what an earlier attempt did as speed", () => {
  const { terminal, text } = plainTerminal();
  const screen = new RunScreen(terminal);
  screen.show(runOf({ attempt: 2 }));
  assert.ok(!text().includes("rows/s"), text());
});

Deno.test("progressLines() draws each stage as far as its chunks are", () => {
  const { terminal } = plainTerminal();
  const lines = progressLines(terminal, runOf({ chunks: { prepared: 6, published: 2 } }));
  assert.equal(lines.length, STAGES.length + 1);
  assert.match(lines[0]!, /^ {2}extract +█{24} /);
  assert.match(lines[5]!, /^ {2}load +█{6}░{18} /);
  assert.match(lines[6]!, /^ {2}finalize +░{24} /);
});

Deno.test("RunScreen writes a line a state where there is no terminal, and not one an event", () => {
  const { terminal, text } = plainTerminal();
  const screen = new RunScreen(terminal);
  screen.show(runOf({ state: "queued" }));
  for (let i = 0; i < 5; i++) screen.show(runOf());
  screen.show(runOf({ state: "succeeded" }));
  assert.deepEqual(text().trim().split("\n").map((line) => line.split(/[ :]+/)[2]), [
    "queued",
    "running",
    "succeeded",
  ]);
});

Deno.test("runSummary() has the members that programs read", () => {
  const summary = runSummary(runOf({ state: "succeeded", counts: { inserted: 3, rejected: 1 } }));
  assert.deepEqual(Object.keys(summary), [
    "run_id",
    "status",
    "total_rows",
    "expected_rows",
    "ratio",
    "num_chunks",
    "inserted",
    "updated",
    "unchanged",
    "rejected",
    "duplicates",
    "filtered",
    "deleted",
    "marked",
    "duration_ms",
    "stages",
  ]);
  assert.equal(summary.status, "succeeded");
  assert.equal(summary.inserted, 3);
  assert.equal(summary.updated, 0);
  assert.deepEqual(Object.keys(summary.stages), STAGES);
});

Deno.test("summaryLines() says why a run failed, what is in the table, and how to go on", () => {
  const { terminal } = plainTerminal();
  const text = summaryLines(
    terminal,
    runOf({
      state: "failed",
      error: {
        type: "/api/problems/disk-full",
        title: "Disk full",
        status: 500,
        detail: "The disk is full.",
      },
      chunks: { prepared: 6, published: 2 },
    }),
  ).join("\n");
  assert.match(text, /The run has failed after 10\.0 s: The disk is full\./);
  assert.match(text, /2 of 8 chunks are in the table/);
  assert.match(text, /etl retry 019eb1c9-/);
});

Deno.test("summaryLines() says of a cancelled run that it was, and that a retry goes on", () => {
  const lines = summaryLines(
    plainTerminal().terminal,
    runOf({
      state: "cancelled",
      counts: {},
      error: { type: "/api/problems/cancelled", detail: "The run was stopped." },
    } as never),
  );
  assert.deepEqual(lines, [
    "  The run has been cancelled after 10.0 s.",
    "  `etl retry 019eb1c9-4e5f-7a6b-8c7d-9e0f1a2b3c4d` goes on where it stopped.",
  ]);
});

Deno.test("summaryLines() advises no retry where only a new run can help", () => {
  const wayOn = (type: string) =>
    summaryLines(
      plainTerminal().terminal,
      runOf({ state: "failed", error: { type: `/api/problems/${type}`, detail: "No." } } as never),
    ).join("\n");
  for (
    const type of [
      "source-changed",
      "foreign-rows",
      "too-many-rejected",
      "too-many-deletions",
      "low-ratio",
    ]
  ) {
    assert.match(wayOn(type), /ask for a new run/);
    assert.ok(!wayOn(type).includes("etl retry"));
  }
  assert.match(wayOn("source-unreadable"), /etl retry 019eb1c9-/);
});

Deno.test("summaryLines() does not say that a dry run has written", () => {
  const { terminal } = plainTerminal();
  const text = summaryLines(
    terminal,
    runOf({
      state: "succeeded",
      dry_run: true,
      total_rows: 5,
      counts: { inserted: 5, deleted: 2, marked: 3 },
    }),
  ).join("\n");
  assert.match(text, /to delete +2/);
  assert.match(text, /to mark +3/);
  assert.match(text, /Dry run: 5 rows would be in/);
  assert.match(text, /to insert +5/);
});
