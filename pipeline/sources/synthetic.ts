import { say } from "../../vocabulary/messages.ts";
import type { SyntheticConf } from "./schema.ts";
import {
  type Plan,
  type PlanContext,
  refuseManySlices,
  type Slice,
  type SourceAdapter,
  type SourceRecord,
} from "./source.ts";
import { Problem } from "../../vocabulary/problem.ts";

const EVENT_TYPES = ["page_view", "add_to_cart", "purchase", "refund", "signup"];
// Weights out of 16, so that views are many and refunds few.
const EVENT_TYPE_OF = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4];
const COUNTRIES = ["ES", "MX", "AR", "CO", "US", "DE", "FR", "BR"];
const DEVICES = ["mobile", "desktop", "tablet", "tv"];
const CAMPAIGNS = [null, "spring", "newsletter", "referral"];
const FIRST_EVENT_MS = Date.UTC(2025, 0, 1);
const BATCH = 1_000;
const DEFAULT_CHUNK = 50_000;

/** 32-bit finaliser of MurmurHash3: integer arithmetic only, so the same everywhere. */
function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * The record at `index` (0 and up) of the given seed. About one record a
 * second of event time, starting on 2025-01-01.
 */
export function syntheticRecord(index: number, seed: number): SourceRecord {
  const low = index >>> 0;
  const high = Math.floor(index / 2 ** 32);
  // The constants keep zeros from mixing to zero.
  const a = mix((low + 0x9e3779b9) ^ mix((high + 0x85ebca6b) ^ mix(seed + 0xc2b2ae35)));
  const b = mix(a ^ 0x9e3779b9);
  const c = mix(b ^ 0x85157af5);
  const eventType = EVENT_TYPES[EVENT_TYPE_OF[a & 15]!]!;
  const paid = eventType === "purchase" || eventType === "refund";
  return {
    id: `evt-${seed}-${String(index).padStart(10, "0")}`,
    user_id: 1 + (b % 50_000),
    event_type: eventType,
    occurred_at: new Date(FIRST_EVENT_MS + index * 1_000 + (a >>> 8) % 1_000).toISOString(),
    amount: paid ? (100 + (c >>> 8) % 49_900) / 100 : 0,
    currency: "EUR",
    country: COUNTRIES[(a >>> 4) & 7]!,
    attributes: {
      device: DEVICES[(b >>> 16) & 3]!,
      campaign: CAMPAIGNS[(c >>> 4) & 3]!,
      items: paid ? 1 + (c & 7) : 0,
      returning: (b & 1) === 1,
    },
  };
}

/** Deterministic records; `ctx.maxRecords` (batch_size) says how many. Slices are index ranges. */
export const syntheticAdapter: SourceAdapter<SyntheticConf> = {
  mapping: { key: "id", event_type: { field: "event_type" }, occurred_at: "occurred_at" },
  defaultName: "synthetic",
  endless: true,
  atHand: true,
  // deno-lint-ignore require-await -- what is thrown is a rejection
  async plan(conf: SyntheticConf, ctx: PlanContext): Promise<Plan> {
    const records = ctx.maxRecords;
    if (records === undefined) {
      throw new Problem("invalid-conf", {
        detail: say("synthetic-endless", {}),
      });
    }
    const chunk = ctx.chunkSize ?? DEFAULT_CHUNK;
    refuseManySlices(records / chunk);
    const slices: Slice[] = [];
    for (let start = 0; start < records; start += chunk) {
      slices.push({ start, end: Math.min(start + chunk, records) });
    }
    return { pin: { seed: conf.seed, records }, slices, records, warnings: [] };
  },

  async *read(conf, slice, ctx) {
    const end = slice.end as number;
    for (let start = slice.start as number; start < end; start += BATCH) {
      ctx.signal.throwIfAborted();
      const batch = new Array<SourceRecord>(Math.min(BATCH, end - start));
      for (let i = 0; i < batch.length; i++) batch[i] = syntheticRecord(start + i, conf.seed);
      yield batch;
    }
  },
};
