import { Problem } from "../vocabulary/problem.ts";
import type { Sql } from "./database.ts";

/** How a dataset and another table, or what a dry run read, differ. Nothing is written for it. */
export interface Comparison {
  dataset: string;
  /** The other table, or "run" and the id of the dry run. */
  other: string;
  rows: { dataset: number; other: number };
  equal: number;
  different: number;
  only_in_dataset: number;
  only_in_other: number;
  /** The first rows that differ, in the order of their keys; none for a dry run. */
  differences: {
    event_id: string;
    /** missing in one of them, or another time or payload. */
    what: "only_in_dataset" | "only_in_other" | "occurred_at" | "payload";
    dataset: unknown;
    other: unknown;
  }[];
}

const SHOWN = 10;
/** Nobody waits longer for a table that a client has locked; statements of one message are one transaction. */
const BRIEF_LOCKS = "select set_config('lock_timeout', '3000', true);";
/** What a table is compared by: key, time, payload. */
const SHAPES = [["event_id", "occurred_at", "payload"], ["pk", "event_time", "attributes"]];

/** The fields of a payload, without the fingerprint that the original put among them. */
const FIELDS =
  "case when payload ->> 'fingerprint' ~ '^[0-9a-f]{16}$' then payload - 'fingerprint' else payload end";

/** A payload as it is shown: one that may have megabytes by its beginning. */
const shown = (payload: string) =>
  `case when octet_length(${payload}::text) <= 100000 then ${payload} else to_jsonb(left(${payload}::text, 2000) || '…') end`;

/** Compares keys, times and payloads of a dataset with those of a table of its shape, or of the original's. */
export async function compareTables(
  sql: Sql,
  { dataset, table }: { dataset: string; table: string },
): Promise<Comparison> {
  const ours = await selectionOf(sql, dataset);
  const theirs = await selectionOf(sql, table);
  const pairs = `(${ours}) as a full join (${theirs}) as b on b.id = a.id`;
  const [, [counts]] = await sql.unsafe(
    `${BRIEF_LOCKS}
    select count(a.id)::float8 as in_dataset, count(b.id)::float8 as in_other,
      count(*) filter (where b.id is null)::float8 as only_dataset, count(*) filter (where a.id is null)::float8 as only_other,
      count(*) filter (where a.id = b.id and (a.at is distinct from b.at or a.payload is distinct from b.payload))::float8 as different
    from ${pairs}`,
  ) as unknown as [unknown, Record<string, number>[]];
  const { in_dataset, in_other, only_dataset, only_other, different } = counts!;
  const differs = only_dataset! + only_other! + different! > 0;
  const [, differences] = !differs ? [null, []] : await sql.unsafe(
    `${BRIEF_LOCKS}
    select coalesce(a.id, b.id) as event_id,
      case when b.id is null then 'only_in_dataset' when a.id is null then 'only_in_other'
        when a.at is distinct from b.at then 'occurred_at' else 'payload' end as what,
      case when a.id is null then null when b.id is not null and a.at is distinct from b.at then to_jsonb(a.at) else ${
      shown("a.payload")
    } end as dataset,
      case when b.id is null then null when a.id is not null and a.at is distinct from b.at then to_jsonb(b.at) else ${
      shown("b.payload")
    } end as other
    from ${pairs}
    where a.id is null or b.id is null or a.at is distinct from b.at or a.payload is distinct from b.payload
    order by coalesce(a.id, b.id) collate "C" limit ${SHOWN}`,
  ) as unknown as [unknown, Comparison["differences"]];
  return {
    dataset,
    other: table,
    rows: { dataset: in_dataset!, other: in_other! },
    equal: in_dataset! - only_dataset! - different!,
    different: different!,
    only_in_dataset: only_dataset!,
    only_in_other: only_other!,
    differences: [...differences],
  };
}

async function selectionOf(sql: Sql, name: string): Promise<string> {
  const [found] = await sql<{ relation: string; harmless: boolean; columns: string[] }[]>`
    select format('%I.%I', n.nspname, c.relname) as relation, etl.is_harmless(c.oid) as harmless,
      array(select a.attname::text from pg_attribute as a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname || '.' || c.relname = ${name} and c.relkind in ('r', 'p', 'v', 'm', 'f')`;
  if (found === undefined) {
    throw new Problem("not-found", {
      status: 404,
      detail: `There is no table ${name}. Write it as schema.table.`,
    });
  }
  if (!found.harmless) {
    throw new Problem("destination-mismatch", {
      detail:
        `${name} is a view, or a table with row security, of another role, and this server has the rights of ` +
        "the installation's owner: what it calls would run with them. Compare with a table.",
    });
  }
  const shape = SHAPES.find((all) => all.every((column) => found.columns.includes(column)));
  if (shape === undefined) {
    throw new Problem("invalid-conf", {
      detail: `${name} cannot be compared: it needs the columns ${SHAPES[0]!.join(", ")}, or ${
        SHAPES[1]!.join(", ")
      } as the original's.`,
    });
  }
  const [key, at, payload] = shape;
  return `select id, at, ${FIELDS} as payload from (
    select ${key} as id, ${at} as at, ${payload}::jsonb as payload from ${found.relation}) as r`;
}

/** Compares a dataset with what a dry run has read: what it would have inserted, updated and left alone. */
export async function compareRun(
  sql: Sql,
  { dataset, runId }: { dataset: string; runId: string },
): Promise<Comparison> {
  const [run] = await sql<
    { ok: boolean; source: string; inserted: number; updated: number; unchanged: number }[]
  >`
    select r.dry_run and r.state = 'succeeded' and r.schema_name || '.' || r.table_name = ${dataset} as ok,
      coalesce(r.params #>> '{source,name}', r.run_label) as source, (r.counts ->> 'inserted')::float8 as inserted,
      (r.counts ->> 'updated')::float8 as updated, (r.counts ->> 'unchanged')::float8 as unchanged
    from etl.runs as r where r.run_id = ${runId}`;
  if (!run?.ok) {
    throw new Problem("invalid-conf", {
      detail: `${runId} is not a successful dry run into ${dataset}.`,
      errors: [{ field: "run_id", message: "is not a successful dry run into this dataset" }],
    });
  }
  const [table] = await sql<{ relation: string | null }[]>`
    select to_regclass(format('%I.%I', d.schema_name, d.table_name))::text as relation
    from etl.datasets as d where d.dataset = ${dataset}`;
  const [counted] = await sql.unsafe<{ rows: number }[]>(
    `select count(*)::float8 as rows from ${table!.relation!} where source = $1`,
    [run.source],
  );
  const { inserted, updated, unchanged } = run;
  return {
    dataset,
    other: `run ${runId}`,
    rows: { dataset: counted!.rows, other: inserted + updated + unchanged },
    equal: unchanged,
    different: updated,
    only_in_dataset: counted!.rows - updated - unchanged,
    only_in_other: inserted,
    differences: [],
  };
}
