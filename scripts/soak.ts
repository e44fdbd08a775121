/**
 * `deno task soak [--minutes N] [--servers N] [--seed N]`: random requests
 * under random faults on several servers and a PostgreSQL of its own, then a
 * check that nothing was lost, doubled or left. Exit code 1 where something was.
 */
import { parseArgs } from "node:util";
import { ownCluster } from "../tests/helpers/postgres.ts";
import { soak } from "../tests/faults/soak.ts";
import { runScript } from "./run_script.ts";
import { setupDatabase } from "./setup_db.ts";

const HELP = `Usage: deno task soak [--minutes N] [--servers N] [--seed N]

Random requests under random faults; then checks that nothing was lost, doubled or left.

  --minutes N  how long; default 2
  --servers N  on how many servers; default 3
  --seed N     chooses the same requests and faults as the run that showed it
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      minutes: { type: "string", default: "2" },
      servers: { type: "string", default: "3" },
      seed: { type: "string" },
    },
  });
  const minutes = Number(values.minutes);
  const servers = Number(values.servers);
  if (!(minutes > 0) || !(servers >= 1)) {
    console.error("--minutes must be more than 0, --servers 1 or more");
    return 2;
  }
  await using cluster = await ownCluster({ durable: true });
  await setupDatabase(cluster.dsn);
  const started = performance.now();
  const result = await soak({
    dsn: cluster.dsn,
    durationMs: minutes * 60_000,
    servers,
    cluster,
    ...(values.seed === undefined ? {} : { seed: Number(values.seed) }),
    say: (line) => console.log(`${((performance.now() - started) / 1000).toFixed(1)} s  ${line}`),
  });
  console.log(result);
  console.log("Nothing was lost, doubled or left.");
  return 0;
}

await runScript(main, { help: HELP });
