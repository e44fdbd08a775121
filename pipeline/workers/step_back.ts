import { setPriority } from "node:os";

/** Nice value of threads that compute for runs: a third of the share of a core that others have (sched(7)). */
const NICE = 5;

/**
 * Lets pages, probes and PostgreSQL go first where the cores are busy: lowers the priority of this thread, whose permission for it
 * ends with that. Only Linux has a priority for each thread; elsewhere, and where a container forbids it, nothing changes.
 */
export function stepBack(): void {
  try {
    if (Deno.build.os === "linux") setPriority(0, NICE);
  } catch {
    // the thread works as well without it
  } finally {
    Deno.permissions.revokeSync({ name: "sys", kind: "setPriority" });
  }
}
