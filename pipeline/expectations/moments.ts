import type { Accumulator, AccumulatorKind, State } from "./accumulators.ts";
import type { Batch } from "./batch.ts";
import type { Condition } from "./condition.ts";

/**
 * What sum, mean and standard deviation of a column's numbers need, without any
 * rounding: the same values give the same answer to the last digit, however
 * they are divided into chunks.
 */
export interface MomentsState extends State {
  nonnull: number;
  mistyped: number;
  /** Whether all numbers are integers whose digits are all known. */
  whole: boolean;
  /** Sum of the infinite numbers, 0 without any; as text, since JSON has no infinities. */
  infinite: string;
  sum: StoredSum;
  /** Of the squares of the numbers. */
  squares: StoredSum;
}

/** The exact sum of all three members. */
interface StoredSum {
  /** Numbers that do not overlap (an expansion of Shewchuk's): each is less than the last digit of the next. */
  parts: number[];
  /** Of integers beyond 2^53. */
  integers: string;
  /** Of numbers so large or small that doubles overflow on the way, in units of 2^-1074 or 2^-2148. */
  extremes: string;
}

/** The smallest double is 2^-UNIT_BITS, and every double a multiple of it. */
const UNIT_BITS = 1074n;
/** Squares of numbers between these, and what rounding loses of them, are doubles of full precision. */
const LARGEST = 2 ** 480;
const SMALLEST = 2 ** -450;
/** Integers up to here are squared and summed up as they are, up to MAX_PLAIN. */
const MAX_PLAIN_ROOT = 2 ** 26;
const MAX_PLAIN = 2 ** 52;

export function momentsKind(
  column: string,
  condition: Condition | undefined,
): AccumulatorKind {
  return {
    create: () => new Moments(column, condition),
    merge: (a, b) => mergeMoments(a as MomentsState, b as MomentsState),
  };
}

/** The sum: a bigint where all numbers are integers and it is beyond 2^53. */
export function totalOf(state: MomentsState): number | bigint {
  const infinite = Number(state.infinite);
  if (infinite !== 0) return infinite;
  const total = unitsOf(state.sum, UNIT_BITS);
  const double = ratio(total, 1n << UNIT_BITS);
  return state.whole && !Number.isSafeInteger(double) ? total >> UNIT_BITS : double;
}

/** The mean; null without numbers. */
export function meanOf(state: MomentsState): number | null {
  if (state.nonnull === 0) return null;
  const total = Number(totalOf(state));
  if (!Number.isFinite(total)) return total;
  return ratio(unitsOf(state.sum, UNIT_BITS), BigInt(state.nonnull) << UNIT_BITS);
}

/**
 * The standard deviation of a sample; null for less than two numbers and where
 * one is infinite, infinite where the sum or a square is beyond a double.
 */
export function deviationOf(state: MomentsState): number | null {
  if (state.nonnull < 2 || Number(state.infinite) !== 0) return null;
  if (!Number.isFinite(Number(totalOf(state)))) return Infinity;
  const n = BigInt(state.nonnull);
  const sum = unitsOf(state.sum, UNIT_BITS);
  const squares = unitsOf(state.squares, 2n * UNIT_BITS);
  const deviations = ratio(n * squares - sum * sum, n << (2n * UNIT_BITS));
  return Math.sqrt(deviations / (state.nonnull - 1));
}

class Moments implements Accumulator {
  readonly #column: string;
  readonly #condition: Condition | undefined;
  readonly #sum = new ExactSum();
  readonly #squares = new ExactSum();
  #nonnull = 0;
  #mistyped = 0;
  #whole = true;
  #infinite = 0;

  constructor(column: string, condition: Condition | undefined) {
    this.#column = column;
    this.#condition = condition;
  }

  observe(batch: Batch): void {
    const rows = this.#condition && batch.select(this.#condition).rows;
    const values = batch.column(this.#column);
    let plainSum = 0;
    let plainSquares = 0;
    for (let i = 0; i < batch.count; i++) {
      if (rows !== undefined && rows[i] === 0) continue;
      const value = values[i];
      if (value === null) continue;
      this.#nonnull++;
      const number = typeof value === "boolean" ? +value : value;
      if (typeof number === "number") {
        if (Number.isInteger(number) && number <= MAX_PLAIN_ROOT && number >= -MAX_PLAIN_ROOT) {
          plainSum += number;
          plainSquares += number * number;
          if (plainSquares > MAX_PLAIN) {
            this.#sum.add(plainSum);
            this.#squares.add(plainSquares);
            plainSum = plainSquares = 0;
          }
        } else this.#add(number);
      } else if (typeof number === "bigint") {
        this.#sum.integers += number;
        this.#squares.integers += number * number;
      } else {
        this.#nonnull--;
        this.#mistyped++;
      }
    }
    this.#sum.add(plainSum);
    this.#squares.add(plainSquares);
  }

  #add(number: number): void {
    if (!Number.isSafeInteger(number)) this.#whole = false;
    const size = Math.abs(number);
    if (size === Infinity) this.#infinite += number;
    else if (size > LARGEST || size < SMALLEST) {
      const units = unitsOfDouble(number);
      this.#sum.extremes += units;
      this.#squares.extremes += units * units;
    } else {
      this.#sum.add(number);
      const square = number * number;
      // What rounding lost of the square, by the halves of the digits (Dekker).
      const shifted = 134217729 * number;
      const high = shifted - (shifted - number);
      const low = number - high;
      this.#squares.add(square);
      this.#squares.add(low * low - (square - high * high - 2 * high * low));
    }
  }

  state(): MomentsState {
    return {
      nonnull: this.#nonnull,
      mistyped: this.#mistyped,
      whole: this.#whole,
      infinite: String(this.#infinite),
      sum: this.#sum.stored(),
      squares: this.#squares.stored(),
    };
  }
}

function mergeMoments(a: MomentsState, b: MomentsState): MomentsState {
  return {
    nonnull: a.nonnull + b.nonnull,
    mistyped: a.mistyped + b.mistyped,
    whole: a.whole && b.whole,
    infinite: String(Number(a.infinite) + Number(b.infinite)),
    sum: mergeSums(a.sum, b.sum),
    squares: mergeSums(a.squares, b.squares),
  };
}

/** A sum that is never rounded. */
class ExactSum {
  #parts: number[] = [];
  integers = 0n;
  extremes = 0n;

  constructor(stored?: StoredSum) {
    if (stored === undefined) return;
    this.#parts = [...stored.parts];
    this.integers = BigInt(stored.integers);
    this.extremes = BigInt(stored.extremes);
  }

  /** Adds a finite number whose sums do not overflow. */
  add(number: number): void {
    const parts = this.#parts;
    let rest = number;
    let kept = 0;
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i]!;
      const sum = rest + part;
      const lost = Math.abs(rest) < Math.abs(part) ? rest - (sum - part) : part - (sum - rest);
      if (lost !== 0) parts[kept++] = lost;
      rest = sum;
    }
    parts.length = kept;
    if (rest !== 0) parts.push(rest);
  }

  stored(): StoredSum {
    return {
      parts: [...this.#parts],
      integers: String(this.integers),
      extremes: String(this.extremes),
    };
  }
}

function mergeSums(a: StoredSum, b: StoredSum): StoredSum {
  const sum = new ExactSum(a);
  for (const part of b.parts) sum.add(part);
  sum.integers += BigInt(b.integers);
  sum.extremes += BigInt(b.extremes);
  return sum.stored();
}

/** A sum as a multiple of 2^-bits. */
function unitsOf(sum: StoredSum, bits: bigint): bigint {
  const parts = sum.parts.reduce((total, part) => total + unitsOfDouble(part), 0n);
  return (parts << (bits - UNIT_BITS)) + (BigInt(sum.integers) << bits) + BigInt(sum.extremes);
}

const bytes = new DataView(new ArrayBuffer(8));

/** A finite double as a multiple of 2^-1074. */
function unitsOfDouble(number: number): bigint {
  bytes.setFloat64(0, number);
  const bits = bytes.getBigUint64(0);
  const exponent = (bits >> 52n) & 0x7ffn;
  const digits = bits & 0xfffffffffffffn;
  const units = exponent === 0n ? digits : (digits | (1n << 52n)) << (exponent - 1n);
  return number < 0 ? -units : units;
}

/** The double nearest to a fraction; infinite where that is too large. */
function ratio(numerator: bigint, denominator: bigint): number {
  const top = numerator < 0n ? -numerator : numerator;
  // 64 digits or more, the last of which says whether there are others: rounded once, to nearest.
  const shift = BigInt(bitLength(denominator) - bitLength(top) + 65);
  const scaled = shift >= 0n ? top << shift : top;
  const divisor = shift >= 0n ? denominator : denominator << -shift;
  const quotient = scaled / divisor;
  const digits = Number(scaled % divisor === 0n ? quotient : quotient | 1n);
  // In two steps: 2^-shift alone may be no double.
  const half = Math.trunc(Number(shift) / 2);
  const double = digits * 2 ** -half * 2 ** -(Number(shift) - half);
  return numerator < 0n ? -double : double;
}

function bitLength(value: bigint): number {
  return value === 0n ? 0 : value.toString(16).length * 4;
}
