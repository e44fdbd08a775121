import type { CatalogueRequest, SourceColumn, SourceTable } from "../catalogue.ts";
import { asProblem, connectTo, declaredType, JSON_COLUMNS, query } from "./mysql.ts";

const SYSTEM = "('information_schema', 'mysql', 'performance_schema', 'sys')";

/** Base tables that the connection's user may see, which are those that it may do anything with. */
export async function mysqlTables(
  { connection, dsn, patterns }: CatalogueRequest,
): Promise<{ own: string | null; tables: SourceTable[] }> {
  const what = { connection, table: patterns.join(", ") };
  const client = await connectTo(dsn, what);
  try {
    const ask = async (text: string) =>
      (await query(client, { text, values: [] })).map((row) =>
        row.map((value) => value === null ? null : value.toString())
      );
    const [[own = null] = []] = await ask("select database()");
    const names = await ask(`select table_schema, table_name, table_rows
      from information_schema.tables where table_type = 'BASE TABLE' and table_schema not in ${SYSTEM}`);
    const columns = await ask(`select table_schema, table_name, column_name, data_type, column_type,
        numeric_precision, numeric_scale
      from information_schema.columns where table_schema not in ${SYSTEM} order by ordinal_position`);
    const keys = await ask(
      `select table_schema, table_name, index_name, column_name, nullable, sub_part
      from information_schema.statistics where non_unique = 0 and table_schema not in ${SYSTEM} order by seq_in_index`,
    );
    // MySQL, whose constraints do not say of which table they are, has a type json instead
    const json = new Set(
      (await ask(`${JSON_COLUMNS}`).catch(() => [])).map((names) => JSON.stringify(names)),
    );
    const of = (rows: (string | null)[][]) =>
      Map.groupBy(rows, ([schema, table]) => JSON.stringify([schema, table]));
    const columnsOf = of(columns);
    const keysOf = of(keys);
    return {
      own,
      tables: names.map(([schema, name, rows]) => {
        const at = JSON.stringify([schema, name]);
        const { key, primary } = keyOf(keysOf.get(at) ?? []);
        return {
          schema: schema!,
          name: name!,
          rows: rows === null ? null : Number(rows),
          readable: true,
          key,
          primary,
          columns: (columnsOf.get(at) ?? []).map((row): SourceColumn => {
            const [, , column, type, whole, precision, scale] = row;
            const isJson = json.has(JSON.stringify([schema, name, column]));
            return {
              name: column!,
              type: isJson ? "json" : whole!,
              declare: declaredType({
                type: isJson ? "json" : type!.toLowerCase(),
                whole: whole!.toLowerCase(),
                precision: precision === null ? null : Number(precision),
                scale: scale === null ? null : Number(scale),
              }),
            };
          }),
        };
      }),
    };
  } catch (error) {
    throw asProblem(error, what);
  } finally {
    client.destroy();
  }
}

/** The primary key, else the shortest unique key of whole columns without nulls. */
function keyOf(rows: (string | null)[][]): { key: string[] | null; primary: boolean } {
  const indexes = Map.groupBy(rows, ([, , index]) => index);
  const names = (columns: (string | null)[][]) => columns.map(([, , , name]) => name!);
  const primary = indexes.get("PRIMARY");
  if (primary !== undefined) return { key: names(primary), primary: true };
  const [unique] = [...indexes.values()].filter((columns) =>
    columns.length <= 4 &&
    columns.every(([, , , name, nullable, part]) =>
      name !== null && nullable !== "YES" && part === null
    )
  ).sort((a, b) => a.length - b.length);
  return { key: unique === undefined ? null : names(unique), primary: false };
}
