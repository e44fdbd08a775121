import type { Context } from "hono";
import { RunForm, type RunFormProps } from "../../islands/form.tsx";
import { useLocale } from "../../islands/lib/context.tsx";
import { confJsonSchema } from "../../pipeline/params.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import { CONFIGURATIONS, getNamed, listNamed, POOLS } from "../../store/named.ts";
import { runConf } from "../../store/run_views.ts";
import { listSuites } from "../../store/suites.ts";
import { dataFiles, transformNames } from "./data_files.ts";
import { type DashboardDeps, Island, knownLabels, originOf, type Page } from "./page.tsx";

/** A conf with more text than this is not put into a form. */
const MAX_CONF_LENGTH = 200_000;

/** The form for a new run: empty, with the conf of a run or the name of a configuration, or to change a configuration or what a schedule runs. */
export const formPage: Page = {
  path: "/new",
  role: "viewer",
  nav: "new",
  // what a preview may read
  dataRole: "operator",
  data: { "/data/files": dataFiles },
  async load(c, deps) {
    const { sql } = deps;
    const from = c.req.query("from") ?? null;
    const edited = c.req.query("edit");
    const scheduling = c.req.query("schedule") ?? null;
    const editing = edited === undefined ? null : await configurationOf(deps, edited);
    const [conf, labels, pools, suites, configurations, transforms] = await Promise.all([
      editing === null ? initialConf(c, deps, from) : JSON.stringify(editing.conf),
      knownLabels(deps),
      listNamed(sql, POOLS),
      listSuites(sql),
      listNamed(sql, CONFIGURATIONS),
      transformNames(deps.config.transformsDir),
    ]);
    const props: RunFormProps = {
      schema: confJsonSchema() as RunFormProps["schema"],
      conf,
      known: {
        run_label: labels,
        pool: pools.map(({ pool }) => String(pool)),
        suite: suites.map(({ name }) => name),
        configuration: configurations.map(({ name }) => String(name)),
        transform: transforms,
        "source.connection": [
          ...Object.keys(deps.config.connections),
          ...Object.keys(deps.config.remotes.http),
          ...Object.keys(deps.config.remotes.s3),
        ].sort(),
      },
      origin: originOf(c),
      from,
      editing: editing === null ? null : { name: edited!, description: editing.description },
      scheduling,
    };
    return {
      main: (
        <>
          <Head {...props} />
          <Island name="form" component={RunForm} props={props} />
        </>
      ),
    };
  },
};

function Head({ editing, scheduling }: Pick<RunFormProps, "editing" | "scheduling">) {
  const { t } = useLocale();
  const title = scheduling !== null
    ? t(scheduling === "" ? "form.for_new_schedule" : "form.for_schedule", { name: scheduling })
    : editing === null
    ? t("nav.new")
    : editing.name === ""
    ? t("form.new_configuration")
    : t("form.edit_configuration", { name: editing.name });
  return (
    <div class="page-head">
      <h1>{title}</h1>
    </div>
  );
}

/** The configuration of a name, to be changed; of no name: a new one. */
async function configurationOf(
  { sql }: DashboardDeps,
  name: string,
): Promise<{ conf: unknown; description: string }> {
  if (name === "") return { conf: {}, description: "" };
  const found = await getNamed(sql, CONFIGURATIONS, name);
  if (found === null) {
    throw new Problem("not-found", {
      detail: say("missing-configuration", { name: name.slice(0, 100) }),
    });
  }
  return { conf: found.conf, description: String(found.description ?? "") };
}

async function initialConf(
  c: Context,
  { sql }: DashboardDeps,
  from: string | null,
): Promise<string> {
  const configuration = c.req.query("configuration");
  if (configuration) return JSON.stringify({ configuration });
  return from === null ? "{}" : await runConfOf({ sql }, from);
}

/** The conf of a run as JSON, to begin with; records that are too many for a form are left out. */
export async function runConfOf(
  { sql }: Pick<DashboardDeps, "sql">,
  from: string,
): Promise<string> {
  const isUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(from);
  const text = isUuid ? await runConf(sql, from) : null;
  if (text === null) {
    throw new Problem("not-found", {
      detail: say("no-run-to-start-from", { run: from.slice(0, 100) }),
    });
  }
  if (text.length <= MAX_CONF_LENGTH) return text;
  const { source: { records: _records, ...source }, ...conf } = JSON.parse(text);
  return JSON.stringify({ ...conf, source });
}
