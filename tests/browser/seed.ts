import type { Site } from "./site.ts";

export interface Seeded {
  succeeded: string;
  failed: string;
  quarantined: string;
}

/** Runs of every kind, and something on every page. */
export async function seed(site: Site): Promise<Seeded> {
  for (let index = 1; index <= 5; index++) {
    await site.run({
      run_label: "daily_prod",
      batch_size: index * 700,
      source: { type: "synthetic", seed: index >> 1 },
    });
    await site.run({
      run_label: "orders",
      batch_size: index * 200,
      min_acceptance_ratio: 0.9,
      source: { type: "synthetic", name: "orders", seed: 100 + index },
    });
  }
  const succeeded = await site.run({
    run_label: "airports",
    chunk_size: 100,
    source: { type: "file", path: "airports.csv", key: "iata", name: "airports" },
  });
  await site.run({
    run_label: "weather",
    dry_run: true,
    source: { type: "file", path: "seattle-weather.csv", key: "date", name: "weather" },
  });
  const failed = await site.run({
    run_label: "weather",
    batch_size: 2000,
    source: { type: "file", path: "seattle-weather.csv", key: "date", name: "weather" },
  });
  const quarantined = await site.run({
    run_label: "manual",
    min_acceptance_ratio: 0,
    source: {
      type: "inline",
      name: "manual",
      key: "id",
      occurred_at: "at",
      records: [
        { id: 1, at: "2026-01-01T00:00:00Z" },
        { id: 2, at: "soon" },
        { at: "2026-01-02T00:00:00Z" },
      ],
    },
  });
  const put = (path: string, body: unknown) =>
    site.api(path, { method: "PUT", body: JSON.stringify(body) });
  await put("/api/configurations/nightly", {
    conf: { batch_size: 400, run_label: "nightly" },
    description: "Everything of the day before",
  });
  await put("/api/variables/etl_improved__db_page_size", { value: 2000 });
  await put("/api/pools/heavy", { slots: 2, description: "Large loads" });
  await put("/api/schedules/nightly_sales", {
    cron: "30 2 * * 1-5",
    time_zone: "Europe/Madrid",
    conf: { configuration: "nightly" },
    description: "The day before, on working days",
  });
  await put("/api/schedules/weather", { cron: "*/15 * * * *", conf: { batch_size: 100 } });
  await put("/api/schedules/yearly", { cron: "@yearly", active: false });
  await site.api("/api/schedules/weather/backfill", {
    method: "POST",
    body: JSON.stringify({ from: "2026-01-01", to: "2026-01-01T00:30" }),
  });
  await site.api("/api/etl/downstream?wait=true", { method: "POST", body: "{}" });
  return { succeeded, failed, quarantined };
}
