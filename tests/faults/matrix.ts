import assert from "node:assert/strict";
import { waitFor } from "../helpers/wait_for.ts";
import { type HeldRun, type HoldOptions, holdRun, type Place, PLACES } from "./holds.ts";
import { type Footprint, footprint, nothingIsLeft } from "./invariants.ts";
import type { World, WorldServer } from "./world.ts";

/** Whether the whole matrix is tested, or only what represents it. */
export const LONG = Deno.env.get("ETL_TEST_LONG") !== undefined;

/** All places in a long test run, else the given ones. */
export function places(...representative: Place[]): readonly Place[] {
  return LONG ? PLACES : representative;
}

/** Enough workers that runs held in all the places at once leave one free. */
export function roomFor(at: readonly Place[]): Record<string, string> {
  return { ETL_WORKERS: String(at.length + 1), ETL_RUN_SLOTS: String(at.length + 2) };
}

/** Runs that stand still, each in its place. */
export async function holdAll(
  world: World,
  server: WorldServer,
  { at, ...options }: HoldOptions & { at: readonly Place[] },
): Promise<HeldRun[]> {
  const held: HeldRun[] = [];
  // one after the other: each takes a worker away, and prepares its chunks with what is left
  for (const place of at) held.push(await holdRun(world, server, place, options));
  return held;
}

export interface CheckOptions {
  expected: Footprint;
  /** Servers that are alive at the end. */
  servers: WorldServer[];
  /** How often the run may have been started. */
  attempts?: { min?: number; max?: number };
  /** What audit entries there are, where it is not one request and one end. */
  audit?: string[];
  /** Name of a run's table where it is not its place. */
  name?: (run: HeldRun) => string;
  timeoutMs?: number;
  /** What happened and when (Date.now()): how long it took from there to each run's end is told. */
  since?: { what: string; at: number };
}

/**
 * Each run ends as an undisturbed one would: the same table, counters, metrics,
 * one dataset event, every row written once, and nothing left behind.
 */
export async function endUndisturbed(
  world: World,
  held: HeldRun[],
  {
    expected,
    servers,
    attempts = {},
    audit = ["finished", "requested"],
    name = ({ place }) => place,
    timeoutMs = 180_000,
    since,
  }: CheckOptions,
): Promise<void> {
  const took: Record<string, number> = {};
  for (const each of held) {
    const { runId, place } = each;
    const run = await world.ended(runId, ["succeeded"], timeoutMs);
    assert.deepEqual(
      await footprint(world, runId, name(each)),
      { ...expected, audit },
      `the run held at ${place}`,
    );
    if (since !== undefined) took[place] = run.ended_at!.getTime() - since.at;
    const { max = 5 } = attempts;
    const min = place === "finalize" ? 1 : attempts.min ?? 1;
    assert.ok(
      run.attempt >= min && run.attempt <= max,
      `the run held at ${place} took ${run.attempt} attempts, not ${min} to ${max}\n${world.logs()}`,
    );
  }
  if (since !== undefined) measured(`runs have ended after ${since.what}`, took);
  await nothingIsLeft(world, { servers });
}

/** Milliseconds since `since` when each run has been taken up by another attempt, by place. */
export async function takeovers(
  world: World,
  held: HeldRun[],
  { since, timeoutMs = 30_000 }: { since: number; timeoutMs?: number },
): Promise<Record<string, number>> {
  const entries = await Promise.all(held.map(async ({ runId, place }) => {
    await waitFor(async () => {
      const { attempt, state } = await world.run(runId);
      // the statement that ends a run goes on without its server
      return attempt > 1 || (place === "finalize" && state === "succeeded");
    }, {
      timeoutMs: timeoutMs - (performance.now() - since),
      intervalMs: 100,
      what: `another attempt of the run held at ${place}`,
    }).catch((error) => {
      throw new Error(`${error.message}\n${world.logs()}`);
    });
    return [place, Math.round(performance.now() - since)] as const;
  }));
  return Object.fromEntries(entries);
}

/** A line with what was measured, for who reads the output of the tests. */
export function measured(what: string, values: Record<string, number>): void {
  const all = Object.values(values);
  console.log(`measured: ${what}: ${Math.min(...all)} to ${Math.max(...all)} ms`, values);
}
