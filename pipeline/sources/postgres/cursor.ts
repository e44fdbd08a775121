import { type Message, say } from "../../../vocabulary/messages.ts";
import { type Client, quoteIdent } from "../../../store/pg.ts";
import { Problem } from "../../../vocabulary/problem.ts";
import type { PostgresConf } from "../schema.ts";
import type { CursorPosition } from "../source.ts";
import {
  fromClause,
  Params,
  readsForeign,
  relationKind,
  type TypedColumn,
  typedColumns,
} from "./relation.ts";

/** What of a type can be a cursor: how its values that never pass are told, and how a lookback is taken off. */
interface CursorKind {
  types: RegExp;
  /** SQL that is true for a value that can be a position; `{}` stands for the value, `{now}` for the source's time. */
  passes: string;
  /** SQL of a position less the lookback `$2`; `$1` is the position as text. Null: a lookback means nothing. */
  lookedBack: string | null;
  /** Default lookback, in seconds or in the numbers of the column. */
  lookback: number;
}

const FINITE = "{}::text not in ('NaN', 'Infinity', '-Infinity')";
const KINDS: CursorKind[] = [
  {
    types: /^timestamp with time zone/,
    passes: "isfinite({}) and {} <= {now}",
    lookedBack: "($1::timestamptz - make_interval(secs => $2))::text",
    lookback: 300,
  },
  {
    types: /^timestamp/,
    passes: "isfinite({}) and {} <= ({now} at time zone 'UTC')",
    lookedBack: "($1::timestamp - make_interval(secs => $2))::text",
    lookback: 300,
  },
  {
    types: /^date/,
    passes: "isfinite({}) and {} <= {now}::date",
    lookedBack: "($1::date - make_interval(secs => $2))::date::text",
    lookback: 300,
  },
  {
    types: /^(?:smallint|integer|bigint)/,
    passes: "true",
    // no lower than the type goes
    lookedBack: "greatest($1::numeric - $2::numeric, -9223372036854775808)::text",
    lookback: 10_000,
  },
  {
    types: /^(?:numeric|real|double precision)/,
    passes: FINITE,
    lookedBack: "($1::numeric - $2::numeric)::text",
    lookback: 10_000,
  },
  {
    types: /^xid8/,
    passes: "true",
    lookedBack: "greatest($1::numeric - trunc($2::numeric), 0)::text",
    lookback: 10_000,
  },
  {
    // version 7 (RFC 9562): the first 48 bits are the time in milliseconds
    types: /^uuid/,
    passes: "substr({}::text, 15, 1) = '7' and substr({}::text, 1, 13) collate \"C\" <= " +
      "overlay(lpad(to_hex((extract(epoch from {now}) * 1000)::bigint), 12, '0') placing '-' from 9 for 0)",
    lookedBack:
      "(overlay(lpad(to_hex(greatest(('x' || lpad(replace(left($1, 13), '-', ''), 16, '0'))::bit(64)::bigint" +
      " - ($2::numeric * 1000)::bigint, 0)), 12, '0') placing '-' from 9 for 0) || '-7000-8000-000000000000')",
    lookback: 300,
  },
  { types: /^(?:text|character varying)/, passes: "true", lookedBack: null, lookback: 0 },
];

/** Which rows an incremental run reads; plain text, part of every slice. */
export interface CursorBounds {
  [key: string]: string | number | boolean | null;
  column: string;
  type: string;
  mode: "window" | "exact";
  /** Where reading starts, and with it; null for everything. */
  lower: string | null;
  /** Also every row that a transaction wrote which was open, or had not begun, at this one (`exact`); else null. */
  since_xid: string | null;
  /** The highest value that could be a position when the run began; null when no row had one. */
  upper: string | null;
  /** Whether values that are no position stand before `lower`: each run reads them all the same. */
  strays: boolean;
  /** The source's time when the run began. */
  now: string;
}

/** The bounds of a run, where the next one starts, and what a person should know of it. */
export interface PinnedCursor {
  bounds: CursorBounds;
  /** The oldest transaction that was open when the bounds were read (`exact`); else null. */
  snapshot: string | null;
  warnings: Message[];
}

/** Pins the bounds of an incremental source, in the transaction that plans its slices. */
export async function pinCursor(
  client: Client,
  conf: PostgresConf & { cursor: string },
  stored: CursorPosition | undefined,
): Promise<PinnedCursor> {
  const [{ type }] = await typedColumns(client, conf, [conf.cursor]) as [TypedColumn];
  const kind = kindOf(conf, type);
  const mode = conf.cursor_mode;
  if (mode === "exact") await requireXmin(client, conf);
  const name = `source_rows.${quoteIdent(conf.cursor)}`;
  const { rows: [at] } = await client.query<{ now: string; snapshot: string }>(
    "select now()::text as now, pg_snapshot_xmin(pg_current_snapshot())::text as snapshot",
  );
  const { now, snapshot } = at!;
  const { rows: [top] } = await client.query<{ upper: string }>(
    `select ${name}::text as upper from ${fromClause(conf)}
     where ${name} is not null and ${passes(kind, name, "$1::timestamptz")}
       and $1::timestamptz is not null
     order by ${name} desc limit 1`,
    [now],
  );
  const warnings: Message[] = [];
  const bounds: CursorBounds = {
    column: conf.cursor,
    type,
    mode,
    lower: null,
    since_xid: null,
    upper: top?.upper ?? null,
    strays: false,
    now,
  };
  if (stored !== undefined) {
    const why = await unusable(client, { kind, type, mode, stored, now, snapshot });
    if (why !== null) warnings.push(say("all-read-once", { why }));
    else if (mode === "exact") {
      bounds.lower = stored.position;
      bounds.since_xid = stored.snapshot;
    } else bounds.lower = await lookedBack(client, conf, { kind, type, position: stored.position });
  }
  const strays = await strayRows(client, conf, { kind, name, bounds });
  if (strays !== null) {
    warnings.unshift(strays.warning);
    bounds.strays = strays.below;
  }
  return { bounds, snapshot: mode === "exact" ? snapshot : null, warnings };
}

function kindOf(conf: PostgresConf & { cursor: string }, type: string): CursorKind {
  const kind = KINDS.find(({ types }) => types.test(type));
  const refuse = (detail: Message, expected: Message) => {
    throw new Problem("invalid-conf", {
      detail,
      errors: [{ field: "source.cursor", message: `is ${type}`, value: conf.cursor, expected }],
    });
  };
  if (kind === undefined) {
    return refuse(
      say("cursor-grows-not", { name: conf.cursor, type }),
      say("a-cursor", {}),
    );
  }
  if (kind.lookedBack === null && !conf.cursor_sortable) {
    return refuse(
      say("cursor-of-text", { name: conf.cursor, type }),
      say("sortable-or-other", {}),
    );
  }
  return kind;
}

/** A row's xmin is that of a table; views, queries and rows of foreign tables have none. */
async function requireXmin(client: Client, conf: PostgresConf): Promise<void> {
  const kind = await relationKind(client, conf);
  if (["r", "p", "m"].includes(kind ?? "") && !await readsForeign(client, conf)) return;
  throw new Problem("invalid-conf", {
    detail: say("exact-needs-table", {}),
    errors: [{
      field: "source.cursor_mode",
      message: "needs a table",
      value: "exact",
      expected: "window",
    }],
  });
}

function passes({ passes }: CursorKind, name: string, now: string): string {
  return `(${passes.replaceAll("{now}", now).replaceAll("{}", () => name)})`;
}

/** Rows whose value can never be a position, or not yet, which every run reads, and whether there are some before its lower bound. */
async function strayRows(
  client: Client,
  conf: PostgresConf & { cursor: string },
  { kind, name, bounds: { type, lower, now } }: {
    kind: CursorKind;
    name: string;
    bounds: CursorBounds;
  },
): Promise<{ warning: Message; below: boolean } | null> {
  if (kind.passes === "true") return null;
  const { rows: [row] } = await client.query<
    { value: string; record: string; count: string; below: boolean }
  >(
    `select ${name}::text as value, left(to_jsonb(source_rows)::text, 200) as record, count(*) over () as count,
       coalesce(bool_or(${name} < $2::text::${castOf(type)}) over (), false) as below
     from ${fromClause(conf)}
     where ${name} is not null and not ${passes(kind, name, "$1::timestamptz")}
       and $1::timestamptz is not null limit 1`,
    [now, lower],
  );
  if (row === undefined) return null;
  const { value, record, count, below } = row;
  const n = Number(count);
  return {
    warning: say("stray-rows", {
      who: n === 1 ? say("one-row-has", {}) : say("rows-have", { n }),
      column: conf.cursor,
      value,
      row: record,
    }),
    below,
  };
}

/** Why a stored position cannot be read from; null where it can. */
async function unusable(
  client: Client,
  { kind, type, mode, stored, now, snapshot }: {
    kind: CursorKind;
    type: string;
    mode: CursorBounds["mode"];
    stored: CursorPosition;
    now: string;
    snapshot: string;
  },
): Promise<Message | null> {
  const cast = castOf(type);
  try {
    await client.query("savepoint etl_position");
    const { rows } = await client.query<{ fits: boolean }>(
      `select $1::text::${cast} is not null and $2::timestamptz is not null
        and ${passes(kind, `$1::text::${cast}`, "$2::timestamptz")} as fits`,
      [stored.position, now],
    );
    if (!rows[0]!.fits) {
      return say("position-future", { position: stored.position });
    }
  } catch {
    await client.query("rollback to savepoint etl_position");
    return say("position-type", { position: stored.position, type });
  }
  if (mode === "window") return null;
  if (stored.snapshot === null) {
    return say("no-snapshot", {});
  }
  // numbers of transactions start anew in a database that was restored or moved
  if (BigInt(stored.snapshot) > BigInt(snapshot)) {
    return say("xids-start-again", {});
  }
  return null;
}

/** xid8 has no cast from numbers, and a lookback may leave the range of small integers. */
function castOf(type: string): string {
  return /^(?:smallint|integer)$/.test(type) ? "bigint" : type;
}

async function lookedBack(
  client: Client,
  conf: PostgresConf & { cursor: string },
  { kind, type, position }: { kind: CursorKind; type: string; position: string },
): Promise<string> {
  const lookback = conf.lookback ?? conf.lookback_seconds ?? kind.lookback;
  if (kind.lookedBack === null || lookback === 0) return position;
  const { rows } = await client.query<{ lower: string }>(
    `select ${
      kind.lookedBack.replaceAll("$1", "$1::text").replaceAll("$2", "$2::float8")
    } as lower`,
    [position, lookback],
  );
  // a lookback of times keeps the type's own way to write them
  return type.startsWith("uuid") && rows[0]!.lower > position ? position : rows[0]!.lower;
}

/**
 * The condition that selects the rows within the bounds. A reading of
 * everything includes rows without a cursor value; later ones cannot know
 * whether such a row changed.
 */
export function cursorCondition(bounds: CursorBounds, params: Params): string {
  const name = `source_rows.${quoteIdent(bounds.column)}`;
  const kind = KINDS.find(({ types }) => types.test(bounds.type))!;
  const stray = kind.passes === "true"
    ? "false"
    : `not ${
      passes(kind, name, kind.passes.includes("{now}") ? params.add(bounds.now, "timestamptz") : "")
    }`;
  const cast = castOf(bounds.type);
  // through text: xid8 takes nothing else
  const value = (text: string) => `${params.add(text, "text")}::${cast}`;
  const upTo = bounds.upper === null ? stray : `(${name} <= ${value(bounds.upper)} or ${stray})`;
  if (bounds.lower === null) return `(${upTo} or ${name} is null)`;
  const after = `${upTo} and ${name} >= ${value(bounds.lower)}`;
  const within = bounds.strays ? `(${after} or ${stray})` : after;
  if (bounds.since_xid === null) return `(${within})`;
  // 32 bits of the number of a transaction: ages compare right, and what is false is read once more
  const since = `age((${params.add(bounds.since_xid, "numeric")} % 4294967296)::text::xid)`;
  return `(${within} or age(source_rows.xmin) <= ${since})`;
}
