import assert from "node:assert/strict";
import { isoTimestamp, type TimeUnit } from "../../pipeline/sources/local/parquet_values.ts";
import { random } from "../helpers/random.ts";

const NANOS: Record<TimeUnit, bigint> = {
  SECONDS: 1_000_000_000n,
  MILLIS: 1_000_000n,
  MICROS: 1_000n,
  NANOS: 1n,
};

Deno.test("times of Parquet and Arrow have all their digits, whatever their unit and however large they are", () => {
  const pick = random(1);
  for (const [unit, nanos] of Object.entries(NANOS) as [TimeUnit, bigint][]) {
    const most = 8_640_000_000_000_000_000_000n / nanos;
    const digits = { SECONDS: 3, MILLIS: 3, MICROS: 6, NANOS: 9 }[unit];
    const edges = [0n, 1n, 2n ** 53n - 1n, 2n ** 53n, 9_007_199_254_000_000n - 1n, most].filter((
      v,
    ) => v <= most);
    const values = Array.from({ length: 5_000 }, () => {
      const far = most / 10n ** BigInt(pick(14));
      // around whole seconds, too
      const value = BigInt(pick(2 ** 31)) * BigInt(pick(2 ** 31)) * BigInt(pick(2 ** 31)) %
        (far + 1n);
      return pick(3) > 0 ? value : value - value % (1_000_000_000n / nanos) - BigInt(pick(2));
    });
    for (const value of [...edges, ...values].flatMap((v) => [v, -v])) {
      const exact = Temporal.Instant.fromEpochNanoseconds(value * nanos).toString({
        fractionalSecondDigits: digits as 3,
      });
      const expected = exact.replace(/(\.\d{3})0*Z$/, "$1Z").replace(
        /(\.\d{4,})Z$/,
        (_, part) => `${part.padEnd(digits + 1, "0")}Z`,
      );
      assert.equal(isoTimestamp(value, { unit, utc: true }), expected, `${value} ${unit}`);
      assert.equal(isoTimestamp(value, { unit, utc: false }), expected.slice(0, -1));
    }
  }
});
