import { say, verbatim } from "../../vocabulary/messages.ts";
import { hash } from "node:crypto";
import { Canonicalizer, rawText } from "../canonical.ts";
import type { Event, Rejected } from "../event.ts";
import { compileMapping, type Mapping, type MappingConf, RowError } from "../mapping.ts";
import { keepDigits, readDigits } from "../numbers.ts";
import { type SourceRecord, Unreadable } from "../sources/source.ts";

/**
 * A transform module's function: what one record becomes. Null, undefined or an
 * empty list drop the record; several outputs make several events. It must give
 * the same for the same record whenever it runs, since a chunk may be prepared
 * again after a crash. What it throws quarantines the record.
 */
export type TransformFunction = (
  record: SourceRecord,
) => SourceRecord | SourceRecord[] | null | undefined;

export interface TransformOptions {
  mapping: MappingConf;
  /** Owner of the rows, part of each event. */
  sourceName: string;
  /**
   * Whether the destination is a typed table: its rows are made of the record (typed_rows.ts), key and
   * fingerprint too, so an event needs neither. Default false.
   */
  typed?: boolean;
  /**
   * The user's own module, if any; only in its host (user_code). What is made of
   * a record by it has no `raw`.
   */
  transform?: TransformFunction | undefined;
}

/** What became of a batch of records. */
export interface TransformedBatch {
  events: Event[];
  rejected: Rejected[];
  /** Records that the transform dropped. */
  filtered: number;
  /** Outputs beyond the first of a record. */
  extra: number;
}

/** The transform stage: normalises, enriches and fingerprints records. */
export class Transformer {
  readonly #mapping: Mapping;
  readonly #transform: TransformFunction | undefined;
  readonly #canonical = new Canonicalizer();
  readonly #sourceText: string;
  readonly #typed: boolean;
  /** Of the record that the module has in hand, or had last. */
  position = 0;

  constructor(options: TransformOptions) {
    this.#mapping = compileMapping(options.mapping);
    this.#transform = options.transform;
    this.#sourceText = JSON.stringify(options.sourceName);
    this.#typed = options.typed ?? false;
  }

  /** Transforms a batch whose first record has index `start` in its chunk. */
  batch(records: (SourceRecord | Unreadable)[], start: number): TransformedBatch {
    const result: TransformedBatch = { events: [], rejected: [], filtered: 0, extra: 0 };
    for (let i = 0; i < records.length; i++) {
      const record = records[i]!;
      if (record instanceof Unreadable) {
        const { rule, message, raw, field } = record;
        result.rejected.push({ position: start + i, output: 0, rule, message, field, raw });
      } else if (this.#transform === undefined) {
        this.#one(record, record, start + i, 0, result);
      } else {
        this.#outputs(record, start + i, result);
      }
    }
    return result;
  }

  #outputs(record: SourceRecord, position: number, result: TransformedBatch): void {
    let outputs: SourceRecord[];
    // the module may change the record it is given; whoever holds what was read fills it in
    const raw = "";
    this.position = position;
    const digits = readDigits(record);
    try {
      outputs = asRecords(this.#transform!(record));
      if (digits !== undefined) { for (const output of outputs) keepDigits(digits, output); }
    } catch (error) {
      if (error instanceof ReturnedPromise) throw error;
      result.rejected.push({
        position,
        output: 0,
        rule: error instanceof RowError ? error.rule : "transform_error",
        message: say("transform-threw", { error: errorText(error).slice(0, 500) }),
        field: null,
        raw,
      });
      return;
    }
    // what is dropped or extra is counted where the answer is checked (user_code/crossing.ts)
    if (outputs.length === 0) return;
    const first = result.events.length;
    for (let output = 0; output < outputs.length; output++) {
      this.#one(outputs[output]!, raw, position, output, result);
    }
    if (outputs.length > 1) this.#rejectSameKeys(first, raw, result);
  }

  #one(
    payload: SourceRecord,
    raw: SourceRecord | string,
    position: number,
    output: number,
    result: TransformedBatch,
  ): void {
    let key: string | undefined;
    try {
      if (this.#typed) {
        result.events.push(this.#forTable(payload, position, output));
        return;
      }
      const text = this.#canonical.text(payload);
      const eventId = key = this.#mapping.eventId?.(payload) ?? hash("sha256", text, "hex");
      if (this.#mapping.isDeletion?.(payload)) {
        result.events.push({
          position,
          output,
          eventId,
          eventType: "deleted",
          occurredAt: null,
          version: this.#mapping.version(payload),
          payload,
          text,
          raw: typeof raw === "string" ? raw : null,
          fingerprint: "",
          deletes: true,
        });
        return;
      }
      const eventType = this.#mapping.eventType(payload);
      const occurredAt = this.#mapping.occurredAt(payload);
      const version = this.#mapping.version(payload);
      const fingerprint = eventFingerprint({
        eventId,
        eventType,
        occurredAt,
        version,
        text,
        sourceText: this.#sourceText,
      });
      result.events.push({
        position,
        output,
        eventId,
        eventType,
        occurredAt,
        version,
        payload,
        text,
        raw: typeof raw === "string" ? raw : null,
        fingerprint,
      });
    } catch (error) {
      const rule = ruleOf(error);
      if (rule === null) throw error;
      result.rejected.push({
        position,
        output,
        rule,
        message: verbatim((error as Error).message),
        field: error instanceof RowError ? error.field : null,
        raw: typeof raw === "string" ? raw : rawText(raw),
        ...(key === undefined ? {} : { key }),
      });
    }
  }

  #forTable(payload: SourceRecord, position: number, output: number): Event {
    const mapping = this.#mapping;
    const event = new TableEvent(payload, position, output);
    if (mapping.isDeletion?.(payload)) {
      event.deletes = true;
      event.version = mapping.version(payload);
      return event;
    }
    event.eventType = mapping.eventType(payload);
    event.occurredAt = mapping.occurredAt(payload);
    event.version = mapping.version(payload);
    // a record without a key is told by what it is
    if (mapping.eventId === null) {
      event.eventId = hash("sha256", this.#canonical.text(payload), "hex");
    }
    return event;
  }

  /** Outputs of one record must not fall on each other: neither could be said to win. */
  #rejectSameKeys(first: number, raw: string, result: TransformedBatch): void {
    const outputs = result.events.slice(first);
    const seen = Map.groupBy(outputs, (event) => event.eventId);
    if (seen.size === outputs.length) return;
    result.events.length = first;
    for (const event of outputs) {
      if (seen.get(event.eventId)!.length === 1) {
        result.events.push(event);
        continue;
      }
      result.rejected.push({
        position: event.position,
        output: event.output,
        rule: "same_key",
        message: say("several-outputs", { key: event.eventId.slice(0, 100) }),
        field: null,
        raw,
        key: event.eventId,
      });
    }
  }
}

/** An event on its way into a typed table, which gives it key and fingerprint; its JSON is made where somebody asks. */
class TableEvent implements Event {
  eventId = "";
  eventType = "";
  occurredAt: string | null = null;
  version: string | null = null;
  fingerprint = "";
  declare row?: (string | null)[];
  declare deletes?: boolean;

  constructor(
    readonly payload: SourceRecord,
    readonly position: number,
    readonly output: number,
  ) {}

  get text(): string {
    return new Canonicalizer().text(this.payload);
  }

  get raw(): string {
    return rawText(this.payload);
  }
}

/** The rule that a record breaks when mapping it throws this; null where it is no fault of the record. */
export function ruleOf(error: unknown): string | null {
  if (error instanceof RowError) return error.rule;
  if (error instanceof TypeError) return "not_json";
  // also what the engine throws when a record's nesting exhausts its stack
  return error instanceof RangeError ? "not_storable" : null;
}

/** What was thrown, in words; a module may throw anything. */
function errorText(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message) : String(error);
  } catch {
    return "it threw what cannot be shown";
  }
}

/** A fault of the module and of no record: every record would be rejected for it. */
class ReturnedPromise extends Error {
  override readonly message =
    "transform() returned a promise: return the record, not a promise (no `async`, nothing to wait for)";
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}

function asRecords(output: ReturnType<TransformFunction>): SourceRecord[] {
  if (output === null || output === undefined) return [];
  if (isThenable(output)) {
    Promise.resolve(output).catch(() => {});
    throw new ReturnedPromise();
  }
  const outputs = Array.isArray(output) ? output : [output];
  for (const value of outputs) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new RowError(
        "transform_output",
        say("transform-output", {}),
      );
    }
  }
  return outputs;
}

/** SHA-256 in hex of the canonical JSON of an event; `sourceText` is its source's name as JSON. */
export function eventFingerprint(
  { eventId, eventType, occurredAt, version, text, sourceText }:
    & Pick<Event, "eventId" | "eventType" | "occurredAt" | "version" | "text">
    & { sourceText: string },
): string {
  return hash(
    "sha256",
    // keys in order, the payload as it is
    `{"event_id":${JSON.stringify(eventId)},"event_type":${JSON.stringify(eventType)},` +
      `"occurred_at":${occurredAt === null ? "null" : `"${occurredAt}"`},"payload":${text},` +
      `"source":${sourceText},"version":${version ?? "null"}}`,
    "hex",
  );
}
