import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { SHIPPED } from "../../../pipeline/sources/modules/source.ts";
import { type Action, type Call, type Command, printList, runAction } from "../command.ts";
import { EXIT, type ExitCode, UsageError } from "../exit_codes.ts";
import { preview } from "./preview.ts";

const PROJECT = fileURLToPath(new URL("../../../", import.meta.url));
const DEFINE = fileURLToPath(
  new URL("../../../pipeline/sources/modules/define.ts", import.meta.url),
);

export const source: Command = {
  name: "source",
  summary: "source modules: list, new, try",
  description: `Source modules read APIs and databases: those of the program (${
    SHIPPED.join(", ")
  }) and files of your
own in ETL_SOURCES_DIR (docs/sources.md).

  etl source list        all of them
  etl source new NAME    write a commented example to ETL_SOURCES_DIR
  etl source try NAME    show how its first records would be stored; writes nothing`,
  arguments: [
    { name: "ACTION", help: "list, new or try" },
    { name: "NAME", help: "the module: its file without .ts", optional: true },
  ],
  actions: () => Object.keys(ACTIONS),
  options: {
    config: { type: "string", value: "JSON", help: "try: the module's settings" },
    connection: {
      type: "string",
      multiple: true,
      value: "NAME",
      help: "try: a connection that it may use",
    },
    key: { type: "string", value: "FIELD", help: "try: the field that identifies a record" },
  },
  examples: [
    "etl source new crm",
    "etl source try crm --connection crm --key id",
    `etl source try sqlite --config '{"path": "shop.db", "table": "items"}'`,
  ],
  run: (call) => runAction("source", ACTIONS, call),
};

const ACTIONS: Record<string, Action> = {
  list: { run: list },
  new: { needs: "a name, such as crm", run: begin },
  try: { needs: "the name of a module", run: tryModule },
};

function sourcesDir(): string {
  return resolve(PROJECT, Deno.env.get("ETL_SOURCES_DIR") || "sources");
}

async function list(call: Call): Promise<ExitCode> {
  const own: string[] = [];
  try {
    for await (const { name } of Deno.readDir(sourcesDir())) {
      const [, module] = /^([a-z][a-z0-9_]{0,63})\.ts$/.exec(name) ?? [];
      if (module !== undefined && !SHIPPED.includes(module)) own.push(module);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const all = [
    ...SHIPPED.map((name) => ({ name, origin: "the program" })),
    ...own.sort().map((name) => ({ name, origin: sourcesDir() })),
  ];
  return printList(call, all, {
    columns: [["MODULE", ({ name }) => name], ["FROM", ({ origin }) => origin]],
  });
}

async function begin(call: Call, name: string): Promise<ExitCode> {
  if (!/^[a-z][a-z0-9_]{0,63}$/.test(name) || SHIPPED.includes(name)) {
    throw new UsageError(
      `a module is called by lower-case letters, digits and _, and not ${SHIPPED.join(", ")}: ` +
        `'${name}' is not possible`,
    );
  }
  const path = `${sourcesDir()}/${name}.ts`;
  const define = relative(dirname(path), DEFINE);
  await Deno.mkdir(dirname(path), { recursive: true });
  await call.writeNewFile(path, example(name, sourcesDir().startsWith(PROJECT) ? define : DEFINE));
  call.out.line(path);
  call.err.line(`Look at what it gives: etl source try ${name}`);
  return EXIT.succeeded;
}

async function tryModule(call: Call, name: string): Promise<ExitCode> {
  let config: unknown = {};
  try {
    config = JSON.parse(call.text.config ?? "{}");
  } catch (error) {
    throw new UsageError(`--config is not JSON: ${(error as Error).message}`);
  }
  const conf = {
    type: "module",
    name,
    config,
    connections: call.lists.connection ?? [],
    ...(call.text.key === undefined ? {} : { key: call.text.key }),
  };
  const text = { ...call.text, source: JSON.stringify(conf), config: undefined };
  return await preview.run({ ...call, text, lists: { set: [] }, args: [] });
}

function example(name: string, define: string): string {
  return `import { defineSource, z } from ${JSON.stringify(define)};

// docs/sources.md explains everything here. It runs without network, files and secrets of its own:
// ctx.fetchJson and ctx.fetch ask the servers below, with the credentials of the conf's connections.
export default defineSource({
  // what source.config may hold
  config: z.object({ pages: z.number().int().min(1).default(2) }),
  // servers that it asks, besides those of its connections: ["api.example.com"]
  hosts: [],
  // the field that grows with every change; its highest value is the next run's ctx.since
  // cursor: "updated_at",
  // parts that are read side by side; leave it out where there is one
  plan: ({ config }) => Array.from({ length: config.pages }, (_, page) => ({ page })),
  async *read({ page }, _ctx) {
    // const { data } = await ctx.fetchJson(\`orders?page=\${page}\`);
    // yield data as object[];
    for (let n = 0; n < 10; n++) yield { id: \`${name}-\${page}-\${n}\`, page, n };
  },
});
`;
}
