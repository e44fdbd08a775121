import { z } from "zod";
import { columnsShape } from "./columns.ts";
import { ENCODINGS } from "./local/encoding.ts";

/**
 * A path into a record: names joined by dots, array positions as numbers
 * ("properties.mag", "geometry.coordinates.0"). A dot inside a name is
 * written `\.`.
 */
export const fieldPath = z.string().min(1).max(512)
  .describe('path of a field, nested with dots: "properties.mag"');

const format = z.enum(["csv", "tsv", "ndjson", "json", "parquet", "arrow"])
  .describe("format of the data; default: from the file name or content type");

/** How records become events; common to every source. */
const mapping = {
  name: z.string().min(1).max(200).optional()
    .describe("name of the source, owner of its rows; default: synthetic, else the run_label"),
  key: z.union([fieldPath, z.array(fieldPath).min(1).max(16)]).optional()
    .describe("field or fields that identify an event; default: the hash of the record"),
  event_type: z.union([
    z.string().min(1).max(200),
    z.strictObject({ field: fieldPath }),
  ]).optional().describe('literal event type, or {"field": path}; default: "record"'),
  occurred_at: z.union([
    fieldPath,
    z.strictObject({
      field: fieldPath,
      format: z.enum(["iso", "epoch_s", "epoch_ms", "epoch_us"]).default("iso")
        .describe("iso: ISO 8601 or RFC 3339, UTC where no offset is given"),
    }),
  ]).optional().describe("field with the time of the event, and its format; default: none"),
  version: fieldPath.optional()
    .describe("field (number or time) that decides which version of a key is newest"),
};

/** How text and documents are parsed; for sources that read files. */
const parsing = {
  format: format.optional(),
  records_path: z.string().max(512).optional()
    .describe('path to the array inside a JSON document: "features"'),
  delimiter: z.string().length(1).optional().describe("CSV delimiter; default comma, tab for TSV"),
  quote: z.union([z.string().length(1), z.literal(false)]).optional()
    .describe('character around fields, or false for none; default " for CSV, false for TSV'),
  escape: z.string().length(1).optional()
    .describe("character before a quote inside a quoted field; default: the quote itself"),
  comment: z.string().length(1).optional()
    .describe("lines of CSV that begin with it are skipped; default: none"),
  header: z.union([
    z.boolean(),
    z.array(z.string().min(1).max(512)).min(1).max(10_000)
      .refine((names) => new Set(names).size === names.length, "names must differ"),
  ]).optional().describe(
    "whether the first record of CSV names the columns, or the names for a file without header; default true",
  ),
  skip_lines: z.number().int().min(0).max(1_000_000).optional()
    .describe("lines before the header or the first record of CSV; default 0"),
  encoding: z.enum(ENCODINGS).optional()
    .describe(
      "encoding of text; default: by its byte order mark, else the charset of an HTTP answer, else UTF-8",
    ),
  ...columnsShape,
};

/** Where values come with types of their own, what `columns` says need not be read out of them. */
const typedValues = {
  ...columnsShape,
  read_columns: z.boolean().optional().describe(
    "false: columns only define a typed table, and values stay as in the source; default true",
  ),
};

const connectionName = z.string().regex(/^[a-z][a-z0-9_]{0,62}$/);

export const syntheticSource = z.strictObject({
  type: z.literal("synthetic"),
  ...mapping,
  seed: z.number().int().min(0).max(2 ** 32 - 1).default(0)
    .describe("another seed gives other records"),
}).describe("deterministic records, the same for the same index on every machine");

export const inlineSource = z.strictObject({
  type: z.literal("inline"),
  ...mapping,
  ...parsing,
  records: z.array(z.unknown()).max(100_000).optional().describe("the records themselves"),
  cells: z.boolean().optional()
    .describe("set by a replay: whether records of CSV are given by their cells"),
  upload_id: z.uuid().optional().describe("set by the server: where a request body was kept"),
}).describe("records in the request body");

export const fileSource = z.strictObject({
  type: z.literal("file"),
  ...mapping,
  ...parsing,
  path: z.string().min(1).max(1024)
    .describe('path or glob below ETL_DATA_DIR: "flights/*.csv.gz"'),
}).describe("files below ETL_DATA_DIR");

export const httpSource = z.strictObject({
  type: z.literal("http"),
  ...mapping,
  ...parsing,
  url: z.string().min(1).max(2048).refine(
    (url) => !url.includes("***"),
    "has *** where a secret was hidden when it was shown: give the whole URL again",
  ).describe(
    "where to fetch from, without secrets; with a connection, what follows its URL; the query is hidden where it is shown",
  ),
  connection: connectionName.optional().describe(
    "named connection for what needs a user, token or header: environment ETL_CONNECTION_<NAME> holds its URL and headers",
  ),
}).superRefine(({ url, connection }, ctx) => {
  const protocol = URL.canParse(url) ? new URL(url).protocol : undefined;
  if (protocol === "http:" || protocol === "https:") return;
  if (protocol === undefined && connection !== undefined) return;
  ctx.addIssue({
    code: "invalid_format",
    format: "url",
    path: ["url"],
    input: url,
    message: connection === undefined
      ? "a whole URL, https://host/path"
      : "a URL that follows the connection's, such as exports/day.csv",
  });
}).describe("a file fetched over HTTP or HTTPS");

export const postgresSource = z.strictObject({
  type: z.literal("postgres"),
  ...mapping,
  connection: connectionName
    .describe("named connection: environment ETL_CONNECTION_<NAME> holds its DSN"),
  table: z.string().min(1).max(200).optional().describe('table, "schema.name" or "name"'),
  query: z.string().min(1).max(20_000).optional().describe(
    "one select statement, instead of table",
  ),
  page_key: z.array(z.string().min(1).max(63)).min(1).max(4).optional()
    .describe("unique columns to page by; default: the table's primary key"),
  cursor: z.string().min(1).max(63).optional()
    .describe("column that grows with every change; only rows from the last position on are read"),
  cursor_mode: z.enum(["window", "exact"]).default("window").describe(
    "window: from the last position less the lookback on; exact (tables): also whatever a transaction wrote that was open at the last run, however late it commits, at the price of reading every row's xmin",
  ),
  lookback: z.number().min(0).max(1e15).optional().describe(
    "mode window: how far before the last position reading starts, in seconds for times and UUIDs, else in the column's own numbers; default 300 and 10,000",
  ),
  lookback_seconds: z.number().int().min(0).max(31_536_000).optional()
    .describe("the same, as version 0.1.0 called it"),
  cursor_sortable: z.boolean().default(false).describe(
    "whether a cursor of text sorts in the order in which rows change; else it is refused",
  ),
  ...typedValues,
}).describe("a table or query of another PostgreSQL database");

/** Bucket and key, or glob of keys, of an s3 URL; undefined where it is none. */
export function parseS3Url(url: string): { bucket: string; key: string } | undefined {
  const [, bucket, key] =
    /^s3:\/\/([A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9])\/(.+)$/s.exec(url) ?? [];
  return bucket === undefined || key === undefined ? undefined : { bucket, key };
}

export const s3Source = z.strictObject({
  type: z.literal("s3"),
  ...mapping,
  ...parsing,
  url: z.string().min(1).max(2048).refine((url) => parseS3Url(url) !== undefined, "s3://bucket/key")
    .describe('object, or glob of objects: "s3://bucket/flights/*.parquet"'),
  connection: connectionName.optional().describe(
    "named connection: environment ETL_CONNECTION_<NAME> holds its endpoint, region and keys; default: AWS_ACCESS_KEY_ID, AWS_REGION and the like",
  ),
}).describe(
  "objects of S3, or what speaks its protocol, read by ranges where they are",
);

/** Name of a source module: that of its file without `.ts`. */
const moduleName = z.string().regex(/^[a-z][a-z0-9_]{0,63}$/, "the name of a source module");

export const moduleSource = z.strictObject({
  type: z.literal("module"),
  ...mapping,
  module: moduleName.optional().describe(
    "the module: rest, sqlite, mysql, or a file NAME.ts of your own in ETL_SOURCES_DIR; default: the name",
  ),
  config: z.record(z.string(), z.unknown()).default({}).describe(
    "settings of the module, without secrets; docs/sources.md lists them",
  ),
  connections: z.array(connectionName).max(8).default([]).describe(
    "named connections that it may use: environment ETL_CONNECTION_<NAME> holds URL, user, password, headers",
  ),
  ...typedValues,
  timeout_ms: z.number().int().min(100).max(3_600_000).default(60_000).describe(
    "time that the module may take for itself until its next records, in ms; requests do not count",
  ),
}).superRefine(({ module, name }, ctx) => {
  if (module !== undefined || moduleName.safeParse(name).success) return;
  ctx.addIssue({
    code: "custom",
    path: [module === undefined && name === undefined ? "name" : "module"],
    input: name,
    message: "must name the module: its file without .ts",
  });
}).describe("a module that reads an API, MySQL, SQLite or your own things");

/** The `source` of a run's conf. */
export const sourceSchema = z.discriminatedUnion("type", [
  syntheticSource,
  inlineSource,
  fileSource,
  httpSource,
  postgresSource,
  s3Source,
  moduleSource,
]);

export type SourceConf = z.infer<typeof sourceSchema>;
export type SyntheticConf = z.infer<typeof syntheticSource>;
export type InlineConf = z.infer<typeof inlineSource>;
export type FileConf = z.infer<typeof fileSource>;
export type HttpConf = z.infer<typeof httpSource>;
export type S3Conf = z.infer<typeof s3Source>;
export type PostgresConf = z.infer<typeof postgresSource>;
export type ModuleConf = z.infer<typeof moduleSource>;
