import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import type { Sql } from "./database.ts";
import { errorCode } from "./errors.ts";
import { createStage } from "./event_rows.ts";
import type { Client } from "./pg.ts";
import { quoteIdent } from "./quote.ts";
import { keyColumns, layoutOf, type TypedTable } from "./row_layout.ts";

/** How a dataset and another table, or what a dry run read, differ. Nothing is written to either for it. */
export interface Comparison {
  dataset: string;
  /** The other table, or "run" and the id of the dry run. */
  other: string;
  rows: { dataset: number; other: number };
  equal: number;
  different: number;
  only_in_dataset: number;
  only_in_other: number;
  /** Records that the dry run rejected, which are compared with nothing; not of a table. */
  rejected?: number;
  /** In how many of the different rows each column differs, or field of the payload ("payload.amount"); the 50 most frequent. */
  fields: Record<string, number>;
  /** The first rows of each kind, in the order of their keys. */
  differences: {
    event_id: string;
    what: "only_in_dataset" | "only_in_other" | "different";
    /** The row, or what of it differs; null where there is none. A value of more than 2,000 characters by its beginning. */
    dataset: Record<string, unknown> | null;
    other: Record<string, unknown> | null;
  }[];
}

/** Rows shown of each kind. */
const SHOWN = 10;
/** Nobody waits longer for a table that a client has locked; statements of one message are one transaction. */
const BRIEF_LOCKS = "select set_config('lock_timeout', '3000', true);";
/** The first names are how an events table has them, the second how the original's has. */
const SHAPES = [["event_id", "occurred_at", "payload"], ["pk", "event_time", "attributes"]];

/** The fields of a payload, without the fingerprint that the original put among them. */
const FIELDS =
  "case when payload ->> 'fingerprint' ~ '^[0-9a-f]{16}$' then payload - 'fingerprint' else payload end";

/** A relation as SQL reads it. */
interface Relation {
  name: string;
  relation: string;
  /** Types by the columns' names. */
  columns: Record<string, string>;
}

/** SQL for rows as they are compared: `id`, a jsonb, and `row`, an object of what is compared. */
type Selection = string;

/** A row with the fields of its payload as columns of their own, "payload.amount"; long values by their beginning. */
const flat = (row: string) =>
  `(select coalesce(jsonb_object_agg(name, case when octet_length(value::text) <= 2000 then value
      else to_jsonb(left(value::text, 2000) || '…') end), '{}')
    from (
      select key as name, value from jsonb_each(${row}) where key <> 'payload' or jsonb_typeof(value) <> 'object'
      union all
      select 'payload.' || key, value from jsonb_each(case when jsonb_typeof(${row} -> 'payload') = 'object' then ${row} -> 'payload' else '{}' end)
    ) as parts)`;

/** Both sides' values of the fields in which two flat rows differ. */
const changes = (a: string, b: string) =>
  `select coalesce(x.key, y.key) as field, x.value as a, y.value as b
    from jsonb_each(${a}) as x full join jsonb_each(${b}) as y on y.key = x.key
    where x.value is distinct from y.value`;

/** One statement over both: what differs is kept on PostgreSQL's disk where it is much, and so is what is joined. */
function comparison(ours: Selection, theirs: Selection): string {
  const sample = ["different", "only_in_dataset", "only_in_other"].map((what) =>
    `(select id, what, a, b from differing where what = '${what}' order by id limit ${SHOWN})`
  ).join(" union all ");
  return `with ours as not materialized (${ours}), theirs as not materialized (${theirs}),
    differing as materialized (
      select coalesce(a.id, b.id) as id, a.row as a, b.row as b,
        case when b.id is null then 'only_in_dataset' when a.id is null then 'only_in_other' else 'different' end as what
      from ours as a full join theirs as b on b.id = a.id
      where a.row is distinct from b.row
    ),
    shown as (
      select id, what, case what when 'different' then c.a else ${flat("s.a")} end as a,
        case what when 'different' then c.b else ${flat("s.b")} end as b
      from (${sample}) as s cross join lateral (
        select jsonb_object_agg(c.field, c.a) as a, jsonb_object_agg(c.field, c.b) as b
        from (${changes(flat("s.a"), flat("s.b"))}) as c where what = 'different') as c
    )
    select json_build_object(
      'rows', json_build_object('dataset', (select count(*) from ours), 'other', (select count(*) from theirs)),
      'different', (select count(*) from differing where what = 'different'),
      'only_in_dataset', (select count(*) from differing where what = 'only_in_dataset'),
      'only_in_other', (select count(*) from differing where what = 'only_in_other'),
      'fields', (select coalesce(json_object_agg(field, n order by n desc, field), '{}') from (
        select c.field, count(*) as n from differing as d
        cross join lateral (${changes(flat("d.a"), flat("d.b"))}) as c
        where d.what = 'different' group by c.field order by n desc, c.field limit 50) as fields),
      'differences', (select coalesce(json_agg(json_build_object(
          'event_id', (select string_agg(part, '|' order by place) from jsonb_array_elements_text(id) with ordinality as p (part, place)),
          'what', what, 'dataset', case what when 'only_in_other' then null else a end,
          'other', case what when 'only_in_dataset' then null else b end) order by what, id), '[]') from shown)
    ) as found`;
}

type Found = Omit<Comparison, "dataset" | "other" | "equal">;

function asComparison(found: Found, of: { dataset: string; other: string }): Comparison {
  const { rows, different, only_in_dataset } = found;
  const { dataset, other } = of;
  return { dataset, other, ...found, equal: rows.dataset - only_in_dataset - different };
}

/** Compares the rows of a dataset with those of a table: of its shape or of the original's, or with its columns where it is typed. */
export async function compareTables(
  sql: Sql,
  { dataset, table }: { dataset: string; table: string },
): Promise<Comparison> {
  const [known] = await sql<{ declared: TypedTable | null }[]>`
    select declared from etl.datasets where dataset = ${dataset}`;
  const ours = await relationOf(sql, dataset);
  const theirs = await relationOf(sql, table);
  const declared = known?.declared ?? null;
  const selections = declared === null
    ? [ours, theirs].map(eventsOf)
    : [ours, theirs].map((relation) => typedOf(relation, declared, ours.columns));
  try {
    const [, [row]] = await sql.unsafe(
      `${BRIEF_LOCKS} ${comparison(selections[0]!, selections[1]!)}`,
    ) as unknown as [unknown, { found: Found }[]];
    return asComparison(row!.found, { dataset, other: table });
  } catch (error) {
    // a value, or a whole type, that is none of the dataset's
    if (!/^22|^42846$/.test(errorCode(error) ?? "")) throw error;
    throw new Problem("invalid-conf", {
      detail: say("compare-types", { table, dataset, error: (error as Error).message }),
    });
  }
}

async function relationOf(sql: Sql, name: string): Promise<Relation> {
  const [found] = await sql<(Relation & { harmless: boolean })[]>`
    select n.nspname || '.' || c.relname as name,
      format('%I.%I', n.nspname, c.relname) as relation, etl.is_harmless(c.oid) as harmless,
      (select jsonb_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)) from pg_attribute as a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname || '.' || c.relname = ${name} and c.relkind in ('r', 'p', 'v', 'm', 'f')`;
  if (found === undefined) {
    throw new Problem("not-found", {
      detail: say("no-table", { name }),
    });
  }
  if (!found.harmless) {
    throw new Problem("destination-mismatch", {
      detail: say("compare-rights", { name }),
    });
  }
  return found;
}

/** Rows that a mirror has marked are rows that its source no longer has. */
const notMarked = ({ columns }: Relation) =>
  columns._etl_deleted_at === "timestamp with time zone" ? "_etl_deleted_at is null" : "true";

function eventsOf(relation: Relation): Selection {
  const shape = SHAPES.find((all) =>
    all.every((column) => Object.hasOwn(relation.columns, column))
  );
  if (shape === undefined) {
    throw new Problem("invalid-conf", {
      detail: say("compare-shapes", {
        name: relation.name,
        columns: SHAPES[0]!.join(", "),
        others: SHAPES[1]!.join(", "),
      }),
    });
  }
  const [key, at, payload] = shape;
  return `select to_jsonb(array[key]) as id, jsonb_build_object('occurred_at', at, 'payload', ${FIELDS}) as row
    from (select ${key} as key, ${at} as at, ${payload}::jsonb as payload from ${relation.relation}
      where ${notMarked(relation)}) as r`;
}

function typedOf(
  relation: Relation,
  declared: TypedTable,
  types: Record<string, string>,
): Selection {
  const keys = keyColumns(declared).map(({ name }) => name);
  const names = namesOf(declared).filter((name) => Object.hasOwn(types, name));
  const missing = names.filter((name) => !Object.hasOwn(relation.columns, name));
  if (missing.length > 0) {
    throw new Problem("invalid-conf", {
      detail: say("compare-missing", { name: relation.name, columns: missing.join(", ") }),
    });
  }
  const value = (name: string) =>
    `t.${quoteIdent(name)}${relation.columns[name] === types[name] ? "" : `::${types[name]}`}`;
  return typedRows(`${relation.relation} as t where ${notMarked(relation)}`, {
    key: keys.map(value),
    values: names.map((name) => [name, value(name)]),
  });
}

function typedRows(
  from: string,
  { key, values }: { key: string[]; values: [name: string, value: string][] },
): Selection {
  const row = values.map(([name, value]) => `${value} as ${quoteIdent(name)}`).join(", ");
  return `select jsonb_build_array(${key.join(", ")}) as id,
    (select to_jsonb(r) from (select ${row}) as r) as row from ${from}`;
}

/** A dry run that compares, and the rows that it owns. */
export interface ComparingRun {
  runId: string;
  sourceName: string;
  params: { schema_name: string; table_name: string };
  table: TypedTable | null;
  marks: boolean;
}

/** Makes the table, which ends with the transaction, for what a dry run has read; answers its quoted name. */
export async function stageToCompare(
  client: Client,
  run: ComparingRun,
  destination: string,
): Promise<string> {
  return await createStage(client, destination, layoutOf(run));
}

/** Compares the staged rows with those that the source has in the destination, and keeps what it finds until the run goes. */
export async function compareStaged(
  client: Client,
  run: ComparingRun,
  { destination, rejected }: { destination: string; rejected: number },
): Promise<void> {
  const { runId, sourceName, params, table } = run;
  const layout = layoutOf(run);
  await client.query("analyze pg_temp.etl_stage");
  const here = run.marks ? "t._etl_deleted_at is null" : "true";
  const selections = table === null
    ? [["t", `${destination} as t where ${here} and t.source = $2`], [
      "s",
      "pg_temp.etl_stage as s",
    ]].map(([row, from]) =>
      `select to_jsonb(array[${row}.event_id]) as id, jsonb_build_object(${
        ["event_type", "version", "occurred_at", "payload"].map((name) =>
          `'${name}', ${
            name === "payload"
              ? `(select ${FIELDS} from (select ${row}.payload) as p)`
              : `${row}.${name}`
          }`
        ).join(", ")
      }) as row from ${from}`
    )
    : [
      typedRows(`${destination} as t where ${here} and $2::text is not null`, {
        key: layout.key.map((column) => `t.${column}`),
        values: namesOf(table).map((name) => [name, `t.${quoteIdent(name)}`]),
      }),
      typedRows("pg_temp.etl_stage as s", {
        key: layout.keyValues("s"),
        values: namesOf(table).map((name) => [
          name,
          layout.values("s")[layout.columns.indexOf(quoteIdent(name))]!,
        ]),
      }),
    ];
  await client.query(
    `with found as (${comparison(selections[0]!, selections[1]!)})
    insert into etl.comparisons (run_id, dataset, found) select $1::uuid, $3, found::jsonb || jsonb_build_object('rejected', $4::integer) from found
    on conflict (run_id) do update set found = excluded.found`,
    [runId, sourceName, `${params.schema_name}.${params.table_name}`, rejected],
  );
}

/** The columns that are compared, those of the key first. */
function namesOf(table: TypedTable): string[] {
  return [...new Set([...keyColumns(table), ...table.columns].map(({ name }) => name))];
}

/** What a dry run with `compare` has found. */
export async function compareRun(
  sql: Sql,
  { dataset, runId }: { dataset: string; runId: string },
): Promise<Comparison> {
  const [row] = await sql<{ found: Found }[]>`
    select c.found from etl.comparisons as c join etl.runs as r using (run_id)
    where c.run_id = ${runId} and c.dataset = ${dataset} and r.state = 'succeeded'`;
  if (row === undefined) {
    throw new Problem("invalid-conf", {
      detail: say("compare-no-dry-run", { run: runId, dataset }),
      errors: [{
        field: "run_id",
        message: "is not a successful dry run into this dataset with compare: true",
      }],
    });
  }
  return asComparison(row.found, { dataset, other: `run ${runId}` });
}
