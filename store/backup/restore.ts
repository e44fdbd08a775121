import { createHash } from "node:crypto";
import { Problem, type ProblemType, TerminalProblem } from "../../vocabulary/problem.ts";
import { copyIn } from "../copy.ts";
import { errorCode, isSqlState, raisedProblem } from "../errors.ts";
import type { Client } from "../pg.ts";
import { ByteReader } from "./byte_reader.ts";
import { type CheckedBackup, readBlocks } from "./checked_file.ts";
import {
  type BackedUpTable,
  copyLine,
  DATA_MARK,
  END_OF_TABLE,
  openingSql,
  type RestoreSql,
} from "./format.ts";

export interface RestoreOptions {
  restoreSql: RestoreSql;
  /** Told the rows of each table when they are in. */
  onTable?: (table: BackedUpTable, rows: number) => void;
}

const encoder = new TextEncoder();

/**
 * Replaces what the backup holds, in one transaction. Runs no SQL from the file:
 * its own, and COPY with the rows of the tables that the manifest names. Needs
 * a database that is set up.
 */
export async function restoreBackup(
  client: Client,
  backup: CheckedBackup,
  options: RestoreOptions,
): Promise<void> {
  const { manifest, trailer } = backup;
  const read = new HashedBlocks(readBlocks(backup.path), trailer.bytes);
  const reader = new ByteReader(read);
  try {
    await client.query("begin");
    await client.query(openingSql(manifest, options.restoreSql.opening));
    for await (const _sql of reader.until(encoder.encode(DATA_MARK)));
    let rows = 0;
    for (const table of manifest.tables) {
      const copied = await copyTable(client, table, reader);
      rows += copied;
      options.onTable?.(table, copied);
    }
    await reader.drain();
    if (read.digest() !== trailer.sha256 || rows !== trailer.rows) throw changed();
    await client.query(options.restoreSql.closing);
    await client.query("commit");
  } catch (error) {
    // a connection that is lost has rolled back by itself
    await client.query("rollback").catch(() => {});
    throw asProblem(error);
  } finally {
    await reader.close();
  }
}

async function copyTable(
  client: Client,
  table: BackedUpTable,
  reader: ByteReader,
): Promise<number> {
  const line = copyLine(table);
  if (!await reader.skip(encoder.encode(line))) throw changed();
  // without rows, what ends them follows at once
  if (await reader.skip(encoder.encode(END_OF_TABLE))) return 0;
  return await copyIn(client, line.replace(/;\n$/, ""), rowsOf(reader));
}

async function* rowsOf(reader: ByteReader): AsyncGenerator<Uint8Array> {
  yield* reader.until(encoder.encode(`\n${END_OF_TABLE}`));
  yield encoder.encode("\n");
}

/** Blocks that are hashed while they pass, up to the trailer. */
class HashedBlocks implements AsyncIterable<Uint8Array> {
  readonly #blocks: AsyncIterable<Uint8Array>;
  readonly #hash = createHash("sha256");
  #left: number;

  constructor(blocks: AsyncIterable<Uint8Array>, bytes: number) {
    this.#blocks = blocks;
    this.#left = bytes;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for await (const block of this.#blocks) {
      const part = block.subarray(0, this.#left);
      this.#hash.update(part);
      this.#left -= part.length;
      yield block;
    }
  }

  digest(): string {
    return this.#hash.digest("hex");
  }
}

function changed(): Problem {
  return new TerminalProblem("conflict", {
    detail: "The file was changed while it was restored. Nothing was changed in the database.",
  });
}

const INSUFFICIENT_PRIVILEGE = "42501";

function asProblem(error: unknown): unknown {
  const raised = raisedProblem(error);
  if (raised !== null) {
    return new TerminalProblem(raised.type as ProblemType, {
      detail: raised.detail,
      status: raised.status,
    });
  }
  if (error instanceof Problem || !isSqlState(errorCode(error))) return error;
  return new TerminalProblem("database-error", {
    detail: `The database refused the restore (${errorCode(error)}): ${
      (error as Error).message
    }. Nothing was changed.${
      errorCode(error) === INSUFFICIENT_PRIVILEGE
        ? " Set KPIS_PG_DSN to the connection string of the owner, with whom `deno task setup-db` was run."
        : ""
    }`,
    cause: error,
  });
}
