import {
  compileSuite,
  readSuite,
  type SerializedState,
  type ValidationResult,
} from "../../pipeline/expectations/expectations.ts";
import type { SourceRecord } from "../../pipeline/sources/source.ts";
import type { Case } from "./reference.ts";

/** Ways to split a case's records into chunks. */
export const CHUNKINGS: [string, (records: SourceRecord[]) => SourceRecord[][]][] = [
  ["one chunk", (records) => [records]],
  ["three chunks", (records) => split(records, Math.max(1, Math.ceil(records.length / 3)))],
  ["many chunks", (records) => split(records, records.length > 100 ? 97 : 1)],
];

function split(records: SourceRecord[], size: number): SourceRecord[][] {
  return Array.from(
    { length: Math.ceil(records.length / size) },
    (_, i) => records.slice(i * size, (i + 1) * size),
  );
}

/** Our answer, with the chunks' states merged in the order that `random` draws. */
export function evaluate(
  one: Case,
  chunks: SourceRecord[][],
  spillDir: string,
  random: () => number = () => 0,
): ValidationResult {
  const suite = compileSuite(readSuite({ name: one.name, expectations: one.expectations }));
  const states: SerializedState[] = [];
  chunks.forEach((records, chunkNo) => {
    const state = suite.newState({ chunkNo, spillDir });
    for (const batch of split(records, 40)) {
      suite.observe(state, batch);
    }
    states.push(suite.serializeState(state));
  });
  const shuffled: SerializedState[] = [];
  for (const state of states) shuffled.splice(Math.floor(random() * shuffled.length), 0, state);
  // As states come from workers: in any order, as plain data.
  return suite.finish(suite.mergeStates(structuredClone(shuffled)));
}
