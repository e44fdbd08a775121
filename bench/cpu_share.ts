import { processesOf } from "./process_usage.ts";

const PERIOD_US = 100_000;
/** Where the kernel takes limits: of cgroup v2, and of v1. */
const V2 = "/sys/fs/cgroup";
const V1 = "/sys/fs/cgroup/cpu";

/** Holds processes to a share of one core's time. */
export class CpuShare {
  readonly #dir: string;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** @throws where this account may make no cgroup with a limit of CPU: bench as root, or in a container of your own. */
  static make(name: string, cores: number): CpuShare {
    const quota = Math.round(cores * PERIOD_US);
    const controllers = readText(`${V2}/cgroup.subtree_control`);
    try {
      if (controllers?.split(/\s+/).includes("cpu")) {
        Deno.mkdirSync(`${V2}/${name}`);
        Deno.writeTextFileSync(`${V2}/${name}/cpu.max`, `${quota} ${PERIOD_US}`);
        return new CpuShare(`${V2}/${name}`);
      }
      Deno.mkdirSync(`${V1}/${name}`);
      Deno.writeTextFileSync(`${V1}/${name}/cpu.cfs_period_us`, `${PERIOD_US}`);
      Deno.writeTextFileSync(`${V1}/${name}/cpu.cfs_quota_us`, `${quota}`);
      return new CpuShare(`${V1}/${name}`);
    } catch (error) {
      throw new Error("A share of CPU needs a cgroup, which this account may not make here", {
        cause: error,
      });
    }
  }

  /** Holds a process, its descendants and those that they start. */
  async hold(pid: number): Promise<void> {
    for (const each of await processesOf(pid)) {
      Deno.writeTextFileSync(`${this.#dir}/cgroup.procs`, `${each}`);
    }
  }

  /** After its processes have ended. */
  [Symbol.dispose](): void {
    Deno.removeSync(this.#dir);
  }
}

function readText(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return null;
  }
}
