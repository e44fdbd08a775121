import type { RunDetail } from "../../../store/run_views.ts";
import { post } from "../api.ts";
import type { Command } from "../command.ts";
import { runIdOf } from "../execute.ts";
import { EXIT } from "../exit_codes.ts";

export const cancel: Command = {
  name: "cancel",
  summary: "cancel a run that waits or goes on",
  description:
    `Cancels a run: one that waits at once; one that goes on is stopped by its server within
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
