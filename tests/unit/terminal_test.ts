import assert from "node:assert/strict";
import { bar, count, duration, Terminal, writerTo } from "../../scripts/terminal.ts";

Deno.test("duration() uses the unit that a person would", () => {
  assert.deepEqual([0.4, 340.2, 999.6, 1234, 59_940, 59_960, 125_000].map(duration), [
    "0 ms",
    "340 ms",
    "1.0 s",
    "1.2 s",
    "59.9 s",
    "1 min 00 s",
    "2 min 05 s",
  ]);
});

Deno.test("bar() stays in its width", () => {
  assert.equal(bar(0.5, 4), "██░░");
  assert.equal(bar(7, 4), "████");
  assert.equal(bar(-1, 4), "░░░░");
});

Deno.test("count() groups thousands", () => assert.equal(count(1_234_567), "1,234,567"));

Deno.test("Terminal draws over what it drew, without a second row for long lines, and writes lines in its place", () => {
  let text = "";
  const terminal = new Terminal({ isTerminal: true, colour: false, write: (part) => text += part });
  const cut = (lines: string) => `\x1b[?7l${lines}\x1b[?7h`;
  terminal.draw(["a", "b"]);
  terminal.draw(["c"]);
  terminal.line("stays");
  assert.equal(text, cut("a\nb\n") + "\x1b[2A\x1b[0J" + cut("c\n") + "\x1b[1A\x1b[0Jstays\n");
});

Deno.test("Terminal writes no control characters where there is no terminal", () => {
  let text = "";
  const terminal = new Terminal({ isTerminal: false, write: (part) => text += part });
  terminal.draw(["progress"]);
  terminal.line(terminal.paint("green", "done"));
  assert.equal(text, "done\n");
});

Deno.test("writerTo() writes all of a text, and drops what nobody reads any more", () => {
  let text = "";
  let open = true;
  const write = writerTo({
    writeSync: (bytes) => {
      if (!open) throw new Deno.errors.BrokenPipe();
      const some = bytes.subarray(0, 3);
      text += new TextDecoder().decode(some);
      return some.length;
    },
  });
  write("abcdefgh");
  open = false;
  write("gone");
  open = true;
  write("for good");
  assert.equal(text, "abcdefgh");
});
