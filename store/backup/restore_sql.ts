/** The SQL around the data of a backup, from sql/restore. */
export interface RestoreSql {
  opening: string;
  closing: string;
}

export async function readRestoreSql(): Promise<RestoreSql> {
  const read = (name: string) =>
    Deno.readTextFile(new URL(`../../sql/restore/${name}.sql`, import.meta.url));
  return { opening: await read("opening"), closing: await read("closing") };
}

export async function readSetupSql(): Promise<string> {
  return await Deno.readTextFile(new URL("../../sql/etl_setup.sql", import.meta.url));
}
