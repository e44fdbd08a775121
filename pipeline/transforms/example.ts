/**
 * An example of a transform module: `{"transform": "example"}` in a run's conf.
 * Copy it to a file of your own, in this directory or in ETL_TRANSFORMS_DIR.
 *
 * It works on the synthetic source, whose records look like this:
 *
 *     {
 *       "id": "evt-0-0000000003", "user_id": 41422, "event_type": "purchase",
 *       "occurred_at": "2025-01-01T00:00:03.170Z", "amount": 214.07, "currency": "EUR",
 *       "country": "ES", "attributes": { "device": "mobile", "items": 3, … }
 *     }
 */
import type { TransformFunction } from "../stages/transform.ts";

/**
 * What one record becomes. A transform module exports a function of this name.
 *
 * - null drops the record: it counts as filtered.
 * - an object is stored in place of the record; `key`, `event_type`,
 *   `occurred_at` and `version` of the source are read from it.
 * - a list makes several events. Each needs a key of its own.
 * - an error quarantines the record, with the error's message.
 *
 * It runs in several workers at once, and again for the same record after a
 * crash: it must give the same for the same record, so no clock, no random
 * numbers and no network. A change is used by the next run.
 */
export const transform: TransformFunction = (record) => {
  const { event_type, amount, attributes } = record;
  if (event_type === "page_view") return null;
  if (typeof amount !== "number") throw new Error(`amount is not a number: ${amount}`);

  const event = { ...record, amount_cents: Math.round(amount * 100) };
  const items = (attributes as { items?: number } | undefined)?.items ?? 0;
  if (event_type !== "purchase" || items < 2) return event;
  // a purchase of several items is stored with a second event about its basket
  return [event, {
    ...record,
    id: `${record.id}-basket`,
    event_type: "basket",
    amount_per_item_cents: Math.round(amount * 100 / items),
  }];
};
