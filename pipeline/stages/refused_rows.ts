import { type Message, say } from "../../vocabulary/messages.ts";
import { addToQuarantine, REFUSED } from "../../store/quarantine.ts";
import { sliceOf } from "../../store/chunks.ts";
import type { RefusedRow } from "../../store/refused_rows.ts";
import type { Client } from "../../store/pg.ts";
import type { TypedTable } from "../../store/row_layout.ts";
import type { Rejected } from "../event.ts";
import { readKeys } from "../spill/reader.ts";
import { RejectedRows } from "../spill/rejected_rows.ts";
import type { TaskEnvironment } from "../workers/environment.ts";
import type { Slice } from "../sources/source.ts";
import { eventName, MAX_QUARANTINE, NONE, readAgain, tooManyRejected } from "./prepare.ts";

/**
 * Sends the records of rows that a table has refused to the quarantine, as they were read, with the constraint; `places` are
 * their positions in the chunk. Throws `too-many-rejected` where there is no hope for the rest.
 */
export async function quarantineRefused(
  client: Client,
  env: TaskEnvironment,
  { chunkNo, places, refused, hopeless }: {
    chunkNo: number;
    places: Int32Array;
    refused: RefusedRow[];
    hopeless: boolean;
  },
): Promise<void> {
  const { context } = env;
  const names = eventNames(env, chunkNo, places);
  const slice = await sliceOf<Slice>(client, context, chunkNo);
  const read = await readAgain(env, { chunkNo, slice }, new Set(names.values()));
  using rejected = new RejectedRows({ dir: context.spillDir, runId: context.runId, chunkNo });
  refused.forEach((row, i) => {
    const position = places[i]!;
    const record = read.get(names.get(position)!) ?? asWritten(row, position, context.table);
    rejected.add({
      ...record,
      rule: REFUSED,
      message: record.message === NONE ? messageOf(row) : say("as-shown", { what: messageOf(row) }),
      field: context.table && fieldOf(row, context.table),
    });
  });
  if (hopeless || rejected.count > MAX_QUARANTINE) {
    throw tooManyRejected(
      hopeless
        ? say("table-refused-first", { n: refused.length })
        : say("table-refused-more-of-chunk", { n: MAX_QUARANTINE }),
      rejected.first,
    );
  }
  await addToQuarantine(client, rejected.blocks());
}

/** What tells the events at these positions, from the keys of the spill. */
function eventNames(
  { context }: TaskEnvironment,
  chunkNo: number,
  places: Int32Array,
): Map<number, string> {
  const positions = places.toSorted();
  const decoder = new TextDecoder();
  let text = "";
  for (const block of readKeys(context.spillDir, chunkNo, { positions })) {
    text += decoder.decode(block, { stream: true });
  }
  return new Map(
    text.split("\n").slice(0, -1).map((line) => {
      const [key, fingerprint, , , position] = line.split("\t");
      const eventId = key!.replace(/\\(.)/g, (_, c) => ESCAPED[c as string] ?? c);
      return [Number(position), eventName({ eventId, fingerprint: fingerprint!.slice(3) })];
    }),
  );
}

/** What COPY text writes with a backslash (spill/writer.ts). */
const ESCAPED: Record<string, string> = { t: "\t", n: "\n", r: "\r" };

/** A record that the source does not give again: the row that was to be written, by field; of a deletion its key. */
function asWritten({ row }: RefusedRow, position: number, table: TypedTable | null): Rejected {
  const values = JSON.parse(row) as Record<string, unknown> | string;
  const raw = table === null || typeof values === "string" ? row : JSON.stringify(
    Object.fromEntries(
      table.columns.map(({ name, path }) => [path.replaceAll("\\.", "."), values[name]]),
    ),
  );
  return { position, output: 0, rule: REFUSED, message: NONE, field: null, raw };
}

/** PostgreSQL's own words, which name constraint and column; of a trigger what it has said. */
function messageOf({ code, constraint, message }: RefusedRow): Message {
  const named = constraint === null || message.includes(constraint) ? "" : ` (${constraint})`;
  const error = `${message}${named}${code === null ? "" : `, SQLSTATE ${code}`}`;
  return say("table-refuses", { error });
}

/** The field of the column that an error names, or that its message is about. */
function fieldOf({ column }: RefusedRow, { columns }: TypedTable): string | null {
  return columns.find(({ name }) => name === column)?.path.replaceAll("\\.", ".") ?? null;
}
