import { RecordChain } from "../record_chain.ts";
import { mappingOf, readSource } from "../sources/adapters.ts";
import { TypeProposer } from "../typed_rows.ts";
import type { TaskEnvironment } from "../workers/environment.ts";
import type { Tasks } from "../workers/task.ts";

/** Records of a slice that are looked at. */
const LOOKED_AT = 20_000;

/**
 * Which types the values of a slice's first records have, as they come out of the transform; for the first load of a
 * typed table, whose columns nobody has declared.
 */
export async function seeTypes(
  env: TaskEnvironment,
  { slice }: Tasks["types"]["input"],
): Promise<Tasks["types"]["output"]> {
  const { context, signal } = env;
  const { params, spillDir } = context;
  using chain = new RecordChain({
    params,
    sourceName: context.sourceName,
    module: env.module,
    suite: context.suite,
    judges: false,
    maxPayloadBytes: context.limits.maxRecordBytes,
    spillDir,
    chunkNo: null,
    table: null,
  });
  const { key, version, occurred_at } = mappingOf(params.source);
  const proposer = new TypeProposer([
    ...[key ?? []].flat(),
    ...[version ?? []].flat(),
    ...[typeof occurred_at === "object" ? occurred_at.field : occurred_at ?? []].flat(),
  ]);
  const batches = readSource(params.source, slice, {
    spoolDir: spillDir,
    dataDir: context.dataDir,
    connections: context.connections,
    pageSize: params.db_page_size,
    limits: context.limits,
    signal,
  });
  let looked = 0;
  for await (const { events } of chain.pass(batches)) {
    for (const { payload } of events) proposer.observe(payload);
    looked += events.length;
    if (looked >= LOOKED_AT) break;
  }
  return { types: proposer.seen, kinds: proposer.kinds };
}
