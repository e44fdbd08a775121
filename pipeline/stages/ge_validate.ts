import type { Event, Rejected } from "../event.ts";
import {
  type ChunkState,
  type CompiledSuite,
  compileSuite,
  type SerializedState,
} from "../expectations/compiled_suite.ts";
import type { ValidationResult } from "../expectations/result.ts";
import { readSuite } from "../expectations/suite.ts";
import { Problem } from "../problem.ts";
import type { Plain } from "../sources/source.ts";
import type { TaskEnvironment } from "../workers/environment.ts";
import type { RunContext, Tasks } from "../workers/task.ts";

/**
 * The ge_validate stage of one chunk: evaluates the run's expectation suite on
 * every batch. Without a suite it passes everything through.
 */
export class GeValidator {
  readonly #suite: CompiledSuite | null;
  readonly #state: ChunkState | null;
  readonly #quarantines: boolean;

  constructor(context: RunContext, chunkNo: number) {
    this.#suite = context.suite === null ? null : compileSuite(readSuite(context.suite));
    this.#state = this.#suite?.newState({ chunkNo, spillDir: context.spillDir }) ?? null;
    this.#quarantines = context.params.on_failure === "quarantine";
  }

  /** Observes a batch whose first event has position `start`; answers what goes on and what is quarantined. */
  batch(events: Event[], start: number): { events: Event[]; rejected: Rejected[] } {
    if (this.#suite === null) return { events, rejected: [] };
    const payloads = events.map((event) => event.payload);
    const columns = events.map(({ eventId, eventType, occurredAt }) => ({
      event_id: eventId,
      event_type: eventType,
      occurred_at: occurredAt,
    }));
    this.#suite.observe(this.#state!, payloads, { startPosition: start, events: columns });
    if (!this.#quarantines) return { events, rejected: [] };
    const failing = this.#suite.failingRows(payloads, { events: columns });
    if (failing.size === 0) return { events, rejected: [] };
    const rejected = [...failing].map(([i, { rule, message }]) => {
      const { position, output, raw, text } = events[i]!;
      return { position, output, rule, message, field: null, raw: raw ?? text };
    });
    return { events: events.filter((_, i) => !failing.has(i)), rejected };
  }

  /** What the chunk says of the batch, to be merged with the other chunks'; null without a suite. */
  finish(): Plain | null {
    if (this.#suite === null) return null;
    return this.#suite.serializeState(this.#state!) as unknown as Plain;
  }
}

/**
 * The suite's verdict over the whole batch, from what the chunks say. Runs in a
 * worker: sorting out millions of values takes its time.
 */
export function judgeBatch(
  { context }: TaskEnvironment,
  { states }: Tasks["judge"]["input"],
): Promise<ValidationResult> {
  const suite = compileSuite(readSuite(context.suite));
  return Promise.resolve(suite.finish(suite.mergeStates(states as unknown as SerializedState[])));
}

/** The problem of a run that enforces its suite and failed it. */
export function suiteFailed(result: ValidationResult): Problem {
  const failed = result.results.filter(({ success }) => !success);
  const shown = failed.slice(0, 3).map(({ expectation_config: { type, kwargs } }) =>
    `${type}(${kwargs.column ?? kwargs.column_list ?? ""})`
  ).join(", ");
  return new Problem("validation-failed", {
    detail:
      `${failed.length} of ${result.results.length} expectations of suite ${result.suite_name} do not hold: ${shown}. ` +
      "Nothing was loaded, since enforce_ge is set. The run's validation shows what was found.",
  });
}
