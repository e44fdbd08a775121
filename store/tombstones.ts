import { datasetOf, destinationOf, type KeyedRun, tombstoneLayout } from "./event_keys.ts";
import { isNewer, versionOf } from "./event_rows.ts";
import type { Client } from "./pg.ts";
import { layoutOf } from "./row_layout.ts";

/** Keys that one statement deletes. */
const BATCH = 10_000;

/**
 * Deletes the rows of the keys that a table of keys holds, where those are newer, and notes each key as deleted, so that an
 * older version that comes late brings no row back. Answers how many rows went.
 */
export async function bury(client: Client, keys: string, run: KeyedRun): Promise<number> {
  const layout = layoutOf(run);
  const newerThan = (tombstone: boolean, { event, row }: { event: string; row: string }) =>
    isNewer({ ...run, appends: false, layout: tombstone ? tombstoneLayout(layout) : layout }, {
      eventVersion: versionOf(layout, event) && `${event}.version`,
      row,
      orderRunId: "$4",
    });
  await client.query(
    `declare etl_buried no scroll cursor for
    select event_id, version::text as version from ${keys} order by event_id collate "C"`,
  );
  let deleted = 0;
  for (;;) {
    const { rows } = await client.query<{ event_id: string; version: string | null }>(
      `fetch ${BATCH} from etl_buried`,
    );
    if (rows.length === 0) break;
    const values = [
      rows.map(({ event_id }) => event_id),
      rows.map(({ version }) => version),
      run.sourceName,
      run.orderRunId,
    ];
    // by keys and not by a join with a table of ours: the destination may be distributed
    const { rowCount } = await client.query(
      `delete from ${
        destinationOf(run)
      } as t using unnest($1::text[], $2::numeric[]) as m (event_id, version)
      where ${layout.hasKey("t", "m")} and not (${
        layout.isForeign("t", "$3")
      }) and $3::text is not null
        and ${newerThan(false, { event: "m", row: "t" })}`,
      values,
    );
    deleted += rowCount ?? 0;
    await client.query(
      `insert into etl.tombstones as b (dataset, source, event_id, version, run_id)
      select $5, $3, m.event_id, m.version, $4::uuid from unnest($1::text[], $2::numeric[]) as m (event_id, version)
      on conflict (dataset, source, event_id) do update set version = excluded.version, run_id = excluded.run_id,
        deleted_at = excluded.deleted_at
      where ${newerThan(true, { event: "excluded", row: "b" })}`,
      [...values, datasetOf(run)],
    );
  }
  await client.query("close etl_buried");
  return deleted;
}
