import { followRun } from "../run_follow.ts";
import { type Api, post } from "../api.ts";
import type { Call, Command } from "../command.ts";
import { EXIT, type ExitCode, UsageError } from "../exit_codes.ts";
import { localText } from "../schedule_text.ts";
import { table } from "../table.ts";

interface Backfill {
  schedule: string;
  preview: boolean;
  runs: number;
  kept: number;
  items: {
    slot: string;
    local: string;
    action: "run" | "kept";
    run_id: string | null;
    state_before: string | null;
  }[];
}

export const backfill: Command = {
  name: "backfill",
  summary: "run past slots of a schedule, each once",
  description:
    `Runs the slots of a schedule between two times that have no run, or whose run failed or was
cancelled. Slots whose run waits, goes on or has succeeded are kept, so that it may be repeated.
The runs wait for each other. Without a server they are executed in this process.`,
  arguments: [{ name: "NAME", help: "the schedule" }],
  options: {
    from: {
      type: "string",
      value: "TIME",
      help: "first slot: a day or local time of the schedule's zone, or an instant (…Z)",
    },
    to: { type: "string", value: "TIME", help: "last slot, a day to its end; default now" },
    preview: { type: "boolean", help: "only list the slots and what would be done" },
    wait: { type: "boolean", help: "with a server: wait until the runs have ended" },
  },
  examples: [
    "etl backfill nightly --from 2026-12-01 --to 2026-12-31 --preview",
    "etl backfill nightly --from 2026-12-01 --to 2026-12-31",
    "etl backfill hourly --from 2026-12-24T00:00 --to 2026-12-24T12:00 --wait",
  ],
  async run(call) {
    const { text, flags, args, out } = call;
    const [name = ""] = args;
    if (text.from === undefined) {
      throw new UsageError("etl backfill needs --from: the day or time of the first slot");
    }
    const preview = flags.preview === true;
    const api = await call.connect({ executes: !preview });
    const done = await post<Backfill>(api, `/api/schedules/${encodeURIComponent(name)}/backfill`, {
      from: text.from,
      ...(text.to === undefined ? {} : { to: text.to }),
      preview,
    });
    const states = !preview && (api.inProcess || flags.wait)
      ? await waitForAll(call, api, done)
      : new Map<string, string>();
    if (flags.json) {
      const items = done.items.map((each) => ({
        ...each,
        status: states.get(each.run_id ?? "") ?? null,
      }));
      out.line(JSON.stringify({ ...done, items }));
    } else {
      for (const line of lines(call, done, states)) out.line(line);
    }
    return exitCode([...states.values()]);
  },
};

/** Waits for the runs that were made, in the order in which they are executed; answers their states. */
async function waitForAll(call: Call, api: Api, done: Backfill): Promise<Map<string, string>> {
  const states = new Map<string, string>();
  const made = done.items.filter(({ action, run_id }) => action === "run" && run_id !== null);
  for (const [i, { run_id, local }] of made.entries()) {
    const { state } = await followRun(api, run_id!, {
      onChange: (run) =>
        call.err.draw([
          call.err.paint("dim", `  ${i + 1} of ${made.length}: ${localText(local)} ${run.state} …`),
        ]),
      signal: call.signals.signal,
    });
    states.set(run_id!, state);
  }
  call.err.draw([]);
  return states;
}

function lines({ out }: Call, done: Backfill, states: Map<string, string>): string[] {
  if (done.items.length === 0) return [`Schedule ${done.schedule} has no slots in this time.`];
  const what = ({ action, run_id, state_before: before }: Backfill["items"][number]) => {
    if (action === "kept") return `kept (${before === "requested" ? "done" : before})`;
    if (done.preview) return before === null ? "would be run" : `would be run (${before})`;
    return states.get(run_id ?? "") ?? "asked for";
  };
  const [title, ...rows] = table(
    [{ title: "SLOT" }, { title: "WHAT" }, { title: "RUN" }],
    done.items.map((each) => [localText(each.local), what(each), each.run_id ?? ""]),
  );
  const failed = [...states.values()].filter((state) => state !== "succeeded").length;
  return [
    out.paint("bold", title!),
    ...rows,
    "",
    done.preview
      ? `${done.runs} slots would be run, ${done.kept} kept.`
      : `${done.runs} slots run, ${done.kept} kept${
        failed > 0 ? `; ${failed} did not succeed` : ""
      }.`,
  ];
}

function exitCode(states: string[]): ExitCode {
  if (states.includes("failed")) return EXIT.failed;
  return states.includes("cancelled") ? EXIT.cancelled : EXIT.succeeded;
}
