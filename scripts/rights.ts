/**
 * What each kind of role may do with the program's tables, views and functions: the only list of it. `deno task build-sql`
 * makes the grants of each set-up from it, `build-docs` the table in docs/database_role.md, and
 * tests/integration/rights_matrix_test.ts compares both with a database. What has no line here is nobody's but the
 * owner's, and build-sql refuses it: a new table or function is a line here.
 */

/**
 * The kinds of roles besides the owner, whose all of it is: `server` is what `setup-db --role` grants, `reader`
 * what `setup-db --reader` does, `everybody` is PUBLIC. The values are privileges as GRANT takes them.
 */
export interface Rights {
  server?: string;
  reader?: string;
  everybody?: string;
}

const ROWS = "select, insert, update, delete";
const RUN = "execute";

/** By name. Other schemas' destinations are granted as the public one is. */
export const TABLES: Record<string, Rights> = {
  "etl.alert_states": {
    server: ROWS,
    reader: "select (kind, subject, opened_at, occurrences, resolved_at)",
  },
  "etl.api_tokens": { server: ROWS },
  "etl.cancel_requests": { server: ROWS },
  "etl.chunks": { server: ROWS },
  "etl.configurations": { server: ROWS },
  "etl.consumer_transactions": { server: ROWS },
  "etl.consumers": { server: ROWS },
  "etl.cursors": { server: ROWS },
  "etl.dataset_events": { server: ROWS },
  "etl.datasets": {
    server: "select, update (fingerprints_from)",
    reader: "select (schema_name, table_name)",
  },
  "etl.deadlines": { server: ROWS },
  "etl.deliveries": { server: ROWS },
  "etl.exports": { server: ROWS },
  "etl.idempotency_keys": { server: ROWS },
  "etl.job_runs": { server: ROWS },
  "etl.job_scheduler": { server: ROWS },
  "etl.jobs": { server: ROWS },
  "etl.leases": { server: ROWS },
  "etl.maintenance_runs": { server: ROWS },
  "etl.maintenance_tasks": { server: ROWS },
  "etl.metrics_totals": { server: ROWS },
  "etl.metrics_daily": {},
  "etl.alerts_daily": {},
  "etl.days_changed": { server: "insert" },
  "etl.migrations": { server: "select" },
  "etl.notification_channels": { server: ROWS },
  "etl.notifications": { server: ROWS },
  "etl.param_schema": {
    server: "select, update (environment, maintenance_environment, events_by_occurred_at)",
  },
  "etl.pools": { server: ROWS, reader: "select (pool, slots, per_server)" },
  "etl.quarantine": { server: ROWS, reader: "select (run_id, rule, created_at)" },
  "etl.reaction_settings": { server: ROWS },
  "etl.reader_roles": {},
  "etl.reports": { server: ROWS },
  "etl.run_ends": { server: ROWS },
  "etl.run_logs": { server: ROWS },
  "etl.run_transitions": { server: "select" },
  "etl.runs": {
    server: ROWS,
    reader:
      "select (run_id, run_label, cursor_key, state, pool, requested_at, next_attempt_at, admitted_at, started_at, ended_at, error)",
  },
  "etl.schedules": { server: ROWS },
  "etl.server_roles": { server: "select" },
  "etl.servers": { server: ROWS },
  "etl.sessions": { server: ROWS },
  "etl.setups": { server: "select" },
  "etl.slots": { server: ROWS },
  "etl.stages": { server: ROWS, reader: "select (run_id, stage, started_at, ended_at)" },
  "etl.suites": { server: ROWS },
  "etl.totals": { server: ROWS },
  "etl.uploads": { server: ROWS },
  "etl.validations": { server: ROWS },
  "etl.variables": { server: ROWS },
  "etl.view_refresh": { server: ROWS },
  "public.etl_improved_events": { server: ROWS },
  "public.etl_improved_metrics": { server: ROWS, reader: "select" },
  // numbers its rows; granted as tables are
  "public.etl_improved_metrics_id_seq": { server: "update" },
  "public.etl_improved_audit": {
    server: "select, insert",
    reader: "select (id, run_label, num_rows, at, event, status, created_at)",
  },
  "public.etl_improved_alerts": { server: ROWS, reader: "select" },
  "public.v_etl_latest_metrics": { server: "select", reader: "select" },
  "public.v_etl_recent_alerts": { server: "select", reader: "select" },
  "public.mv_etl_metrics_daily": { server: "select", reader: "select" },
  "public.mv_etl_alerts_daily": { server: "select", reader: "select" },
};

/** By name, whatever their arguments. Triggers need no grant: they run whoever writes. */
export const FUNCTIONS: Record<string, Rights> = {
  "etl.access_changed": {},
  "etl.accept_run": { server: RUN },
  "etl.admit_runs": { server: RUN },
  "etl.analyze_manifest": { server: RUN },
  "etl.append_logs": { server: RUN },
  "etl.apply_cancels": { server: RUN },
  "etl.apply_migration": {},
  "etl.apply_rights": {},
  "etl.audit": { server: RUN },
  "etl.audit_request": { server: RUN },
  "etl.backfill_slots": { server: RUN },
  "etl.cancel_run": { server: RUN },
  "etl.check_dataset_columns": { server: RUN },
  "etl.check_destination": { server: RUN },
  "etl.check_schema": { server: RUN },
  "etl.check_shape": { server: RUN },
  "etl.begin_consumer_transaction": { server: RUN },
  "etl.chunk_steps": { server: RUN },
  "etl.runs_alone": { server: RUN },
  "etl.note_death": { server: RUN },
  "etl.claim_deliveries": { server: RUN },
  "etl.claim_lease": { server: RUN },
  "etl.claim_run": { server: RUN },
  "etl.conf_errors": { server: RUN },
  "etl.consume_run_end": { server: RUN },
  "etl.consumer_params": { server: RUN },
  "etl.count_metrics": {},
  "etl.create_destination": { server: RUN },
  "etl.plain_type": { server: RUN },
  "etl.is_typed": { server: RUN },
  "etl.analyze_dataset": { server: RUN },
  "etl.declare_dataset": { server: RUN },
  "etl.prepare_destination": { server: RUN },
  "etl.declaration_errors": { server: RUN },
  "etl.with_declaration": { server: RUN },
  "etl.create_manifest": { server: RUN },
  "etl.decide_slots": { server: RUN },
  "etl.delete_audit": { server: RUN },
  "etl.delete_old": { server: RUN },
  "etl.delete_old_by_age": { server: RUN },
  "etl.deliver_dataset_event": {},
  "etl.database_identity": { server: RUN },
  "etl.detect_alerts": { server: RUN },
  "etl.drop_leftover_manifests": { server: RUN },
  "etl.drop_manifests": { server: RUN },
  "etl.drop_typed_view": { server: RUN },
  "etl.dropped_version": { server: RUN },
  "etl.due_work": { server: RUN },
  "etl.end_backends": { server: RUN },
  "etl.end_gone_incidents": { server: RUN },
  "etl.ensure_destination": { server: RUN },
  "etl.fail_deliveries": { server: RUN },
  "etl.failed_expectations": { server: RUN },
  "etl.fill_slots": { server: RUN },
  "etl.finish_deliveries": { server: RUN },
  "etl.finish_run": { server: RUN },
  "etl.give_back_run": { server: RUN },
  "etl.grant_destination": {},
  "etl.grant_reader_role": {},
  "etl.grant_server_role": {},
  "etl.handle_alert": { server: RUN },
  "etl.has_event_key": { server: RUN },
  "etl.has_older": { server: RUN },
  "etl.home_of": { server: RUN },
  "etl.order_dataset_events": {},
  "etl.is_alive": { server: RUN },
  "etl.worked_ms": { server: RUN },
  "etl.is_audit": { server: RUN },
  "etl.is_paused": { server: RUN },
  "etl.is_spread": { server: RUN },
  "etl.is_trusted": { server: RUN },
  "etl.is_typed_view": { server: RUN },
  "etl.iso": { server: RUN },
  "etl.lacks_of_events": { server: RUN },
  "etl.maintained_tables": { server: RUN },
  "etl.make_typed_table": {},
  "etl.make_typed_view": { server: RUN },
  "etl.make_way": { server: RUN },
  "etl.nearest_name": { server: RUN },
  "etl.new_errors": { server: RUN },
  "etl.note_deadlines": {},
  "etl.note_run_end": {},
  "etl.note_run_start": {},
  "etl.order_of": { server: RUN },
  "etl.order_key": { server: RUN },
  "etl.notify_channels": { server: RUN },
  "etl.overdue_schedules": { server: RUN },
  "etl.owes_deliveries": { server: RUN },
  "etl.owner": { server: RUN },
  "etl.payload_value": { server: RUN },
  "etl.plan_chunks": { server: RUN },
  "etl.pool_slots": { server: RUN },
  "etl.prolong_lease": { server: RUN },
  "etl.prolong_server": { server: RUN },
  "etl.propose_dataset_columns": { server: RUN },
  "etl.profile_dataset": { server: RUN },
  "etl.public_url": { server: RUN },
  "etl.purge": { server: RUN },
  "etl.purge_reactions": { server: RUN },
  "etl.purge_slots": { server: RUN },
  "etl.raise_alert": { server: RUN },
  "etl.raise_problem": { server: RUN },
  "etl.record_metrics": { server: RUN },
  "etl.note_alert_days": {},
  "etl.note_alert_days_after_truncate": {},
  "etl.recount_days": {},
  "etl.refresh_daily": {},
  "etl.recount_metrics": {},
  "etl.recount_metrics_after_truncate": {},
  "etl.reference_errors": { server: RUN },
  "etl.refresh_typed_views": { server: RUN },
  "etl.refresh_views_if_asked": { server: RUN },
  "etl.replay_run": { server: RUN },
  "etl.register_consumers": { server: RUN },
  "etl.register_dataset": { server: RUN },
  "etl.require_tick_off": {},
  "etl.release_deliveries": { server: RUN },
  "etl.release_lease": { server: RUN },
  "etl.renew_grants": {},
  "etl.report_progress": { server: RUN },
  "etl.request_delivery": { server: RUN },
  "etl.request_export": { server: RUN },
  "etl.request_maintenance": { server: RUN },
  "etl.request_run": { server: RUN },
  "etl.request_slot": { server: RUN },
  "etl.request_view_refresh": { server: RUN },
  "etl.require_known_migrations": {},
  "etl.require_lease": { server: RUN },
  "etl.take_create": {},
  "etl.require_role": {},
  "etl.redeliver": { server: RUN },
  "etl.resolve_alert": { server: RUN },
  "etl.resolve_maintenance": { server: RUN },
  "etl.resolve_params": { server: RUN },
  "etl.resolve_request": { server: RUN },
  "etl.retry_run": { server: RUN },
  "etl.revoke_role": {},
  "etl.rights": { server: RUN },
  "etl.rows_of": { server: RUN },
  "etl.run_schedule": { server: RUN },
  "etl.percent_decoded": { server: RUN },
  "etl.looks_drawn": { server: RUN },
  "etl.names_secret": { server: RUN },
  "etl.secret_in": { server: RUN },
  "etl.secrets_of": { server: RUN },
  "etl.secret_errors": { server: RUN },
  "etl.stored_secrets": { server: RUN },
  "etl.refuse_secrets": {},
  "etl.runnable_runs": { server: RUN, reader: RUN },
  "etl.runs_guard": {},
  "etl.schedule_conf": { server: RUN },
  "etl.schedules_changed": {},
  "etl.schedules_guard": {},
  "etl.schema_errors": { server: RUN },
  "etl.scope_ended_at": { server: RUN },
  "etl.scrape": { server: RUN },
  "etl.servers_may_make": { server: RUN },
  "etl.set_condition": { server: RUN },
  "etl.set_dataset_columns": { server: RUN },
  "etl.settle_deadlines": { server: RUN },
  "etl.settle_replay": {},
  "etl.shown_row": { server: RUN },
  "etl.source_name": { server: RUN },
  "etl.start_run": { server: RUN },
  "etl.store_records": { server: RUN },
  "etl.store_slots": { server: RUN },
  "etl.submit_run": { server: RUN },
  "etl.suite_name": { server: RUN },
  "etl.sweep_conditions": { server: RUN },
  "etl.sweep_deadlines": { server: RUN },
  "etl.tick_schedules": { server: RUN },
  "etl.tick_schedules_at": { server: RUN },
  "etl.to_bigint": { everybody: RUN },
  "etl.to_boolean": { everybody: RUN },
  "etl.to_date": { everybody: RUN },
  "etl.to_numeric": { everybody: RUN },
  "etl.to_timestamptz": { everybody: RUN },
  "etl.turn_of": { server: RUN },
  "etl.typed_view_fixed": { server: RUN },
  "etl.typed_view_sql": { server: RUN },
  "etl.uuid7": { server: RUN },
  "etl.wake": { server: RUN },
  "etl.watch_metrics": {},
  "etl.without_secrets": { server: RUN },
  "public.refresh_etl_mvs": { server: RUN },
};

/** Names of the tables and functions that these SQL texts make, in schemas etl and public. */
export function madeIn(texts: string[]): { tables: string[]; functions: string[] } {
  const names = (pattern: RegExp) => [
    ...new Set(texts.flatMap((text) => [...text.matchAll(pattern)].map((match) => match[1]!))),
  ];
  return {
    tables: names(
      /^create (?:or replace )?(?:unlogged )?(?:table|view|materialized view|sequence) (?:if not exists )?((?:etl|public)\.\w+)/gm,
    ),
    functions: names(/^create (?:or replace )?(?:function|procedure) ((?:etl|public)\.\w+)/gm),
  };
}

/**
 * Throws where a table or function has no line here, or a line nothing that it is for.
 *
 * `generated`: names that are made otherwise.
 */
export function checkRights(texts: string[], generated: string[] = []): void {
  const { tables, functions } = madeIn(texts);
  const missing = [
    ...tables.filter((name) => !Object.hasOwn(TABLES, name)),
    ...functions.filter((name) => !Object.hasOwn(FUNCTIONS, name)).map((name) => `${name}()`),
  ];
  const gone = [...Object.keys(TABLES), ...Object.keys(FUNCTIONS)].filter((name) =>
    !tables.includes(name) && !functions.includes(name) && !generated.includes(name)
  );
  if (missing.length > 0) {
    throw new Error(
      `scripts/rights.ts: say who may use ${
        missing.join(", ")
      }: a line each, {} for the owner alone`,
    );
  }
  if (gone.length > 0) throw new Error(`scripts/rights.ts: nothing makes ${gone.join(", ")}`);
}
