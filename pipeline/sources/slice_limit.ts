import { Problem } from "../../vocabulary/problem.ts";

/** Chunks that a run may have: the plan of all of them is in memory once. */
const MAX_SLICES = 1_000_000;

/** Refuses a plan of more slices than a server can hold. */
export function refuseManySlices(count: number): void {
  if (count <= MAX_SLICES) return;
  throw new Problem("invalid-conf", {
    detail: `The run would have more than ${MAX_SLICES.toLocaleString("en-US")} chunks: ` +
      "choose a larger chunk_size.",
    errors: [{ field: "chunk_size", message: "makes too many chunks", expected: "a larger one" }],
  });
}
