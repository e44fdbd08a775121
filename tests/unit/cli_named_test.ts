import assert from "node:assert/strict";
import { EXIT } from "../../scripts/cli/exit_codes.ts";
import { answering } from "../helpers/cli.ts";

const AT = "2027-01-31T10:00:59.000Z";
const missing = () =>
  Response.json({ type: "/api/problems/not-found", detail: "none" }, { status: 404 });

/** A named resource that is there or not, and what was put in its place. */
function resource(path: string, there: { row?: object; created?: boolean } = {}) {
  return {
    there,
    ...answering({
      [path]: ({ method }: { method: string }) =>
        method === "GET" && there.row === undefined
          ? missing()
          : Response.json(there.row ?? {}, { status: there.created ? 201 : 200 }),
    }),
  };
}

Deno.test("etl configuration set changes members of what is there, or takes the whole of --conf; the description stays", async () => {
  await using it = resource("/api/configurations/nightly");
  const row = { name: "nightly", conf: { batch_size: 1, pool: "a" }, description: "old" };
  it.there.row = row;
  const set = async (...args: string[]) => {
    const { code, out, err } = await it.etl("configuration", "set", "nightly", ...args);
    assert.equal(code, EXIT.succeeded, err);
    assert.equal(out, `The configuration nightly is ${it.there.created ? "made" : "changed"}.`);
    return it.asked.at(-1)!.body;
  };
  assert.deepEqual(await set("--set", "batch_size=2"), {
    conf: { batch_size: 2, pool: "a" },
    description: "old",
  });
  assert.deepEqual(await set("--source", '{"type": "synthetic"}', "--description", "new"), {
    conf: { batch_size: 1, pool: "a", source: { type: "synthetic" } },
    description: "new",
  });
  assert.deepEqual(await set("--conf", '{"batch_size": 3}', "--set", "overlap=queue"), {
    conf: { batch_size: 3, overlap: "queue" },
    description: "old",
  });
  assert.deepEqual(await set("--description", "only that"), {
    conf: row.conf,
    description: "only that",
  });
  const before = it.asked.length;
  await set("--conf", "{}", "--description", "all of it");
  assert.equal(it.asked.length, before + 1, "nothing needs to be looked up");
  delete it.there.row;
  it.there.created = true;
  assert.deepEqual(await set("--set", "batch_size=2"), { conf: { batch_size: 2 } });
  const wrong = async (...args: string[]) => {
    const { code, err } = await it.etl("configuration", "set", "nightly", ...args);
    assert.equal(code, EXIT.usage);
    return err;
  };
  assert.match(await wrong("--description", "x"), /no configuration nightly to describe/);
  assert.match(
    await wrong(),
    /needs what is to be saved: --conf, --source, --set or --description/,
  );
  it.there.row = row;
  const shown = await it.etl("configuration", "show", "nightly");
  assert.deepEqual([JSON.parse(shown.out), shown.err], [row.conf, "old"]);
});

Deno.test("lists of named resources show name, value and when it was changed, or how to make the first", async () => {
  const answers: Record<string, unknown> = {
    "/api/configurations": {
      items: [{ name: "nightly", conf: { n: 1 }, description: null, updated_at: AT }],
    },
    "/api/variables": { items: [{ name: "etl_improved__pool", value: "x", updated_at: AT }] },
    "/api/pools": {
      items: [
        { pool: "a", slots: 4, per_server: false, description: "few", updated_at: AT },
        { pool: "b", slots: 10, per_server: true, description: null, updated_at: AT },
      ],
    },
  };
  await using cli = answering(answers);
  const list = async (noun: string) =>
    (await cli.etl(noun, "list")).out.split("\n").map((line) => line.split(/ {2,}/));
  assert.deepEqual(await list("configuration"), [
    ["CONFIGURATION", "CONF", "DESCRIPTION", "CHANGED"],
    ["nightly", '{"n":1}', "2027-01-31 10:00"],
  ]);
  assert.deepEqual(await list("variable"), [
    ["VARIABLE", "VALUE", "CHANGED"],
    ["etl_improved__pool", '"x"', "2027-01-31 10:00"],
  ]);
  assert.deepEqual(await list("pool"), [
    ["POOL", "SLOTS", "PER", "DESCRIPTION", "CHANGED"],
    ["a", "4", "installation", "few", "2027-01-31 10:00"],
    ["b", "10", "server", "2027-01-31 10:00"],
  ]);
  answers["/api/pools"] = { items: [] };
  assert.equal(
    (await cli.etl("pool", "list")).out,
    "There are no pools yet. `etl pool set NAME …` makes one.",
  );
  assert.match((await cli.etl("pool", "lst")).err, /etl pool cannot 'lst'; did you mean list\?/);
  assert.match((await cli.etl("pool", "show")).err, /etl pool show needs the name of a pool/);
});

Deno.test("etl pool set keeps what is not given, and takes slots from 0 to 1000", async () => {
  await using it = resource("/api/pools/heavy");
  const set = async (...args: string[]) => await it.etl("pool", "set", "heavy", ...args);
  await set("2");
  assert.deepEqual(it.asked.at(-1)!.body, { slots: 2, per_server: false });
  it.there.row = { pool: "heavy", slots: 2, per_server: true, description: "few" };
  await set("1000");
  assert.deepEqual(it.asked.at(-1)!.body, { slots: 1000, per_server: true, description: "few" });
  await set("0", "--per", "installation", "--description", "none");
  assert.deepEqual(it.asked.at(-1)!.body, { slots: 0, per_server: false, description: "none" });
  await set("0", "--per", "server");
  assert.equal((it.asked.at(-1)!.body as { per_server: boolean }).per_server, true);
  const before = it.asked.length;
  for (const slots of ["1001", "1.5", "two", ""]) {
    const { code, err } = await set(slots);
    assert.equal(code, EXIT.usage, slots);
    assert.match(err, /slots must be a whole number from 0 to 1000/);
  }
  assert.match((await set("1", "--per", "all")).err, /--per must be server or installation/);
  assert.match((await set()).err, /etl pool set needs a name and its slots/);
  assert.equal(it.asked.length, before, "nothing was asked for");
  assert.equal((await it.etl("pool", "show", "heavy")).out, "2");
  assert.deepEqual((await it.etl("pool", "delete", "heavy", "--json")).json(), {
    pool: "heavy",
    deleted: true,
  });
});

Deno.test("etl variable set takes JSON, a text where the parameter takes one, or a file without its last line end", async () => {
  const dir = await Deno.makeTempDir();
  await Deno.writeTextFile(`${dir}/value.txt`, "two\nlines\r\n");
  await using cli = answering(
    Object.fromEntries(
      ["etl_improved__run_label", "etl_improved__batch_size", "other"].map((name) => [
        `/api/variables/${name}`,
        {},
      ]),
    ),
  );
  const set = async (name: string, value: string) => {
    const { code, err } = await cli.etl("variable", "set", name, value);
    assert.equal(code, EXIT.succeeded, err);
    return (cli.asked.at(-1)!.body as { value: unknown }).value;
  };
  try {
    assert.equal(await set("etl_improved__run_label", "2026"), "2026");
    assert.equal(await set("etl_improved__batch_size", "2026"), 2026);
    assert.deepEqual(await set("other", '{"a": [1]}'), { a: [1] });
    assert.equal(await set("other", "plain"), "plain");
    assert.equal(await set("other", `@${dir}/value.txt`), "two\nlines");
    assert.match((await cli.etl("variable", "set", "x")).err, /needs a name and a value/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("etl variable import sets what is a parameter, and names what it left out and what was refused", async () => {
  const dir = await Deno.makeTempDir();
  const file = `${dir}/variables.json`;
  await Deno.writeTextFile(
    file,
    JSON.stringify({
      etl_improved__batch_size: "500",
      etl_improved__dry_run: "True",
      etl_improved__mlflow_enable: { value: "FALSE", description: "d" },
      etl_maintenance__retention_days: 30,
      etl_consumer__x: "wrong",
      etl_improved__none: "None",
      etl_improved__empty: "",
      etl_improved__null: null,
      smtp_host: "x",
    }),
  );
  const names = ["batch_size", "dry_run", "mlflow_enable"].map((name) => `etl_improved__${name}`)
    .concat("etl_maintenance__retention_days");
  await using cli = answering({
    ...Object.fromEntries(names.map((name) => [`/api/variables/${name}`, {}])),
    "/api/variables/etl_consumer__x": () =>
      Response.json({ type: "/api/problems/invalid-conf", status: 422, detail: "No number." }, {
        status: 422,
      }),
  });
  try {
    const { code, out } = await cli.etl("variable", "import", file);
    assert.equal(code, EXIT.failed, "one was refused");
    assert.deepEqual(out.split("\n"), [
      ...names.map((name) => `${name}: set`),
      "etl_consumer__x: refused: No number.",
      "Left out, as they are not parameters of this program or have no value: etl_improved__none, " +
      "etl_improved__empty, etl_improved__null, smtp_host",
    ]);
    assert.deepEqual(cli.asked.map(({ body }) => (body as { value: unknown }).value), [
      ...[500, true, false, 30, "wrong"],
    ]);
    const { json } = await cli.etl("variable", "import", file, "--json");
    assert.deepEqual(json(), {
      imported: names,
      refused: { etl_consumer__x: "No number." },
      left_out: ["etl_improved__none", "etl_improved__empty", "etl_improved__null", "smtp_host"],
    });
    await Deno.writeTextFile(file, '{"etl_improved__batch_size": 5}');
    assert.equal((await cli.etl("variable", "import", file)).code, EXIT.succeeded);
    await Deno.writeTextFile(file, "[1]");
    const wrong = await cli.etl("variable", "import", file);
    assert.equal(wrong.code, EXIT.usage);
    assert.match(wrong.err, /is not a JSON object of variables, as `airflow variables export`/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
