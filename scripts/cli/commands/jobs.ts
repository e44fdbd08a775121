import type { JobsReport, JobView } from "../../../store/jobs.ts";
import { request } from "../api.ts";
import type { Command } from "../command.ts";
import { EXIT } from "../exit_codes.ts";
import { table } from "../table.ts";

export const jobs: Command = {
  name: "jobs",
  summary: "periodic jobs, who runs them, and how their last runs went",
  description:
    `Lists the periodic jobs: the tick of the schedules, the refresh of the daily views, the weekly
maintenance. pg_cron runs them where it can be used, else the servers do.`,
  options: {},
  examples: ["etl jobs", "etl jobs --json"],
  async run({ flags, out, err, connect }) {
    const report = await request<JobsReport>(await connect(), "/api/jobs");
    if (flags.json) {
      out.line(JSON.stringify(report));
      return EXIT.succeeded;
    }
    const { scheduler, items, warnings } = report;
    out.line(
      `Scheduler: ${scheduler.in_use}${
        scheduler.role === null ? "" : `, as role ${scheduler.role}`
      }`,
    );
    if (scheduler.reason !== null) out.line(`  ${scheduler.reason}`);
    out.line();
    const [title, ...rows] = table([
      { title: "JOB" },
      { title: "SCHEDULE" },
      { title: "STATE" },
      { title: "LAST RUN" },
      { title: "RESULT", maxWidth: 60 },
    ], items.map(cells));
    out.line(out.paint("bold", title!));
    for (const row of rows) out.line(row);
    for (const warning of warnings) err.line(`${err.paint("yellow", "warning:")} ${warning}`);
    return EXIT.succeeded;
  },
};

function cells({ name, schedule, state, last_runs: [last] }: JobView): string[] {
  if (last === undefined) return [name, schedule, state, "", ""];
  const { started_at: at, status, message } = last;
  const result = status === "failed" && message !== null ? `${status}: ${message}` : status;
  return [name, schedule, state, at?.slice(0, 19).replace("T", " ") ?? "", result];
}
