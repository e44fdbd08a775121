import type { World } from "./world.ts";

export type Unit = "s" | "ms" | "rows/s" | "runs/s" | "MB" | "%" | "row versions" | "µs";

/** One line of the result: what was measured, against what, and whether it is enough. */
export interface Row {
  measure: string;
  /** The baseline's figure in `unit`; null where there is none. */
  baseline: number | null;
  ours: number;
  unit: Unit;
  /** ours / baseline. */
  ratio: number | null;
  /** What has to be reached, in words. */
  target: string;
  ok: boolean;
  /** Everything behind the figure: single values, CPU seconds, stage times. */
  detail?: Record<string, unknown>;
}

/** What `deno task bench NAME` runs. */
export interface Measure {
  name: string;
  /** One line for `--help`. */
  about: string;
  /** Whether it runs only where it is named: it takes long, or needs packages from elsewhere. */
  onlyNamed?: boolean;
  run(world: World): Promise<Row[]>;
}
