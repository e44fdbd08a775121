import type {
  Consumer,
  ConsumerContext,
  DatasetEvent,
  Execution,
} from "../pipeline/consumers/consumer.ts";
import {
  emissionOf,
  MAX_ANSWER_BYTES,
  resultText,
  statementOf,
} from "../pipeline/user_code/consumer_calls.ts";
import { Connection } from "../store/connection.ts";
import type { Sql } from "../store/database.ts";
import {
  beginConsumerTransaction,
  claimDeliveries,
  type Delivery,
  emitDatasetEvent,
  failDeliveries,
  finishDeliveries,
  hasConsumerTransaction,
  releaseDeliveries,
} from "../store/deliveries.ts";
import { errorCode, passing, raisedProblem } from "../store/errors.ts";
import type { Lease } from "../store/leases.ts";
import { type Client, firstRowsOf, ping, type Queryable, queryWithin } from "../store/pg.ts";
import { delay } from "../store/retry.ts";
import type { Log } from "../telemetry/log.ts";
import type { TaskEnd } from "../telemetry/observer.ts";

export interface ConsumerWorkerOptions {
  sql: Sql;
  dsn: string;
  log: Log;
  /** The consumer's: one execution at a time over all servers. */
  lease: Lease;
  /** Told each execution, with the milliseconds of each task that it has told of. */
  onRun?: (consumer: string, end: TaskEnd, tasks: Record<string, number>) => void;
}

/** Executions of one delivery before it is given up. */
const MAX_ATTEMPTS = 5;
const MAX_BATCH = 1_000;
/** Pause after an execution that a lost connection has interrupted. */
const INTERRUPTED_PAUSE_MS = 1_000;
/** A consumer whose transaction is over has so long to end; its host is thrown away before. */
const LATE_MS = 10_000;
/** So often a transaction whose client is busy elsewhere shows that it is alive. */
const HEARTBEAT_MS = 5_000;

/** Runs a consumer until no delivery waits for it. */
export async function drainConsumer(
  consumer: Consumer,
  options: ConsumerWorkerOptions,
): Promise<void> {
  const { sql, lease } = options;
  const connection = new Connection(options.dsn, lease.transactionName);
  try {
    while (!lease.signal.aborted) {
      const claimed = await claimDeliveries(sql, consumer.name, {
        holder: lease.holder,
        limit: consumer.mode === "batch" ? MAX_BATCH : 1,
        maxAttempts: MAX_ATTEMPTS,
      });
      if (claimed.length === 0) return;
      await execute(consumer, claimed, { ...options, connection });
      if (consumer.pauseMs > 0) await delay(consumer.pauseMs, lease.signal);
    }
  } finally {
    await connection.close();
  }
}

/** One execution of deliveries whose attempt has been counted: ticks them off, or puts them back. */
async function execute(
  consumer: Consumer,
  deliveries: Delivery[],
  { connection, sql, lease, onRun, ...options }: ConsumerWorkerOptions & { connection: Connection },
): Promise<void> {
  const log = options.log.with({ consumer: consumer.name });
  const ids = deliveries.map((delivery) => delivery.delivery_id);
  const startedAt = new Date();
  const started = performance.now();
  let tasks: Record<string, number> = {};
  const told = (ok: boolean) =>
    onRun?.(consumer.name, { ok, startedAt, elapsedMs: performance.now() - started }, tasks);
  const transaction = new LateTransaction(connection, lease);
  try {
    // nothing that it does without its transaction counts
    const signal = AbortSignal.any([lease.signal, transaction.over]);
    const { db, execution } = transaction;
    const executed = run(consumer, deliveries, { db, execution, log, signal });
    try {
      const result = await Promise.race([executed, transaction.interrupted]);
      const json = resultText(result);
      tasks = tasksOf(result);
      await transaction.through((client) =>
        finishDeliveries(client, consumer.name, { holder: lease.holder, ids, json })
      );
      await transaction.commit();
    } catch (error) {
      await transaction.rollback(error);
      await endOf(executed);
      throw error;
    }
    told(true);
  } catch (error) {
    const replaced = raisedProblem(error)?.type === "superseded";
    if (lease.signal.aborted || replaced || transaction.isCut) {
      log.warn("consumer interrupted", { error, deliveries: ids.length });
      const pauseMs = lease.signal.aborted ? 0 : INTERRUPTED_PAUSE_MS;
      await releaseDeliveries(sql, ids, pauseMs);
      return;
    }
    told(false);
    log.warn("consumer failed", { error, deliveries: ids.length });
    await failDeliveries(sql, consumer.name, {
      ids,
      error: error instanceof Error ? error.message : String(error),
      maxAttempts: MAX_ATTEMPTS,
    });
  }
}

/** Tasks that a consumer tells of in what it answers: `{tasks: {name: milliseconds}}`, 20 at most. */
function tasksOf(result: unknown): Record<string, number> {
  const { tasks } = (result ?? {}) as { tasks?: unknown };
  if (typeof tasks !== "object" || tasks === null) return {};
  return Object.fromEntries(
    Object.entries(tasks as Record<string, unknown>).slice(0, 20).flatMap(([name, ms]) =>
      /^[a-z][a-z0-9_]{0,62}$/.test(name) && typeof ms === "number" && ms >= 0 ? [[name, ms]] : []
    ),
  );
}

/** Waits until a consumer has ended, so that it does not run twice at the same moment. */
async function endOf(executed: Promise<unknown>): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, LATE_MS);
  await Promise.race([executed.catch(() => {}), late.promise]);
  clearTimeout(timer);
}

/**
 * A transaction that begins with its first query, so that a consumer that computes or asks others first holds nothing up.
 * It is not repeated when it fails: what was done outside of the database would be done again.
 */
class LateTransaction {
  readonly db: Queryable;
  readonly execution: Execution;
  /** Rejects when the connection is lost, or the lease: the consumer may wait for something that has nothing to do with either. */
  readonly interrupted: Promise<never>;
  readonly #ending = new AbortController();
  readonly #connection: Connection;
  readonly #lease: Lease;
  readonly #interrupt: (error: unknown) => void;
  readonly #over = Promise.withResolvers<void>();
  #opened: Promise<Client> | undefined;
  #ended: Promise<void> = Promise.resolve();
  #turn: Promise<void> = Promise.resolve();
  #inHand = 0;
  #closed = false;
  #isCut = false;

  constructor(connection: Connection, lease: Lease) {
    this.#connection = connection;
    this.#lease = lease;
    const interrupted = Promise.withResolvers<never>();
    this.interrupted = interrupted.promise;
    this.interrupted.catch((error) => this.#ending.abort(error));
    this.#interrupt = interrupted.reject;
    this.#over.promise.catch(() => {});
    lease.lostSignal.addEventListener("abort", this.#lost);
    this.db = {
      query: (async (...args: unknown[]) => {
        const statement = statementOf(args);
        return await this.#carryOut((client) =>
          queryWithin(client, statement, {
            maxBytes: MAX_ANSWER_BYTES,
            onTooLarge: () => this.#end(new AnswerTooLarge()),
          })
        );
      }) as unknown as Client["query"],
    };
    this.execution = {
      execute: async (text, values) => {
        await this.#carryOut(async (client) => {
          const statement = { text, values, rowMode: "array" } as const;
          await firstRowsOf(client, statement, () => true);
          return { command: "" };
        });
      },
    };
  }

  /** Aborted when the transaction has ended otherwise than by its commit. */
  get over(): AbortSignal {
    return this.#ending.signal;
  }

  /**
   * Whether it has failed because the database was away. The consumer may throw something else, whose words prove nothing,
   * and of what it throws in its host comes only what it says.
   */
  get isCut(): boolean {
    return this.#isCut;
  }

  /** Does something in the transaction, which begins with the first of it. */
  async through<Result>(work: (client: Client) => Promise<Result>): Promise<Result> {
    try {
      return await work(await this.#open());
    } catch (error) {
      this.#note(error);
      throw error;
    }
  }

  #note(error: unknown): void {
    // what follows from ending it is none, and a limit that the consumer has set says so in the server's language
    const { message = "" } = error as { message?: string };
    if (this.#closed || errorCode(error) === "57014" && !/user request/i.test(message)) return;
    this.#isCut ||= passing(error)?.kind === "outage";
  }

  /** One statement of the consumer's, none beside it: what it did to the transaction is known before the next one. */
  #carryOut<Result extends { command: string }>(
    work: (client: Client) => Promise<Result>,
  ): Promise<Result> {
    const answer = this.#turn.then(async () => {
      if (this.#closed) throw new Error("the consumer's transaction has ended");
      this.#inHand++;
      try {
        return await this.through(async (client) => {
          let command: string | undefined;
          try {
            const result = await work(client);
            command = result.command;
            return result;
          } finally {
            await this.#requireTransaction(client, command);
          }
        });
      } finally {
        this.#inHand--;
      }
    });
    this.#turn = answer.then(() => {}, () => {});
    return answer;
  }

  /** Ends the execution where a statement has ended the transaction: what came after it would be outside of any. */
  async #requireTransaction(client: Client, command: string | undefined): Promise<void> {
    if (this.#closed) return;
    const status = client.getTransactionStatus();
    // to a savepoint, or all of it and the next transaction begun
    const unsure = status === "T" && command === "ROLLBACK";
    if (status === "I" || unsure && !await hasConsumerTransaction(client)) {
      const error = new TransactionEnded();
      this.#end(error);
      throw error;
    }
  }

  #end(error: Error): void {
    this.#closed = true;
    this.#interrupt(error);
  }

  #open(): Promise<Client> {
    const lost = (error: unknown) => {
      this.#note(error);
      this.#interrupt(error);
    };
    this.#opened ??= new Promise((resolve, reject) => {
      const once = {
        retry: { attempts: 1, initialMs: 0, signal: this.#lease.signal },
        statementTimeoutMs: 0,
      };
      this.#ended = this.#connection.transaction(once, async (client) => {
        const alive = setInterval(() => void ping(client).catch(lost), HEARTBEAT_MS);
        await beginConsumerTransaction(client);
        resolve(client);
        try {
          await this.#over.promise;
        } finally {
          clearInterval(alive);
        }
      });
      this.#ended.catch((error) => {
        reject(error);
        lost(error);
      });
    });
    return this.#opened;
  }

  async commit(): Promise<void> {
    // from here on a statement of the consumer's would be outside of it
    this.#close();
    this.#over.resolve();
    try {
      await this.#ended;
    } catch (error) {
      this.#isCut ||= passing(error)?.kind === "outage";
      throw error;
    }
  }

  async rollback(error: unknown): Promise<void> {
    this.#close();
    // a statement of one that was ended would hold up the rollback
    if (this.#inHand > 0) await this.#connection.cancel().catch(() => {});
    this.#over.reject(error);
    await this.#ended.catch(() => {});
  }

  readonly #lost = () => this.#interrupt(new Error("another server has taken over"));

  #close(): void {
    this.#closed = true;
    this.#lease.lostSignal.removeEventListener("abort", this.#lost);
  }
}

class TransactionEnded extends Error {
  constructor() {
    super(
      "the consumer has ended its transaction, which is the one in which its events are ticked off: " +
        "leave commit and rollback to the server; throw to roll back, or use a savepoint",
    );
  }
}

class AnswerTooLarge extends Error {
  constructor() {
    super(
      `a query of the consumer's answered more than ${MAX_ANSWER_BYTES / 1024 ** 2} MiB: ` +
        "read in parts (declare … cursor, fetch 1000 from …), or leave the work to the database (insert … select)",
    );
  }
}

/** The consumer's own code, on the connection of the transaction in which its events are ticked off. */
async function run(
  consumer: Consumer,
  deliveries: Delivery[],
  { db, execution, log, signal }: {
    db: Queryable;
    execution: Execution;
    log: Log;
    signal: AbortSignal;
  },
): Promise<unknown> {
  const events = deliveries.flatMap(({ event }): DatasetEvent[] => event === null ? [] : [event]);
  const context: ConsumerContext<Record<string, unknown>> = {
    events,
    params: consumer.parseParams(deliveries[0]!.params),
    db,
    log,
    signal,
    emit: async (...args) => {
      const { dataset, counts } = emissionOf(...args);
      if (!consumer.emits.includes(dataset)) {
        throw new Error(
          `Consumer ${consumer.name} emits ${dataset}, which its definition does not list`,
        );
      }
      await emitDatasetEvent(db, { dataset, emittedBy: consumer.name, counts });
    },
  };
  return await consumer.run(context, execution);
}
