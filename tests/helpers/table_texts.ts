import { createHash } from "node:crypto";
import { copyOut } from "../../store/copy.ts";
import { withClient } from "./query.ts";

/** Rows and SHA-256 of the ordered text of each table: what differs in one row differs here. */
export async function tableTexts(
  dsn: string,
  tables: string[],
): Promise<Record<string, { rows: number; sha256: string }>> {
  return await withClient(dsn, async (client) => {
    await client.query("set timezone = 'UTC'; set extra_float_digits = 3");
    const texts: Record<string, { rows: number; sha256: string }> = {};
    for (const table of tables) {
      const hash = createHash("sha256");
      // columns in the order of their names: tables may have been made in other ways
      const { rows } = await client.query<{ columns: string; source: string }>(
        `select string_agg(quote_ident(attname), ', ' order by attname) as columns, etl.rows_of($1::regclass) as source
        from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped`,
        [table],
      );
      const stream = copyOut(
        client,
        `copy (select ${rows[0]!.columns} from ${rows[0]!.source} order by row(${
          rows[0]!.columns
        })::text collate "C") to stdout`,
      );
      for await (const block of stream) hash.update(block);
      texts[table] = { rows: stream.rowCount, sha256: hash.digest("hex") };
    }
    return texts;
  });
}
