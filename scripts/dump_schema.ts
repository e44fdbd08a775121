/**
 * `deno task dump-schema`: writes sql/schema.dump.txt, what a new database holds after
 * sql/etl_setup.sql, from a PostgreSQL of its own that is gone afterwards.
 */
import { schemaDump } from "../store/schema_dump.ts";
import { connect } from "../store/pg.ts";
import { startTestCluster, testClusterDir } from "../tests/helpers/clusters.ts";
import { runScript } from "./run_script.ts";

async function main(): Promise<number> {
  const dir = testClusterDir(`dump-${Deno.pid}`);
  const cluster = await startTestCluster(dir, { kind: "embedded" });
  try {
    const client = await connect(cluster.dsn);
    try {
      const read = (name: string) => new URL(`../sql/${name}`, import.meta.url);
      await client.query(await Deno.readTextFile(read("etl_setup.sql")));
      await Deno.writeTextFile(read("schema.dump.txt"), await schemaDump(client));
    } finally {
      await client.end();
    }
  } finally {
    await cluster.stop();
    await Deno.remove(dir, { recursive: true }).catch(() => {});
  }
  console.log("sql/schema.dump.txt was written: commit it with the change.");
  return 0;
}

await runScript(main);
