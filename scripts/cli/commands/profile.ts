import { parseConf } from "../../../pipeline/conf_errors.ts";
import type { ProfileResult } from "../../../pipeline/suite_tasks.ts";
import { count } from "../../terminal.ts";
import { post } from "../api.ts";
import type { Command } from "../command.ts";
import { confText, readConf } from "../conf_input.ts";
import { EXIT, UsageError } from "../exit_codes.ts";
import { sourcesHelp } from "../help.ts";
import { printable } from "../printable.ts";
import { proposalLines } from "./preview.ts";

export const profile: Command = {
  name: "profile",
  summary: "propose an expectation suite that holds on the data of a source",
  description:
    `Looks at the records of a source, transformed as a run would, and proposes an expectation
suite that holds on them: types, nulls, ranges, sets and uniqueness, as JSON ready to edit. In this
process it looks at all records; a server at the first 100,000 unless --records says how many.
Makes no run and stores nothing. Widen ranges and sets before you enforce them: they are what was
seen. Save the suite in suites/, or store it with \`etl suite put\`.`,
  options: {
    source: { type: "string", value: "JSON", help: "the source; @FILE reads it from a file" },
    conf: { type: "string", value: "JSON", help: "a whole conf, as `etl run` takes it" },
    set: { type: "string", multiple: true, value: "NAME=VALUE", help: "one parameter" },
    name: {
      type: "string",
      value: "NAME",
      help: "name of the suite; one named as the table is used for it. Default: proposed",
    },
    records: { type: "string", value: "N", help: "look at the first N records only" },
    out: {
      type: "string",
      value: "FILE",
      help: "write the suite to a file that does not exist yet",
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
