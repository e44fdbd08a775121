import { createHash } from "node:crypto";
import { copyOut } from "../copy.ts";
import { type Client, quoteIdent, quoteTable } from "../pg.ts";
import {
  type BackedUpTable,
  copyColumns,
  copyLine,
  DATA_MARK,
  END_OF_TABLE,
  FIRST_LINE,
  type Manifest,
  manifestLine,
  openingSql,
  PSQL_CLOSING,
  psqlOpening,
  type RestoreSql,
  type Trailer,
  trailerLine,
} from "./format.ts";
import { beginSnapshot } from "./catalogue.ts";

export interface BackupTextOptions {
  takenAt: Date;
  /** sql/etl_setup.sql, for restoring into an empty database with psql. */
  setupSql: string;
  restoreSql: RestoreSql;
  /** Told what the backup says of itself, before its rows. */
  onManifest?: (manifest: Manifest) => void;
  /** Told the rows of each table when they have been read. */
  onTable?: (table: BackedUpTable, rows: number) => void;
  /** Told the trailer when the text is complete. */
  onEnd?: (trailer: Trailer) => void;
}

/**
 * The text of a backup in blocks, read from one snapshot. Holds one block in
 * memory. The transaction is the connection's: end it when the text has ended or failed.
 */
export async function* backupText(
  client: Client,
  options: BackupTextOptions,
): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  const hash = createHash("sha256");
  const total = { tables: 0, rows: 0, bytes: 0 };
  const counted = (block: Uint8Array) => {
    hash.update(block);
    total.bytes += block.length;
    return block;
  };
  const text = (value: string) => counted(encoder.encode(value));

  const manifest = await beginSnapshot(client, options.takenAt);
  options.onManifest?.(manifest);
  yield text(
    FIRST_LINE + manifestLine(manifest) + psqlOpening(options.setupSql) +
      openingSql(manifest, options.restoreSql.opening) + DATA_MARK,
  );
  const { rows: [knows] } = await client.query<{ secrets: boolean }>(
    "select to_regprocedure('etl.secrets_of(jsonb, text[])') is not null as secrets",
  );
  const partitioned = await client.query<{ name: string }>(
    `select n.nspname || '.' || c.relname as name from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace where c.relkind = 'p'`,
  );
  const inPartitions = new Set(partitioned.rows.map(({ name }) => name));
  for (const table of manifest.tables) {
    yield text(copyLine(table));
    const what = (knows!.secrets ? withoutSecrets(table) : undefined) ??
      (inPartitions.has(`${table.schema_name}.${table.table_name}`)
        ? copySelected(table)
        : copyColumns(table));
    const rows = copyOut(client, `${what} to stdout`);
    for await (const block of rows) yield counted(block);
    yield text(END_OF_TABLE);
    total.tables++;
    total.rows += rows.rowCount;
    options.onTable?.(table, rows.rowCount);
  }
  yield text(`-- etl-improved end of data\n${options.restoreSql.closing}${PSQL_CLOSING}`);
  const trailer = { ...total, sha256: hash.digest("hex") };
  yield encoder.encode(trailerLine(trailer));
  options.onEnd?.(trailer);
}

/** Columns in which version 0.1.0 kept the secrets of sources. */
const CONFS: Record<string, string[]> = {
  runs: ["conf", "params"],
  configurations: ["conf"],
  schedules: ["conf"],
  variables: ["value"],
};

/** Begins a COPY of a table whose confs may hold secrets, with *** for them; undefined for other tables. */
function withoutSecrets(table: BackedUpTable): string | undefined {
  const hidden = table.schema_name === "etl" ? CONFS[table.table_name] : undefined;
  if (hidden === undefined) return undefined;
  const columns = table.columns.map(({ name }) => {
    const column = quoteIdent(name);
    // of many runs few have anything in which one could be
    return hidden.includes(name)
      ? `case when ${column}::text ~* '//|password|pwd|token|secret|cookie|bearer |basic |private key|eyJ|[A-Za-z0-9]{2}[-_.][A-Za-z0-9_-]{16}' ` +
        `and exists (select from etl.secrets_of(${column})) then etl.without_secrets(${column}) else ${column} end`
      : column;
  });
  return copySelected(table, columns);
}

/** Begins a COPY of what a table and its partitions hold, which PostgreSQL does not read by the table's name alone. */
function copySelected(
  table: BackedUpTable,
  columns = table.columns.map(({ name }) => quoteIdent(name)),
): string {
  return `copy (select ${columns.join(", ")} from ${
    quoteTable(table.schema_name, table.table_name)
  })`;
}
