import { errorCode, isSqlState, isTransient, noteStatementTimeout } from "./errors.ts";
import { type Client, connect } from "./pg.ts";
import { type RetryPolicy, withRetry } from "./retry.ts";

const TOO_MANY_CONNECTIONS = "53300";

export interface TransactionOptions {
  retry: RetryPolicy;
  /** statement_timeout in ms for the transaction; 0: none. */
  statementTimeoutMs: number;
  /**
   * Whether the commit waits for the disk; default true. What need not be there after a crash, unless something later
   * is: the log is written in order, so a later commit that waits takes this one along.
   */
  durable?: boolean;
  /** Shown in pg_stat_activity while the transaction lasts; default: the connection's name. */
  name?: string;
}

export interface ConnectionOptions {
  /** Milliseconds between two looks whether a silent connection is still there; default 10,000. */
  probeMs?: number | undefined;
  /** Whether it may keep plans of statements, as it has no pooler before it; default false. */
  keepPlans?: boolean | undefined;
}

/** The connection gave no sign of life while the server waited for the client: the network between them is gone. */
class HalfOpen extends Error {
  readonly transient = true;
  constructor() {
    super("the connection to the database was lost without notice");
  }
}

/**
 * One connection that is opened when it is first needed and again after it was
 * lost. Not for use by two callers at once.
 */
export class Connection {
  readonly #dsn: string;
  readonly #applicationName: string;
  readonly #probeMs: number;
  readonly #keepPlans: boolean | undefined;
  #client: Client | null = null;
  /** Backend of the transaction in hand. */
  #pid: number | null = null;

  constructor(dsn: string, applicationName: string, options: ConnectionOptions = {}) {
    this.#dsn = dsn;
    this.#applicationName = applicationName;
    this.#probeMs = options.probeMs ?? 10_000;
    this.#keepPlans = options.keepPlans;
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
    const started = performance.now();
    this.#client ??= await connect(this.#dsn, {
      applicationName: this.#applicationName,
      keepPlans: this.#keepPlans,
    });
    const client = this.#client;
    const lost = Promise.withResolvers<never>();
    lost.promise.catch(() => {});
    const watch = new Watch(client, () => this.#probe(), this.#probeMs, () => {
      this.#drop(client);
      lost.reject(new HalfOpen());
    });
    try {
      return await Promise.race([this.#transact(client, options, run), lost.promise]);
    } catch (error) {
      try {
        if (this.#client === client) await Promise.race([client.query("rollback"), lost.promise]);
      } catch {
        this.#drop(client);
      }
      const elapsedMs = performance.now() - started;
      noteStatementTimeout(error, { limitMs: options.statementTimeoutMs, elapsedMs });
      if (isTransient(error)) {
        // a lost connection can leave the driver unusable although it does not say so
        this.#drop(client);
        await this.#endLost(error, this.#nameOf(options));
      }
      throw error;
    } finally {
      watch.end();
      this.#pid = null;
    }
  }

  async #transact<T>(
    client: Client,
    options: TransactionOptions,
    run: (client: Client) => Promise<T>,
  ): Promise<T> {
    const name = this.#nameOf(options).replaceAll("'", "''");
    // several statements in one round trip; the last tells which backend this is, also behind a pooler
    const results = await client.query(
      `begin; set local statement_timeout = ${Math.trunc(options.statementTimeoutMs)};
      ${options.durable === false ? "set local synchronous_commit = off; " : ""}
      set local application_name = '${name}'; select pg_backend_pid() as pid`,
    ) as unknown as { rows: { pid: number }[] }[];
    this.#pid = results.at(-1)!.rows[0]!.pid;
    const result = await run(client);
    await client.query("commit");
    return result;
  }

  #nameOf(options: TransactionOptions): string {
    return (options.name ?? this.#applicationName).slice(0, 63);
  }

  /**
   * Ends a transaction whose connection was lost on our side only: the server
   * may not know for hours, and the next try would wait for its locks.
   */
  async #endLost(error: unknown, name: string): Promise<void> {
    if (this.#pid === null || isSqlState(errorCode(error))) return;
    try {
      await this.#aside(
        "select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and application_name = $2",
        [this.#pid, name],
      );
    } catch {
      // the server is away, and with it the transaction
    }
  }

  /** Whether the backend waits for a client that has nothing more to say, or is gone. */
  async #probe(): Promise<boolean> {
    const pid = this.#pid;
    try {
      const waits = await this.#aside<{ waits: boolean }>(
        `select wait_event = 'ClientRead' as waits from pg_stat_activity where pid = $1`,
        [pid],
      );
      return waits === undefined || waits.waits;
    } catch (error) {
      // a server that has no connection left to give is there
      return errorCode(error) !== TOO_MANY_CONNECTIONS;
    }
  }

  /** Stops the statement that is running, if any; its transaction fails with 57014. */
  async cancel(): Promise<void> {
    if (this.#pid !== null) await this.#aside("select pg_cancel_backend($1)", [this.#pid]);
  }

  /** One statement about a backend, over a connection of its own. */
  async #aside<Row extends object>(
    statement: string,
    values: unknown[],
  ): Promise<Row | undefined> {
    const other = await connect(this.#dsn, {
      applicationName: this.#applicationName,
      connectTimeoutMs: 5_000,
    });
    const timer = setTimeout(() => destroy(other), 5_000);
    try {
      return (await other.query<Row>(statement, values)).rows[0];
    } finally {
      clearTimeout(timer);
      other.end().catch(() => {});
    }
  }

  #drop(client: Client): void {
    if (this.#client === client) this.#client = null;
    destroy(client);
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => {});
  }
}

/** The part of pg's client that its types leave out. */
interface ClientInternals {
  /** Whether no statement is on its way. */
  readyForQuery?: boolean;
  connection?: { stream?: { destroy(): void; bytesRead?: number; bytesWritten?: number } };
}

/** Ends a connection without waiting for the other side to agree. */
function destroy(client: Client): void {
  (client as unknown as ClientInternals).connection?.stream?.destroy();
  client.end().catch(() => {});
}

/**
 * Watches a connection while a transaction lasts. When a statement is on its way, for
 * two intervals no byte came or went, and the server says that it waits for us, nothing will come any
 * more: without this, a network that swallows packets would hang a worker for as
 * long as the kernel's timeouts last.
 */
class Watch {
  readonly #stream: { bytesRead?: number; bytesWritten?: number } | undefined;
  readonly #timer: ReturnType<typeof setInterval>;
  #seen = -1;
  #silent = 0;
  #probing = false;

  constructor(client: Client, probe: () => Promise<boolean>, everyMs: number, onLost: () => void) {
    const internals = client as unknown as ClientInternals;
    this.#stream = internals.connection?.stream;
    this.#timer = setInterval(async () => {
      if (this.#probing) return;
      const { bytesRead = 0, bytesWritten = 0 } = this.#stream ?? {};
      const moved = bytesRead + bytesWritten;
      // between statements silence is ours: the worker reads, computes or writes to disk
      if (moved !== this.#seen || internals.readyForQuery === true) {
        this.#seen = moved;
        this.#silent = 0;
        return;
      }
      this.#probing = true;
      this.#silent = await probe() ? this.#silent + 1 : 0;
      this.#probing = false;
      if (this.#silent < 2) return;
      this.end();
      onLost();
    }, everyMs);
  }

  end(): void {
    clearInterval(this.#timer);
  }
}
