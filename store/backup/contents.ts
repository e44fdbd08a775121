/**
 * What of schema etl a backup holds, in the order in which it is restored:
 * what others refer to comes first. Whoever adds a table there adds it here or
 * to {@linkcode LEFT_OUT}; a test compares both with the database.
 */
export const HELD = [
  "variables",
  "configurations",
  "pools",
  "suites",
  "datasets",
  "cursors",
  "totals",
  "alert_states",
  "schedules",
  "slots",
  "runs",
  "stages",
  "chunks",
  "quarantine",
  "validations",
  "deadlines",
  "run_ends",
  "dataset_events",
  "deliveries",
  "reports",
] as const;

/** What of schema etl is in no backup, and why. */
export const LEFT_OUT: Record<string, string> = {
  api_tokens: "secrets, and who may use one database may not use another",
  cancel_requests: "taken out by a server within a second",
  consumers: "published by the servers when they start",
  exports: "belongs to what other systems know; a restored one would be sent again",
  idempotency_keys: "a repeated request is for the database that it was made to",
  job_runs: "tell what was done to the database that they are in",
  job_scheduler: "who runs periodic jobs is decided by each database anew",
  jobs: "the same as job_scheduler",
  leases: "belong to the servers of one database",
  maintenance_runs: "tells what was done to the database that it is in",
  maintenance_tasks: "the same",
  server_roles: "roles belong to a cluster, and setup-db grants them",
  reader_roles: "roles belong to a cluster, and setup-db grants them",
  metrics_totals: "counted anew after a restore",
  migrations: "tell what was done to the database that they are in",
  notification_channels: "the state of a connection to another system",
  notifications: "messages that have been sent, or would be old news",
  param_schema: "part of the program",
  reaction_settings: "published by the servers when they start",
  run_logs: "for looking into a fault, and as large as the data",
  run_transitions: "part of the program",
  sessions: "secrets",
  setups: "the same as migrations",
  uploads: "request bodies, kept for a week only",
  view_refresh: "the views are refreshed by the restore",
};
