import { REQUEST_BODY } from "../../../vocabulary/words.ts";
import { basename, dirname } from "node:path";
import type { Preview } from "../../../pipeline/preview.ts";
import type { QuarantineView } from "../../../store/quarantine.ts";
import type { RunDetail } from "../../../vocabulary/run_schema.ts";
import type { Submitted } from "../../../vocabulary/run_schema.ts";
import type { ColumnProposal } from "../../../store/datasets.ts";
import { nearestName } from "../../../vocabulary/nearest_name.ts";
import { Problem } from "../../../vocabulary/problem.ts";
import { count } from "../../terminal.ts";
import { type Api, post, problemOf, request, sending } from "../api.ts";
import type { Call, Command } from "../command.ts";
import { confText, readConf } from "../conf_input.ts";
import { EXIT, UsageError } from "../exit_codes.ts";
import { findRun, watchToEnd } from "../run_follow.ts";
import { printable } from "../text.ts";
import { previewLines, previewText, readPreview } from "./preview.ts";
import { placeOf } from "./runs.ts";

type Conf = Record<string, unknown> & { source: Record<string, unknown> };

/** Rejected records that are shown at the end. */
const SHOWN_REJECTED = 5;

export const load: Command = {
  name: "load",
  summary: "load a file, folder or URL into a table: shows a preview, asks, loads",
  description:
    `Loads a file, all files of a folder, a glob, a URL or the standard input (-) into a table. Shows
a preview first. On a terminal it asks before it loads; elsewhere, and with --yes, it loads at once.
Paths are relative to the current directory. Rejected records are listed with file and line. After
the first load the columns can be queried by name; with --typed they are columns of the table.`,
  arguments: [{ name: "WHAT", help: "a file, folder, glob or URL; - is standard input" }],
  options: {
    key: {
      type: "string",
      value: "FIELD[,FIELD…]",
      help: "the field that identifies a record; if not given, the whole content does",
    },
    time: { type: "string", value: "FIELD", help: "the field with the time of the event" },
    version: {
      type: "string",
      value: "FIELD",
      help: "a number or time that grows with each version of a record; the highest wins",
    },
    to: {
      type: "string",
      value: "[SCHEMA.]TABLE",
      help: "the table, created if missing; default: named after the file",
    },
    typed: {
      type: "boolean",
      help: "a table with a column for each field, instead of the records as JSON",
    },
    exclude: {
      type: "string",
      value: "FIELDS",
      help: "personal data, a,b: fields to leave out before anything is stored or shown",
    },
    hash: {
      type: "string",
      value: "FIELDS",
      help: "fields to replace by a keyed hash before anything is stored (ETL_HASH_SECRET)",
    },
    "add-columns": {
      type: "boolean",
      help: "for your own table: add the columns that a run needs (_etl_…)",
    },
    write: {
      type: "string",
      value: "WAY",
      help: "upsert (default), append, replace, mirror; see docs/ways_to_write.md",
    },
    "on-missing": {
      type: "string",
      value: "delete|mark",
      help:
        "with --write mirror: delete or mark rows that the source no longer has; default: delete",
    },
    format: { type: "string", value: "FORMAT", help: "csv, tsv, ndjson, json, parquet or arrow" },
    set: {
      type: "string",
      multiple: true,
      value: "NAME=VALUE",
      help: "any other parameter; source.delimiter=… for members of the source",
    },
    "dry-run": { type: "boolean", help: "write nothing; only report what would be written" },
    yes: {
      type: "boolean",
      short: "y",
      help: "do not ask; a mirror may delete any share of its rows (max_delete_ratio 1)",
    },
  },
  examples: [
    "etl load orders.csv --key order_id --time ordered_at --to orders",
    "etl load 'sales/2026-*.parquet' --key id",
    "etl load 'sales/2026-*.parquet' --typed --key region,id --to sales",
    "etl load orders.csv --typed --add-columns --to shop.orders",
    "etl load customers.csv --key id --to customers --write mirror",
    "etl load https://example.com/rates.csv --key currency,day --to finance.rates",
    "psql -c 'copy (select * from t) to stdout csv header' | etl load - --format csv --to t --key id",
  ],
  async run(call) {
    const what = await whatIsLoaded(call.args[0]!, call);
    const conf = await confOf(what, call);
    const api = await call.connect({
      executes: true,
      ...(what.dataDir === undefined ? {} : { dataDir: what.dataDir }),
    });
    const asks = what.body === undefined && call.err.isTerminal && !call.flags.yes &&
      !call.flags.json && call.canAsk;
    if (what.body === undefined) {
      const preview = await previewOf(api, conf).catch((error) => {
        // one look at the header tells: nobody has to be asked
        const [delimiter, encoding] = ["delimiter", "encoding"].map((name) =>
          conf.source[name] === undefined ? meant(error, `source.${name}`) : undefined
        );
        if (delimiter !== undefined) {
          conf.source.delimiter = delimiter;
          const setting = delimiter === "\t"
            ? "$'source.delimiter=\\t'"
            : `'source.delimiter=${delimiter}'`;
          call.err.line(`Columns are separated by ${JSON.stringify(delimiter)}: --set ${setting}`);
        } else if (encoding !== undefined) {
          conf.source.encoding = encoding;
          call.err.line(`The text is ${encoding}: --set source.encoding=${encoding}`);
        } else throw error;
        return previewOf(api, conf);
      });
      checkFields(preview, conf);
      if (!call.flags.json) {
        for (const line of previewLines(call.err, preview)) call.err.line(line);
      }
    }
    if (asks) {
      if (!call.ask(`Load it into ${tableOf(conf)}?`, "yes")) {
        call.err.line("Nothing was loaded.");
        return EXIT.cancelled;
      }
      // whoever has seen what is rejected and said yes wants the rest
      conf.min_acceptance_ratio ??= 0;
    }
    const submitted = await ask(api, conf, what);
    const code = await watchToEnd(call, api, submitted.run_id);
    await tellWhatNext(call, api, {
      runId: submitted.run_id,
      conf,
      ...(what.body === undefined ? {} : { sent: what.name || "standard input" }),
    });
    return code;
  },
};

interface Loaded {
  /** Source members that say where the records are; of a body, what the query says. */
  source: Record<string, unknown>;
  /** What the table is named after. */
  name: string;
  /** ETL_DATA_DIR of a process of our own, for files elsewhere. */
  dataDir?: string;
  /** The data itself, where the server cannot read it. */
  body?: () => Promise<Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>>;
}

async function whatIsLoaded(what: string, call: Call): Promise<Loaded> {
  if (/^https?:\/\//i.test(what)) {
    const url = URL.parse(what);
    if (url === null) throw new UsageError(`'${what}' is not a URL`);
    const name = basename(unescaped(url.pathname)) || url.hostname;
    return { source: { type: "http", url: what }, name };
  }
  if (what === "-") {
    if (call.text.to === undefined) {
      throw new UsageError("to load standard input, name the table with --to");
    }
    const { readable } = Deno.stdin;
    // a server takes large bodies only with their length
    const body = async () => call.usesServer ? await new Response(readable).bytes() : readable;
    return { source: {}, name: "", body };
  }
  const path = call.resolvePath(what);
  const stat = await Deno.stat(path).catch(() => null);
  if (stat?.isDirectory) {
    return fromFolder(path, "*", { name: basename(path), call });
  }
  if (stat?.isFile) {
    if (!call.usesServer) {
      return fromFolder(dirname(path), basename(path), { name: basename(path), call });
    }
    return {
      source: {},
      name: basename(path),
      body: () => Deno.readFile(path),
    };
  }
  if (!/[*?[{]/.test(what)) throw new UsageError(`there is no file ${path}`);
  const parts = path.split("/");
  // a folder may be called as a glob is written
  let fixed = parts.findIndex((part) => /[*?[{]/.test(part));
  while (fixed < parts.length - 1 && await isFolder(parts.slice(0, fixed + 1).join("/"))) fixed++;
  return fromFolder(parts.slice(0, fixed).join("/") || "/", parts.slice(fixed).join("/"), {
    name: parts[fixed - 1] ?? "files",
    call,
  });
}

/** A path of a URL as it would be on a disk; one that is escaped wrongly as it is. */
function unescaped(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

const isFolder = (path: string) => Deno.stat(path).then((info) => info.isDirectory, () => false);

function fromFolder(
  folder: string,
  path: string,
  { name, call }: { name: string; call: Call },
): Loaded {
  if (call.usesServer) {
    throw new UsageError(
      `a server reads several files only below its own ETL_DATA_DIR: use \`etl run --source\`, ` +
        "or omit --server and ETL_SERVER to load them from here",
    );
  }
  return { source: { type: "file", path }, name, dataDir: folder };
}

async function confOf(what: Loaded, call: Call): Promise<Conf> {
  const { key, time, version, to, format, write, "on-missing": onMissing } = call.text;
  const [schema, table] = tableParts(to ?? tableNameOf(what.name));
  const given = await readConf({ set: call.lists.set ?? [] }, call.readFile);
  const fields = (text: string | undefined) => text?.split(",").map((field) => field.trim());
  const keys = fields(key);
  const [exclude, hash] = [fields(call.text.exclude), fields(call.text.hash)];
  return {
    run_label: `load ${table}`,
    ...given,
    ...(schema === undefined ? {} : { schema_name: schema }),
    table_name: table,
    ...(call.flags["dry-run"] ? { dry_run: true } : {}),
    ...(call.flags.typed ? { layout: "typed" } : {}),
    ...(exclude === undefined ? {} : { exclude }),
    ...(hash === undefined ? {} : { hash }),
    ...(call.flags["add-columns"] ? { layout: "typed", add_columns: true } : {}),
    ...(write === undefined ? {} : { write }),
    ...(onMissing === undefined ? {} : { on_missing: onMissing }),
    ...(call.flags.yes && (write ?? given.write) === "mirror" &&
        given.max_delete_ratio === undefined
      ? { max_delete_ratio: 1 }
      : {}),
    source: {
      ...what.source,
      name: table,
      ...(keys === undefined ? {} : { key: keys.length === 1 ? keys[0] : keys }),
      ...(time === undefined ? {} : { occurred_at: time }),
      ...(version === undefined ? {} : { version }),
      ...(format === undefined ? {} : { format }),
      ...given.source as Record<string, unknown> | undefined,
    },
  };
}

function tableParts(text: string): [string | undefined, string] {
  const at = text.indexOf(".");
  return at < 0 ? [undefined, text] : [text.slice(0, at), text.slice(at + 1)];
}

/** `2026 Orders.csv.gz` is the table `t_2026_orders`; `orders.2026.csv` is another than `orders.2025.csv`. */
function tableNameOf(name: string): string {
  const words = name.replace(/(\.\w{1,8})?(\.gz)?$/i, "").toLowerCase().replace(/[^a-z0-9]+/g, "_")
    .replace(/^_+|_+$/g, "").slice(0, 50);
  if (words === "") return "loaded";
  return /^[a-z]/.test(words) ? words : `t_${words}`;
}

const tableOf = (conf: Conf) => `${conf.schema_name ?? "public"}.${conf.table_name}`;

const previewOf = async (api: Api, conf: Conf): Promise<Preview> =>
  readPreview(await previewText(api, conf));

/** What a member of the source would have to be, where the beginning of the data shows it: delimiter or encoding. */
function meant(error: unknown, member: string): string | undefined {
  if (!(error instanceof Problem)) return undefined;
  return error.errors?.find(({ field }) => field === member)?.expected;
}

/** Says which fields there are where the key or the time names another. */
function checkFields({ events, rejected }: Preview, { source }: Conf): void {
  const records = [
    ...events.map(({ payload }) => payload as Record<string, unknown>),
    ...rejected.flatMap(({ record, raw }) => asObject(record ?? raw)),
  ];
  const fields = new Set(records.flatMap((record) => Object.keys(record ?? {})));
  if (fields.size === 0) return;
  const named = [...[source.key].flat(), source.occurred_at, source.version];
  for (const name of named) {
    if (typeof name !== "string" || fields.has(name) || name.includes(".")) continue;
    const meant = nearestName(name, [...fields]);
    throw new UsageError(
      `there is no field '${name}'${meant === undefined ? "." : `; did you mean ${meant}?`} ` +
        `The records have: ${[...fields].slice(0, 40).map((field) => printable(field)).join(", ")}`,
    );
  }
}

function asObject(raw: string): Record<string, unknown>[] {
  try {
    const value = JSON.parse(raw);
    if (Array.isArray(value?.["\0cells"])) return [Object.fromEntries(value["\0cells"])];
    return typeof value === "object" && value !== null ? [value] : [];
  } catch {
    return [];
  }
}

async function ask(api: Api, conf: Conf, { body, name }: Loaded): Promise<Submitted> {
  if (body === undefined) return await post<Submitted>(api, "/api/etl/run", confText(conf));
  const { source, ...params } = conf;
  const { format, ...members } = source;
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries({ ...params, ...members })) {
    for (const each of Array.isArray(value) ? value : [value]) query.append(key, textOf(each));
  }
  const response = await api.fetch(`/api/etl/run?${query}`, {
    method: "POST",
    headers: { "content-type": mediaTypeOf(format as string | undefined, name) },
    body: await body(),
  });
  const text = await response.text();
  if (!response.ok) throw problemOf(response, text);
  return JSON.parse(text);
}

const textOf = (value: unknown) => typeof value === "string" ? value : JSON.stringify(value);

const MEDIA_TYPES: Record<string, string> = {
  csv: "text/csv",
  tsv: "text/tab-separated-values",
  ndjson: "application/x-ndjson",
  jsonl: "application/x-ndjson",
  parquet: "application/vnd.apache.parquet",
  arrow: "application/vnd.apache.arrow.file",
};

function mediaTypeOf(format: string | undefined, name: string): string {
  const ending = format ?? /\.(\w+)(?:\.gz)?$/.exec(name)?.[1]?.toLowerCase() ?? "";
  const type = MEDIA_TYPES[ending];
  if (type !== undefined) return type;
  throw new UsageError(
    `give the format of ${name || "standard input"} with --format: ${
      Object.keys(MEDIA_TYPES).join(", ")
    }`,
  );
}

/** After the load: what was rejected and where, columns by name, and how to look at it. */
async function tellWhatNext(
  call: Call,
  api: Api,
  { runId, conf, sent }: { runId: string; conf: Conf; sent?: string },
): Promise<void> {
  if (call.flags.json) return;
  const { err } = call;
  const run = await findRun(api, runId);
  if ((run.counts?.rejected ?? 0) > 0) await tellRejected(call, api, { run, sent });
  if (run.state !== "succeeded" || run.dry_run) return;
  const typed = conf.layout === "typed";
  const view = typed ? null : await typedView(api, tableOf(conf));
  const look = whereToLook(call, { table: tableOf(conf), view });
  if (call.psql !== null || api.inProcess) err.line(`Look at it: ${look}`);
  if (view !== null) err.line(`${view} has its columns by name.`);
}

/** How to see a table: with psql where this process knows how to reach the database, else on its page. */
export function whereToLook(
  { psql, task }: Pick<Call, "psql" | "task">,
  { table, view }: { table: string; view: string | null },
): string {
  return psql !== null
    ? `psql ${psql} -c 'select * from ${view ?? table} limit 10'`
    : `${task("start")}, then http://127.0.0.1:8080/etl/datasets/${encodeURIComponent(table)}`;
}

/** `sent` is what the request body was read from. */
async function tellRejected(
  { err }: Call,
  api: Api,
  { run: { run_id, counts }, sent }: { run: RunDetail; sent: string | undefined },
): Promise<void> {
  const named = (text: string) =>
    printable(sent === undefined ? text : text.replaceAll(REQUEST_BODY, () => sent));
  const { items } = await request<{ items: QuarantineView[] }>(
    api,
    `/api/etl/runs/${run_id}/quarantine?limit=${SHOWN_REJECTED}`,
  );
  for (const item of items) {
    const field = item.field === null ? "" : ` (${item.field})`;
    err.line(
      `${err.paint("dim", named(placeOf(item)))}  ${
        named(`${item.rule}${field}: ${item.message}`)
      }`,
    );
  }
  const more = counts!.rejected! - items.length;
  if (more > 0) err.line(err.paint("dim", `… and ${count(more)} more`));
  err.line(`All of them: etl quarantine ${run_id}; load them again: etl replay ${run_id}`);
}

/** The typed view of a table; made from what the data looks like where there is none. Null where that cannot be. */
async function typedView(api: Api, dataset: string): Promise<string | null> {
  const path = `/api/datasets/${encodeURIComponent(dataset)}/columns`;
  try {
    const known = await request<{ view: string | null }>(api, path);
    if (known.view !== null) return known.view;
    const { columns } = await request<ColumnProposal>(api, `${path}/proposal`);
    if (columns.length === 0) return null;
    const made = await request<{ view: string }>(api, path, sending("PUT", { columns }));
    return made.view;
  } catch (error) {
    // the load is done; a view is only a convenience, and may need rights that this role lacks
    if (error instanceof Problem) return null;
    throw error;
  }
}
