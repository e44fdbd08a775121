import type { Sql } from "./database.ts";

/** A suite as JSON text: with every digit of its integers, which the driver's own parser would round. */
export type SuiteText = string;

/** A suite as etl.suites keeps it. */
export interface StoredSuite {
  name: string;
  suite: SuiteText;
  /** Whether every expectation judges rows one by one, so that failing rows can be quarantined. */
  row_wise: boolean;
  /** file: from the directory of suites; api: put by a person. */
  origin: "file" | "api";
}

/**
 * The suite of a run: the one that its conf names, else the one named as the
 * dataset ("schema.table") or its table; null where there is none.
 */
export async function findSuite(
  sql: Sql,
  name: string | null,
  dataset: string,
): Promise<SuiteText | null> {
  const [row] = await sql<{ suite: SuiteText }[]>`
    select suite::text as suite from etl.suites where name = etl.suite_name(${name}, ${dataset})`;
  return row?.suite ?? null;
}

/** Stores suites from files; those that a person has put stay as they are. */
export async function storeFileSuites(
  sql: Sql,
  suites: Pick<StoredSuite, "name" | "suite" | "row_wise">[],
): Promise<void> {
  await sql`
    insert into etl.suites as s (name, suite, row_wise, origin)
    select f.name, f.suite::jsonb, f.row_wise, 'file'
    from jsonb_to_recordset(${
    JSON.stringify(suites)
  }::text::jsonb) as f (name text, suite text, row_wise boolean)
    on conflict (name) do update set suite = excluded.suite, row_wise = excluded.row_wise, updated_at = now()
    where s.origin = 'file' and s.suite <> excluded.suite`;
}

/** A suite in a list. */
export type ListedSuite = Omit<StoredSuite, "suite"> & { expectations: number };

/** Suites by name, without their text: each may have megabytes. */
export async function listSuites(sql: Sql): Promise<ListedSuite[]> {
  return await sql<ListedSuite[]>`
    select name, jsonb_array_length(suite -> 'expectations') as expectations, row_wise, origin
    from etl.suites order by name`;
}

export async function getSuite(sql: Sql, name: string): Promise<StoredSuite | null> {
  const [row] = await sql<StoredSuite[]>`
    select name, suite::text as suite, row_wise, origin from etl.suites where name = ${name}`;
  return row ?? null;
}

/** Creates or replaces a suite; answers whether it is new. */
export async function putSuite(
  sql: Sql,
  suite: Pick<StoredSuite, "name" | "suite" | "row_wise">,
  { actor, onlyNew }: { actor: string; onlyNew: boolean },
): Promise<boolean | null> {
  const [row] = await sql<{ is_new: boolean }[]>`
    with put as (
      insert into etl.suites as s (name, suite, row_wise, origin, updated_by)
      values (${suite.name}, ${suite.suite}::text::jsonb, ${suite.row_wise}, 'api', ${actor})
      on conflict (name) do update set suite = excluded.suite, row_wise = excluded.row_wise, origin = 'api',
        updated_at = now(), updated_by = excluded.updated_by
      where not ${onlyNew}
      returning xmax = 0 as is_new),
    audited as (
      insert into public.etl_improved_audit (event, actor, details)
      select 'suites_put', ${actor}::text, jsonb_build_object('name', ${suite.name}::text) from put returning 1)
    select is_new from put, audited`;
  return row?.is_new ?? null;
}

/** Removes a suite; false where there was none. */
export async function deleteSuite(sql: Sql, name: string, actor: string): Promise<boolean> {
  const rows = await sql`
    with gone as (delete from etl.suites where name = ${name} returning 1)
    insert into public.etl_improved_audit (event, actor, details)
    select 'suites_delete', ${actor}::text, jsonb_build_object('name', ${name}::text) from gone returning 1`;
  return rows.length > 0;
}

/** The validation result of a run; null where it has none. */
export async function runValidation(
  sql: Sql,
  runId: string,
): Promise<Record<string, unknown> | null> {
  const [row] = await sql<{ result: Record<string, unknown> }[]>`
    select result from etl.validations where run_id = ${runId}`;
  return row?.result ?? null;
}
