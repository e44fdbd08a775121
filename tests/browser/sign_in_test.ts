import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { bearer } from "../helpers/tokens.ts";
import { assertAccessible, hydrated, noBrowser, screenshot, Site } from "./site.ts";

const ADMIN = "a-token-of-the-environment-0123456789";
const options = { ignore: noBrowser, sanitizeOps: false, sanitizeResources: false };

const openSite = () =>
  Site.ofFile(import.meta.url, { ETL_ADMIN_TOKEN: ADMIN, ETL_SIGN_INS_PER_MINUTE: "0" });

async function makeToken(site: Site, name: string, role: string): Promise<string> {
  const { token } = await site.api<{ token: string }>("/api/tokens", {
    method: "POST",
    body: JSON.stringify({ name, role }),
    ...bearer(ADMIN),
  });
  return token;
}

async function signIn(page: Page, token: string): Promise<void> {
  await page.getByLabel("API token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
}

Deno.test({
  ...options,
  name: "signing in: sent there and back, live pages, who it is, and out again",
  async fn() {
    const site = await openSite();
    const token = await makeToken(site, "ada", "operator");
    await site.visit("/etl/runs?state=failed", { expected: /401/ }, async (page) => {
      assert.match(page.url(), /\/etl\/sign-in\?to=%2Fetl%2Fruns%3Fstate%3Dfailed$/);
      await signIn(page, "etl_wrong");
      await page.getByRole("alert").getByText("unknown, expired or revoked").waitFor();
      await hydrated(page);
      await assertAccessible(page, "sign-in refused");
      await screenshot(page, "sign_in_refused_1280_light");
      await signIn(page, token);
      await page.waitForURL("**/etl/runs?state=failed");
      await page.goto(`${site.address}/etl/overview`);
      await hydrated(page);
      const account = page.locator(".sidebar .account");
      assert.match(await account.innerText(), /ada\s+operator/);
      await page.getByText("Live", { exact: true }).first().waitFor();
      await assertAccessible(page, "signed in");
      await screenshot(page, "signed_in_1280_light");
      await page.goto(`${site.address}/etl/new`);
      await hydrated(page);
      await page.getByRole("button", { name: "Start run" }).click();
      await page.waitForURL(/\/etl\/runs\/[0-9a-f-]{36}$/);
      await page.getByText("Succeeded").first().waitFor();
      assert.match(await page.locator(".run-facts").innerText(), /· ada/);
      // a link in a chat: the browser keeps the strict cookie to itself at first
      await page.goto(`data:text/html,<a href="${site.address}/etl/pools?x=1">pools</a>`);
      await page.getByRole("link", { name: "pools" }).click();
      await page.waitForURL("**/etl/pools?x=1");
      await hydrated(page);
      await account.getByRole("button", { name: "Sign out", exact: true }).click();
      await page.waitForURL("**/etl/sign-in");
      await page.goto(`${site.address}/etl`);
      assert.match(page.url(), /\/etl\/sign-in$/);
    });
  },
});

Deno.test({
  ...options,
  name: "the sign-in page is accessible, fits, speaks Spanish and works without JavaScript",
  async fn() {
    const site = await openSite();
    for (const colorScheme of ["light", "dark"] as const) {
      for (const width of [390, 1280]) {
        const viewport = { width, height: 800 };
        await site.visit("/etl/sign-in", { colorScheme, viewport }, async (page) => {
          const wider = await page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth",
          ) as number;
          assert.ok(wider <= 0);
          await assertAccessible(page, `sign-in, ${colorScheme}, ${width}`);
          await screenshot(page, `sign_in_${width}_${colorScheme}`);
        });
      }
    }
    await site.visit("/etl/sign-in", { locale: "es-ES" }, async (page) => {
      await page.getByRole("heading", { name: "Iniciar sesión" }).waitFor();
      await page.getByRole("button", { name: "EN, English" }).click();
      await page.getByRole("heading", { name: "Sign in" }).waitFor();
      await screenshot(page, "sign_in_1280_spanish");
    });
    await site.visit("/etl/pools", { javaScriptEnabled: false }, async (page) => {
      await signIn(page, ADMIN);
      await page.getByRole("heading", { name: "Pools" }).waitFor();
      assert.match(await page.locator(".sidebar .account").innerText(), /environment\s+admin/);
      await page.locator(".sidebar").getByRole("button", { name: "Sign out", exact: true }).click();
      await page.getByRole("heading", { name: "Sign in" }).waitFor();
    });
  },
});

Deno.test({
  ...options,
  name: "a page that is open asks to sign in again when its token is revoked",
  async fn() {
    const site = await openSite();
    const token = await makeToken(site, "rita", "viewer");
    for (const path of ["/etl", "/etl/runs"]) {
      const expected = /401|ERR_|MIME/;
      await site.visit(path, { expected }, async (page) => {
        await signIn(page, path === "/etl" ? token : await makeToken(site, "bob", "viewer"));
        await page.waitForURL(site.address + path);
        await hydrated(page);
        const name = path === "/etl" ? "rita" : "bob";
        await site.api(`/api/tokens/${name}`, { method: "DELETE", ...bearer(ADMIN) });
        // the stream is ended within seconds, and the browser finds out when it opens it again
        const to = path === "/etl" ? "" : "?to=%2Fetl%2Fruns";
        await page.waitForURL(`${site.address}/etl/sign-in${to}`);
      });
    }
  },
});

Deno.test({
  ...options,
  name: "a viewer sees everything, and what they may not do is disabled with the reason",
  async fn() {
    const site = await openSite();
    const token = await makeToken(site, "vera", "viewer");
    const { run_id } = await site.api<{ run_id: string }>("/api/etl/run?wait=true", {
      method: "POST",
      body: JSON.stringify({ batch_size: 5, min_acceptance_ratio: 1 }),
      ...bearer(ADMIN),
    });
    await site.api("/api/configurations/nightly", {
      method: "PUT",
      body: JSON.stringify({ conf: { batch_size: 5 } }),
      ...bearer(ADMIN),
    });
    const pages: [string, string, string][] = [
      ["/etl/new", "Start run", "operator"],
      ["/etl/new", "Preview", "operator"],
      ["/etl/configurations", "New configuration", "admin"],
      ["/etl/configurations", "Run nightly now", "operator"],
      ["/etl/configurations", "Change nightly", "admin"],
      ["/etl/configurations", "Remove nightly", "admin"],
      ["/etl/reports", "Report now", "operator"],
    ];
    await site.visit("/etl/pools", {}, async (page) => {
      await signIn(page, token);
      await page.waitForURL("**/etl/pools");
      for (const [path, name, role] of pages) {
        await page.goto(site.address + path);
        await hydrated(page);
        const button = page.locator("main").getByRole("button", {
          name: new RegExp(`^ ?${name}`),
        }).first();
        assert.ok(await button.isDisabled(), `${path} ${name}`);
        assert.equal(await button.getAttribute("title"), `This needs the role ${role}.`);
      }
      for (
        const path of [
          "/etl",
          "/etl/overview",
          "/etl/new",
          "/etl/configurations",
          `/etl/runs/${run_id}`,
        ]
      ) {
        await page.goto(site.address + path);
        await hydrated(page);
        await assertAccessible(page, `${path} of a viewer`);
        await screenshot(page, `viewer_${path.split("/")[2] ?? "overview"}`);
      }
    });
  },
});
