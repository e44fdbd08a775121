import type { Connection, TransactionOptions } from "../../store/connection.ts";
import type { RetryPolicy } from "../../store/retry.ts";
import { Canonicalizer } from "../canonical.ts";
import { jsonText } from "../numbers.ts";
import { parseJson } from "../sources/json_text.ts";
import type { SourceClient } from "../user_code/source_client.ts";
import type { TransformClient } from "../user_code/transform_client.ts";
import type { RunContext } from "./task.ts";

/** What a task finds in its worker: the run, a connection, and a signal that ends it. */
export interface TaskEnvironment {
  context: RunContext;
  connection: Connection;
  /** Aborted when the run is cancelled or its server stops. */
  signal: AbortSignal;
  retry: RetryPolicy;
  /** The user's own module, in its host; null where the conf names none. */
  module: TransformClient | null;
  /** The run's source module, in its host; null where the conf names none. */
  source: SourceClient | null;
  /** Name of this worker, shown with the chunk. */
  workerName: string;
  /** The stored request body of an inline source. */
  readUpload(uploadId: string): AsyncIterable<Uint8Array>;
}

/** How a task's transactions are retried, limited and named; start_run ends those of replaced attempts by name,
 * release_helpers those of helpers that are dead. */
export function transactionOptions({ context, retry }: TaskEnvironment): TransactionOptions {
  return {
    retry,
    statementTimeoutMs: context.params.db_statement_timeout_ms,
    name: `etl-run ${context.runId} ${context.attempt}` +
      (context.holder === null ? "" : ` ${context.holder.slice(0, 8)}`),
  };
}

/** What identifies the maker of a spill: another one's is not used. */
export function spillMaker(context: RunContext): string {
  const { source, transform, db_page_size: _page, ...rest } = context.params;
  const { records: _records, ...described } = source as { records?: unknown };
  const maker = [described, transform, context.pin, context.suite, {
    on_failure: rest.on_failure,
    ...(context.privacy === null ? {} : { exclude: rest.exclude, hash: rest.hash }),
    ...(context.table === null ? {} : { table: context.table, schema_policy: rest.schema_policy }),
  }];
  // what has been in the database comes back with its keys in another order
  return new Canonicalizer().text(parseJson(jsonText(maker)));
}
