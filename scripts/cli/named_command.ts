import { type Action, printTable, remove, runAction } from "./actions.ts";
import { type Api, problemOf, request } from "./api.ts";
import type { Argument, Call, Command, Option } from "./command.ts";
import { confText } from "./conf_input.ts";
import { EXIT, type ExitCode } from "./exit_codes.ts";
import { printable } from "./printable.ts";
import type { Column } from "./table.ts";

/** A row of a named resource as the API shows it. */
export type NamedJson = Record<string, unknown> & { updated_at: string };

/** Things that people name, save, change and remove, all with the same actions. */
export interface NamedKind {
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
  columns: Column[];
  /** The cells of these columns. */
  cells(row: NamedJson): string[];
  /** What `show` writes to the standard output. */
  shown(row: NamedJson): string;
  /** The body to put, out of what was given; `present` is called for what is there, if anything. */
  put(
    call: Call,
    name: string,
    given: { value: string | undefined; present: () => Promise<NamedJson | null> },
  ): Promise<Record<string, unknown>>;
}

/** `etl <noun> list | show | set | delete` over the API of named resources. */
export function namedCommand(kind: NamedKind): Command {
  const { noun, value } = kind;
  const needs = `the name of a ${noun}`;
  const actions: Record<string, Action> = {
    list: { run: (call) => list(call, kind) },
    show: { needs, run: (call, name) => show(call, kind, name!) },
    set: { needs, run: (call, name, given) => set(call, kind, { name: name!, given }) },
    delete: { needs, run: (call, name) => removeNamed(call, kind, name!) },
  };
  return {
    name: noun,
    summary: kind.summary,
    description: kind.description,
    arguments: [
      { name: "ACTION", help: "list, show, set or delete" },
      { name: "NAME", help: `the ${noun}`, optional: true },
      ...(value === undefined ? [] : [{ ...value, optional: true }]),
    ],
    options: kind.options ?? {},
    examples: kind.examples,
    run: (call) => runAction(noun, actions, call),
  };
}

const pathOf = ({ path }: NamedKind, name: string) => `${path}/${encodeURIComponent(name)}`;

async function list(call: Call, kind: NamedKind): Promise<ExitCode> {
  const { items } = await request<{ items: NamedJson[] }>(await call.connect(), kind.path);
  if (call.flags.json) call.out.line(JSON.stringify(items));
  else if (items.length === 0) {
    call.out.line(`There are no ${kind.noun}s yet. \`etl ${kind.noun} set NAME …\` makes one.`);
  } else {
    printTable(
      call,
      [{ title: kind.noun.toUpperCase() }, ...kind.columns, { title: "CHANGED" }],
      items.map((row) => [
        String(row[kind.key]),
        ...kind.cells(row),
        row.updated_at.slice(0, 16).replace("T", " "),
      ]),
    );
  }
  return EXIT.succeeded;
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
    present: async () => await find(api ??= await call.connect(), pathOf(kind, name)),
  });
  api ??= await call.connect();
  const response = await api.fetch(pathOf(kind, name), {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: confText(body),
  });
  const text = await response.text();
  if (!response.ok) throw problemOf(response, text);
  if (call.flags.json) call.out.line(JSON.stringify(JSON.parse(text)));
  else {
    const how = response.status === 201 ? "made" : "changed";
    call.out.line(`The ${kind.noun} ${name} is ${how}.`);
  }
  return EXIT.succeeded;
}

async function find(api: Api, path: string): Promise<NamedJson | null> {
  const response = await api.fetch(path);
  const text = await response.text();
  if (response.status === 404) return null;
  if (!response.ok) throw problemOf(response, text);
  return JSON.parse(text);
}

async function removeNamed(call: Call, kind: NamedKind, name: string): Promise<ExitCode> {
  await remove(await call.connect(), pathOf(kind, name));
  if (call.flags.json) call.out.line(JSON.stringify({ [kind.key]: name, deleted: true }));
  else call.out.line(`The ${kind.noun} ${name} is removed.`);
  return EXIT.succeeded;
}
