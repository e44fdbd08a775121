/// <reference lib="deno.worker" />
import { say } from "../../vocabulary/messages.ts";
import { Problem, type ProblemDetails } from "../../vocabulary/problem.ts";
import type { SourceRequest } from "./messages.ts";
import { ObtainedSecrets } from "./obtained_secrets.ts";
import { Requester, type RequesterOptions, type SourceAnswer } from "./requests.ts";
import { stepBack } from "../workers/step_back.ts";

/** What the thread that feeds a source module's host asks of the one that may use the network. */
export interface ToRequests {
  id: number;
  request: SourceRequest;
  /** What the module lists. */
  hosts: string[];
}

/** `secrets`: those that turned up since the last message. */
export type FromRequests =
  & { id: number; secrets: string[] }
  & ({ answer: SourceAnswer } | { problem: ProblemDetails; transient: boolean });

/*
 * The thread of a source module's requests. It has the secrets of the connections, loads no module of the
 * user's, and answers over a private line.
 */
stepBack();

self.onmessage = (
  { data }: MessageEvent<{ port: MessagePort; options: RequesterOptions }>,
) => {
  self.onmessage = null;
  const { port, options } = data;
  const secrets = new ObtainedSecrets();
  const requester = new Requester(options, secrets);
  port.onmessage = async ({ data: { id, request, hosts } }: MessageEvent<ToRequests>) => {
    try {
      const answer = await requester.ask(request, hosts);
      port.postMessage(
        { id, answer, secrets: secrets.take() } satisfies FromRequests,
        [answer.body.buffer],
      );
    } catch (error) {
      const problem = error instanceof Problem ? error : new Problem("source-unreadable", {
        detail: say("request-failed", {
          said: error instanceof Error ? error.message : String(error),
        }),
      });
      const { transient } = problem;
      const shown = { ...problem.toJSON(), detail: secrets.hide(problem.message) };
      port.postMessage(
        { id, problem: shown, transient, secrets: secrets.take() } satisfies FromRequests,
      );
    }
  };
};
