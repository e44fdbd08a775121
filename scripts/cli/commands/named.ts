import { parseConf } from "../../../pipeline/conf_errors.ts";
import { type Api, find, problemOf, request, sending } from "../api.ts";
import {
  type Action,
  type Argument,
  type Call,
  type Command,
  type Option,
  printList,
  readJsonFile,
  remove,
  runAction,
} from "../command.ts";
import { applySetting, confText, readConf, settingValue } from "../conf_input.ts";
import { EXIT, type ExitCode, UsageError } from "../exit_codes.ts";
import { type Column, minuteOf, printable, RIGHT } from "../text.ts";

/** A row of a named resource as the API shows it. */
type NamedJson = Record<string, unknown> & { updated_at: string };

/** Things that people name, save, change and remove, all with the same actions. */
interface NamedKind {
  /** Of the command, as an error names one: "variable". */
  noun: string;
  /** Of the API: "/api/variables". */
  path: string;
  /** Member of a row that holds its name. */
  key: string;
  /** One line of the list of commands. */
  summary: string;
  description: string;
  /** What `set` takes after the name; default: nothing. */
  value?: Argument;
  options?: Record<string, Option>;
  examples: string[];
  /** Columns of the list, after the name. */
  columns: Column<NamedJson>[];
  /** What `show` writes to the standard output. */
  shown(row: NamedJson): string;
  /** The body to put, out of what was given; `present` is called for what is there, if anything. */
  put(
    call: Call,
    name: string,
    given: { value: string | undefined; present: () => Promise<NamedJson | null> },
  ): Promise<Record<string, unknown>>;
  /** Further actions, by name. */
  actions?: Record<string, Action>;
}

/** `etl <noun> list | show | set | delete` over the API of named resources. */
function namedCommand(kind: NamedKind): Command {
  const { noun, value } = kind;
  const needs = `the name of a ${noun}`;
  const actions: Record<string, Action> = {
    list: { run: (call) => list(call, kind) },
    show: { needs, run: (call, name) => show(call, kind, name!) },
    set: { needs, run: (call, name, given) => set(call, kind, { name: name!, given }) },
    delete: { needs, run: (call, name) => removeNamed(call, kind, name!) },
    ...kind.actions,
  };
  return {
    name: noun,
    summary: kind.summary,
    description: kind.description,
    arguments: [
      { name: "ACTION", help: orList(Object.keys(actions)) },
      { name: "NAME", help: `the ${noun}`, optional: true },
      ...(value === undefined ? [] : [{ ...value, optional: true }]),
    ],
    options: kind.options ?? {},
    examples: kind.examples,
    actions: () => Object.keys(actions),
    run: (call) => runAction(noun, actions, call),
  };
}

const orList = (names: string[]) => `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;

const pathOf = ({ path }: NamedKind, name: string) => `${path}/${encodeURIComponent(name)}`;

async function list(call: Call, kind: NamedKind): Promise<ExitCode> {
  const { items } = await request<{ items: NamedJson[] }>(await call.connect(), kind.path);
  return printList(call, items, {
    none: `There are no ${kind.noun}s yet. \`etl ${kind.noun} set NAME …\` makes one.`,
    columns: [
      [kind.noun.toUpperCase(), (row) => String(row[kind.key])],
      ...kind.columns,
      ["CHANGED", ({ updated_at }) => minuteOf(updated_at)],
    ],
  });
}

async function show(call: Call, kind: NamedKind, name: string): Promise<ExitCode> {
  const row = await request<NamedJson>(await call.connect(), pathOf(kind, name));
  if (call.flags.json) call.out.line(JSON.stringify(row));
  else {
    // alone on the standard output, so that it can go into a file and back
    call.out.line(printable(kind.shown(row), { lines: true }));
    if (typeof row.description === "string") call.err.line(printable(row.description));
  }
  return EXIT.succeeded;
}

async function set(
  call: Call,
  kind: NamedKind,
  { name, given }: { name: string; given: string | undefined },
): Promise<ExitCode> {
  let api: Api | undefined;
  const body = await kind.put(call, name, {
    value: given,
    present: async () => await find<NamedJson>(api ??= await call.connect(), pathOf(kind, name)),
  });
  api ??= await call.connect();
  const response = await api.fetch(pathOf(kind, name), sending("PUT", confText(body)));
  const text = await response.text();
  if (!response.ok) throw problemOf(response, text);
  if (call.flags.json) call.out.line(JSON.stringify(JSON.parse(text)));
  else {
    const how = response.status === 201 ? "made" : "changed";
    call.out.line(`The ${kind.noun} ${name} is ${how}.`);
  }
  return EXIT.succeeded;
}

async function removeNamed(call: Call, kind: NamedKind, name: string): Promise<ExitCode> {
  await remove(await call.connect(), pathOf(kind, name));
  if (call.flags.json) call.out.line(JSON.stringify({ [kind.key]: name, deleted: true }));
  else call.out.line(`The ${kind.noun} ${name} is removed.`);
  return EXIT.succeeded;
}

export const configuration = namedCommand({
  noun: "configuration",
  path: "/api/configurations",
  key: "name",
  summary: "saved confs of runs, by name: list, show, set, delete",
  description:
    `A configuration is a conf that is saved under a name, for \`etl run --configuration NAME\` and for
schedules. A run's own conf overrides it.

  etl configuration list           all of them
  etl configuration show NAME      its conf as JSON
  etl configuration set NAME       create or change one: --conf is the whole conf, --source and
                                   --set change members of it, or of the current one
  etl configuration delete NAME    remove it; runs requested with it keep its values`,
  options: {
    conf: {
      type: "string",
      value: "JSON",
      help: "set: the conf, replaces the current one; @FILE reads it from a file",
    },
    source: { type: "string", value: "JSON", help: "set: the source of the conf" },
    set: {
      type: "string",
      multiple: true,
      value: "NAME=VALUE",
      help: "set: one parameter of the conf",
    },
    description: {
      type: "string",
      value: "TEXT",
      help: "set: what it is for; default: what is there",
    },
  },
  examples: [
    "etl configuration set nightly --conf @nightly.json",
    `etl configuration set nightly --set batch_size=2000 --description "since March"`,
    "etl configuration show nightly > nightly.json",
    "etl run --configuration nightly",
  ],
  columns: [
    ["CONF", ({ conf }) => JSON.stringify(conf), { maxWidth: 60 }],
    ["DESCRIPTION", ({ description }) => String(description ?? ""), { maxWidth: 40 }],
  ],
  shown: ({ conf }) => JSON.stringify(conf, null, 2),
  async put(call, name, { present }) {
    const { text, lists } = call;
    const settings = lists.set ?? [];
    const whole = text.conf !== undefined;
    const given = await readConf({ conf: text.conf, source: text.source, set: [] }, call.readFile);
    const changes = whole || text.source !== undefined || settings.length > 0;
    if (!changes && text.description === undefined) {
      throw new UsageError(
        `etl configuration set ${name} needs what is to be saved: --conf, --source, --set or ` +
          "--description",
      );
    }
    const confOf = (before: Record<string, unknown>) => {
      const conf = { ...before, ...given };
      for (const setting of settings) applySetting(conf, setting);
      return conf;
    };
    // what is wrong by itself is told before anything is started
    if (whole && !call.usesServer) parseConf(confOf({}));
    const before = whole && text.description !== undefined ? null : await present();
    if (!changes && before === null) {
      throw new UsageError(`there is no configuration ${name} to describe; --conf makes it`);
    }
    const description = text.description ?? before?.description;
    return {
      conf: confOf(whole ? {} : { ...(before?.conf as Record<string, unknown>) }),
      ...(description === undefined ? {} : { description }),
    };
  },
});

/** Variables of this beginning stand for parameters of a run. */
const OF_A_RUN = /^etl_improved__(.*)$/;

export const variable = namedCommand({
  noun: "variable",
  path: "/api/variables",
  key: "name",
  summary: "variables, defaults of runs: list, show, set, delete",
  description:
    `Variables set defaults. Runs use etl_improved__<parameter> if neither their conf nor their saved
configuration sets the parameter; etl_maintenance__<parameter> does the same for maintenance.

  etl variable list              all of them
  etl variable show NAME         the value alone, as JSON
  etl variable set NAME VALUE    create or change one; VALUE is JSON, otherwise it is used as text;
                                 @FILE reads it from a file, @- from the standard input
  etl variable import FILE       import the output of \`airflow variables export\`
  etl variable delete NAME       remove it; the environment or the default applies again`,
  value: { name: "VALUE", help: "set: JSON or text" },
  examples: [
    "etl variable set etl_improved__batch_size 1000",
    "etl variable show etl_improved__batch_size",
    "etl variable delete etl_improved__batch_size",
    "etl variable import variables.json",
  ],
  actions: { import: { needs: "a file, or - for the standard input", run: importVariables } },
  columns: [["VALUE", ({ value }) => JSON.stringify(value), { maxWidth: 60 }]],
  shown: ({ value }) => JSON.stringify(value, null, 2),
  async put(call, name, { value }) {
    if (value === undefined) throw new UsageError("etl variable set needs a name and a value");
    const text = value.startsWith("@")
      ? (await call.readFile(value.slice(1))).replace(/\r?\n$/, "")
      : value;
    return { value: settingValue([OF_A_RUN.exec(name)?.[1] ?? ""], text) };
  },
});

/** Variables of this beginning are parameters of the original's DAGs, and of what takes their place. */
const OF_THE_ORIGINAL = /^etl_(?:improved|maintenance|consumer)__(.*)$/;

/**
 * Sets what `airflow variables export` has written: an object of texts, or of {value, description}. Python's True and False are
 * booleans; what is no parameter, or has no value, is left out and named. What is refused is told, and the rest is set.
 */
async function importVariables(call: Call, path?: string): Promise<ExitCode> {
  const exported: unknown = await readJsonFile(call, path!);
  if (typeof exported !== "object" || exported === null || Array.isArray(exported)) {
    throw new UsageError(
      `${path} is not a JSON object of variables, as \`airflow variables export\` writes it`,
    );
  }
  const api = await call.connect();
  const result = {
    imported: [] as string[],
    refused: {} as Record<string, string>,
    left_out: [] as string[],
  };
  for (const [name, given] of Object.entries(exported)) {
    const parameter = OF_THE_ORIGINAL.exec(name)?.[1];
    if (parameter === undefined) {
      result.left_out.push(name);
      continue;
    }
    const isWrapped = typeof given === "object" && given !== null && "value" in given;
    const value: unknown = isWrapped ? (given as { value: unknown }).value : given;
    // what Python writes for no value
    if (value === null || value === "" || value === "None") {
      result.left_out.push(name);
      continue;
    }
    const body = { value: typeof value === "string" ? importedValue(parameter, value) : value };
    const path = `/api/variables/${encodeURIComponent(name)}`;
    const response = await api.fetch(path, sending("PUT", confText(body)));
    const answer = await response.text();
    if (response.ok) result.imported.push(name);
    else result.refused[name] = problemOf(response, answer).message;
  }
  const { out } = call;
  if (call.flags.json) out.line(JSON.stringify(result));
  else {
    for (const name of result.imported) out.line(`${name}: set`);
    for (const [name, why] of Object.entries(result.refused)) {
      out.line(printable(`${name}: refused: ${why}`));
    }
    if (result.left_out.length > 0) {
      out.line(
        printable(
          `Left out, as they are not parameters of this program or have no value: ${
            result.left_out.join(", ")
          }`,
        ),
      );
    }
  }
  return Object.keys(result.refused).length === 0 ? EXIT.succeeded : EXIT.failed;
}

/** A text of Airflow as the parameter takes it. */
function importedValue(parameter: string, text: string): unknown {
  const truth = /^(?:(true)|false)$/i.exec(text);
  return truth ? truth[1] !== undefined : settingValue([parameter], text);
}

export const pool = namedCommand({
  noun: "pool",
  path: "/api/pools",
  key: "pool",
  summary: "pools, limits on concurrent runs: list, show, set, delete",
  description:
    `A pool is a named limit on concurrent runs: for all servers together, or for each server
(--per server), so that more servers run more. A run names its pool with the parameter pool;
the default is ETL_POOL, otherwise default_pool.

  etl pool list              all of them
  etl pool show NAME         its number of slots
  etl pool set NAME SLOTS    create or change one; waiting runs start at once; with 0 slots
                             they wait until it has some
  etl pool delete NAME       remove it; refused while runs use it`,
  value: { name: "SLOTS", help: "set: runs at once, 0 to 1000" },
  options: {
    description: {
      type: "string",
      value: "TEXT",
      help: "set: what it is for; default: what is there",
    },
    per: {
      type: "string",
      value: "WHAT",
      help:
        "set: whose slots they are: server (each one's) or installation; default: what is there",
    },
  },
  examples: [
    `etl pool set nightly 2 --description "no more than two of the heavy ones"`,
    "etl pool list",
    "etl run --set pool=nightly",
  ],
  columns: [
    ["SLOTS", ({ slots }) => String(slots), RIGHT],
    ["PER", ({ per_server }) => per_server === true ? "server" : "installation"],
    ["DESCRIPTION", ({ description }) => String(description ?? ""), { maxWidth: 60 }],
  ],
  shown: ({ slots }) => String(slots),
  async put({ text }, _name, { value, present }) {
    if (value === undefined) throw new UsageError("etl pool set needs a name and its slots");
    const slots = Number(value);
    if (!/^\d+$/.test(value) || slots > 1000) {
      throw new UsageError(`slots must be a whole number from 0 to 1000, not '${value}'`);
    }
    if (text.per !== undefined && !["server", "installation"].includes(text.per)) {
      throw new UsageError(`--per must be server or installation, not '${text.per}'`);
    }
    const there = await present();
    const description = text.description ?? there?.description;
    const per_server = text.per === undefined ? there?.per_server === true : text.per === "server";
    return { slots, per_server, ...(description === undefined ? {} : { description }) };
  },
});
