/** Kills a process and everything that it started, also what has a process group of its own. */
export async function killTree(pid: number): Promise<void> {
  const parents = await parentOfEach();
  const doomed = [pid];
  for (const parent of doomed) {
    for (const [child, of] of parents) if (of === parent) doomed.push(child);
  }
  for (const each of doomed) {
    try {
      Deno.kill(each, "SIGKILL");
    } catch { /* it has ended meanwhile */ }
  }
}

async function parentOfEach(): Promise<Map<number, number>> {
  const parents = new Map<number, number>();
  if (Deno.build.os === "linux") { // small images have no `ps`
    for await (const { name } of Deno.readDir("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      const stat = await Deno.readTextFile(`/proc/${name}/stat`).catch(() => "");
      // "pid (name) state ppid …", and the name may hold anything
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
    }
    return parents;
  }
  const { stdout } = await new Deno.Command("ps", { args: ["-axo", "pid=,ppid="] }).output();
  for (const line of new TextDecoder().decode(stdout).trim().split("\n")) {
    const [pid = 0, parent = 0] = line.trim().split(/\s+/).map(Number);
    parents.set(pid, parent);
  }
  return parents;
}
