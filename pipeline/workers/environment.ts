import type { Connection } from "../../store/connection.ts";
import type { RetryPolicy } from "../../store/retry.ts";
import type { TransformFunction } from "../stages/transform.ts";
import type { RunContext } from "./task.ts";

/** What a task finds in its worker: the run, a connection, and a signal that ends it. */
export interface TaskEnvironment {
  context: RunContext;
  connection: Connection;
  /** Aborted when the run is cancelled or its server stops. */
  signal: AbortSignal;
  retry: RetryPolicy;
  transform: TransformFunction | undefined;
  /** Name of this worker, shown with the chunk. */
  workerName: string;
  /** The stored request body of an inline source. */
  readUpload(uploadId: string): AsyncIterable<Uint8Array>;
}

/** What identifies the maker of a spill: another one's is not used. */
export function spillMaker(context: RunContext): string {
  const { source, transform, db_page_size: _page, ...rest } = context.params;
  const { records: _records, ...described } = source as { records?: unknown };
  return JSON.stringify([described, transform, context.pin, context.suite, {
    on_failure: rest.on_failure,
  }]);
}
