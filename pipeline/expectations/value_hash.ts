import { equalityKey } from "./python_value.ts";

/**
 * A 128-bit hash of a value, the same for values that Python says are equal.
 * Two different values among a billion collide with a chance below 1e-20
 * unless someone who knows the function makes them collide on purpose.
 * The array that is returned is filled anew by the next call.
 */
export function hashValue(value: unknown): Int32Array {
  const key = equalityKey(value);
  switch (typeof key) {
    case "string":
      return hashText(key, 1);
    case "number":
      return hashNumber(key);
    case "bigint":
      return hashText(String(key), 2);
    default:
      return key === null ? hashText("", 3) : hashText(stableText(value), 4);
  }
}

const float = new Float64Array(1);
const words = new Int32Array(float.buffer);
const hash = new Int32Array(4);

function hashNumber(value: number): Int32Array {
  float[0] = value;
  let a = 0x2545f491 ^ words[0]!;
  let b = 0x5bd1e995 ^ words[1]!;
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b);
  b = Math.imul(b ^ (b >>> 16), 0xc2b2ae35);
  hash[0] = a + b;
  hash[1] = a ^ Math.imul(b, 0x9e3779b1);
  hash[2] = b ^ Math.imul(a, 0x27d4eb2f);
  hash[3] = a - b;
  return finish();
}

function hashText(text: string, seed: number): Int32Array {
  const length = text.length;
  let a = 0x239b961b ^ seed;
  let b = 0x38b34ae5 ^ length;
  let c = 0x2f0b4c47 ^ seed;
  let d = 0x5f1e6a31 ^ length;
  let i = 0;
  for (; i + 1 < length; i += 2) {
    const k = text.charCodeAt(i) | (text.charCodeAt(i + 1) << 16);
    a = Math.imul(a ^ k, 0x85ebca6b);
    a = (a << 13) | (a >>> 19);
    b = Math.imul(b ^ k, 0xc2b2ae35);
    b = (b << 15) | (b >>> 17);
    c = Math.imul(c + k, 0x9e3779b1);
    c = (c << 11) | (c >>> 21);
    d = Math.imul(d ^ (k + 0x7ed55d16), 0x27d4eb2f);
    d = (d << 17) | (d >>> 15);
  }
  if (i < length) {
    const k = text.charCodeAt(i) | 0x10000000;
    a = Math.imul(a ^ k, 0x85ebca6b);
    b = Math.imul(b ^ k, 0xc2b2ae35);
    c = Math.imul(c + k, 0x9e3779b1);
    d = Math.imul(d ^ k, 0x27d4eb2f);
  }
  hash[0] = a;
  hash[1] = b;
  hash[2] = c;
  hash[3] = d;
  return finish();
}

/** Makes each word depend on all four before it is mixed. */
function finish(): Int32Array {
  const a = hash[0]!;
  const b = hash[1]!;
  const c = hash[2]!;
  const d = hash[3]!;
  const all = a ^ Math.imul(b, 0x9e3779b1) ^ Math.imul(c, 0x85ebca6b) ^ Math.imul(d, 0xc2b2ae35);
  hash[0] = mix(a ^ all);
  hash[1] = mix(b + all);
  hash[2] = mix(c ^ (all >>> 7));
  hash[3] = mix(d + (all << 3));
  return hash;
}

function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Text of a list or dict that is the same for equal ones. */
export function stableText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(stableText).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1);
    return `{${members.map(([k, v]) => `${JSON.stringify(k)}:${stableText(v)}`).join(",")}}`;
  }
  const key = equalityKey(value);
  return typeof key === "string" ? JSON.stringify(key) : String(key);
}
