import { join } from "node:path";
import pg from "pg";
import { EMBEDDED_SETTINGS } from "../scripts/postgres/embedded.ts";
import { setupDatabase } from "../scripts/setup_db.ts";
import { ownCluster } from "../tests/helpers/postgres.ts";
import { startServer, type TestServer, type TestServerOptions } from "../tests/helpers/server.ts";
import { type DataFormat, type KeyOrder, writeDataSet } from "./data_set.ts";
import { type FinishedRows, finishRows } from "./finished_rows.ts";
import { cpuSecondsOf } from "./process_usage.ts";

export interface WorldOptions {
  /** Records of a data set. */
  records: number;
  /** Times that each side of a comparison runs. */
  rounds: number;
  /** Whether large data sets have ten times the records, instead of three times. */
  full: boolean;
  log: (message: string) => void;
}

/**
 * What every measure runs in: a durable PostgreSQL of its own with the product's
 * settings, the schema set up, data sets on disk. All of it is deleted at the end.
 */
export class World {
  readonly options: WorldOptions;
  readonly dsn: string;
  /** Directory of data sets and finished rows; the server's ETL_DATA_DIR. */
  readonly dir: string;
  /** A superuser's connection, for looking and for preparing. */
  readonly db: pg.Client;
  readonly #postmaster: number;
  readonly #stack: AsyncDisposableStack;
  readonly #dataSets = new Map<string, Promise<string>>();
  readonly #finished = new Map<string, Promise<FinishedRows>>();

  private constructor(
    fields: Pick<World, "options" | "dsn" | "dir" | "db">,
    rest: { postmaster: number; stack: AsyncDisposableStack },
  ) {
    this.options = fields.options;
    this.dsn = fields.dsn;
    this.dir = fields.dir;
    this.db = fields.db;
    this.#postmaster = rest.postmaster;
    this.#stack = rest.stack;
  }

  static async create(options: WorldOptions): Promise<World> {
    await using stack = new AsyncDisposableStack();
    const dir = await Deno.makeTempDir({ prefix: "etl-bench-" });
    stack.defer(() => Deno.remove(dir, { recursive: true }));
    const { dsn } = stack.use(
      await ownCluster({ kind: "embedded", durable: true, settings: EMBEDDED_SETTINGS }),
    );
    await setupDatabase(dsn);
    const db = new pg.Client({ connectionString: dsn });
    db.on("error", () => {});
    await db.connect();
    stack.defer(() => db.end());
    // the cheap ones of test clusters are too few for some clients
    const { username, password } = new URL(dsn);
    await db.query("set scram_iterations = 4096");
    await db.query(
      `alter role ${pg.escapeIdentifier(username)} password ${pg.escapeLiteral(password)}`,
    );
    const { rows } = await db.query<{ pid: number }>(
      "select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::integer as pid",
    );
    const postmaster = rows[0]!.pid;
    return new World({ options, dsn, dir, db }, { postmaster, stack: stack.move() });
  }

  log(message: string): void {
    this.options.log(message);
  }

  /** Starts the real server on this database, with the permissions that it has in production. */
  server(options: Partial<TestServerOptions> = {}): Promise<TestServer> {
    return startServer({
      dsn: this.dsn,
      ...options,
      env: {
        ETL_DATA_DIR: this.dir,
        ETL_LOG_LEVEL: "warn",
        // as a server has them that is told nothing; those of tests have one
        ETL_WORKERS: String(navigator.hardwareConcurrency),
        // what is measured is the engine
        ETL_TRIGGERS_PER_MINUTE: "0",
        ...options.env,
      },
    });
  }

  /** Name of a data set below `dir`; written when it is first asked for. */
  dataSet(
    order: KeyOrder,
    records = this.options.records,
    format: DataFormat = "ndjson",
  ): Promise<string> {
    const name = `${order}-${records}.${format}`;
    return cached(this.#dataSets, name, async () => {
      this.log(`writing ${name}`);
      await writeDataSet(join(this.dir, name), { records, order, format });
      return name;
    });
  }

  /** The finished rows of a data set, for the baselines. */
  finishedRows(order: KeyOrder): Promise<FinishedRows> {
    return cached(this.#finished, order, async () => {
      const name = await this.dataSet(order);
      this.log(`finishing the rows of ${name} for the baselines`);
      return await finishRows(name, { dataDir: this.dir, dir: join(this.dir, `rows-${order}`) });
    });
  }

  /**
   * A table for a baseline, empty, as the product makes its own; dropped first
   * where it exists. Autovacuum keeps away from it: it would come after the
   * baseline's time, in ours.
   */
  async freshTable(name: string): Promise<void> {
    await this.dropTable(name);
    await this.db.query("select etl.ensure_destination('public', $1, 'etl_improved_audit')", [
      name,
    ]);
    await this.db.query(`alter table public.${name} set (autovacuum_enabled = false)`);
  }

  async dropTable(name: string): Promise<void> {
    await this.db.query(`drop table if exists public.${name}`);
  }

  /** Writes out what the side before has left, so that the next does not pay for it. */
  async settle(): Promise<void> {
    await this.db.query("checkpoint");
  }

  /** Position in the write-ahead log, in bytes. */
  async walBytes(): Promise<number> {
    const { rows } = await this.db.query<{ bytes: string }>(
      "select pg_current_wal_insert_lsn() - '0/0' as bytes",
    );
    return Number(rows[0]!.bytes);
  }

  /** CPU seconds that PostgreSQL has used so far, all its processes. */
  postgresCpuSeconds(): Promise<number> {
    return cpuSecondsOf(this.#postmaster);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

function cached<T>(map: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const made = map.get(key) ?? make();
  map.set(key, made);
  return made;
}
