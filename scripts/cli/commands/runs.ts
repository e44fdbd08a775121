import { parseConf } from "../../../pipeline/conf_errors.ts";
import type { RunDetail, RunView, Submitted } from "../../../vocabulary/run_schema.ts";
import type { RunLogLine } from "../../../store/run_views.ts";
import type { QuarantineView } from "../../../store/quarantine.ts";
import { csvText } from "../../../routes/shared/csv.ts";
import { ALONE, NO_HELP } from "../../../vocabulary/sharing.ts";
import { isOver, RUN_STATES } from "../../../vocabulary/words.ts";
import { count, duration, type Terminal } from "../../terminal.ts";
import { type Api, post, request } from "../api.ts";
import { type Call, type Command, printList, printTable, wholeNumber } from "../command.ts";
import { confText, readConf } from "../conf_input.ts";
import { EXIT, UsageError } from "../exit_codes.ts";
import { paramsHelp } from "../help.ts";
import { findRun, followed, followRun, runIdOf, watchToEnd } from "../run_follow.ts";
import { progressText, runSummary, summaryLines } from "../run_screen.ts";
import { cropped, minuteOf, printable, RIGHT, table } from "../text.ts";

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
    const code = printList(call, items, {
      none: query.size > 1 ? "No run is like that." : "There are no runs yet. `etl run` makes one.",
      columns: [
        ["RUN", (run) => run.run_id],
        ["LABEL", (run) => run.run_label, { maxWidth: 24 }],
        ["STATE", (run) => run.dry_run ? `${run.state} (dry run)` : run.state],
        ["REQUESTED", (run) => minuteOf(run.requested_at)],
        ["TOOK", (run) => run.duration_ms === null ? "" : duration(run.duration_ms), RIGHT],
        ["ROWS", (run) => run.total_rows === null ? "" : count(run.total_rows), RIGHT],
        ["RATIO", (run) => run.ratio === null ? "" : `${Math.round(run.ratio * 1e4) / 1e4}`, RIGHT],
      ],
    });
    if (next !== null && !flags.json) {
      out.line(out.paint("dim", "There are more: --limit shows up to 500."));
    }
    return code;
  },
};

export const run: Command = {
  name: "run",
  summary: "load data: request a run and, in this process or with --wait, follow it to its end",
  description: `Requests a run. Without a server this process executes it and ends with it; a
server returns the run's id at once, unless --wait is given.`,
  options: {
    conf: {
      type: "string",
      value: "JSON",
      help: "parameters of the run; @FILE reads them from a file, @- from the standard input",
    },
    configuration: {
      type: "string",
      value: "NAME",
      help: "start from a saved configuration; --conf, --source and --set override it",
    },
    set: {
      type: "string",
      multiple: true,
      value: "NAME=VALUE",
      help: "one parameter, overrides --conf; source.path=… for members",
    },
    source: { type: "string", value: "JSON", help: "only the source, overrides --conf" },
    wait: { type: "boolean", help: "with a server: watch the run until it has ended" },
    "idempotency-key": {
      type: "string",
      value: "KEY",
      help: "a repeated request with this key and conf returns the same run",
    },
  },
  examples: [
    "etl run",
    `etl run --conf '{"batch_size": 1000, "run_label": "daily_prod"}'`,
    "etl run --set batch_size=1000 --set dry_run=true",
    `etl run --conf '{"source": {"type": "file", "path": "sales/*.csv.gz", "key": "id"}}'`,
    "etl run --configuration nightly --set run_label=by_hand",
    "etl run --server http://127.0.0.1:8080 --conf @nightly.json --wait --json",
    "etl run --conf @nightly.json --idempotency-key nightly-2026-01-31",
  ],
  more: paramsHelp,
  async run(call) {
    const conf = await readConf(
      {
        conf: call.text.conf,
        configuration: call.text.configuration,
        source: call.text.source,
        set: call.lists.set ?? [],
      },
      call.readFile,
    );
    // what is wrong by itself is told before anything is started
    if (!call.usesServer) parseConf(conf);
    const api = await call.connect({ executes: true });
    const key = call.text["idempotency-key"];
    const submitted = await post<Submitted>(
      api,
      "/api/etl/run",
      confText(conf),
      key === undefined ? {} : { "idempotency-key": key },
    );
    return await followed(call, api, submitted);
  },
};

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

/** Which server has which chunks, where several have worked on a run; why others have not. */
function serverFacts({ servers, sharing }: RunDetail): [string, string][] {
  const lines = servers.length < 2
    ? []
    : servers.map(({ server_id, count, chunks }) =>
      `${server_id}: ${count} chunks (${chunks.join(", ")}${chunks.length === 20 ? ", …" : ""})`
    );
  if (sharing.alone !== null) lines.push(`one server only: ${ALONE[sharing.alone]}`);
  for (const { server_id, why } of sharing.left) {
    lines.push(`${server_id} does not help: ${why.map((code) => NO_HELP[code]).join("; ")}`);
  }
  return lines.map((line, i) => [i === 0 ? "servers" : "", line]);
}

function runLines(out: Terminal, run: RunDetail): string[] {
  const ended = isOver(run.state);
  const facts: [string, string | null][] = [
    ["state", ended ? run.state : `${run.state}: ${progressText(run)}`],
    ["label", run.run_label],
    ["dataset", run.dry_run ? `${run.dataset} (dry run)` : run.dataset],
    ["requested", `${utc(run.requested_at)} by ${run.requested_by} (${run.trigger})`],
    ["started", utc(run.started_at)],
    ["ended", utc(run.ended_at)],
    ["attempts", run.attempt > 1 ? String(run.attempt) : null],
    ...serverFacts(run),
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
        : `${run.schedule}, slot ${utc(run.slot)}`,
    ],
    [
      "ratio",
      run.ratio === null
        ? null
        : `${Number(run.ratio.toFixed(4))} (${run.total_rows} of ${run.expected_rows})`,
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
      Object.entries(run.params)
        .filter(([name, { origin }]) => origin !== "default" || name === "source"),
      [
        ["name", ([name]) => name],
        ["value", ([, { value }]) => JSON.stringify(value), { maxWidth: 60 }],
        ["from", ([, { origin }]) => origin],
      ],
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
  const [title, ...rows] = table(run.stages, [
    ["Stage", ({ stage }) => stage],
    ["state", ({ state }) => state],
    ["in", ({ records_in }) => count(records_in), RIGHT],
    ["out", ({ records_out }) => count(records_out), RIGHT],
    ["busy", ({ busy_ms }) => duration(busy_ms), RIGHT],
    ["attempts", ({ attempts }) => String(attempts), RIGHT],
  ]);
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

function utc(text: string | null): string {
  return text === null ? "" : `${text.slice(0, 19).replace("T", " ")} UTC`;
}

const COLOURS = { warn: "yellow", error: "red" } as const;

/** The last lines of a log are there so long after the run's end, or its server is gone. */
const LAST_LINES_MS = 5000;

/** From the most talkative. */
const LEVELS = ["debug", "info", "warn", "error"];

export const logs: Command = {
  name: "logs",
  summary: "the log of a run, oldest line first",
  description:
    `Prints a run's log from the database, oldest line first: the last ETL_RUN_LOG_LINES (1,000)
lines of the level ETL_LOG_LEVEL or above.`,
  arguments: [{ name: "RUN", help: "the run's id, as `etl runs` lists them; or latest" }],
  options: {
    limit: { type: "string", value: "N", help: "only the last N lines" },
    level: {
      type: "string",
      value: "LEVEL",
      help: `only lines of this level or above: ${LEVELS.join(", ")}`,
    },
    search: {
      type: "string",
      value: "TEXT",
      help: "only lines with this text in their message or fields, ignoring case",
    },
    follow: {
      type: "boolean",
      short: "f",
      help: "keep printing new lines until the run has ended",
    },
  },
  examples: [
    "etl logs latest",
    "etl logs latest --follow --level warn",
    "etl logs latest --search 'sales/2026-01' --limit 20",
    "etl logs latest --json | jq '.[]'",
  ],
  async run(call) {
    const limit = wholeNumber(call, "limit", { least: 1, most: 1_000_000, otherwise: 1_000_000 });
    const wanted = lineFilter(call);
    const { flags, out, err, signals } = call;
    if (flags.follow && flags.json) throw new UsageError("--follow writes no JSON: leave one out");
    const api = await call.connect();
    const id = await runIdOf(api, call.args[0]!);
    const kept = await linesAfter(api, id, 0);
    const lines = kept.filter(wanted).slice(-limit);
    if (flags.json) {
      out.line(JSON.stringify(lines));
      return EXIT.succeeded;
    }
    for (const line of lines) out.line(logText(out, line));
    if (flags.follow) {
      let last = kept.at(-1)?.line_no ?? 0;
      let ended = kept.at(-1)?.message === "run ended";
      const more = async () => {
        for (const line of await linesAfter(api, id, last)) {
          last = line.line_no;
          ended ||= line.message === "run ended";
          if (wanted(line)) out.line(logText(out, line));
        }
      };
      let reading = Promise.resolve();
      const run = await followRun(api, id, {
        onChange: () => void (reading = reading.then(more)),
        signal: signals.signal,
      });
      await reading;
      // servers store lines in batches, so the last ones come after the end
      const deadline = performance.now() + LAST_LINES_MS;
      for (await more(); !ended && performance.now() < deadline; await more()) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        signals.signal.throwIfAborted();
      }
      err.line(err.paint("dim", `Run ${id} has ${run.state}.`));
    } else if (lines.length === 0) {
      out.line(
        kept.length === 0
          ? `Nothing is kept of the log of run ${id}.`
          : `None of its ${count(kept.length)} lines is one of those.`,
      );
    }
    return EXIT.succeeded;
  },
};

/** What --level and --search leave of a log. */
function lineFilter({ text: { level = "debug", search = "" } }: Call) {
  const least = LEVELS.indexOf(level);
  if (least < 0) {
    throw new UsageError(`--level must be one of ${LEVELS.join(", ")}, not '${level}'`);
  }
  const sought = search.toLowerCase();
  return ({ level, message, fields }: RunLogLine) =>
    LEVELS.indexOf(level) >= least &&
    `${message}\n${JSON.stringify(fields)}`.toLowerCase().includes(sought);
}

/** Lines of a run's log behind a number. */
async function linesAfter(api: Api, id: string, after: number): Promise<RunLogLine[]> {
  const lines: RunLogLine[] = [];
  let cursor = `&after=${after}`;
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

function logText(out: Terminal, { logged_at, level, message, fields }: RunLogLine): string {
  const name = level.padEnd(5);
  const shown = level === "warn" || level === "error" ? out.paint(COLOURS[level], name) : name;
  const more = Object.entries(fields).map(([key, value]) =>
    ` ${key}=${typeof value === "string" && !/[\s"=]/.test(value) ? value : JSON.stringify(value)}`
  ).join("");
  return `${out.paint("dim", logged_at)} ${shown} ${printable(message)}${
    out.paint("dim", printable(more))
  }`;
}

export const cancel: Command = {
  name: "cancel",
  summary: "cancel a waiting or running run",
  description: `Cancels a run: a waiting one at once; a running one is stopped by its server within
seconds. Chunks that are in the table stay there; \`etl retry\` loads the rest.`,
  arguments: [{ name: "ID", help: "the run's id, as `etl runs` lists them; or latest" }],
  options: {},
  examples: ["etl cancel 019eb1c9-4e5f-7a6b-8c7d-9e0f1a2b3c4d"],
  async run({ args, flags, out, connect }) {
    const api = await connect();
    const id = await runIdOf(api, args[0]!);
    const run = await post<RunDetail>(api, `/api/etl/runs/${encodeURIComponent(id)}/cancel`, {});
    if (flags.json) out.line(JSON.stringify({ run_id: run.run_id, status: run.state }));
    else if (run.state === "running") {
      out.line(
        `Run ${run.run_id} is asked to stop; the server that executes it does so within seconds.`,
      );
    } else if (run.state === "cancelled") out.line(`Run ${run.run_id} is cancelled.`);
    else out.line(`Run ${run.run_id} had ended before: it has ${run.state}.`);
    return EXIT.succeeded;
  },
};

export const retry: Command = {
  name: "retry",
  summary: "continue a failed or cancelled run where it stopped",
  description:
    `Continues a failed or cancelled run where it stopped: chunks that are in the table are not
loaded again. Without a server this process executes it.`,
  arguments: [{ name: "ID", help: "the run's id, as `etl runs` lists them; or latest" }],
  options: { wait: { type: "boolean", help: "with a server: watch the run until it has ended" } },
  examples: ["etl retry latest", "etl retry 019eb1c9-4e5f-7a6b-8c7d-9e0f1a2b3c4d --wait"],
  async run(call) {
    const api = await call.connect({ executes: true });
    const id = await runIdOf(api, call.args[0]!);
    const run = await post<RunDetail>(api, `/api/etl/runs/${encodeURIComponent(id)}/retry`, {});
    if (api.inProcess || call.flags.wait) return await watchToEnd(call, api, run.run_id);
    if (call.flags.json) call.out.line(JSON.stringify({ run_id: run.run_id, status: run.state }));
    else call.out.line(`Run ${run.run_id} is ${run.state} again.`);
    return EXIT.succeeded;
  },
};

export const replay: Command = {
  name: "replay",
  summary: "load the rejected records of a run again, as a new run",
  description:
    `Creates a new run of the open records in the quarantine of an ended run, with the current
transform and suite, or those given with --set. Accepted records are loaded, whatever the ratio. A
record that is rejected again stays open, with the new reason. Rows that a later request has written
or confirmed are not overwritten. Without a server this process executes the run.`,
  arguments: [{ name: "RUN", help: "the run's id, as `etl runs` lists them; or latest" }],
  options: {
    rule: { type: "string", value: "RULE", help: "only records that this rule has rejected" },
    set: {
      type: "string",
      multiple: true,
      value: "NAME=VALUE",
      help: "one parameter, overrides the original's; source.key=… for the mapping",
    },
    "dry-run": { type: "boolean", help: "only report what would happen to the records" },
    wait: { type: "boolean", help: "with a server: watch the run until it has ended" },
  },
  examples: [
    "etl quarantine latest",
    "etl replay latest",
    "etl replay latest --set transform=orders_fixed --dry-run",
    "etl replay 019eb1c9-4e5f-7a6b-8c7d-9e0f1a2b3c4d --rule key_missing --wait",
  ],
  async run(call) {
    const { rule } = call.text;
    const api = await call.connect({ executes: true });
    const id = await runIdOf(api, call.args[0]!);
    const set = await readConf({ set: call.lists.set ?? [] }, call.readFile);
    const { run_id, state, created } = await post<Submitted>(
      api,
      `/api/etl/runs/${id}/quarantine/replay`,
      confText({
        ...(rule === undefined ? {} : { rule }),
        set,
        dry_run: call.flags["dry-run"] ?? false,
      }),
    );
    if (!created) call.err.line(`Run ${run_id} has these records in hand already.`);
    if (api.inProcess || call.flags.wait) return await watchToEnd(call, api, run_id);
    if (call.flags.json) call.out.line(JSON.stringify({ run_id, status: state, replay_of: id }));
    else call.out.line(`Run ${run_id} is ${state}. See it with \`etl show ${run_id}\`.`);
    return EXIT.succeeded;
  },
};

interface Page {
  items: QuarantineView[];
  next: string | null;
  /** How many records each rule rejected, whatever was asked for. */
  rules: { rule: string; count: number }[];
}

export const quarantine: Command = {
  name: "quarantine",
  summary: "the rejected records of a run, with the rule that each broke",
  description:
    `Shows the rejected records of a run as they were read, and how many each rule has rejected.
After you have corrected the transform or the suite, \`etl replay\` loads them. If the source's
mapping or the data is wrong, correct it and request a new run.`,
  arguments: [{ name: "RUN", help: "the run's id, as `etl runs` lists them; or latest" }],
  options: {
    rule: { type: "string", value: "RULE", help: "only records that this rule has rejected" },
    limit: { type: "string", value: "N", help: "how many records, 1 to 1000; default 20" },
    all: { type: "boolean", help: "all records" },
    format: {
      type: "string",
      value: "csv|ndjson",
      help: "for export: rule, field, reason, file, line and the record as it was read",
    },
  },
  examples: [
    "etl quarantine latest",
    "etl quarantine latest --all --format csv > rejected.csv",
    "etl quarantine latest --rule key_missing --limit 100",
    "etl quarantine 019eb1c9-4e5f-7a6b-8c7d-9e0f1a2b3c4d --json | jq -r '.items[].raw'",
  ],
  async run(call) {
    const limit = wholeNumber(call, "limit", { least: 1, most: 1000, otherwise: 20 });
    const { rule, format } = call.text;
    const all = call.flags.all ?? false;
    if (all && call.text.limit !== undefined) {
      throw new UsageError("--all and --limit exclude each other: leave one out");
    }
    if (format !== undefined && format !== "csv" && format !== "ndjson") {
      throw new UsageError(`--format must be csv or ndjson, not '${format}'`);
    }
    const query = new URLSearchParams({
      limit: String(all ? 1000 : limit),
      ...(rule === undefined ? {} : { rule }),
    });
    const api = await call.connect();
    const id = await runIdOf(api, call.args[0]!);
    const pageAt = (cursor: string | null) => {
      if (cursor !== null) query.set("cursor", cursor);
      return request<Page>(api, `/api/etl/runs/${id}/quarantine?${query}`);
    };
    let { items, next, rules } = await pageAt(null);
    // a page of long records has fewer than were asked for
    let missing = all ? Infinity : limit - items.length;
    const more = async () => {
      if (!all) query.set("limit", String(missing));
      const page = await pageAt(next);
      missing -= page.items.length;
      next = page.next;
      return page.items;
    };
    if (format !== undefined) {
      // page by page, so that millions need no memory
      for (let first = true;; first = false) {
        for (const line of exported(items, { format, first })) call.out.line(line);
        if (missing <= 0 || next === null) return EXIT.succeeded;
        items = await more();
      }
    }
    while (missing > 0 && next !== null) items = items.concat(await more());
    if (call.flags.json) call.out.line(JSON.stringify({ items, rules }));
    else if (rules.length === 0) call.out.line(`Run ${id} has rejected no record.`);
    else print(call, { items, next, rules });
    if (items.some(({ state }) => state === "open")) {
      call.err.line(`With a corrected transform or suite: etl replay ${id}`);
    }
    return EXIT.succeeded;
  },
};

/** Columns of an export, in their order. */
const EXPORTED = [
  ...["rule", "field", "message", "file", "line", "chunk_no", "position", "output"],
  ...["state", "tries", "replayed_by", "raw", "raw_base64"],
] as const;

/** Lines of an export, without the end of the last; NDJSON is exact, CSV harmless to spreadsheets. */
function exported(
  items: QuarantineView[],
  { format, first }: { format: "csv" | "ndjson"; first: boolean },
): string[] {
  if (format === "ndjson") return items.map((item) => JSON.stringify(item));
  const text = csvText(EXPORTED, items).slice(0, -1); // the terminal ends the line
  if (first) return [text];
  return items.length === 0 ? [] : [text.slice(text.indexOf("\n") + 1)];
}

/** Where a record stands: its file and line, else its number in the run. */
export function placeOf({ file, line, chunk_no, position }: QuarantineView): string {
  if (file === null) return `chunk ${chunk_no}, record ${position}`;
  return line === null ? `${file}, chunk ${chunk_no}, record ${position}` : `${file}:${line}`;
}

function print(call: Call, { items, next, rules }: Page): void {
  const { out } = call;
  printTable(out, rules, [
    ["RECORDS", ({ count: records }) => count(records), RIGHT],
    ["RULE", ({ rule }) => rule],
  ]);
  if (items.length === 0) out.line("\nNo record was rejected by that rule.");
  for (const item of items) {
    const { rule, message, field, raw, state, tries, replayed_by } = item;
    out.line();
    const where = printable(placeOf(item));
    const why = `${rule}${field === null ? "" : ` (${field})`}: ${message}`;
    out.line(`${out.paint("dim", where)}  ${printable(why)}`);
    if (replayed_by !== null) {
      const said = state === "replayed"
        ? `replayed by run ${replayed_by}`
        : state === "replaying"
        ? `run ${replayed_by} replays it`
        : `still rejected after ${count(tries)} replay${
          tries === 1 ? "" : "s"
        }, last by run ${replayed_by}`;
      out.line(`  ${out.paint("dim", said)}`);
    }
    out.line(`  ${printable(raw)}`);
  }
  if (next !== null) {
    out.line(out.paint("dim", "\nThere are more: --limit shows up to 1000, --all all of them."));
  }
}
