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
      if (/^\d+$/.test(name)) parents.set(Number(name), await parentOf(Number(name)));
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

/** The parent of a process; NaN when there is no such process. */
async function parentOf(pid: number): Promise<number> {
  if (Deno.build.os === "linux") {
    const stat = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => "");
    // "pid (name) state ppid …", and the name may hold anything
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1] ?? NaN);
  }
  return Number(await ps("ppid=", pid) || NaN);
}

/** The command line of a process, its parts separated by spaces; empty when there is no such process. */
export async function commandLine(pid: number): Promise<string> {
  if (Deno.build.os === "linux") {
    const text = await Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => "");
    return text.replaceAll("\0", " ");
  }
  return await ps("command=", pid);
}

async function ps(column: string, pid: number): Promise<string> {
  const { stdout } = await new Deno.Command("ps", {
    args: ["-ww", "-o", column, "-p", String(pid)],
    stdin: "null",
    stderr: "null",
  }).output();
  return new TextDecoder().decode(stdout).trim();
}

/** The parent, its parent and so on. */
async function ancestors(pid: number): Promise<number[]> {
  const found: number[] = [];
  for (let parent = await parentOf(pid); parent > 1; parent = await parentOf(parent)) {
    found.push(parent);
  }
  return found;
}

/**
 * Calls `handle` when the npx that this process runs under has ended: npx
 * passes SIGTERM to a shell that keeps it to itself, so nobody else would tell.
 * Without an npx, e.g. under `deno task` or nohup, nothing is watched.
 */
export function onNpxGone(handle: () => void): Disposable {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let disposed = false;
  const watch = async (npx?: number) => {
    const above = await ancestors(Deno.pid);
    if (npx === undefined) {
      for (const pid of above) {
        if (/^(\S*\/)?(npm exec|npx) /.test(await commandLine(pid))) npx = pid;
      }
      if (npx === undefined) return;
    } else if (!above.includes(npx)) return handle();
    if (!disposed) timer = setTimeout(() => void watch(npx), 1000);
  };
  void watch();
  return {
    [Symbol.dispose]() {
      disposed = true;
      clearTimeout(timer);
    },
  };
}
