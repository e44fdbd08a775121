import { resolve } from "node:path";
import { issueErrors, parseConf } from "../../pipeline/conf_errors.ts";
import { type Conf, type Params, paramsSchema } from "../../pipeline/params.ts";
import type { PreviewContext } from "../../pipeline/preview.ts";
import { errorsText, type FieldError, Problem } from "../../vocabulary/problem.ts";
import { resolveParams } from "../../store/params.ts";
import type { AppDeps } from "./deps.ts";

/** The parameters that a run asked for with this conf would have. Makes no run. */
export async function paramsOf(given: unknown, deps: AppDeps): Promise<Params> {
  const conf = parseConf(given);
  refuseUpload(conf);
  const { source } = conf;
  const records = source?.type === "inline" ? source.records : undefined;
  // records stay here: the database need not see them, and JSON.stringify knows no bigint
  const { params, errors } = await resolveParams(
    deps.sql,
    withToday(records === undefined ? conf : { ...conf, source: { ...source, records: [] } }),
  );
  if (errors.length > 0) throw invalid(errors);
  const parsed = paramsSchema.safeParse(params, { reportInput: true });
  if (!parsed.success) {
    throw invalid(issueErrors(parsed.error.issues));
  }
  return records === undefined
    ? parsed.data
    : { ...parsed.data, source: { ...parsed.data.source, records } as Params["source"] };
}

/** Only a run reads what was stored of a request: without one, records are given as they are. */
function refuseUpload({ source }: Conf): void {
  if (source?.type !== "inline" || source.upload_id === undefined) return;
  throw invalid([{
    field: "source.upload_id",
    value: source.upload_id,
    message: "can be read by a run only",
    expected: "the records themselves, in source.records",
  }]);
}

/** Templates as a run that is asked for now would have them. */
function withToday(conf: unknown): unknown {
  const text = JSON.stringify(conf);
  if (!text.includes("{{")) return conf;
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  return JSON.parse(
    text.replaceAll("{{slot}}", now)
      .replaceAll("{{slot_previous}}", now)
      .replaceAll("{{today}}", now.slice(0, 10)),
  );
}

function invalid(errors: FieldError[]): Problem {
  return new Problem("invalid-conf", {
    detail: `The conf has ${errorsText(errors)}`,
    errors,
  });
}

/** What is needed to read a source outside of a run, with a directory that is removed at the end. */
export async function withSource<T>(
  params: Params,
  { config }: AppDeps,
  work: (context: PreviewContext) => Promise<T>,
): Promise<T> {
  const spoolDir = `${resolve(config.spoolDir)}/preview-${crypto.randomUUID()}`;
  await Deno.mkdir(spoolDir, { recursive: true });
  try {
    return await work({
      params,
      transformsDir: resolve(config.transformsDir),
      source: {
        spoolDir,
        dataDir: resolve(config.dataDir),
        connections: config.connections,
        pageSize: params.db_page_size,
        limits: {
          maxSpoolBytes: config.maxSpoolBytes,
          maxRecordBytes: config.maxRecordBytes,
          httpHosts: [...config.httpSources, ...config.privateHosts],
          allowPrivateHosts: config.privateHosts,
        },
      },
    });
  } finally {
    await Deno.remove(spoolDir, { recursive: true });
  }
}
