import assert from "node:assert/strict";
import { freePort } from "../../scripts/postgres/cluster.ts";
import { lacks } from "../helpers/needs.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { noBrowser, Site } from "./site.ts";

const NGINX = "/usr/sbin/nginx";
const noNginx = lacks(
  await Deno.stat(NGINX).then(() => true, () => false),
  "install nginx-light for the test with a prefix",
);

/** Debian's nginx in front of a server: below /tools/etl without the prefix, below /kept/etl with it. */
async function startNginx(server: string) {
  const dir = await Deno.makeTempDir({ prefix: "etl-nginx-" });
  const port = freePort();
  const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${dir}/${name};`).join("\n");
  await Deno.writeTextFile(
    `${dir}/nginx.conf`,
    `daemon off; master_process off; pid ${dir}/pid; error_log stderr;
    events {}
    http {
      access_log off;
      ${temp}
      server {
        listen 127.0.0.1:${port};
        proxy_set_header Host $http_host;
        proxy_buffering off;
        location /tools/etl/ { proxy_pass ${server}/; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Prefix /tools/etl; }
        location /kept/etl/ { proxy_pass ${server}; }
      }
    }`,
  );
  const nginx = new Deno.Command(NGINX, {
    args: ["-c", `${dir}/nginx.conf`, "-e", "stderr"],
    stdout: "null",
    stderr: "null",
  }).spawn();
  const address = `http://127.0.0.1:${port}`;
  await waitFor(
    async () =>
      await fetch(`${address}/tools/etl/livez`).then(async (answer) => {
        await answer.body?.cancel();
        return answer.ok;
      }, () => false),
    { what: "nginx" },
  );
  return {
    address,
    async [Symbol.asyncDispose]() {
      nginx.kill("SIGTERM");
      await nginx.status;
      await Deno.remove(dir, { recursive: true });
    },
  };
}

/** Follows every address of the pages from one on; answers how many there were. */
async function crawl(origin: string, prefix: string): Promise<number> {
  const seen = new Set<string>();
  const waiting = [`${prefix}/etl`, `${prefix}/api/docs`];
  while (waiting.length > 0 && seen.size < 80) {
    const path = waiting.shift()!;
    if (seen.has(path)) continue;
    seen.add(path);
    const answer = await fetch(origin + path, { headers: { accept: "text/html" } });
    const text = await answer.text();
    assert.ok(answer.status < 400, `${path}: ${answer.status}`);
    if (!answer.headers.get("content-type")?.includes("html")) continue;
    for (const [, found] of text.matchAll(/\b(?:href|src|action|data-messages)="(\/[^"#]*)/g)) {
      assert.ok(found!.startsWith(`${prefix}/`), `${path} leads to ${found}`);
      const isForm = text.includes(`action="${found}" `) || /sign-out|preferences/.test(found!);
      if (!isForm && !/\/problems\/./.test(found!)) waiting.push(found!.replaceAll("&amp;", "&"));
    }
  }
  return seen.size;
}

Deno.test({
  name:
    "behind a proxy with a prefix every link, script, form, stream and request of the pages has it",
  ignore: noBrowser || noNginx,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t, {
      ETL_BASE_PATH: "/kept/etl",
      ETL_TRUSTED_PROXIES: "127.0.0.1",
    });
    await using nginx = await startNginx(site.address);
    for (const prefix of ["/tools/etl", "/kept/etl"]) {
      const asked = await fetch(`${nginx.address}${prefix}/api/etl/run`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ batch_size: 10, run_label: prefix.slice(1, 5) }),
      });
      await asked.body?.cancel();
      assert.match(asked.headers.get("location") ?? "", new RegExp(`^${prefix}/api/etl/runs/`));
      const { servers } = await (await fetch(`${nginx.address}${prefix}/api/openapi.json`)).json();
      assert.deepEqual(servers, [{ url: prefix }]);
      assert.ok(await crawl(nginx.address, prefix) > 25);
      await site.visit("/etl", {}, async (page) => {
        const strayed: string[] = [];
        page.on("request", (request) => {
          const { pathname } = new URL(request.url());
          if (!pathname.startsWith(`${prefix}/`)) strayed.push(pathname);
        });
        await page.goto(`${nginx.address}${prefix}/etl/overview`);
        await page.locator("html[lang] .island.ready").first().waitFor();
        await page.goto(`${nginx.address}${prefix}/etl/new`);
        await page.locator(".island.ready").first().waitFor();
        await page.getByRole("button", { name: "Start run" }).click();
        await page.waitForURL(new RegExp(`${prefix}/etl/runs/[0-9a-f-]{36}$`));
        await page.locator(".island.ready").first().waitFor();
        await page.getByRole("button", { name: "Dark" }).click();
        await page.reload();
        assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
        assert.deepEqual(strayed, []);
      });
    }
    const foreign = await fetch(`${site.address}/etl`, {
      headers: { accept: "text/html", "x-forwarded-prefix": '/x"onload="a' },
    });
    assert.doesNotMatch(await foreign.text(), /onload="a/, "what is no path is not believed");
  },
});
