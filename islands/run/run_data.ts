import type { QuarantineView } from "../../store/quarantine.ts";
import type { RunDetail } from "../../vocabulary/run_schema.ts";
import type { ChunkStates, RunLogLine, RunRelations } from "../../store/run_views.ts";
import type { ValidationResult } from "../../pipeline/expectations/expectations.ts";

/** What the page of a run shows beside the run itself. */
export interface RunExtras {
  chunks: ChunkStates;
  log: RunLogLine[];
  quarantine: {
    items: QuarantineView[];
    next: string | null;
    rules: { rule: string; count: number }[];
  };
  validation: ValidationResult | null;
  relations: RunRelations;
}

export interface RunPageData extends RunExtras {
  run: RunDetail;
  /** What helps with the run's error, one step each; in English. */
  remedies: string[];
  /** What went wrong in the viewer's language; null where that is what the run's own error says. */
  problem: { title: string; meaning: string } | null;
}

/** What the letters of ChunkStates stand for. */
export const CHUNK_STATES = { l: "planned", r: "prepared", p: "published", x: "failed" } as const;
export type ChunkLetter = keyof typeof CHUNK_STATES;
