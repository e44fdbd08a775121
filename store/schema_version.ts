import { Problem, TerminalProblem } from "../vocabulary/problem.ts";
import type { Sql } from "./database.ts";
import { z } from "zod";

const SET_UP = "run `deno task setup-db` of this version, as the owner of the schema.";

/**
 * Makes sure that the database has what this version of the program needs.
 * Throws a Problem where it was never set up by it, or has been migrated by a
 * version that this one does not know. Answers a warning where it was set up by
 * another version since, which added to it, as while servers are replaced one by one.
 */
export async function requireSchemaVersion(sql: Sql, mark: SetupMark): Promise<string | null> {
  const [known] = await sql<{ runs: boolean; versions: boolean }[]>`
    select to_regclass('etl.runs') is not null as runs,
      to_regclass('etl.migrations') is not null and to_regclass('etl.setups') is not null as versions`;
  if (!known!.runs) throw notReady(`The database is not set up for etl-improved: ${SET_UP}`);
  if (!known!.versions) {
    throw notReady(`The database was set up by an older version: ${SET_UP}`);
  }
  const [state] = await sql<
    { pending: string[]; unknown: string[]; applied: boolean; newest: boolean }[]
  >`
    select
      array(select n from unnest(${mark.migrations}::text[]) as n
        where n not in (select name from etl.migrations) order by 1) as pending,
      array(select name from etl.migrations where name <> all (${mark.migrations}::text[]) order by 1) as unknown,
      exists (select from etl.setups where checksum = ${mark.checksum}) as applied,
      coalesce((select checksum from etl.setups order by applied_at desc limit 1) = ${mark.checksum}, false) as newest`;
  const { pending, unknown, applied, newest } = state!;
  if (unknown.length > 0) {
    throw notReady(
      `The database is newer than this program, which does not know its migrations ${
        unknown.join(", ")
      }: use the version that made them, or a later one.`,
    );
  }
  if (pending.length > 0) {
    throw notReady(`The database lacks the migrations ${pending.join(", ")}: ${SET_UP}`);
  }
  if (!applied) throw notReady(`The database was set up by another version: ${SET_UP}`);
  return newest
    ? null
    : "the database has been set up by another version since; replace this server by one of that version";
}

function notReady(detail: string): Problem {
  return new TerminalProblem("unavailable", { detail });
}

const markSchema = z.object({ checksum: z.string(), migrations: z.array(z.string()) });

/** Which version of the schema a program is made for: what the last line of its sql/etl_setup.sql says. */
export type SetupMark = z.infer<typeof markSchema>;

const PREFIX = "-- etl-improved setup: ";

export function setupMark(mark: SetupMark): string {
  return `${PREFIX}${JSON.stringify(mark)}\n`;
}

/** Reads the mark from the text of sql/etl_setup.sql. Throws where it has none. */
export function readSetupMark(text: string): SetupMark {
  const start = text.lastIndexOf(`\n${PREFIX}`);
  if (start < 0) throw new Error("sql/etl_setup.sql has no mark: run `deno task build-sql`");
  return markSchema.parse(JSON.parse(text.slice(start + 1 + PREFIX.length)));
}
