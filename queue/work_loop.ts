import type { Database, Sql } from "../store/database.ts";
import { dueWork, Lease } from "../store/leases.ts";
import { delay } from "../store/retry.ts";
import type { Log } from "../telemetry/log.ts";
import { repeat } from "../timers/repeat.ts";

/** Work that is due and has been claimed, which is committed: nobody else does it meanwhile. */
export interface Claimed {
  work: () => Promise<unknown>;
  /** Whether more may be due: then it is looked for at once, and again when this is done. */
  more: boolean;
}

export interface WorkLoopOptions {
  sql: Sql;
  log: Log;
  /** Aborted when the server stops: nothing is claimed any more. */
  stopping: AbortSignal;
  /** Where notifications arrive; without it due work is looked for twice as often. */
  database?: Database | undefined;
}

/** Due work is looked for so often, whatever notifications say. */
const POLL_MS = 1_000;
const POLL_ALONE_MS = 500;
/** After a failure the kind of work is left alone for so long. */
const REST_MS = 1_000;

interface Kind {
  claim: () => Promise<Claimed | null>;
  lanes: number;
  /** Lanes that claim or work. */
  busy: number;
  /** Asked for since a lane last looked. */
  again: boolean;
}

/**
 * Everything that a server does because a table says that it is due: NOTIFY tells of it at the commit that makes it,
 * and etl.due_work() of whatever was missed or is due again. Each kind of work is claimed, in a transaction of its own,
 * then done, then looked for again, in as many lanes as it may have at once.
 */
export class WorkLoop {
  readonly #options: WorkLoopOptions;
  readonly #kinds = new Map<string, Kind>();
  readonly #inHand = new Set<Promise<void>>();
  #endPoll: () => Promise<void> = () => Promise.resolve();

  constructor(options: WorkLoopOptions) {
    this.#options = options;
  }

  /**
   * Adds a kind of work, done in so many lanes at once. `claim` answers one piece of work that it has claimed, null
   * where none is due.
   */
  on(kind: string, claim: () => Promise<Claimed | null>, lanes = 1): void {
    this.#kinds.set(kind, { claim, lanes, busy: 0, again: false });
  }

  /** Adds work that one server does at a time, all that is due of it, under a lease with the kind's name. */
  onLeased(kind: string, work: (lease: Lease) => Promise<unknown>): void {
    const { sql, stopping, log } = this.#options;
    const claim = async () => {
      const lease = await Lease.claim(sql, kind, { stopping, log });
      if (lease === null) return null;
      const drain = async () => {
        try {
          await work(lease);
        } finally {
          await lease.release();
        }
      };
      return { work: drain, more: false };
    };
    this.on(kind, claim);
  }

  /** Looks for all kinds of work now, then whenever a notification or the clock says so. */
  async start(): Promise<void> {
    const { sql, log, database } = this.#options;
    await database?.listen("etl_work", (kind) => this.wake(kind));
    const look = async () => {
      for (const kind of await dueWork(sql)) this.wake(kind);
    };
    this.#endPoll = repeat(look, {
      everyMs: database === undefined ? POLL_ALONE_MS : POLL_MS,
      firstMs: 0,
      log,
      warning: "due work could not be looked for",
    });
  }

  /** Looks for work of a kind; does nothing for one that this server does not do. */
  wake(kind: string): void {
    const known = this.#kinds.get(kind);
    if (known === undefined || this.#options.stopping.aborted) return;
    known.again = true;
    if (known.busy >= known.lanes) return;
    known.busy++;
    const lane = this.#lane(kind, known).finally(() => this.#inHand.delete(lane));
    this.#inHand.add(lane);
  }

  async #lane(name: string, kind: Kind): Promise<void> {
    const { log, stopping } = this.#options;
    try {
      while (kind.again && !stopping.aborted) {
        kind.again = false;
        const claimed = await kind.claim();
        if (claimed === null) continue;
        // for another lane
        if (claimed.more) this.wake(name);
        await claimed.work();
        kind.again ||= claimed.more;
      }
    } catch (error) {
      if (!stopping.aborted) log.warn(`work failed: ${name}`, { error });
      await delay(REST_MS, stopping);
    } finally {
      kind.busy--;
    }
  }

  /** Waits for what is in hand, so many milliseconds at most. The signal has been aborted by then. */
  async stop(timeoutMs: number): Promise<void> {
    await this.#endPoll();
    const late = new AbortController();
    await Promise.race([Promise.all(this.#inHand), delay(timeoutMs, late.signal)]);
    late.abort();
  }
}
