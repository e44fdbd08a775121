import type pg from "pg";
import { waitFor } from "../helpers/wait_for.ts";
import { holdingTransform, LAST_CHUNK_RECORD, LONELY_KEY } from "./data.ts";
import type { World, WorldServer } from "./world.ts";

/** Where a run can be held, in the order in which it gets there. */
export const PLACES = [
  "extract",
  "transform",
  "validate",
  "ge_validate",
  "chunk",
  "prepared",
  "resolve",
  "publish",
  "finalize",
] as const;
export type Place = (typeof PLACES)[number];

/** Record at which the transform stops, for stages that a worker takes a chunk through. */
const RECORD: Partial<Record<Place, number>> = {
  // the first of all; the second batch of a chunk whose first has been validated;
  // the end of a chunk in the middle; the end of the last chunk
  transform: 1,
  validate: 9_500,
  ge_validate: 13_999,
  chunk: LAST_CHUNK_RECORD,
};

/** A run that stands still in a stage. */
export interface HeldRun {
  place: Place;
  runId: string;
  /** Lets it go on, and whoever takes it up; also after a fault has ended the hold. */
  release(): Promise<void>;
}

export interface HoldOptions {
  /** Name of the run's table and pool; default: the place. */
  name?: string;
  /** Chunks that are published before the one that is held at publish; default 9, all others. */
  published?: number;
  /** More of the conf. */
  conf?: Record<string, unknown>;
}

/**
 * Asks for a run and has it stop in a stage, without the program knowing: an
 * HTTP server that does not go on, a transform that does not return, a lock
 * that the run needs.
 */
export async function holdRun(
  world: World,
  server: WorldServer,
  place: Place,
  options: HoldOptions = {},
): Promise<HeldRun> {
  const name = options.name ?? place;
  await world.addTable(name);
  const module = `hold_${name}`;
  const at = RECORD[place] ?? LAST_CHUNK_RECORD;
  const gate = await world.gate(name);
  await Deno.writeTextFile(
    `${world.root}/transforms/${module}.ts`,
    holdingTransform({ at, gate: gate.path }),
  );
  const goOn = () => gate.open();
  if (place === "extract") {
    world.holdBack(name);
    await goOn();
    const url = `http://${world.httpHost}/new.ndjson?hold=${name}`;
    const runId = await world.request(
      server,
      world.conf(name, {
        transform: module,
        ...options.conf,
        source: { type: "http", url, path: undefined },
      }),
    );
    await waitFor(() => world.requested.has(name), { timeoutMs: 30_000, what: "the download" });
    return { place, runId, release: () => Promise.resolve(world.letGo(name)) };
  }
  const runId = await world.request(
    server,
    world.conf(name, { transform: module, ...options.conf }),
  );
  await gate.arrived(`arrival of run ${place} at record ${at}`).catch((error) => {
    throw new Error(`${error.message}\n${world.logs()}`);
  });
  if (place in RECORD) return { place, runId, release: goOn };

  const client = await lock(world, { place, name, runId });
  await goOn();
  await waitFor(() => standsStill(world, { runId, place, published: options.published ?? 9 }), {
    timeoutMs: 60_000,
    what: `run ${place} to wait for the test`,
  }).catch((error) => {
    throw new Error(`${error.message}\n${world.logs()}`);
  });
  return {
    place,
    runId,
    release: async () => {
      await client.query("rollback").catch(() => {});
      await client.end().catch(() => {});
    },
  };
}

/** Takes what the run will need in a stage, in a transaction that stays open. */
async function lock(
  world: World,
  { place, name, runId }: { place: Place; name: string; runId: string },
): Promise<pg.Client> {
  const client = await world.connect();
  await client.query("begin");
  switch (place) {
    case "prepared":
      await client.query("select from etl.chunks where run_id = $1 and chunk_no = 9 for update", [
        runId,
      ]);
      break;
    case "resolve":
      await client.query(`lock table f_${name} in access exclusive mode`);
      break;
    case "publish":
      // one chunk waits for what becomes of this row, the others go through
      await client.query(
        `insert into f_${name} (event_id, event_type, source, payload, fingerprint, run_id)
        values ($1, 't', 'faults', '{}', '\\x00', $2)`,
        [LONELY_KEY, runId],
      );
      break;
    case "finalize":
      await client.query("lock table etl.dataset_events in share mode");
      break;
    default:
      throw new Error(`${place} needs no lock`);
  }
  return client;
}

async function standsStill(
  world: World,
  { runId, place, published }: { runId: string; place: Place; published: number },
): Promise<boolean> {
  const [found] = await world.query<{ waits: boolean; published: number }>(
    `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
        and case when $2 then query like '%finish_run%' else application_name like 'etl-run ' || $1 || '%' end) as waits,
      (select count(*)::integer from etl.chunks where run_id = $1::uuid and state = 'published') as published`,
    [runId, place === "finalize"],
  );
  return found!.waits && (place !== "publish" || found!.published === published);
}

export function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
