import assert from "node:assert/strict";
import { join, resolve } from "node:path";
import { lacks } from "../helpers/needs.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");
const NGINX = "/usr/sbin/nginx";
const isThere = () => {
  try {
    return Deno.statSync(NGINX).isFile;
  } catch {
    return false;
  }
};

Deno.test({
  name: "the nginx of docs/load.md starts as it stands and lets a body of 2 MB through",
  ignore: lacks(isThere(), "Debian's nginx-light has the snippet of docs/load.md tried in it"),
  async fn(t) {
    await using db = await testDatabase(t);
    await using server = await startServer({ dsn: db.dsn });
    const dir = await Deno.makeTempDir({ prefix: "etl_nginx_" });
    await Deno.chmod(dir, 0o755);
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr as Deno.NetAddr;
    listener.close();
    const page = await Deno.readTextFile(join(ROOT, "docs", "load.md"));
    const snippet = /```nginx\n([\s\S]*?)```/.exec(page)![1]!
      .replace("listen 80;", `listen 127.0.0.1:${port};`)
      .replace("http://127.0.0.1:8080", server.address);
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((name) => `${name}_temp_path ${dir}/${name};`).join(" ");
    await Deno.writeTextFile(
      `${dir}/nginx.conf`,
      `daemon off; pid ${dir}/pid; error_log stderr; events {} http { access_log off; ${temporary}\n${snippet}}`,
    );
    const nginx = new Deno.Command(NGINX, {
      args: ["-c", `${dir}/nginx.conf`],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      const address = `http://127.0.0.1:${port}`;
      await waitFor(async () => {
        const answer = await fetch(`${address}/livez`).catch(() => null);
        await answer?.body?.cancel();
        return answer?.ok;
      });
      const body = `id,text\n1,${"x".repeat(2 * 2 ** 20)}\n`;
      const answer = await fetch(`${address}/api/etl/run?name=a&key=id&wait=true`, {
        method: "POST",
        headers: { "content-type": "text/csv" },
        body,
      });
      assert.equal(answer.status, 200);
      assert.equal((await answer.json()).state, "succeeded");
    } finally {
      nginx.kill("SIGTERM");
      await nginx.status;
      await Deno.remove(dir, { recursive: true });
    }
  },
});
