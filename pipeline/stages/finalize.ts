import { type Message, say } from "../../vocabulary/messages.ts";
import type { Outcome } from "../../store/runs.ts";
import type { SpillMeta } from "../spill/layout.ts";
import { adapterFor, cursorOf } from "../sources/adapters.ts";
import { addRepeated } from "../sources/repeated_names.ts";
import { higher } from "../sources/modules/positions.ts";
import type { RunContext } from "../workers/task.ts";

/** Where an incremental source has got to; told only when the run succeeds. */
export function cursorOutcome(
  context: RunContext,
  metas: SpillMeta[],
  { reread }: { reread: boolean },
): Pick<Outcome, "cursor" | "warnings"> {
  const { params, pin, sourceName } = context;
  const column = cursorOf(params.source);
  const { incremental } = adapterFor(params.source);
  if (column === undefined && !incremental || params.dry_run) return {};
  const nulls = metas.reduce((sum, meta) => sum + meta.counts.cursor_nulls, 0);
  const has = (n: number) => n === 1 ? say("one-record-has", {}) : say("records-have", { n });
  const warnings = nulls === 0
    ? []
    : [say("cursor-nulls", { who: has(nulls), column: column ?? "" })];
  const odd = metas.map(({ counts }) => counts.no_positions).reduce(addRepeated, undefined);
  if (odd !== undefined) {
    warnings.push(
      say("future-positions", {
        who: has(odd.records),
        column: pin?.cursor_column as string | undefined ?? say("the-cursor", {}),
        example: odd.example,
      }),
    );
  }
  const position = pin?.cursor_upper ?? foundPosition(context, metas);
  if (typeof position !== "string") return { warnings };
  if (incremental && reread && pin?.cursor_upper === null) {
    warnings.push(say("position-stays", {}));
    return { warnings };
  }
  const dataset = `${params.schema_name}.${params.table_name}`;
  const snapshot = (pin?.cursor_snapshot ?? null) as string | null;
  return { warnings, cursor: { source_name: sourceName, dataset, position, snapshot } };
}

/** What is said of rows that were there when a source counted them, and not when they were read. */
export function fewerReadWarning({ pin }: RunContext, metas: SpillMeta[]): Message[] {
  if (typeof pin?.counted !== "number") return [];
  const read = metas.reduce((sum, { counts }) => sum + counts.records_read, 0);
  return read < pin.counted ? [say("fewer-read", { counted: pin.counted, read })] : [];
}

/** The highest position among the records that a module has read; never behind the one that it began from. */
function foundPosition(
  { pin, cursorPosition }: RunContext,
  metas: SpillMeta[],
): string | undefined {
  if (pin?.cut === true || pin?.planned === true) return undefined;
  const found = metas.map(({ counts }) => counts.position).reduce(higher, undefined);
  return found === undefined ? undefined : higher(cursorPosition?.position, found);
}
