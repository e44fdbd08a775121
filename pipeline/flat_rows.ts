import { hash } from "node:crypto";
import {
  compileMapping,
  countKeyText,
  type KeyTypes,
  type Mapping,
  type MappingConf,
  RowError,
} from "./mapping.ts";
import type { TypedTable } from "../store/row_layout.ts";
import { FlatTable } from "./flat_table.ts";
import { parsePath } from "./field_path.ts";
import {
  ESCAPED,
  type FlatRecords,
  type FlatShape,
  KIND,
  NULL,
  NUMBER,
  TEXT,
  TRUE,
  WIDE,
} from "./sources/flat_records.ts";
import { textAt } from "./short_texts.ts";
import { RowEncoder } from "./spill/row_encoder.ts";
import { keyHash, keyHashOfBytes, KeyLines, type MadeRows } from "./spill/writer.ts";
import { isStorableVersion, MAX_EVENT_ID_BYTES, MAX_EVENT_TYPE_LENGTH } from "./stages/validate.ts";

export interface FlatRowsOptions {
  mapping: MappingConf;
  sourceName: string;
  /** Bytes that a payload may have. */
  maxPayloadBytes: number;
  /** As which the rows count. */
  runId: string;
  chunkNo: number;
  /** The columns of a typed destination; null: the events table. */
  table: TypedTable | null;
  /** The column of an incremental source, whose nulls are counted. */
  cursor: string | undefined;
}

/** An order of members: their numbers, and what stands before each value. */
interface Order {
  members: Int32Array;
  prefixes: Uint8Array[];
  /** Bytes of all prefixes. */
  prefixBytes: number;
}

/** Where the fields of the mapping are among the names of a shape, and in which orders its members are written. */
interface Places {
  canonical: Order;
  /** That of jsonb, in which PostgreSQL need not sort them. */
  stored: Order;
  key: Int32Array;
  /** −1: none. */
  type: number;
  time: number;
  version: number;
  cursor: number;
}

/** The records have no such field. */
const MISSING = -2;

/** An event type, as it is stored and as JSON has it, with the bytes that were read. */
interface EventType {
  bytes: Uint8Array;
  text: string;
  json: Uint8Array;
}

const QUOTE = 34;
const BAR = 124;
const TYPES = 64;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

const HEAD = encoder.encode('{"event_id":"');
const EVENT_TYPE = encoder.encode('","event_type":');
const OCCURRED_AT = encoder.encode(',"occurred_at":');
const PAYLOAD = encoder.encode(',"payload":');
const NONE = encoder.encode("null");
const YES = encoder.encode("true");
const NO = encoder.encode("false");
/** Room for what has a length of its own: a time, a version, and what stands between. */
const REST_BYTES = 1_024;

/**
 * Makes finished rows of flat records (flat_records.ts) without an object or a text for each: what transform, validate and the
 * spill make of any other record. One that has something for them to look at ends the rows, and goes to them.
 */
export class FlatRows {
  readonly #options: FlatRowsOptions;
  readonly #mapping: Mapping;
  readonly #typed: FlatTable | null;
  readonly #keyNames: string[];
  readonly #type: { name: string } | EventType;
  readonly #time: string | null;
  readonly #version: string | null;
  readonly #tail: Uint8Array;
  /** Made with the first row: most small runs have no flat records. */
  #encoder!: RowEncoder;
  #lines!: KeyLines;
  readonly #places = new WeakMap<FlatShape, Places | null>();
  readonly #types: (EventType | undefined)[] = new Array(TYPES);
  /** The payload of the record in hand. */
  #payload = new Uint8Array(0);
  #payloadEnd = 0;
  /** Its event as canonical JSON. */
  #event = new Uint8Array(0);
  #at = 0;
  /** Its key: a place in bytes. */
  #keyBytes: Uint8Array = new Uint8Array(0);
  #keyFrom = 0;
  #keyTo = 0;
  #isWide = false;
  #ends = new Float64Array(0);
  #hashes = new Uint32Array(0);

  /** Null where no record is made so: its key has several versions, or it may be a deletion. */
  static of(options: FlatRowsOptions): FlatRows | null {
    const { mapping, sourceName } = options;
    if (mapping.history || mapping.deleted !== undefined && mapping.deleted !== null) return null;
    const { event_type: type = "record", occurred_at: time, version } = mapping;
    const names = [
      ...mapping.key === undefined ? [] : [mapping.key].flat(),
      ...typeof type === "string" ? [] : [type.field],
      ...time === undefined ? [] : [typeof time === "string" ? time : time.field],
      ...version === undefined ? [] : [version],
    ];
    if (names.some((path) => parsePath(path).length > 1)) return null;
    const texts = typeof type === "string" ? [type, sourceName] : [sourceName];
    if (texts.some((text) => !text.isWellFormed() || text.includes("\0"))) return null;
    if (typeof type === "string" && type.length > MAX_EVENT_TYPE_LENGTH) return null;
    const { table, maxPayloadBytes } = options;
    const typed = table === null ? null : FlatTable.of(table, { maxPayloadBytes });
    return table !== null && typed === null ? null : new FlatRows(options, typed);
  }

  private constructor(options: FlatRowsOptions, typed: FlatTable | null) {
    this.#options = options;
    this.#typed = typed;
    const { mapping, sourceName } = options;
    const { key, event_type: type = "record", occurred_at: time, version } = mapping;
    const nameOf = (path: string) => parsePath(path)[0]!;
    this.#mapping = compileMapping(mapping);
    this.#keyNames = key === undefined ? [] : [key].flat().map(nameOf);
    this.#type = typeof type === "string" ? eventType(type) : { name: nameOf(type.field) };
    this.#time = time === undefined ? null : nameOf(typeof time === "string" ? time : time.field);
    this.#version = version === undefined ? null : nameOf(version);
    this.#tail = encoder.encode(`,"source":${JSON.stringify(sourceName)},"version":`);
  }

  /**
   * Makes rows of the records from the first on, up to one that is for others; their events have positions from `position` on.
   * Adds to the counts what is told of records as they were read. The rows are valid until the next call.
   */
  make(
    flat: FlatRecords,
    position: number,
    counts: { key_types?: KeyTypes[]; cursor_nulls: number },
  ): MadeRows {
    const keyTypes = counts.key_types!;
    this.#encoder ??= new RowEncoder(this.#options);
    this.#lines ??= new KeyLines(this.#options.chunkNo);
    if (flat.count > this.#ends.length) {
      this.#ends = new Float64Array(flat.count);
      this.#hashes = new Uint32Array(flat.count * 2);
    }
    const { shapes } = flat;
    let shape: FlatShape | null = null;
    let places: Places | null = null;
    let count = 0;
    for (let member = 0; count < flat.count; count++) {
      if (shapes[count] !== shape) {
        shape = shapes[count]!;
        places = this.#placesOf(shape);
      }
      if (places === null || !this.#row(flat, shape!, { member, count, position }, places)) break;
      for (let i = 0; i < places.key.length; i++) {
        this.#countType(flat, member + places.key[i]!, keyTypes[i]!);
      }
      if (
        places.cursor >= 0 ? flat.kinds[member + places.cursor] === NULL : places.cursor === MISSING
      ) {
        counts.cursor_nulls++;
      }
      member += shape!.names.length;
    }
    return {
      count,
      rows: this.#encoder.take(),
      ends: this.#ends,
      keys: this.#lines.take(),
      hashes: this.#hashes,
    };
  }

  #placesOf(shape: FlatShape): Places | null {
    let places = this.#places.get(shape);
    if (places === undefined) this.#places.set(shape, places = this.#findPlaces(shape));
    return places;
  }

  #findPlaces({ names, nameBytes }: FlatShape): Places | null {
    const placeOf = (name: string | null) => name === null ? -1 : names.indexOf(name);
    const { cursor } = this.#options;
    const key = this.#keyNames.map(placeOf);
    const type = "name" in this.#type ? placeOf(this.#type.name) : -1;
    const [time, version] = [placeOf(this.#time), placeOf(this.#version)];
    const lacks = key.includes(-1) || "name" in this.#type && type < 0 ||
      this.#time !== null && time < 0 || this.#version !== null && version < 0;
    if (lacks) return null;
    const bytesOf = (name: string) => nameBytes[names.indexOf(name)]!;
    return {
      canonical: orderOf(names, [...names].sort()),
      stored: orderOf(
        names,
        [...names].sort((a, b) =>
          bytesOf(a).length - bytesOf(b).length || compareBytes(bytesOf(a), bytesOf(b))
        ),
      ),
      key: Int32Array.from(key),
      type,
      time,
      version,
      cursor: cursor === undefined ? -1 : names.includes(cursor) ? names.indexOf(cursor) : MISSING,
    };
  }

  #row(
    flat: FlatRecords,
    shape: FlatShape,
    { member, count, position }: { member: number; count: number; position: number },
    places: Places,
  ): boolean {
    const typed = this.#typed;
    if (typed !== null) {
      if (!typed.read(flat, shape, member)) return false;
      this.#setKey(typed.key, 0, typed.keyEnd, !typed.isPlainKey);
    } else {
      this.#writePayload(flat, member, places.canonical);
      if (this.#payloadEnd > this.#options.maxPayloadBytes) return false;
      if (!this.#readKey(flat, member, places)) return false;
    }
    const type = "name" in this.#type ? this.#typeAt(flat, member + places.type) : this.#type;
    if (type === null) return false;
    let occurredAt: string | null = null;
    if (places.time >= 0) {
      occurredAt = this.#mapped(flat, member + places.time, this.#time!, this.#mapping.occurredAt);
      if (occurredAt === null) return false;
    }
    let version: string | null = null;
    if (places.version >= 0) {
      version = this.#mapped(flat, member + places.version, this.#version!, this.#mapping.version);
      if (version === null || !isStorableVersion(version)) return false;
    }
    const fingerprint = typed === null
      ? this.#fingerprint(type, occurredAt, version)
      : typed.fingerprint(flat, version);
    if (fingerprint === null) return false;
    const [bytes, from, to] = [this.#keyBytes, this.#keyFrom, this.#keyTo];
    if (typed !== null) this.#encoder.appendFlatTyped(flat, typed, { fingerprint, version });
    else {
      this.#writePayload(flat, member, places.stored);
      this.#encoder.appendFlat({
        key: bytes,
        keyFrom: from,
        keyTo: to,
        eventType: type.text,
        occurredAt,
        version,
        payload: this.#payload,
        payloadEnd: this.#payloadEnd,
        fingerprint,
      });
    }
    this.#lines.appendBytes(bytes, from, to, fingerprint, version, position + count);
    this.#ends[count] = this.#encoder.size;
    if (this.#isWide) {
      keyHash(textAt(bytes, from, to, decoder), this.#hashes, count * 2);
    } else keyHashOfBytes(bytes, from, to, this.#hashes, count * 2);
    return true;
  }

  /** Writes a record's payload as JSON, its members in an order. */
  #writePayload(
    { bytes, starts, ends, kinds }: FlatRecords,
    member: number,
    { members, prefixes, prefixBytes }: Order,
  ): void {
    let needed = prefixBytes + members.length * 6 + 1;
    for (let i = 0; i < members.length; i++) needed += ends[member + i]! - starts[member + i]!;
    if (needed > this.#payload.length) this.#payload = new Uint8Array(needed * 2);
    const payload = this.#payload;
    let at = 0;
    for (let i = 0; i < members.length; i++) {
      const prefix = prefixes[i]!;
      for (let k = 0; k < prefix.length; k++) payload[at++] = prefix[k]!;
      const place = member + members[i]!;
      const kind = kinds[place]! & KIND;
      const [from, to] = [starts[place]!, ends[place]!];
      if (kind === NULL || kind >= TRUE) {
        const word = kind === NULL ? NONE : kind === TRUE ? YES : NO;
        for (let k = 0; k < word.length; k++) payload[at++] = word[k]!;
      } else {
        if (kind === TEXT) payload[at++] = QUOTE;
        for (let k = from; k < to; k++) payload[at++] = bytes[k]!;
        if (kind === TEXT) payload[at++] = QUOTE;
      }
    }
    payload[at++] = 125;
    this.#payloadEnd = at;
  }

  /** Finds the key of a record; false where others have to look at it. */
  #readKey(
    { bytes, starts, ends, kinds }: FlatRecords,
    member: number,
    { key }: Places,
  ): boolean {
    if (key.length === 0) {
      const text = hash("sha256", this.#payload.subarray(0, this.#payloadEnd), "hex");
      this.#setKey(encoder.encode(text), 0, text.length, false);
      return true;
    }
    if (key.length === 1) {
      const place = member + key[0]!;
      const kind = kinds[place]!;
      this.#setKey(bytes, starts[place]!, ends[place]!, (kind & WIDE) !== 0);
      return isKey(kind) && this.#keyTo > this.#keyFrom &&
        this.#keyTo - this.#keyFrom <= MAX_EVENT_ID_BYTES;
    }
    let size = key.length - 1;
    for (const each of key) size += ends[member + each]! - starts[member + each]!;
    if (size > MAX_EVENT_ID_BYTES) return false;
    const joined = new Uint8Array(size);
    let at = 0;
    let wide = false;
    for (let i = 0; i < key.length; i++) {
      const place = member + key[i]!;
      const kind = kinds[place]!;
      if (!isKey(kind) || starts[place] === ends[place]) return false;
      wide ||= (kind & WIDE) !== 0;
      if (i > 0) joined[at++] = BAR;
      for (let k = starts[place]!; k < ends[place]!; k++) {
        // it would be escaped
        if (bytes[k] === BAR) return false;
        joined[at++] = bytes[k]!;
      }
    }
    this.#setKey(joined, 0, size, wide);
    return true;
  }

  #setKey(bytes: Uint8Array, from: number, to: number, isWide: boolean): void {
    this.#keyBytes = bytes;
    this.#keyFrom = from;
    this.#keyTo = to;
    this.#isWide = isWide;
  }

  /** The event type that a member says; null where it says none. */
  #typeAt({ bytes, starts, ends, kinds }: FlatRecords, place: number): EventType | null {
    const [from, to, kind] = [starts[place]!, ends[place]!, kinds[place]!];
    if (from === to || !isKey(kind)) return null;
    const slot = (to - from + bytes[from]! * 31 + bytes[to - 1]! * 7) & (TYPES - 1);
    const known = this.#types[slot];
    if (known !== undefined && isSame(bytes, from, to, known.bytes)) return known;
    const { name } = this.#type as { name: string };
    const text = this.#tried(this.#mapping.eventType, {
      [name]: textAt(bytes, from, to, decoder),
    });
    if (text === null || text.length > MAX_EVENT_TYPE_LENGTH) return null;
    return this.#types[slot] = eventType(text, bytes.slice(from, to));
  }

  /** What the mapping says of a member; null where others have to look at it. */
  #mapped(
    { bytes, starts, ends, kinds }: FlatRecords,
    place: number,
    name: string,
    read: (record: { [name: string]: string | number }) => string | null,
  ): string | null {
    const kind = kinds[place]!;
    const text = textAt(bytes, starts[place]!, ends[place]!, decoder);
    if ((kind & (KIND | ESCAPED)) === TEXT) return this.#tried(read, { [name]: text });
    // of other numbers the digits count
    const isPlain = (kind & KIND) === NUMBER && `${Number(text)}` === text;
    return isPlain ? this.#tried(read, { [name]: Number(text) }) : null;
  }

  #tried<T extends { [name: string]: string | number }>(
    read: (record: T) => string | null,
    record: T,
  ): string | null {
    try {
      return read(record);
    } catch (error) {
      if (error instanceof RowError) return null;
      throw error;
    }
  }

  /** As eventFingerprint (stages/transform.ts) makes it. */
  #fingerprint(type: EventType, occurredAt: string | null, version: string | null): string {
    const needed = HEAD.length + this.#keyTo - this.#keyFrom + type.json.length +
      this.#payloadEnd + this.#tail.length + REST_BYTES;
    if (needed > this.#event.length) this.#event = new Uint8Array(needed * 2);
    this.#at = 0;
    this.#put(HEAD);
    const event = this.#event;
    let at = this.#at;
    for (let i = this.#keyFrom; i < this.#keyTo; i++) event[at++] = this.#keyBytes[i]!;
    this.#at = at;
    this.#put(EVENT_TYPE);
    this.#put(type.json);
    this.#put(OCCURRED_AT);
    if (occurredAt === null) this.#put(NONE);
    else {
      event[this.#at++] = QUOTE;
      this.#ascii(occurredAt);
      event[this.#at++] = QUOTE;
    }
    this.#put(PAYLOAD);
    event.set(this.#payload.subarray(0, this.#payloadEnd), this.#at);
    this.#at += this.#payloadEnd;
    this.#put(this.#tail);
    if (version === null) this.#put(NONE);
    else this.#ascii(version);
    event[this.#at++] = 125;
    return hash("sha256", event.subarray(0, this.#at), "hex");
  }

  #put(bytes: Uint8Array): void {
    const event = this.#event;
    let at = this.#at;
    for (let i = 0; i < bytes.length; i++) event[at++] = bytes[i]!;
    this.#at = at;
  }

  #ascii(text: string): void {
    const event = this.#event;
    for (let i = 0; i < text.length; i++) event[this.#at++] = text.charCodeAt(i);
  }

  #countType({ bytes, starts, ends, kinds }: FlatRecords, place: number, count: KeyTypes): void {
    const [kind, from, to] = [kinds[place]! & KIND, starts[place]!, ends[place]!];
    if (kind === NUMBER) count.numbers++;
    else if (kind >= TRUE) count.booleans++;
    else if (mayCount(bytes, from, to)) {
      countKeyText(textAt(bytes, from, to, decoder), count);
    }
  }
}

/** The members of a shape in the order of these names. */
function orderOf(given: readonly string[], names: string[]): Order {
  const prefixes = names.map((name, i) =>
    encoder.encode(`${i === 0 ? "{" : ","}${JSON.stringify(name)}:`)
  );
  return {
    members: Int32Array.from(names, (name) => given.indexOf(name)),
    prefixes,
    prefixBytes: prefixes.reduce((sum, { length }) => sum + length, 0),
  };
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return 0;
}

/** Whether a text may read as a number, true or false. */
function mayCount(bytes: Uint8Array, from: number, to: number): boolean {
  if (bytes[from]! > 57) return to - from === 4 || to - from === 5;
  for (let i = from; i < to; i++) if (bytes[i]! < 45 || bytes[i]! > 57) return false;
  return true;
}

/** Whether a value can be a key, or a type, as it stands there. */
function isKey(kind: number): boolean {
  return (kind & ESCAPED) === 0 && ((kind & KIND) === TEXT || kind === NUMBER);
}

function isSame(bytes: Uint8Array, from: number, to: number, other: Uint8Array): boolean {
  if (to - from !== other.length) return false;
  for (let i = 0; i < other.length; i++) if (bytes[from + i] !== other[i]) return false;
  return true;
}

function eventType(text: string, bytes = encoder.encode(text)): EventType {
  return { bytes, text, json: encoder.encode(JSON.stringify(text)) };
}
