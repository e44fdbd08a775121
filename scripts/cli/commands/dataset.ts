import type {
  ColumnProposal,
  DatasetView,
  Distribution,
  TypedView,
} from "../../../store/datasets.ts";
import { count } from "../../terminal.ts";
import { request, sending } from "../api.ts";
import {
  type Action,
  type Call,
  type Command,
  printList,
  printTable,
  readJsonFile,
  remove,
  runAction,
  whatFile,
} from "../command.ts";
import { EXIT, type ExitCode, UsageError } from "../exit_codes.ts";
import { minuteOf, printable, RIGHT } from "../text.ts";

export const dataset: Command = {
  name: "dataset",
  summary: "datasets and their columns: list, show, propose, columns, drop, alter, distribute",
  description:
    `A dataset is a table that runs write, named schema.table. Declared columns give it a typed
view, which queries can use by column names instead of JSON paths.

  etl dataset list                 datasets, with their last event and typed view
  etl dataset show DATASET         its typed view and the declared columns
  etl dataset propose DATASET      columns that fit its data, as JSON ready to edit
  etl dataset columns DATASET FILE declare columns, [{"name", "path", "type"}], and create the
                                   view; - is standard input
  etl dataset drop DATASET         remove the view and the declared columns
  etl dataset alter DATASET        add columns to a typed table (--add), or widen them (--type);
                                   change personal data (--exclude, --hash)
  etl dataset distribute DATASET   distribute its rows over several PostgreSQL servers (Citus)`,
  arguments: [
    { name: "ACTION", help: "list, show, propose, columns, drop, alter or distribute" },
    { name: "DATASET", help: "schema.table", optional: true },
    { name: "FILE", help: "columns: a file with the columns", optional: true },
  ],
  options: {
    view: {
      type: "string",
      value: "NAME",
      help: "columns: name of the view; default: its current name, initially <table>_typed",
    },
    add: {
      type: "string",
      multiple: true,
      value: "FIELD:TYPE",
      help: "alter: a field of the records that gets a column",
    },
    type: {
      type: "string",
      multiple: true,
      value: "COLUMN:TYPE",
      help: "alter: a wider type of a column: integer to numeric, date to timestamptz",
    },
    exclude: {
      type: "string",
      value: "FIELDS",
      help: "alter: fields of the records to leave out, a,b; '' for none",
    },
    hash: {
      type: "string",
      value: "FIELDS",
      help: "alter: fields to replace by a keyed hash, a,b; '' for none",
    },
    source: {
      type: "string",
      value: "NAME",
      help: "alter: the source for --exclude and --hash, if there are several",
    },
    sample: { type: "string", value: "N", help: "propose: read about N rows; default 5000" },
  },
  examples: [
    "etl dataset propose public.etl_improved_events > columns.json",
    "etl dataset columns public.etl_improved_events columns.json",
    "etl dataset columns public.sales columns.json --view sales_clean",
    "etl dataset alter public.orders --add 'discount:numeric(5,2)' --type quantity:numeric",
  ],
  actions: () => Object.keys(ACTIONS),
  run: (call) => runAction("dataset", ACTIONS, call),
};

const ACTIONS: Record<string, Action> = {
  list: { run: list },
  show: { needs: "the name of a dataset", run: show },
  propose: { needs: "the name of a dataset", run: propose },
  columns: { needs: "the name of a dataset and a file with columns", run: declare },
  drop: { needs: "the name of a dataset", run: drop },
  alter: { needs: "the name of a dataset", run: alter },
  distribute: { needs: "the name of a dataset", run: distribute },
};

const pathOf = (name: string) => `/api/datasets/${encodeURIComponent(name)}/columns`;

async function list(call: Call): Promise<ExitCode> {
  const { items } = await request<{ items: DatasetView[] }>(await call.connect(), "/api/datasets");
  return printList(call, items, {
    none: "There are no datasets yet. `etl run` makes one.",
    columns: [
      ["DATASET", ({ dataset }) => dataset],
      ["TYPED VIEW", ({ view }) => view ?? ""],
      ["EVENTS", ({ events }) => count(events), RIGHT],
      ["LAST EVENT", ({ last_event }) => minuteOf(last_event?.created_at)],
    ],
  });
}

async function show(call: Call, name: string): Promise<ExitCode> {
  const found = await request<TypedView>(await call.connect(), pathOf(name));
  if (call.flags.json) call.out.line(JSON.stringify(found));
  else if (found.view === null) {
    call.out.line(
      `${printable(found.dataset)} has no typed view. \`etl dataset propose\` proposes columns.`,
    );
  } else printView(call, found);
  return EXIT.succeeded;
}

function printView(call: Call, { dataset, view, exists, columns, fixed }: TypedView): void {
  call.out.line(
    `${printable(view!)} is the typed view of ${printable(dataset)}${
      exists ? "" : ", and comes back with its table"
    }.`,
  );
  call.out.line(`It begins with ${fixed.join(", ")}.`);
  call.out.line("");
  printTable(call.out, columns, [
    ["COLUMN", ({ name }) => name],
    ["TYPE", ({ type }) => type],
    ["PATH", ({ path }) => path],
  ]);
}

async function propose(call: Call, name: string): Promise<ExitCode> {
  const { sample = "5000" } = call.text;
  if (!/^[1-9]\d{0,5}$/.test(sample)) {
    throw new UsageError(`--sample must be a whole number from 1 to 100000, not '${sample}'`);
  }
  const path = `${pathOf(name)}/proposal?sample=${sample}`;
  const { columns, rows, left_out } = await request<ColumnProposal>(await call.connect(), path);
  // a column a line, to be edited
  const lines = columns.map((column) => `  ${JSON.stringify(column)}`).join(",\n");
  call.out.line(call.flags.json ? JSON.stringify(columns) : `[\n${lines}\n]`);
  call.err.line(
    `${count(columns.length)} ${columns.length === 1 ? "column fits" : "columns fit"} ${
      count(rows)
    } ${rows === 1 ? "row" : "rows"}${
      left_out === 0 ? "" : `; ${count(left_out)} rarer paths are left out`
    }.`,
  );
  return EXIT.succeeded;
}

async function declare(call: Call, name: string, file?: string): Promise<ExitCode> {
  if (file === undefined) throw new UsageError("etl dataset columns needs a file with columns");
  const columns = await readJsonFile(call, file);
  if (!Array.isArray(columns)) {
    throw new UsageError(`${whatFile(file)} holds no columns: they are a JSON list`);
  }
  const { view } = call.text;
  const made = await request<TypedView>(
    await call.connect(),
    pathOf(name),
    sending("PUT", { columns, view }),
  );
  if (call.flags.json) call.out.line(JSON.stringify(made));
  else printView(call, made);
  return EXIT.succeeded;
}

async function alter(call: Call, name: string): Promise<ExitCode> {
  const pairs = (option: "add" | "type") =>
    Object.fromEntries((call.lists[option] ?? []).map((text) => {
      const at = text.lastIndexOf(":");
      if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
      throw new UsageError(
        `--${option} is a name and a type, such as price:numeric, not '${text}'`,
      );
    }));
  const body = { add: pairs("add"), types: pairs("type") };
  const { exclude, hash, source } = call.text;
  const hides = exclude !== undefined || hash !== undefined;
  const widens = Object.keys({ ...body.add, ...body.types }).length > 0;
  if (!hides && !widens) {
    throw new UsageError("say with --add, --type, --exclude or --hash what to alter");
  }
  if (hides) {
    const fields = (text: string | undefined) =>
      text?.split(",").map((path) => path.trim()).filter(Boolean);
    const declared = await request<{ exclude: string[]; hash: string[] }>(
      await call.connect(),
      `/api/datasets/${encodeURIComponent(name)}/private`,
      sending("PATCH", { source, exclude: fields(exclude), hash: fields(hash) }),
    );
    if (call.flags.json) call.out.line(JSON.stringify(declared));
    else {
      const listed = (paths: string[]) =>
        paths.length === 0 ? "none" : paths.map((path) => printable(path)).join(", ");
      call.out.line(`Left out: ${listed(declared.exclude)}. Hashed: ${listed(declared.hash)}.`);
    }
    if (!widens) return EXIT.succeeded;
  }
  const { columns } = await request<{ columns: { name: string; type: string; path: string }[] }>(
    await call.connect(),
    pathOf(name),
    sending("PATCH", body),
  );
  return printList(call, columns, {
    columns: [
      ["COLUMN", ({ name }) => name],
      ["TYPE", ({ type }) => type],
      ["FIELD", ({ path }) => path],
    ],
  });
}

async function distribute(call: Call, name: string): Promise<ExitCode> {
  const made = await request<Distribution>(
    await call.connect(),
    `/api/datasets/${encodeURIComponent(name)}/distribute`,
    { method: "POST" },
  );
  if (call.flags.json) call.out.line(JSON.stringify(made));
  else {
    call.out.line(
      `${printable(name)} is distributed by ${made.distributed_by}: ${
        count(made.shards)
      } shards on ${count(made.servers)} servers.`,
    );
  }
  return EXIT.succeeded;
}

async function drop(call: Call, name: string): Promise<ExitCode> {
  const api = await call.connect();
  const { view } = await request<TypedView>(api, pathOf(name));
  await remove(api, pathOf(name));
  if (call.flags.json) call.out.line(JSON.stringify({ dataset: name, view, dropped: true }));
  else call.out.line(`${printable(view!)} is removed.`);
  return EXIT.succeeded;
}
