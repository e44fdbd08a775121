import { RecordChain } from "../record_chain.ts";
import { mappingOf } from "../sources/adapters.ts";
import { fieldReader } from "../field_path.ts";
import { TypeProposer } from "../typed_rows.ts";
import { readSlice } from "./prepare.ts";
import type { TaskEnvironment } from "../workers/environment.ts";
import type { Tasks } from "../workers/task.ts";

/** Records that are looked at: so many of all slices together, and not too few of any. */
const LOOKED_AT = { together: 20_000, least: 4_000 };

/**
 * Which types the values of a slice's first records have, as they come out of the transform; for the first load of a
 * typed table, whose columns nobody has declared.
 */
export async function seeTypes(
  env: TaskEnvironment,
  { slice, slices }: Tasks["types"]["input"],
): Promise<Tasks["types"]["output"]> {
  const { context } = env;
  const { params, spillDir } = context;
  using chain = new RecordChain({
    params,
    sourceName: context.sourceName,
    privacy: context.privacy,
    module: env.module,
    suite: context.suite,
    judges: false,
    maxPayloadBytes: context.limits.maxRecordBytes,
    spillDir,
    chunkNo: null,
    typed: true,
  });
  const { key, version, occurred_at } = mappingOf(params.source);
  const proposer = new TypeProposer([key ?? []].flat(), [
    ...[version ?? []].flat(),
    ...[typeof occurred_at === "object" ? occurred_at.field : occurred_at ?? []].flat(),
  ]);
  const enough = Math.max(LOOKED_AT.least, LOOKED_AT.together / slices);
  // a record without a key becomes no row: of such alone no table is made, whose key would be text then
  const keys = [key ?? []].flat().map(fieldReader);
  let looked = 0;
  for await (const { events, types, cells } of chain.pass(readSlice(env, slice))) {
    for (const { payload } of events) {
      if (keys.every((read) => (read(payload) ?? null) !== null)) {
        proposer.observe(payload, { types, cells });
      }
    }
    looked += events.length;
    if (looked >= enough) break;
  }
  return { types: proposer.seen, kinds: proposer.kinds };
}
