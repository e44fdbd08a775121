import { RUN_STATES } from "../../../vocabulary/words.ts";
import type { RunView } from "../../../store/run_views.ts";
import { count, duration } from "../../terminal.ts";
import { wholeNumber } from "../actions.ts";
import { request } from "../api.ts";
import type { Command } from "../command.ts";
import { EXIT, UsageError } from "../exit_codes.ts";
import { table } from "../table.ts";

export const runs: Command = {
  name: "runs",
  summary: "list runs, newest first",
  description: "Lists runs, newest first.",
  options: {
    state: { type: "string", value: "STATE", help: `only those that are ${RUN_STATES.join(", ")}` },
    label: { type: "string", value: "LABEL", help: "only those with this run_label" },
    limit: { type: "string", value: "N", help: "how many, 1 to 500; default 20" },
  },
  examples: ["etl runs", "etl runs --state failed --limit 5", "etl runs --label daily_prod --json"],
  async run(call) {
    const { text, flags, out, connect } = call;
    const limit = wholeNumber(call, "limit", { least: 1, most: 500, otherwise: 20 });
    if (text.state !== undefined && !RUN_STATES.some((state) => state === text.state)) {
      throw new UsageError(`--state must be one of ${RUN_STATES.join(", ")}, not '${text.state}'`);
    }
    const query = new URLSearchParams({ limit: String(limit) });
    if (text.state !== undefined) query.set("state", text.state);
    if (text.label !== undefined) query.set("run_label", text.label);
    const api = await connect();
    const { items, next } = await request<{ items: RunView[]; next: string | null }>(
      api,
      `/api/etl/runs?${query}`,
    );
    if (flags.json) {
      out.line(JSON.stringify(items));
      return EXIT.succeeded;
    }
    if (items.length === 0) {
      out.line(
        query.size > 1 ? "No run is like that." : "There are no runs yet. `etl run` makes one.",
      );
      return EXIT.succeeded;
    }
    const [title, ...rows] = table([
      { title: "RUN" },
      { title: "LABEL", maxWidth: 24 },
      { title: "STATE" },
      { title: "REQUESTED" },
      { title: "TOOK", align: "right" },
      { title: "ROWS", align: "right" },
      { title: "RATIO", align: "right" },
    ], items.map(cells));
    out.line(out.paint("bold", title!));
    for (const row of rows) out.line(row);
    if (next !== null) out.line(out.paint("dim", "There are more: --limit shows up to 500."));
    return EXIT.succeeded;
  },
};

function cells(run: RunView): string[] {
  return [
    run.run_id,
    run.run_label,
    run.dry_run ? `${run.state} (dry run)` : run.state,
    run.requested_at.slice(0, 16).replace("T", " "),
    run.duration_ms === null ? "" : duration(run.duration_ms),
    run.total_rows === null ? "" : count(run.total_rows),
    run.ratio === null ? "" : String(Math.round(run.ratio * 10_000) / 10_000),
  ];
}
