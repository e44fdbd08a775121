import assert from "node:assert/strict";
import { createLog, hider, type LogOptions, unmistakable } from "../../telemetry/log.ts";

function logged(
  options: Partial<LogOptions>,
  write: (log: ReturnType<typeof createLog>) => void,
): string[] {
  const lines: string[] = [];
  write(createLog({
    level: "debug",
    format: "text",
    write: (line) => lines.push(line),
    now: () => new Date(0),
    ...options,
  }));
  return lines;
}

Deno.test("log: lines below the level are left out", () => {
  const lines = logged({ level: "warn" }, (log) => {
    log.debug("a");
    log.info("b");
    log.warn("c");
    log.error("d");
  });
  assert.deepEqual(lines.map((line) => line.slice(25)), ["warn  c", "error d"]);
});

Deno.test("log: lines below the write level are told to onEntry, and not written", () => {
  const told: string[] = [];
  const onEntry = ({ message }: { message: string }) => void told.push(message);
  const lines = logged({ level: "info", writeLevel: "error", onEntry }, (log) => {
    log.debug("a");
    log.info("b");
    log.error("c");
  });
  assert.deepEqual([lines.map((line) => line.slice(25)), told], [["error c"], ["b", "c"]]);
});

Deno.test("log: fields of with() are on every line; a line's own come on top", () => {
  const [line] = logged(
    { format: "json" },
    (log) => log.with({ run: 1, a: 1 }).info("m", { a: 2 }),
  );
  assert.deepEqual(JSON.parse(line!), {
    time: "1970-01-01T00:00:00.000Z",
    level: "info",
    message: "m",
    run: 1,
    a: 2,
  });
});

Deno.test("log: no field takes the place of time, level or message", () => {
  const [line] = logged(
    { format: "json" },
    (log) => log.info("m", { message: "x", level: "error", time: 0 }),
  );
  const { level, message, time } = JSON.parse(line!);
  assert.deepEqual([level, message, time], ["info", "m", "1970-01-01T00:00:00.000Z"]);
});

Deno.test("log: an entry is one line, whatever is told", () => {
  for (const format of ["text", "json"] as const) {
    const lines = logged(
      { format },
      (log) => log.warn("a\nforged line", { b: "c\nd", error: new Error("e\nf") }),
    );
    assert.equal(lines.length, 1);
    assert.doesNotMatch(lines[0]!, /\n/, format);
  }
});

Deno.test("log: errors, bigints and what has no JSON can be told, nested too", () => {
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  for (const format of ["text", "json"] as const) {
    const [line] = logged({ format }, (log) => {
      log.info("m", { big: 1n, nested: { big: [2n], error: new Error("inner") }, none: undefined });
    });
    assert.match(line!, /inner/, format);
    assert.equal(logged({ format }, (log) => log.error("m", { circular })).length, 1);
  }
});

Deno.test("log: secrets are hidden, also as JSON writes them; an empty one hides nothing", () => {
  const secrets = ['pa"ss\\word', ""];
  for (const format of ["text", "json"] as const) {
    const [line] = logged({ format, secrets }, (log) => {
      log.error('in pa"ss\\word text, and pa"ss\\word again', {
        dsn: 'postgres://u:pa"ss\\word@h',
        nested: { a: 'pa"ss\\word' },
      });
    });
    assert.doesNotMatch(line!, /ss\\+word/, format);
    assert.match(line!, /u:\*\*\*@h/, format);
  }
});

Deno.test("a line of text holds nothing that steers a terminal, whatever was logged", () => {
  const lines: string[] = [];
  const log = createLog({ level: "info", format: "text", write: (line) => lines.push(line) });
  const hostile = "a\x1b[2J\x9b31m\u202eb\u2028c\x07\x7f\r\nd";
  log.with({ run_label: hostile, [hostile]: 1 }).info(hostile, { list: [hostile] });
  assert.equal(lines.length, 1);
  assert.doesNotMatch(lines[0]!, /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
  assert.match(lines[0]!, /a\\u001b\[2J\\u009b31m\\u202eb\\u2028c\\u0007\\u007f\\u000d\\u000ad/);
});

Deno.test("log: what is left of a secret where a text was cut is hidden, too", () => {
  const hide = hider(["s3cret-of-the-API", "a longer secret, with spaces"]);
  assert.equal(hide("no: Bearer s3cret-of…, he said"), "no: Bearer ***…, he said");
  assert.equal(hide("no: a longer sec…"), "no: ***…");
  assert.equal(hide("not the s3cret of…"), "not the s3cret of…");
  assert.equal(hide("too little to tell: s3cre…"), "too little to tell: s3cre…");
});

Deno.test("log: a long secret is hidden wherever it stands, a short one where it is a word of its own", () => {
  const hide = hider(["twelve-signs", "eleven-sign", "improved"]);
  assert.equal(hide("xtwelve-signsx, xeleven-signx, eleven-sign"), "x***x, xeleven-signx, ***");
  assert.equal(
    hide("etl_improved, improved_ and unimproved"),
    "etl_improved, improved_ and unimproved",
  );
  assert.equal(
    hide("u:improved@h, %3Aimproved, %3aimproved, \\nimproved"),
    "u:***@h, %3A***, %3a***, \\n***",
  );
  assert.equal(hide("%3improved"), "%3improved");
});

Deno.test("log: what is told to people leaves secrets alone that may be a word of it", () => {
  assert.deepEqual(
    unmistakable([
      "postgres",
      "12345678",
      "a1",
      "eleven-sign",
      "passw0r",
      "passw0rd",
      "twelve-signs",
    ]),
    ["passw0rd", "twelve-signs"],
  );
});

Deno.test("log: fields are told as text, in quotes where they would run together", () => {
  const [line] = logged(
    {},
    (log) => log.info("m", { a: "x", b: "x y", c: "x=y", d: 'x"y', e: { f: 1 } }),
  );
  assert.equal(line!.slice(25), 'info  m a=x b="x y" c="x=y" d="x\\"y" e="{\\"f\\":1}"');
});
