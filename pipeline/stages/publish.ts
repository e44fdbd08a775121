import { lockChunk, markPublished, type PublishedCounts } from "../../store/chunks.ts";
import { copyIn } from "../../store/copy.ts";
import { errorCode } from "../../store/errors.ts";
import { type Client, quoteIdent, quoteTable } from "../../store/pg.ts";
import { foreignRowsProblem, isNewer } from "./resolve.ts";
import { chunkFile, readPositions } from "../spill/layout.ts";
import { readRows } from "../spill/reader.ts";
import { ROW_COLUMNS } from "../spill/row_encoder.ts";
import { type TaskEnvironment, transactionOptions } from "../workers/environment.ts";
import type { ChunkDecision, PublishResult, RunContext, Tasks } from "../workers/task.ts";

const UNIQUE_VIOLATION = "23505";
/** Bytes of one COPY message at least and at most. */
const MIN_FLUSH_BYTES = 1 << 10;
const MAX_FLUSH_BYTES = 1 << 20;

/**
 * The load stage of one chunk, in one transaction: new rows by COPY straight
 * into the destination, changed rows through a staging table and an upsert, the
 * chunk's state with them, so that each chunk is published exactly once. When
 * another run has put one of the new keys there since resolve, the whole chunk
 * goes through the upsert.
 */
export async function publishChunk(
  env: TaskEnvironment,
  { decision }: Tasks["publish"]["input"],
): Promise<PublishResult> {
  const started = performance.now();
  const { context, connection } = env;
  let upsertAll = false;
  const once = () =>
    connection.transaction(transactionOptions(env), async (client) => {
      const { state, counts: earlier } = await lockChunk(client, context, decision.chunkNo);
      // by another attempt, or by this one whose commit was not confirmed
      if (state === "published") return { published: false, ...earlier };
      const written = await writeRows(client, context, decision, upsertAll);
      const counts: PublishedCounts = {
        ...written,
        duplicates: decision.duplicates,
        unchanged: decision.events - decision.duplicates - written.inserted - written.updated,
      };
      const loadMs = performance.now() - started;
      await markPublished(client, context, decision.chunkNo, {
        ...counts,
        worker: env.workerName,
        loadMs,
      });
      return { published: true, ...counts };
    });
  let result: PublishedCounts & { published: boolean };
  try {
    result = await once();
  } catch (error) {
    if (errorCode(error) !== UNIQUE_VIOLATION) throw error;
    upsertAll = true;
    result = await once();
  }
  await removeRows(context, decision.chunkNo);
  return { ...result, elapsedMs: performance.now() - started };
}

async function writeRows(
  client: Client,
  context: RunContext,
  decision: ChunkDecision,
  upsertAll: boolean,
): Promise<{ inserted: number; updated: number }> {
  const { params, spillDir } = context;
  const { chunkNo } = decision;
  const destination = quoteTable(params.schema_name, params.table_name);
  const columns = ROW_COLUMNS.map(quoteIdent).join(", ");
  const blockBytes = await flushBytes(context, decision);
  const rows = async (kind: "inserts" | "updates") =>
    readRows(spillDir, chunkNo, {
      blockBytes,
      positions: decision[kind] === decision.events
        ? undefined
        : await readPositions(context, chunkNo, kind),
    });

  const { inserts, updates } = decision;
  if (inserts > 0 && !upsertAll) {
    await copyIn(
      client,
      `copy ${destination} (${columns}) from stdin (format binary)`,
      await rows("inserts"),
    );
  }
  if (updates === 0 && !upsertAll) return { inserted: inserts, updated: 0 };

  await client.query(
    `create temp table etl_stage on commit drop as select ${columns} from ${destination} with no data`,
  );
  const toStage = `copy pg_temp.etl_stage (${columns}) from stdin (format binary)`;
  if (upsertAll && inserts > 0) await copyIn(client, toStage, await rows("inserts"));
  if (updates > 0) await copyIn(client, toStage, await rows("updates"));
  const upserted = await upsert(client, context, destination, columns);
  return {
    inserted: (upsertAll ? 0 : inserts) + upserted.inserted,
    updated: upserted.updated,
  };
}

/** Upserts the staged rows where they are newer than what is there; refuses another source's rows. */
async function upsert(
  client: Client,
  context: RunContext,
  destination: string,
  columns: string,
): Promise<{ inserted: number; updated: number }> {
  const assignments = ROW_COLUMNS.filter((column) => column !== "event_id")
    .map((column) => `${quoteIdent(column)} = excluded.${quoteIdent(column)}`).join(", ");
  const { rows } = await client.query<{ inserted: number; updated: number }>(
    `with upserted as (
      insert into ${destination} as t (${columns})
      -- one order of keys for every run, so that two of them do not wait for each other in a circle
      select ${columns} from pg_temp.etl_stage order by event_id collate "C"
      on conflict (event_id) do update set ${assignments}, updated_at = now()
      where t.source = excluded.source and t.fingerprint <> excluded.fingerprint
        and ${isNewer(context, { event: "excluded", row: "t", orderRunId: "excluded.run_id" })}
      returning xmax = 0 as is_new)
    select count(*) filter (where is_new)::integer as inserted,
      count(*) filter (where not is_new)::integer as updated
    from upserted`,
  );
  const foreign = await client.query<{ event_id: string; source: string }>(
    `select t.event_id, t.source from pg_temp.etl_stage as s
    join ${destination} as t on t.event_id = s.event_id where t.source <> s.source limit 3`,
  );
  if (foreign.rows.length > 0) {
    throw foreignRowsProblem(context, { count: foreign.rows.length, examples: foreign.rows });
  }
  return rows[0]!;
}

/** db_page_size rows of this chunk, in bytes. */
async function flushBytes(context: RunContext, { chunkNo, events }: ChunkDecision) {
  const { size } = await Deno.stat(chunkFile(context.spillDir, chunkNo, "rows"));
  const page = (size / Math.max(1, events)) * context.params.db_page_size;
  return Math.trunc(Math.min(MAX_FLUSH_BYTES, Math.max(MIN_FLUSH_BYTES, page)));
}

/** Rows of a published chunk are in the table; its keys may still be compared by a later attempt. */
async function removeRows(context: RunContext, chunkNo: number): Promise<void> {
  try {
    await Deno.truncate(chunkFile(context.spillDir, chunkNo, "rows"), 0);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
