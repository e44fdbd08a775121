/** What a kind of problem means and what to do about it, for GET /api/problems/{type}. */
export interface ProblemExplanation {
  /** Its title; default: its name in words. */
  title?: string;
  /** What has happened. */
  meaning: string;
  /** What helps, one step each. */
  remedies: string[];
}

/** Every kind of problem, explained: the list from which docs/troubleshooting.md and the API have them. */
export const PROBLEM_TYPES = {
  "invalid-conf": {
    title: "The configuration is not valid",
    meaning:
      "A parameter of the run has a value that it cannot have. `errors` names every one of " +
      "them, what was given and what would be right.",
    remedies: [
      "Correct the fields that `errors` names.",
      "Look up bounds and defaults with `etl help params` or in docs/configuration.md.",
      "A value may come from a saved configuration, a variable or the environment: the message says so.",
    ],
  },
  "unknown-parameter": {
    meaning: "The conf has a name that no parameter has.",
    remedies: ["Use the name that `errors` suggests, or see `etl help params` for all of them."],
  },
  "bad-request": {
    meaning: "The request itself cannot be read: no JSON, a wrong query parameter, a wrong header.",
    remedies: ["Compare the request with /api/docs."],
  },
  unauthorized: {
    meaning: "The request needs an API token and has none that is valid.",
    remedies: [
      "Send a valid token in the header `Authorization: Bearer etl_…`; people sign in at /etl/sign-in.",
      "The command line sends what ETL_TOKEN holds, or the file that --token-file names.",
      "An admin makes tokens with `deno task etl token create NAME --role ROLE`. See docs/security.md.",
    ],
  },
  forbidden: {
    meaning:
      "The request is not allowed: its Host is not one of this server's, it comes from a web " +
      "page of another origin, or its token may not do this.",
    remedies: [
      "Add the host name to ETL_ALLOWED_HOSTS if it is this server's.",
      "Use a token with the role that the message names.",
    ],
  },
  "not-found": {
    meaning: "There is nothing under this address or name.",
    remedies: ["List what there is, e.g. GET /api/etl/runs, and check the id."],
  },
  "method-not-allowed": {
    meaning: "What is under this address can be asked for, but not with this HTTP method.",
    remedies: ["Use one of the methods that the Allow header of the answer lists."],
  },
  conflict: {
    meaning: "What was asked for does not fit the present state, e.g. retrying a run that goes on.",
    remedies: ["Look at the run or resource as it is now, then decide again."],
  },
  "idempotency-conflict": {
    meaning: "The Idempotency-Key was used before with another conf.",
    remedies: ["Use a new key for a new run; repeat the same conf to get the same run."],
  },
  "payload-too-large": {
    meaning: "The body of the request is larger than this server takes.",
    remedies: [
      "Put the data where a file or http source can read it.",
      "Raise ETL_MAX_BODY_BYTES if bodies of data may be larger.",
    ],
  },
  "unsupported-media-type": {
    meaning: "The Content-Type is none that this address takes.",
    remedies: ["Send application/json, or for a run one of the data types that the message lists."],
  },
  "too-many-requests": {
    meaning: "There are too many requests of this kind just now.",
    remedies: ["Wait as long as Retry-After says and try again."],
  },
  unavailable: {
    meaning: "The server or its database cannot serve this just now.",
    remedies: [
      "Try again in a few seconds.",
      "See /api/etl/health and the server's log if it stays so.",
    ],
  },
  internal: {
    meaning: "Something unexpected happened. It is a defect of the program.",
    remedies: ["Look into the server's log, which has the details, and report them."],
  },
  "source-unreadable": {
    meaning:
      "The source could not be read: a file is missing or broken, an address does not answer.",
    remedies: [
      "Check the members of `source` that `errors` names.",
      "Try it out with `etl preview`, which writes nothing.",
    ],
  },
  "source-changed": {
    meaning:
      "The input is not what it was when the run first read it (size, time, ETag or number of " +
      "chunks), so the rest of it would not fit what was loaded.",
    remedies: ["Ask for a new run: it reads the input as it is now. Rows loaded already are kept."],
  },
  "source-refused": {
    meaning: "The source is one that this server does not read: outside of ETL_DATA_DIR, or at a " +
      "private address.",
    remedies: [
      "Put the file below ETL_DATA_DIR; symbolic links must end there too.",
      "Name the host in ETL_HTTP_PRIVATE_HOSTS if it may be read although its address is private.",
    ],
  },
  "too-many-rejected": {
    meaning:
      "More than 100,000 records were rejected, or all of the first 1,000: the mapping of the " +
      "source does not fit its records.",
    remedies: [
      "See the rules and records: `etl quarantine ID`, or GET /api/etl/runs/{id}/quarantine.",
      "Correct key, event_type, occurred_at or version, with `etl preview` until it fits.",
    ],
  },
  "foreign-rows": {
    title: "Rows belong to another source",
    meaning: "The run would have overwritten rows that another source owns. Nothing was published.",
    remedies: [
      "Give the sources keys that differ, or tables of their own (table_name).",
      "If it is the same source under a new name, keep its old name in `source.name`.",
    ],
  },
  "schema-changed": {
    title: "The records have other fields than the table",
    meaning: "Records have fields that the typed table has no column for. Nothing was published.",
    remedies: [
      "Add the columns: `etl dataset alter DATASET --add FIELD:TYPE`, then ask for the run again.",
      "Or drop the field in a transform, or set schema_policy to quarantine.",
    ],
  },
  "destination-mismatch": {
    meaning: "The table exists and has another shape than a run needs.",
    remedies: [
      "Choose another table_name, or a schema of its own.",
      "Run sql/etl_migration.sql if it is of an older installation.",
    ],
  },
  "missing-grant": {
    meaning: "The database role of the server lacks a permission. The message names the GRANT.",
    remedies: [
      "Have the owner of the database run the GRANT.",
      "Or run `deno task setup-db --schema SCHEMA --role ROLE` as the owner.",
    ],
  },
  "validation-failed": {
    meaning:
      "The batch broke expectations of its suite, and enforce_ge was on. Nothing was published.",
    remedies: [
      "See the results in GET /api/etl/runs/{id}/validation.",
      "Correct the data or the suite, then retry the run.",
    ],
  },
  "low-ratio": {
    title: "The acceptance ratio was not reached",
    meaning: "Fewer rows arrived than min_acceptance_ratio asks for. What was loaded stays.",
    remedies: [
      "See what was rejected and why: `etl quarantine ID`, or GET /api/etl/runs/{id}/quarantine.",
      "Lower min_acceptance_ratio if that share of rejected records is acceptable.",
    ],
  },
  "out-of-memory": {
    title: "The run needs too much memory",
    meaning:
      "A worker held more memory than ETL_WORKER_MEMORY_MB while it prepared a chunk. The run was ended before " +
      "its server died, which would have ended other runs, too.",
    remedies: [
      "Load less at once: a smaller chunk_size, smaller row groups, shorter records.",
      "A transform module or a suite that collects values over many records may be the cause.",
      "Give the server more memory and raise ETL_WORKER_MEMORY_MB, then retry the run.",
    ],
  },
  "timed-out": {
    title: "The run took too long",
    meaning:
      "The run, or a stage of it, took longer than timeout_seconds allows. What was published stays.",
    remedies: [
      "Retry it (`etl retry ID`): it goes on from its last chunk, with the time anew.",
      "See which stage took the time on the run's page; raise or remove timeout_seconds if the run needs it.",
    ],
  },
  "too-many-deletions": {
    title: "Too many rows would be deleted",
    meaning:
      "A mirror found that its source no longer has a larger share of its rows than max_delete_ratio lets go. Nothing was changed.",
    remedies: [
      "Look whether the source is whole: a file that was cut off, a filter that is new, an empty table.",
      "If the rows are to go, run again with `max_delete_ratio: 1` (`etl load … --yes`).",
      "`dry_run: true` says what would be deleted, and deletes nothing.",
    ],
  },
  "transform-failed": {
    meaning:
      "The transform module is missing, cannot be loaded, exports no function, or was stopped: it did not end in its time, needed too much memory, or broke down.",
    remedies: [
      "See pipeline/transforms/example.ts for a module that works.",
      "Try it out with `etl preview --set transform=NAME`; what it prints with console.log is in the run's log.",
      "A module that needs longer for a batch of about 1,000 records may have it: transform_timeout_ms.",
    ],
  },
  "database-unavailable": {
    meaning: "The database could not be reached. The run goes on by itself when it is back.",
    remedies: ["Check that PostgreSQL is running and that KPIS_PG_DSN is right."],
  },
  "database-error": {
    meaning: "The database refused a statement. The message has its reason and SQLSTATE.",
    remedies: ["Remove the reason, then retry the run: it goes on where it stopped."],
  },
  "disk-full": {
    meaning: "A disk is full: that of ETL_SPOOL_DIR, or the database's.",
    remedies: ["Free space or point ETL_SPOOL_DIR at a larger disk; the run goes on by itself."],
  },
  "server-lost": {
    title: "The server stopped",
    meaning:
      "The server that executed the run ended without a word: killed, out of memory, or its machine is gone. " +
      "Another attempt goes on with what was loaded. An attempt that other runs died with does not count.",
    remedies: [
      "Look at the server's output: `Fatal JavaScript out of memory`, or exit code 137 of its container, is memory.",
      "Load less at once: smaller row groups, a smaller batch_size, fewer ETL_WORKERS; or give the server more memory.",
      "A run with which two servers have died without its getting on runs alone until it does.",
    ],
  },
  "attempts-exhausted": {
    meaning: "The run was started ETL_RUN_MAX_ATTEMPTS times and never ended.",
    remedies: [
      "See the last problem in the message and the server's log.",
      "Retry the run when the cause is gone.",
    ],
  },
  cancelled: {
    meaning: "The run was cancelled. Chunks that were published before stay in the table.",
    remedies: ["`etl retry ID` goes on where it stopped."],
  },
  superseded: {
    meaning: "A newer run took the place of this one.",
    remedies: ["Look at the newer run."],
  },
} satisfies Record<string, ProblemExplanation>;
export type ProblemType = keyof typeof PROBLEM_TYPES;
