import assert from "node:assert/strict";
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import {
  type Compression,
  decompress,
  limitBytes,
  takeBytes,
} from "../../pipeline/sources/local/streams.ts";
import { isEmptyLine } from "../../pipeline/sources/local/text_plan.ts";
import { Problem } from "../../vocabulary/problem.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

async function* pieces(...of: Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const each of of) yield await Promise.resolve(each);
}

async function unpacked(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  truncated = false,
): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const part of decompress(source, compression, { label: "a.gz", truncated })) {
    text += decoder.decode(part, { stream: true });
  }
  return text;
}

const LONG = Array.from({ length: 50_000 }, (_, i) => `${i * 7919 % 100_003}`).join(",");

Deno.test("deflate is read with zlib's frame and without it, also where bare data begins like the frame", async () => {
  assert.equal(await unpacked(pieces(deflateSync("framed")), "deflate"), "framed");
  assert.equal(await unpacked(pieces(deflateRawSync("bare")), "deflate"), "bare");
  // a stored block, whose first byte has zlib's method in bits that mean nothing; then an empty last one
  const stored = Uint8Array.of(8, 5, 0, 250, 255, ...bytesOf("hello"), 1, 0, 0, 255, 255);
  assert.equal(await unpacked(pieces(stored), "deflate"), "hello");
  const one = deflateSync("x");
  assert.equal(await unpacked(pieces(one.subarray(0, 2), one.subarray(2)), "deflate"), "x");
});

Deno.test("damage is told as damage and an early end as one, of each compression; a beginning may end early", async () => {
  const packed: [Compression, Uint8Array][] = [
    ["gzip", gzipSync(LONG)],
    ["deflate", deflateSync(LONG)],
  ];
  for (const [name, bytes] of packed) {
    const half = bytes.subarray(0, bytes.length / 2);
    await assert.rejects(unpacked(pieces(half), name), (error) => {
      assert.ok(error instanceof Problem);
      assert.match(error.message, /a\.gz.*(?:end|complete)/, name);
      return true;
    });
    const beginning = await unpacked(pieces(half), name, true);
    assert.ok(LONG.startsWith(beginning) && beginning.length > 1_000, name);
    const damaged = bytes.slice();
    damaged.fill(0xff, 1_000, 1_200);
    for (const truncated of [false, true]) {
      await assert.rejects(unpacked(pieces(damaged), name, truncated), (error) => {
        assert.ok(error instanceof Problem, `${name} ${error}`);
        assert.match(error.message, /a\.gz.*damaged/);
        return true;
      });
    }
  }
  const brotli = brotliCompressSync(LONG);
  assert.equal(await unpacked(pieces(brotli), "br"), LONG);
  async function* wrong() {
    yield Uint8Array.of(0xff, 0xff, ...brotli.subarray(2, 1_000));
    for (let i = 0; i < 1_000; i++) yield await Promise.resolve(new Uint8Array(65_536));
  }
  await assert.rejects(
    unpacked(wrong(), "br", true),
    Problem,
    "before its end nothing has ended early",
  );
  const half = await unpacked(pieces(brotli.subarray(0, brotli.length / 2)), "br", true);
  assert.ok(LONG.startsWith(half));
});

Deno.test("a source that fails is told by its own error, not as damage of what it sent", async () => {
  // as fetch() says it
  const gone = new TypeError("the connection is gone");
  async function* failing() {
    yield gzipSync(LONG).subarray(0, 1_000);
    await Promise.reject(gone);
  }
  for (const truncated of [false, true]) {
    await assert.rejects(unpacked(failing(), "gzip", truncated), (error) => error === gone);
  }
});

Deno.test("limitBytes() lets pass exactly as many bytes as it may, takeBytes() takes as many and no more", async () => {
  const limited = async (maxBytes: number) =>
    (await Array.fromAsync(
      limitBytes(pieces(bytesOf("abc"), bytesOf("defg")), { maxBytes, label: "x" }),
    ))
      .length;
  assert.equal(await limited(7), 2);
  await assert.rejects(limited(6), /x.*6/);
  const taken = async (maxBytes: number) => {
    let cut = 0;
    let text = "";
    let asked = 0;
    async function* source() {
      for (const each of ["abc", "defg", "hi"]) {
        asked++;
        yield await Promise.resolve(bytesOf(each));
      }
    }
    for await (const part of takeBytes(source(), maxBytes, () => cut++)) {
      text += new TextDecoder().decode(part);
    }
    return [text, cut, asked];
  };
  assert.deepEqual(await taken(2), ["ab", 1, 1]);
  assert.deepEqual(await taken(3), ["abc", 1, 1]);
  assert.deepEqual(await taken(5), ["abcde", 1, 2]);
  assert.deepEqual(await taken(10), ["abcdefghi", 0, 3]);
});

Deno.test("a line is empty that has a line end alone, or a CR before it", () => {
  for (
    const [text, empty] of [
      ["", true],
      ["\n", true],
      ["\r\n", true],
      ["\r", true],
      ["\r\r\n", true],
      ["a\n", false],
      [" \n", false],
      ["\ra", false],
      ["\r\r\r\n", false],
    ] as const
  ) assert.equal(isEmptyLine(bytesOf(`x${text}`), 1, text.length + 1), empty, JSON.stringify(text));
});
