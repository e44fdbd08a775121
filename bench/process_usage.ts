/** What processes use, from /proc; Linux only. */

/** Clock ticks a second in /proc/…/stat: fixed by the kernel's interface on every platform of ours. */
const TICKS = 100;
const SAMPLE_MS = 100;
/** Finding the processes of a tree means reading all of /proc, which costs more than their memory is worth. */
const SAMPLES_A_TREE = 10;

interface Stat {
  parent: number;
  /** CPU seconds of the process, all its threads. */
  own: number;
  /** CPU seconds of its children that have ended. */
  ended: number;
}

async function statOf(pid: number | "self"): Promise<Stat | null> {
  const text = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => null);
  if (text === null) return null;
  // "pid (name) state ppid …", and the name may hold anything; utime is field 14
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ").map(Number);
  return {
    parent: fields[1]!,
    own: (fields[11]! + fields[12]!) / TICKS,
    ended: (fields[13]! + fields[14]!) / TICKS,
  };
}

/** A process and its descendants that live, with what they used. */
async function treeOf(root: number): Promise<Map<number, Stat>> {
  const all = new Map<number, Stat>();
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await statOf(Number(name));
    if (stat !== null) all.set(Number(name), stat);
  }
  const tree = new Map<number, Stat>();
  const add = (pid: number) => {
    const stat = all.get(pid);
    if (stat === undefined) return;
    tree.set(pid, stat);
    for (const [child, { parent }] of all) if (parent === pid) add(child);
  };
  add(root);
  return tree;
}

/** Ids of a process and its descendants that live. */
export async function processesOf(root: number): Promise<number[]> {
  return [...(await treeOf(root)).keys()];
}

/** CPU seconds that a process and its descendants have used, ended ones included. */
export async function cpuSecondsOf(root: number): Promise<number> {
  const tree = await treeOf(root);
  let seconds = 0;
  for (const { own, ended } of tree.values()) seconds += own + ended;
  return seconds;
}

/** CPU seconds of the programs that this process has run to their end. */
export async function cpuSecondsOfPrograms(): Promise<number> {
  return (await statOf("self"))!.ended;
}

/** Watches how much memory a process tree takes at most. */
export interface MemoryWatch {
  /** Highest resident set of every process so far, summed, in bytes. */
  stop(): Promise<number>;
}

/** Looks every 100 ms, and every second for new processes: VmHWM is a process's own peak. */
export function watchMemory(root: number): MemoryWatch {
  const peaks = new Map<number, number>();
  let stopped = false;
  let wake = () => {};
  let samples = 0;
  let pids: number[] = [];
  const sample = async () => {
    if (samples++ % SAMPLES_A_TREE === 0) pids = [...(await treeOf(root)).keys()];
    for (const pid of pids) {
      const status = await Deno.readTextFile(`/proc/${pid}/status`).catch(() => "");
      const kilobytes = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
      peaks.set(pid, Math.max(peaks.get(pid) ?? 0, kilobytes));
    }
  };
  const watching = (async () => {
    while (!stopped) {
      await sample();
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, SAMPLE_MS);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    await sample();
  })();
  return {
    async stop() {
      stopped = true;
      wake();
      await watching;
      return [...peaks.values()].reduce((sum, kilobytes) => sum + kilobytes, 0) * 1024;
    },
  };
}
