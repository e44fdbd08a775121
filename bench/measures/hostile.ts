import type { Measure, Row } from "../bench.ts";
import { HOSTILE_TEXTS, readingMs } from "../hostile_texts.ts";

const MAX_BYTES = 8 << 20;
const MAX_MS = 1_000;
/** Eight, and half as much again for garbage, whose collection costs more the more is alive; 64 is quadratic. */
const MAX_RATIO = 12;
/** What takes less is no matter of proportion. */
const SHORT_MS = 100;

export const hostile: Measure = {
  name: "hostile",
  about: "every parser of what others send, on the worst text of its kind: 8 MiB against 1 MiB",
  run: () => Promise.resolve(HOSTILE_TEXTS.map(measured)),
};

function measured(each: typeof HOSTILE_TEXTS[number]): Row {
  const bytes = Math.min(MAX_BYTES, each.maxBytes ?? MAX_BYTES);
  const small = readingMs(each, bytes / 8);
  const large = readingMs(each, bytes);
  const ratio = large / small;
  return {
    measure: `${each.name} (${bytes.toLocaleString("en-US")} bytes)`,
    baseline: small,
    ours: large,
    unit: "ms",
    ratio,
    target: `≤ ${MAX_MS} ms, ≤ ${MAX_RATIO} × an eighth of it`,
    ok: large <= MAX_MS && (ratio <= MAX_RATIO || large <= SHORT_MS),
  };
}
