import { type Client, quoteIdent } from "../../../store/pg.ts";
import { Problem } from "../../problem.ts";
import type { PostgresConf } from "../schema.ts";
import { fromClause, Params, type TypedColumn, typedColumns } from "./relation.ts";

const TEMPORAL = /^(?:date|timestamp)/;
const ORDERED = /^(?:smallint|integer|bigint|numeric|real|double precision|text|character varying)/;

/** Which rows an incremental run reads; plain text, part of every slice. */
export interface CursorBounds {
  [key: string]: string | number | boolean | null;
  column: string;
  type: string;
  /** Where reading starts; null for everything. */
  lower: string | null;
  /** Whether a row exactly at `lower` is read: after a lookback. */
  from_lower: boolean;
  /** The highest value when the run began; null when no row has one. */
  upper: string | null;
}

/** Pins the bounds of an incremental source. */
export async function cursorBounds(
  client: Client,
  conf: PostgresConf & { cursor: string },
  position: string | undefined,
): Promise<CursorBounds> {
  const [column] = await typedColumns(client, conf, [conf.cursor]);
  const { type } = column as TypedColumn;
  const temporal = TEMPORAL.test(type);
  if (!temporal && !ORDERED.test(type)) {
    throw new Problem("invalid-conf", {
      detail: `The column "${conf.cursor}" is ${type}, which does not grow: ` +
        "source.cursor must be a time, a number or a text.",
      errors: [{ field: "source.cursor", message: `is ${type}`, value: conf.cursor }],
    });
  }
  const name = `source_rows.${quoteIdent(conf.cursor)}`;
  const { rows } = await client.query<{ upper: string }>(
    `select ${name}::text as upper from ${fromClause(conf)}
     where ${name} is not null order by ${name} desc limit $1`,
    [1],
  );
  const lookback = temporal && position !== undefined && conf.lookback_seconds > 0;
  const lower = lookback
    ? await lookedBack(client, { position: position!, type, seconds: conf.lookback_seconds })
    : position ?? null;
  return { column: conf.cursor, type, lower, from_lower: lookback, upper: rows[0]?.upper ?? null };
}

async function lookedBack(
  client: Client,
  { position, type, seconds }: { position: string; type: string; seconds: number },
): Promise<string> {
  const { rows } = await client.query<{ lower: string }>(
    `select (($1::${type} - make_interval(secs => $2))::${type})::text as lower`,
    [position, seconds],
  );
  return rows[0]!.lower;
}

/**
 * The condition that selects the rows within the bounds. A reading of
 * everything includes rows without a cursor value; later ones cannot know
 * whether such a row changed.
 */
export function cursorCondition(bounds: CursorBounds, params: Params): string {
  const name = `source_rows.${quoteIdent(bounds.column)}`;
  const upTo = bounds.upper === null
    ? "false"
    : `${name} <= ${params.add(bounds.upper, bounds.type)}`;
  if (bounds.lower === null) return `(${upTo} or ${name} is null)`;
  const above = bounds.from_lower ? ">=" : ">";
  return `(${upTo} and ${name} ${above} ${params.add(bounds.lower, bounds.type)})`;
}
