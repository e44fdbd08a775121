import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { canMount, smallDisk } from "../helpers/small_disk.ts";
import { waitFor } from "../helpers/wait_for.ts";
import { nothingIsLeft } from "./invariants.ts";
import { World, type WorldServer } from "./world.ts";

export interface SoakOptions {
  /** Database of its own. */
  dsn: string;
  /** How long requests and faults go on, in ms. */
  durationMs: number;
  servers?: number;
  /** The cluster of that database, which is crashed and started again; default: it is left alone. */
  cluster?: { crash(): Promise<void>; restart(): Promise<void> };
  /** Another seed gives another course; default: the time. */
  seed?: number;
  say?: (line: string) => void;
}

export interface SoakResult {
  runs: Record<string, number>;
  faults: Record<string, number>;
  attempts: number;
  rows: number;
}

/** What a run of the soak loads: records `from` to `from + count`, all with the version of the run. */
interface Load {
  runId: string;
  table: string;
  from: number;
  count: number;
  version: number;
  dryRun: boolean;
}

const TABLES = ["soak_a", "soak_b"];
const KEYS = 4_000;
const FAULTS = [
  "kill server",
  "stop server",
  "freeze server",
  "end backends",
  "end one backend",
  "hold locks",
  "fill disk",
  "set up again",
  "crash database",
] as const;

const LEFT = "select count(*)::integer as left from etl.deliveries where state <> 'done'";
const LEFT_ROWS = "select * from etl.deliveries where state <> 'done' order by event_no";

/** Size of each server's disk, where one may be mounted. */
const DISK = "96m";

/** Counts each event of a table once, and hangs, throws or ends its transaction at random. */
const CONSUMER = `export const soak_consumer = {
  name: "soak_consumer", timeoutMs: 2_000,
  datasets: [${TABLES.map((table) => `"public.${table}"`).join(", ")}],
  run: async ({ db, events }) => {
    const dice = Math.random();
    if (dice < 0.02) for (;;);
    if (dice < 0.04) await new Promise(() => {});
    for (const { event_no } of events) await db.query("insert into public.soak_events values ($1)", [event_no]);
    if (dice < 0.06) await db.query("commit");
    if (dice < 0.08) await db.query("rollback and chain");
    if (dice < 0.1) throw new Error("by chance");
  },
};`;

/**
 * Random requests (labels, sizes, dry runs, cancels, retries) under random
 * faults on several servers. At the end every run must be terminal, every
 * table must be what the runs' published chunks make of it, counters must add
 * up, and nothing may be left.
 */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const { dsn, durationMs, servers: count = 2, seed = Date.now(), say = () => {} } = options;
  say(`seed ${seed}`);
  const consumers = await Deno.makeTempDir({ prefix: "etl_soak_consumers_" });
  await Deno.writeTextFile(`${consumers}/soak.ts`, CONSUMER);
  await using disks = new Disks(await canMount());
  await using world = await World.create({
    dsn,
    env: { ETL_DATA_SHARED: "true", ETL_RUN_MAX_ATTEMPTS: "20", ETL_CONSUMERS_DIR: consumers },
  });
  await world.query("create table public.soak_events (event_no bigint not null)");
  const course = new Course(world, {
    random: generator(seed),
    say,
    disks,
    cluster: options.cluster,
  });
  for (let i = 0; i < count; i++) course.servers.push(await course.start(`s${i}`));
  const until = performance.now() + durationMs;
  await Promise.all([
    course.requests(() => performance.now() < until),
    course.faults(() => performance.now() < until),
  ]);
  return await course.verdict();
}

/** A small disk for each server's spool, where this account may mount one. */
class Disks implements AsyncDisposable {
  readonly #mounted = new Map<string, { path: string } & AsyncDisposable>();

  constructor(readonly there: boolean) {}

  /** Answers the directory of a new server's spool; null where nothing can be mounted. */
  async make(server: string): Promise<string | null> {
    if (!this.there) return null;
    const disk = await smallDisk(DISK);
    this.#mounted.set(server, disk);
    return disk.path;
  }

  /** Leaves nothing free for a while. */
  async fill(server: string, ms: number): Promise<void> {
    const disk = this.#mounted.get(server);
    if (disk === undefined) return;
    const file = `${disk.path}/filler`;
    const block = new Uint8Array(1 << 20);
    const filler = await Deno.open(file, { create: true, write: true });
    try {
      for (;;) await filler.write(block);
    } catch {
      // it is full
    } finally {
      filler.close();
    }
    await pause(ms);
    await Deno.remove(file);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const disk of this.#mounted.values()) await disk[Symbol.asyncDispose]();
  }
}

interface CourseOptions {
  random: () => number;
  say: (line: string) => void;
  disks: Disks;
  cluster: SoakOptions["cluster"];
}

class Course {
  readonly servers: WorldServer[] = [];
  readonly #world: World;
  readonly #random: () => number;
  readonly #say: (line: string) => void;
  readonly #loads: Load[] = [];
  readonly #faults: Record<string, number> = {};
  #started = 0;

  readonly #disks: Disks;
  readonly #cluster: SoakOptions["cluster"];

  constructor(world: World, options: CourseOptions) {
    this.#world = world;
    this.#random = options.random;
    this.#say = options.say;
    this.#disks = options.disks;
    this.#cluster = options.cluster;
  }

  async start(name: string): Promise<WorldServer> {
    const spool = await this.#disks.make(name);
    return await this.#world.start({
      name,
      ...(spool === null ? {} : { env: { ETL_SPOOL_DIR: spool } }),
    });
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  async requests(goOn: () => boolean): Promise<void> {
    while (goOn()) {
      const dice = this.#random();
      try {
        if (dice < 0.75 || this.#loads.length === 0) await this.#request();
        else {
          const { runId } = this.#loads[this.#below(this.#loads.length)]!;
          const verb = dice < 0.87 ? "cancel" : "retry";
          // a conflict is an answer: the run is not in a state for it
          await this.#world.query(`select etl.${verb}_run($1)`, [runId]).catch(refused);
        }
      } catch (error) {
        if (!passing(error)) throw error;
      }
      await pause(50 + this.#below(250));
    }
  }

  async #request(): Promise<void> {
    const version = this.#loads.length + 1;
    const load = {
      table: TABLES[this.#below(TABLES.length)]!,
      from: this.#below(KEYS / 2),
      count: 50 + this.#below(KEYS / 2),
      version,
      dryRun: this.#random() < 0.1,
    };
    const file = `${load.from}_${load.count}_${version}.ndjson`;
    const lines = Array.from(
      { length: load.count },
      (_, i) => JSON.stringify({ id: `k${load.from + i}`, v: version }),
    );
    await Deno.writeTextFile(`${this.#world.root}/data/${file}`, lines.join("\n") + "\n");
    const [row] = await this.#world.query<{ id: string }>("select etl.request_run($1) as id", [{
      run_label: `label ${this.#below(8)}`,
      table_name: load.table,
      dry_run: load.dryRun,
      overlap: this.#random() < 0.9 ? "queue" : "cancel",
      chunk_size: 100 + this.#below(400),
      db_retry_initial_ms: 20,
      source: { type: "file", path: file, name: "soak", key: "id", version: "v" },
    }]);
    this.#loads.push({ runId: row!.id, ...load });
  }

  async faults(goOn: () => boolean): Promise<void> {
    while (goOn()) {
      await pause(1_500 + this.#below(4_000));
      if (!goOn()) return;
      const fault = FAULTS[this.#below(FAULTS.length)]!;
      if (fault === "crash database" && this.#cluster === undefined) continue;
      if (fault === "fill disk" && !this.#disks.there) continue;
      this.#faults[fault] = (this.#faults[fault] ?? 0) + 1;
      this.#say(fault);
      await this.#do(fault).catch((error) => {
        if (!passing(error)) throw error;
      });
    }
  }

  async #do(fault: typeof FAULTS[number]): Promise<void> {
    const at = this.#below(this.servers.length);
    const server = this.servers[at]!;
    switch (fault) {
      case "kill server":
      case "stop server":
        server.kill(fault === "kill server" ? "SIGKILL" : "SIGTERM");
        await server.ended;
        this.servers[at] = await this.start(`t${this.#started++}`);
        return;
      case "freeze server":
        server.kill("SIGSTOP");
        await pause(2_000 + this.#below(12_000));
        server.kill("SIGCONT");
        return;
      case "hold locks":
        return await this.#holdLocks(2_000 + this.#below(6_000));
      case "fill disk":
        return await this.#disks.fill(server.name, 2_000 + this.#below(6_000));
      case "set up again":
        return void await setupDatabase(this.#world.dsn);
      case "crash database":
        await this.#cluster!.crash();
        await pause(this.#below(6_000));
        await this.#cluster!.restart();
        return;
      case "end backends":
      case "end one backend":
        await this.#world.query(
          `select pg_terminate_backend(pid) from (select pid from pg_stat_activity
            where datname = current_database() and application_name like 'etl%' order by random() limit $1) as chosen`,
          [fault === "end backends" ? 1_000 : 1],
        );
    }
  }

  /** A client that has begun a transaction about runs, and forgets it for a while. */
  async #holdLocks(ms: number): Promise<void> {
    const client = await this.#world.connect();
    try {
      await client.query("begin");
      await client.query("select from etl.runs where ended_at is null for update limit 5");
      await client.query("select etl.request_run($1)", [{ batch_size: 5, run_label: "held" }]);
      await pause(ms);
      await client.query("rollback");
    } finally {
      await client.end();
    }
  }

  /** Waits for the end of all runs and checks what they leave. */
  async verdict(): Promise<SoakResult> {
    const world = this.#world;
    await waitFor(
      async () => (await world.query("select from etl.runs where ended_at is null")).length === 0,
      { timeoutMs: 180_000, intervalMs: 250, what: "the end of all runs" },
    ).catch(async (error) => {
      throw new Error(`${error.message}\n${await world.activity()}\n${world.logs()}`);
    });
    await this.#eventsAreCounted();
    await nothingIsLeft(world, { servers: this.servers });
    const rows = await this.#tablesAreRight();
    await this.#countersAddUp();
    const states = await world.query<{ state: string; n: number; attempts: number }>(
      "select state, count(*)::integer as n, sum(attempt)::integer as attempts from etl.runs group by state",
    );
    return {
      runs: Object.fromEntries(states.map(({ state, n }) => [state, n])),
      faults: this.#faults,
      attempts: states.reduce((sum, each) => sum + each.attempts, 0),
      rows,
    };
  }

  /** The consumer has had each event once, when what it gave up is delivered again. */
  async #eventsAreCounted(): Promise<void> {
    // an hour leaves thousands of events, so what counts is that it goes on
    let before = -1;
    for (;;) {
      const [{ left } = { left: 0 }] = await this.#world.query<{ left: number }>(LEFT);
      if (left === 0) break;
      if (left === before) {
        throw new Error(
          `${left} deliveries have not moved for a minute:\n${
            Deno.inspect(await this.#world.query(`${LEFT_ROWS} limit 20`))
          }\n${await this.#world.activity()}\n${this.#world.logs()}`,
        );
      }
      this.#say(`${left} deliveries left`);
      before = left;
      await waitFor(async () => {
        await this.#world.query("select etl.redeliver('soak_consumer')");
        await this.#world.query(
          "update etl.deliveries set next_attempt_at = now() where state = 'pending' and next_attempt_at > now()",
        );
        return (await this.#world.query<{ left: number }>(LEFT))[0]!.left < before;
      }, { timeoutMs: 60_000, intervalMs: 500, what: "a delivery" }).catch(() => {});
    }
    const wrong = await this.#world.query(
      `select event_no, count(e.event_no) as times from etl.dataset_events as d left join public.soak_events as e using (event_no)
      where dataset = any ($1) group by event_no having count(e.event_no) <> 1`,
      [TABLES.map((table) => `public.${table}`)],
    );
    assert.deepEqual(wrong, [], "each event is counted once");
  }

  /** Each key has the highest version of all published chunks that hold it. Answers the number of rows. */
  async #tablesAreRight(): Promise<number> {
    let total = 0;
    for (const table of TABLES) {
      const expected = new Map<string, number>();
      for (const load of this.#loads) {
        if (load.table !== table || load.dryRun) continue;
        const chunks = await this.#world.query<{ records: number; state: string }>(
          "select records_read::integer as records, state from etl.chunks where run_id = $1 order by chunk_no",
          [load.runId],
        );
        let at = load.from;
        for (const { records, state } of chunks) {
          // chunks follow each other in the file; those that were never prepared come last of what counts
          for (let i = at; i < at + records; i++) {
            if (state !== "published") continue;
            const key = `k${i}`;
            expected.set(key, Math.max(expected.get(key) ?? 0, load.version));
          }
          at += records;
        }
      }
      const [exists] = await this.#world.query<{ there: boolean }>(
        "select to_regclass($1) is not null as there",
        [`public.${table}`],
      );
      if (!exists!.there) continue;
      const found = await this.#world.query<{ event_id: string; version: number }>(
        `select event_id, version::integer from ${table}`,
      );
      assert.deepEqual(
        Object.fromEntries(found.map((row) => [row.event_id, row.version]).sort()),
        Object.fromEntries([...expected].sort()),
        table,
      );
      total += found.length;
    }
    return total;
  }

  async #countersAddUp(): Promise<void> {
    const wrong = await this.#world.query(
      `select r.run_id, r.state, r.counts, r.error from etl.runs as r
      left join etl_improved_metrics as m on m.run_id = r.run_id
      where m.status is distinct from r.state
        or (r.state = 'succeeded') <> (r.dry_run and r.state = 'succeeded'
          or (select count(*) from etl.dataset_events as e where e.run_id = r.run_id) = 1)
        or r.state = 'succeeded' and (r.total_rows is distinct from r.expected_rows
          or r.total_rows is distinct from (r.counts ->> 'records_read')::bigint)
        or r.total_rows is distinct from (select coalesce(sum(inserted + updated + unchanged), 0) from etl.chunks as c
          where c.run_id = r.run_id) and r.ended_at is not null and r.attempt > 0
        or r.state = 'failed'`,
    );
    assert.deepEqual(wrong, []);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Refusals of the SQL functions are answers. */
function refused(error: { code?: string }): [] {
  if (/^ET\d{3}$/.test(error.code ?? "")) return [];
  throw error;
}

/** Our own connection may be hit as well, or meet a deadlock with a run that ends. */
function passing(error: unknown): boolean {
  const { code = "", message = "" } = error as { code?: string; message?: string };
  return /^(57P0\d|40P01|55P03|ECONN.*|EPIPE)$/.test(code) || /terminated|ended/.test(message);
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
