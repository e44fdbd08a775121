import {
  compileSuite,
  isRowWise,
  newProfile,
  readSuite,
  type ValidationResult,
  writeSuite,
} from "./expectations/expectations.ts";
import type { SourceRecord } from "./sources/source.ts";
import type { Bounded } from "./workers/aside_worker.ts";
import {
  noCounts,
  sourceEvents,
  type SourceEventsContext,
  type SourceEventsCounts,
} from "./source_events.ts";

/** A suite that is proposed, and what was looked at for it. */
export interface ProfileResult extends SourceEventsCounts {
  /** In the JSON of Great Expectations 1.x, ready to edit. */
  suite: Record<string, unknown>;
}

/** Proposes a suite named `name` that holds on the events of a source. */
export async function profileSource(
  context: SourceEventsContext & { name: string },
  host: MessagePort | null,
  bounded: Bounded,
): Promise<ProfileResult> {
  const counts = noCounts();
  const profile = newProfile({ name: context.name, spillDir: context.source.spoolDir });
  for await (const events of sourceEvents(context, counts, host)) {
    await bounded(() => profile.observe(events.map(({ payload }) => payload), events));
  }
  return { suite: await bounded(() => profile.finish()), ...counts };
}

/** A sample to try a suite on: records as they are, or those of a source as a run would see them. */
export type TrySample =
  | { records: SourceRecord[] }
  | { source: SourceEventsContext };

/** A suite as it is stored. */
export interface CheckedSuite {
  suite: Record<string, unknown>;
  /** Whether each verdict depends on a row alone. */
  rowWise: boolean;
}

/** Reads and compiles a suite. Throws a Problem with everything that is wrong with it. */
export function checkSuite(json: unknown): CheckedSuite {
  const suite = readSuite(json);
  compileSuite(suite);
  return { suite: writeSuite(suite), rowWise: suite.expectations.every(isRowWise) };
}

/** What a suite, in the JSON of Great Expectations, says of a sample. */
export async function trySuite(
  { suite, sample }: { suite: unknown; sample: TrySample },
  host: MessagePort | null,
  bounded: Bounded,
): Promise<ValidationResult> {
  const compiled = compileSuite(readSuite(suite));
  const state = compiled.newState({
    chunkNo: 0,
    ...("source" in sample ? { spillDir: sample.source.source.spoolDir } : {}),
  });
  if ("records" in sample) {
    const { records } = sample;
    for (let from = 0; from < records.length; from += 1000) {
      compiled.observe(state, records.slice(from, from + 1000));
    }
  } else {
    for await (const events of sourceEvents(sample.source, noCounts(), host)) {
      await bounded(() =>
        compiled.observe(state, events.map(({ payload }) => payload), { events })
      );
    }
  }
  return await bounded(() =>
    compiled.finish(compiled.mergeStates([compiled.serializeState(state)]))
  );
}
