import type { Problem } from "../../vocabulary/problem.ts";

/** What the command line ends with, and what each code means. */
export const EXIT = {
  succeeded: 0,
  failed: 1,
  usage: 2,
  cancelled: 3,
  unreachable: 4,
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_MEANINGS: Record<keyof typeof EXIT, string> = {
  succeeded: "the command succeeded; if it waited for a run, the run succeeded",
  failed: "the run failed, or an unexpected error occurred",
  usage: "a wrong command, option or conf, or a refused request",
  cancelled: "the run was cancelled, or a question was answered with no",
  unreachable: "the server or its database does not answer",
  interrupted: "ended by Ctrl-C; the text before it says whether the run continues",
};

/** The exit code for a run that has ended in this state. */
export function exitCodeOf(state: string): ExitCode {
  if (state === "succeeded") return EXIT.succeeded;
  return state === "cancelled" ? EXIT.cancelled : EXIT.failed;
}

/** The exit code of a group of which so many have failed: it says how many, up to 89. */
export function exitCodeOfFailures(failed: number): ExitCode {
  return (failed === 0 ? EXIT.succeeded : 10 + Math.min(failed, 89)) as ExitCode;
}

/** The exit code for a request that was refused. */
export function exitCodeOfProblem(problem: Problem): ExitCode {
  if (problem.status === 503) return EXIT.unreachable;
  return problem.status < 500 ? EXIT.usage : EXIT.failed;
}

/** The command was used wrongly; ends with {@linkcode EXIT.usage} and a hint at the help. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Ctrl-C or another signal ended the command. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}
