import assert from "node:assert/strict";
import { setupDatabase } from "../../scripts/setup_db.ts";
import { readSetupMark } from "../../store/schema_version.ts";
import { later, programWith } from "../helpers/next_version.ts";
import { testDatabase } from "../helpers/postgres.ts";
import { withClient } from "../helpers/query.ts";
import { startServer, type TestServer } from "../helpers/server.ts";
import { waitFor } from "../helpers/wait_for.ts";

const PROGRAM = await Deno.readTextFile(new URL("../../sql/etl_setup.sql", import.meta.url));
const next = String(readSetupMark(PROGRAM).migrations.length + 1).padStart(4, "0");

/** What a version may add: columns of the tables that are used most, a table, an index, another body of a function. */
const MIGRATION = `
  alter table etl.runs add column next_note text not null default 'next';
  alter table etl.chunks add column next_note text;
  alter table etl.deliveries add column next_note text;
  alter table etl.schedules add column next_note text;
  create table etl.next_things (thing text primary key);
  create index runs_next_note on etl.runs (next_note);`;

/** Requests of every kind, on servers that come and go; each must be answered. */
class Load implements AsyncDisposable {
  readonly wrong: string[] = [];
  readonly runIds: string[] = [];
  readonly servers: TestServer[] = [];
  #going = true;
  #requests: Promise<unknown> = Promise.resolve();
  readonly #underWay = new Map<TestServer, number>();
  #n = 0;

  async #request(path: string, init?: RequestInit): Promise<unknown> {
    const server = this.servers[this.#n++ % this.servers.length]!;
    this.#under(server, 1);
    try {
      const answer = await fetch(`${server.address}${path}`, init);
      const body = await answer.text();
      if (answer.status >= 400) this.wrong.push(`${path}: ${answer.status} ${body}`);
      return body.startsWith("{") ? JSON.parse(body) : null;
    } catch (error) {
      this.wrong.push(`${path}: ${error}`);
      return null;
    } finally {
      this.#under(server, -1);
    }
  }

  #under(server: TestServer, more: 1 | -1): void {
    this.#underWay.set(server, (this.#underWay.get(server) ?? 0) + more);
  }

  async #run(label: string): Promise<void> {
    while (this.#going) {
      const ended = await this.#request("/api/etl/run?wait=true", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ batch_size: 20, chunk_size: 5, run_label: label }),
      }) as { run_id: string; state: string; error: unknown } | null;
      if (ended === null) continue;
      this.runIds.push(ended.run_id);
      if (ended.state !== "succeeded") this.wrong.push(JSON.stringify(ended));
    }
  }

  async #look(): Promise<void> {
    while (this.#going) {
      for (const path of ["/readyz", "/api/etl/runs?limit=5", "/api/etl/health"]) {
        await this.#request(path);
      }
    }
  }

  begin(): void {
    this.#requests = Promise.all([this.#run("a"), this.#run("b"), this.#look()]);
  }

  /** Takes a server out, as a load balancer does: none is sent to it any more, and those under way are answered. */
  async leave(server: TestServer): Promise<void> {
    this.servers.splice(this.servers.indexOf(server), 1);
    await waitFor(() => this.#underWay.get(server) === 0);
  }

  /** Also when the test has failed: what it goes on asking would fail each test after it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#going = false;
    await this.#requests;
  }
}

Deno.test("the next version of the schema is set up while servers of this one serve, and servers of both work side by side: no failed request, no lost run", async (t) => {
  await using db = await testDatabase(t);
  const setup = await later({ [`${next}_next`]: MIGRATION });
  await using program = await programWith(setup);
  await using leaving = new AsyncDisposableStack();
  const old = leaving.use(await startServer({ dsn: db.dsn }));
  await using load = new Load();
  load.servers.push(old);
  load.begin();
  const passed = async (more: number) => {
    const from = load.runIds.length;
    await waitFor(() => load.runIds.length >= from + more || load.wrong.length > 0, {
      timeoutMs: 60_000,
      what: `${more} runs`,
    });
    assert.deepEqual(load.wrong, [], old.logs.slice(-5).join("\n"));
  };
  await passed(2);
  await setupDatabase(db.dsn, { setupSql: setup });
  await passed(2);
  await using newer = await startServer({ dsn: db.dsn, projectDir: program.dir });
  load.servers.push(newer);
  await passed(6);
  await withClient(db.dsn, async (client) => {
    // asked for in SQL, in the middle of it
    await client.query('select etl.request_run(\'{"batch_size": 5, "run_label": "sql"}\')');
    await load.leave(old);
    await waitFor(async () =>
      (await client.query("select from etl.runs where run_label = 'sql' and state = 'succeeded'"))
        .rowCount === 1
    );
    await leaving.disposeAsync();
    await passed(2);
    await load[Symbol.asyncDispose]();
    assert.deepEqual(load.wrong, []);
    const { rows } = await client.query<{ run_id: string; server_id: string }>(
      "select run_id, server_id from etl.runs where state = 'succeeded' and run_label <> 'sql'",
    );
    assert.deepEqual(rows.map(({ run_id }) => run_id).sort(), load.runIds.sort());
    assert.equal(
      new Set(rows.map(({ server_id }) => server_id)).size,
      2,
      "both have executed runs",
    );
  });
});
