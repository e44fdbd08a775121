import { Problem } from "../../vocabulary/problem.ts";
import { type Client, quoteTable } from "../pg.ts";
import { readManifest } from "./catalogue.ts";
import { SESSION } from "./format.ts";
import type { Manifest } from "./manifest.ts";

/** Tables that come while they are being looked for are looked for again, so often at most. */
const ROUNDS = 10;

/**
 * Begins a transaction that sees one moment of the database, and says what there
 * is to back up. Loads go on meanwhile: only dropping, truncating and altering
 * the tables has to wait, which a snapshot alone would not survive.
 */
export async function beginSnapshot(client: Client, takenAt: Date): Promise<Manifest> {
  const { rows } = await client.query<{ ready: boolean }>(
    "select to_regclass('etl.runs') is not null as ready",
  );
  if (!rows[0]!.ready) {
    throw new Problem("unavailable", {
      detail:
        "There is nothing to back up: the database is not set up for etl-improved. Run `deno task setup-db` first.",
    });
  }
  let known = await readManifest(client, takenAt);
  for (let round = 0; round < ROUNDS; round++) {
    const locked = new Set(names(known));
    await client.query("begin transaction isolation level repeatable read read only");
    await client.query(SESSION);
    await client.query(
      "set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0",
    );
    // before the first query, which takes the snapshot
    await client.query(`lock table ${[...locked].join(", ")} in access share mode`);
    known = await readManifest(client, takenAt);
    if (names(known).every((name) => locked.has(name))) return known;
    await client.query("rollback");
  }
  throw new Problem("conflict", {
    detail: "New tables keep appearing while the backup begins. Try again when it is calmer.",
  });
}

function names({ tables }: Manifest): string[] {
  return tables.map(({ schema_name, table_name }) => quoteTable(schema_name, table_name));
}
