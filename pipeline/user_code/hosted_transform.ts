import type { z } from "zod";
import type { PayloadCheck, Rejection } from "../expectations/payload_schema.ts";
import type { MappingConf } from "../mapping.ts";
import { Unreadable } from "../sources/source.ts";
import { Transformer, type TransformFunction } from "../stages/transform.ts";
import { type PackedEvents, type PackedRecords, packEvents, unpackRecords } from "./crossing.ts";

/**
 * A transform module in its host. Its export `transform` (or default) maps
 * records; its export `schema`, a zod schema, says what a payload must be after that.
 */
export class HostedTransform {
  readonly #transformer: Transformer;
  readonly #check: PayloadCheck | undefined;
  /** Whether the module exports either. */
  readonly exports: boolean;

  constructor(
    module: Record<string, unknown>,
    { mapping, sourceName }: { mapping: MappingConf; sourceName: string },
  ) {
    const transform = module.transform ?? module.default;
    const { schema } = module;
    const isFunction = typeof transform === "function";
    const isSchema = typeof (schema as { safeParse?: unknown } | null)?.safeParse === "function";
    this.#check = isSchema ? zodPayloadCheck(schema as z.ZodType) : undefined;
    this.exports = isFunction || this.#check !== undefined;
    this.#transformer = new Transformer({
      mapping,
      sourceName,
      transform: isFunction ? transform as TransformFunction : undefined,
    });
  }

  get position(): number {
    return this.#transformer.position;
  }

  batch(packed: PackedRecords, start: number): PackedEvents {
    const records = unpackRecords(packed).map((record) => record ?? UNREADABLE);
    const batch = this.#transformer.batch(records, start);
    // whoever asked has them, too
    batch.rejected = batch.rejected.filter(({ rule }) => rule !== UNREADABLE.rule);
    const refused: [number, Rejection][] = [];
    if (this.#check !== undefined) {
      for (const [i, { payload }] of batch.events.entries()) {
        const rejection = this.#check(payload);
        if (rejection !== null) refused.push([i, rejection]);
      }
    }
    return packEvents(batch, refused);
  }
}

/** Stands where a record is not for the module. */
const UNREADABLE = new Unreadable("not for the module", "", "");

/** A check of payloads by a zod schema. */
export function zodPayloadCheck(schema: z.ZodType): PayloadCheck {
  return (record) => {
    const result = schema.safeParse(record);
    if (result.success) return null;
    const issue = result.error.issues[0]!;
    const at = issue.path.map(String).join(".");
    return {
      rule: `payload_schema:${issue.code}`,
      message: at ? `${at}: ${issue.message}` : issue.message,
    };
  };
}
