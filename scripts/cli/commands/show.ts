import { isOver } from "../../../vocabulary/words.ts";
import type { RunDetail } from "../../../store/run_views.ts";
import { count, duration, type Terminal } from "../../terminal.ts";
import type { Command } from "../command.ts";
import { findRun, watchToEnd } from "../execute.ts";
import { EXIT } from "../exit_codes.ts";
import { progressText } from "../run_screen.ts";
import { runSummary, summaryLines } from "../run_summary.ts";
import { cropped, table } from "../table.ts";
import { printable } from "../printable.ts";

export const show: Command = {
  name: "show",
  summary: "show one run: parameters, stages, counters, errors",
  description: "Shows one run with its parameters and where each came from, stages and counters.",
  arguments: [{ name: "ID", help: "the run's id, as `etl runs` lists them; or latest" }],
  options: {
    follow: {
      type: "boolean",
      short: "f",
      help: "watch the run until it has ended; the exit code is its outcome",
    },
  },
  examples: ["etl show latest", "etl show 019eb1c9-4e5f-7a6b-8c7d-9e0f1a2b3c4d --follow"],
  async run(call) {
    const api = await call.connect({ executes: call.flags.follow === true });
    const run = await findRun(api, call.args[0]!);
    if (call.flags.follow) return await watchToEnd(call, api, run.run_id);
    if (call.flags.json) call.out.line(JSON.stringify({ ...run, ...runSummary(run) }));
    else for (const line of runLines(call.out, run)) call.out.line(line);
    return EXIT.succeeded;
  },
};

function runLines(out: Terminal, run: RunDetail): string[] {
  const ended = isOver(run.state);
  const facts: [string, string | null][] = [
    ["state", ended ? run.state : `${run.state}: ${progressText(run)}`],
    ["label", run.run_label],
    ["dataset", run.dry_run ? `${run.dataset} (dry run)` : run.dataset],
    ["requested", `${time(run.requested_at)} by ${run.requested_by} (${run.trigger})`],
    ["started", time(run.started_at)],
    ["ended", time(run.ended_at)],
    ["attempts", run.attempt > 1 ? String(run.attempt) : null],
    ["replay of", run.replay_of],
    [
      "cursor",
      run.cursor === null
        ? null
        : `${run.cursor.column} from ${run.cursor.from ?? "the beginning"} to ${
          run.cursor.to ?? "nothing"
        } (${run.cursor.mode})`,
    ],
    [
      "schedule",
      run.schedule === null || run.slot === null
        ? run.schedule
        : `${run.schedule}, slot ${time(run.slot)}`,
    ],
    [
      "ratio",
      run.ratio === null ? null : `${run.ratio} (${run.total_rows} of ${run.expected_rows})`,
    ],
  ];
  return [
    "",
    `  ${out.paint("bold", `Run ${run.run_id}`)}`,
    ...facts.flatMap(([name, value]) =>
      value === null || value === "" ? [] : [`    ${name.padEnd(12)}${printable(value)}`]
    ),
    "",
    `  ${out.paint("bold", "Parameters")}`,
    ...table(
      [{ title: "name" }, { title: "value", maxWidth: 60 }, { title: "from" }],
      Object.entries(run.params)
        .filter(([name, { origin }]) => origin !== "default" || name === "source")
        .map(([name, { value, origin }]) => [name, JSON.stringify(value), origin]),
    ).slice(1).map((line) => `    ${line}`),
    "    all others have their defaults",
    "",
    ...(run.stages.length === 0 ? [] : stageLines(out, run)),
    ...(ended ? summaryLines(out, run) : []),
    ...stageErrors(run),
    "",
  ];
}

function stageLines(out: Terminal, run: RunDetail): string[] {
  const [title, ...rows] = table(
    [
      { title: "Stage" },
      { title: "state" },
      { title: "in", align: "right" },
      { title: "out", align: "right" },
      { title: "busy", align: "right" },
      { title: "attempts", align: "right" },
    ],
    run.stages.map(({ stage, state, records_in, records_out, busy_ms, attempts }) => [
      stage,
      state,
      count(records_in),
      count(records_out),
      duration(busy_ms),
      String(attempts),
    ]),
  );
  return [`  ${out.paint("bold", title!)}`, ...rows.map((row) => `  ${row}`), ""];
}

function stageErrors(run: RunDetail): string[] {
  return run.stages.flatMap(({ stage, error }) => {
    const detail = (error as { detail?: string } | null)?.detail;
    return detail === undefined || detail === run.error?.detail
      ? []
      : [`  ${stage}: ${cropped(printable(detail), 400)}`];
  });
}

function time(text: string | null): string {
  return text === null ? "" : `${text.slice(0, 19).replace("T", " ")} UTC`;
}
