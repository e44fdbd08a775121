import { parseConf } from "../../../pipeline/conf_errors.ts";
import type { Submitted } from "../../../store/runs.ts";
import { post } from "../api.ts";
import type { Command } from "../command.ts";
import { confText, readConf } from "../conf_input.ts";
import { watchToEnd } from "../execute.ts";
import { EXIT } from "../exit_codes.ts";
import { paramsHelp } from "../help.ts";

export const run: Command = {
  name: "run",
  summary: "load data: ask for a run and, in process or with --wait, watch it to its end",
  description:
    `Asks for a run. Without a server it is executed in this process, which ends with it; a
server answers with the run's id at once, unless --wait is given.`,
  options: {
    conf: {
      type: "string",
      value: "JSON",
      help: "parameters of the run; @FILE reads them from a file, @- from the standard input",
    },
    configuration: {
      type: "string",
      value: "NAME",
      help: "start from a saved configuration; what --conf, --source and --set say goes over it",
    },
    set: {
      type: "string",
      multiple: true,
      value: "NAME=VALUE",
      help: "one parameter, over those of --conf; source.path=… for members",
    },
    source: { type: "string", value: "JSON", help: "the source alone, over that of --conf" },
    wait: { type: "boolean", help: "with a server: watch the run until it has ended" },
    "idempotency-key": {
      type: "string",
      value: "KEY",
      help: "asking again with the same key and conf gives the same run",
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
    const { run_id, state, created, skipped } = submitted;
    if (skipped) {
      call.err.line(
        `No run was made: run ${run_id} of the same label is going on (overlap: skip).`,
      );
    } else if (!created) {
      call.err.line(`Run ${run_id} was asked for with this key before.`);
    }
    if (!skipped && (api.inProcess || call.flags.wait)) return await watchToEnd(call, api, run_id);
    if (call.flags.json) {
      call.out.line(JSON.stringify({ run_id, status: state, created, skipped }));
    } else if (!skipped) {
      call.out.line(`Run ${run_id} is ${state}. See it with \`etl show ${run_id}\`.`);
    }
    return EXIT.succeeded;
  },
};
