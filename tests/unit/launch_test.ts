import assert from "node:assert/strict";
import { stopOnceThenKill } from "../../scripts/launch.ts";
import { waitFor } from "../helpers/wait_for.ts";

/** A server that only notes what it is asked, until the test ends it. */
function notingServer() {
  const asked: Deno.Signal[] = [];
  const { promise: ended, resolve } = Promise.withResolvers<Deno.CommandStatus>();
  return {
    asked,
    ended,
    kill: (signal: Deno.Signal) => void asked.push(signal),
    end: () => resolve({ success: true, code: 0, signal: null }),
  };
}

Deno.test("a server is asked to end by the signal that came, and a closed terminal asks as SIGTERM does", () => {
  for (
    const [came, passedOn] of [
      ["SIGINT", "SIGINT"],
      ["SIGTERM", "SIGTERM"],
      // it would end a server at once, with its runs in hand
      ["SIGHUP", "SIGTERM"],
    ] as const
  ) {
    const server = notingServer();
    stopOnceThenKill(server, { again: false })(came);
    assert.deepEqual(server.asked, [passedOn]);
  }
});

Deno.test("a signal that arrives twice within a second is one, a second one later ends the server at once", () => {
  const server = notingServer();
  let time = 5_000;
  const stop = stopOnceThenKill(server, { again: false, now: () => time });
  stop("SIGINT");
  time += 1_000;
  stop("SIGTERM");
  assert.deepEqual(server.asked, ["SIGINT"], "npx passes on what the terminal sent, too");
  time += 1;
  stop("SIGINT");
  assert.deepEqual(server.asked, ["SIGINT", "SIGKILL"]);
});

Deno.test("a watched server is asked until it has ended, any other once", async () => {
  const asked = (again: boolean) => {
    const server = notingServer();
    stopOnceThenKill(server, { again, askAgainMs: 1 })("SIGHUP");
    return server;
  };
  const other = asked(false);
  const watched = asked(true);
  await waitFor(() => watched.asked.length >= 3);
  assert.deepEqual([...new Set(watched.asked)], ["SIGTERM"]);
  assert.deepEqual(other.asked, ["SIGTERM"]);
  watched.end();
  await watched.ended;
  const times = watched.asked.length;
  // a clock as fast as theirs
  const later = asked(true);
  await waitFor(() => later.asked.length >= 3);
  later.end();
  assert.equal(watched.asked.length, times);
});
