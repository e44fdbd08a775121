import assert from "node:assert/strict";
import { waitFor } from "../helpers/wait_for.ts";
import { nothingIsLeft } from "./invariants.ts";
import { World, type WorldServer } from "./world.ts";

export interface SoakOptions {
  /** Database of its own. */
  dsn: string;
  /** How long requests and faults go on, in ms. */
  durationMs: number;
  servers?: number;
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
] as const;

/**
 * Random requests (labels, sizes, dry runs, cancels, retries) under random
 * faults on several servers. At the end every run must be terminal, every
 * table must be what the runs' published chunks make of it, counters must add
 * up, and nothing may be left.
 */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const { dsn, durationMs, servers: count = 2, seed = Date.now(), say = () => {} } = options;
  say(`seed ${seed}`);
  await using world = await World.create({ dsn, env: { ETL_RUN_MAX_ATTEMPTS: "20" } });
  const course = new Course(world, { random: generator(seed), say });
  for (let i = 0; i < count; i++) course.servers.push(await world.start({ name: `s${i}` }));
  const until = performance.now() + durationMs;
  await Promise.all([
    course.requests(() => performance.now() < until),
    course.faults(() => performance.now() < until),
  ]);
  return await course.verdict();
}

class Course {
  readonly servers: WorldServer[] = [];
  readonly #world: World;
  readonly #random: () => number;
  readonly #say: (line: string) => void;
  readonly #loads: Load[] = [];
  readonly #faults: Record<string, number> = {};
  #started = 0;

  constructor(world: World, options: { random: () => number; say: (line: string) => void }) {
    this.#world = world;
    this.#random = options.random;
    this.#say = options.say;
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
      this.#faults[fault] = (this.#faults[fault] ?? 0) + 1;
      this.#say(fault);
      await this.#do(fault);
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
        this.servers[at] = await this.#world.start({ name: `t${this.#started++}` });
        return;
      case "freeze server":
        server.kill("SIGSTOP");
        await pause(2_000 + this.#below(12_000));
        server.kill("SIGCONT");
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

  /** Waits for the end of all runs and checks what they leave. */
  async verdict(): Promise<SoakResult> {
    const world = this.#world;
    await waitFor(
      async () => (await world.query("select from etl.runs where ended_at is null")).length === 0,
      { timeoutMs: 180_000, intervalMs: 250, what: "the end of all runs" },
    ).catch(async (error) => {
      throw new Error(`${error.message}\n${await world.activity()}\n${world.logs()}`);
    });
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
  return ["57P01", "40P01", "ECONNRESET"].includes((error as { code?: string }).code ?? "");
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
