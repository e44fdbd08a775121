import postgres from "postgres";
import {
  type ConnectionTarget,
  connectionTarget,
  SESSION_STYLE,
  sessionName,
} from "./connection_target.ts";

export type Sql = postgres.Sql;

export interface DatabaseOptions {
  applicationName: string;
  /** Connections at most; default 6. */
  max?: number;
  /** Prepared statements; off behind PgBouncer in transaction mode. Default true. */
  prepare?: boolean;
  /**
   * Milliseconds between two probes of the connections; default 10,000. Two that
   * fail in a row, or a statement that for two intervals had no answer although
   * its backend does nothing, have all connections opened anew.
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
  /**
   * The same over one connection, for statements that make temporary tables: the first in the life of a backend's place makes
   * a schema for them, and with each new schema all sessions plan all their statements anew.
   */
  readonly single: Sql;
  readonly #target: ConnectionTarget;
  readonly #options: DatabaseOptions;
  readonly #listeners: { channel: string; told: (payload: string) => void }[] = [];
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #probeMs: number;
  readonly #statements = new StatementWatch();
  readonly #waits: ReturnType<typeof setInterval>;
  #current: Sql;
  #first: FirstChoice[];
  /** Ends waits; opened when there are some. */
  #aside: Sql | null = null;
  #single: Sql | null = null;
  #listening: Sql | null = null;
  #failures = 0;

  constructor(dsn: string, options: DatabaseOptions) {
    this.#target = connectionTarget(dsn);
    this.#options = options;
    [this.#current, this.#first] = this.#openAll();
    this.sql = this.#watched(() => this.#current, this.#choose);
    this.single = this.#watched(() => this.#single ??= this.#open(1));
    this.#probeMs = options.probeMs ?? 10_000;
    this.#timer = setInterval(() => void this.#probe(), this.#probeMs);
    this.#waits = setInterval(() => void this.#endWaits(), WAITS_INTERVAL_MS);
  }

  #watched(current: () => Sql, onSend?: (sent: Sent) => (() => void) | undefined): Sql {
    return new Proxy(function () {} as unknown as Sql, {
      apply: (_target, _this, args) =>
        this.#statements.watch(Reflect.apply(current(), undefined, args), onSend),
      get: (_target, name) => Reflect.get(current(), name),
    });
  }

  /**
   * Ends statements of servers that have waited too long for a lock, which a client may hold for hours: soon all connections
   * would wait for it. A session's own lock_timeout would be that of a pooler's next client, too. Locks that servers
   * take to go one after the other (advisory ones) are waited for.
   */
  async #endWaits(): Promise<void> {
    if (this.#statements.longest() < LOCK_WAIT_MS) return;
    this.#aside ??= this.#open(1);
    // one at a time: a second look at the same moment would cancel what a backend does next
    await this.#aside`
      with turn as materialized (select pg_try_advisory_xact_lock(hashtextextended('etl ends waits', 0)) as mine)
      select pg_cancel_backend(w.pid) from turn cross join lateral (
        select distinct l.pid from pg_locks as l join pg_stat_activity as a on a.pid = l.pid
        where turn.mine and not l.granted and l.locktype <> 'advisory'
          and l.waitstart < clock_timestamp() - ${LOCK_WAIT_MS} * interval '1 millisecond'
          and a.datname = current_database() and a.usename = current_user
          and a.application_name = ${
      sessionName(this.#options.applicationName, this.#target)
    }) as w`
      // the probe sees to a connection that is lost
      .catch(() => {});
  }

  /** All connections but the one that listens: those that are chosen first, and the others. */
  #openAll(): [Sql, FirstChoice[]] {
    const max = this.#options.max ?? 6;
    const first = max < 2 * FIRST_CHOICES ? 0 : FIRST_CHOICES;
    return [
      this.#open(max - first),
      Array.from({ length: first }, () => new FirstChoice(this.#open(1))),
    ];
  }

  /** Sends a statement over the first of the chosen connections that is free, else over one of the others. */
  readonly #choose = (sent: Sent): (() => void) | undefined =>
    this.#first.find(({ free }) => free)?.take(sent);

  #open(max: number): Sql {
    const { applicationName, prepare = true } = this.#options;
    const { hosts, user, password, database, ssl, session, ...target } = this.#target;
    const socket = hosts.find(({ host }) => host.startsWith("/"));
    const sql = postgres({
      ...(socket === undefined
        // its types leave the lists out that it takes
        ? {
          host: hosts.map(({ host }) => host) as unknown as string,
          port: hosts.map(({ port }) => port) as unknown as number,
        }
        : { path: `${socket.host}/.s.PGSQL.${socket.port}` }),
      ...(user === undefined ? {} : { user }),
      ...(password === undefined ? {} : { password }),
      ...(database === undefined ? {} : { database }),
      ssl,
      // the driver takes a standby for read-write, as it looks at default_transaction_read_only only
      ...(session === "any" ? {} : {
        target_session_attrs: session === "read-write" ? "primary" : session,
      }),
      max,
      prepare,
      connect_timeout: target.connectSeconds ?? 10,
      keep_alive: target.keepAliveSeconds,
      idle_timeout: 60,
      // a statement must not wait behind one that waits for a lock
      ...{ max_pipeline: 0 },
      // the default leaves queries waiting for many seconds after a short outage
      backoff: (attempt: number) => Math.min(0.1 * 2 ** attempt, 1),
      connection: {
        application_name: sessionName(applicationName, this.#target),
        ...SESSION_STYLE,
        ...(target.options === undefined ? {} : { options: target.options }),
      },
      onnotice: () => {},
    });
    // the driver asks how lists are written, and may send the first query before it has taken the answer in
    const serializers = sql.options.serializers as Record<number, unknown>;
    for (const oid of LIST_TYPES) serializers[oid] = listText;
    return sql;
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
      const lost = await Promise.race([this.#lostStatements(probed), late.promise]);
      if (lost && probed === this.#current) await this.#reopen();
      this.#failures = 0;
    } catch {
      if (++this.#failures >= 2 && probed === this.#current) await this.#reopen();
    } finally {
      clearTimeout(timer);
    }
  }

  /** Whether a statement waits for an answer that its backend does not work on any more. */
  async #lostStatements(probed: Sql): Promise<boolean> {
    const pids = this.#statements.pidsAfter(2 * this.#probeMs);
    // pg_backend_pid() differs from what the driver was told behind a pooler, where nothing can be said
    const probe = probed<{ pid: number; lost: boolean }[]>`
      select pg_backend_pid() as pid, exists (
        select from unnest(${pids}::integer[]) as s (pid) left join pg_stat_activity as a using (pid)
        where a.pid is null or a.state <> 'active' or a.wait_event = 'ClientRead') as lost`;
    const [row] = await probe;
    const { state } = probe as unknown as { state?: { pid: number } };
    return row!.lost && state?.pid === row!.pid;
  }

  async #reopen(): Promise<void> {
    this.#failures = 0;
    const old = [this.#current, ...this.#first, ...this.#single === null ? [] : [this.#single]];
    const oldListening = this.#listening;
    this.#single = null;
    [this.#current, this.#first] = this.#openAll();
    await Promise.all(old.map((each) => each.end({ timeout: 0 }).catch(() => {})));
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
    clearInterval(this.#waits);
    const all = [this.#current, ...this.#first, this.#aside, this.#single];
    await Promise.all(all.map((each) => each?.end({ timeout: timeoutSeconds })));
    await this.#listening?.end({ timeout: timeoutSeconds });
  }
}

/** A statement waits so long for a lock at most, and a second more: callers are told who holds it. */
const LOCK_WAIT_MS = 5_000;
const WAITS_INTERVAL_MS = 1_000;

/** Connections that get a statement whenever they are free. */
const FIRST_CHOICES = 2;

/**
 * A connection that gets statements before the others. The driver uses its connections in turns, and each of them plans each
 * statement, with every one of the functions that it calls, for itself: what few do is planned already.
 */
class FirstChoice {
  readonly #sql: Sql;
  readonly #handler: unknown;
  free = true;

  constructor(sql: Sql) {
    this.#sql = sql;
    // a statement knows its pool by this; it is never awaited, and so never sent
    this.#handler = (sql`` as unknown as Sent).handler;
  }

  /** Answers what is to be called when there is an answer. */
  take(sent: Sent): () => void {
    sent.handler = this.#handler;
    this.free = false;
    return () => this.free = true;
  }

  end(options: { timeout: number }): Promise<void> {
    return this.#sql.end(options);
  }
}

/** The part of a postgres.js query that its types leave out: what sends it, and the backend that has it. */
interface Sent extends PromiseLike<unknown> {
  handler?: unknown;
  state?: { pid: number } | null;
}

/** Knows which statements are on their way, and for how long. */
export class StatementWatch {
  readonly #sent = new Map<Sent, number>();
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /**
   * Answers the statement itself; a fragment, which is never awaited, is never on its way. `onSend` is told of it before it is
   * sent, and answers what is to be called when there is an answer.
   */
  watch<T>(statement: T, onSend?: (sent: Sent) => (() => void) | undefined): T {
    if (!(statement instanceof Promise)) return statement;
    const sent = statement as unknown as Sent;
    const original = sent.then;
    const begin = () => {
      if (this.#sent.has(sent)) return;
      this.#sent.set(sent, this.#now());
      const done = onSend?.(sent);
      const settled = () => {
        this.#sent.delete(sent);
        done?.();
      };
      original.call(sent, settled, settled);
    };
    // a statement is sent when somebody waits for it
    sent.then = function (this: Sent, ...handlers: Parameters<typeof original>) {
      begin();
      return original.apply(this, handlers);
    } as typeof original;
    return statement;
  }

  /** Milliseconds for which the oldest statement has had no answer; 0 where all have one. */
  longest(): number {
    const [oldest] = this.#sent.values();
    return oldest === undefined ? 0 : this.#now() - oldest;
  }

  /** Backends of statements that have had no answer for so many milliseconds. */
  pidsAfter(ms: number): number[] {
    const before = this.#now() - ms;
    return [...this.#sent].flatMap(([{ state }, since]) =>
      since <= before && state?.pid !== undefined ? [state.pid] : []
    );
  }
}

/** pg_type: bool, bytea, int2, int4, text, varchar, int8, float8, timestamptz, numeric, uuid and jsonb, as lists. */
const LIST_TYPES = [1000, 1001, 1005, 1007, 1009, 1015, 1016, 1022, 1185, 1231, 2951, 3807];

/** A list as PostgreSQL reads it (Documentation, "Arrays", Array Input and Output Syntax). */
export function listText(values: readonly unknown[]): string {
  return `{${
    values.map((value) => {
      if (value === null || value === undefined) return "NULL";
      if (Array.isArray(value)) return listText(value);
      const text = value instanceof Date
        ? value.toISOString()
        : value instanceof Uint8Array
        ? `\\x${value.toHex()}`
        : typeof value === "object"
        ? JSON.stringify(value)
        : String(value);
      return `"${text.replace(/["\\]/g, "\\$&")}"`;
    }).join(",")
  }}`;
}

/** The time by the database's clock: what is stored goes by it, whatever the clocks of servers say. */
export async function databaseNow(sql: Sql): Promise<Date> {
  const [row] = await sql<{ now: Date }[]>`select clock_timestamp() as now`;
  return row!.now;
}

/** Milliseconds by which the database's clock is ahead of this server's, give or take half of the way there and back. */
export async function clockSkewMs(sql: Sql): Promise<{ aheadMs: number; uncertainMs: number }> {
  const sent = Date.now();
  const now = (await databaseNow(sql)).getTime();
  const received = Date.now();
  return { aheadMs: now - (sent + received) / 2, uncertainMs: (received - sent) / 2 };
}

/**
 * Text as an expression of SQL, for statements that can have no parameters (several in one message): no character of it
 * means anything to the parser, whatever standard_conforming_strings says.
 */
export function textAsSql(text: string): string {
  return `convert_from(decode('${new TextEncoder().encode(text).toHex()}', 'hex'), 'UTF8')`;
}
