import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { waitFor } from "../helpers/wait_for.ts";
import { assertAccessible, holdAnswer, hydrated, noBrowser, screenshot, Site } from "./site.ts";

const asJson = (page: Page) => page.locator("#schedule-conf");
const dialog = (page: Page) => page.getByRole("dialog");
const fill = async (page: Page, values: Record<string, string>) => {
  for (const [label, value] of Object.entries(values)) {
    await dialog(page).getByLabel(label, { exact: true }).fill(value);
  }
};

Deno.test({
  name: "a schedule is created with its slots previewed, changed, paused, resumed and removed",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    await site.api("/api/configurations/small", {
      method: "PUT",
      body: JSON.stringify({ conf: { batch_size: 20 } }),
    });
    await site.visit("/etl/schedules", { expected: /400|422/ }, async (page) => {
      await page.getByRole("button", { name: "New schedule" }).click();
      assert.equal(await dialog(page).getByLabel("Time zone").inputValue(), "Europe/Madrid");
      await fill(page, { Name: "nightly", "Cron expression": "30 2 28 3" });
      await dialog(page).locator(".next-slots .field-error").waitFor();
      await fill(page, { "Cron expression": "30 2 28 3 *" });
      await dialog(page).getByText("As JSON").click();
      await asJson(page).fill('{"batch_sise": 1}');
      await dialog(page).getByText("At 02:30, on day 28 of the month, only in March").waitFor();
      assert.equal(await dialog(page).locator(".slot-times li").count(), 5);
      await screenshot(page, "schedule_editor_1280_light");
      await assertAccessible(page, "schedule editor");
      await dialog(page).getByRole("button", { name: "Save" }).click();
      await dialog(page).locator(".field-error").getByText("batch_size").waitFor();
      // what is chosen in the form needs no JSON, and loses nothing of the dialog
      await asJson(page).fill('{"source": {"type": "synthetic"}, "note": ');
      await dialog(page).getByRole("button", { name: "Choose in the form" }).click();
      await dialog(page).getByText("What to run is not a JSON object").waitFor();
      await asJson(page).fill(
        '{"source": {"type": "synthetic"}, "batch_size": 12, "suite": null}',
      );
      await dialog(page).getByText("Late and overlapping runs").click();
      await fill(page, { "Grace in seconds": "77" });
      await dialog(page).getByRole("button", { name: "Choose in the form" }).click();
      await page.getByRole("heading", { name: "What schedule nightly runs" }).waitFor();
      await hydrated(page);
      assert.equal(await page.getByRole("button", { name: "Start run" }).count(), 0);
      assert.equal(await page.locator("#field-batch_size").inputValue(), "12");
      await page.locator("#field-batch_size").fill("13");
      await assertAccessible(page, "the form of a schedule");
      await screenshot(page, "schedule_form_1280_light");
      await page.goBack();
      await dialog(page).getByText("12", { exact: true }).waitFor();
      await dialog(page).getByRole("button", { name: "Choose in the form" }).click();
      await page.locator("#field-run_label").fill("{{slot}}");
      // the preview reads what the next run would, and says so
      const slots = page.waitForRequest(/\/api\/etl\/preview/);
      await page.getByRole("button", { name: "Preview" }).click();
      assert.match((await slots).url(), /cron=30\+2\+28\+3\+\*&time_zone=Europe%2FMadrid/);
      await page.locator(".preview .facts").getByText(/^\d{4}-03-28T0[01]:[03]0:00Z$/).waitFor();
      await page.locator("#field-overlap").selectOption("queue");
      await page.getByRole("button", { name: "Use for the schedule" }).click();
      await dialog(page).getByText("{{slot}}", { exact: true }).waitFor();
      await screenshot(page, "schedule_editor_own_1280_light");
      assert.equal(await page.locator("#schedule-name").inputValue(), "nightly");
      // another choice and back: they are still there
      await dialog(page).getByLabel("Saved configuration").selectOption("small");
      assert.equal(await asJson(page).count(), 0);
      await dialog(page).getByLabel("Saved configuration").selectOption("values of its own");
      await dialog(page).getByRole("button", { name: "Save" }).click();
      await page.getByText("nightly is saved.").waitFor();
      const own = await site.api<Record<string, unknown>>("/api/schedules/nightly");
      assert.deepEqual(own.conf, {
        source: { type: "synthetic" },
        batch_size: 12,
        suite: null,
        run_label: "{{slot}}",
      });
      assert.deepEqual([own.cron, own.grace_seconds, own.overlap], ["30 2 28 3 *", 77, "queue"]);
      await page.getByRole("button", { name: "Change nightly" }).click();
      await dialog(page).getByRole("button", { name: "Choose in the form" }).click();
      await page.getByRole("link", { name: "Back without changes" }).click();
      // what is saved by name needs no JSON
      await dialog(page).getByLabel("Saved configuration").selectOption("small");
      await dialog(page).getByRole("button", { name: "Save" }).click();
      await page.getByText("nightly is saved.").waitFor();
      const { conf } = await site.api<{ conf: unknown }>("/api/schedules/nightly");
      assert.deepEqual(conf, { configuration: "small" });

      await page.getByRole("button", { name: "Change nightly" }).click();
      assert.equal(await dialog(page).getByLabel("Saved configuration").inputValue(), "small");
      await fill(page, { "Cron expression": "@daily", Description: "Each night" });
      await dialog(page).getByRole("button", { name: "Save" }).click();
      await page.locator("tbody").getByText("Each night").waitFor();

      await page.getByRole("button", { name: "Pause nightly" }).click();
      await fill(page, { Until: "2020-01-01T00:00" });
      await dialog(page).getByRole("button", { name: "Pause" }).click();
      await dialog(page).getByRole("alert").waitFor();
      await fill(page, { Until: "" });
      await dialog(page).getByRole("button", { name: "Pause" }).click();
      await page.locator("tbody").getByText("paused").waitFor();
      await page.getByRole("button", { name: "Resume nightly" }).click();
      await page.getByText("nightly continues with its next slot.").waitFor();

      // whoever saves a schedule as it is keeps each digit of what it runs, also by way of the form
      const digits = '{"note": 1.10, "id": 12345678901234567890.10}';
      const ofExact =
        `{"min_acceptance_ratio": 0.50, "source": {"type": "inline", "records": [${digits}]}}`;
      await site.api("/api/schedules/exact", {
        method: "PUT",
        body: `{"cron": "@yearly", "conf": ${ofExact}}`,
      });
      const exact = async () => {
        const answer = await fetch(`${site.address}/api/schedules/exact`);
        return (await answer.text()).replaceAll(/\s/g, "");
      };
      await page.reload();
      await hydrated(page);
      for (const byForm of [false, true]) {
        await page.getByRole("button", { name: "Change exact" }).click();
        if (byForm) {
          await dialog(page).getByRole("button", { name: "Choose in the form" }).click();
          await hydrated(page);
          await page.getByRole("button", { name: "Use for the schedule" }).click();
        }
        await dialog(page).getByRole("button", { name: "Save" }).click();
        await page.getByText("exact is saved.").waitFor();
        const stored = await exact();
        // a parameter of the form is the same number
        assert.match(
          stored,
          byForm ? /"min_acceptance_ratio":0.5[,}]/ : /"min_acceptance_ratio":0.50/,
        );
        assert.ok(stored.includes('"note":1.10'), stored);
        assert.ok(stored.includes('"id":12345678901234567890.10'), stored);
      }
      await site.api("/api/schedules/exact", { method: "DELETE" });

      // a list that was looked up before comes too late to bring it back
      await page.clock.install();
      await page.reload();
      await hydrated(page);
      const list = await holdAnswer(page, /data\/schedules/);
      await page.clock.fastForward(16_000);
      await list.answered;
      await page.getByRole("button", { name: "Remove nightly" }).click();
      await dialog(page).getByRole("button", { name: "Remove" }).click();
      await page.getByText("No schedule yet").waitFor();
      await list.release();
      assert.equal(await page.locator("tbody tr").count(), 0);
    });
  },
});

Deno.test({
  name: "past slots are counted, run and seen with their runs; run now opens the run",
  ignore: noBrowser,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using site = await Site.open(t);
    await site.api("/api/schedules/hourly", {
      method: "PUT",
      body: JSON.stringify({ cron: "@hourly", conf: { batch_size: 5 } }),
    });
    await site.visit("/etl/schedules", {}, async (page) => {
      await page.getByRole("button", { name: "Slots of hourly" }).click();
      await dialog(page).locator(".slot-rows > li").nth(4).waitFor();
      await dialog(page).getByText("Run past slots (backfill)").click();
      await fill(page, { From: "2026-01-01T00:00", "To (empty: now)": "2026-01-01T02:00" });
      // what was counted of other times is not what would be run
      const counted = await holdAnswer(page, /backfill/);
      await dialog(page).getByRole("button", { name: "Count them" }).click();
      await counted.answered;
      await fill(page, { "To (empty: now)": "2026-01-01T02:01" });
      await counted.release();
      assert.equal(await dialog(page).getByText("would be run").count(), 0);
      await dialog(page).getByRole("button", { name: "Count them" }).click();
      await dialog(page).getByText("3 slots would be run.").waitFor();
      await dialog(page).getByRole("button", { name: "Run 3 slots" }).click();
      await dialog(page).getByText("3 runs are requested.").waitFor();
      await dialog(page).locator(".slot-rows > li").nth(7).waitFor();
      await screenshot(page, "schedule_slots_1280_light");
      await assertAccessible(page, "slots of a schedule");
      await dialog(page).getByRole("button", { name: "Close" }).click();
      // older ones that are asked for twice come once
      let answered = 0;
      await page.route(/slots\?limit=/, async (route) => {
        const url = new URL(route.request().url());
        const isOlder = url.searchParams.has("cursor");
        url.searchParams.delete("cursor");
        const response = await route.fetch({ url: url.href });
        const json = { ...await response.json(), next: isOlder ? null : "older" };
        await route.fulfill({ response, json });
        await (await route.request().response())?.finished();
        answered++;
      });
      await page.getByRole("button", { name: "Slots of hourly" }).click();
      await dialog(page).getByRole("button", { name: "Show older ones" }).dblclick();
      await waitFor(() => answered === 3, { what: "both have come" });
      await dialog(page).locator(".slot-rows > li").nth(10).waitFor();
      assert.equal(await dialog(page).locator(".slot-rows > li").count(), 11);
      await dialog(page).getByRole("button", { name: "Close" }).click();
      await page.getByRole("button", { name: "Run hourly now" }).click();
      await page.waitForURL(/\/etl\/runs\/[0-9a-f-]{36}$/);
    });
    await site.visit("/etl/overview", {}, async (page) => {
      await page.locator(".schedule-row").getByText("hourly", { exact: true }).waitFor();
    });
  },
});
