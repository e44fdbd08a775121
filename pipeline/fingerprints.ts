import { Canonicalizer } from "./canonical.ts";
import type { SourceRecord } from "./numbers.ts";
import { parseJson } from "./sources/json_text.ts";
import { eventFingerprint } from "./stages/transform.ts";
import { toUtcText } from "./timestamps.ts";
import type { Sql } from "../store/database.ts";
import {
  endFingerprints,
  fillFingerprints,
  type TakenOverRow,
  takenOverTables,
} from "../store/fingerprints.ts";
import { delay } from "../store/retry.ts";
import { areRunsGoingOn } from "../store/runs.ts";
import type { Log } from "../telemetry/log.ts";

/** Blocks of a batch: half a megabyte, some thousand small rows. */
const BLOCKS = 64;
/** While runs go on, a batch is followed by a pause of so many times its own time. */
const BUSY_PAUSE = 3;

/**
 * Computes the fingerprints of rows that were taken over from the original, so that the first load of the same data writes
 * only what differs. A batch is a transaction; another server goes on where this one stopped.
 */
export async function fillAllFingerprints(
  { sql, log, signal }: { sql: Sql; log: Log; signal: AbortSignal },
): Promise<void> {
  for (const table of await takenOverTables(sql)) {
    const { dataset } = table;
    const fingerprint = takenOverFingerprint();
    let filled = 0;
    // what loads append has its fingerprint
    for (; table.next < table.blocks; table.next += BLOCKS) {
      signal.throwIfAborted();
      const started = performance.now();
      filled += await fillFingerprints(sql, table, { blocks: BLOCKS, compute: fingerprint });
      if (await areRunsGoingOn(sql)) {
        await delay((performance.now() - started) * BUSY_PAUSE, signal);
      }
    }
    await endFingerprints(sql, dataset);
    log.info("fingerprints of a table that was taken over are known", { dataset, rows: filled });
  }
}

/** What the original put into each payload beside the record's fields. */
const ORIGINAL_FINGERPRINT = /^[0-9a-f]{16}$/;

/** The fingerprint that the record of a row would have, in hex: without the one that the original put into its payload. */
function takenOverFingerprint(): (row: TakenOverRow) => string | null {
  const canonical = new Canonicalizer();
  return ({ event_id, event_type, occurred_at, source, version, payload }) => {
    // what no record can have (a list, a number of too many digits): the first load of the row writes it
    if (!payload.startsWith("{")) return null;
    try {
      const record = parseJson(payload) as SourceRecord;
      const own = record.fingerprint;
      if (typeof own === "string" && ORIGINAL_FINGERPRINT.test(own)) delete record.fingerprint;
      return eventFingerprint({
        eventId: event_id,
        eventType: event_type,
        occurredAt: occurred_at === null ? null : toUtcText(occurred_at),
        version,
        text: canonical.text(record),
        sourceText: JSON.stringify(source),
      });
    } catch {
      return null;
    }
  };
}
