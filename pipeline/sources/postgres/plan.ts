import { type Message, say } from "../../../vocabulary/messages.ts";
import { type Plain, type Plan, type PlanContext, refuseManySlices } from "../source.ts";
import { errorCode } from "../../../store/errors.ts";
import { type Client, quoteIdent } from "../../../store/pg.ts";
import { identify } from "../../field_path.ts";
import { Problem } from "../../../vocabulary/problem.ts";
import type { PostgresConf } from "../schema.ts";
import { type CursorBounds, cursorCondition, pinCursor } from "./cursor.ts";
import {
  fromClause,
  keyColumns,
  keyTuple,
  Params,
  type PlannedColumns,
  plannedColumns,
  primaryKey,
  readsForeign,
  sourceFields,
  type TypedColumn,
  valueTuple,
} from "./relation.ts";
import { describeSource, readOnly, withSession } from "./session.ts";

const DEFAULT_CHUNK = 50_000;

/** The rows of one chunk: keys after `after` up to and with `upto`, as text. */
export interface KeySlice extends Plain {
  key: { name: string; type: string }[];
  /** Empty for the first slice. */
  after: string[];
  upto: string[];
  /** Empty unless the source is incremental. */
  cursor: CursorBounds | Record<string, never>;
  columns: PlannedColumns;
}

/**
 * Plans key ranges of `chunkSize` rows in one pass over the key. The plan is
 * part of the pin: rows that come later, with higher keys or cursor values,
 * are not of this run, and another attempt has the same slices.
 */
export async function planPostgres(conf: PostgresConf, ctx: PlanContext): Promise<Plan> {
  if (ctx.pin !== undefined) return fromPin(ctx.pin);
  return await withSession(
    conf,
    ctx,
    (client) => readOnly(client, () => planNow(client, conf, ctx)),
  );
}

function fromPin(pin: Plain): Plan {
  return {
    pin,
    slices: pin.slices as Plain[],
    records: pin.records as number,
    warnings: pin.warnings as Message[],
  };
}

async function planNow(client: Client, conf: PostgresConf, ctx: PlanContext): Promise<Plan> {
  const key = await keyColumns(client, conf);
  const pinned = conf.cursor === undefined
    ? undefined
    : await pinCursor(client, { ...conf, cursor: conf.cursor }, ctx.cursorPosition);
  const cursor = pinned?.bounds;
  const warnings = pinned?.warnings ?? [];
  if (await hidesRows(client, conf)) {
    const { rows: [session] } = await client.query<{ role: string }>("select current_user as role");
    warnings.push(say("rows-hidden", { what: describeSource(conf), role: session!.role }));
  }
  const sortedTwice = await sortedElsewhere(client, conf, key);
  if (sortedTwice !== undefined) {
    warnings.push(
      say("sorted-elsewhere", { what: describeSource(conf), column: sortedTwice }),
    );
  }
  if (conf.page_key !== undefined) await refuseNullKeys(client, conf, { key, cursor });
  const { bounds, capped } = await keyBounds(client, conf, { key, cursor, ctx });
  refuseManySlices(bounds.length);
  const columns = plannedColumns(await sourceFields(client, conf));
  const slices: KeySlice[] = bounds.map(({ upto }, i) => ({
    key: key.map(({ name, type }) => ({ name, type })),
    after: i === 0 ? [] : bounds[i - 1]!.upto,
    upto,
    cursor: cursor ?? {},
    columns,
  }));
  if (cursor !== undefined && cursor.lower !== null) {
    const nulls = await countNulls(client, conf, cursor.column);
    if (nulls > 0) {
      warnings.push(say("rows-without-cursor", { n: nulls, column: cursor.column }));
    }
  }
  let position = cursor?.upper ?? ctx.cursorPosition?.position ?? null;
  let snapshot = pinned?.snapshot ?? null;
  if (cursor !== undefined && capped) {
    position = ctx.cursorPosition?.position ?? null;
    snapshot = ctx.cursorPosition?.snapshot ?? null;
    warnings.push(say("batch-cut", {}));
  }
  const records = bounds.at(-1)?.rows ?? 0;
  const pin: Plain = {
    records,
    slices,
    warnings,
    // a row whose page key changes may be in no page, nor one that two servers place differently
    ...(identify(key.map(({ name }) => name), conf.key) && sortedTwice === undefined
      ? {}
      : { steady: false }),
    // with a cursor a row that changes meanwhile is the next run's
    ...(cursor === undefined ? { counted: records } : {
      cursor_mode: cursor.mode,
      cursor_upper: position,
      cursor_snapshot: snapshot,
      cursor_lower: cursor.lower,
      cursor_column: cursor.column,
    }),
  };
  return { pin, slices, records, warnings };
}

/** Whether policies of row-level security keep rows from this session: PostgreSQL refuses what it may not read whole. */
async function hidesRows(client: Client, conf: PostgresConf): Promise<boolean> {
  await client.query("savepoint etl_whole");
  try {
    await client.query(
      `set local row_security = off; explain select from ${fromClause(conf)}`,
    );
    return false;
  } catch (error) {
    // insufficient_privilege; what else is wrong is told by what reads the rows
    return errorCode(error) === "42501";
  } finally {
    await client.query("rollback to savepoint etl_whole");
  }
}

/**
 * A text column of the page key whose values two servers compare, where the rows are those of a foreign table: the order here
 * may be another than there. One whose collation is C, by its declaration or a query, has one order everywhere.
 */
async function sortedElsewhere(
  client: Client,
  conf: PostgresConf,
  key: TypedColumn[],
): Promise<string | undefined> {
  const { rows: texts } = await client.query<{ name: string }>(
    `select k.name from unnest($1::text[], $2::text[]) with ordinality as k (name, type, place)
     join pg_type as t on t.oid = k.type::regtype and t.typcollation <> 0 order by k.place`,
    [key.map(({ name }) => name), key.map(({ type }) => type)],
  );
  if (texts.length === 0 || !await readsForeign(client, conf)) return undefined;
  const { rows: [row] } = await client.query<{ collations: string[] }>(
    `select array[${
      texts.map(({ name }) => `pg_collation_for(source_rows.${quoteIdent(name)})`).join(", ")
    }] as collations
     from (select) as one left join (select * from ${
      fromClause(conf)
    } limit 0) as source_rows on true`,
  );
  return texts.find((_, i) => row!.collations[i] !== '"C"')?.name;
}

interface KeyQuery {
  key: TypedColumn[];
  cursor: CursorBounds | undefined;
}

interface Bound {
  /** How many rows there are up to it. */
  rows: number;
  /** The last key of a chunk. */
  upto: string[];
}

/** Every chunk's last key, and whether the cap left rows out. */
async function keyBounds(
  client: Client,
  conf: PostgresConf,
  { key, cursor, ctx }: KeyQuery & { ctx: PlanContext },
): Promise<{ bounds: Bound[]; capped: boolean }> {
  const chunkSize = ctx.chunkSize ?? DEFAULT_CHUNK;
  const steps = cursor === undefined && ctx.maxRecords === undefined
    ? await indexSteps(client, conf, { key, chunkSize })
    : [];
  const before = steps.at(-1);
  const params = new Params();
  const condition = cursor !== undefined
    ? cursorCondition(cursor, params)
    : before !== undefined
    ? `${keyTuple(key)} > ${valueTuple(key, before.upto, params)}`
    : "true";
  const columns = key.map((_, i) => `k${i}`).join(", ");
  // One row more than the cap tells whether it left any out.
  const cap = ctx.maxRecords === undefined
    ? ""
    : `order by ${columns} limit ${params.add(ctx.maxRecords + 1, "int8")}`;
  const chunk = params.add(chunkSize, "int8");
  const most = params.add(ctx.maxRecords ?? null, "int8");
  const { rows } = await client.query<{ n: string; upto: string[] }>(
    `select n, ${textsOf(key)} as upto
     from (
       select ${columns}, row_number() over w as n,
         lead(true) over w is null as is_last
       from (
         select ${key.map(({ name }, i) => `source_rows.${quoteIdent(name)} as k${i}`).join(", ")}
         from ${fromClause(conf)} where ${condition} ${cap}
       ) as keys
       window w as (order by ${columns})
     ) as numbered
     where n % ${chunk} = 0 or is_last or n = ${most}
     order by n`,
    params.values,
  );
  const numbered = rows.map(({ n, upto }) => ({ rows: (before?.rows ?? 0) + Number(n), upto }));
  const bounds = [...steps, ...numbered.filter(({ rows }) => rows <= (ctx.maxRecords ?? rows))];
  return { bounds, capped: bounds.length < steps.length + numbered.length };
}

/**
 * The last keys of whole chunks of a table, found in the index of its primary key alone: eight times as fast as numbering
 * all rows. None where rows would have to be looked up in the table, one by one at random.
 */
async function indexSteps(
  client: Client,
  conf: PostgresConf,
  { key, chunkSize }: { key: TypedColumn[]; chunkSize: number },
): Promise<Bound[]> {
  if (conf.table === undefined) return [];
  const { names, indexOnly } = await primaryKey(client, conf);
  if (!indexOnly || names.join("\n") !== key.map(({ name }) => name).join("\n")) return [];
  const columns = key.map((_, i) => `k${i}`).join(", ");
  const step = (condition: string) => {
    const list = key.map(({ name }) => `source_rows.${quoteIdent(name)}`).join(", ");
    return `select ${list} from ${fromClause(conf)} ${condition}
      order by ${list} offset ${chunkSize - 1} limit 1`;
  };
  // a plan that sorts would do so at each step
  await client.query("set local enable_sort = off");
  const { rows } = await client.query<{ upto: string[] }>(
    `with recursive steps(n, ${columns}) as (
       (select 1, first.* from (${step("")}) as first)
       union all
       select n + 1, next.*
       from steps cross join lateral (${step(`where ${keyTuple(key)} > (${columns})`)}) as next
     )
     select ${textsOf(key)} as upto from steps order by n`,
  );
  await client.query("set local enable_sort to default");
  return rows.map(({ upto }, i) => ({ rows: (i + 1) * chunkSize, upto }));
}

/** A list of the texts of k0, k1, … */
function textsOf(key: TypedColumn[]): string {
  return `array[${key.map((_, i) => `k${i}::text`).join(", ")}]`;
}

async function refuseNullKeys(
  client: Client,
  conf: PostgresConf,
  { key, cursor }: KeyQuery,
): Promise<void> {
  const params = new Params();
  const condition = cursor === undefined ? "true" : cursorCondition(cursor, params);
  const nulls = key.map(({ name }) => `source_rows.${quoteIdent(name)} is null`).join(" or ");
  const one = params.add(1);
  const { rows } = await client.query(
    `select from ${fromClause(conf)} where (${nulls}) and ${condition} limit ${one}`,
    params.values,
  );
  if (rows.length === 0) return;
  throw new Problem("source-unreadable", {
    detail: say("rows-without-key", { what: describeSource(conf), key: keyTuple(key) }),
  });
}

async function countNulls(client: Client, conf: PostgresConf, column: string): Promise<number> {
  const { rows } = await client.query<{ count: string }>(
    `select count(*) from ${fromClause(conf)}
     where source_rows.${quoteIdent(column)} is null and $1`,
    [true],
  );
  return Number(rows[0]!.count);
}
