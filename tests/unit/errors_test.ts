import assert from "node:assert/strict";
import { Problem, TerminalProblem } from "../../vocabulary/problem.ts";
import { runProblem } from "../../pipeline/run_problem.ts";
import {
  isTransient,
  isUnstorableText,
  noteStatementTimeout,
  passing,
  raisedProblem,
} from "../../store/errors.ts";

const withCode = (code: string, message = "") => Object.assign(new Error(message), { code });

Deno.test("isTransient() knows the states and socket errors after which trying again may help", () => {
  const transient = [
    "08000",
    "08006",
    "08P01",
    "57P01",
    "57P02",
    "57P03",
    "57P05",
    "40001",
    "40P01",
    "55P03",
    "53100",
    "53200",
    "53300",
    "53400",
    "25006",
    "25P03",
    "58030",
    "ECONNREFUSED",
    "ENOTFOUND",
    "EAI_AGAIN",
    "EHOSTUNREACH",
    "ECONNRESET",
    "EPIPE",
    "ETIMEDOUT",
    "CONNECTION_CLOSED",
    "CONNECT_TIMEOUT",
  ];
  for (const code of transient) assert.equal(isTransient(withCode(code)), true, code);
  const permanent = [
    "23505",
    "42501",
    "42P01",
    "22P02",
    "57P04",
    "25P02",
    "28P01",
    "3D000",
    "ET422",
    "ENOENT",
    "ENOSPC",
  ];
  for (const code of permanent) assert.equal(isTransient(withCode(code)), false, code);
});

Deno.test("isTransient() knows the drivers' words, but not those of a message of the server", () => {
  assert.equal(isTransient(new Error("Connection terminated unexpectedly")), true);
  assert.equal(
    isTransient(new Error("Client has encountered a connection error and is not queryable")),
    true,
  );
  // e.g. a check constraint's message that holds such words
  assert.equal(isTransient(withCode("23514", "the connection terminated flag is wrong")), false);
  for (const other of [null, undefined, "connection terminated", 7]) {
    assert.equal(isTransient(other), false);
  }
});

Deno.test("a statement that somebody cancelled is tried again, one that took too long is not", () => {
  assert.equal(isTransient(withCode("57014", "canceling statement due to user request")), true);
  assert.equal(
    isTransient(withCode("57014", "canceling statement due to statement timeout")),
    false,
  );
});

Deno.test("what ended a statement is told in whatever language the server speaks: where its words do not tell, the time does", () => {
  const spanish = "cancelando la sentencia debido a que se agotó el tiempo de espera de sentencias";
  const cases: [message: string, limitMs: number, elapsedMs: number, timedOut: boolean][] = [
    ["canceling statement due to statement timeout", 0, 0, true],
    ["canceling statement due to user request", 100, 5000, false],
    [spanish, 100, 100, true],
    [spanish, 100, 99, false],
    [spanish, 0, 5000, false],
  ];
  for (const [message, limitMs, elapsedMs, timedOut] of cases) {
    const error = withCode("57014", message);
    assert.equal(noteStatementTimeout(error, { limitMs, elapsedMs }), timedOut, message);
    assert.deepEqual([isTransient(error), passing(error) === null], [!timedOut, timedOut]);
    assert.equal(
      runProblem(error, "load").type,
      timedOut ? "database-error" : "database-unavailable",
    );
  }
  assert.equal(
    noteStatementTimeout(withCode("55P03", spanish), { limitMs: 1, elapsedMs: 2 }),
    false,
  );
  const json = withCode("22P02", "la sintaxis de entrada no es válida para tipo json");
  assert.deepEqual([
    isUnstorableText(json),
    isUnstorableText(withCode("22P02", "para tipo integer")),
  ], [
    ...[true, false],
  ]);
});

Deno.test("an outage is told by its cause, and a conflict is none", () => {
  assert.match(
    runProblem(withCode("53100"), "load").message,
    /no space is left on the database's disk/,
  );
  assert.match(runProblem(withCode("25006"), null).message, /takes no writes/);
  assert.match(runProblem(withCode("ENOTFOUND"), null).message, /host name is not known/);
  assert.equal(passing(withCode("53100"))?.kind, "outage");
  assert.equal(passing(withCode("40P01"))?.kind, "conflict");
});

Deno.test("isTransient() believes an error that says itself what it is", () => {
  const options = { detail: "connection terminated" };
  assert.equal(
    isTransient(new TerminalProblem("disk-full", { ...options, transient: true })),
    true,
  );
  assert.equal(isTransient(new TerminalProblem("source-unreadable", options)), false);
});

Deno.test("raisedProblem() reads what etl.raise_problem raised, and nothing else", () => {
  const problem = { type: "invalid-conf", status: 422, detail: "d", errors: [] };
  const raised = Object.assign(withCode("ET422"), { detail: JSON.stringify(problem) });
  assert.deepEqual(raisedProblem(raised), problem);
  assert.equal(raisedProblem(Object.assign(withCode("23505"), { detail: "Key (a)" })), null);
  assert.equal(raisedProblem(Object.assign(withCode("ET422"), { detail: "{" })), null);
  assert.equal(raisedProblem(withCode("ET422")), null);
});

Deno.test("runProblem() shows what the user can act on and hides what is a defect", () => {
  assert.equal(runProblem(withCode("57P01", "gone"), "load").transient, true);
  assert.match(
    runProblem(withCode("57014", "canceling statement due to statement timeout"), "load").message,
    /in load took longer than db_statement_timeout_ms/,
  );
  assert.equal(
    runProblem(withCode("42501", "permission denied for table x"), null).type,
    "missing-grant",
  );
  assert.match(
    runProblem(withCode("22003", "out of range"), "load").message,
    /SQLSTATE 22003\): out of range/,
  );
  const defect = runProblem(new TypeError("cannot read properties of secret"), "load");
  assert.deepEqual([defect.type, defect.status], ["internal", 500]);
  assert.doesNotMatch(defect.message, /secret/);
  const own = new TerminalProblem("foreign-rows", { detail: "d" });
  assert.equal(runProblem(own, "load"), own);
});

Deno.test("a Problem is the same on the other side of a worker's message", () => {
  const problem = new TerminalProblem("invalid-conf", {
    detail: "d",
    status: 409,
    transient: true,
    errors: [{ field: "a", message: "m" }],
    extra: { suggestions: ["b"] },
  });
  const back = Problem.fromJSON(structuredClone(problem.toJSON()), problem.transient);
  assert.deepEqual(back.toJSON(), problem.toJSON());
  assert.equal(back.transient, true);
});
