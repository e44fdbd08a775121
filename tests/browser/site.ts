import assert from "node:assert/strict";
import { basename, join, resolve } from "node:path";
import axe from "axe-core";
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from "playwright-core";
import { buildIslands } from "../../scripts/build_islands.ts";
import { type TestDatabase, testDatabase } from "../helpers/postgres.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { startServer, type TestServer } from "../helpers/server.ts";
import { lacks } from "../helpers/needs.ts";

/** The first that is there. The one without windows opens a page in half the time. */
const CHROMIUM = ["/usr/bin/chromium-headless-shell", "/usr/bin/chromium"].find((path) => {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
});
const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..", "..");
/** Where pictures of the pages are put for review; git ignores it. */
const SCREENSHOTS = join(PROJECT_DIR, ".data", "screenshots");

/** Where there is no Chromium these tests are left out. */
export const noBrowser = lacks(
  CHROMIUM !== undefined,
  "install chromium-headless-shell for the tests of the dashboard",
);

export interface VisitOptions extends BrowserContextOptions {
  /** Messages on the console that are expected. */
  expected?: RegExp;
  /** Whether the page has no scripts to wait for; default false. */
  plain?: boolean;
}

let launched: Promise<Browser> | undefined;

/** One browser serves all tests of a process: each visit has a profile of its own. */
function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: CHROMIUM!,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
    ],
  });
}

/** What the tests of one file share. */
let shared: { file: string; site: Promise<Site> } | undefined;

async function closeShared(): Promise<void> {
  const site = shared?.site;
  shared = undefined;
  // one that did not open has failed its tests
  await (await site?.catch(() => undefined))?.[Symbol.asyncDispose]();
}

/** Ends the browser; tests do it by themselves when the last of their process is over. */
export async function closeBrowser(): Promise<void> {
  await closeShared();
  await (await launched)?.close();
  launched = undefined;
}

Deno.test.afterAll(closeBrowser);

/** The real server on a database of its own, and a browser to visit it with. */
export class Site implements AsyncDisposable {
  readonly address: string;
  readonly dsn: string;
  readonly #server: TestServer;
  readonly #database: TestDatabase;
  readonly #browser: Browser;

  private constructor(server: TestServer, database: TestDatabase, browser: Browser) {
    this.address = server.address;
    this.dsn = database.dsn;
    this.#server = server;
    this.#database = database;
    this.#browser = browser;
  }

  static async open(t: { name: string }, env: Record<string, string> = {}): Promise<Site> {
    await buildIslands();
    const database = await testDatabase(t);
    const server = await startServer({
      dsn: database.dsn,
      env: { ETL_DATA_DIR: join(PROJECT_DIR, "node_modules/vega-datasets/data"), ...env },
    });
    launched ??= launch();
    const browser = await launched;
    return new Site(server, database, browser);
  }

  /**
   * One site for those tests of a file, `import.meta.url`, that mind nothing that others of it leave there, in any order:
   * a server and its first run take two seconds of a core. It ends with the first test of another file.
   */
  static async ofFile(file: string, env: Record<string, string> = {}): Promise<Site> {
    if (shared?.file !== file) {
      await closeShared();
      shared = { file, site: Site.open({ name: basename(file) }, env) };
    }
    return await shared.site;
  }

  /** A page in a fresh profile; what goes wrong on its console fails the test. */
  visit(
    path: string,
    options: VisitOptions,
    use: (page: Page, context: BrowserContext) => Promise<void>,
  ): Promise<void> {
    return this.tour([path], options, (_path, page, context) => use(page, context));
  }

  /** The same page by page, in one profile and tab: the browser reads the scripts once. */
  async tour(
    paths: string[],
    { expected, plain, ...options }: VisitOptions,
    use: (path: string, page: Page, context: BrowserContext) => Promise<void>,
  ): Promise<void> {
    const context = await this.#browser.newContext({
      locale: "en-GB",
      timezoneId: "Europe/Madrid",
      viewport: { width: 1280, height: 900 },
      ...options,
    });
    // as long as waitFor: a busy machine takes its time
    context.setDefaultTimeout(30_000);
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on("pageerror", ({ message }) => {
      // the browser's own, of the fade between two pages where the second goes on at once
      if (!message.startsWith("Transition was ")) complaints.push(message);
    });
    page.on("console", (message) => {
      if (!["error", "warning"].includes(message.type())) return;
      if (expected?.test(message.text())) return;
      complaints.push(message.text());
    });
    try {
      for (const path of paths) {
        await page.goto(this.address + path);
        if (options.javaScriptEnabled !== false && !plain) await hydrated(page);
        await use(path, page, context);
        assert.deepEqual(complaints, []);
      }
    } catch (error) {
      const text = await page.locator("body").innerText({ timeout: 1000 }).catch(() => "");
      throw new Error(
        `${(error as Error).message}\nConsole: ${complaints.join("\n")}\nPage ${page.url()}:\n${
          text.slice(0, 3000)
        }`,
        { cause: error },
      );
    } finally {
      await context.close();
    }
  }

  /** An empty page, for what is not the server's. */
  async blank(options: BrowserContextOptions, use: (page: Page) => Promise<void>): Promise<void> {
    const context = await this.#browser.newContext(options);
    try {
      await use(await context.newPage());
    } finally {
      await context.close();
    }
  }

  /** Calls the API; JSON in, JSON out. */
  async api<T = Record<string, unknown>>(path: string, init: RequestInit = {}): Promise<T> {
    const response = await fetch(this.address + path, {
      ...init,
      headers: { "content-type": "application/json", ...init.headers },
    });
    const text = await response.text();
    assert.ok(response.ok, `${path}: ${text}`);
    return (text === "" ? undefined : JSON.parse(text)) as T;
  }

  /** Asks for a run and waits for its end; answers its id. */
  async run(conf: Record<string, unknown> = {}): Promise<string> {
    const { run_id } = await this.api<{ run_id: string }>("/api/etl/run?wait=true", {
      method: "POST",
      body: JSON.stringify(conf),
    });
    return run_id;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
    await this.#database[Symbol.asyncDispose]();
  }
}

/** Waits for an expression of the page; Playwright's own way is refused by the policy of the pages. */
export async function until(page: Page, expression: string): Promise<void> {
  await waitFor(() => page.evaluate(expression), { what: expression });
}

/** Waits until every island of the page is alive and every chart is drawn. */
export async function hydrated(page: Page): Promise<void> {
  await until(
    page,
    "document.documentElement.classList.contains('ready') && document.querySelectorAll(" +
      "'[data-island]:not(.ready), canvas:not([data-drawn])').length === 0",
  );
}

/** An answer of the server that has not come yet. */
export interface HeldAnswer {
  /** Resolves when the server has answered. */
  answered: Promise<void>;
  /** Lets it come, and waits until the page has shown what it shows of it. */
  release(): Promise<void>;
}

/** Holds back the answer to the next request whose address fits: others overtake it. */
export async function holdAnswer(page: Page, address: RegExp): Promise<HeldAnswer> {
  const answered = Promise.withResolvers<void>();
  const wanted = Promise.withResolvers<void>();
  const come = Promise.withResolvers<void>();
  await page.route(address, async (route) => {
    const response = await route.fetch();
    answered.resolve();
    await wanted.promise;
    await route.fulfill({ response });
    await (await route.request().response())?.finished();
    come.resolve();
  }, { times: 1 });
  return {
    answered: answered.promise,
    async release() {
      wanted.resolve();
      await come.promise;
      // an answer that was asked for later comes to the page later, however busy the machine is
      await page.evaluate(
        "fetch('/livez').then((r) => r.text()).then(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done))))",
      );
    },
  };
}

interface AxeResults {
  violations: { id: string; help: string; nodes: { html: string; failureSummary?: string }[] }[];
}

/** Fails with what axe-core finds on the page, WCAG 2.2 AA and best practices. */
export async function assertAccessible(page: Page, what: string): Promise<void> {
  if (!await page.evaluate("'axe' in window")) await page.evaluate(axe.source);
  const { violations } = await page.evaluate(
    // what passes is not told, which saves looking for how to name it
    "axe.run({ resultTypes: ['violations'] })",
  ) as AxeResults;
  const found = violations.map(({ id, help, nodes }) =>
    `${id}: ${help}\n${
      nodes.slice(0, 3).map(({ html, failureSummary }) =>
        `  ${html.slice(0, 200)}\n  ${failureSummary}`
      )
        .join("\n")
    }`
  );
  assert.equal(found.length, 0, `${what}:\n${found.join("\n")}`);
}

/**
 * Goes through a page with the tab key: everything that takes the focus is in view and none keeps it. Answers how many
 * do.
 */
export async function walkByTab(page: Page, what: string): Promise<number> {
  await page.evaluate("document.activeElement?.blur(), window.scrollTo(0, 0), window.walked = []");
  for (let steps = 0; steps < MOST_STOPS; steps++) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(LOOK_AT_FOCUS) as string | null;
    if (stop === null) return steps;
    assert.equal(stop, "", `${what}: the focus ${stop}`);
  }
  throw new Error(`${what}: more than ${MOST_STOPS} stops of the tab key`);
}

const MOST_STOPS = 400;
/** Null at the page's end; else what is wrong with where the focus is. */
const LOOK_AT_FOCUS = `(() => {
  const at = document.activeElement;
  if (at === null || at === document.body || window.walked.includes(at) && window.walked[0] === at) return null;
  const name = at.outerHTML.slice(0, 160);
  // its day, month and year are stops of their own
  if (at.type === "date" && window.walked.at(-1) === at) return "";
  if (window.walked.includes(at)) return "comes back to " + name;
  window.walked.push(at);
  const { width, height } = at.getBoundingClientRect();
  if (width < 1 || height < 1) return "is on something that cannot be seen: " + name;
  const style = getComputedStyle(at);
  const shown = style.outlineStyle !== "none" || style.boxShadow !== "none" ||
    getComputedStyle(at.closest(".choice") ?? at).outlineStyle !== "none";
  return shown ? "" : "cannot be seen on " + name;
})()`;

/** Puts a picture of the whole page into .data/screenshots/<name>.png, if ETL_TEST_PICTURES is set: it takes its time. */
export async function screenshot(page: Page, name: string): Promise<void> {
  if (!Deno.env.get("ETL_TEST_PICTURES")) return;
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
}
