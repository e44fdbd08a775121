import type { AccumulatorKind, State } from "./accumulator.ts";
import type { Batch } from "./batch.ts";

/** Names of the payload's top-level fields, in the order in which they were first seen. */
export interface TableColumnsState extends State {
  columns: string[];
}

/** A record set with more field names than this has no columns in any useful sense. */
const MAX_COLUMNS = 10_000;

export function tableColumnsKind(): AccumulatorKind {
  return {
    create: () => {
      const columns: string[] = [];
      const known = new Set<string>();
      return {
        observe(batch: Batch) {
          for (const record of batch.records) {
            let k = 0;
            for (const name in record) {
              // Records mostly have the same fields in the same order.
              if (columns[k++] === name || known.has(name) || known.size >= MAX_COLUMNS) continue;
              known.add(name);
              columns.push(name);
            }
          }
        },
        state: () => ({ columns }),
      };
    },
    merge: (a, b) => ({
      columns: [
        ...new Set([
          ...(a as TableColumnsState).columns,
          ...(b as TableColumnsState).columns,
        ]),
      ].slice(0, MAX_COLUMNS),
    }),
  };
}
