import { isDeepStrictEqual } from "node:util";
import type { SourceTables } from "../../../routes/connections.ts";
import type { ScheduleJson } from "../../../routes/schedule_body.ts";
import type { RunDetail, RunView, Submitted } from "../../../vocabulary/run_schema.ts";
import { Problem } from "../../../vocabulary/problem.ts";
import { count, duration } from "../../terminal.ts";
import { type Api, find, post, request, requestText, sending } from "../api.ts";
import { type Call, type Command, printTable } from "../command.ts";
import { applySetting, confText } from "../conf_input.ts";
import { EXIT, type ExitCode, exitCodeOfFailures, UsageError } from "../exit_codes.ts";
import { followRun } from "../run_follow.ts";
import { type Column, minuteOf, printable, problemText, RIGHT } from "../text.ts";

type Table = SourceTables["tables"][number];
type Conf = Record<string, unknown> & { source: Record<string, unknown> };

export const replicate: Command = {
  name: "replicate",
  summary: "all tables of another database's schema into tables here, as one group",
  description: `Reads the catalogue of a connection (PostgreSQL, MySQL, MariaDB), shows a plan for
each table, saves a configuration for each, and runs them, or schedules them with --schedule.
Repeat it to update the group: it adds new tables and columns and reports tables that no longer
exist. It reports and skips tables without a primary or unique key. See docs/replicate.md.

  etl replicate CONNECTION TABLES --to SCHEMA    create or update a group, and run it
  etl replicate --status [--to SCHEMA]           the state of its tables

The exit code is 0 if every table was replicated, otherwise 10 plus the number of others, up to 99.`,
  arguments: [
    { name: "CONNECTION", help: "ETL_CONNECTION_<NAME> of the server", optional: true },
    {
      name: "TABLES",
      help: "'sales.*', with * and ?; separate several with commas",
      optional: true,
    },
  ],
  options: {
    to: {
      type: "string",
      value: "SCHEMA",
      help: "target schema, which is also the group's name",
    },
    typed: {
      type: "boolean",
      help: "tables with the same columns, instead of records as JSON",
    },
    mirror: {
      type: "boolean",
      help: "also delete rows that the source no longer has; by default they stay",
    },
    cursor: {
      type: "string",
      value: "COLUMN",
      help: "read only newer rows in tables with this column; read other tables completely",
    },
    except: {
      type: "string",
      multiple: true,
      value: "TABLES",
      help: "tables to leave out, in the form of TABLES",
    },
    schedule: {
      type: "string",
      value: "CRON",
      help: 'schedule them instead of running them now: "0 3 * * *"',
    },
    "time-zone": { type: "string", value: "ZONE", help: "of --schedule, IANA name; default UTC" },
    set: {
      type: "string",
      multiple: true,
      value: "NAME=VALUE",
      help: "any other parameter of their runs: pool=nightly, source.lookback=600",
    },
    "dry-run": { type: "boolean", help: "only show the plan" },
    status: { type: "boolean", help: "the state of the tables of a group, or of all groups" },
    yes: { type: "boolean", short: "y", help: "do not ask" },
  },
  examples: [
    "etl replicate crm 'sales.*' --to crm_sales --typed --mirror",
    "etl replicate shop 'shop.*' --to shop --typed --cursor updated_at --except 'shop.tmp_*'",
    `etl replicate crm 'sales.*,hr.people' --to crm --typed --schedule "0 3 * * *"`,
    "etl replicate --status --to crm_sales",
  ],
  async run(call) {
    if (call.flags.status) return await status(call);
    const asked = askedFor(call);
    const api = await call.connect({ executes: !call.flags["dry-run"] && asked.cron === null });
    const plan = await planOf(api, asked);
    if (!call.flags.json) show(call, plan, asked);
    if (call.flags["dry-run"]) {
      if (call.flags.json) call.out.line(confText({ group: asked.group, tables: plan }));
      return EXIT.succeeded;
    }
    const todo = plan.filter(({ conf }) => conf !== null);
    const asks = call.err.isTerminal && !call.flags.yes && !call.flags.json && call.canAsk;
    if (asks && todo.length > 0) {
      const what = asked.cron === null ? "Replicate" : "Schedule";
      if (!call.ask(`${what} ${tables(todo.length)} into ${asked.group}?`, "yes")) {
        call.err.line("Nothing was changed.");
        return EXIT.cancelled;
      }
    }
    const failed = new Map<string, string>();
    for (const each of plan) if (each.what === "refused") failed.set(each.name, each.why!);
    for (const each of todo) {
      call.signals.signal.throwIfAborted();
      await make(api, each, asked).catch((error) => note(failed, each, error));
    }
    const made = todo.filter(({ name }) => !failed.has(name));
    const runs = asked.cron === null ? await runAll(call, api, made, failed) : [];
    return finish(call, asked, { plan, failed, runs });
  },
};

interface Asked {
  connection: string;
  patterns: string;
  except: string[];
  /** Schema of the tables here, beginning of the configurations' names and of the runs' labels. */
  group: string;
  cursor: string | null;
  cron: string | null;
  zone: string;
  /** What every conf has. */
  params: Conf;
}

function askedFor(call: Call): Asked {
  const { text, flags, lists, args: [connection, patterns] } = call;
  if (connection === undefined || patterns === undefined) {
    throw new UsageError(
      "etl replicate needs a connection and its tables: etl replicate crm 'sales.*' --to crm_sales",
    );
  }
  const group = text.to;
  if (group === undefined) {
    throw new UsageError(
      "name the schema into which the tables go with --to, such as --to crm_sales",
    );
  }
  if (!/^[A-Za-z_][A-Za-z0-9_$]{0,62}$/.test(group) || !/^[A-Za-z][A-Za-z0-9_]*$/.test(group)) {
    throw new UsageError(
      `--to is a schema of letters, digits and _, starting with a letter, not '${group}'`,
    );
  }
  if (flags.mirror && text.cursor !== undefined) {
    throw new UsageError(
      "--mirror compares whole tables and --cursor reads what is newer: leave one of them out",
    );
  }
  if (text["time-zone"] !== undefined && text.schedule === undefined) {
    throw new UsageError("--time-zone is that of --schedule, which is not there");
  }
  const params: Conf = {
    ...(flags.typed ? { layout: "typed", schema_policy: "evolve" } : {}),
    ...(flags.mirror ? { write: "mirror" } : {}),
    source: {},
  };
  for (const setting of lists.set ?? []) applySetting(params, setting);
  return {
    connection,
    patterns,
    except: lists.except ?? [],
    group,
    cursor: text.cursor ?? null,
    cron: text.schedule ?? null,
    zone: text["time-zone"] ?? "UTC",
    params,
  };
}

/** What becomes of a table. */
interface Planned {
  /** In the source: "sales.orders". */
  name: string;
  /** Its table here, and the name of its configuration: "crm_sales.orders". */
  into: string;
  what: "new" | "changed" | "same" | "refused" | "gone";
  /** What differs, or why it is refused. */
  why: string | null;
  key: string[] | null;
  columns: number;
  rows: number | null;
  cursor: string | null;
  /** Null where nothing is run. */
  conf: Conf | null;
  /** Fields and columns of the typed table that is there, to be added and widened. */
  alter: { add: Record<string, string>; types: Record<string, string> };
}

interface Declared {
  key: string[] | null;
  columns: { name: string; path: string; type: string }[];
}

/** Members of a source that are made from the catalogue and the options; all others are left as somebody set them. */
const OWN_MEMBERS = [
  "type",
  "name",
  "module",
  "connection",
  "connections",
  "table",
  "key",
  "page_key",
  "columns",
  "read_columns",
  "cursor",
];
const OWN_PARAMS = ["run_label", "schema_name", "table_name", "layout", "schema_policy", "write"];

async function planOf(api: Api, asked: Asked): Promise<Planned[]> {
  const listed = (patterns: string) =>
    request<SourceTables>(
      api,
      `/api/connections/${encodeURIComponent(asked.connection)}/tables?tables=${
        encodeURIComponent(patterns)
      }`,
    );
  const { kind, tables: found } = await listed(asked.patterns);
  const left = asked.except.length === 0
    ? new Set<string>()
    : new Set((await listed(asked.except.join(","))).tables.map(nameOf));
  const there = new Map(
    (await configurations(api)).filter(({ name, conf }) => groupOf(name, conf) === asked.group).map(
      ({ name, conf }) => [name, conf],
    ),
  );
  const wanted = found.filter((table) => !left.has(nameOf(table)));
  const takers = Map.groupBy(wanted, ({ name }) => tableName(name));
  const plans = await eightAtOnce(wanted, async (table) => {
    const into = `${asked.group}.${tableName(table.name)}`;
    const others = takers.get(tableName(table.name))!.filter((other) => other !== table);
    const refused = refusal(table, into) ??
      (others.length > 0
        ? `${others.map(nameOf).join(", ")} would have the same table here`
        : null);
    return await planned(api, table, {
      asked,
      kind,
      into,
      refused,
      before: there.get(into) ?? null,
    });
  });
  // of this connection and these names, as far as names tell: what another call of the group has made stays
  const present = new Set(found.map(nameOf));
  const gone = [...there].flatMap(([into, conf]) => {
    const { source } = conf;
    const of = source.connection ?? (source.connections as string[] | undefined)?.[0];
    const name = source.table === undefined
      ? String((source.config as { table?: string } | undefined)?.table ?? "")
      : unquoted(String(source.table));
    return of !== asked.connection || present.has(name) ||
        !asked.patterns.split(",").some((pattern) => globMatches(pattern.trim(), name))
      ? []
      : [{ ...NOTHING, name, into, what: "gone" as const, why: "the source has no such table" }];
  });
  if (plans.length === 0 && gone.length === 0) {
    throw new UsageError(
      `connection ${asked.connection} has no table called ${asked.patterns} that its user may see`,
    );
  }
  return [...plans, ...gone];
}

const NOTHING = {
  key: null,
  columns: 0,
  rows: null,
  cursor: null,
  conf: null,
  alter: { add: {}, types: {} },
};

const nameOf = ({ schema, name }: { schema: string; name: string }) => `${schema}.${name}`;

function globMatches(pattern: string, name: string): boolean {
  const source = pattern.replace(/[\\^$.+()[\]{}|]/g, "\\$&").replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^(?:[^.]+\\.)?${source}$`, "su").test(name);
}

/** A table's name here: one that needs no quotes, where that can be. */
function tableName(name: string): string {
  const plain = name.replace(/[^A-Za-z0-9_]+/g, "_");
  return /^[A-Za-z_]/.test(plain) ? plain : `t_${plain}`;
}

function refusal({ name, schema, key, columns, readable }: Table, into: string): string | null {
  if (!readable) return "the connection's user may not read it";
  if (key === null) {
    return "it has no primary key and no unique key without nulls, by which its rows could be told apart";
  }
  if (key.length > 16) return `its key has ${key.length} columns, and 16 are possible`;
  if (into.length > 100 || tableName(name).length > 63) return `its name is too long: ${into}`;
  if (schema.includes(".")) return "its schema has a dot in its name";
  return columns.length === 0 ? "it has no columns" : null;
}

/** The group of a configuration that this command has made; null for any other. */
function groupOf(name: string, conf: Conf): string | null {
  const label = String(conf.run_label ?? "");
  const slash = label.indexOf("/");
  return slash > 0 && label.replace("/", ".") === name && conf.schema_name === label.slice(0, slash)
    ? label.slice(0, slash)
    : null;
}

async function configurations(api: Api): Promise<{ name: string; conf: Conf }[]> {
  const { items } = await request<{ items: { name: string; conf: Conf }[] }>(
    api,
    "/api/configurations",
  );
  return items;
}

async function planned(
  api: Api,
  table: Table,
  { asked, kind, into, refused, before }: {
    asked: Asked;
    kind: SourceTables["kind"];
    into: string;
    refused: string | null;
    before: Conf | null;
  },
): Promise<Planned> {
  const common = {
    name: nameOf(table),
    into,
    key: table.key,
    columns: table.columns.length,
    rows: table.rows,
  };
  const no = (why: string): Planned => ({ ...NOTHING, ...common, what: "refused", why });
  if (refused !== null) return no(refused);
  const cursor =
    table.columns.some((column) =>
        column.name === asked.cursor && /^(integer|numeric|date|timestamptz)/.test(column.declare)
      )
      ? asked.cursor
      : null;
  const declared = await declaredTable(api, into);
  const types = columnTypes(table, declared);
  if (typeof types === "string") return no(types);
  if (declared !== null && !isDeepStrictEqual(declared.key, table.key!.map(path))) {
    return no(
      `its key is ${table.key!.join(", ")} now, and that of ${into} is ${
        declared.key?.join(", ") ?? "none"
      }: replicate it into another schema`,
    );
  }
  const made = confOf(table, { asked, kind, into, cursor, columns: types.columns });
  const conf = before === null ? made : merged(before, made);
  const differs = before === null ? [] : differences(before, conf);
  const altered = [...Object.keys(types.add), ...Object.keys(types.types)];
  return {
    ...common,
    what: before === null ? "new" : differs.length + altered.length > 0 ? "changed" : "same",
    why: before === null
      ? null
      : [...new Set([...differs, ...altered.map((name) => `column ${name}`)])]
        .join(", ") || null,
    cursor,
    conf,
    alter: { add: types.add, types: types.types },
  };
}

/** What the typed table of an earlier run has declared. */
async function declaredTable(api: Api, into: string): Promise<Declared | null> {
  const path = `/api/datasets/${encodeURIComponent(into)}/columns`;
  return (await find<{ table?: Declared }>(api, path))?.table ?? null;
}

const path = (field: string) => field.replaceAll(".", "\\.");

/**
 * Types of the columns for the conf; what a table that is there lacks, and what has to be wider in it. A text says which
 * column cannot be kept.
 */
function columnTypes(
  table: Table,
  declared: Declared | null,
): { columns: Record<string, string> } & Planned["alter"] | string {
  const columns: Record<string, string> = {};
  const alter: Planned["alter"] = { add: {}, types: {} };
  for (const { name, declare, type } of table.columns) {
    columns[name] = declare;
    if (declared === null) continue;
    const there = declared.columns.find((column) => column.path === path(name));
    if (there === undefined) {
      alter.add[name] = declare;
      continue;
    }
    const wider = widened(there.type, declare);
    if (wider === null) {
      return `its column ${name} is ${type} now, which ${there.type} of the table here does not hold: ` +
        "replicate it into another schema";
    }
    columns[name] = wider;
    if (wider !== there.type) alter.types[there.name] = wider;
  }
  return { columns, ...alter };
}

/** The type that holds the values of a column that is there and those of the source; null where none does that it can become. */
export function widened(there: string, wanted: string): string | null {
  if (there === wanted || there === "numeric" && isNumber(wanted)) return there;
  if (there === "timestamptz" && wanted === "date") return there;
  if (there === "date" && wanted === "timestamptz") return wanted;
  if (isNumber(there) && isNumber(wanted)) {
    // not every integer has 19 digits, and some have
    const [a, b] = [digits(there, 18), digits(wanted, 19)];
    return b !== null && a !== null && b.whole <= a.whole && b.scale <= a.scale ? there : "numeric";
  }
  return null;
}

const isNumber = (type: string) => /^(integer|numeric)/.test(type);

/** Digits before and after the point that a type holds; null: any. */
function digits(type: string, ofIntegers: number): { whole: number; scale: number } | null {
  if (type === "integer") return { whole: ofIntegers, scale: 0 };
  const [, precision, scale] = /^numeric\((\d+),(\d+)\)$/.exec(type) ?? [];
  return precision === undefined
    ? null
    : { whole: Number(precision) - Number(scale), scale: Number(scale) };
}

function confOf(
  table: Table,
  { asked, kind, into, cursor, columns }: {
    asked: Asked;
    kind: SourceTables["kind"];
    into: string;
    cursor: string | null;
    columns: Record<string, string>;
  },
): Conf {
  const { source: more, ...params } = asked.params;
  const { schema, name, primary } = table;
  const key = table.key!;
  const pages = primary ? {} : { page_key: key };
  const from = kind === "postgres"
    ? {
      type: "postgres",
      connection: asked.connection,
      table: `${quoted(schema)}.${quoted(name)}`,
      ...pages,
      ...(cursor === null ? {} : { cursor }),
    }
    : {
      type: "module",
      module: "mysql",
      connections: [asked.connection],
      config: {
        ...more.config as Record<string, unknown> | undefined,
        table: nameOf(table),
        ...pages,
        ...(cursor === null ? {} : { cursor }),
      },
    };
  return {
    ...params,
    run_label: into.replace(".", "/"),
    schema_name: asked.group,
    table_name: tableName(name),
    source: {
      ...more,
      ...from,
      name: `${asked.connection}.${nameOf(table)}`.slice(0, 200),
      key: key.length === 1 ? path(key[0]!) : key.map(path),
      columns,
      read_columns: false,
    },
  };
}

/** A name as a postgres source takes it. */
function quoted(name: string): string {
  return /["."]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name;
}

const unquoted = (table: string) =>
  table.replace(/"((?:[^"]|"")*)"/g, (_, name: string) => name.replaceAll('""', '"'));

/** The new conf, with what somebody has set besides: a pool, an SLA, fields that are left out. */
function merged(before: Conf, made: Conf): Conf {
  const without = (object: Record<string, unknown>, names: string[]) =>
    Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));
  const config = {
    ...without(
      before.source.config as Record<string, unknown> ?? {},
      ["table", "page_key", "cursor"],
    ),
    ...made.source.config as Record<string, unknown> | undefined,
  };
  return {
    ...without(before, OWN_PARAMS),
    ...made,
    source: {
      ...without(before.source, [...OWN_MEMBERS, "config"]),
      ...made.source,
      ...(made.source.config === undefined ? {} : { config }),
    },
  };
}

/** Names of what differs, in the words of a conf. */
function differences(before: Conf, after: Conf): string[] {
  const members = (a: Record<string, unknown>, b: Record<string, unknown>, within: string) =>
    [...new Set([...Object.keys(a), ...Object.keys(b)])]
      .filter((name) => name !== "source" && !isDeepStrictEqual(a[name], b[name]))
      .map((name) => `${within}${name}`);
  return [
    ...members(before, after, ""),
    ...members(before.source, after.source, "source."),
  ];
}

async function eightAtOnce<T, R>(all: T[], work: (each: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const entries = all.entries();
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (const [i, each] of entries) results[i] = await work(each);
  }));
  return results;
}

const tables = (n: number) => n === 1 ? "1 table" : `${count(n)} tables`;

/** The page on which the group stands alone. */
const pageOf = (group: string) => `/etl?q=${encodeURIComponent(`${group}/`)}`;

function show(call: Call, plan: Planned[], { group, params, cursor }: Asked): void {
  const write = String(params.write ?? "upsert");
  const reads: Column<Planned> = [
    "READS",
    (each) => each.conf === null ? "" : each.cursor ?? "all",
  ];
  printTable(call.out, plan, [
    ["TABLE", ({ name }) => name],
    ["INTO", ({ into }) => into],
    ["KEY", ({ key }) => key?.join(", ") ?? "none", { maxWidth: 40 }],
    ["COLUMNS", ({ what, columns }) => what === "gone" ? "" : String(columns), RIGHT],
    ["ROWS", ({ rows }) => rows === null ? "" : `~${count(rows)}`, RIGHT],
    ["WRITE", ({ conf }) => conf === null ? "" : write],
    ...(cursor === null ? [] : [reads]),
    ["WHAT", ({ what, why }) => why === null ? what : `${what}: ${why}`],
  ]);
  const told = { out: call.err };
  for (const { name, into, what } of plan) {
    if (what !== "gone") continue;
    told.out.line(
      printable(
        `${name} is gone: ${into} stays as it is and is not run. To end it: ` +
          `etl configuration delete ${into}; etl schedule delete ${into}`,
      ),
    );
  }
  told.out.line(`All of ${group} on one page: ${pageOf(group)}`);
}

/** Makes or changes what a table needs here; what is the same already is left alone. */
async function make(api: Api, each: Planned, asked: Asked): Promise<void> {
  const put = (path: string, body: Record<string, unknown>, method: "PUT" | "PATCH" = "PUT") =>
    requestText(api, path, sending(method, confText(body)));
  const { into, name, conf, alter } = each;
  if (Object.keys(alter.add).length + Object.keys(alter.types).length > 0) {
    await put(`/api/datasets/${encodeURIComponent(into)}/columns`, { ...alter }, "PATCH");
  }
  if (each.what !== "same") {
    await put(`/api/configurations/${into}`, {
      conf: conf!,
      description: `replicates ${name} of connection ${asked.connection}`,
    });
  }
  if (asked.cron === null) return;
  const present = await find<ScheduleJson>(api, `/api/schedules/${into}`);
  if (
    present?.cron === asked.cron && present.time_zone === asked.zone &&
    present.configuration === into
  ) return;
  const { missed, grace_seconds, overlap } = present ?? {};
  await put(`/api/schedules/${into}`, {
    conf: { ...present?.conf, configuration: into },
    cron: asked.cron,
    time_zone: asked.zone,
    description: present?.description ?? `replicates ${name} of connection ${asked.connection}`,
    ...(missed === undefined ? {} : { missed }),
    ...(grace_seconds === undefined ? {} : { grace_seconds }),
    ...(overlap === undefined ? {} : { overlap }),
  });
}

function note(failed: Map<string, string>, { name }: Planned, error: unknown): void {
  if (!(error instanceof Problem) || error.type === "unavailable") throw error;
  failed.set(name, problemText(error));
}

/** Asks for a run of each, then watches them to their ends. */
async function runAll(
  call: Call,
  api: Api,
  made: Planned[],
  failed: Map<string, string>,
): Promise<{ table: string; run: RunDetail }[]> {
  const submitted: { each: Planned; runId: string }[] = [];
  for (const each of made) {
    call.signals.signal.throwIfAborted();
    try {
      const { run_id } = await post<Submitted>(api, "/api/etl/run", { configuration: each.into });
      submitted.push({ each, runId: run_id });
    } catch (error) {
      note(failed, each, error);
    }
  }
  if (!api.inProcess) {
    call.err.line(
      `${tables(submitted.length)} are being loaded; Ctrl-C leaves them to the server.`,
    );
  }
  const runs: { table: string; run: RunDetail }[] = [];
  for (const { each, runId } of submitted) {
    const run = await followRun(api, runId, { onChange: () => {}, signal: call.signals.signal });
    runs.push({ table: each.name, run });
    if (run.state !== "succeeded") {
      failed.set(each.name, `${run.state}: ${run.error?.detail ?? ""} (etl show ${runId})`);
    }
    if (!call.flags.json) {
      call.err.line(printable(`${each.into.padEnd(32)} ${run.state}  ${countsText(run)}`));
    }
  }
  return runs;
}

function countsText({ counts, duration_ms }: RunDetail | RunView): string {
  const told = ["inserted", "updated", "deleted", "marked", "unchanged", "rejected"] as const;
  const by = (counts ?? {}) as Record<string, number | undefined>;
  const parts = told.flatMap((name) => (by[name] ?? 0) > 0 ? [`${count(by[name]!)} ${name}`] : []);
  return [...parts, ...(duration_ms === null ? [] : [duration(duration_ms)])].join(", ");
}

function finish(
  call: Call,
  asked: Asked,
  { plan, failed, runs }: {
    plan: Planned[];
    failed: Map<string, string>;
    runs: { table: string; run: RunDetail }[];
  },
): ExitCode {
  const { flags, out, err } = call;
  const done = plan.filter(({ conf, name }) => conf !== null && !failed.has(name)).length;
  if (flags.json) {
    out.line(JSON.stringify({
      group: asked.group,
      page: pageOf(asked.group),
      succeeded: done,
      failed: Object.fromEntries(failed),
      gone: plan.filter(({ what }) => what === "gone").map(({ name }) => name),
      runs: runs.map(({ table, run }) => ({
        table,
        run_id: run.run_id,
        state: run.state,
        counts: run.counts,
      })),
    }));
  } else {
    for (const [name, why] of failed) err.line(printable(`${name}: ${why}`, { lines: true }));
    const what = asked.cron === null ? "replicated" : `scheduled (${asked.cron}, ${asked.zone})`;
    out.line(
      `${tables(done)} ${what}${failed.size > 0 ? `, ${failed.size} not` : ""}. ` +
        `See them: etl replicate --status --to ${asked.group}`,
    );
  }
  return exitCodeOfFailures(failed.size);
}

async function status(call: Call): Promise<ExitCode> {
  const { to } = call.text;
  const api = await call.connect();
  const group = (await configurations(api)).flatMap(({ name, conf }) => {
    const of = groupOf(name, conf);
    return of === null || (to !== undefined && of !== to) ? [] : [{ name, conf, group: of }];
  });
  const rows = await eightAtOnce(group, async ({ name, conf, group }) => {
    const label = encodeURIComponent(String(conf.run_label));
    const [{ items: [last] }, slot] = await Promise.all([
      request<{ items: RunView[] }>(api, `/api/etl/runs?limit=1&run_label=${label}`),
      nextSlot(api, name),
    ]);
    return {
      table: name,
      group,
      run_id: last?.run_id ?? null,
      state: last?.state ?? null,
      requested_at: last?.requested_at ?? null,
      rows: last?.total_rows ?? null,
      next_slot: slot,
    };
  });
  const failed = rows.filter(({ state }) => state === "failed" || state === "cancelled").length;
  if (call.flags.json) call.out.line(JSON.stringify(rows));
  else if (rows.length === 0) {
    call.out.line(
      to === undefined
        ? "There are no groups yet. `etl replicate crm 'sales.*' --to crm_sales` makes one."
        : `There is no group ${to}; \`etl replicate --status\` lists all.`,
    );
  } else {
    printTable(call.out, rows, [
      ["TABLE", ({ table }) => table],
      ["STATE", ({ state }) => state ?? "not run yet"],
      ["LAST RUN", ({ requested_at }) => minuteOf(requested_at)],
      ["ROWS", ({ rows }) => rows === null ? "" : count(rows), RIGHT],
      ["NEXT", ({ next_slot }) => minuteOf(next_slot)],
      ["RUN", ({ run_id }) => run_id ?? ""],
    ]);
    for (const each of new Set(rows.map(({ group }) => group))) {
      call.err.line(`All of ${each} on one page: ${pageOf(each)}`);
    }
  }
  return exitCodeOfFailures(failed);
}

async function nextSlot(api: Api, name: string): Promise<string | null> {
  return (await find<ScheduleJson>(api, `/api/schedules/${name}`))?.next_slot ?? null;
}
