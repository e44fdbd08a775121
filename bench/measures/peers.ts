import { join } from "node:path";
import type { Measure, Row } from "../bench.ts";
import {
  forgetPeer,
  type Peer,
  type PeerRun,
  PEERS,
  peersPython,
  runPeer,
} from "../peers/python_peer.ts";
import { watchMemory } from "../process_usage.ts";
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
/** dlt takes minutes. */
const MOST_ROUNDS = 2;

export const peers: Measure = {
  name: "peers",
  about: "the same file loaded by dlt and psycopg (from PyPI), fresh and again",
  onlyNamed: true,
  run: measurePeers,
};

type Load = Pick<PeerRun, "seconds" | "walBytes">;

interface Side {
  title: string;
  fresh: Load[];
  again: Load[];
  /** Highest memory in any of its loads. */
  memoryBytes: number;
}

async function measurePeers(world: World): Promise<Row[]> {
  const file = await world.dataSet("scattered");
  const path = join(world.dir, file);
  world.log("installing the peers, at the first use");
  const python = await peersPython();
  const sideOf = <T extends { title: string }>(who: T): Side & T => ({
    ...who,
    fresh: [],
    again: [],
    memoryBytes: 0,
  });
  const ours = OURS.map(sideOf);
  const sides = PEERS.map((peer): Side & { peer: Peer } => sideOf({ peer, title: peer.title }));
  const versions: Record<string, string> = {};
  const rounds = Math.min(MOST_ROUNDS, world.options.rounds);
  for (let round = 1; round <= rounds; round++) {
    await forget(world);
    for (const which of ["fresh", "again"] as const) {
      for (const side of ours) {
        world.log(`${which}, round ${round} of ${rounds}: ${side.title}`);
        // a server of its own, whose memory is its own
        await using server = await world.server();
        await completeRun(server, {});
        await world.settle();
        const memory = watchMemory(server.pid);
        const conf = { ...loadConf(file, side.table), layout: side.layout };
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
          [...OURS.map(({ table }) => `public.${table}`), ...PEERS.map(({ table }) => table)].join(
            ", ",
          )
        }`,
      );
    }
    await requireEqual(world);
  }
  await forget(world);
  return ours.flatMap((our) =>
    sides.flatMap((side) => rowsOf(side, our, { records: world.options.records, versions }))
  );
}

/** All tables, as if nobody had loaded them yet. */
async function forget(world: World): Promise<void> {
  for (const { table } of OURS) {
    await world.dropTable(table);
    await world.db.query("delete from etl.datasets where table_name = $1", [table]);
  }
  for (const peer of PEERS) await forgetPeer(world, peer);
}

function rowsOf(
  side: Side,
  ours: Side,
  { records, versions }: { records: number; versions: Record<string, string> },
): Row[] {
  const row = (
    what: string,
    unit: "s" | "MB",
    of: (side: Side) => number[],
    atMost = Infinity,
  ): Row => {
    const [baseline, mine] = [median(of(side)), median(of(ours))];
    return {
      measure: `${ours.title} against ${side.title}: ${what}`,
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
    row("fresh", "s", ({ fresh }) => fresh.map(({ seconds }) => seconds), 0.9),
    row("again", "s", ({ again }) => again.map(({ seconds }) => seconds), 0.6),
    row("write-ahead log again", "MB", ({ again }) => again.map(({ walBytes }) => walBytes / 1e6)),
    row("highest memory", "MB", ({ memoryBytes }) => [memoryBytes / 1e6]),
  ];
}

/** All must have done the same work: as many rows, the same keys, the same amounts. */
async function requireEqual(world: World): Promise<void> {
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
      ...PEERS.map(({ table }) => sum(table, "id", "amount")),
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
