import type { Event, Rejected } from "../event.ts";
import type { Plain } from "../sources/source.ts";
import type { RunContext } from "../workers/task.ts";

/**
 * The ge_validate stage of one chunk: evaluates the run's expectation suite on
 * every batch. Without a suite it passes everything through.
 */
export class GeValidator {
  static create(_context: RunContext, _chunkNo: number): Promise<GeValidator> {
    return Promise.resolve(new GeValidator());
  }

  /** Observes a batch whose first event has position `start`; answers what goes on and what is quarantined. */
  batch(events: Event[], _start: number): { events: Event[]; rejected: Rejected[] } {
    return { events, rejected: [] };
  }

  /** What the chunk says of the batch, to be merged with the other chunks'; null without a suite. */
  finish(): Promise<Plain | null> {
    return Promise.resolve(null);
  }
}
