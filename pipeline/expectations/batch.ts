import type { SourceRecord } from "../numbers.ts";
import { type Condition, selectRows } from "./condition.ts";

/** The columns of an event beside its payload; they shadow payload fields of the same name. */
export interface EventColumns {
  /** Column event_id. */
  eventId: string;
  /** Column event_type. */
  eventType: string;
  /** Column occurred_at: ISO 8601 in UTC, or null. */
  occurredAt: string | null;
}

const EVENT_COLUMNS: ReadonlyMap<string, keyof EventColumns> = new Map([
  ["event_id", "eventId"],
  ["event_type", "eventType"],
  ["occurred_at", "occurredAt"],
]);

/** Whether a column is one of the event's own and not of its payload. */
export function isEventColumn(column: string): boolean {
  return EVENT_COLUMNS.has(column);
}

/**
 * The parts of a column's path: names joined by dots, array positions as
 * numbers, a dot inside a name as `\.`.
 */
export function splitPath(path: string): string[] {
  const parts: string[] = [];
  let part = "";
  for (let i = 0; i < path.length; i++) {
    if (path[i] === "\\" && (path[i + 1] === "." || path[i + 1] === "\\")) part += path[++i];
    else if (path[i] === ".") {
      parts.push(part);
      part = "";
    } else part += path[i];
  }
  return [...parts, part];
}

/** Names that every object seems to have through its prototype. */
const INHERITED = new Set(Object.getOwnPropertyNames(Object.prototype));

/**
 * About a thousand records seen column by column. Values of a column are
 * fetched once, when the first expectation asks for them; missing fields and
 * NaN are null. One instance is loaded again and again.
 */
export class Batch {
  count = 0;
  records: readonly SourceRecord[] = [];
  /** Number of the first record within its chunk, from 0. */
  startPosition = 0;
  #events: readonly EventColumns[] | undefined;
  #columns = new Map<string, Column>();
  #rows = new Map<Condition, { rows: Uint8Array; mistyped: boolean } | undefined>();

  load(
    records: readonly SourceRecord[],
    options: { events?: readonly EventColumns[] | undefined; startPosition?: number } = {},
  ): void {
    this.records = records;
    this.count = records.length;
    this.startPosition = options.startPosition ?? 0;
    this.#events = options.events;
    for (const column of this.#columns.values()) column.filled = false;
    for (const condition of this.#rows.keys()) this.#rows.set(condition, undefined);
  }

  /** Values by row; only the first `count` are of this batch. */
  column(path: string): readonly unknown[] {
    return this.#column(path).values;
  }

  /** Whether any record of the batch has the field, be it null. */
  has(path: string): boolean {
    return this.#column(path).present;
  }

  /** Rows that a condition selects. */
  select(condition: Condition): { rows: Uint8Array; mistyped: boolean } {
    let selected = this.#rows.get(condition);
    if (selected === undefined) {
      selected = selectRows(condition, {
        count: this.count,
        values: (column) => this.column(column),
      });
      this.#rows.set(condition, selected);
    }
    return selected;
  }

  #column(path: string): Column {
    let column = this.#columns.get(path);
    if (column === undefined) this.#columns.set(path, column = new Column(path));
    if (!column.filled) column.fill(this.records, this.#events);
    return column;
  }
}

class Column {
  filled = false;
  present = false;
  readonly values: unknown[] = [];
  readonly #path: string;
  readonly #parts: string[];
  readonly #own: boolean;

  constructor(path: string) {
    this.#path = path;
    this.#parts = splitPath(path);
    this.#own = this.#parts.some((part) => INHERITED.has(part));
  }

  fill(records: readonly SourceRecord[], events: readonly EventColumns[] | undefined): void {
    this.filled = true;
    if (events !== undefined && isEventColumn(this.#path)) this.#fillFromEvents(events);
    else if (this.#parts.length === 1 && !this.#own) this.#fillFlat(records, this.#parts[0]!);
    else this.#fillNested(records);
  }

  #fillFlat(records: readonly SourceRecord[], name: string): void {
    const values = this.values;
    let present = false;
    for (let i = 0; i < records.length; i++) {
      const value: unknown = records[i]![name];
      if (value === undefined) values[i] = null;
      else {
        present = true;
        values[i] = value !== value ? null : value;
      }
    }
    this.present = present;
  }

  #fillNested(records: readonly SourceRecord[]): void {
    const values = this.values;
    const parts = this.#parts;
    const depth = parts.length;
    let present = false;
    for (let i = 0; i < records.length; i++) {
      const record = records[i]!;
      let value: unknown = record;
      for (let k = 0; k < depth; k++) {
        const part = parts[k]!;
        if (typeof value !== "object" || value === null) {
          value = undefined;
          break;
        }
        value = (value as Record<string, unknown>)[part];
      }
      // A flat record, e.g. of CSV, may have the dots in the name itself.
      if (value === undefined && depth > 1 && Object.hasOwn(record, this.#path)) {
        value = record[this.#path];
      }
      // what every object inherits is a function
      if (value !== undefined && typeof value !== "function") {
        present = true;
        values[i] = value !== value ? null : value;
      } else values[i] = null;
    }
    this.present = present;
  }

  #fillFromEvents(events: readonly EventColumns[]): void {
    const name = EVENT_COLUMNS.get(this.#path)!;
    for (let i = 0; i < events.length; i++) this.values[i] = events[i]![name];
    this.present = events.length > 0;
  }
}
