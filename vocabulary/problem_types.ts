/** What a kind of problem means and what to do about it, for GET /api/problems/{type}. */
export interface ProblemExplanation {
  /** Its title; default: its name in words. */
  title?: string;
  /** HTTP status; default 422. */
  status?: number;
  /** What has happened. */
  meaning: string;
  /** What helps, one step each. */
  remedies: string[];
}

/** Every kind of problem, explained: the list from which docs/troubleshooting.md and the API have them. */
export const PROBLEM_TYPES = {
  "invalid-conf": {
    title: "The configuration is not valid",
    meaning: "At least one parameter of the run is invalid. `errors` lists every one of " +
      "them, with the value given and what would be right.",
    remedies: [
      "Correct the fields that `errors` names.",
      "Look up bounds and defaults with `etl help params` or in docs/configuration.md.",
      "A value may come from a saved configuration, a variable or the environment: the message names where.",
    ],
  },
  "unknown-parameter": {
    meaning: "The conf contains a name that is not a parameter.",
    remedies: [
      "Use the name that `errors` suggests, or list all parameters with `etl help params`.",
    ],
  },
  "bad-request": {
    status: 400,
    meaning: "The request is malformed: invalid JSON, a wrong query parameter or a wrong header.",
    remedies: ["Compare the request with /api/docs."],
  },
  unauthorized: {
    status: 401,
    meaning: "The request needs a valid API token.",
    remedies: [
      "Send a valid token in the header `Authorization: Bearer etl_…`; people sign in at /etl/sign-in.",
      "The command line sends the token in ETL_TOKEN, or in the file given by --token-file.",
      "An admin creates tokens with `deno task etl token create NAME --role ROLE`. See docs/security.md.",
    ],
  },
  forbidden: {
    status: 403,
    meaning:
      "The request is not allowed: its Host header is not one of this server's, it comes from a web " +
      "page of another origin, or its token lacks the role.",
    remedies: [
      "Add the host name to ETL_ALLOWED_HOSTS if it is this server's.",
      "Use a token with the role named in the message.",
    ],
  },
  "not-found": {
    status: 404,
    meaning: "Nothing exists at this address or under this name.",
    remedies: ["List what exists, e.g. GET /api/etl/runs, and check the id."],
  },
  "method-not-allowed": {
    status: 405,
    meaning: "The address exists, but does not accept this HTTP method.",
    remedies: ["Use one of the methods in the response's Allow header."],
  },
  conflict: {
    status: 409,
    meaning:
      "The request conflicts with the current state, e.g. retrying a run that is still running.",
    remedies: ["Look at the current state of the run or resource, then decide again."],
  },
  "idempotency-conflict": {
    meaning: "The Idempotency-Key was already used with another conf.",
    remedies: ["Use a new key for a new run; repeat the same conf to get the same run."],
  },
  "payload-too-large": {
    status: 413,
    meaning: "The request body is larger than this server accepts.",
    remedies: [
      "Store the data where a file or http source can read it.",
      "Raise ETL_MAX_BODY_BYTES to accept larger bodies of data.",
    ],
  },
  "unsupported-media-type": {
    status: 415,
    meaning: "This address does not accept the Content-Type.",
    remedies: [
      "Send application/json, or, for a run, one of the data types listed in the message.",
    ],
  },
  "too-many-requests": {
    status: 429,
    meaning: "There are too many requests of this kind right now.",
    remedies: ["Wait for the time in Retry-After, then try again."],
  },
  unavailable: {
    status: 503,
    meaning: "The server or its database cannot serve this request right now.",
    remedies: [
      "Try again in a few seconds.",
      "If it persists, see /api/etl/health and the server's log.",
    ],
  },
  internal: {
    status: 500,
    meaning: "Something unexpected happened. This is a bug in the program.",
    remedies: ["Report it with the details from the server's log."],
  },
  "source-unreadable": {
    meaning:
      "The source could not be read: a file is missing or damaged, or an address does not respond.",
    remedies: [
      "Check the members of `source` listed in `errors`.",
      "Try it with `etl preview`, which writes nothing.",
    ],
  },
  "source-changed": {
    meaning: "The input has changed since the run first read it (size, time, ETag, columns or " +
      "number of chunks), so the rest would not match what is already loaded.",
    remedies: [
      "Request a new run: it reads the current input. Rows that are already loaded are kept.",
    ],
  },
  "source-refused": {
    meaning: "This server may not read the source: it is outside ETL_DATA_DIR or at a " +
      "private address.",
    remedies: [
      "Put the file below ETL_DATA_DIR; symbolic links must also point there.",
      "If the private address is intended, list the host in ETL_HTTP_PRIVATE_HOSTS.",
    ],
  },
  "too-many-rejected": {
    meaning:
      "More than 100,000 records were rejected, or all of the first 1,000: the mapping of the " +
      "source does not match its records.",
    remedies: [
      "See the records and the rules they break: `etl quarantine ID`, or GET /api/etl/runs/{id}/quarantine.",
      "Correct key, event_type, occurred_at or version; check with `etl preview`.",
    ],
  },
  "foreign-rows": {
    status: 409,
    title: "Rows belong to another source",
    meaning: "The run would have overwritten rows of another source. Nothing was published.",
    remedies: [
      "Give the sources different keys, or different tables (table_name).",
      "If it is the same source under a new name, keep its old name in `source.name`.",
    ],
  },
  "schema-changed": {
    title: "The records have fields that the table lacks",
    meaning: "Records have fields that the typed table has no column for. Nothing was published.",
    remedies: [
      "Add the columns: `etl dataset alter DATASET --add FIELD:TYPE`, then request the run again.",
      "Or drop the field in a transform, or set schema_policy to quarantine.",
    ],
  },
  "destination-mismatch": {
    meaning: "The table exists, but lacks the structure that a run needs.",
    remedies: [
      "Choose another table_name or another schema.",
      "If it is from an older installation, run sql/etl_migration.sql.",
    ],
  },
  "missing-grant": {
    meaning: "The database role of the server lacks a permission. The message shows the GRANT.",
    remedies: [
      "Have the owner of the database run the GRANT.",
      "Or run `deno task setup-db --schema SCHEMA --role ROLE` as the owner.",
    ],
  },
  "validation-failed": {
    meaning:
      "The batch failed expectations of its suite, and enforce_ge is on. Nothing was published.",
    remedies: [
      "See the results at GET /api/etl/runs/{id}/validation.",
      "Correct the data or the suite, then retry the run.",
    ],
  },
  "low-ratio": {
    title: "The acceptance ratio is too low",
    meaning: "Fewer rows arrived than min_acceptance_ratio requires. Rows that were loaded stay.",
    remedies: [
      "See which records were rejected and why: `etl quarantine ID`, or GET /api/etl/runs/{id}/quarantine.",
      "If that share of rejected records is acceptable, lower min_acceptance_ratio.",
    ],
  },
  "out-of-memory": {
    title: "The run needs too much memory",
    meaning:
      "A worker used more memory than ETL_WORKER_MEMORY_MB while it prepared a chunk. The run was stopped before " +
      "it could crash the server and the other runs on it.",
    remedies: [
      "Load less at once: a smaller chunk_size, smaller row groups, shorter records.",
      "A transform module or a suite that collects values over many records may be the cause.",
      "Give the server more memory and raise ETL_WORKER_MEMORY_MB, then retry the run.",
    ],
  },
  "timed-out": {
    title: "The run took too long",
    meaning:
      "The run, or a stage of it, took longer than timeout_seconds. Chunks that were published stay in the table.",
    remedies: [
      "Retry it (`etl retry ID`): it continues after its last chunk, with a new time limit.",
      "See on the run's page which stage took so long; raise or remove timeout_seconds if the run needs it.",
    ],
  },
  "too-many-deletions": {
    title: "Too many rows would be deleted",
    meaning:
      "A mirror would have deleted a larger share of its rows than max_delete_ratio allows. Nothing was changed.",
    remedies: [
      "Check that the source is complete: a truncated file, a new filter, an empty table?",
      "If the rows should be deleted, run again with `max_delete_ratio: 1` (`etl load … --yes`).",
      "`dry_run: true` reports what would be deleted, and deletes nothing.",
    ],
  },
  "deletion-refused": {
    title: "The table keeps rows that are to be deleted",
    meaning:
      "A mirror or replace would have deleted rows that another table refers to, or that a trigger keeps. Nothing was changed.",
    remedies: [
      "Delete what refers to these rows first; the message names the constraint.",
      "Or let the constraint say what becomes of it: `on delete cascade` or `on delete set null`.",
      "Or mirror with `on_missing: mark`, which deletes nothing.",
    ],
  },
  "transform-failed": {
    meaning:
      "The transform module is missing, cannot be loaded, exports no function, or was stopped: it exceeded its time limit, used too much memory, or crashed.",
    remedies: [
      "See pipeline/transforms/example.ts for a module that works.",
      "Try it with `etl preview --set transform=NAME`; the output of its console.log is in the run's log.",
      "If it needs longer for a batch of about 1,000 records, raise transform_timeout_ms.",
    ],
  },
  "database-unavailable": {
    status: 503,
    meaning:
      "The database could not be reached. The run continues by itself when the database is back.",
    remedies: ["Check that PostgreSQL is running and that KPIS_PG_DSN is right."],
  },
  "database-error": {
    meaning: "The database refused a statement. The message has the reason and the SQLSTATE.",
    remedies: ["Remove the cause, then retry the run: it continues where it stopped."],
  },
  "disk-full": {
    meaning: "A disk is full: the one with ETL_SPOOL_DIR, or the database's.",
    remedies: ["Free space or point ETL_SPOOL_DIR at a larger disk; the run continues by itself."],
  },
  "server-lost": {
    title: "The server stopped",
    meaning:
      "The server that executed the run stopped without notice: it was killed, ran out of memory, or lost its machine. " +
      "Another attempt continues with what was loaded. An attempt that ended together with other runs does not count.",
    remedies: [
      "Look at the server's output: `Fatal JavaScript out of memory`, or exit code 137 of its container, means that it ran out of memory.",
      "Load less at once: smaller row groups, a smaller batch_size, fewer ETL_WORKERS; or give the server more memory.",
      "After two servers in a row died without progress of the run, it runs alone until it makes progress.",
    ],
  },
  "attempts-exhausted": {
    meaning: "The run was started ETL_RUN_MAX_ATTEMPTS times and never finished.",
    remedies: [
      "See the last error in the message and in the server's log.",
      "Retry the run once the cause is removed.",
    ],
  },
  cancelled: {
    status: 409,
    meaning: "The run was cancelled. Chunks that were already published stay in the table.",
    remedies: ["`etl retry ID` continues where it stopped."],
  },
  superseded: {
    status: 409,
    meaning: "A newer run, or another server, has taken over. Nothing was changed.",
    remedies: ["Look at the newer run; if its data is not what you want, request a new run."],
  },
} satisfies Record<string, ProblemExplanation>;
export type ProblemType = keyof typeof PROBLEM_TYPES;
