import { say, verbatim } from "../../vocabulary/messages.ts";
import { MAX_DEPTH, rawText } from "../canonical.ts";
import type { Event, Rejected, Rejection } from "../event.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { areByValue, digitsOf, setDigits } from "../numbers.ts";
import { parseJson } from "../sources/json_text.ts";
import { type Json, type SourceRecord, Unreadable } from "../sources/source.ts";
import type { TransformedBatch } from "../stages/transform.ts";

/**
 * Records and events as they cross between a worker of ours and the host of a
 * module. Records go as JSON, which costs half of a structured clone; where JSON
 * would lose something (bigint), as a clone. Events come back as columns of
 * text. What comes back was made beside code that nobody knows, so each value
 * is checked before it is used.
 */
export interface PackedRecords {
  /** Null in the place of a record that the module does not see. */
  records: string | (SourceRecord | null)[];
  /** Digits that stand beside numbers, by index of the record; null where there are none. */
  digits: [number, Marks][] | null;
}

/** Digits of the numbers in a value, and in what it holds. */
interface Marks {
  own?: Record<string, string>;
  /** As setDigits takes it. */
  byValue?: boolean;
  within?: Record<string, Marks>;
}

export interface PackedEvents {
  positions: number[];
  outputs: number[];
  eventIds: string[];
  eventTypes: string[];
  occurredAts: (string | null)[];
  versions: (string | null)[];
  texts: string[];
  fingerprints: string[];
  /** Without `raw`, which the module never had in hand. */
  rejected: Omit<Rejected, "raw">[];
  /** What the module's own schema says of events, by index. */
  refused: [number, Rejection][];
}

/** Records for a host; what cannot cross is rejected here, with the position `start` of the first. */
export function packRecords(
  batch: (SourceRecord | Unreadable)[],
  start: number,
): { packed: PackedRecords; rejected: Rejected[] } {
  const rejected: Rejected[] = [];
  const digits: [number, Marks][] = [];
  let plain = true;
  let records: (SourceRecord | null)[] | null = null;
  for (let i = 0; i < batch.length; i++) {
    const record = batch[i]!;
    const look: Look = { plain: true, deep: false };
    const marks = record instanceof Unreadable ? undefined : lookAt(record, look, 0);
    if (record instanceof Unreadable || look.deep) {
      records ??= batch.slice() as SourceRecord[];
      records[i] = null;
      rejected.push(rejection(record, start + i));
      continue;
    }
    plain &&= look.plain;
    if (marks !== undefined) digits.push([i, marks]);
  }
  const crossing = records ?? batch as SourceRecord[];
  return {
    packed: {
      records: plain ? JSON.stringify(crossing) : [...crossing],
      digits: digits.length === 0 ? null : digits,
    },
    rejected,
  };
}

function rejection(record: SourceRecord | Unreadable, position: number): Rejected {
  if (record instanceof Unreadable) {
    const { rule, message, raw, field } = record;
    return { position, output: 0, rule, message, field, raw };
  }
  const message = say("too-deep", { n: MAX_DEPTH });
  return { position, output: 0, rule: "not_storable", message, field: null, raw: rawText(record) };
}

interface Look {
  /** Whether JSON loses nothing. */
  plain: boolean;
  deep: boolean;
}

function lookAt(value: Json, look: Look, depth: number): Marks | undefined {
  if (typeof value !== "object" || value === null) {
    if (typeof value === "number") look.plain &&= Number.isFinite(value);
    else if (typeof value === "bigint" || value === undefined) look.plain = false;
    return undefined;
  }
  if (depth > MAX_DEPTH) {
    look.deep = true;
    return undefined;
  }
  let marks: Marks | undefined;
  const own = digitsOf(value);
  if (own !== undefined) marks = { own: { ...own }, byValue: areByValue(value) };
  const list = Array.isArray(value);
  const names = list ? null : Object.keys(value);
  const count = list ? value.length : names!.length;
  for (let i = 0; i < count; i++) {
    const name = list ? i : names![i]!;
    const within = lookAt((value as SourceRecord)[name]!, look, depth + 1);
    if (within !== undefined) ((marks ??= {}).within ??= Object.create(null))[name] = within;
  }
  return marks;
}

/** The records of a batch, in the host; null where there is none for the module. */
export function unpackRecords({ records, digits }: PackedRecords): (SourceRecord | null)[] {
  const list = typeof records === "string"
    ? JSON.parse(records) as (SourceRecord | null)[]
    : records;
  for (const [index, marks] of digits ?? []) mark(list[index]!, marks);
  return list;
}

function mark(value: object, { own, within, byValue = false }: Marks): void {
  for (const name in own) setDigits(value, name, own[name]!, { byValue });
  for (const name in within) mark((value as Record<string, object>)[name]!, within[name]!);
}

/** Events for the way back, with what the module's schema says of them. */
export function packEvents(
  { events, rejected }: TransformedBatch,
  refused: [number, Rejection][],
): PackedEvents {
  const column = <T>(read: (event: Event) => T) => events.map(read);
  return {
    positions: column((event) => event.position),
    outputs: column((event) => event.output),
    eventIds: column((event) => event.eventId),
    eventTypes: column((event) => event.eventType),
    occurredAts: column((event) => event.occurredAt),
    versions: column((event) => event.version),
    texts: column((event) => event.text),
    fingerprints: column((event) => event.fingerprint),
    rejected: rejected.map(({ raw: _raw, ...rest }) => rest),
    refused,
  };
}

/** A host answered what no transform can make of the records. */
export class BadAnswer extends Problem {
  constructor(what: string) {
    super("transform-failed", {
      detail: say("host-changed", { what }),
    });
  }
}

/**
 * What a host made of records, whose first has position `start`. `excluded` are
 * those that it was not given.
 *
 * @throws {BadAnswer} where a value is not what it must be.
 */
export function unpackEvents(
  answer: unknown,
  { records, start, excluded, deletes = false }: {
    records: (SourceRecord | Unreadable)[];
    start: number;
    excluded: Rejected[];
    /** Whether there may be deletions, which have no fingerprint. */
    deletes?: boolean;
  },
): TransformedBatch {
  const columns = asObject(answer, "the answer");
  const positions = asList(columns.positions, "positions");
  const count = positions.length;
  const list = (name: keyof PackedEvents) => {
    const values = asList(columns[name], name);
    if (values.length !== count) throw new BadAnswer(`${name} has ${values.length} of ${count}`);
    return values;
  };
  const outputs = list("outputs");
  const eventIds = list("eventIds");
  const eventTypes = list("eventTypes");
  const occurredAts = list("occurredAts");
  const versions = list("versions");
  const texts = list("texts");
  const fingerprints = list("fingerprints");
  const had = new Uint8Array(records.length);
  for (const { position } of excluded) had[position - start] = EXCLUDED;
  const at = (value: unknown) => {
    const index = asCount(value, "a position") - start;
    if (index < 0 || index >= records.length || had[index] === EXCLUDED) {
      throw new BadAnswer(`there is no record ${value}`);
    }
    had[index] = 1;
    return index;
  };
  const events: HostedEvent[] = [];
  let extra = 0;
  for (let i = 0; i < count; i++) {
    const index = at(positions[i]);
    const output = asCount(outputs[i], "an output");
    if (output > 0) extra++;
    events.push(
      new HostedEvent(records[index] as SourceRecord, {
        position: start + index,
        output,
        eventId: asText(eventIds[i], "event_id"),
        eventType: asText(eventTypes[i], "event_type"),
        occurredAt: matching(occurredAts[i], TIME, "occurred_at"),
        version: matching(versions[i], DECIMAL, "version"),
        text: asText(texts[i], "payload"),
        fingerprint: deletes && fingerprints[i] === ""
          ? ""
          : matching(fingerprints[i], SHA256, "fingerprint")!,
      }),
    );
  }
  const rejected = asList(columns.rejected, "rejected").map((each): Rejected => {
    const { position, output, rule, message, field, key } = asObject(each, "a rejected record");
    const index = at(position);
    const number = asCount(output, "an output");
    if (number > 0) extra++;
    return {
      position: start + index,
      output: number,
      rule: asText(rule, "a rule").slice(0, 100),
      message: verbatim(asText(message, "a message").slice(0, 1000)),
      field: field === null ? null : asText(field, "a field"),
      raw: rawText(records[index] as SourceRecord),
      ...(key === undefined ? {} : { key: asText(key, "a key") }),
    };
  });
  for (const each of asList(columns.refused, "refused")) {
    const [index, refusal] = asList(each, "a refusal");
    const event = events[asCount(index, "a refusal")];
    if (event === undefined) throw new BadAnswer(`there is no event ${index}`);
    const { rule, message } = asObject(refusal, "a refusal");
    event.refused = {
      rule: asText(rule, "a rule").slice(0, 200),
      message: verbatim(asText(message, "a message").slice(0, 1000)),
    };
  }
  rejected.push(...excluded);
  rejected.sort((a, b) => a.position - b.position || a.output - b.output);
  return { events, rejected, filtered: had.filter((each) => each === 0).length, extra };
}

const EXCLUDED = 2;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/;
const DECIMAL = /^-?(\d+(\.\d+)?([eE][+-]?\d{1,3})?|NaN|Infinity)$/;
const SHA256 = /^[0-9a-f]{64}$/;

function asObject(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  throw new BadAnswer(`${what} is not an object`);
}

function asList(value: unknown, what: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw new BadAnswer(`${what} is not a list`);
}

function asText(value: unknown, what: string): string {
  if (typeof value === "string") return value;
  throw new BadAnswer(`${what} is not text`);
}

function asCount(value: unknown, what: string): number {
  if (Number.isSafeInteger(value) && value as number >= 0) return value as number;
  throw new BadAnswer(`${what} is not a number`);
}

function matching(value: unknown, pattern: RegExp, what: string): string | null {
  if (value === null && pattern !== SHA256) return null;
  if (typeof value === "string" && pattern.test(value)) return value;
  throw new BadAnswer(`${what} is not written as it must be`);
}

/** An event whose payload was made in a host: read from its text where somebody asks for it. */
class HostedEvent implements Event {
  readonly position: number;
  readonly output: number;
  readonly eventId: string;
  readonly eventType: string;
  readonly occurredAt: string | null;
  readonly version: string | null;
  readonly text: string;
  readonly fingerprint: string;
  refused?: Rejection;
  readonly deletes: boolean;
  readonly #record: SourceRecord;
  #payload: SourceRecord | undefined;

  constructor(record: SourceRecord, parts: Omit<Event, "payload" | "raw">) {
    this.#record = record;
    this.position = parts.position;
    this.output = parts.output;
    this.eventId = parts.eventId;
    this.eventType = parts.eventType;
    this.occurredAt = parts.occurredAt;
    this.version = parts.version;
    this.text = parts.text;
    this.fingerprint = parts.fingerprint;
    this.deletes = parts.fingerprint === "";
  }

  get payload(): SourceRecord {
    if (this.#payload !== undefined) return this.#payload;
    let value: Json;
    try {
      value = parseJson(this.text);
    } catch {
      throw new BadAnswer("a payload is not JSON");
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new BadAnswer("a payload is not an object");
    }
    return this.#payload = value;
  }

  get raw(): string {
    return rawText(this.#record);
  }
}
