import assert from "node:assert/strict";
import { waitFor } from "../helpers/wait_for.ts";
import { RECORDS } from "./data.ts";
import type { World, WorldServer } from "./world.ts";

/** Everything that a run leaves, in a form that is the same for every undisturbed run of the same data. */
export interface Footprint {
  state: string;
  checksum: string;
  counts: unknown;
  totals: unknown;
  stages: unknown;
  chunks: unknown;
  quarantine: string;
  validation: boolean | null;
  metrics: unknown;
  audit: unknown;
  datasetEvents: number;
  writes: unknown;
}

/** What the run of a table f_<name> has left. */
export async function footprint(world: World, runId: string, name: string): Promise<Footprint> {
  const [row] = await world.query<{ footprint: Footprint }>(
    `select jsonb_build_object(
      'state', r.state, 'counts', r.counts,
      'totals', jsonb_build_array(r.total_rows, r.expected_rows, r.ratio, r.num_chunks, r.low_ratio),
      'checksum', (select md5(string_agg(md5(concat_ws('|', event_id, event_type, occurred_at, source, version, payload,
          fingerprint)), '' order by event_id collate "C")) || ' ' || count(*) from f_${name}),
      'stages', (select jsonb_object_agg(stage, jsonb_build_array(state, records_in, records_out))
        from etl.stages where run_id = r.run_id),
      'chunks', (select jsonb_agg(jsonb_build_array(chunk_no, state, records_read, rejected, filtered, extra, events,
          duplicates, inserted, updated, unchanged, published_at is not null) order by chunk_no)
        from etl.chunks where run_id = r.run_id),
      'quarantine', (select md5(string_agg(concat_ws('|', chunk_no, position, output, rule, field, line, raw), ',' order by chunk_no, position, output))
        from etl.quarantine where run_id = r.run_id),
      'validation', (select success from etl.validations where run_id = r.run_id),
      'metrics', (select jsonb_agg(jsonb_build_array(status, total_rows, expected_rows, ratio, num_chunks, inserted, updated,
          unchanged, rejected, duplicates, filtered, extra)) from etl_improved_metrics where run_id = r.run_id),
      'audit', (select jsonb_agg(event order by event) from etl_improved_audit where run_id = r.run_id
        and event in ('requested', 'finished')),
      'datasetEvents', (select count(*) from etl.dataset_events where run_id = r.run_id),
      'writes', (select jsonb_object_agg(op, n) from (
        select op, jsonb_build_array(count(*), count(distinct event_id)) as n from fault_writes where name = 'f_${name}'
        group by op) as w)) as footprint
    from etl.runs as r where r.run_id = $1`,
    [runId],
  );
  return row!.footprint;
}

let known: Promise<Footprint> | undefined;

/** Loads what every table holds before its run; answers what a run without any fault leaves. */
export async function undisturbed(world: World, server: WorldServer): Promise<Footprint> {
  await world.loadBase(server);
  return await (known ??= load(world, server));
}

async function load(world: World, server: WorldServer): Promise<Footprint> {
  await world.addTable("reference");
  const runId = await world.request(server, world.conf("reference"));
  await world.ended(runId);
  const found = await footprint(world, runId, "reference");
  // the data must have everything in it that can go wrong
  const counts = found.counts as Record<string, number>;
  for (
    const name of [
      "inserted",
      "updated",
      "unchanged",
      "duplicates",
      "rejected",
      "filtered",
      "extra",
    ]
  ) {
    assert.ok(counts[name]! > 0, `${name} in ${JSON.stringify(counts)}`);
  }
  assert.equal(counts.records_read, RECORDS);
  assert.deepEqual(found.audit, ["finished", "requested"]);
  const { INSERT, UPDATE } = found.writes as Record<string, [number, number]>;
  assert.deepEqual(INSERT, [counts.inserted, counts.inserted], "each row is inserted once");
  assert.deepEqual(UPDATE, [counts.updated, counts.updated], "each row is updated once");
  return found;
}

export interface LeftoverOptions {
  /** Servers that are alive: nothing may be left in their spool directories. */
  servers: WorldServer[];
}

/** Waits until nothing is left of any run: no file, table, job, lock or transaction. */
export async function nothingIsLeft(world: World, { servers }: LeftoverOptions): Promise<void> {
  let left: unknown;
  await waitFor(async () => {
    left = [...await inDatabase(world), ...servers.flatMap(onDisk)];
    return (left as unknown[]).length === 0;
  }, { timeoutMs: 30_000, intervalMs: 100, what: "nothing to be left" }).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(left)}\n${world.logs()}`);
  });
}

async function inDatabase(world: World): Promise<string[]> {
  const rows = await world.query<{ what: string }>(
    `select 'table ' || relname as what from pg_class
      where relnamespace = 'etl'::regnamespace and relname ~ '^manifest_'
    union all select 'temporary table ' || relname from pg_class where relpersistence = 't' and relname ~ '^etl_'
    union all select 'lease ' || name from etl.leases where held_until < clock_timestamp()
    union all select 'shared run ' || run_id from etl.shared_runs
    union all select 'cancel request ' || run_id from etl.cancel_requests
    union all select 'backend ' || application_name || ' ' || state from pg_stat_activity
      where datname = current_database() and application_name like 'etl-run %'
    union all select 'transaction of ' || application_name from pg_stat_activity
      where datname = current_database() and state like 'idle in transaction%'
    union all select 'run ' || run_id || ' ' || state from etl.runs where state in ('queued', 'running')
    union all select 'prepared transaction ' || gid from pg_prepared_xacts where database = current_database()`,
  );
  return rows.map((row) => row.what);
}

/** Directories of runs; each server has one for its requests beside them. */
export function onDisk({ spool }: { spool: string }): string[] {
  return [...Deno.readDirSync(spool)].filter(({ name }) => name.startsWith("db-")).flatMap((
    { name },
  ) =>
    [...Deno.readDirSync(`${spool}/${name}`)].filter((entry) => !entry.name.startsWith("server-"))
      .map((entry) => `${spool}/${name}/${entry.name}`)
  );
}
