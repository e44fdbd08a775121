/**
 * A named pipe at which a module of a test stops: it can read its own directory
 * and do nothing else, and reading from a pipe lasts until somebody writes.
 */
export class Gate implements AsyncDisposable {
  readonly path: string;
  #held: Deno.FsFile | undefined;
  readonly #arriving: Promise<void>;
  #open: Deno.FsFile | undefined;

  private constructor(path: string) {
    this.path = path;
    // opening one end waits for the other
    this.#arriving = Deno.open(path, { write: true }).then((file) => {
      this.#held = file;
    });
  }

  /** Makes the pipe, which a module reads one byte of. */
  static async make(path: string): Promise<Gate> {
    const { success, stderr } = await new Deno.Command("mkfifo", { args: [path] }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    return new Gate(path);
  }

  /** Waits until somebody stands at the gate. */
  async arrived(what: string, timeoutMs = 60_000): Promise<void> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error(`no ${what} in ${timeoutMs} ms`)), timeoutMs);
    try {
      await Promise.race([this.#arriving, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Lets everybody through, now and later. */
  async open(): Promise<void> {
    if (this.#open !== undefined) return;
    this.#open = await Deno.open(this.path, { read: true, write: true });
    await this.#arriving;
    await this.#open.write(new Uint8Array(4096));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.open();
    this.#held?.close();
    this.#open?.close();
  }
}
