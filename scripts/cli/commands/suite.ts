import { parseConf } from "../../../pipeline/conf_errors.ts";
import type { ValidationResult } from "../../../pipeline/expectations/expectations.ts";
import { jsonText } from "../../../pipeline/numbers.ts";
import { parseJson } from "../../../pipeline/sources/json_text.ts";
import type { Terminal } from "../../terminal.ts";
import { post, request, requestText, sending } from "../api.ts";
import {
  type Action,
  type Call,
  type Command,
  printList,
  readJsonFile,
  remove,
  runAction,
  whatFile,
} from "../command.ts";
import { confText, readConf } from "../conf_input.ts";
import { EXIT, type ExitCode, UsageError } from "../exit_codes.ts";
import { RIGHT, table } from "../text.ts";

interface Listed {
  name: string;
  expectations: number;
  row_wise: boolean;
  origin: string;
}

export const suite: Command = {
  name: "suite",
  summary: "expectation suites: list, get, put, delete, try",
  description:
    `Expectation suites, in the JSON of Great Expectations. A run uses the suite that it names,
otherwise the one with its table's name ("schema.table" or "table").

  etl suite list             the stored suites, including the files of suites/
  etl suite get NAME         one as JSON
  etl suite put FILE         create or replace one; - is standard input
  etl suite delete NAME      remove one; a file in suites/ is stored again when a server starts
  etl suite try FILE         evaluate a draft on the first 10,000 records of --source or --conf,
                             transformed as a run would; stores nothing. Exits with 1 if it
                             fails`,
  arguments: [
    { name: "ACTION", help: "list, get, put, delete or try" },
    { name: "WHAT", help: "a name, or a file with a suite", optional: true },
  ],
  options: {
    name: { type: "string", value: "NAME", help: "put: another name than the suite's own" },
    source: { type: "string", value: "JSON", help: "try: the source; @FILE reads it from a file" },
    conf: { type: "string", value: "JSON", help: "try: a whole conf, as `etl run` takes it" },
    set: { type: "string", multiple: true, value: "NAME=VALUE", help: "try: one parameter" },
  },
  examples: [
    "etl suite list",
    "etl suite get etl_improved_events > suite.json",
    "etl suite put suite.json --name sales",
    `etl suite try suite.json --source '{"type": "file", "path": "sales.csv", "key": "id"}'`,
  ],
  actions: () => Object.keys(ACTIONS),
  run: (call) => runAction("suite", ACTIONS, call),
};

const ACTIONS: Record<string, Action> = {
  list: { run: list },
  get: { needs: "the name of a suite", run: get },
  put: { needs: "a file with a suite", run: put },
  delete: { needs: "the name of a suite", run: removeSuite },
  try: { needs: "a file with a suite", run: tryDraft },
};

const pathOf = (name: string) => `/api/suites/${encodeURIComponent(name)}`;

async function list(call: Call): Promise<ExitCode> {
  const { items } = await request<{ items: Listed[] }>(await call.connect(), "/api/suites");
  return printList(call, items, {
    columns: [
      ["SUITE", ({ name }) => name],
      ["EXPECTATIONS", ({ expectations }) => String(expectations), RIGHT],
      ["FROM", ({ origin }) => origin],
      ["CAN QUARANTINE", ({ row_wise }) => row_wise ? "yes" : "no, judges the batch"],
    ],
  });
}

async function get(call: Call, name: string): Promise<ExitCode> {
  const found = parseJson(await requestText(await call.connect(), pathOf(name)));
  call.out.line(jsonText(found, call.flags.json ? 0 : 2));
  return EXIT.succeeded;
}

async function put(call: Call, file: string): Promise<ExitCode> {
  const draft = await readSuiteFile(call, file);
  const name = call.text.name ?? draft.name ?? draft.expectation_suite_name;
  if (typeof name !== "string" || name === "") {
    throw new UsageError(`the suite in ${file} has no name; give one with --name`);
  }
  const api = await call.connect();
  const put = sending("PUT", jsonText(draft));
  const stored = await request<{ expectations: unknown[] }>(api, pathOf(name), put);
  const { length } = stored.expectations;
  if (call.flags.json) call.out.line(JSON.stringify({ name, expectations: length }));
  else call.out.line(`Suite ${name} is stored, with ${length} expectations.`);
  return EXIT.succeeded;
}

async function removeSuite(call: Call, name: string): Promise<ExitCode> {
  await remove(await call.connect(), pathOf(name));
  if (call.flags.json) call.out.line(JSON.stringify({ name, deleted: true }));
  else call.out.line(`Suite ${name} is removed.`);
  return EXIT.succeeded;
}

async function tryDraft(call: Call, file: string): Promise<ExitCode> {
  const { text, lists, flags, out } = call;
  const draft = await readSuiteFile(call, file);
  const conf = await readConf(
    { conf: text.conf, source: text.source, set: lists.set ?? [] },
    call.readFile,
  );
  if (!call.usesServer) parseConf(conf);
  const api = await call.connect();
  const body = `{"suite":${jsonText(draft)},"conf":${confText(conf)}}`;
  const result = await post<ValidationResult>(api, "/api/suites/try", body);
  if (flags.json) out.line(JSON.stringify(result));
  else for (const line of resultLines(out, result)) out.line(line);
  return result.success ? EXIT.succeeded : EXIT.failed;
}

async function readSuiteFile(call: Call, file: string): Promise<Record<string, unknown>> {
  const value = await readJsonFile(call, file);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new UsageError(`${whatFile(file)} holds no suite: a suite is a JSON object`);
}

/** A validation result as an aligned table. */
function resultLines(out: Terminal, result: ValidationResult): string[] {
  const { evaluated_expectations: all, successful_expectations: good } = result.statistics;
  const [title, ...rows] = table(
    result.results,
    [
      ["", ({ success }) => success ? "✓" : "✗"],
      ["EXPECTATION", ({ expectation_config }) => expectation_config.type, { maxWidth: 60 }],
      ["COLUMN", ({ expectation_config }) => columnOf(expectation_config.kwargs), { maxWidth: 40 }],
      ["FOUND", found],
    ],
    out.width,
  );
  return [
    out.paint("bold", title!),
    ...rows.map((row, i) => result.results[i]!.success ? row : out.paint("red", row)),
    "",
    result.success
      ? out.paint("green", `All ${all} expectations hold.`)
      : out.paint("red", `${all - good} of ${all} expectations do not hold.`),
  ];
}

function columnOf(kwargs: Record<string, unknown>): string {
  const { column, column_list, column_A, column_B } = kwargs;
  if (typeof column === "string") return column;
  if (Array.isArray(column_list)) return column_list.join(", ");
  return typeof column_A === "string" ? `${column_A}, ${column_B}` : "";
}

function found({ result, exception_info }: ValidationResult["results"][number]): string {
  if (exception_info.raised_exception) return String(exception_info.exception_message);
  const { unexpected_count: count, partial_unexpected_list: values, observed_value } =
    result as Record<string, unknown>;
  if (typeof count === "number") {
    const shown = Array.isArray(values) ? JSON.stringify(values.slice(0, 3)) : "";
    return count === 0 ? "" : `${count} unexpected, such as ${shown}`;
  }
  return observed_value === undefined ? "" : JSON.stringify(observed_value);
}
