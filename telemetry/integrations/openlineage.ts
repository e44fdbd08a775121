import { createHash } from "node:crypto";
import { databaseAddresses, parseDsn } from "../../store/dsn.ts";
import type { ExportFacts } from "../../store/exports.ts";
import type { EndedRun } from "../../store/reactions.ts";
import { DeliveryError, request } from "../http_post.ts";
import type { Exporter } from "../integration.ts";
import type { TelemetrySettings } from "../settings_schema.ts";

const PRODUCER = "urn:etl-improved:producer";
const SPEC = "https://openlineage.io/spec";
const SCHEMA_URL = `${SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent`;

/** Facets that are used, with the version of their schema. */
const FACETS = {
  nominalTime: "1-0-1/NominalTimeRunFacet.json#/$defs/NominalTimeRunFacet",
  parent: "1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet",
  processing_engine: "1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet",
  errorMessage: "1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
  jobType: "2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
  schema: "1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet",
  inputStatistics:
    "1-0-0/InputStatisticsInputDatasetFacet.json#/$defs/InputStatisticsInputDatasetFacet",
  dataQualityMetrics:
    "1-0-3/DataQualityMetricsInputDatasetFacet.json#/$defs/DataQualityMetricsInputDatasetFacet",
  dataQualityAssertions:
    "1-1-0/DataQualityAssertionsDatasetFacet.json#/$defs/DataQualityAssertionsDatasetFacet",
  outputStatistics:
    "1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet",
} as const;

/** Columns of a destination table. */
const COLUMNS = [
  ["event_id", "text"],
  ["event_type", "text"],
  ["occurred_at", "timestamptz"],
  ["source", "text"],
  ["version", "numeric"],
  ["payload", "jsonb"],
  ["fingerprint", "bytea"],
  ["event_date", "date"],
  ["event_hour", "smallint"],
  ["run_id", "uuid"],
  ["first_seen_at", "timestamptz"],
  ["updated_at", "timestamptz"],
] as const;

function facet<Name extends keyof typeof FACETS>(name: Name, content: Record<string, unknown>) {
  return {
    [name]: { _producer: PRODUCER, _schemaURL: `${SPEC}/facets/${FACETS[name]}`, ...content },
  };
}

/** A database as lineage names it: never with user or password. */
interface DatabaseName {
  /** "postgres://host:port" */
  namespace: string;
  database: string;
}

/** What a connection string says of where it leads. */
export function databaseName(dsn: string): DatabaseName {
  const { database, user = "" } = parseDsn(dsn);
  return {
    namespace: `postgres://${databaseAddresses(dsn)[0]}`,
    database: database ?? user,
  };
}

interface LineageOptions {
  /** Of the jobs. */
  namespace: string;
  destination: DatabaseName;
  /** Databases of postgres sources by the name of their connection. */
  connections: Record<string, DatabaseName>;
  /** Where those of http sources begin. */
  httpConnections: Record<string, { url: string }>;
  dataDir: string;
  version: string;
}

/** A START or terminal event of OpenLineage 2-0-2. */
type LineageEvent = Record<string, unknown> & { eventType: string };

/**
 * The run's id in lineage: its own, and one derived from it for each retry, as
 * nothing may follow the terminal event of a run.
 */
function lineageRunId(runId: string, endNo: number): string {
  if (endNo === 1) return runId;
  const hex = createHash("sha256").update(`${runId} ${endNo}`).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${
    hex.slice(20, 32)
  }`;
}

const TERMINAL = { succeeded: "COMPLETE", failed: "FAIL", cancelled: "ABORT" } as const;

/** The START of a run, or the event that ends it. */
export function lineageEvent(
  kind: "start" | "end",
  { facts, endNo, startedAt }: { facts: ExportFacts; endNo: number; startedAt: string },
  options: LineageOptions,
): LineageEvent {
  const { run } = facts;
  const ended = kind === "end";
  return {
    eventType: ended ? TERMINAL[run.state] : "START",
    eventTime: ended ? isoTime(run.ended_at) : startedAt,
    producer: PRODUCER,
    schemaURL: SCHEMA_URL,
    run: {
      runId: lineageRunId(run.run_id, endNo),
      facets: {
        ...facet("nominalTime", { nominalStartTime: isoTime(run.slot ?? run.requested_at) }),
        ...facet("processing_engine", {
          name: "etl-improved",
          version: options.version,
          openlineageAdapterVersion: options.version,
        }),
        ...parentFacet(run, endNo, options),
        ...(ended && run.error?.detail
          ? facet("errorMessage", {
            message: run.error.detail,
            programmingLanguage: "TypeScript",
          })
          : {}),
      },
    },
    job: {
      namespace: options.namespace,
      name: run.run_label,
      facets: facet("jobType", {
        processingType: "BATCH",
        integration: "ETL_IMPROVED",
        jobType: "JOB",
      }),
    },
    inputs: inputs(facts, ended, options),
    outputs: outputs(facts, ended, options),
  };
}

/** A replay has the run that it replays as its parent, a retry the run that it takes up. */
function parentFacet(run: EndedRun, endNo: number, { namespace }: LineageOptions) {
  const parent = run.replay_of ?? (endNo > 1 ? run.run_id : null);
  if (parent === null) return {};
  return facet("parent", {
    run: { runId: parent },
    job: { namespace, name: run.run_label },
  });
}

function inputs(facts: ExportFacts, ended: boolean, options: LineageOptions) {
  const { run, validation } = facts;
  const read = run.counts?.records_read;
  const inputFacets = ended
    ? {
      ...(read === undefined ? {} : {
        ...facet("inputStatistics", { rowCount: read }),
        ...facet("dataQualityMetrics", { rowCount: read, columnMetrics: {} }),
      }),
      ...(validation === null ? {} : facet("dataQualityAssertions", {
        assertions: validation.results.map(({ success, expectation_config: expectation }) => ({
          assertion: expectation.type,
          success,
          ...(typeof expectation.kwargs.column === "string"
            ? { column: expectation.kwargs.column }
            : {}),
        })),
      })),
    }
    : {};
  return [{ ...inputName(run, options), facets: {}, inputFacets }];
}

function inputName(run: EndedRun, options: LineageOptions): { namespace: string; name: string } {
  const source = run.params.source as Record<string, string | undefined> & { type: string };
  switch (source.type) {
    case "file":
      return { namespace: "file", name: `${options.dataDir}/${source.path}` };
    case "http": {
      // neither credentials nor the query, which may hold a token
      const base = options.httpConnections[source.connection ?? ""]?.url;
      if (!URL.canParse(source.url!, base)) {
        return { namespace: `http://${source.connection}`, name: source.url! };
      }
      const { protocol, host, pathname } = new URL(source.url!, base);
      return { namespace: `${protocol}//${host}`, name: pathname };
    }
    case "s3": {
      const [, bucket, key] = /^s3:\/\/([^/]+)\/(.+)$/s.exec(source.url!)!;
      return { namespace: `s3://${bucket}`, name: key! };
    }
    case "postgres": {
      const known = options.connections[source.connection!];
      const { namespace, database } = known ??
        { namespace: `postgres://${source.connection}`, database: source.connection! };
      const table = source.table === undefined
        ? `query_${createHash("sha256").update(source.query ?? "").digest("hex").slice(0, 12)}`
        : source.table.includes(".")
        ? source.table
        : `public.${source.table}`;
      return { namespace, name: `${database}.${table}` };
    }
    default:
      return {
        namespace: options.namespace,
        name: `${source.type}/${source.name ?? run.run_label}`,
      };
  }
}

function outputs({ run, columns }: ExportFacts, ended: boolean, { destination }: LineageOptions) {
  if (run.dry_run) return [];
  const { inserted = 0, updated = 0, deleted = 0, marked = 0 } = run.counts ?? {};
  return [{
    namespace: destination.namespace,
    name: `${destination.database}.${run.schema_name}.${run.table_name}`,
    facets: facet("schema", {
      fields: (columns ?? COLUMNS.map(([name, type]) => ({ name, type })))
        .map(({ name, type }) => ({ name, type })),
    }),
    outputFacets: ended
      ? {
        ...facet("outputStatistics", { rowCount: inserted + updated }),
        ...(deleted + marked === 0 ? {} : {
          etl_improved_rowsGone: {
            _producer: PRODUCER,
            _schemaURL: `${SPEC}/2-0-2/OpenLineage.json#/$defs/OutputDatasetFacet`,
            deleted,
            marked,
          },
        }),
      }
      : {},
  }];
}

const isoTime = (text: string) => new Date(text).toISOString();

/** Sends lineage events to a server, or appends them to a file, one a line. */
export class LineageSender {
  readonly #settings: NonNullable<TelemetrySettings["openLineage"]>;

  constructor(settings: NonNullable<TelemetrySettings["openLineage"]>) {
    this.#settings = settings;
  }

  /** Throws a DeliveryError. */
  async send(event: LineageEvent): Promise<void> {
    const { url, apiKey } = this.#settings;
    if (url.startsWith("file:")) return await append(new URL(url), event);
    await request(url, {
      headers: {
        "content-type": "application/json",
        ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
      },
      body: JSON.stringify(event),
    });
  }
}

async function append(file: URL, event: LineageEvent): Promise<void> {
  try {
    await Deno.writeTextFile(file, `${JSON.stringify(event)}\n`, { append: true });
  } catch (error) {
    throw new DeliveryError(`the lineage file cannot be written: ${(error as Error).message}`, {
      retryable: true,
    });
  }
}

/** Tells OpenLineage of the start of a run and, when that has come, of its end: each once, in this order. */
export function lineageExporter(sender: LineageSender, options: LineageOptions): Exporter {
  return async (pending, facts, progress) => {
    const { end_no: endNo } = pending;
    if (progress.startedAt === null) {
      // a run that was cancelled before it started begins when it ends
      const startedAt = facts.ended
        ? earlier(pending.requested_at, new Date(facts.run.ended_at).toISOString())
        : pending.requested_at;
      await sender.send(lineageEvent("start", { facts, endNo, startedAt }, options));
      progress.startedAt = startedAt;
    }
    if (!facts.ended) return { state: "started" };
    const { startedAt } = progress;
    await sender.send(lineageEvent("end", { facts, endNo, startedAt }, options));
    return { state: "done" };
  };
}

const earlier = (a: string, b: string) => a < b ? a : b;
