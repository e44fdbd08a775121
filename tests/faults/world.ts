import { Gate } from "../helpers/gate.ts";
import pg from "pg";
import { startServer, type TestServer, type TestServerOptions } from "../helpers/server.ts";
import { prepareAsTold, serverRole } from "../helpers/server_role.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { CHUNK_SIZE, newData, oldData, PLAIN_TRANSFORM } from "./data.ts";

/** How the test's own connections are called, so that faults spare them. */
export const OWN_NAME = "fault test";

export interface WorldOptions {
  /** The database, without a proxy. */
  dsn: string;
  /** How servers reach the database; default: as the test does. */
  serverDsn?: string;
  /** Environment of every server. */
  env?: Record<string, string>;
}

export interface ServerOptions {
  name: string;
  dsn?: string;
  role?: TestServerOptions["role"];
  env?: Record<string, string>;
  /** Module to run; default main.ts. */
  entry?: string;
}

/** A server with the directory where its runs wait. */
export type WorldServer = TestServer & { name: string; spool: string };

/**
 * A database, directories that all servers share, and any number of servers on
 * them: where faults happen.
 */
export class World implements AsyncDisposable {
  readonly dsn: string;
  readonly serverDsn: string;
  readonly root: string;
  readonly servers: WorldServer[] = [];
  readonly #env: Record<string, string>;
  readonly #http: Deno.HttpServer<Deno.NetAddr>;
  /** Names of what the HTTP source holds back. */
  readonly #heldBack = new Map<string, PromiseWithResolvers<void>>();
  readonly requested = new Set<string>();
  readonly #gates: Gate[] = [];
  #kept: Promise<pg.Client> | undefined;

  private constructor(options: WorldOptions, root: string) {
    this.dsn = options.dsn;
    this.serverDsn = options.serverDsn ?? options.dsn;
    this.root = root;
    this.#env = options.env ?? {};
    this.#http = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen: () => {} },
      (request) => this.#serveData(request),
    );
  }

  static async create(options: WorldOptions): Promise<World> {
    const root = await Deno.makeTempDir({ prefix: "etl_faults_" });
    for (const dir of ["data", "transforms"]) {
      await Deno.mkdir(`${root}/${dir}`, { recursive: true });
    }
    await Deno.writeTextFile(`${root}/data/new.ndjson`, newData());
    await Deno.writeTextFile(`${root}/data/old.ndjson`, oldData());
    await Deno.writeTextFile(`${root}/transforms/plain.ts`, PLAIN_TRANSFORM);
    const world = new World(options, root);
    await world.query(WRITE_LOG);
    return world;
  }

  get httpHost(): string {
    return `127.0.0.1:${this.#http.addr.port}`;
  }

  spoolOf(name: string): string {
    return `${this.root}/spool_${name}`;
  }

  /** The gate at which the module of a run stops. */
  async gate(name: string): Promise<Gate> {
    const gate = await Gate.make(`${this.root}/transforms/gate_${name}`);
    this.#gates.push(gate);
    return gate;
  }

  async start(options: ServerOptions): Promise<WorldServer> {
    const { name } = options;
    const spool = { ...this.#env, ...options.env }.ETL_SPOOL_DIR ?? this.spoolOf(name);
    await Deno.mkdir(spool, { recursive: true });
    const server = await startServer({
      dsn: options.dsn ?? this.serverDsn,
      ...(options.role === undefined ? {} : { role: options.role }),
      env: {
        ETL_DATA_DIR: `${this.root}/data`,
        ETL_TRANSFORMS_DIR: `${this.root}/transforms`,
        ETL_SPOOL_DIR: spool,
        ETL_HTTP_PRIVATE_HOSTS: this.httpHost,
        ETL_WORKERS: "2",
        ...this.#env,
        ...options.env,
      },
      ...(options.entry === undefined ? {} : { entry: options.entry }),
      timeoutMs: 60_000,
    });
    const known = Object.assign(server, { name, spool });
    this.servers.push(known);
    return known;
  }

  /** Runs a statement on a connection that is kept, as a new one for each look takes a core for 15 ms. */
  async query<Row extends pg.QueryResultRow>(
    text: string,
    values: unknown[] = [],
  ): Promise<Row[]> {
    const client = await (this.#kept ??= this.#keep());
    return (await client.query<Row>(text, values)).rows;
  }

  #keep(): Promise<pg.Client> {
    const kept = this.connect();
    // a fault has ended it, or it was not made: the next statement has another
    const forget = () => {
      if (this.#kept === kept) this.#kept = undefined;
    };
    kept.then((client) => client.on("end", forget), forget);
    return kept;
  }

  async connect(): Promise<pg.Client> {
    const client = new pg.Client({
      connectionString: this.dsn,
      application_name: OWN_NAME,
      // the role may be called like one of our schemas
      options: "-c search_path=public",
    });
    client.on("error", () => {});
    await client.connect();
    return client;
  }

  /** The conf of a load of new.ndjson into table f_<name>. */
  conf(name: string, rest: Record<string, unknown> = {}): Record<string, unknown> {
    const { source, ...params } = rest;
    return {
      run_label: name,
      table_name: `f_${name}`,
      pool: name,
      chunk_size: CHUNK_SIZE,
      transform: "plain",
      transform_timeout_ms: 600_000,
      suite: "etl_improved_events",
      enforce_ge: true,
      min_acceptance_ratio: 0.5,
      db_retry_initial_ms: 50,
      ...params,
      source: {
        type: "file",
        path: "new.ndjson",
        name: "faults",
        key: "id",
        event_type: { field: "type" },
        occurred_at: "at",
        version: "v",
        ...source as object,
      },
    };
  }

  /** Loads old.ndjson into f_base, what every table holds before its run. */
  async loadBase(server: TestServer): Promise<void> {
    await this.addPool("base");
    const run = await this.request(server, this.conf("base", { source: { path: "old.ndjson" } }));
    await this.ended(run, ["succeeded"]);
  }

  /** A table f_<name> as it is before the run, whose writes are logged, and a pool <name>. */
  async addTable(name: string): Promise<void> {
    await this.addPool(name);
    await this.query(`create table f_${name} (like f_base including all);
      insert into f_${name} select * from f_base;
      create trigger log_inserts after insert on f_${name} referencing new table as written
        for each statement execute function fault_log();
      create trigger log_updates after update on f_${name} referencing new table as written
        for each statement execute function fault_log();
      grant all on f_${name} to public`);
  }

  async addPool(name: string, slots = 1): Promise<void> {
    await this.query("insert into etl.pools (pool, slots) values ($1, $2)", [name, slots]);
  }

  /** Asks a server for a run; answers its id. */
  async request(
    server: Pick<TestServer, "address">,
    conf: unknown,
    headers: Record<string, string> = {},
  ): Promise<string> {
    const ask = () =>
      fetch(`${server.address}/api/etl/run`, {
        method: "POST",
        body: JSON.stringify(conf),
        headers: { "content-type": "application/json", ...headers },
      });
    let response = await ask();
    let body = await response.json();
    if (serverRole() === "minimal" && await prepareAsTold(new Error(body.detail), this.dsn)) {
      response = await ask();
      body = await response.json();
    }
    if (response.status !== 202) throw new Error(JSON.stringify(body));
    return body.run_id;
  }

  async post(
    server: Pick<TestServer, "address">,
    path: string,
  ): Promise<{ status: number; body: Record<string, unknown> }> {
    const response = await fetch(`${server.address}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    return { status: response.status, body: await response.json() };
  }

  async run(runId: string): Promise<RunState> {
    const [run] = await this.query<RunState>(
      `select run_id, state, attempt, server_id, error, counts, total_rows::float8, expected_rows::float8, ratio, num_chunks,
        ended_at from etl.runs where run_id = $1`,
      [runId],
    );
    return run!;
  }

  /** Waits until a run has ended, in one of the states. */
  async ended(
    runId: string,
    states: string[] = ["succeeded"],
    timeoutMs = 180_000,
  ): Promise<RunState> {
    const run = await waitFor(async () => {
      const now = await this.run(runId);
      return ["succeeded", "failed", "cancelled"].includes(now.state) ? now : null;
    }, { timeoutMs, intervalMs: 50, what: `the end of run ${runId}` }).catch(async (error) => {
      throw new Error(
        `${error.message}\n${JSON.stringify(await this.run(runId).catch(() => null))}\n${await this
          .activity().catch((cause) => cause.message)}\n${this.logs()}`,
        { cause: error },
      );
    });
    if (!states.includes(run.state)) {
      throw new Error(
        `run ${runId} ended as ${run.state}: ${JSON.stringify(run.error)}\n${this.logs()}`,
      );
    }
    return run;
  }

  /** What the database is doing, for the message of a failed test. */
  async activity(): Promise<string> {
    const rows = await this.query(
      `select pid, application_name as name, state, wait_event_type as waits, wait_event as for,
        pg_blocking_pids(pid) as blocked_by, left(query, 100) as query from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()
        and (state <> 'idle' or cardinality(pg_blocking_pids(pid)) > 0)
      union all select null, run_id::text, state || ' ' || chunk_no, worker, null, null, null from etl.chunks
        where run_id in (select run_id from etl.runs where ended_at is null) and state <> 'published'`,
    );
    return rows.map((row) => JSON.stringify(row)).join("\n");
  }

  /** The last lines that each server wrote. */
  logs(): string {
    return this.servers.map(({ name, logs }) =>
      [`--- server ${name}`, ...logs.slice(-40)].join("\n")
    ).join("\n");
  }

  /** Has the HTTP source hold its next answers under a name in the middle, until letGo(). */
  holdBack(name: string): void {
    this.#heldBack.set(name, Promise.withResolvers());
  }

  letGo(name: string): void {
    this.#heldBack.get(name)?.resolve();
    this.#heldBack.delete(name);
  }

  #serveData(request: Request): Response {
    const name = new URL(request.url).searchParams.get("hold") ?? "";
    const held = this.#heldBack.get(name);
    const bytes = Deno.readFileSync(`${this.root}/data/new.ndjson`);
    const half = bytes.length >> 1;
    this.requested.add(name);
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        try {
          controller.enqueue(bytes.subarray(0, half));
          await held?.promise;
          controller.enqueue(bytes.subarray(half));
          controller.close();
        } catch {
          // nobody reads any more
        }
      },
    });
    return new Response(body, {
      headers: { "content-type": "application/x-ndjson", etag: '"new"' },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const held of this.#heldBack.values()) held.resolve();
    await Promise.all(this.servers.map(async (server) => {
      server.kill("SIGKILL");
      await server.ended;
      await server[Symbol.asyncDispose]();
    }));
    await (await this.#kept?.catch(() => undefined))?.end();
    await this.#http.shutdown();
    for (const gate of this.#gates) await gate[Symbol.asyncDispose]();
    await Deno.remove(this.root, { recursive: true });
  }
}

export interface RunState {
  run_id: string;
  state: string;
  attempt: number;
  server_id: string | null;
  error: { type: string; detail: string } | null;
  counts: Record<string, number> | null;
  total_rows: number | null;
  expected_rows: number | null;
  ratio: number | null;
  num_chunks: number | null;
  ended_at: Date | null;
}

const WRITE_LOG = `
create table public.fault_writes (name text not null, op text not null, event_id text not null);
grant select, insert on public.fault_writes to public;
create function public.fault_log() returns trigger language plpgsql as $$
begin
  insert into public.fault_writes select tg_table_name, tg_op, event_id from written;
  return null;
end $$;
`;
