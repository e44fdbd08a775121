import type { RunLogLine } from "../../../store/logs.ts";
import type { Terminal } from "../../terminal.ts";
import { wholeNumber } from "../actions.ts";
import { type Api, request } from "../api.ts";
import type { Command } from "../command.ts";
import { runIdOf } from "../execute.ts";
import { EXIT } from "../exit_codes.ts";
import { printable } from "../printable.ts";

const COLOURS = { warn: "yellow", error: "red" } as const;

export const logs: Command = {
  name: "logs",
  summary: "what was logged about a run, oldest line first",
  description:
    `Prints the lines that the database keeps of a run's log, oldest first: of each run the last
ETL_RUN_LOG_LINES (1,000), at least as grave as ETL_LOG_LEVEL was.`,
  arguments: [{ name: "RUN", help: "the run's id, as `etl runs` lists them; or latest" }],
  options: { limit: { type: "string", value: "N", help: "only the last N lines" } },
  examples: ["etl logs latest", "etl logs latest --limit 20", "etl logs latest --json | jq '.[]'"],
  async run(call) {
    const limit = wholeNumber(call, "limit", { least: 1, most: 1_000_000, otherwise: 1_000_000 });
    const { flags, out } = call;
    const api = await call.connect();
    const id = await runIdOf(api, call.args[0]!);
    const lines = (await allLines(api, id)).slice(-limit);
    if (flags.json) out.line(JSON.stringify(lines));
    else if (lines.length === 0) out.line(`Nothing is kept of the log of run ${id}.`);
    else for (const line of lines) out.line(textOf(out, line));
    return EXIT.succeeded;
  },
};

async function allLines(api: Api, id: string): Promise<RunLogLine[]> {
  const lines: RunLogLine[] = [];
  let cursor = "";
  for (;;) {
    const { items, next } = await request<{ items: RunLogLine[]; next: string | null }>(
      api,
      `/api/etl/runs/${id}/logs?limit=5000${cursor}`,
    );
    lines.push(...items);
    if (next === null) return lines;
    cursor = `&cursor=${encodeURIComponent(next)}`;
  }
}

function textOf(out: Terminal, { logged_at, level, message, fields }: RunLogLine): string {
  const name = level.padEnd(5);
  const shown = level === "warn" || level === "error" ? out.paint(COLOURS[level], name) : name;
  const more = Object.entries(fields).map(([key, value]) =>
    ` ${key}=${typeof value === "string" && !/[\s"=]/.test(value) ? value : JSON.stringify(value)}`
  ).join("");
  return `${out.paint("dim", logged_at)} ${shown} ${printable(message)}${
    out.paint("dim", printable(more))
  }`;
}
