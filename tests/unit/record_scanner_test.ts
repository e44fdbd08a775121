import assert from "node:assert/strict";
import { csvScanner } from "../../pipeline/sources/local/record_scanner.ts";

/** The records of a text that comes in blocks of so many bytes. */
function recordsOf(text: string, block: number): string[] {
  const scanner = csvScanner({ delimiter: ",", quote: '"', escape: '"', comment: "#" });
  const records: string[] = [];
  let held = new Uint8Array(0);
  for (let at = 0; at < text.length; at += block) {
    const from = held.length;
    held = new Uint8Array([...held, ...new TextEncoder().encode(text.slice(at, at + block))]);
    const { last, each } = scanner.scan(held, from);
    const ends = each ??
      [...held.keys()].filter((i) => i < last && held[i] === 10).map((i) => i + 1);
    let begin = 0;
    for (const end of ends) {
      records.push(new TextDecoder().decode(held.subarray(begin, end)));
      begin = end;
    }
    held = held.slice(begin);
  }
  return records;
}

Deno.test("CSV: records end where they do, in blocks of any size, whatever quotes a comment has", () => {
  const records = [
    "a,b\n",
    '# it"s of use\n',
    '1,"x\n""y"\n',
    "3,z\n",
    '#,"\n',
    "\n",
    '2,5" pipe\n',
    '# and "more\n',
    '"#",3\n',
  ];
  const text = records.join("");
  for (let block = 1; block <= text.length; block++) {
    assert.deepEqual(recordsOf(text, block), records, `blocks of ${block}`);
  }
});
