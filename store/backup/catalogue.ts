import { type Client, quoteTable } from "../pg.ts";
import { type Manifest, SESSION } from "./format.ts";
import { TerminalProblem } from "../../vocabulary/problem.ts";

/** Columns by which audit tables and tables of events are known. */
const AUDIT = ["run_id", "run_label", "event", "status", "actor", "params", "details"];
const EVENTS = ["event_id", "event_type", "payload", "fingerprint", "run_id", "updated_at"];
const TYPED = ["_etl_run_id", "_etl_fingerprint", "_etl_first_seen_at", "_etl_updated_at"];

/** SQL for whether a relation has all these columns, in the words of any version of the schema. */
function has(relation: string, columns: string[]): string {
  return `(select count(*) from pg_attribute as h where h.attrelid = ${relation} and not h.attisdropped
    and h.attname = any ('{${columns.join(",")}}')) = ${columns.length}`;
}

/** SQL for a table by its name, without a right on its schema, in the words of any version of the schema. */
function named(schema: string, table: string): string {
  return `(select n_c.oid::regclass from pg_class as n_c join pg_namespace as n_n on n_n.oid = n_c.relnamespace
    where n_n.nspname = ${schema} and n_c.relname = ${table})`;
}

/** Tables of the user's own are their owner's to back up: a restore would write to them. As JSON: an older schema has no such column. */
const NOT_OWN = "to_jsonb(d) #> '{declared,own}' is distinct from 'true'";

/**
 * Every table that a backup holds, in the order of restoring: those of schema etl,
 * every audit and metrics table (the public ones, their children in other
 * schemas, and audit tables that runs name), alerts, every registered dataset.
 */
const TABLES = `
  with wanted (relation, kind, place) as (
    select to_regclass('etl.' || h.name), 'etl', h.place
    from unnest($1::text[]) with ordinality as h (name, place)
    union all
    select c.oid::regclass, 'reported', 1000
    from (values ('public.etl_improved_audit'), ('public.etl_improved_metrics'), ('public.etl_improved_alerts')) as p (name)
    join pg_class as c on c.oid = to_regclass(p.name)
      or exists (select from pg_inherits as i where i.inhparent = to_regclass(p.name) and i.inhrelid = c.oid)
    union all
    -- a run names what it likes: only tables that are what they should be
    select a.relation, 'reported', 1001
    from (select distinct ${
  named("r.schema_name", "r.audit_table_name")
} as relation from etl.runs as r) as a
    where ${has("a.relation", AUDIT)}
    union all
    select d.relation, 'destination', 2000
    from (select ${
  named("d.schema_name", "d.table_name")
} as relation from etl.datasets as d where ${NOT_OWN}) as d
    where ${has("d.relation", EVENTS)} or ${has("d.relation", TYPED)}
  )
  select n.nspname as schema_name, c.relname as table_name, min(w.kind) as kind,
    (select coalesce(jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod)) order by a.attnum), '[]')
      from pg_attribute as a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as columns,
    (select jsonb_build_object('column', a.attname, 'last_value',
        case when has_sequence_privilege(s.oid, 'select, usage') then pg_sequence_last_value(s.oid) end)
      from pg_attribute as a
      join pg_class as s on s.oid = to_regclass(pg_get_serial_sequence(c.oid::regclass::text, a.attname))
      where a.attrelid = c.oid and not a.attisdropped
        and (a.attidentity <> '' or c.oid = 'public.etl_improved_metrics'::regclass and a.attname = 'id')) as identity
  from wanted as w
  join pg_class as c on c.oid = w.relation
  join pg_namespace as n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p') and n.nspname !~ '^(pg_|information_schema$)'
  group by c.oid, n.nspname, c.relname
  order by min(w.place), n.nspname collate "C", c.relname collate "C"`;

/** What etl.ensure_destination has to be called with so that every destination and audit table exists. */
const DESTINATIONS = `
  with audits as (
    select n.nspname as schema_name, c.relname as audit_table_name
    from pg_inherits as i
    join pg_class as c on c.oid = i.inhrelid
    join pg_namespace as n on n.oid = c.relnamespace
    where i.inhparent = 'public.etl_improved_audit'::regclass
    union
    select 'public', 'etl_improved_audit'
    union
    select r.schema_name, r.audit_table_name from etl.runs as r
    where ${has(named("r.schema_name", "r.audit_table_name"), AUDIT)}
  ), datasets as (
    -- as JSON: an older schema has no such column
    select d.schema_name, d.table_name, nullif(to_jsonb(d) -> 'declared', 'null') as declared from etl.datasets as d
    where ${NOT_OWN} and (${has(named("d.schema_name", "d.table_name"), EVENTS)}
      or ${has(named("d.schema_name", "d.table_name"), TYPED)})
  )
  select coalesce(d.schema_name, a.schema_name) as schema_name, coalesce(d.table_name, 'etl_improved_events') as table_name,
    coalesce(a.audit_table_name, 'etl_improved_audit') as audit_table_name, d.declared
  from datasets as d full join audits as a on a.schema_name = d.schema_name
  order by 1, 2, 3`;

/** Describes what there is to back up, as the transaction in hand sees it. */
export async function readManifest(client: Client, takenAt: Date): Promise<Manifest> {
  const about = await client.query<{ database: string; server_version: string }>(
    "select current_database() as database, current_setting('server_version') as server_version",
  );
  const identity = await client.query<{ known: boolean }>(
    "select to_regprocedure('etl.database_identity()') is not null as known",
  );
  const { rows: [own] } = identity.rows[0]!.known
    ? await client.query<{ identity: string }>("select etl.database_identity() as identity")
    : { rows: [] };
  const tables = await client.query(TABLES, [HELD]);
  const destinations = await client.query(DESTINATIONS);
  return {
    format: 1,
    taken_at: takenAt.toISOString().replace(/\.\d+Z$/, "Z"),
    ...about.rows[0]!,
    database_identity: own?.identity ?? null,
    destinations: destinations.rows,
    tables: tables.rows,
  };
}

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
  "tombstones",
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
  comparisons: "what dry runs found between tables that a backup need not have",
  consumer_transactions: "empty but within a consumer's transaction",
  consumers: "published by the servers when they start",
  deletions: "counts for runs that go on",
  exports: "belongs to what other systems know; a restored one would be sent again",
  first_loads: "a restored table has all its indexes",
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
  metrics_daily: "the same",
  alerts_daily: "the same",
  days_changed: "the same",
  migrations: "tell what was done to the database that they are in",
  notification_channels: "the state of a connection to another system",
  notifications: "messages that have been sent, or would be old news",
  param_schema: "part of the program",
  reaction_settings: "published by the servers when they start",
  run_helpers: "belong to the servers of one database",
  run_logs: "for looking into a fault, and as large as the data",
  run_transitions: "part of the program",
  sessions: "secrets",
  servers: "belong to the servers of one database",
  setups: "the same as migrations",
  shared_chunks: "the work in hand of the servers of one database",
  shared_runs: "the same",
  uploads: "request bodies, kept for a week only",
  view_refresh: "the views are refreshed by the restore",
};

/** Tables that come while they are being looked for are looked for again, so often at most. */
const ROUNDS = 10;

/**
 * Begins a transaction that sees one moment of the database, and says what there
 * is to back up. Loads go on meanwhile: only dropping, truncating and altering
 * the tables has to wait, which a snapshot alone would not survive.
 */
export async function beginSnapshot(client: Client, takenAt: Date): Promise<Manifest> {
  const { rows } = await client.query<{ ready: boolean }>(
    "select to_regclass('etl.runs') is not null as ready",
  );
  if (!rows[0]!.ready) {
    throw new TerminalProblem("unavailable", {
      detail:
        "The database is not set up for etl-improved, so this backup would hold nothing of it. Back up other tables, such as those of the Airflow " +
        "system, with pg_dump; then run `deno task setup-db`.",
    });
  }
  let known = await readManifest(client, takenAt);
  for (let round = 0; round < ROUNDS; round++) {
    const locked = new Set(names(known));
    await client.query("begin transaction isolation level repeatable read read only");
    await client.query(SESSION);
    await client.query(
      "set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0",
    );
    // before the first query, which takes the snapshot
    await client.query(`lock table ${[...locked].join(", ")} in access share mode`);
    known = await readManifest(client, takenAt);
    if (names(known).every((name) => locked.has(name))) return known;
    await client.query("rollback");
  }
  throw new TerminalProblem("conflict", {
    detail: "New tables keep appearing while the backup begins. Try again when it is calmer.",
  });
}

function names({ tables }: Manifest): string[] {
  return tables.map(({ schema_name, table_name }) => quoteTable(schema_name, table_name));
}
