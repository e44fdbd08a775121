/**
 * `deno task pictures`: takes the pictures of README, in both themes, of what is there: a load in a terminal, the
 * pipelines after two weeks of runs (told apart by when they are said to have been), and a failed run with its
 * quarantine. Needs chromium and, for a terminal, `script` of util-linux; the terminal is xterm.js.
 */
import { join, resolve } from "node:path";
import pg from "pg";
import { npmPackages } from "../helpers/npm.ts";
import { closeBrowser, hydrated, Site } from "./site.ts";

const PROJECT_DIR = resolve(import.meta.dirname ?? ".", "..", "..");
const PICTURES = join(PROJECT_DIR, "docs", "img");
const THEMES = ["light", "dark"] as const;
const RUNS = 36;

await using _browser = { [Symbol.asyncDispose]: closeBrowser };
await using site = await Site.open({ name: "pictures" });
for (let index = 0; index < RUNS; index++) {
  const wave = Math.sin(index / 3) * 900 + Math.sin(index * 2.3) * 300;
  if (index % 3 === 0) {
    await site.run({
      run_label: "daily_prod",
      batch_size: 5200 + Math.round(wave),
      source: { type: "synthetic", seed: index >> 3 },
    });
  } else if (index % 3 === 1) {
    const missing = index === 22 ? 620 : Math.round(Math.abs(wave) / 25);
    await site.run({
      run_label: "orders_eu",
      batch_size: 3000 + missing,
      min_acceptance_ratio: 0.9,
      source: {
        type: "inline",
        name: "orders",
        key: "id",
        records: Array.from({ length: 3000 }, (_, id) => ({ id: `${index}-${id}` })),
      },
    });
  } else {
    await site.run({
      run_label: "weather",
      ...(index === 29 ? { batch_size: 1600 } : {}),
      source: {
        type: "file",
        path: "seattle-weather.csv",
        name: "weather",
        key: "date",
        event_type: "weather",
      },
    });
  }
}
await spread(site.dsn);
await site.api("/api/pools/heavy", { method: "PUT", body: JSON.stringify({ slots: 2 }) });
for (
  const [name, cron] of [
    ["daily_prod", "45 2 * * *"],
    ["orders_eu", "0 */4 * * 1-5"],
    ["weather", "30 20 * * *"],
  ]
) {
  await site.api(`/api/schedules/${name}`, {
    method: "PUT",
    body: JSON.stringify({ cron, time_zone: "Europe/Madrid" }),
  });
}
const failed = await site.run({
  run_label: "orders_eu",
  batch_size: 3000,
  min_acceptance_ratio: 0.99,
  source: {
    type: "inline",
    name: "orders",
    key: "id",
    occurred_at: "sold_at",
    records: Array.from({ length: 120 }, (_, id) => ({
      ...(id % 9 === 4 ? {} : { id: `o-${id}` }),
      sold_at: id % 11 === 7
        ? "31.11.2026"
        : `2026-11-${String(1 + id % 28).padStart(2, "0")}T08:00:00Z`,
      amount: 19.9,
    })),
  },
});
const { run_id } = await site.api<{ run_id: string }>("/api/etl/run", {
  method: "POST",
  body: JSON.stringify({ run_label: "backfill_2025", batch_size: 1_500_000, chunk_size: 5000 }),
});
for (const colorScheme of THEMES) {
  const look = { deviceScaleFactor: 1.25, colorScheme };
  await site.visit("/etl", { ...look, viewport: { width: 1280, height: 760 } }, async (page) => {
    await hydrated(page);
    await page.screenshot({ path: join(PICTURES, `pipelines_${colorScheme}.png`) });
  });
  await site.visit(
    `/etl/runs/${failed}`,
    { ...look, viewport: { width: 1280, height: 1000 } },
    async (page) => {
      await hydrated(page);
      await page.screenshot({ path: join(PICTURES, `failed_run_${colorScheme}.png`) });
    },
  );
}
await site.api(`/api/etl/runs/${run_id}/cancel`, { method: "POST", body: "{}" });
await takeTerminal(await loadInTerminal());

/** What a terminal of 110 columns is sent by `etl load orders.csv`, whose question is answered with yes. */
async function loadInTerminal(): Promise<string> {
  const dir = await Deno.makeTempDir({ prefix: "etl_pictures_" });
  try {
    await Deno.writeTextFile(join(dir, "orders.csv"), orders());
    const command =
      "stty cols 110 rows 50; npx etl load orders.csv --key order_id --time ordered_at --to orders";
    const etl = `deno run --frozen --quiet -A --no-prompt ${
      join(PROJECT_DIR, "scripts", "etl.ts")
    }`;
    const child = new Deno.Command("script", {
      args: ["-qec", command.replace("npx etl", etl), "/dev/null"],
      cwd: dir,
      env: {
        INIT_CWD: dir,
        KPIS_PG_DSN: site.dsn,
        TERM: "xterm-256color",
        ETL_SPOOL_DIR: join(dir, "spool"),
      },
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const keyboard = child.stdin.getWriter();
    let shown = "";
    let answered = false;
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      shown += text;
      if (answered || !shown.includes("[Y/n]")) continue;
      answered = true;
      await keyboard.write(new TextEncoder().encode("\r"));
    }
    await keyboard.close().catch(() => {});
    const { success } = await child.status;
    if (!success) throw new Error(shown);
    return `\x1b[32m$\x1b[0m etl load orders.csv --key order_id --time ordered_at --to orders\r\n${shown}`;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** 50,000 orders, of which three are wrong. */
function orders(): string {
  const lines = ["order_id,ordered_at,customer,country,amount,express"];
  for (let i = 0; i < 50_000; i++) {
    const at = new Date(Date.UTC(2026, 10, 1, 8) + i * 47_000).toISOString().slice(0, 19);
    const amount = (5 + (i * 7919 % 20_000) / 100).toFixed(2);
    const country = ["ES", "FR", "DE", "PT", "IT"][i * 31 % 5];
    const id = i === 17 ? "" : 100_000 + i;
    const when = i === 4711 || i === 30_123 ? "31.11.2026 07:00" : at.replace("T", " ");
    lines.push(
      `${id},${when},C${String(i * 37 % 9000).padStart(5, "0")},${country},${amount},${
        i % 7 === 0
      }`,
    );
  }
  return `${lines.join("\n")}\n`;
}

/** Has a terminal show what it was sent, and takes its picture. */
async function takeTerminal(sent: string): Promise<void> {
  const dir = join(await npmPackages("xterm", ["@xterm/xterm@6.0.0"]), "node_modules/@xterm/xterm");
  const [script, style] = await Promise.all(
    ["lib/xterm.js", "css/xterm.css"].map((file) => Deno.readTextFile(join(dir, file))),
  );
  for (const colorScheme of THEMES) {
    const theme = colorScheme === "dark" ? { background: "#0d1117", foreground: "#e6edf3" } : {
      ...{ background: "#ffffff", foreground: "#1f2328", cursor: "#ffffff" },
      ...{ cyan: "#0b6e86", green: "#1a7f37", red: "#c02020", yellow: "#8a6100" },
    };
    await site.blank(
      { deviceScaleFactor: 1, viewport: { width: 1000, height: 900 } },
      async (page) => {
        await page.setContent(
          `<style>${style} body{margin:0} #t{display:inline-block;padding:14px;background:${theme.background}} .scrollbar{display:none!important}</style><div id="t"></div>`,
        );
        await page.addScriptTag({ content: script! });
        await page.evaluate(
          `new Promise((resolve) => {
          const open = (rows, written) => {
            const element = document.getElementById("t");
            element.replaceChildren();
            const options = { cols: 110, rows, fontSize: 13, theme: ${
            JSON.stringify({ ...theme, cursor: theme.background })
          } };
            const terminal = new Terminal(options);
            terminal.open(element);
            terminal.write(${JSON.stringify(sent)}, () => written(terminal));
          };
          open(100, ({ buffer: { active } }) => {
            let rows = active.length;
            while (active.getLine(rows - 1).translateToString(true) === "") rows--;
            open(rows + 1, () => setTimeout(resolve, 300));
          });
        })`,
        );
        await page.locator("#t").screenshot({ path: join(PICTURES, `load_${colorScheme}.png`) });
      },
    );
  }
}

/** Says of each run that it was nine hours before the next. */
async function spread(dsn: string): Promise<void> {
  const client = new pg.Client({ connectionString: dsn });
  await client.connect();
  await client.query(`
    create temporary table moves as select run_id,
        (row_number() over (order by requested_at desc)) * interval '9 hours 7 minutes' as back
      from etl.runs;
    set session_replication_role = replica;
    update etl.runs as r set requested_at = requested_at - back, started_at = started_at - back, ended_at = ended_at - back
      from moves as m where m.run_id = r.run_id;
    update public.etl_improved_metrics as t set created_at = created_at - back from moves as m where m.run_id = t.run_id;
    update public.etl_improved_alerts as t set created_at = created_at - back from moves as m where m.run_id = t.run_id`);
  await client.end();
}
