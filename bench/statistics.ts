/** The middle value, or the mean of the two middle ones. Throws a RangeError without values. */
export function median(values: number[]): number {
  return quantile(values, 0.5);
}

/** The value below which a share (0 to 1) of the values lies, between two values linearly. */
export function quantile(values: number[], share: number): number {
  if (values.length === 0) throw new RangeError("There are no values to take a quantile of");
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)]!;
  return below + (sorted[Math.ceil(at)]! - below) * (at - Math.floor(at));
}

/** Rounded to three digits that count: 1234.5 → 1230, 0.012345 → 0.0123. */
export function rounded(value: number, digits = 3): number {
  return Number(value.toPrecision(digits));
}
