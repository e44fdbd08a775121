import type { QuarantineView } from "../../../store/quarantine_views.ts";
import { count } from "../../terminal.ts";
import { printTable, wholeNumber } from "../actions.ts";
import { request } from "../api.ts";
import type { Call, Command } from "../command.ts";
import { runIdOf } from "../execute.ts";
import { EXIT } from "../exit_codes.ts";
import { printable } from "../printable.ts";

interface Page {
  items: QuarantineView[];
  next: string | null;
  /** How many records each rule rejected, whatever was asked for. */
  rules: { rule: string; count: number }[];
}

export const quarantine: Command = {
  name: "quarantine",
  summary: "records that a run rejected: the rule that each broke, and the raw record",
  description:
    `Shows the records of a run that broke a rule, as they were read, and how many each rule has
rejected. With a corrected transform or suite \`etl replay\` loads them; where the source's mapping or
the data is wrong, correct that and ask for a new run.`,
  arguments: [{ name: "RUN", help: "the run's id, as `etl runs` lists them; or latest" }],
  options: {
    rule: { type: "string", value: "RULE", help: "only records that this rule has rejected" },
    limit: { type: "string", value: "N", help: "how many records, 1 to 1000; default 20" },
  },
  examples: [
    "etl quarantine latest",
    "etl quarantine latest --rule key_missing --limit 100",
    "etl quarantine 019eb1c9-4e5f-7a6b-8c7d-9e0f1a2b3c4d --json | jq -r '.items[].raw'",
  ],
  async run(call) {
    const limit = wholeNumber(call, "limit", { least: 1, most: 1000, otherwise: 20 });
    const { rule } = call.text;
    const query = new URLSearchParams({
      limit: String(limit),
      ...(rule === undefined ? {} : { rule }),
    });
    const api = await call.connect();
    const id = await runIdOf(api, call.args[0]!);
    const { items, next, rules } = await request<Page>(
      api,
      `/api/etl/runs/${id}/quarantine?${query}`,
    );
    if (call.flags.json) call.out.line(JSON.stringify({ items, rules }));
    else if (rules.length === 0) call.out.line(`Run ${id} has rejected no record.`);
    else print(call, { items, next, rules });
    if (items.some(({ state }) => state === "open")) {
      call.err.line(`With a corrected transform or suite: etl replay ${id}`);
    }
    return EXIT.succeeded;
  },
};

/** Where a record stands: its file and line, else its number in the run. */
export function placeOf({ file, line, chunk_no, position }: QuarantineView): string {
  if (file === null) return `chunk ${chunk_no}, record ${position}`;
  return line === null ? `${file}, chunk ${chunk_no}, record ${position}` : `${file}:${line}`;
}

function print(call: Call, { items, next, rules }: Page): void {
  const { out } = call;
  printTable(
    call,
    [{ title: "RECORDS", align: "right" }, { title: "RULE" }],
    rules.map(({ rule, count: records }) => [count(records), rule]),
  );
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
  if (next !== null) out.line(out.paint("dim", "\nThere are more: --limit shows up to 1000."));
}
