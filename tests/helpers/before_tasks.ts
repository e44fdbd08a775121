import type { WorkerPool } from "../../pipeline/workers/pool.ts";
import type { TaskKind } from "../../pipeline/workers/task.ts";

/** A pool before whose tasks something happens; what that throws takes the task's place. `onAbort`: when a run's tasks are ended. */
export function beforeTasks(
  pool: WorkerPool,
  happens: (kind: TaskKind) => unknown,
  onAbort = () => {},
): WorkerPool {
  const submit = async (runId: string, kind: TaskKind, input: never) => {
    await happens(kind);
    return await pool.submit(runId, kind, input);
  };
  const abort = (runId: string) => {
    onAbort();
    pool.abort(runId);
  };
  return new Proxy(pool, {
    get: (_target, name) => {
      if (name === "submit") return submit;
      if (name === "abort") return abort;
      const member = Reflect.get(pool, name, pool);
      return typeof member === "function" ? member.bind(pool) : member;
    },
  });
}
