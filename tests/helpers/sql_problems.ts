import assert from "node:assert/strict";
import { type Client, connect } from "../../store/pg.ts";

/** A connection as a user of SQL has it. */
export async function client(dsn: string): Promise<Client & AsyncDisposable> {
  const opened = await connect(dsn);
  return Object.assign(opened, { [Symbol.asyncDispose]: () => opened.end() });
}

/** The problem that a SQL function raised. */
export interface Raised {
  type: string;
  status: number;
  detail: string;
  errors: { field: string; value?: unknown; message: string; expected?: string }[];
}

/** What a statement raises through etl.raise_problem. */
export async function raised(db: Client, text: string, values: unknown[] = []): Promise<Raised> {
  try {
    await db.query(text, values);
  } catch (error) {
    const { code, detail } = error as { code: string; detail: string };
    assert.match(code, /^ET\d{3}$/, String(error));
    return JSON.parse(detail);
  }
  throw new Error("nothing was raised");
}

/** What a request for a run with this conf raises. */
export const request = (db: Client, conf: unknown) =>
  raised(db, "select etl.request_run($1::text::jsonb)", [JSON.stringify(conf)]);

/** What a server is told that asks for a run with this conf and makes its destination at once. */
export const submitted = (db: Client, conf: unknown) =>
  raised(db, "select etl.submit_run($1::text::jsonb, '{\"immediate\": true}')", [
    JSON.stringify(conf),
  ]);

/** What etl.resolve_params says of a conf. */
export async function resolved(db: Client, conf: unknown) {
  const { rows } = await db.query(
    "select params, origins, errors from etl.resolve_params($1::text::jsonb)",
    [
      JSON.stringify(conf),
    ],
  );
  return rows[0] as {
    params: Record<string, unknown>;
    origins: Record<string, string>;
    errors: Raised["errors"];
  };
}

/** The number of runs. */
export const runs = async (db: Client) =>
  (await db.query("select count(*)::int as n from etl.runs")).rows[0].n;
