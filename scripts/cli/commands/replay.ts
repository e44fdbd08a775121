import type { Submitted } from "../../../store/runs.ts";
import { post } from "../api.ts";
import type { Command } from "../command.ts";
import { runIdOf, watchToEnd } from "../execute.ts";
import { EXIT } from "../exit_codes.ts";

export const replay: Command = {
  name: "replay",
  summary: "load the records that a run rejected again, as a new run",
  description:
    `Makes a new run of the records in the quarantine of a run that has ended, with today's
transform and suite; what it accepts is loaded, whatever the ratio. Each record is replayed once;
one that is rejected again is in the quarantine of the new run. Without a server the run is
executed in this process.`,
  arguments: [{ name: "RUN", help: "the run's id, as `etl runs` lists them; or latest" }],
  options: {
    rule: { type: "string", value: "RULE", help: "only records that this rule has rejected" },
    wait: { type: "boolean", help: "with a server: watch the run until it has ended" },
  },
  examples: [
    "etl quarantine latest",
    "etl replay latest",
    "etl replay 019eb1c9-4e5f-7a6b-8c7d-9e0f1a2b3c4d --rule key_missing --wait",
  ],
  async run(call) {
    const { rule } = call.text;
    const api = await call.connect({ executes: true });
    const id = await runIdOf(api, call.args[0]!);
    const query = rule === undefined ? "" : `?${new URLSearchParams({ rule })}`;
    const { run_id, state } = await post<Submitted>(
      api,
      `/api/etl/runs/${id}/quarantine/replay${query}`,
      {},
    );
    if (api.inProcess || call.flags.wait) return await watchToEnd(call, api, run_id);
    if (call.flags.json) call.out.line(JSON.stringify({ run_id, status: state, replay_of: id }));
    else call.out.line(`Run ${run_id} is ${state}. See it with \`etl show ${run_id}\`.`);
    return EXIT.succeeded;
  },
};
