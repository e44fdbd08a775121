import { planSource } from "../sources/adapters.ts";
import type { Plan } from "../sources/source.ts";
import type { TaskEnvironment } from "../workers/environment.ts";

/** The extract stage's first part: pins the input and finds its slices. Runs in a worker. */
export async function planRun(env: TaskEnvironment): Promise<Plan> {
  const { context, signal } = env;
  await Deno.mkdir(context.spillDir, { recursive: true });
  return await planSource(context.params.source, {
    ...(context.chunkSize === null ? {} : { chunkSize: context.chunkSize }),
    ...(context.maxRecords === null ? {} : { maxRecords: context.maxRecords }),
    ...(context.pin === null ? {} : { pin: context.pin }),
    ...(context.cursorPosition === null ? {} : { cursorPosition: context.cursorPosition }),
    spoolDir: context.spillDir,
    dataDir: context.dataDir,
    connections: context.connections,
    readUpload: env.readUpload,
    limits: context.limits,
    signal,
  });
}
