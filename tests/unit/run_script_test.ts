import assert from "node:assert/strict";
import { join } from "node:path";

const path = (name: string) => new URL(`../../scripts/${name}`, import.meta.url).pathname;

async function run(file: string, ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-check", file, ...args],
    env: { ETL_DEBUG: "", NO_COLOR: "1", KPIS_PG_DSN: "postgres://nobody@127.0.0.1:1/none" },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  return { code, out: text(stdout), err: text(stderr) };
}

Deno.test("a wrong command line ends with 2 and points to --help where there is one, which changes nothing", async () => {
  const dir = await Deno.makeTempDir();
  const script = async (name: string, options: string) => {
    const file = join(dir, name);
    await Deno.writeTextFile(
      file,
      `import { parseArgs } from "node:util";
      import { runScript, WrongUse } from ${JSON.stringify(path("run_script.ts"))};
      await runScript(async () => {
        const { values } = parseArgs({ options: { halves: { type: "boolean" } } });
        if (values.halves) throw new WrongUse("--halves needs --of");
        console.log("done");
        return 3;
      }${options});`,
    );
    return file;
  };
  const [helpful, terse] = await Promise.all([
    script("helpful.ts", ', { help: "Usage: it" }'),
    script("terse.ts", ""),
  ]);
  const points = "\n--help tells how it is used.";
  const [done, long, short, halves, unknown, terseHalves, terseUnknown, terseHelp] = await Promise
    .all([
      run(helpful),
      run(helpful, "--help"),
      run(helpful, "-h"),
      run(helpful, "--halves"),
      run(helpful, "--unknown"),
      run(terse, "--halves"),
      run(terse, "--unknown"),
      run(terse, "--help"),
    ]);
  await Deno.remove(dir, { recursive: true });
  assert.deepEqual(done, { code: 3, out: "done", err: "" });
  for (const help of [long, short]) {
    assert.deepEqual(help, { code: 0, out: "Usage: it", err: "" });
  }
  assert.deepEqual(halves, { code: 2, out: "", err: `error: --halves needs --of${points}` });
  assert.deepEqual(terseHalves, { code: 2, out: "", err: "error: --halves needs --of" });
  assert.deepEqual([unknown.code, terseUnknown.code, terseHelp.code], [2, 2, 2]);
  assert.ok(unknown.err.startsWith("error: Unknown option '--unknown'"), unknown.err);
  assert.equal(unknown.err, terseUnknown.err + points);
});

Deno.test("the tasks of a checkout say how they are used", async () => {
  const tasks = ["start", "setup_db", "test"];
  const helps = await Promise.all(tasks.map((name) => run(path(`${name}.ts`), "--help")));
  for (const [i, help] of helps.entries()) {
    assert.deepEqual([help.code, help.err], [0, ""]);
    assert.ok(help.out.startsWith(`Usage: deno task ${tasks[i]!.replace("_", "-")}`), help.out);
  }
});
