/** A TCP proxy between client and server, to break connections in every way that networks do. */
export interface TcpProxy {
  port: number;
  /** `dsn` (or any URL) as it is reached through the proxy. */
  through(dsn: string): string;
  /** Number of connections that are open now. */
  readonly connectionCount: number;
  /**
   * Passes no byte on from now on, in either direction, and closes nothing: half-open connections.
   * With `existing` that is so for connections that are open now, for ever; new ones are served.
   */
  stall(options?: { existing?: boolean }): void;
  /** Ends stalling; what was held back is passed on. */
  resume(): void;
  /** Closes every open connection; new ones are served. */
  breakAll(): void;
  /** Closes every open connection and refuses new ones, or ends refusing. */
  refuse(refusing: boolean): void;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface ProxyTarget {
  port: number;
  /** Default 127.0.0.1. */
  hostname?: string;
  /** Makes, for each connection, what is told each block that its client sends, before it is passed on. */
  onConnection?: () => (bytes: Uint8Array) => void;
}

/** Starts a proxy on a free loopback port in front of `target`. */
export function tcpProxy({ onConnection, ...target }: ProxyTarget): TcpProxy {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const open = new Set<[Deno.Conn, Deno.Conn]>();
  const running = new Set<Promise<unknown>>();
  const never = Promise.withResolvers<void>();
  const frozen = new WeakSet<Deno.Conn>();
  let refusing = false;
  let gate: PromiseWithResolvers<void> | undefined;

  const track = (work: Promise<unknown>) => {
    running.add(work);
    void work.finally(() => running.delete(work));
  };

  async function pass(
    from: Deno.Conn,
    to: Deno.Conn,
    told?: (bytes: Uint8Array) => void,
  ): Promise<void> {
    const buffer = new Uint8Array(64 * 1024);
    for (;;) {
      const length = await from.read(buffer);
      if (frozen.has(from)) await never.promise;
      await gate?.promise;
      if (length === null) return;
      told?.(buffer.subarray(0, length));
      for (let sent = 0; sent < length;) sent += await to.write(buffer.subarray(sent, length));
    }
  }

  async function serve(client: Deno.TcpConn): Promise<void> {
    let server: Deno.TcpConn;
    try {
      server = await Deno.connect({ hostname: "127.0.0.1", ...target });
    } catch {
      client.close();
      return;
    }
    client.setNoDelay();
    server.setNoDelay();
    const pair: [Deno.Conn, Deno.Conn] = [client, server];
    open.add(pair);
    // Whichever side ends first ends the other, too.
    await Promise.allSettled([
      pass(client, server, onConnection?.()).catch(() => {}).finally(() => closePair(pair)),
      pass(server, client).catch(() => {}).finally(() => closePair(pair)),
    ]);
  }

  function closePair(pair: [Deno.Conn, Deno.Conn]): void {
    if (!open.delete(pair)) return;
    for (const connection of pair) connection.close();
  }

  function resume(): void {
    gate?.resolve();
    gate = undefined;
  }

  function breakAll(): void {
    for (const pair of [...open]) closePair(pair);
  }

  async function accept(): Promise<void> {
    for await (const client of listener) {
      if (refusing) client.close();
      else track(serve(client));
    }
  }

  track(accept());
  return {
    port,
    get connectionCount() {
      return open.size;
    },
    through(dsn) {
      const url = new URL(dsn);
      url.hostname = "127.0.0.1";
      url.port = String(port);
      return url.href;
    },
    stall({ existing = false } = {}) {
      if (!existing) gate ??= Promise.withResolvers();
      else for (const each of [...open].flat()) frozen.add(each);
    },
    resume,
    breakAll,
    refuse(value) {
      refusing = value;
      if (value) breakAll();
    },
    async [Symbol.asyncDispose]() {
      resume();
      never.resolve();
      listener.close();
      breakAll();
      while (running.size > 0) await Promise.all(running);
    },
  };
}
