/** A client that does what no well-behaved one does: it sends and reads only as much as it is told to. */
export class RawClient implements Disposable {
  readonly #connection: Deno.TcpConn;

  private constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  static async connect(address: string): Promise<RawClient> {
    const { hostname, port } = new URL(address);
    return new RawClient(await Deno.connect({ hostname, port: Number(port) }));
  }

  async send(text: string): Promise<void> {
    const bytes = new TextEncoder().encode(text);
    for (let from = 0; from < bytes.length;) {
      from += await this.#connection.write(bytes.subarray(from));
    }
  }

  /** The next bytes as text; null when the server has closed. */
  async read(): Promise<string | null> {
    const buffer = new Uint8Array(65_536);
    try {
      const got = await this.#connection.read(buffer);
      return got === null ? null : new TextDecoder().decode(buffer.subarray(0, got));
    } catch (error) {
      if (error instanceof Deno.errors.ConnectionReset) return null;
      throw error;
    }
  }

  /** Reads until what came matches; answers all of it. */
  async readUntil(pattern: RegExp): Promise<string> {
    let text = "";
    while (!pattern.test(text)) {
      const more = await this.read();
      if (more === null) return text;
      text += more;
    }
    return text;
  }

  /** One whole answer that tells its length; what the server said before it closed, if it did. */
  async answer(): Promise<string> {
    let text = await this.readUntil(/\r\n\r\n/);
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
    while (new TextEncoder().encode(text.slice(text.indexOf("\r\n\r\n") + 4)).length < length) {
      const more = await this.read();
      if (more === null) return text;
      text += more;
    }
    return text;
  }

  /** The head of a request, without the empty line that ends it. */
  static head(method: string, path: string, headers: Record<string, string> = {}): string {
    const lines = Object.entries({ host: "localhost", ...headers })
      .map(([name, value]) => `${name}: ${value}\r\n`);
    return `${method} ${path} HTTP/1.1\r\n${lines.join("")}`;
  }

  [Symbol.dispose](): void {
    this.#connection.close();
  }
}
