/** Chunks from which on a run is offered to other servers: fewer are done before they have joined. */
export const SHARED_CHUNKS = 8;

/** Why a run of so many chunks is executed by one server. */
export const ALONE = {
  off: "the server that has it executes its runs alone (ETL_ONE_SERVER_RUNS)",
  no_other: "no other server of its version was there",
  write: "what is replaced or mirrored is published by one server, in one transaction",
  deletions: "feeds with deletions are published by one server",
  own_table: "a table of your own is loaded by one server",
  dry_run: "a dry run into a typed table is made by one server",
  files: "its files are on one server (ETL_DATA_SHARED is not set)",
  downloaded: "its input is in its conf, or had to be downloaded to one server",
  source: "its kind of source is read by one server",
  columns: "its table got a column on the way, so its server has prepared it again alone",
} as const;

export type Alone = keyof typeof ALONE;

/** Why a server does not help with a run of another. */
export const NO_HELP = {
  program: "it runs another build of the program",
  modules: "it has another transform module, or one that imports something else",
  personal: "its ETL_HASH_SECRET is another",
  source: "the connection of the source leads elsewhere from there",
  run: "the conf, the suite or a limit of its environment gives other rows there",
  connection: "it has no connection of the source's name",
  data: "ETL_DATA_SHARED is not set there",
  files: "it does not have the run's files as they were planned",
  failed: "it could not begin; its log says why",
} as const;

export type NoHelp = keyof typeof NO_HELP;
