import { join } from "node:path";
import { pythonVenv } from "../../tests/helpers/python.ts";
import { libpqEnvironment } from "../baselines/client_program.ts";
import type { DataFormat } from "../data_set.ts";
import { watchMemory } from "../process_usage.ts";
import type { World } from "../world.ts";

/** What is loaded: the data set as a file, or as a table of the same PostgreSQL. */
export type PeerSource = DataFormat | "postgres";

/** Something else that loads the same into the same PostgreSQL; a script of this folder. */
export interface Peer {
  /** How the results call it; its first package's version is added. */
  title: string;
  script: string;
  /** "schema.table" that it fills. */
  table: string;
  /** What is dropped before a fresh load. */
  drop: string;
  /** The second argument of the script. */
  target: string;
  reads: PeerSource[];
}

const FILES: PeerSource[] = ["ndjson", "csv", "parquet"];

export const PEERS: Peer[] = [
  tablePeer("psycopg2 execute_values", "psycopg2_values.py", "bench_peer_values", ["ndjson"]),
  tablePeer("psycopg COPY and upsert", "psycopg3_copy.py", "bench_peer_copy", [
    ...["ndjson", "csv", "postgres"] as const,
  ]),
  tablePeer("ADBC, COPY of Arrow and upsert", "adbc_upsert.py", "bench_peer_adbc", [
    ...FILES,
    "postgres",
  ]),
  // for Parquet it downloads another program
  tablePeer("sling incremental", "sling.py", "bench_peer_sling", ["ndjson", "csv", "postgres"]),
  dltPeer("dlt merge", "dlt_merge.py", "bench_peer_dlt", ["ndjson"]),
  dltPeer("dlt merge, Arrow and CSV", "dlt_arrow.py", "bench_peer_dlt_arrow", FILES),
];

function tablePeer(title: string, script: string, name: string, reads: PeerSource[]): Peer {
  const table = `public.${name}`;
  return { title, script, table, target: table, reads, drop: `drop table if exists ${table}` };
}

function dltPeer(title: string, script: string, dataset: string, reads: PeerSource[]): Peer {
  return {
    title,
    script,
    reads,
    table: `${dataset}.events`,
    target: dataset,
    drop: ["", "_staging"].map((end) => `drop schema if exists ${dataset}${end} cascade`).join(
      "; ",
    ),
  };
}

/** What one load took. */
export interface PeerRun {
  seconds: number;
  /** Highest memory of the program, its processes summed. */
  memoryBytes: number;
  walBytes: number;
  /** Of the packages, the main one first. */
  versions: Record<string, string>;
}

/** The python that has the peers; made from PyPI at the first use. */
export function peersPython(): Promise<string> {
  return pythonVenv("bench-peers", new URL("./requirements.txt", import.meta.url).pathname);
}

/** Loads `path`, a file or a table's name; the seconds are those of the load, without starting Python and its imports. */
export async function runPeer(
  world: World,
  peer: Peer,
  { python, path }: { python: string; path: string },
): Promise<PeerRun> {
  const wal = await world.walBytes();
  const child = new Deno.Command(python, {
    args: [join(import.meta.dirname!, peer.script), path, peer.target],
    env: {
      ...libpqEnvironment(world.dsn),
      DESTINATION__POSTGRES__CREDENTIALS: world.dsn,
      RUNTIME__DLTHUB_TELEMETRY: "false",
      RUNTIME__LOG_LEVEL: "ERROR",
      // what "Optimizing dlt" names first: as many workers as cores, files of a size that they can share
      NORMALIZE__WORKERS: String(navigator.hardwareConcurrency),
      NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS: "100000",
      EXTRACT__DATA_WRITER__FILE_MAX_ITEMS: "100000",
      DLT_DATA_DIR: join(world.dir, "dlt"),
      PIPELINES_DIR: pipelinesDir(world, peer),
      PYTHONDONTWRITEBYTECODE: "1",
    },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const memory = watchMemory(child.pid);
  const { success, stdout, stderr } = await child.output();
  const memoryBytes = await memory.stop();
  if (!success) {
    throw new Error(`${peer.script}: ${new TextDecoder().decode(stderr).slice(-3000)}`);
  }
  const printed = new TextDecoder().decode(stdout).trim().split("\n").at(-1)!;
  return { ...JSON.parse(printed), memoryBytes, walBytes: await world.walBytes() - wal };
}

/** Removes what earlier loads have left, in the database and on disk. */
export async function forgetPeer(world: World, peer: Peer): Promise<void> {
  await world.db.query(peer.drop);
  await Deno.remove(pipelinesDir(world, peer), { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

function pipelinesDir(world: World, peer: Peer): string {
  return join(world.dir, "pipelines", peer.target);
}
