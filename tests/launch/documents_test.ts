import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { dirname, join, resolve } from "node:path";
import { testDatabase } from "../helpers/postgres.ts";
import { runCli } from "../helpers/cli.ts";
import { startServer } from "../helpers/server.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");

/**
 * Pages whose blocks are executed; a block of them that is not says so by having no `run`. A page that speaks to
 * localhost:8080 has a server there.
 */
const EXECUTED = [
  "docs/alerts.md",
  "docs/first_table.md",
  "docs/maintenance.md",
  "docs/schedules.md",
  "docs/typed_tables.md",
  "docs/typed_views.md",
  "README.md",
];

/** Files that a page's reader has. */
const SALES = "id,sold_at,amount\n1,2026-01-01T10:00:00Z,19.90\n2,no time,5\n";
const FILES: Record<string, Record<string, string>> = {
  "README.md": {
    "orders.csv": "order_id,ordered_at,amount\nA-1,2026-01-01T10:00:00Z,19.90\n",
    "sales.csv": SALES,
    "sales/2026-01.csv.gz": SALES,
    "nightly.json": '{"batch_size": 1000}',
    "sales.json": JSON.stringify({
      min_acceptance_ratio: 0,
      source: { type: "file", path: "sales.csv", name: "sales", key: "id", occurred_at: "sold_at" },
    }),
  },
};
const SERVER = "localhost:8080";

interface Block {
  command: string;
  /** Lines of the answer in their order; … stands for anything. Empty: nothing is promised. */
  promised: string[];
}

/** ```sh run and ```sql run blocks of a page, each with the ```out block behind it. */
function blocksOf(page: string): Block[] {
  const blocks: Block[] = [];
  for (const [, info, body = ""] of page.matchAll(/^```(sh run|sql run|out)\n([\s\S]*?)^```$/gm)) {
    if (info === "sh run") blocks.push({ command: body, promised: [] });
    else if (info === "sql run") {
      blocks.push({
        command: `psql "$KPIS_PG_DSN" -v ON_ERROR_STOP=1 <<'END_OF_SQL'\n${body}END_OF_SQL\n`,
        promised: [],
      });
    } else blocks.at(-1)!.promised.push(...body.split("\n").filter((line) => line.trim() !== ""));
  }
  return blocks;
}

const spaced = (line: string) => line.trim().replace(/\s+/g, " ");

/** The first promised line that an answer does not have, in order; undefined: it has all. */
function missing({ promised }: Block, answer: string): string | undefined {
  const lines = answer.split("\n").map(spaced);
  let at = 0;
  return promised.find((line) => {
    const pattern = new RegExp(`^${spaced(line).split("…").map(RegExp.escape).join(".*")}$`);
    const found = lines.findIndex((each, n) => n >= at && pattern.test(each));
    at = found + 1;
    return found < 0;
  });
}

/**
 * A folder with `etl` in its path, as docs/first_table.md makes it. The command is executed in this process, where it is
 * loaded already: package_test.ts and launcher_test.ts have it as a process of its own.
 */
async function folder() {
  const dir = await Deno.makeTempDir({ prefix: "etl_document_" });
  await Deno.mkdir(`${dir}/bin`);
  await Deno.mkdir(`${dir}/work`);
  const command = (name: string, text: string) =>
    Deno.writeTextFile(`${dir}/bin/${name}`, `#!/bin/sh\n${text}`, { mode: 0o755 });
  // curl says with its exit code whether it was answered well
  await command("curl", 'exec /usr/bin/curl -sS --fail-with-body "$@"\n');
  // sent: where to write what it says, where it was called, how many arguments it has, those, and the variables
  await command(
    "etl",
    `said=$(mktemp -d)
{ printf '%s\\0' "$said" "$PWD" "$#" "$@"; env -0; } |
  /usr/bin/curl -sS --fail --unix-socket '${dir}/etl.sock' --data-binary @- http://etl/ || exit 99
cat "$said/err" >&2
cat "$said/out"
exit "$(cat "$said/code")"
`,
  );
  // in a checkout: \`deno task etl …\`
  await command("deno", '[ "$1 $2" = "task etl" ] && shift 2 && exec etl "$@"\n');
  const server = Deno.serve({ path: `${dir}/etl.sock`, onListen: () => {} }, async (request) => {
    const [said, cwd, count, ...rest] = (await request.text()).split("\0");
    const variables = rest.slice(Number(count)).filter((each) =>
      /^(ETL_|KPIS_|NO_COLOR)/.test(each)
    )
      .map((each) => [each.slice(0, each.indexOf("=")), each.slice(each.indexOf("=") + 1)]);
    const { code, out, err } = await runCli(rest.slice(0, Number(count)), {
      env: { ...Object.fromEntries(variables), ETL_TOOL: "etl", INIT_CWD: cwd! },
    });
    const ended = (text: string) => text === "" ? "" : `${text}\n`;
    await Deno.writeTextFile(`${said}/out`, ended(out));
    await Deno.writeTextFile(`${said}/err`, ended(err));
    await Deno.writeTextFile(`${said}/code`, String(code));
    return new Response();
  });
  return {
    dir,
    async [Symbol.asyncDispose]() {
      await server.shutdown();
      await Deno.remove(dir, { recursive: true });
    },
  };
}

for (const name of EXECUTED) {
  Deno.test(`${name}: its commands run in order and answer what it promises`, async (t) => {
    await using db = await testDatabase(t);
    await using place = await folder();
    for (const [file, text] of Object.entries(FILES[name] ?? {})) {
      await Deno.mkdir(dirname(`${place.dir}/work/${file}`), { recursive: true });
      await Deno.writeFile(
        `${place.dir}/work/${file}`,
        file.endsWith(".gz") ? gzipSync(text) : new TextEncoder().encode(text),
      );
    }
    const page = await Deno.readTextFile(join(ROOT, name));
    await using server = blocksOf(page).some(({ command }) => command.includes(SERVER))
      ? await startServer({ dsn: db.dsn, env: { ETL_DATA_DIR: `${place.dir}/work` } })
      : null;
    const blocks = blocksOf(page).map(({ command, promised }) => ({
      command: command.replaceAll(SERVER, server?.address.replace("http://", "") ?? SERVER),
      promised,
    }));
    // one shell, so that a later block has what an earlier one set; every command of a block counts, not its last alone
    const script = [
      "set -e; exec 3>&2; trap 'code=$?; [ $code = 0 ] || echo \"block $N: exit code $code\" >&3' EXIT",
      ...blocks.map(({ command }, n) => `N=${n}; exec >"$OUT/${n}" 2>&1\n${command}`),
    ];
    const { code, stderr } = await new Deno.Command("bash", {
      args: ["-c", script.join("\n")],
      cwd: `${place.dir}/work`,
      env: {
        PATH: `${place.dir}/bin:${Deno.env.get("PATH")}`,
        KPIS_PG_DSN: db.dsn,
        ETL_DATA_DIR: `${place.dir}/work`,
        ETL_SPOOL_DIR: `${place.dir}/spool`,
        ETL_WORKERS: "1",
        NO_COLOR: "1",
        PAGER: "cat",
        OUT: place.dir,
      },
      stdin: "null",
    }).output();
    const answers = blocks.map((_, n) => {
      try {
        return Deno.readTextFileSync(`${place.dir}/${n}`);
      } catch {
        return "(did not run)";
      }
    });
    assert.equal(code, 0, `${new TextDecoder().decode(stderr)}\n${answers.join("\n---\n")}`);
    for (const [n, block] of blocks.entries()) {
      const line = missing(block, answers[n]!);
      assert.equal(line, undefined, `block ${n} does not answer: ${line}\n${answers[n]}`);
    }
  });
}

Deno.test("every page that is executed has commands, and pages that say why not have none", async () => {
  for await (const { name } of Deno.readDir(join(ROOT, "docs"))) {
    if (!name.endsWith(".md")) continue;
    const text = await Deno.readTextFile(join(ROOT, "docs", name));
    const blocks = blocksOf(text);
    if (EXECUTED.includes(`docs/${name}`)) assert.ok(blocks.length > 0, name);
    else assert.equal(blocks.length, 0, `${name} has commands marked as run: add it to EXECUTED`);
    const [, why] = /<!-- not run: (.*?) -->/.exec(text) ?? [];
    if (why !== undefined) assert.equal(blocks.length, 0, name);
    // who has commands runs them, or says why not, and who holds them instead
    if (/^ *```(?:sh|sql)$/m.test(text) && blocks.length === 0) {
      assert.notEqual(
        why,
        undefined,
        `${name} has commands: mark them as run, or say "not run: why"`,
      );
    }
    for (const [path] of why?.matchAll(/tests\/[\w/]+\.ts/g) ?? []) {
      assert.ok((await Deno.stat(join(ROOT, path))).isFile, `${name}: ${path}`);
    }
  }
});
