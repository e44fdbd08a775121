/** An API of 25 orders, in pages of 10, in all the ways in which APIs page; it can misbehave. */
export function startOrdersApi() {
  const token = "test-token-of-the-orders-api";
  const orders = Array.from({ length: 25 }, (_, i) => ({
    id: i + 1,
    total: 19.9,
    updated_at: `2026-01-${String(i + 1).padStart(2, "0")}T00:00:00Z`,
  }));
  const asked: { path: string; authorization: string | null; at: number }[] = [];
  let faults: number[] = [];
  let done: number[] = [];
  let waited = 0;
  let toldToWait = 0;
  const tokens = new Map<string, number>();
  const page = (list: object[], start: number) => list.slice(start, start + 10);

  async function answer(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const authorization = request.headers.get("authorization");
    if (toldToWait > 0) {
      waited = Math.max(waited, performance.now() - toldToWait);
      toldToWait = 0;
    }
    if (url.pathname === "/token") {
      const form = new URLSearchParams(await request.text());
      if (authorization !== `Basic ${btoa("client:secret of it")}`) {
        return Response.json({ error: "invalid_client" }, { status: 401 });
      }
      const made = `${form.get("grant_type")}:${form.get("scope")}:${tokens.size}`;
      // the first one is worth a single request
      tokens.set(made, tokens.size === 0 ? 1 : Infinity);
      return Response.json({ access_token: made, token_type: "bearer" });
    }
    asked.push({ path: url.pathname, authorization, at: performance.now() });
    const bearer = authorization?.replace("Bearer ", "") ?? "";
    const uses = tokens.get(bearer) ?? 0;
    if (uses > 0) tokens.set(bearer, uses - 1);
    if (bearer !== token && uses <= 0) return new Response("who are you?", { status: 401 });
    const fault = faults.shift();
    if (fault !== undefined) done.push(fault);
    if (fault === 429) {
      toldToWait = performance.now();
      return new Response("slowly", { status: 429, headers: { "retry-after": "1" } });
    }
    if (fault === 500) return new Response("oops", { status: 500 });
    if (fault === 0) {
      // the connection breaks within the answer
      return new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(new TextEncoder().encode('[{"id": 99'));
            controller.error(new Error("broken"));
          },
        }),
      );
    }
    const since = url.searchParams.get("since") ?? "";
    const found = orders.filter(({ updated_at }) => updated_at >= since);
    const number = (name: string, otherwise: number) =>
      Number(url.searchParams.get(name) ?? otherwise);
    switch (url.pathname) {
      case "/v1/orders": {
        const start = number("start", 0);
        const next = new URL(url);
        next.searchParams.set("start", String(start + 10));
        const links = [`<${url.origin}/v1/orders?start=0>; rel="first"`];
        if (start + 10 < found.length) links.push(`<${next.href}>; rel="next"`);
        return Response.json(page(found, start), { headers: { link: links.join(", ") } });
      }
      case "/v1/orders/cursor": {
        const start = number("after", 0);
        const next = start + 10 < found.length + 10 ? start + 10 : null;
        // many an API says null where there is nothing
        const items = start < found.length ? page(found, start) : null;
        return Response.json({ data: { items, next } });
      }
      case "/v1/orders/numbered": {
        const shown = page(found, (number("page", 1) - 1) * 10);
        return shown.length > 0 ? Response.json(shown) : new Response("no page", { status: 404 });
      }
      case "/v1/orders/page":
        return Response.json({ total: 25, orders: page(found, (number("page", 1) - 1) * 10) });
      case "/v1/orders/offset":
        return Response.json(
          // ten at most, whatever is asked for
          page(found, number("offset", 0)).slice(0, number("limit", 5)),
        );
      case "/v1/customers/a%20b/orders":
        return Response.json([orders[0]]);
      case "/v1/customers/c/orders":
        return Response.json([orders[1]]);
      case "/v1/moved":
        return new Response(null, { status: 303, headers: { location: "/v1/gone_to" } });
      case "/v1/gone_to":
        return request.method === "GET"
          ? Response.json([orders[0]])
          : new Response(null, { status: 405 });
      case "/v1/elsewhere":
        return new Response(null, { status: 302, headers: { location: "http://127.0.0.1:1/" } });
      case "/v1/circle":
        return Response.json([], { headers: { link: `<${url.href}>; rel=next` } });
      default:
        return new Response("nothing there", { status: 404 });
    }
  }

  const server = Deno.serve({
    port: 0,
    hostname: "127.0.0.1",
    onListen: () => {},
    onError: () => new Response("x", { status: 500 }),
  }, answer);
  const host = `127.0.0.1:${server.addr.port}`;
  return {
    url: `http://${host}`,
    host,
    token,
    asked,
    /** Answers the next requests with 429, 500 and a broken connection. */
    misbehave() {
      faults = [429, 500, 0];
      done = [];
    },
    misbehaved: () => done,
    /** The longest that a client waited after it was told to, in milliseconds. */
    waited: () => waited,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
