import assert from "node:assert/strict";
import pg from "pg";
import { assertAccessible, noBrowser, screenshot, Site } from "./site.ts";
import { seedManyRuns } from "../helpers/many_runs.ts";

const CREATED = { "content-type": "application/json" };

Deno.test({
  name: "a dataset says how fresh it is, what its rows hold, and who writes and reads it",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    const records = Array.from({ length: 40 }, (_, id) => ({
      id,
      colour: id % 4 === 0 ? "green" : "blue",
      note: id < 10 ? "kept" : null,
      amount: id * 1.5,
      nested: { size: id },
    }));
    const run = await site.run({
      run_label: "shop",
      table_name: "shop_orders",
      source: { type: "inline", name: "shop", key: "id", records },
    });
    const path = "/etl/datasets/public.shop_orders";
    await site.visit("/etl/datasets", {}, async (page) => {
      await page.getByRole("link", { name: "public.shop_orders" }).click();
      await page.waitForURL(`**${path}`);
      const cells = (name: string) =>
        page.locator(".profile tr", { has: page.locator(`th code:text-is("${name}")`) })
          .locator("td").allInnerTexts();
      assert.deepEqual((await cells("payload.colour")).slice(0, 5), [
        "string",
        "0%",
        "2",
        "blue",
        "green",
      ]);
      assert.match((await cells("payload.colour"))[5]!, /blue\s+30\s+green\s+10/);
      assert.deepEqual((await cells("payload.note")).slice(0, 3), ["string", "75%", "1"]);
      // numbers by their amount, not by their digits
      assert.deepEqual((await cells("payload.amount")).slice(3, 5), ["0", "58.5"]);
      const main = await page.locator("main").innerText();
      assert.match(main, /From all 40 rows/);
      assert.match(main, /40 new and 0 changed rows in the last 30 days/);
      assert.equal(await page.locator('[aria-labelledby="examples-title"] tbody tr').count(), 20);
      assert.equal(
        await page.locator('[aria-labelledby="writers-title"] a').getAttribute("href"),
        `/etl/runs/${run}`,
      );
      // the axis ends today, in the zone of the viewer
      const day = (back: number) =>
        new Intl.DateTimeFormat("en-GB", {
          ...{ timeZone: "Europe/Madrid", year: "numeric", month: "short", day: "2-digit" },
        }).format(new Date(Date.now() - back * 86_400_000));
      assert.deepEqual(await page.locator(".days-axis span").allInnerTexts(), [day(29), day(0)]);
      assert.equal(Number(await page.locator(".days rect").first().getAttribute("x")), 29 * 18);
      // a row is as high as its most frequent values
      const cut = await page.locator(".profile .common").evaluateAll((all) =>
        all.filter((each) =>
          (each as unknown as { offsetHeight: number }).offsetHeight >
            (each.parentElement as unknown as { clientHeight: number }).clientHeight - 4
        ).length
      );
      assert.equal(cut, 0);
      await assertAccessible(page, "a dataset");
      await screenshot(page, "dataset_1280_light");
    });
    await site.visit("/etl/datasets/public.nothing", { expected: /404/ }, async (page) => {
      assert.match(await page.locator("main").innerText(), /No run has written a dataset/);
    });

    // of a large table a bounded part is looked at, and the page says so
    const client = new pg.Client({ connectionString: site.dsn });
    await client.connect();
    // very many members, very long numbers and texts: own columns stay, and all of it is bounded
    await client.query(
      `
      insert into public.shop_orders (event_id, event_type, occurred_at, source, payload, fingerprint, run_id)
      select 'wild', 'x', now(), 'shop', jsonb_object_agg('m' || n, n) || jsonb_build_object('long', repeat('z', 600000),
        'digits', repeat('9', 100000)::numeric), sha256('wild'), $1 from generate_series(1, 2000) as n`,
      [run],
    );
    const { rows: [{ profile: wild }] } = await client.query(
      "select etl.profile_dataset('public.shop_orders') as profile",
    );
    await client.query(
      `select etl.ensure_destination('public', 'shop_wild', 'etl_improved_audit');
      insert into public.shop_wild select * from public.shop_orders where event_id = 'wild'`,
    );
    const { rows: [{ profile: alone }] } = await client.query(
      "select etl.profile_dataset('public.shop_wild') as profile",
    );
    const cells = alone.examples.flatMap((row: object) => Object.values(row)).map(String);
    assert.ok(cells.includes(`${"z".repeat(200)}…`) && cells.includes(`${"9".repeat(200)}…`));
    await client.query("delete from public.shop_orders where event_id = 'wild'");
    assert.ok(JSON.stringify(wild).length < 300_000, `${JSON.stringify(wild).length} characters`);
    const names: string[] = wild.columns.map(({ name }: { name: string }) => name);
    const own = names.filter((name) => !name.startsWith("payload."));
    assert.ok(own.includes("event_id") && own.includes("occurred_at"), names.join());
    assert.equal(names.length, 200 + own.length);
    assert.equal(wild.all_columns, 2000 + 2 + 5 + own.length);
    assert.ok(wild.examples.every((row: object) => Object.hasOwn(row, "event_id")));
    await client.query(
      `
      insert into public.shop_orders (event_id, event_type, occurred_at, source, payload, fingerprint, run_id)
      select 'many ' || n, 'x', now(), 'shop', jsonb_build_object('colour', 'red', 'n', n), sha256(n::text::bytea), $1
      from generate_series(1, 60000) as n`,
      [run],
    );
    const { rows: [{ profile: unknown }] } = await client.query(
      "select etl.profile_dataset('public.shop_orders') as profile",
    );
    // also of one that PostgreSQL has not counted yet
    assert.ok(unknown.sampled && unknown.rows <= 2001, JSON.stringify(unknown.rows));
    assert.ok(Math.abs(unknown.estimate - 60_040) < 12_000, String(unknown.estimate));
    await client.query("analyze public.shop_orders");
    const { rows: [{ profile }] } = await client.query(
      "select etl.profile_dataset('public.shop_orders') as profile",
    );
    assert.ok(profile.sampled && profile.rows <= 1000, JSON.stringify(profile.rows));
    assert.ok(Math.abs(profile.estimate - 60_040) < 6000, String(profile.estimate));
    await client.query("alter table public.shop_orders add column unused integer");
    const { rows: [{ profile: wider }] } = await client.query(
      "select etl.profile_dataset('public.shop_orders') as profile",
    );
    const unused = wider.columns.find(({ name }: { name: string }) => name === "unused");
    assert.deepEqual([unused.type, unused.nulls, unused.common], ["integer", wider.rows, []]);
    await seedManyRuns(client, 1000);
    await client.query(`
      insert into etl.alert_states (fingerprint, kind, subject, opened_at, last_at)
      values ('stale:public.shop_orders', 'stale', 'public.shop_orders', now(), now());
      update etl.datasets set stale_after_seconds = 3600 where dataset = 'public.shop_orders';
      -- the server, which looks every few seconds, finds it stale, too
      update etl.dataset_events set created_at = created_at - interval '2 hours' where dataset = 'public.shop_orders'`);
    await client.end();
    await site.visit(
      path,
      { viewport: { width: 390, height: 844 }, colorScheme: "dark", locale: "es-ES" },
      async (page) => {
        const main = await page.locator("main").innerText();
        assert.match(main, /Anticuado: no se ha escrito nada desde hace más de 1 h/);
        // a row is a card, of which the first few are shown
        const sideways = await page.evaluate(
          "[...document.querySelectorAll('.table-scroll')].filter((each) => each.scrollWidth > each.clientWidth).length",
        );
        assert.equal(sideways, 0, "tables that scroll sideways");
        const cards = page.locator('[aria-labelledby="examples-title"] tbody tr');
        assert.equal(await cards.filter({ visible: true }).count(), 5);
        const label = await cards.first().locator("td[data-title=event_id]").evaluate((each) =>
          getComputedStyle(each, "::before").content
        );
        assert.equal(label, '"event_id"');
        assert.doesNotMatch(await cards.first().innerText(), /–/);
        await assertAccessible(page, "a dataset in Spanish on a phone");
        await page.locator('[aria-labelledby="examples-title"]').getByLabel("Mostrar las 20")
          .check();
        assert.equal(await cards.filter({ visible: true }).count(), 20);
        await screenshot(page, "dataset_390_dark");
      },
    );

    // what rows hold is for whoever may preview
    const token = async (name: string, role: string) => {
      const response = await fetch(`${site.address}/api/tokens`, {
        method: "POST",
        headers: CREATED,
        body: JSON.stringify({ name, role }),
      });
      return (await response.json() as { token: string }).token;
    };
    const admin = await token("ada", "admin");
    const made = await fetch(`${site.address}/api/tokens`, {
      method: "POST",
      headers: { ...CREATED, authorization: `Bearer ${admin}` },
      body: JSON.stringify({ name: "vic", role: "viewer" }),
    });
    const viewer = (await made.json() as { token: string }).token;
    const html = async (bearer: string) =>
      await (await fetch(site.address + path, {
        headers: { accept: "text/html", authorization: `Bearer ${bearer}` },
      })).text();
    assert.match(await html(admin), />green<|>red<|>blue</);
    const seen = await html(viewer);
    assert.match(seen, /payload\.colour/);
    assert.doesNotMatch(seen, />green<|>red<|>blue</);
    assert.match(seen, /shown only to operators and admins/);
    // what is rendered once for many is rendered for each role
    const runs = (bearer: string) =>
      fetch(`${site.address}/etl/runs`, {
        headers: { accept: "text/html", authorization: `Bearer ${bearer}` },
      }).then((response) => response.text());
    const [ofAdmin, ofViewer, again] = await Promise.all([runs(admin), runs(viewer), runs(admin)]);
    assert.match(ofAdmin, /data-choose/);
    assert.match(again, /data-choose/);
    assert.match(ofViewer, /data-run=/);
    assert.doesNotMatch(ofViewer, /data-choose/);
  },
});
