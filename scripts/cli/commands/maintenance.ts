import type { JobsReport, JobView } from "../../../store/jobs.ts";
import type {
  MaintenancePreview,
  MaintenanceTaskView,
  MaintenanceView,
} from "../../../store/maintenance.ts";
import { delay } from "../../../store/retry.ts";
import { count, duration, type Terminal } from "../../terminal.ts";
import { post, request } from "../api.ts";
import { type Call, type Command, printList, printTable } from "../command.ts";
import { readConf } from "../conf_input.ts";
import { EXIT, type ExitCode, UsageError } from "../exit_codes.ts";
import { minuteOf, RIGHT } from "../text.ts";

const LOOK_MS = 250;
const PATH = "/api/etl/maintenance";

export const maintenance: Command = {
  name: "maintenance",
  summary: "delete old rows, refresh the views, vacuum",
  description:
    `Runs etl_maintenance now and waits for its end: six tasks delete old metrics, audit entries,
alerts and events in small batches, refresh the daily views and vacuum the tables. It also runs
every week.

  etl maintenance          run it now
  etl maintenance list     the last ones, with the rows they deleted

--conf takes retention_days_metrics (90), retention_days_audit (90), retention_days_alerts (180) and
retention_days_events (365, by occurred_at): 7 to 1,095 days, or -1 to keep for ever. Other values
come from variables (etl_maintenance__<name>), the servers' environment
(ETL_MAINTENANCE__<NAME>), or the defaults.`,
  arguments: [{ name: "ACTION", help: "list; default: run it", optional: true }],
  actions: () => ["list"],
  options: {
    conf: { type: "string", value: "JSON", help: "retentions; @FILE reads them from a file" },
    set: { type: "string", multiple: true, value: "NAME=DAYS", help: "one retention" },
    "dry-run": { type: "boolean", help: "count the rows to delete, delete nothing" },
    confirm: {
      type: "boolean",
      help: "confirm, once after 0.1.0, that events are deleted by occurred_at",
    },
    "no-wait": { type: "boolean", help: "do not wait for its end (with --server)" },
  },
  examples: [
    "etl maintenance",
    `etl maintenance --conf '{"retention_days_metrics": 60, "retention_days_events": 180}'`,
    "etl maintenance --set retention_days_events=-1",
    "etl maintenance --dry-run",
    "etl maintenance list",
  ],
  async run(call) {
    const { args, text, lists, flags, out, err, signals } = call;
    if (args[0] === "list") return await list(call);
    if (args[0] !== undefined) {
      throw new UsageError(`etl maintenance cannot '${args[0]}'; did you mean list?`);
    }
    const conf = await readConf({ conf: text.conf, set: lists.set ?? [] }, call.readFile);
    const api = await call.connect({ executes: !flags["dry-run"] });
    if (flags["dry-run"]) {
      const preview = await post<MaintenancePreview>(api, `${PATH}?dry_run=true`, conf);
      if (flags.json) out.line(JSON.stringify(preview));
      else showPreview(preview, out);
      return EXIT.succeeded;
    }
    const asked = flags.confirm ? `${PATH}?confirm=true` : PATH;
    let view = await post<MaintenanceView>(api, asked, conf);
    if (!(flags["no-wait"] && !api.inProcess)) {
      while (view.ended_at === null) {
        err.draw([err.paint("dim", `  ${progress(view)} …`)]);
        await delay(LOOK_MS, signals.signal);
        signals.signal.throwIfAborted();
        view = await request<MaintenanceView>(api, `${PATH}/${view.maintenance_id}`);
      }
      err.draw([]);
    }
    if (flags.json) out.line(JSON.stringify(view));
    else show(view, out);
    return view.state === "failed" ? EXIT.failed : EXIT.succeeded;
  },
};

function showPreview({ tasks }: MaintenancePreview, out: Terminal): void {
  printTable(
    out,
    tasks.flatMap(({ task, cutoff, tables }) => tables.map((each) => ({ ...each, task, cutoff }))),
    [
      ["TASK", ({ task }) => task],
      ["TABLE", ({ table }) => table],
      ["OLDER THAN", ({ cutoff }) => cutoff!.slice(0, 10)],
      ["WOULD GO", ({ would_delete }) => count(would_delete), RIGHT],
    ],
  );
  for (const { task, warnings } of tasks) {
    for (const warning of warnings) {
      out.line(`${out.paint("yellow", "warning:")} ${task}: ${warning}`);
    }
  }
  out.line("Nothing was deleted.");
}

function progress({ tasks, deleted }: MaintenanceView): string {
  const current = tasks.find(({ state }) => state === "running");
  return `${current?.task ?? "waiting for a server"}, ${count(deleted)} rows deleted`;
}

function show(view: MaintenanceView, out: Terminal): void {
  printTable(out, view.tasks, [
    ["TASK", ({ task }) => task],
    ["STATE", ({ state }) => state],
    ["OLDER THAN", ({ cutoff }) => cutoff?.slice(0, 10) ?? ""],
    ["DELETED", ({ task, deleted }) => task.startsWith("clean") ? count(deleted) : "", RIGHT],
    ["TOOK", tookOf, RIGHT],
  ]);
  for (const { task, warnings, error } of view.tasks) {
    for (const warning of warnings) {
      out.line(`${out.paint("yellow", "warning:")} ${task}: ${warning}`);
    }
    if (error !== null) out.line(`${out.paint("red", "error:")} ${task}: ${error}`);
  }
  out.line(`Maintenance ${view.maintenance_id}: ${view.state}`);
}

function tookOf({ started_at: from, ended_at: to }: MaintenanceTaskView): string {
  return from === null || to === null ? "" : duration(Date.parse(to) - Date.parse(from));
}

async function list(call: Call): Promise<ExitCode> {
  const { items } = await request<{ items: MaintenanceView[] }>(await call.connect(), PATH);
  return printList(call, items, {
    none: "There was no maintenance yet. `etl maintenance` runs one.",
    columns: [
      ["MAINTENANCE", (view) => view.maintenance_id],
      ["STATE", (view) => view.state],
      ["BY", (view) => view.trigger],
      ["REQUESTED", (view) => minuteOf(view.requested_at)],
      ["DELETED", (view) => count(view.deleted), RIGHT],
      ["TOOK", (view) => view.duration_ms === null ? "" : duration(view.duration_ms), RIGHT],
    ],
  });
}

export const jobs: Command = {
  name: "jobs",
  summary: "periodic jobs, who runs them, and how their last runs went",
  description:
    `Lists the periodic jobs: the tick of the schedules, the refresh of the daily views, the weekly
maintenance. pg_cron runs them if it is available, otherwise the servers do.`,
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
    printTable(out, items, [
      ["JOB", ({ name }) => name],
      ["SCHEDULE", ({ schedule }) => schedule],
      ["STATE", ({ state }) => state],
      [
        "LAST RUN",
        ({ last_runs: [last] }) => last?.started_at?.slice(0, 19).replace("T", " ") ?? "",
      ],
      ["RESULT", ({ last_runs: [last] }) => resultOf(last), { maxWidth: 60 }],
    ]);
    for (const warning of warnings) err.line(`${err.paint("yellow", "warning:")} ${warning}`);
    return EXIT.succeeded;
  },
};

function resultOf(last: JobView["last_runs"][number] | undefined): string {
  if (last === undefined) return "";
  const { status, message } = last;
  return status === "failed" && message !== null ? `${status}: ${message}` : status;
}
