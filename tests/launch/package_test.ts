import assert from "node:assert/strict";
import { resolve } from "node:path";
import { pack } from "../../scripts/pack.ts";
import { VERSION } from "../../vocabulary/version.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { query } from "../helpers/query.ts";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..", "..");

async function emptyFolder() {
  const dir = await Deno.makeTempDir({ prefix: "etl empty folder " });
  const home = Deno.env.get("HOME") ?? "/";
  const say = async (command: string, args: string[], env: Record<string, string> = {}) => {
    const { code, stdout, stderr } = await new Deno.Command(command, {
      args,
      cwd: dir,
      env: {
        XDG_DATA_HOME: `${dir}/home`,
        npm_config_cache: `${home}/.npm`,
        npm_config_update_notifier: "false",
        NO_COLOR: "1",
        ...env,
      },
      stdin: "null",
    }).output();
    const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes).trim());
    return { code, out: out!, err: err! };
  };
  return {
    dir,
    say,
    [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
  };
}

Deno.test("the package of deno task pack loads a file from an empty folder, and keeps nothing there", async (t) => {
  await using db = await testDatabase(t);
  await using place = await emptyFolder();
  const tarball = await pack(`${place.dir}/dist`);
  assert.ok(tarball.endsWith(`/etl-improved-${VERSION}.tgz`), tarball);
  await Deno.mkdir(`${place.dir}/work`);
  await Deno.writeTextFile(`${place.dir}/work/orders.csv`, "id,amount\nA,19.90\nB,5\n");
  const etl = (...args: string[]) =>
    place.say("sh", [
      ...["-c", `cd work && exec npx -y ../dist/etl-improved-${VERSION}.tgz "$@"`, "sh"],
      ...args,
    ], { KPIS_PG_DSN: db.dsn });

  const version = await etl("--version");
  assert.equal(version.code, 0, version.err);
  assert.match(version.out, new RegExp(`^etl-improved ${VERSION.replaceAll(".", "\\.")} \\(Deno `));
  // tasks of the program are commands, too
  const setUp = await etl("setup-db");
  assert.equal(setUp.code, 0, setUp.err);
  const loaded = await etl("load", "orders.csv", "--key", "id", "--to", "orders");
  assert.equal(loaded.code, 0, loaded.err);
  assert.deepEqual(
    await query(db.dsn, "select event_id, amount::text as amount from orders_typed order by 1"),
    [{ event_id: "A", amount: "19.90" }, { event_id: "B", amount: "5" }],
  );
  const wrong = await etl("lod");
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /did you mean load\?\n`etl --help`/);
  assert.deepEqual([...Deno.readDirSync(`${place.dir}/work`)].map(({ name }) => name), [
    "orders.csv",
  ]);
});

Deno.test("a link to scripts/etl.mjs of a checkout is etl, from any folder", async (t) => {
  await using db = await testDatabase(t);
  await using place = await emptyFolder();
  await Deno.symlink(`${PROJECT_DIR}/scripts/etl.mjs`, `${place.dir}/etl`);
  await Deno.writeTextFile(`${place.dir}/my orders.csv`, "id,note\n1,it's $HOME\n");
  const loaded = await place.say("./etl", ["load", "my orders.csv", "--key", "id", "--to", "t"], {
    KPIS_PG_DSN: db.dsn,
    ETL_SPOOL_DIR: `${place.dir}/spool`,
    INIT_CWD: PROJECT_DIR, // of an npm or a task around it
  });
  assert.equal(loaded.code, 0, loaded.err);
  assert.deepEqual(await query(db.dsn, "select payload->>'note' as note from t"), [
    { note: "it's $HOME" },
  ]);
});
