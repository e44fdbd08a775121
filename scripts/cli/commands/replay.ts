import type { Submitted } from "../../../store/runs.ts";
import { post } from "../api.ts";
import type { Command } from "../command.ts";
import { confText, readConf } from "../conf_input.ts";
import { runIdOf, watchToEnd } from "../execute.ts";
import { EXIT } from "../exit_codes.ts";

export const replay: Command = {
  name: "replay",
  summary: "load the records that a run rejected again, as a new run",
  description:
    `Makes a new run of the open records in the quarantine of a run that has ended, with today's
transform and suite or what --set says; what it accepts is loaded, whatever the ratio. A record that
is rejected again is open again, with the new reason. Rows that a later request has written or
confirmed are not overwritten. Without a server the run is executed in this process.`,
  arguments: [{ name: "RUN", help: "the run's id, as `etl runs` lists them; or latest" }],
  options: {
    rule: { type: "string", value: "RULE", help: "only records that this rule has rejected" },
    set: {
      type: "string",
      multiple: true,
      value: "NAME=VALUE",
      help: "one parameter, over the original's; source.key=… for members of the mapping",
    },
    "dry-run": { type: "boolean", help: "only say what would become of the records" },
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
