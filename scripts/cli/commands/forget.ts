import type { Forgotten } from "../../../pipeline/forget.ts";
import { count } from "../../terminal.ts";
import { post } from "../api.ts";
import type { Command } from "../command.ts";
import { EXIT, UsageError } from "../exit_codes.ts";
import { printable } from "../text.ts";

export const forget: Command = {
  name: "forget",
  summary: "remove one key of a dataset from everything stored",
  description:
    `Deletes the rows of a key, its rejected records, request bodies and log lines that contain it, and
records of its deletion, and removes it from errors and warnings of runs; in one transaction. The
audit entry has the counts, but not the key. It needs the role admin.

Write KEY as messages show it: the parts of a key with | between them. Give a hashed key as it was
read, or as its hash. With - it is read from standard input, so that no shell history has it.

Not reached: the source (remove it there first, or the next load brings it back), backups, replicas
and WAL, audit entries of failed runs until their retention, and copies that consumers made.`,
  arguments: [{ name: "KEY", help: "what identifies the record; - reads it" }],
  options: {
    dataset: { type: "string", value: "NAME", help: "schema.table" },
    unreadable: {
      type: "boolean",
      help: "also unparsable rejected records that contain the text of the key",
    },
    yes: { type: "boolean", short: "y", help: "do not ask" },
  },
  examples: [
    "etl forget 4711 --dataset public.customers",
    "etl forget 'ES|4711' --dataset public.customers --yes",
    "etl forget - --dataset public.customers --yes < key.txt",
  ],
  async run(call) {
    const [given] = call.args;
    const { dataset } = call.text;
    if (given === undefined || dataset === undefined) {
      throw new UsageError("etl forget needs a key and --dataset, such as public.customers");
    }
    const key = given === "-" ? (await call.readFile("-")).replace(/\r?\n$/, "") : given;
    if (!call.flags.yes) {
      if (!call.canAsk || given === "-") {
        throw new UsageError("what is forgotten cannot be brought back: say --yes to agree");
      }
      if (!call.ask(`Remove this key from all that is kept of ${printable(dataset)}?`, "no")) {
        call.err.line("Nothing was removed.");
        return EXIT.cancelled;
      }
    }
    const done = await post<Forgotten>(
      await call.connect(),
      `/api/datasets/${encodeURIComponent(dataset)}/forget`,
      { key, unreadable: call.flags.unreadable === true },
    );
    if (call.flags.json) {
      call.out.line(JSON.stringify(done));
      return EXIT.succeeded;
    }
    const { rows, quarantine, uploads, tombstones, log_lines, texts, left } = done;
    call.out.line(
      `Removed from ${printable(done.dataset)}: ${count(rows)} rows, ${
        count(quarantine)
      } rejected records, ` +
        `${count(uploads)} request bodies, ${count(tombstones)} notes of deletions, ${
          count(log_lines)
        } lines of logs; ` +
        `taken out of ${count(texts)} errors, warnings and results.`,
    );
    for (const line of leftLines(left)) call.out.line(line);
    call.out.line(
      "Not reached: the source, which brings it back with the next load if it is still there; backups, replicas and WAL; " +
        "audit entries until their retention; copies that consumers made.",
    );
    return EXIT.succeeded;
  },
};

function leftLines(
  { foreign_rows, unreadable, runs, uploads, short }: Forgotten["left"],
): string[] {
  return [
    ...(foreign_rows === 0 ? [] : [
      `Left: ${
        count(foreign_rows)
      } rows with this key that no run has written: they are their owner's.`,
    ]),
    ...(unreadable === 0 ? [] : [
      `Left: ${
        count(unreadable)
      } rejected records that cannot be parsed and have its text in them; --unreadable removes them.`,
    ]),
    ...(runs.length === 0 ? [] : [
      `Runs are going on that may bring it back; ask again when they have ended: ${
        runs.join(", ")
      }`,
    ]),
    ...uploads.map(({ upload_id, until }) =>
      `Left: request body ${upload_id}, which such a run still reads; kept until ${until}.`
    ),
    ...(short ? ["The key is too short to be looked for in logs and errors."] : []),
  ];
}
