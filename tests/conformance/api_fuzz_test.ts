import assert from "node:assert/strict";
import { killTree } from "../../scripts/process_tree.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { pythonVenv } from "../helpers/python.ts";
import { startServer } from "../helpers/server.ts";

/** Requests of each operation; `ETL_TEST_FUZZ_EXAMPLES=1000` looks longer. */
const EXAMPLES = Deno.env.get("ETL_TEST_FUZZ_EXAMPLES") ?? "10";
/** The same seed asks the same; `ETL_TEST_FUZZ_SEED=random` looks elsewhere. */
const SEED = Deno.env.get("ETL_TEST_FUZZ_SEED") ?? "1";
const LIMIT_MS = 1_000 * Number(Deno.env.get("ETL_TEST_FUZZ_SECONDS") ?? 1_800);

const TOKEN = "a-token-of-the-environment-0123456789";

const here = (name: string) => new URL(name, import.meta.url).pathname;

Deno.test("a property-based fuzz finds no 5xx and no answer that OpenAPI does not describe", async (t) => {
  const python = await pythonVenv("schemathesis", here("api_fuzz_requirements.txt"));
  await using db = await testDatabase(t);
  const dataDir = await Deno.makeTempDir({ prefix: "etl-fuzz-data-" });
  const workDir = await Deno.makeTempDir({ prefix: "etl-fuzz-" });
  try {
    await Deno.writeTextFile(`${dataDir}/a.ndjson`, '{"id":1}\n{"id":2,"x":');
    await using server = await startServer({
      dsn: db.dsn,
      // without one, the first token that it makes by chance would lock it out
      env: {
        ETL_DATA_DIR: dataDir,
        ETL_ADMIN_TOKEN: TOKEN,
        ETL_TRIGGERS_PER_MINUTE: "0",
        ETL_SIGN_INS_PER_MINUTE: "0",
      },
    });
    await seed(server.address);
    const seedOption = SEED === "random" ? [] : [`--seed=${SEED}`, "--generation-deterministic"];
    const child = new Deno.Command(python, {
      args: [
        ...["-m", "schemathesis.cli", "--config-file", here("api_fuzz.toml")],
        ...["run", `${server.address}/api/openapi.json`, "--mode=all"],
        ...[`--max-examples=${EXAMPLES}`, ...seedOption, "--workers=2", "--continue-on-failure"],
        ...["--header", `Authorization: Bearer ${TOKEN}`],
        ...["--request-timeout=20", "--suppress-health-check=all", "--no-color"],
      ],
      cwd: workDir,
      env: { SCHEMATHESIS_HOOKS: "api_fuzz_hooks", PYTHONPATH: here(".") },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const timer = setTimeout(() => void killTree(child.pid), LIMIT_MS);
    const output = await child.output();
    clearTimeout(timer);
    const text = new TextDecoder().decode(output.stdout) + new TextDecoder().decode(output.stderr);
    assert.equal(output.code, 0, text.slice(-20_000));
    // it did look: every operation, with cases of each
    assert.match(text, /Tested: (\d+)\b/);
    assert.ok(Number(/(\d+) generated/.exec(text)?.[1]) > 1_000, text.slice(-3_000));
    const defects = server.logs.filter((line) => / error /.test(line));
    assert.deepEqual(defects, []);
  } finally {
    await Deno.remove(dataDir, { recursive: true });
    await Deno.remove(workDir, { recursive: true });
  }
});

/** Something to find under the ids that lists give. */
async function seed(address: string): Promise<void> {
  const confs = [
    { batch_size: 20 },
    { source: { type: "inline", key: "id", records: [{ id: 1 }, { no: "key" }] } },
    { source: { type: "file", path: "nothing.csv" } },
  ];
  for (const conf of confs) {
    const response = await fetch(`${address}/api/etl/run?wait=true`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${TOKEN}` },
      body: JSON.stringify(conf),
    });
    assert.equal(response.status, 200, await response.text());
  }
}
