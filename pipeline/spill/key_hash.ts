/**
 * Writes 64 bits of hash of a key as two uint32 at `target[at]`. Only a filter
 * (equal keys have equal hashes): what it flags is compared exactly in SQL, so
 * its quality matters for speed alone. Two lanes of the multiplicative mixing
 * of MurmurHash3.
 */
export function keyHash(key: string, target: Uint32Array, at: number): void {
  let a = 0x9747b28c ^ key.length;
  let b = 0x1b873593;
  for (let i = 0; i < key.length; i++) {
    const unit = key.charCodeAt(i);
    a = Math.imul(a ^ unit, 0x85ebca6b);
    a ^= a >>> 13;
    b = Math.imul(b ^ unit, 0xc2b2ae35);
    b ^= b >>> 15;
  }
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b);
  b = Math.imul(b ^ (b >>> 16), 0xc2b2ae35);
  target[at] = (a ^ (b >>> 11)) >>> 0;
  target[at + 1] = (b ^ (a >>> 9)) >>> 0;
}
