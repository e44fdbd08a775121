import { parseConf } from "../../../pipeline/conf_errors.ts";
import { applySetting, readConf } from "../conf_input.ts";
import { UsageError } from "../exit_codes.ts";
import { namedCommand } from "../named_command.ts";

export const configuration = namedCommand({
  noun: "configuration",
  path: "/api/configurations",
  key: "name",
  summary: "saved confs of runs, by name: list, show, set, delete",
  description:
    `A configuration is a conf that is kept under a name, for \`etl run --configuration NAME\` and for
schedules. What a run's own conf says goes over it.

  etl configuration list           all of them
  etl configuration show NAME      its conf as JSON
  etl configuration set NAME       create or change one: --conf is the whole conf, --source and
                                   --set change members of it, or of the present one
  etl configuration delete NAME    remove it; runs that were asked for with it keep its values`,
  options: {
    conf: {
      type: "string",
      value: "JSON",
      help: "set: the conf, instead of the present one; @FILE reads it from a file",
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
  columns: [{ title: "CONF", maxWidth: 60 }, { title: "DESCRIPTION", maxWidth: 40 }],
  cells: ({ conf, description }) => [JSON.stringify(conf), String(description ?? "")],
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
