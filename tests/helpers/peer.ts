/** A request as the peer got it. */
export interface PeerRequest {
  method: string;
  path: string;
  headers: Headers;
  body: string;
  /** performance.now() at its arrival. */
  at: number;
}

type Answer = Response | "hang" | "reset";

/** A stand-in for a service that the server reports to: notes requests and answers as told. */
export interface Peer extends AsyncDisposable {
  /** "http://127.0.0.1:PORT" */
  address: string;
  requests: PeerRequest[];
  /** What answers from now on; default 200 "ok". */
  answer: (request: PeerRequest) => Answer | Promise<Answer>;
}

/** Starts a peer on a free port. `hang` never answers, `reset` breaks the connection off. */
export function startPeer(answer: Peer["answer"] = () => new Response("ok")): Peer {
  const requests: PeerRequest[] = [];
  const over = new AbortController();
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    signal: over.signal,
    onListen: () => {},
  }, async (request) => {
    const { pathname, search } = new URL(request.url);
    const seen = {
      method: request.method,
      path: pathname + search,
      headers: request.headers,
      body: await request.text(),
      at: performance.now(),
    };
    requests.push(seen);
    const given = await peer.answer(seen);
    if (given instanceof Response) return given;
    if (given === "reset") {
      return new Response(
        new ReadableStream({ pull: (controller) => controller.error(new Error("reset")) }),
      );
    }
    return await new Promise((resolve) =>
      over.signal.addEventListener("abort", () => resolve(new Response(null, { status: 503 })))
    );
  });
  const peer: Peer = {
    address: `http://127.0.0.1:${server.addr.port}`,
    requests,
    answer,
    async [Symbol.asyncDispose]() {
      over.abort();
      await server.finished;
    },
  };
  return peer;
}
