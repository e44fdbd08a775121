import { isTransient } from "./errors.ts";
import { type Client, connect } from "./pg.ts";
import { type RetryPolicy, withRetry } from "./retry.ts";

export interface TransactionOptions {
  retry: RetryPolicy;
  /** statement_timeout in ms for the transaction; 0: none. */
  statementTimeoutMs: number;
}

/**
 * One connection that is opened when it is first needed and again after it was
 * lost. Not for use by two callers at once.
 */
export class Connection {
  readonly #dsn: string;
  readonly #applicationName: string;
  #client: Client | null = null;
  #busyPid: number | null = null;

  constructor(dsn: string, applicationName: string) {
    this.#dsn = dsn;
    this.#applicationName = applicationName;
  }

  /**
   * Runs a transaction, again from its beginning while it fails transiently.
   * The function must do nothing that cannot be repeated outside of the transaction.
   */
  transaction<T>(options: TransactionOptions, run: (client: Client) => Promise<T>): Promise<T> {
    return withRetry(options.retry, () => this.#once(options, run));
  }

  async #once<T>(options: TransactionOptions, run: (client: Client) => Promise<T>): Promise<T> {
    options.retry.signal?.throwIfAborted();
    this.#client ??= await connect(this.#dsn, { applicationName: this.#applicationName });
    const client = this.#client;
    this.#busyPid = (client as unknown as { processID: number | null }).processID;
    try {
      await client.query(
        `begin; set local statement_timeout = ${Math.trunc(options.statementTimeoutMs)}`,
      );
      const result = await run(client);
      await client.query("commit");
      return result;
    } catch (error) {
      try {
        await client.query("rollback");
      } catch {
        this.#drop(client);
      }
      // a lost connection can leave the driver unusable although it does not say so
      if (isTransient(error)) this.#drop(client);
      throw error;
    } finally {
      this.#busyPid = null;
    }
  }

  /** Stops the statement that is running, if any; its transaction fails with 57014. */
  async cancel(): Promise<void> {
    const pid = this.#busyPid;
    if (pid === null) return;
    const other = await connect(this.#dsn, { applicationName: this.#applicationName });
    try {
      await other.query("select pg_cancel_backend($1)", [pid]);
    } finally {
      await other.end();
    }
  }

  #drop(client: Client): void {
    if (this.#client === client) this.#client = null;
    client.end().catch(() => {});
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => {});
  }
}
