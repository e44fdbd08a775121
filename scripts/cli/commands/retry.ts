import type { RunDetail } from "../../../store/run_views.ts";
import { post } from "../api.ts";
import type { Command } from "../command.ts";
import { runIdOf, watchToEnd } from "../execute.ts";
import { EXIT } from "../exit_codes.ts";

export const retry: Command = {
  name: "retry",
  summary: "take up a failed or cancelled run where it stopped",
  description:
    `Takes up a failed or cancelled run where it stopped: chunks that are in the table are not
loaded again. Without a server it is executed in this process.`,
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
