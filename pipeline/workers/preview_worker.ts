/// <reference lib="deno.worker" />
import { type Preview, preview, type PreviewContext } from "../preview.ts";
import { Problem, type ProblemDetails } from "../problem.ts";
import { runProblem } from "../run_problem.ts";

/** What comes back from a preview's worker. */
export type PreviewAnswer =
  | { preview: Preview }
  | { problem: ProblemDetails; transient: boolean }
  /** Something unexpected, for the log. */
  | { defect: string };

/** Makes one preview, and is ended by who started it. */
self.onmessage = async ({ data }: MessageEvent<PreviewContext>) => {
  let answer: PreviewAnswer;
  try {
    answer = { preview: await preview(data) };
  } catch (error) {
    answer = answerOf(error);
  }
  self.postMessage(answer);
};

function answerOf(error: unknown): PreviewAnswer {
  const problem = runProblem(error, "extract");
  if (problem.type === "internal" && !(error instanceof Problem)) {
    return { defect: error instanceof Error ? error.stack ?? error.message : String(error) };
  }
  return { problem: problem.toJSON(), transient: problem.transient };
}
