import { UsageError } from "../exit_codes.ts";
import { namedCommand } from "../named_command.ts";

export const pool = namedCommand({
  noun: "pool",
  path: "/api/pools",
  key: "pool",
  summary: "pools, how many runs go on at once: list, show, set, delete",
  description:
    `A pool is a named limit on the runs that go on at once, over all servers. A run names one with
its parameter pool; else it is in default_pool, unless ETL_POOL names another.

  etl pool list              all of them
  etl pool show NAME         how many slots one has
  etl pool set NAME SLOTS    create or change one; runs that wait for a slot start at once;
                             with 0 slots they wait until it has some
  etl pool delete NAME       remove it; refused while runs name it`,
  value: { name: "SLOTS", help: "set: runs at once, 0 to 1000" },
  options: {
    description: {
      type: "string",
      value: "TEXT",
      help: "set: what it is for; default: what is there",
    },
  },
  examples: [
    `etl pool set nightly 2 --description "no more than two of the heavy ones"`,
    "etl pool list",
    "etl run --set pool=nightly",
  ],
  columns: [{ title: "SLOTS", align: "right" }, { title: "DESCRIPTION", maxWidth: 60 }],
  cells: ({ slots, description }) => [String(slots), String(description ?? "")],
  shown: ({ slots }) => String(slots),
  async put({ text }, _name, { value, present }) {
    if (value === undefined) throw new UsageError("etl pool set needs a name and its slots");
    const slots = Number(value);
    if (!/^\d+$/.test(value) || slots > 1000) {
      throw new UsageError(`slots must be a whole number from 0 to 1000, not '${value}'`);
    }
    const description = text.description ?? (await present())?.description;
    return { slots, ...(description === undefined ? {} : { description }) };
  },
});
