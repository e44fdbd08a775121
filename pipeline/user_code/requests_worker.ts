/// <reference lib="deno.worker" />
import { Problem, type ProblemDetails } from "../../vocabulary/problem.ts";
import type { SourceRequest } from "./messages.ts";
import { Requester, type RequesterOptions, type SourceAnswer } from "./requests.ts";

/** What the thread that feeds a source module's host asks of the one that may use the network. */
export interface ToRequests {
  id: number;
  request: SourceRequest;
  /** What the module lists. */
  hosts: string[];
}

export type FromRequests =
  | { id: number; answer: SourceAnswer }
  | { id: number; problem: ProblemDetails; transient: boolean };

/*
 * The thread of a source module's requests. It has the secrets of the connections, loads no module of the
 * user's, and answers over a private line.
 */
self.onmessage = (
  { data }: MessageEvent<{ port: MessagePort; options: RequesterOptions }>,
) => {
  self.onmessage = null;
  const { port, options } = data;
  const requester = new Requester(options);
  port.onmessage = async ({ data: { id, request, hosts } }: MessageEvent<ToRequests>) => {
    try {
      const answer = await requester.ask(request, hosts);
      port.postMessage({ id, answer } satisfies FromRequests, [answer.body.buffer]);
    } catch (error) {
      const problem = error instanceof Problem ? error : new Problem("source-unreadable", {
        detail: `A request of the source's module failed: ${
          error instanceof Error ? error.message : error
        }`,
      });
      const { transient } = problem;
      port.postMessage({ id, problem: problem.toJSON(), transient } satisfies FromRequests);
    }
  };
};
