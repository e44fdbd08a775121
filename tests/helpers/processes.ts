/** Ids of the processes whose command line has `text`; Linux only. */
export async function processesWith(text: string): Promise<number[]> {
  if (text === "") throw new Error("Every process has the empty text");
  const found: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const command = await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
    if (command.includes(text)) found.push(Number(name));
  }
  return found;
}

/** The state and the parent of a process as /proc has them; Linux only. */
async function statusOf(pid: number): Promise<{ state: string; parent: number } | null> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => null);
  if (stat === null) return null;
  // "pid (name) state ppid …", and the name may hold anything
  const [state = "", parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state, parent: Number(parent) };
}

/** Ids of the processes that a process has started; Linux only. */
export async function childrenOf(pid: number): Promise<number[]> {
  const found: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (/^\d+$/.test(name) && (await statusOf(Number(name)))?.parent === pid) {
      found.push(Number(name));
    }
  }
  return found;
}

/** Whether a process still runs: one that has ended and that nobody has asked for yet does not. */
export async function isAlive(pid: number): Promise<boolean> {
  const status = await statusOf(pid);
  return status !== null && !"ZX".includes(status.state);
}
