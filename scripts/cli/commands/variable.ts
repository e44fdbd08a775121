import { settingValue } from "../conf_input.ts";
import { UsageError } from "../exit_codes.ts";
import { namedCommand } from "../named_command.ts";

/** Variables of this beginning stand for parameters of a run. */
const OF_A_RUN = /^etl_improved__(.*)$/;

export const variable = namedCommand({
  noun: "variable",
  path: "/api/variables",
  key: "name",
  summary: "variables, defaults of runs: list, show, set, delete",
  description:
    `Variables. etl_improved__<parameter> is what runs take where neither their conf nor their saved
configuration says anything; etl_maintenance__<parameter> is the same for the maintenance.

  etl variable list              all of them
  etl variable show NAME         the value alone, as JSON
  etl variable set NAME VALUE    create or change one; VALUE is JSON, else it is taken as text;
                                 @FILE reads it from a file, @- from the standard input
  etl variable delete NAME       remove it: the environment counts again, or the default`,
  value: { name: "VALUE", help: "set: JSON or text" },
  examples: [
    "etl variable set etl_improved__batch_size 1000",
    "etl variable show etl_improved__batch_size",
    "etl variable delete etl_improved__batch_size",
  ],
  columns: [{ title: "VALUE", maxWidth: 60 }],
  cells: ({ value }) => [JSON.stringify(value)],
  shown: ({ value }) => JSON.stringify(value, null, 2),
  async put(call, name, { value }) {
    if (value === undefined) throw new UsageError("etl variable set needs a name and a value");
    const text = value.startsWith("@")
      ? (await call.readFile(value.slice(1))).replace(/\r?\n$/, "")
      : value;
    return { value: settingValue([OF_A_RUN.exec(name)?.[1] ?? ""], text) };
  },
});
