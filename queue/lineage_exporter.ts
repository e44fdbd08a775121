import { lineageEvent, type LineageOptions } from "../telemetry/openlineage.ts";
import type { LineageSender } from "../telemetry/openlineage_sender.ts";
import type { Exporter } from "./exporter.ts";

/** Tells OpenLineage of the start of a run and, when that has come, of its end: each once, in this order. */
export function lineageExporter(sender: LineageSender, options: LineageOptions): Exporter {
  return async (pending, facts, progress) => {
    const { end_no: endNo } = pending;
    if (progress.startedAt === null) {
      // a run that was cancelled before it started begins when it ends
      const startedAt = facts.ended
        ? earlier(pending.requested_at, new Date(facts.run.ended_at).toISOString())
        : pending.requested_at;
      await sender.send(lineageEvent("start", { facts, endNo, startedAt }, options));
      progress.startedAt = startedAt;
    }
    if (!facts.ended) return { state: "started" };
    const { startedAt } = progress;
    await sender.send(lineageEvent("end", { facts, endNo, startedAt }, options));
    return { state: "done" };
  };
}

const earlier = (a: string, b: string) => a < b ? a : b;
