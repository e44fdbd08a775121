import postgres from "postgres";

export type Sql = postgres.Sql;

export interface DatabaseOptions {
  applicationName: string;
  /** Connections at most; default 6. */
  max?: number;
  /** Prepared statements; off behind PgBouncer in transaction mode. Default true. */
  prepare?: boolean;
  /**
   * Milliseconds between two probes of the connections; default 10,000. Two that
   * fail in a row have all connections opened anew.
   */
  probeMs?: number;
}

/**
 * postgres.js for single statements and LISTEN; transactions and COPY go through
 * pg (store/connection.ts). The driver has no time limit for a statement, so a
 * network that swallows packets would hang its callers: a probe notices, ends
 * the connections (their statements fail transiently) and opens new ones.
 */
export class Database {
  /** Run statements through this; it stays the same when connections are opened anew. */
  readonly sql: Sql;
  readonly #dsn: string;
  readonly #options: DatabaseOptions;
  readonly #listeners: { channel: string; told: (payload: string) => void }[] = [];
  readonly #timer: ReturnType<typeof setInterval>;
  #current: Sql;
  #listening: Sql | null = null;
  #failures = 0;

  constructor(dsn: string, options: DatabaseOptions) {
    this.#dsn = dsn;
    this.#options = options;
    this.#current = this.#open(options.max ?? 6);
    this.sql = new Proxy(function () {} as unknown as Sql, {
      apply: (_target, _this, args) => Reflect.apply(this.#current, undefined, args),
      get: (_target, name) => Reflect.get(this.#current, name),
    });
    this.#timer = setInterval(() => void this.#probe(), options.probeMs ?? 10_000);
  }

  #open(max: number): Sql {
    const { applicationName, prepare = true } = this.#options;
    return postgres(this.#dsn, {
      max,
      prepare,
      connect_timeout: 10,
      idle_timeout: 60,
      // the default leaves queries waiting for many seconds after a short outage
      backoff: (attempt: number) => Math.min(0.1 * 2 ** attempt, 1),
      connection: { application_name: applicationName },
      onnotice: () => {},
    });
  }

  /** Calls back with each notification on a channel, for as long as the database is open. */
  async listen(channel: string, told: (payload: string) => void): Promise<void> {
    this.#listeners.push({ channel, told });
    this.#listening ??= this.#open(1);
    await this.#listening.listen(channel, told);
  }

  async #probe(): Promise<void> {
    const probed = this.#current;
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Error("no answer")), 5_000);
    try {
      await Promise.race([probed`select`, late.promise]);
      this.#failures = 0;
    } catch {
      if (++this.#failures >= 2 && probed === this.#current) await this.#reopen();
    } finally {
      clearTimeout(timer);
    }
  }

  async #reopen(): Promise<void> {
    this.#failures = 0;
    const [old, oldListening] = [this.#current, this.#listening];
    this.#current = this.#open(this.#options.max ?? 6);
    await old.end({ timeout: 0 }).catch(() => {});
    if (oldListening === null) return;
    await oldListening.end({ timeout: 0 }).catch(() => {});
    this.#listening = this.#open(1);
    for (const { channel, told } of this.#listeners) {
      this.#listening.listen(channel, told).catch(() => {});
    }
  }

  /** Ends all connections, after `timeoutSeconds` whatever is going on; default 5. */
  async close({ timeoutSeconds = 5 } = {}): Promise<void> {
    clearInterval(this.#timer);
    await this.#current.end({ timeout: timeoutSeconds });
    await this.#listening?.end({ timeout: timeoutSeconds });
  }
}
