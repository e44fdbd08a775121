import { destinationOf, type KeyedRun } from "./event_keys.ts";
import { LEFT_OUT } from "./event_rows.ts";
import type { Client } from "./pg.ts";
import { layoutOf, type RowLayout } from "./row_layout.ts";

/** Keys that one statement deletes or marks. */
const BATCH = 10_000;

/** What a source has in its table and what of it the input has no more. */
export interface Missing {
  /** Rows of the source. */
  rows: number;
  /** Those of them that are to go. */
  missing: number;
}

/**
 * Finds the rows of the run's own source that were written before it and whose key a table of keys does not have; keeps their
 * keys in a table that ends with the transaction. With `marking` only rows that are not marked yet count.
 */
export async function findMissing(
  client: Client,
  keys: string,
  run: KeyedRun,
  { marking }: { marking: boolean },
): Promise<Missing> {
  const layout = layoutOf(run);
  const mine = ofSource(layout, marking);
  const { rows: [own] } = await client.query<{ rows: number }>(
    `select count(*)::float8 as rows from ${destinationOf(run)} as t where ${mine}`,
    [run.sourceName],
  );
  await client.query(
    `create temp table etl_missing (event_id text not null) on commit drop`,
  );
  const { rowCount } = await client.query(
    `insert into pg_temp.etl_missing
    select ${layout.entryKey("t")} from ${destinationOf(run)} as t
    left join ${keys} as m on ${layout.hasKey("t", "m")}
    where m.event_id is null and ${mine} and t.${layout.runId} < $2`,
    [run.sourceName, run.orderRunId],
  );
  return { rows: own!.rows, missing: rowCount ?? 0 };
}

/** Deletes the rows that {@linkcode findMissing} has found, or marks them as gone; answers how many. */
export async function removeMissing(
  client: Client,
  run: KeyedRun,
  { marking }: { marking: boolean },
): Promise<number> {
  const layout = layoutOf(run);
  const table = destinationOf(run);
  const found = `${layout.hasKey("t", "m")} and ${ofSource(layout, marking, "$2")}
    and t.${layout.runId} < $3`;
  // by keys and not by a join with a table of ours: the destination may be distributed
  const statement = marking
    ? `update ${table} as t set ${layout.deletedAt} = now(), ${layout.updatedAt} = now(), ${layout.runId} = $3
      from unnest($1::text[]) as m (event_id) where ${found}`
    : `delete from ${table} as t using unnest($1::text[]) as m (event_id) where ${found}`;
  await client.query(
    "declare etl_gone no scroll cursor for select event_id from pg_temp.etl_missing",
  );
  let removed = 0;
  for (;;) {
    const { rows } = await client.query<{ event_id: string }>(`fetch ${BATCH} from etl_gone`);
    if (rows.length === 0) break;
    const batch = rows.map(({ event_id }) => event_id);
    const values = [batch, run.sourceName, run.orderRunId];
    const { rowCount } = await client.query(statement, values);
    removed += rowCount ?? 0;
    if (rowCount === batch.length) continue;
    const { rows: [left] } = await client.query<{ is: boolean }>(
      `select exists (select from ${table} as t, unnest($1::text[]) as m (event_id) where ${found}) as is`,
      values,
    );
    if (left!.is) throw Object.assign(new Error(LEFT_OUT), { code: "22000" });
  }
  await client.query("close etl_gone");
  return removed;
}

/** Deletes the rows of the run's own source that were written before it and whose key a table of keys has; answers how many. */
export async function removeKeyed(client: Client, keys: string, run: KeyedRun): Promise<number> {
  const layout = layoutOf(run);
  const { rows } = await client.query<{ event_id: string }>(`select event_id from ${keys}`);
  const { rowCount } = await client.query(
    `delete from ${destinationOf(run)} as t using unnest($1::text[]) as m (event_id)
    where ${layout.hasKey("t", "m")} and ${
      ofSource(layout, false, "$2")
    } and t.${layout.runId} < $3`,
    [rows.map(({ event_id }) => event_id), run.sourceName, run.orderRunId],
  );
  return rowCount ?? 0;
}

/** SQL that is true for a row of the source, not marked yet where rows are being marked. */
function ofSource(layout: RowLayout, marking: boolean, source = "$1"): string {
  // a row of a table that one source owns says nothing of it
  const mine = `not (${layout.isForeign("t", source)}) and ${source}::text is not null`;
  return marking && layout.deletedAt !== null ? `${mine} and t.${layout.deletedAt} is null` : mine;
}
