import assert from "node:assert/strict";
import { followRun } from "../../routes/run_events.ts";
import type { AppDeps } from "../../routes/shared/deps.ts";
import { RunWatch } from "../../queue/run_watch.ts";

/** A run whose revision goes up with each change, and how often it was looked at. */
function changingRun() {
  const run = { run_id: "r", state: "running", revision: 1, stages: "x".repeat(10_000) };
  let notify = (_payload: string) => {};
  const watch = new RunWatch();
  void watch.listen({ listen: (_: string, told: typeof notify) => notify = told } as never);
  const counted = { looks: 0 };
  const sql = (parts: TemplateStringsArray) => {
    // the statement itself, not its parts
    if (!parts[0]!.trimStart().startsWith("select")) return Promise.resolve([]);
    counted.looks++;
    return Promise.resolve([{ run: { ...run } }]);
  };
  const deps = { sql, watch, status: () => ({ listening: true }) } as unknown as AppDeps;
  return {
    deps,
    counted,
    change(state = "running") {
      run.revision++;
      run.state = state;
      notify(`r ${state}`);
    },
  };
}

Deno.test("a run that 100 follow is looked at a few times a second, and made a text once a look", async () => {
  const { deps, counted, change } = changingRun();
  const events = new Map<number, Set<Uint8Array>>();
  const follow = async () => {
    const told: number[] = [];
    for await (const { run, event } of followRun(deps, "r", new AbortController().signal)) {
      told.push(run.revision);
      events.set(run.revision, (events.get(run.revision) ?? new Set()).add(event));
    }
    return told;
  };
  const started = performance.now();
  const readers: Promise<number[]>[] = [];
  await new Promise<void>((resolve) => {
    // they come one after the other, while the run changes
    const timer = setInterval(() => {
      readers.push(follow());
      change();
      if (readers.length < 100) return;
      clearInterval(timer);
      change("succeeded");
      resolve();
    }, 10);
  });
  const all = await Promise.all(readers);
  const seconds = (performance.now() - started) / 1000;
  assert.equal(all.every((told) => told.at(-1) === 102), true, "each was told of the end");
  assert.equal(all[0]![0], 1, "the first look is told at once");
  assert.equal(
    counted.looks <= 5 * seconds + 3,
    true,
    `${counted.looks} looks in ${seconds.toFixed(1)} s`,
  );
  assert.deepEqual([...new Set([...events.values()].map(({ size }) => size))], [1]);
});

Deno.test("a reader who comes later is told the whole run, and a slow one only the newest", async () => {
  const { deps, change } = changingRun();
  const slow = followRun(deps, "r", new AbortController().signal);
  assert.equal((await slow.next()).value!.run.revision, 1);
  change();
  change();
  const fast = followRun(deps, "r", new AbortController().signal);
  let last;
  do last = (await fast.next()).value!; while (last.run.revision < 3);
  assert.equal(last.run.stages.length, 10_000);
  change("failed");
  const end = (await fast.next()).value!;
  assert.match(new TextDecoder().decode(end.event), /^event: end\ndata: \{.*\}\nid: 4\n\n$/);
  assert.equal((await slow.next()).value, end);
  assert.deepEqual(await slow.next(), { done: true, value: undefined });
  assert.deepEqual(await fast.next(), { done: true, value: undefined });
});

Deno.test("who goes away ends the looking with the last of them", async () => {
  const { deps, counted, change } = changingRun();
  const gone = new AbortController();
  const reader = followRun(deps, "r", gone.signal);
  await reader.next();
  const waiting = reader.next();
  gone.abort();
  assert.equal((await waiting).done, true);
  // what looks at the run hears of it in a turn of its own
  await new Promise((resolve) => setTimeout(resolve, 0));
  const { looks } = counted;
  change("succeeded");
  const next = followRun(deps, "r", new AbortController().signal);
  assert.equal((await next.next()).value!.run.state, "succeeded");
  assert.equal(counted.looks, looks + 1);
  await next.return(undefined);
});
