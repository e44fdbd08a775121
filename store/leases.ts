import { VERSION } from "../vocabulary/version.ts";
import type { Sql } from "./database.ts";

/** A lease that nobody prolongs is another's after so long; etl.claim_lease says so. */
const LEASE_MS = 20_000;
const PROLONG_MS = 5_000;

/** Kinds of work that are due and that no server does. */
export async function dueWork(sql: Sql): Promise<string[]> {
  const rows = await sql<{ kind: string }[]>`select kind from etl.due_work() as kind`;
  return rows.map(({ kind }) => kind);
}

/** What a lease tells of when it is lost. */
interface LeaseLog {
  warn(message: string, fields: Record<string, unknown>): void;
}

export interface LeaseOptions {
  /** Aborted when the server stops. */
  stopping: AbortSignal;
  log: LeaseLog;
}

/** The right to do a kind of work, which one server has at a time. It is committed before the work begins. */
export class Lease {
  readonly name: string;
  readonly holder: string;
  /** Aborted when the server stops, and when another may have taken the lease. */
  readonly signal: AbortSignal;
  readonly #sql: Sql;
  readonly #lost = new AbortController();
  readonly #timer: ReturnType<typeof setInterval>;
  #prolonged = performance.now();

  private constructor(sql: Sql, name: string, holder: string, options: LeaseOptions) {
    this.#sql = sql;
    this.name = name;
    this.holder = holder;
    this.signal = AbortSignal.any([options.stopping, this.#lost.signal]);
    this.#timer = setInterval(() => void this.#prolong(options.log), PROLONG_MS);
  }

  /** Takes a lease; null while another server has it. */
  static async claim(sql: Sql, name: string, options: LeaseOptions): Promise<Lease | null> {
    const holder = crypto.randomUUID();
    const [row] = await sql<{ claimed: boolean }[]>`
      select etl.claim_lease(${name}, ${holder}) as claimed`;
    return row!.claimed ? new Lease(sql, name, holder, options) : null;
  }

  get lost(): boolean {
    return this.#lost.signal.aborted;
  }

  /** Aborted when another may have taken the lease. */
  get lostSignal(): AbortSignal {
    return this.#lost.signal;
  }

  /** What transactions that need the lease are called, so that whoever takes it over can end them. */
  get transactionName(): string {
    return `etl-lease ${this.name}`;
  }

  async #prolong(log: LeaseLog): Promise<void> {
    const asked = performance.now();
    try {
      const [row] = await this.#sql<{ ours: boolean }[]>`
        select etl.prolong_lease(${this.name}, ${this.holder}) as ours`;
      if (row!.ours) this.#prolonged = asked;
      else this.#lose(log);
    } catch {
      // the database is away: the lease may be another's when it is back
      if (performance.now() - this.#prolonged > LEASE_MS) this.#lose(log);
    }
  }

  #lose(log: LeaseLog): void {
    if (this.lost) return;
    log.warn("another server has taken over", { work: this.name });
    this.#lost.abort(new Error(`another server does this now: ${this.name}`));
  }

  async release(): Promise<void> {
    clearInterval(this.#timer);
    await this.#sql`select etl.release_lease(${this.name}, ${this.holder})`;
  }
}

export interface ServerOfRuns {
  server_id: string;
  /** Runs that it executes at once. */
  run_slots: number;
}

/** Says that a server executes runs, for the next 20 s; pools whose slots are each server's count it. */
export async function prolongServer(sql: Sql, server: ServerOfRuns): Promise<void> {
  await sql`select etl.prolong_server(${server.server_id}, ${VERSION}, ${server.run_slots})`;
}

/** Says that it executes none any more. */
export async function removeServer(sql: Sql, serverId: string): Promise<void> {
  await sql`delete from etl.servers where server_id = ${serverId}`;
}
