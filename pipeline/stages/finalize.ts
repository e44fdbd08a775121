import type { Outcome } from "../../store/runs.ts";
import type { SpillMeta } from "../spill/layout.ts";
import { cursorOf } from "../sources/adapters.ts";
import type { RunContext } from "../workers/task.ts";

/** Where an incremental source has got to; told only when the run succeeds. */
export function cursorOutcome(
  context: RunContext,
  metas: SpillMeta[],
): Pick<Outcome, "cursor" | "warnings"> {
  const { params, pin, sourceName } = context;
  const column = cursorOf(params.source);
  if (column === undefined || params.dry_run) return {};
  const nulls = metas.reduce((sum, meta) => sum + meta.counts.cursor_nulls, 0);
  const warnings = nulls === 0 ? [] : [
    `${nulls} records have no value in the cursor column ${column}; later runs will not see changes of theirs`,
  ];
  const position = pin?.cursor_upper;
  if (typeof position !== "string") return { warnings };
  const dataset = `${params.schema_name}.${params.table_name}`;
  const snapshot = (pin?.cursor_snapshot ?? null) as string | null;
  return { warnings, cursor: { source_name: sourceName, dataset, position, snapshot } };
}
