import assert from "node:assert/strict";
import { ByteReader } from "../../store/backup/byte_reader.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** A reader of a text that comes in blocks of so many bytes. */
function readerOf(text: string, block: number): ByteReader {
  return new ByteReader((async function* () {
    for (let at = 0; at < text.length; at += block) {
      yield await Promise.resolve(bytes(text.slice(at, at + block)));
    }
  })());
}

Deno.test("what stands before a mark is read wherever the mark lies across blocks", async () => {
  for (let block = 1; block <= 12; block++) {
    const reader = readerOf("headone--two-\n-three--rest", block);
    assert.equal(await reader.skip(bytes("tail")), false, "nothing else is read");
    assert.equal(await reader.skip(bytes("head")), true);
    const part = async () => {
      let text = "";
      for await (const piece of reader.until(bytes("--"))) text += new TextDecoder().decode(piece);
      return text;
    };
    assert.deepEqual([await part(), await part()], ["one", "two-\n-three"], `blocks of ${block}`);
    await assert.rejects(part(), /the text ends before a mark/);
  }
});
