import { Problem } from "../../vocabulary/problem.ts";
import type { Consumer } from "./consumer.ts";

type Link = Pick<Consumer, "name" | "datasets" | "emits">;

/** Refuses two consumers of one name, and chains in which one would start itself for ever. */
export function checkConsumers(consumers: readonly Link[]): void {
  const names = new Set<string>();
  for (const { name } of consumers) {
    if (names.has(name)) {
      throw new Problem("invalid-conf", { detail: `There are two consumers named ${name}.` });
    }
    names.add(name);
  }
  const cycle = findCycle(consumers);
  if (cycle !== null) {
    throw new Problem("invalid-conf", {
      detail: `Consumers would start each other for ever: ${
        cycle.join(" → ")
      }. Take a dataset out of datasets or emits of one of them.`,
    });
  }
}

/** "dataset → consumer → dataset" of the first cycle, or null. */
function findCycle(consumers: readonly Link[]): string[] | null {
  const done = new Set<string>();
  const visit = (dataset: string, path: string[]): string[] | null => {
    const at = path.indexOf(dataset);
    if (at >= 0) return [...path.slice(at), dataset];
    if (done.has(dataset)) return null;
    for (const { name, datasets, emits } of consumers) {
      if (!datasets.includes(dataset)) continue;
      for (const emitted of emits) {
        const found = visit(emitted, [...path, dataset, name]);
        if (found !== null) return found;
      }
    }
    done.add(dataset);
    return null;
  };
  for (const { datasets } of consumers) {
    for (const dataset of datasets) {
      const found = visit(dataset, []);
      if (found !== null) return found;
    }
  }
  return null;
}
