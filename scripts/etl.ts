/** `deno task etl`: the command line. */
import { resolve } from "node:path";
import { cli } from "./cli/main.ts";

const env = Deno.env.toObject();
Deno.exit(
  await cli({
    args: Deno.args,
    env,
    ownProcess: true,
    projectDir: resolve(import.meta.dirname ?? ".", ".."),
    // deno task changes to the project's directory and tells where it was called
    cwd: env.INIT_CWD || Deno.cwd(),
  }),
);
