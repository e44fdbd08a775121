import { Canonicalizer } from "../../../pipeline/canonical.ts";
import { parseConf } from "../../../pipeline/conf_errors.ts";
import { parseVerbatim } from "../../../pipeline/numbers.ts";
import type { Preview } from "../../../pipeline/preview.ts";
import type { ColumnProposal } from "../../../pipeline/sources/propose_columns.ts";
import type { ProfileResult } from "../../../pipeline/suite_tasks.ts";
import { count, type Terminal } from "../../terminal.ts";
import { type Api, post, requestText, sending } from "../api.ts";
import type { Command } from "../command.ts";
import { confText, readConf } from "../conf_input.ts";
import { EXIT, UsageError } from "../exit_codes.ts";
import { sourcesHelp } from "../help.ts";
import { type Column, cropped, printable, RIGHT, table } from "../text.ts";

export const preview: Command = {
  name: "preview",
  summary: "how the first records of a source would be stored; creates no run, writes nothing",
  description:
    `Reads the first records of a source, transforms and checks them as a run would, and shows
up to 20 events, the records that would be rejected and why, and whether the key is unique. Creates
no run and writes nothing.`,
  options: {
    source: { type: "string", value: "JSON", help: "the source; @FILE reads it from a file" },
    conf: { type: "string", value: "JSON", help: "a whole conf, as `etl run` takes it" },
    set: { type: "string", multiple: true, value: "NAME=VALUE", help: "one parameter" },
  },
  examples: [
    "etl preview",
    `etl preview --source '{"type": "file", "path": "sales.csv"}'`,
    `etl preview --source '{"type": "file", "path": "sales.csv", "key": "id",`,
    `                       "occurred_at": "sold_at", "event_type": "sale"}'`,
    "etl preview --conf @nightly.json --set transform=example",
  ],
  more: sourcesHelp,
  async run(call) {
    const { text, lists, flags, out } = call;
    const conf = await readConf(
      { conf: text.conf, source: text.source, set: lists.set ?? [] },
      call.readFile,
    );
    if (!call.usesServer) parseConf(conf);
    const api = await call.connect();
    const body = await previewText(api, conf);
    if (flags.json) out.line(body.trim());
    else for (const line of previewLines(out, readPreview(body))) out.line(line);
    return EXIT.succeeded;
  },
};

/** The preview of a conf as the API writes it. A problem that is answered is thrown. */
export const previewText = (api: Api, conf: Record<string, unknown>): Promise<string> =>
  requestText(api, "/api/etl/preview", sending("POST", confText(conf)));

/** A preview with every digit of its numbers. */
export const readPreview = (text: string): Preview => parseVerbatim(text) as unknown as Preview;

/** A preview as aligned tables. */
export function previewLines(out: Terminal, preview: Preview): string[] {
  const { sampled, counts, warnings } = preview;
  const facts = [
    `${count(counts.events)} event${counts.events === 1 ? "" : "s"}`,
    `${count(counts.rejected)} rejected`,
    ...(counts.filtered > 0 ? [`${count(counts.filtered)} filtered`] : []),
    ...(counts.extra > 0 ? [`${count(counts.extra)} extra outputs`] : []),
  ].join(", ");
  return [
    "",
    out.paint("bold", `The first ${count(sampled)} record${sampled === 1 ? "" : "s"}: ${facts}`),
    "",
    ...(preview.events.length > 0 ? [...eventTable(out, preview), ""] : []),
    ...(preview.rejected.length > 0 ? [...rejectedTable(out, preview), ""] : []),
    keyLine(out, preview),
    ...tableLines(preview),
    ...proposalLines(out, preview.columns ?? []),
    ...warnings.map((warning) => `${out.paint("yellow", "!")} ${printable(warning)}`),
    "",
  ];
}

/** Which columns a typed table has or gets. */
function tableLines({ table }: Preview): string[] {
  if (table === null || table === undefined) return [];
  const columns = table.map(({ name, type }) => `${printable(name)} ${type}`);
  return [`Columns of the table: ${columns.join(", ")}`];
}

const ROOM = { event_id: 32, event_type: 20 };

function eventTable(out: Terminal, { events, counts }: Preview): string[] {
  const canonical = new Canonicalizer();
  const hasVersion = events.some(({ version }) => version !== null);
  const hasTime = events.some(({ occurred_at }) => occurred_at !== null);
  const columns: Column<Preview["events"][number]>[] = [
    ["event_id", (event) => event.event_id, { maxWidth: ROOM.event_id }],
    ["event_type", (event) => event.event_type, { maxWidth: ROOM.event_type }],
    ["occurred_at", (event) => event.occurred_at ?? ""],
    ["version", (event) => event.version ?? "", { maxWidth: 24 }],
    ["source", (event) => event.source, { maxWidth: 20 }],
    ["payload", (event) => canonical.text(event.payload)],
  ];
  const [title = "", ...rows] = table(
    events,
    columns.filter(([title]) =>
      !(title === "occurred_at" && !hasTime || title === "version" && !hasVersion)
    ),
    out.width,
  );
  const more = counts.events - events.length;
  return [
    out.paint("cyan", title),
    ...rows,
    ...(more > 0 ? [out.paint("dim", `… and ${count(more)} more`)] : []),
  ];
}

/** Declarations that would change what values become, ready to copy. */
function proposalLines(out: Terminal, columns: ColumnProposal[]): string[] {
  if (columns.length === 0) return [];
  const declared = Object.fromEntries(columns.map(({ name, declare }) => [name, declare]));
  return [
    out.paint("cyan", "Declarations to consider, in source:"),
    printable(`  "columns": ${JSON.stringify(declared)}`),
    ...columns.map(({ name, why, fits, misfits }) => {
      const odd = misfits.length === 0
        ? ""
        : `: ${misfits.map((text) => JSON.stringify(text)).join(", ")}`;
      const share = fits === 1 ? "" : `, ${Math.floor(fits * 1000) / 10} % fit`;
      return printable(`  ${name}: ${why}${share}${odd}`);
    }),
    "",
  ];
}

function rejectedTable(out: Terminal, { rejected, rules, counts }: Preview): string[] {
  const [title = "", ...rows] = table(
    rejected,
    [
      [
        "where",
        ({ position, file, line }) => line === null ? `record ${position + 1}` : `${file}:${line}`,
        { ...RIGHT, maxWidth: 40 },
      ],
      ["rule", ({ rule }) => rule],
      ["why", ({ message }) => message, { maxWidth: 70 }],
      ["as it was read", ({ raw }) => raw],
    ],
    out.width,
  );
  return [
    out.paint("red", `Rejected ${count(counts.rejected)}`) +
    `: ${Object.entries(rules).map(([rule, times]) => `${rule} ${count(times)} ×`).join(", ")}`,
    out.paint("cyan", title),
    ...rows,
  ];
}

function keyLine(out: Terminal, { key, counts }: Preview): string {
  if (key.fields === null) {
    return "Key: none is given, so the hash of the record identifies it: the same record is stored once.";
  }
  const fields = printable(key.fields.join(", "));
  if (counts.events === 0) return `Key: ${fields}.`;
  if (key.unique) {
    return `${out.paint("green", "✓")} Key ${fields} is unique in these ${
      count(counts.events)
    } events.`;
  }
  const [first] = key.repeated;
  const where = first!.positions.map((position) => position + 1).join(", ");
  return `${out.paint("yellow", "!")} Key ${fields} is not unique: ${count(key.distinct)} keys in ${
    count(counts.events)
  } events. ${
    printable(cropped(first!.event_id, 40))
  } is in records ${where}: one of them would be stored.`;
}

export const profile: Command = {
  name: "profile",
  summary: "propose an expectation suite from the data of a source",
  description:
    `Reads the records of a source, transforms them as a run would, and proposes an expectation
suite that they meet: types, nulls, ranges, sets and uniqueness, as JSON ready to edit. Without a
server it reads all records; a server reads the first 100,000, or --records. Creates no run and
stores nothing. Ranges and sets are those of the records read: widen them before you enforce them.
Save the suite in suites/, or store it with \`etl suite put\`.`,
  options: {
    source: { type: "string", value: "JSON", help: "the source; @FILE reads it from a file" },
    conf: { type: "string", value: "JSON", help: "a whole conf, as `etl run` takes it" },
    set: { type: "string", multiple: true, value: "NAME=VALUE", help: "one parameter" },
    name: {
      type: "string",
      value: "NAME",
      help: "name of the suite; one with a table's name applies to it. Default: proposed",
    },
    records: { type: "string", value: "N", help: "read only the first N records" },
    out: {
      type: "string",
      value: "FILE",
      help: "write the suite to a new file",
    },
  },
  examples: [
    `etl profile --source '{"type": "file", "path": "sales.csv", "key": "id"}' --name sales`,
    "etl profile --conf @nightly.json --name sales --out suites/sales.json",
  ],
  more: sourcesHelp,
  async run(call) {
    const { text, lists, flags, out, err } = call;
    const conf = await readConf(
      { conf: text.conf, source: text.source, set: lists.set ?? [] },
      call.readFile,
    );
    if (!call.usesServer) parseConf(conf);
    const query = new URLSearchParams();
    if (text.name !== undefined) query.set("name", text.name);
    if (text.records !== undefined) {
      if (!/^[1-9]\d{0,11}$/.test(text.records)) {
        throw new UsageError(
          `--records must be a whole number of at least 1, not '${text.records}'`,
        );
      }
      query.set("records", text.records);
    }
    const api = await call.connect();
    const result = await post<ProfileResult>(api, `/api/suites/profile?${query}`, confText(conf));
    const { suite, events, warnings } = result;
    const json = JSON.stringify(suite, null, 2);
    if (text.out !== undefined) await call.writeNewFile(text.out, `${json}\n`);
    if (flags.json) out.line(JSON.stringify(result));
    else if (text.out === undefined) out.line(json);
    const expectations = (suite.expectations as unknown[]).length;
    err.line(
      `${count(expectations)} expectations hold on ${count(events)} events` +
        (text.out === undefined ? "." : `; they are in ${text.out}.`),
    );
    for (const line of proposalLines(err, result.columns ?? [])) err.line(line);
    for (const warning of warnings) err.line(`${err.paint("yellow", "!")} ${printable(warning)}`);
    return EXIT.succeeded;
  },
};
