/**
 * Takes docs/img/dashboard.png: `deno run -A tests/browser/take_picture.ts`.
 * Two weeks of runs of three labels, told apart by when they are said to have been.
 */
import { resolve } from "node:path";
import pg from "pg";
import { hydrated, Site } from "./site.ts";

const PICTURE = resolve(import.meta.dirname ?? ".", "..", "..", "docs", "img", "dashboard.png");
const RUNS = 36;

await using site = await Site.open({ name: "picture" });
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
const { run_id } = await site.api<{ run_id: string }>("/api/etl/run", {
  method: "POST",
  body: JSON.stringify({ run_label: "backfill_2025", batch_size: 1_500_000, chunk_size: 5000 }),
});
await site.visit(
  "/etl/overview",
  { viewport: { width: 1440, height: 1130 }, deviceScaleFactor: 1.5, colorScheme: "light" },
  async (page) => {
    await hydrated(page);
    await page.getByText("1 running").waitFor();
    await page.screenshot({ path: PICTURE });
  },
);
await site.api(`/api/etl/runs/${run_id}/cancel`, { method: "POST", body: "{}" });

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
