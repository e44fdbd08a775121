import type { Comparison } from "../../../store/compare.ts";
import type { RunView } from "../../../vocabulary/run_schema.ts";
import { count } from "../../terminal.ts";
import { post, request } from "../api.ts";
import type { Command } from "../command.ts";
import { readConf } from "../conf_input.ts";
import { EXIT, UsageError } from "../exit_codes.ts";
import { printable } from "../text.ts";
import { delay } from "../../../store/retry.ts";

const LOOK_MS = 200;

export const compare: Command = {
  name: "compare",
  summary: "compare a dataset with another table, or with a source",
  description:
    `Compares keys and values of a dataset with another table (of events, of the original's shape, or
with the columns of a typed dataset), or with a source, which a dry run reads from its beginning.
Nothing is written to either. Lists in how many rows each field differs, and the first 10 rows of
each kind with both values. Exits with 0 if both are equal, with 1 if they differ or records of the
source are rejected.`,
  arguments: [
    { name: "DATASET", help: "schema.table" },
    {
      name: "TABLE",
      help: "the other table, schema.table; or use --source or --conf",
      optional: true,
    },
  ],
  options: {
    source: {
      type: "string",
      value: "JSON",
      help: "the source to read; @FILE reads it from a file",
    },
    conf: { type: "string", value: "JSON", help: "conf of the dry run" },
  },
  examples: [
    "etl compare public.etl_improved_events airflow.etl_improved_events",
    `etl compare public.etl_improved_events --source @source.json`,
  ],
  async run(call) {
    const { args: [dataset, table], text, out, flags, readFile, signals } = call;
    if (dataset === undefined || !/^[^.]+\.[^.]+$/.test(dataset)) {
      throw new UsageError("etl compare needs a dataset, written schema.table");
    }
    const bySource = text.source !== undefined || text.conf !== undefined;
    if (bySource === (table !== undefined)) {
      throw new UsageError("etl compare needs either another table, or --source or --conf");
    }
    const path = `/api/datasets/${encodeURIComponent(dataset)}/compare`;
    const api = await call.connect({ executes: bySource });
    let body: Record<string, unknown> = { table };
    if (bySource) {
      const conf = await readConf({ conf: text.conf, source: text.source, set: [] }, readFile);
      const [schema_name, table_name] = dataset.split(".");
      let run = await post<RunView>(api, "/api/etl/run", {
        ...conf,
        schema_name,
        table_name,
        dry_run: true,
        compare: true,
      });
      while (run.ended_at === null || run.ended_at === undefined) {
        await delay(LOOK_MS, signals.signal);
        signals.signal.throwIfAborted();
        run = await request<RunView>(api, `/api/etl/runs/${run.run_id}`);
      }
      if (run.state !== "succeeded") {
        throw new Error(`the dry run ${run.run_id} ended as ${run.state}: ${run.error?.detail}`);
      }
      body = { run_id: run.run_id };
    }
    const found = await post<Comparison>(api, path, body);
    const { rejected = 0 } = found;
    const isEqual = found.different + found.only_in_dataset + found.only_in_other + rejected === 0;
    if (flags.json) out.line(JSON.stringify(found));
    else {
      out.line(
        `${count(found.equal)} equal, ${count(found.different)} different, ` +
          `${count(found.only_in_dataset)} only in ${dataset}, ${
            count(found.only_in_other)
          } only in ${found.other}`,
      );
      if (rejected > 0) {
        out.line(`${count(rejected)} rejected: etl quarantine ${body.run_id} shows them`);
      }
      for (const [field, rows] of Object.entries(found.fields)) {
        out.line(printable(`  ${field} differs in ${count(rows)}`));
      }
      for (const { event_id, what, dataset: ours, other } of found.differences) {
        const values = [ours, other].filter((row) => row !== null).map((row) =>
          JSON.stringify(row)
        );
        out.line(printable(`  ${event_id} ${what}: ${values.join(" and ")}`));
      }
    }
    return isEqual ? EXIT.succeeded : EXIT.failed;
  },
};
