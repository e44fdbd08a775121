import assert from "node:assert/strict";
import { join } from "node:path";
import { setupDatabase } from "../../scripts/setup_db.ts";
import type { Comparison } from "../../store/compare.ts";
import { runCli } from "../helpers/cli.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { startServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

const ORIGINAL = await Deno.readTextFile(
  new URL("../fixtures/original_installation.sql", import.meta.url),
);

/** What `airflow variables export` writes: texts. */
const EXPORTED = {
  etl_improved__batch_size: "700",
  etl_improved__enforce_ge: "False",
  etl_improved__mlflow_enable: "TRUE",
  etl_improved__mlflow_experiment: "nightly",
  etl_improved__min_acceptance_ratio: { value: "0.9", description: "as agreed" },
  etl_consumer__trend_window: "14",
  etl_maintenance__retention_days_events: "400",
  etl_improved__btach_size: "5",
  etl_improved__schema_name: "None",
  smtp_host: "mail.example.com",
};

Deno.test("the afternoon of docs/airflow_migration.md: take over, import, dry run, compare, switch", async (t) => {
  await using db = await testDatabase(t, { setUp: false });
  const dir = await Deno.makeTempDir({ prefix: "etl-afternoon-" });
  await withClient(db.dsn, (client) =>
    client.query(`${ORIGINAL};
      create schema airflow; create table airflow.events_of_that_day as select * from public.etl_improved_events`));
  await setupDatabase(db.dsn);
  // what the DAG reads: the fixture's records, as its extract would give them
  const records = Array.from({ length: 700 }, (_, n) => ({
    id: `evt-${n + 1}`,
    ts: new Date(Date.parse("2024-10-31T11:00:00Z") + n * 3_600_000).toISOString().replace(
      ".000",
      "",
    ),
    text: `ñ${n + 1}`,
    amount: (n + 1) * 1.5,
  }));
  const source = {
    type: "file",
    path: "records.ndjson",
    name: "etl_improved",
    key: "id",
    occurred_at: "ts",
  };
  const write = (all: unknown[]) =>
    Deno.writeTextFile(
      join(dir, "records.ndjson"),
      all.map((each) => JSON.stringify(each)).join("\n"),
    );
  await write(records);
  await Deno.writeTextFile(join(dir, "variables.json"), JSON.stringify(EXPORTED));
  await Deno.writeTextFile(join(dir, "source.json"), JSON.stringify(source));
  const env = {
    KPIS_PG_DSN: db.dsn,
    ETL_DATA_DIR: dir,
    ETL_SPOOL_DIR: join(dir, "spool"),
    INIT_CWD: dir,
  };
  const etl = (...args: string[]) => runCli(args, { env });
  try {
    {
      await using _server = await startServer({ dsn: db.dsn, env });
      await waitFor(
        () =>
          withClient(
            db.dsn,
            async (client) =>
              (await client.query("select from etl.datasets where fingerprints_from is not null"))
                .rows
                .length === 0,
          ),
        { timeoutMs: 30_000, what: "fingerprints" },
      );
    }
    const imported = await etl("variable", "import", "variables.json", "--json");
    assert.equal(imported.code, 1, "one is refused");
    const { imported: set, refused, left_out } = imported.json() as {
      imported: string[];
      refused: Record<string, string>;
      left_out: string[];
    };
    assert.deepEqual(Object.keys(refused), ["etl_improved__btach_size"]);
    assert.match(refused.etl_improved__btach_size!, /did you mean batch_size/);
    assert.deepEqual(left_out, ["etl_improved__schema_name", "smtp_host"]);
    assert.equal(set.length, 7);
    const values = (await etl("variable", "list", "--json")).json() as unknown as {
      name: string;
      value: unknown;
    }[];
    assert.deepEqual(Object.fromEntries(values.map(({ name, value }) => [name, value])), {
      etl_consumer__trend_window: 14,
      etl_improved__batch_size: 700,
      etl_improved__enforce_ge: false,
      etl_improved__min_acceptance_ratio: 0.9,
      etl_improved__mlflow_enable: true,
      etl_improved__mlflow_experiment: "nightly",
      etl_maintenance__retention_days_events: 400,
    });
    await etl("variable", "set", "etl_improved__mlflow_enable", "false");

    // side by side: nothing is lost, and a dry run writes nothing
    const dataset = "public.etl_improved_events";
    const same = await etl("compare", dataset, "airflow.events_of_that_day", "--json");
    assert.equal(same.code, 0, same.err);
    assert.deepEqual(same.json().rows, { dataset: 700, other: 700 });
    const bySource = await etl("compare", dataset, "--source", "@source.json");
    assert.equal(bySource.code, 0, bySource.err + bySource.out);
    assert.match(
      bySource.out,
      /^700 equal, 0 different, 0 only in public\.etl_improved_events, 0 only in run/,
    );
    await withClient(
      db.dsn,
      (client) =>
        client.query(
          `update airflow.events_of_that_day set attributes = attributes || '{"text": "x"}' where pk = 'evt-5';
        delete from airflow.events_of_that_day where pk = 'evt-6';
        update airflow.events_of_that_day set event_time = event_time + interval '1 s' where pk = 'evt-7';
        insert into airflow.events_of_that_day select 'evt-901', event_time, attributes from airflow.events_of_that_day limit 1`,
        ),
    );
    const other = await etl("compare", dataset, "airflow.events_of_that_day");
    assert.equal(other.code, 1);
    assert.match(
      other.out,
      /^697 equal, 2 different, 1 only in public\.etl_improved_events, 1 only in airflow/,
    );
    for (
      const line of [
        /payload\.text differs in 1$/m,
        /evt-5 different: {"payload\.text":"ñ5"} and {"payload\.text":"x"}$/m,
        /evt-6 only_in_dataset: {.*"ñ6"/,
        /evt-7 different: {"occurred_at":"[^"]*"} and {"occurred_at":"[^"]*"}$/m,
        /evt-901 only_in_other: {.*"ñ/,
      ]
    ) {
      assert.match(other.out, line);
    }
    // somebody has changed a row by hand, which its fingerprint does not know
    await withClient(
      db.dsn,
      (client) =>
        client.query(
          `update ${dataset} set payload = payload || '{"amount": -1}' where event_id = 'evt-700'`,
        ),
    );
    await write([...records.slice(1), { ...records[1], text: "other" }, {
      id: "new",
      ts: "2024-12-31",
    }, { id: null }]);
    const changed = await etl("compare", dataset, "--source", "@source.json", "--json");
    assert.equal(changed.code, 1, changed.err);
    const { rows, other: _, dataset: __, ...found } = changed.json() as unknown as Comparison;
    assert.deepEqual(rows, { dataset: 700, other: 700 });
    assert.deepEqual(found, {
      equal: 697,
      different: 2,
      only_in_dataset: 1,
      only_in_other: 1,
      rejected: 1,
      fields: { "payload.amount": 1, "payload.text": 1 },
      differences: [
        {
          event_id: "evt-2",
          what: "different",
          dataset: { "payload.text": "ñ2" },
          other: { "payload.text": "other" },
        },
        {
          event_id: "evt-700",
          what: "different",
          dataset: { "payload.amount": -1 },
          other: { "payload.amount": 1050 },
        },
        {
          event_id: "evt-1",
          what: "only_in_dataset",
          dataset: found.differences[2]!.dataset,
          other: null,
        },
        {
          event_id: "new",
          what: "only_in_other",
          dataset: null,
          other: found.differences[3]!.other,
        },
      ],
    });
    assert.equal(found.differences[2]!.dataset!["payload.text"], "ñ1");
    assert.equal(found.differences[3]!.other!["payload.id"], "new");
    await withClient(
      db.dsn,
      (client) =>
        client.query(
          `update ${dataset} set payload = payload || '{"amount": 1050}' where event_id = 'evt-700'`,
        ),
    );

    // the schedule, off until it is switched on
    const schedule = await etl("schedule", "import-original", "--json");
    assert.deepEqual(schedule.json(), { made: ["configuration", "schedule"] }, schedule.err);
    assert.deepEqual((await etl("schedule", "import-original", "--json")).json(), { made: [] });
    const shown = async () => (await etl("schedule", "show", "etl_improved", "--json")).json();
    const { active, cron, time_zone, overlap, configuration } = await shown();
    assert.deepEqual({ active, cron, time_zone, overlap, configuration }, {
      active: false,
      cron: "@daily",
      time_zone: "UTC",
      overlap: "queue",
      configuration: "etl_improved",
    });
    const conf = (await etl("configuration", "show", "etl_improved")).out;
    assert.deepEqual(JSON.parse(conf).sla_seconds, { run: 2700, stages: { load: 900 } });
    assert.equal(JSON.parse(conf).timeout_seconds.run, 2700);
    assert.equal(JSON.parse(conf).timeout_seconds.stages.load, 600);
    await etl("configuration", "set", "etl_improved", "--source", "@source.json");
    await etl("schedule", "resume", "etl_improved");
    assert.equal((await shown()).active, true);
    await write(records);
    const run = await etl("schedule", "run", "etl_improved", "--json");
    assert.deepEqual(
      [run.code, run.json().unchanged, run.json().inserted],
      [0, 700, 0],
      run.err + run.out,
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
