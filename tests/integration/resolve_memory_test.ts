import assert from "node:assert/strict";
import { paramsSchema } from "../../pipeline/params.ts";
import { resolveRun } from "../../pipeline/stages/resolve.ts";
import { SpillWriter } from "../../pipeline/spill/writer.ts";
import type { TaskEnvironment } from "../../pipeline/workers/environment.ts";
import { type Client, connect } from "../../store/pg.ts";
import { testDatabase } from "../helpers/postgres.ts";

/** A client that shows how each statement that groups positions is carried out, before it is. */
function explaining(client: Client, plans: string[][]): Client {
  const query = async (text: string, values?: unknown[]) => {
    const groups =
      /^\s*(?:declare \w+ no scroll cursor for\s+)?(select chunk_no, (?:array_agg|decision)[^]*)$/
        .exec(String(text));
    if (groups !== null) {
      const { rows } = await client.query(`explain ${groups[1]}`, values);
      const { rows: [settings] } = await client.query(
        "select current_setting('enable_hashagg') as hashagg, current_setting('jit') as jit",
      );
      assert.deepEqual(settings, { hashagg: "off", jit: "off" });
      plans.push(rows.map((row) => row["QUERY PLAN"]));
    }
    return await client.query(text, values);
  };
  return new Proxy(client, {
    get: (target, name) =>
      name === "query"
        ? (first: unknown, values?: unknown[]) =>
          typeof first === "string" ? query(first, values) : target.query(first as string)
        : Reflect.get(target, name),
  });
}

Deno.test("resolve groups positions by sorting, which spills to disk, and never by a hash of all of them in memory", async (t) => {
  await using db = await testDatabase(t);
  const spillDir = await Deno.makeTempDir({ prefix: "etl_resolve_" });
  const client = await connect(db.dsn);
  try {
    const { rows: [{ runId }] } = await client.query(`select etl.request_run() as "runId"`);
    {
      using writer = SpillWriter.open({
        dir: spillDir,
        chunkNo: 0,
        runId,
        sourceName: "test",
        pageSize: 10,
      });
      writer.add(["twice", "twice", "old", "new"].map((eventId, position) => ({
        position,
        output: 0,
        eventId,
        eventType: "t",
        occurredAt: null,
        version: null,
        payload: {},
        text: "{}",
        raw: null,
        fingerprint: "00".repeat(32),
      })));
      const counts = {
        records_read: 4,
        rejected: 0,
        filtered: 0,
        extra: 0,
        cursor_nulls: 0,
        keyless: 0,
        deletions: 0,
      };
      writer.finish({ maker: "m", stageMs: {}, counts: { ...counts, events: 4 } });
    }
    await client.query(
      `insert into public.etl_improved_events (event_id, event_type, source, payload, fingerprint, run_id)
       values ('old', 't', 'test', '{}', decode(repeat('00', 32), 'hex'), etl.uuid7())`,
    );
    await client.query(
      `insert into etl.chunks (run_id, chunk_no, slice, events) values ($1, 0, '{}', 4)`,
      [runId],
    );
    const plans: string[][] = [];
    await client.query("begin");
    const env = {
      context: {
        runId,
        orderRunId: runId,
        late: false,
        attempt: 1,
        holder: null,
        replayOf: null,
        params: paramsSchema.parse({}),
        table: null,
        sourceName: "test",
        spillDir,
      },
      connection: {
        transaction: (_options: unknown, run: (client: Client) => unknown) =>
          run(explaining(client, plans)),
      },
      retry: { attempts: 1, initialMs: 1 },
    } as unknown as TaskEnvironment;
    const { decisions } = await resolveRun(env, {
      chunks: [{ chunkNo: 0, events: 4 }],
      comparison: "lookup",
      destinationRows: 1,
    });
    assert.deepEqual(decisions, [
      {
        chunkNo: 0,
        events: 4,
        duplicates: 1,
        inserts: 2,
        updates: 0,
        deletions: 0,
        deletes: 0,
        deleted: 0,
        marked: 0,
        stales: 0,
        buries: 0,
        heldBack: 0,
      },
    ]);
    assert.equal(plans.length, 2);
    for (const plan of plans) {
      assert.match(plan.join("\n"), /GroupAggregate/);
      assert.doesNotMatch(plan.join("\n"), /HashAggregate/);
    }
  } finally {
    await client.end();
    await Deno.remove(spillDir, { recursive: true });
  }
});
