import assert from "node:assert/strict";
import { join } from "node:path";
import {
  databasePermissions,
  fetchPermissions,
  NO_REACH,
  realPaths,
  workerPermissions,
} from "../../pipeline/workers/permissions.ts";

const reach = {
  dsns: [
    "postgres://u:p@db.internal/x",
    "postgres://u:p@shop:6432/y",
    "postgres://u:p@shop:6432/z",
  ],
  dataDir: "/data",
  spoolDir: "/spool",
  transformsDir: "/transforms",
  sourcesDir: "/sources",
  network: false,
};

Deno.test("a worker reaches its databases and directories, writes to the spool alone, and starts or loads nothing", () => {
  const { net, read, write, ...others } = workerPermissions(reach);
  assert.deepEqual(net, ["db.internal:5432", "shop:6432"]);
  const program = NO_REACH.read.length;
  assert.deepEqual((read as string[]).slice(program), [
    "/data",
    "/spool",
    "/transforms",
    "/sources",
  ]);
  assert.deepEqual((read as string[]).slice(0, program), NO_REACH.read);
  assert.deepEqual(write, ["/spool"]);
  const { env, ...never } = others;
  assert.deepEqual(never, { sys: ["setPriority"], run: false, ffi: false, import: false });
  assert.ok((env as string[]).every((name) => /^(PG|USER$|NODE_PG_)/.test(name)));
  assert.equal(workerPermissions({ ...reach, network: true }).net, "inherit");
});

Deno.test("a worker sees the password in the environment where a connection string has none, and the files that it names for TLS", () => {
  const sees = (...dsns: string[]) => databasePermissions(dsns).env.includes("PGPASSWORD");
  assert.equal(sees("postgres://u:p@db/x"), false);
  assert.equal(sees("postgres://u:p@db/x", "postgres://u@db/x"), true);
  const { read, write, net } = databasePermissions(["postgres://u@db/x?sslrootcert=/ca.crt"]);
  assert.deepEqual([read.slice(NO_REACH.read.length), write, net], [["/ca.crt"], false, [
    "db:5432",
  ]]);
});

Deno.test("a worker that downloads reaches what the server may, and its spool", () => {
  const { net, read, write, env, run, ffi } = fetchPermissions("/spool");
  assert.deepEqual([net, (read as string[]).slice(NO_REACH.read.length), write], ["inherit", [
    "/spool",
  ], ["/spool"]]);
  assert.deepEqual([env, run, ffi], [false, false, false]);
});

Deno.test("a worker that computes has neither network, files, environment nor anything else", () => {
  const { read: _, ...others } = NO_REACH;
  assert.deepEqual(others, {
    net: false,
    write: false,
    env: false,
    sys: ["setPriority"],
    run: false,
    ffi: false,
    import: false,
  });
});

Deno.test("a directory may be reached by its name and by where its links lead", async () => {
  const dir = await Deno.makeTempDir();
  const link = join(dir, "link");
  await Deno.mkdir(join(dir, "real"));
  await Deno.symlink("real", link);
  const real = await Deno.realPath(dir);
  assert.deepEqual(realPaths(link), [link, join(real, "real")]);
  assert.deepEqual(realPaths(real), [real]);
  assert.deepEqual(realPaths("/not/there"), ["/not/there"]);
  await Deno.remove(dir, { recursive: true });
});
