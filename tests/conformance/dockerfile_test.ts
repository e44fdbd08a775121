import { freePort } from "../../scripts/postgres/cluster.ts";
import assert from "node:assert/strict";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import { lines } from "../../scripts/server_process.ts";
import { build } from "../helpers/dockerfile.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { lacks } from "../helpers/needs.ts";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..", "..");
const DEPLOY = join(PROJECT_DIR, "deploy");

/** The value of a Deno permission for all of the network, where a file names hosts of its own. */
const anyNet = (arg: string) => arg.startsWith("--allow-net") ? "--allow-net" : arg;

Deno.test({
  name:
    "what the Dockerfile builds sets up a database and serves it, as a user who can write nothing but its volumes",
  // another account can only be taken on by root
  ignore: lacks(Deno.uid() === 0, "run as root for the test of the image"),
  async fn(t) {
    await using db = await testDatabase(t, { setUp: false });
    const dir = await Deno.makeTempDir({ prefix: "etl-image-" });
    await Deno.chmod(dir, 0o755);
    await Deno.mkdir(join(dir, "bin"));
    // the account of the image may not be able to read the directory of this one
    await Deno.copyFile(Deno.execPath(), join(dir, "bin", "deno"));
    const PATH = `${dir}/bin:/usr/bin:/bin`;
    const ignored = await Deno.readTextFile(join(DEPLOY, "Dockerfile.dockerignore"));
    const included = ignored.split("\n").filter((line) => line.startsWith("!"))
      .map((line) => line.slice(1));
    // what reaches the registry here: a proxy, an authority, a mirror
    const { DENO_DIR: _, ...inherited } = Deno.env.toObject();
    const image = await build({
      dockerfile: join(DEPLOY, "Dockerfile"),
      context: PROJECT_DIR,
      included,
      dir,
      env: { ...inherited, PATH },
    });
    assert.equal(image.uid, 10001);
    await t.step("it is small", async () => {
      const { stdout } = await new Deno.Command("du", { args: ["-sm", image.root] }).output();
      const megabytes = Number.parseInt(new TextDecoder().decode(stdout));
      assert.ok(megabytes < 80, `${megabytes} MB`);
    });
    const url = new URL(db.dsn);
    await Deno.writeTextFile(join(dir, "password"), decodeURIComponent(url.password));
    url.password = "";
    const adminToken = "a".repeat(48);
    await Deno.writeTextFile(join(dir, "token"), adminToken);
    const env = {
      PATH,
      HOME: "/nonexistent",
      ...image.env,
      KPIS_PG_DSN: url.href,
      PGPASSWORD_FILE: join(dir, "password"),
      ETL_ADMIN_TOKEN_FILE: join(dir, "token"),
    };
    const account = { uid: image.uid, gid: image.gid, clearEnv: true, cwd: image.workdir };
    const command = (args: string[], more: Record<string, string> = {}) =>
      new Deno.Command(args[0]!, {
        args: args.slice(1),
        ...account,
        env: { ...env, ...more },
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      });

    await t.step("setup-db of compose.yaml and of Kubernetes creates the schema", async () => {
      const compose = parse(await Deno.readTextFile(join(DEPLOY, "compose.yaml")));
      const job = parse(await Deno.readTextFile(join(DEPLOY, "kubernetes", "setup-job.yaml")));
      const ways: string[][] = [
        compose.services["setup-db"].entrypoint,
        job.spec.template.spec.containers[0].command,
      ];
      const said: string[] = [];
      for (const args of ways) {
        const { code, stdout, stderr } = await command(args.map(anyNet)).output();
        const told = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
        assert.equal(code, 0, told);
        said.push(told);
      }
      assert.match(said[0]!, /Created \d+ functions, .*tables/);
      assert.match(said[1]!, /Everything is up to date/);
    });

    await t.step("the server starts, is healthy, executes a run and drains", async () => {
      const port = freePort();
      const own = { ETL_PORT: String(port), ETL_HOST: "127.0.0.1" };
      const child = command(image.entrypoint, own).spawn();
      const said: string[] = [];
      const read = async (stream: ReadableStream<Uint8Array>) => {
        for await (const line of lines(stream)) said.push(line);
      };
      const over = Promise.all([read(child.stdout), read(child.stderr)]);
      try {
        // each module is transpiled anew, beside whatever else runs
        await waitFor(() => said.some((line) => line.includes("listening on")), {
          timeoutMs: 120_000,
          what: "the server to listen",
        }).catch((cause) => assert.fail(`${cause.message}:\n${said.join("\n")}`));
        const { code } = await command(image.healthcheck, own).output();
        assert.equal(code, 0, "HEALTHCHECK");
        const answer = await fetch(`http://127.0.0.1:${port}/api/etl/run?wait=true`, {
          method: "POST",
          headers: {
            "content-type": "application/json",
            authorization: `Bearer ${adminToken}`,
          },
          body: `{"batch_size": 50, "transform": "example"}`,
        });
        const run = await answer.json();
        assert.equal(run.state, "succeeded", JSON.stringify(run));
        const page = await fetch(`http://127.0.0.1:${port}/etl`, {
          headers: { authorization: `Bearer ${adminToken}` },
        });
        assert.match(await page.text(), /<script[^>]+src="[^"]+\.js"/, "its scripts were built");
        // what compose.yaml says to do for Prometheus
        const etl = ["deno", "run", "--frozen", "--cached-only", "--quiet", "-A", "scripts/etl.ts"];
        const made = await command([...etl, "token", "create", "prometheus", "--role", "viewer"])
          .output();
        assert.equal(made.code, 0, new TextDecoder().decode(made.stderr));
        const token = new TextDecoder().decode(made.stdout).trim();
        const metrics = await fetch(`http://127.0.0.1:${port}/api/etl/metrics`, {
          headers: { authorization: `Bearer ${token}` },
        });
        assert.equal(metrics.status, 200, await metrics.text());
        const doctor = await command(
          ["deno", "run", "--frozen", "--cached-only", "-A", "scripts/doctor.ts", "--json"],
          own,
        ).output();
        const { checks } = JSON.parse(new TextDecoder().decode(doctor.stdout));
        const failed = checks.filter((each: { state: string }) => each.state === "fail");
        assert.deepEqual(failed, []);
        assert.equal(doctor.code, 0);
      } finally {
        child.kill("SIGTERM");
      }
      assert.equal((await child.status).code, 0, said.join("\n"));
      await over;
      const unhealthy = await command(image.healthcheck, own).output();
      assert.notEqual(unhealthy.code, 0, "HEALTHCHECK of a server that has ended");
    });
    await Deno.remove(dir, { recursive: true });
  },
});
