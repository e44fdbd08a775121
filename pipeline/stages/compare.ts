import { compareStaged, stageToCompare } from "../../store/compare.ts";
import { allowLargeJoins } from "../../store/event_keys.ts";
import { copyRows } from "../../store/event_rows.ts";
import { quoteTable } from "../../store/pg.ts";
import { layoutOf } from "../../store/row_layout.ts";
import { readPositions } from "../spill/layout.ts";
import { readRows } from "../spill/reader.ts";
import { type TaskEnvironment, transactionOptions } from "../workers/environment.ts";
import type { Tasks } from "../workers/task.ts";
import { complement } from "./resolve.ts";

/**
 * Compares what a dry run has read with its table, value by value: its rows are copied into a table of this transaction, so
 * that memory grows with neither side. Fingerprints would not do: a row that somebody has changed by hand keeps its own.
 */
export async function compareRows(
  env: TaskEnvironment,
  { decisions, rejected }: Tasks["compare"]["input"],
): Promise<null> {
  const { context, connection } = env;
  const destination = quoteTable(context.params.schema_name, context.params.table_name);
  return await connection.transaction(transactionOptions(env), async (client) => {
    await allowLargeJoins(client);
    const stage = {
      table: await stageToCompare(client, context, destination),
      layout: layoutOf(context),
    };
    for (const { chunkNo, events, duplicates } of decisions) {
      const positions = duplicates === 0
        ? undefined
        : complement(events, readPositions(context, chunkNo, "losers"));
      await copyRows(client, stage, readRows(context.spillDir, chunkNo, { positions }));
    }
    await compareStaged(client, context, { destination, rejected });
    return null;
  });
}
