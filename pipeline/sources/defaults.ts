import type { MappingConf } from "../mapping.ts";
import type { SourceConf } from "./schema.ts";

/** How synthetic records become events, where the conf does not say otherwise. */
const SYNTHETIC_MAPPING: MappingConf = {
  key: "id",
  event_type: { field: "event_type" },
  occurred_at: "occurred_at",
};

/** The mapping of a source, with the defaults of its kind. */
export function mappingOf(source: SourceConf): MappingConf {
  return source.type === "synthetic" ? { ...SYNTHETIC_MAPPING, ...source } : source;
}

/** Owner of the rows: the conf's name, else synthetic or the run_label. */
export function sourceNameOf(source: SourceConf, runLabel: string): string {
  return source.name ?? (source.type === "synthetic" ? "synthetic" : runLabel);
}
