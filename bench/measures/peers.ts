import { join } from "node:path";
import type { Measure, Row } from "../bench.ts";
import {
  forgetPeer,
  type Peer,
  type PeerRun,
  PEERS,
  type PeerSource,
  peersPython,
  runPeer,
} from "../peers/python_peer.ts";
import { watchMemory } from "../process_usage.ts";
import type { DataFormat } from "../data_set.ts";
import { sourceOf, TYPED } from "../finished_rows.ts";
import { completeRun, loadConf, timedRun } from "../runs.ts";
import { median, rounded } from "../statistics.ts";
import type { World } from "../world.ts";

/** Ours as a table of events, the default, and as the columns that the peers fill. */
const OURS = [
  {
    layout: "events",
    title: "ours, events",
    table: "bench_peer_events",
    amount: "payload ->> 'amount'",
  },
  { layout: "typed", title: "ours, typed", table: "bench_peer_typed", amount: "amount" },
] as const;
/** dlt takes minutes for NDJSON. */
const MOST_ROUNDS = { ndjson: 2, csv: 3, parquet: 3, postgres: 3 };
/** The table that a PostgreSQL source is. */
const SOURCE_TABLE = "bench_peer_source";

function peersMeasure(name: string, from: PeerSource, what: string): Measure {
  return {
    name,
    about: `${what} loaded by us and by ${
      peersOf(from).map(({ title }) => title.split(/[ ,]/)[0]).filter((each, i, all) =>
        all.indexOf(each) === i
      ).join(", ")
    } (from PyPI), fresh and again`,
    onlyNamed: true,
    run: (world) => measurePeers(world, from),
  };
}

const peersOf = (from: PeerSource) => PEERS.filter(({ reads }) => reads.includes(from));

export const peers = peersMeasure("peers", "ndjson", "the same file");
export const peersCsv = peersMeasure("peers-csv", "csv", "the same CSV file");
export const peersParquet = peersMeasure("peers-parquet", "parquet", "the same Parquet file");
export const peersPostgres = peersMeasure("peers-postgres", "postgres", "a table of PostgreSQL");

const NAMES = { ndjson: "NDJSON", csv: "CSV", parquet: "Parquet", postgres: "PostgreSQL" };
/** At most so many times what the fastest takes. */
const REACH = {
  ndjson: { fresh: 0.9, again: 0.6 },
  csv: { fresh: 0.9, again: 0.6 },
  parquet: { fresh: 1, again: 1 },
  postgres: { fresh: 1, again: 1 },
};

type Load = Pick<PeerRun, "seconds" | "walBytes">;

interface Side {
  title: string;
  fresh: Load[];
  again: Load[];
  /** Highest memory in any of its loads. */
  memoryBytes: number;
}

async function measurePeers(world: World, from: PeerSource): Promise<Row[]> {
  const { records } = world.options;
  const chosen = peersOf(from);
  const { path, source } = from === "postgres"
    ? await sourceTable(world)
    : await sourceFile(world, from);
  world.log("installing the peers, at the first use");
  const python = await peersPython();
  const sideOf = <T extends { title: string }>(who: T): Side & T => ({
    ...who,
    fresh: [],
    again: [],
    memoryBytes: 0,
  });
  const ours = OURS.map(sideOf);
  const sides = chosen.map((peer): Side & { peer: Peer } => sideOf({ peer, title: peer.title }));
  const versions: Record<string, string> = {};
  const rounds = Math.min(MOST_ROUNDS[from], world.options.rounds);
  for (let round = 1; round <= rounds; round++) {
    await forget(world, chosen);
    for (const which of ["fresh", "again"] as const) {
      for (const side of ours) {
        world.log(`${which}, round ${round} of ${rounds}: ${side.title}`);
        // a server of its own, whose memory is its own
        await using server = await world.server({ env: { ETL_CONNECTION_BENCH: world.dsn } });
        await completeRun(server, {});
        await world.settle();
        const memory = watchMemory(server.pid);
        const conf = {
          ...{ source, layout: side.layout, table_name: side.table },
          run_label: `bench ${side.table}`,
        };
        const { seconds, walBytes } = await timedRun(world, server, conf);
        side[which].push({ seconds, walBytes });
        side.memoryBytes = Math.max(side.memoryBytes, await memory.stop());
      }
      for (const side of sides) {
        world.log(`${which}, round ${round} of ${rounds}: ${side.title}`);
        await world.settle();
        const load = await runPeer(world, side.peer, { python, path });
        side[which].push(load);
        side.memoryBytes = Math.max(side.memoryBytes, load.memoryBytes);
        side.title = `${side.peer.title} ${Object.values(load.versions)[0]}`;
        Object.assign(versions, load.versions);
      }
      await world.db.query(
        `vacuum (analyze) ${
          [...OURS.map(({ table }) => `public.${table}`), ...chosen.map(({ table }) => table)]
            .join(", ")
        }`,
      );
    }
    await requireEqual(world, chosen);
  }
  await forget(world, chosen);
  await world.dropTable(SOURCE_TABLE);
  return ours.flatMap((our) =>
    sides.flatMap((side) => rowsOf(side, our, { from, records, versions }))
  );
}

async function sourceFile(world: World, format: DataFormat) {
  const file = await world.dataSet("scattered", world.options.records, format);
  return { path: join(world.dir, file), source: sourceOf(file) };
}

/** The data set as a table with a primary key, of the types that the peers' tables have. */
async function sourceTable(world: World) {
  const typed = OURS[1].table;
  const columns = TYPED.columns.map(({ name, type }) =>
    `"${name}"::${type === "integer" ? "bigint" : type} as "${name}"`
  ).join(", ");
  {
    await using server = await world.server();
    const conf = loadConf(await world.dataSet("scattered"), typed);
    await completeRun(server, { ...conf, layout: "typed" });
  }
  await world.db.query(
    `create table public.${SOURCE_TABLE} as select ${columns} from public.${typed}`,
  );
  await world.db.query(`alter table public.${SOURCE_TABLE} add primary key (id)`);
  await world.db.query(`vacuum (analyze) public.${SOURCE_TABLE}`);
  const { path: _, encoding: __, ...mapping } = sourceOf("");
  return {
    path: `public.${SOURCE_TABLE}`,
    source: { ...mapping, type: "postgres", connection: "bench", table: SOURCE_TABLE },
  };
}

/** All tables, as if nobody had loaded them yet. */
async function forget(world: World, chosen: Peer[]): Promise<void> {
  for (const { table } of OURS) {
    await world.dropTable(table);
    await world.db.query("delete from etl.datasets where table_name = $1", [table]);
  }
  for (const peer of chosen) await forgetPeer(world, peer);
}

function rowsOf(
  side: Side,
  ours: Side,
  { from, records, versions }: {
    from: PeerSource;
    records: number;
    versions: Record<string, string>;
  },
): Row[] {
  const row = (
    what: string,
    unit: "s" | "MB",
    of: (side: Side) => number[],
    atMost = Infinity,
  ): Row => {
    const [baseline, mine] = [median(of(side)), median(of(ours))];
    return {
      measure: `${NAMES[from]}, ${ours.title} against ${side.title}: ${what}`,
      baseline,
      ours: mine,
      unit,
      ratio: mine / baseline,
      target: atMost === Infinity ? "–" : `≤ ${atMost} ×`,
      ok: mine <= baseline * atMost,
      detail: {
        baseline: of(side).map((value) => rounded(value)),
        ours: of(ours).map((value) => rounded(value)),
        ...(unit === "s"
          ? {
            baseline_rows_per_s: rounded(records / baseline),
            ours_rows_per_s: rounded(records / mine),
          }
          : {}),
        versions,
      },
    };
  };
  return [
    row("fresh", "s", ({ fresh }) => fresh.map(({ seconds }) => seconds), REACH[from].fresh),
    row("again", "s", ({ again }) => again.map(({ seconds }) => seconds), REACH[from].again),
    row("write-ahead log again", "MB", ({ again }) => again.map(({ walBytes }) => walBytes / 1e6)),
    row("highest memory", "MB", ({ memoryBytes }) => [memoryBytes / 1e6]),
  ];
}

/** All must have done the same work: as many rows, the same keys, the same amounts. */
async function requireEqual(world: World, chosen: Peer[]): Promise<void> {
  const sum = (table: string, key: string, amount: string) =>
    `select '${table}' as who, count(*)::int as rows, sum(hashtextextended(${key}, 0))::text as keys,
      sum(round((${amount})::numeric, 2))::text as amounts from ${table}`;
  const { rows } = await world.db.query<
    { who: string; rows: number; keys: string; amounts: string }
  >(
    [
      ...OURS.map(({ table, layout, amount }) =>
        sum(`public.${table}`, layout === "typed" ? "id" : "event_id", amount)
      ),
      ...chosen.map(({ table }) => sum(table, "id", "amount")),
    ].join(" union all "),
  );
  const [first] = rows;
  for (const each of rows) {
    if (
      each.rows !== world.options.records || each.keys !== first!.keys ||
      each.amounts !== first!.amounts
    ) {
      throw new Error(`${each.who} holds other rows: ${JSON.stringify(rows)}`);
    }
  }
}
