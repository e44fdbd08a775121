import type { Measure, Row } from "../bench.ts";
import { HOSTILE_TEXTS, readingMs } from "../hostile_texts.ts";

const MAX_BYTES = 8 << 20;
const MAX_MS = 1_000;
/** Eight is linear, 64 quadratic. */
const MAX_RATIO = 10;
/** What takes less is no matter of proportion: most of it is the collection of garbage. */
const SHORT_MS = 200;

export const hostile: Measure = {
  name: "hostile",
  about: "every parser of what others send, on the worst text of its kind: 8 MiB against 1 MiB",
  run: () => Promise.resolve(HOSTILE_TEXTS.map(measured)),
};

function measured(each: typeof HOSTILE_TEXTS[number]): Row {
  const bytes = Math.min(MAX_BYTES, each.maxBytes ?? MAX_BYTES);
  // eight of them, so that as much garbage is collected while as much is alive
  const small = readingMs(each, bytes / 8, { times: 8 }) / 8;
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
