import { testDatabase } from "../helpers/postgres.ts";
import { LONG } from "./matrix.ts";
import { soak } from "./soak.ts";
import { lacks } from "../helpers/needs.ts";

Deno.test({
  name: "soak: a minute of random requests under random faults leaves what a model says",
  ignore: lacks(LONG, "`deno task test:full` has the long tests"),
  async fn(t) {
    await using db = await testDatabase(t);
    const result = await soak({ dsn: db.dsn, durationMs: 60_000, say: console.log });
    console.log(result);
  },
});
