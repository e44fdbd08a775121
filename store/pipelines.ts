import { kindsAbout } from "../vocabulary/alert_kinds.ts";
import type { Sql } from "./database.ts";

/** A run as a bar of its pipeline. */
export interface PipelineBar {
  run_id: string;
  state: string;
  dry_run: boolean;
  low_ratio: boolean;
  rows: number | null;
  /** Work without waiting; null before it began. */
  duration_ms: number | null;
  requested_at: string;
}

/** What belongs to one run label, or to a schedule whose runs each have a label of their own. */
export interface PipelineRow {
  name: string;
  /** Whether `name` is a schedule that makes a label for each run. */
  of_schedule: boolean;
  /** Newest first, at most 20; empty where it has not run yet. */
  runs: PipelineBar[];
  /** The newest load that succeeded: not a dry run. */
  last_success: { run_id: string; ended_at: string; rows: number | null } | null;
  next_slot: string | null;
  /** Schedules that make its runs. */
  schedules: string[];
  incidents: number;
  /** 2: failed or an incident is open; 1: at work; 0: the rest. */
  urgency: 0 | 1 | 2;
}

export interface Pipelines {
  rows: PipelineRow[];
  /** All that were found. */
  total: number;
  /** Whether there are more labels than were looked at: `total` counts those. */
  truncated: boolean;
}

export interface PipelineFilter {
  /** Part of a label or of a schedule's name, in any case; "": all; what ends with "/" is the beginning, of a group. */
  search: string;
  limit: number;
  offset: number;
}

/** Runs that a row shows. */
export const BARS = 20;
/** Labels in the order of the alphabet that are looked at; each costs two looks into an index. */
const MAX_LABELS = 2000;
/** Labels whose names are read, a jump in the index each, for those that have a text; and for those that fail. */
export const LABELS_WALKED = 100_000;
const FAILED_WALKED = 10_000;
/** Runs that wait or work whose labels are looked at wherever they are in the alphabet. */
const ACTIVE = 500;

/**
 * What runs here, a row a label, problems first. Each label has its own look into the index of labels, so that a label
 * with very many runs costs, and shows, as much as one with few. Labels that fail, are at work or have an incident are
 * found by that, and those with a text by it, however many others come before them in the alphabet.
 */
export async function pipelines(sql: Sql, filter: PipelineFilter): Promise<Pipelines> {
  const { search, limit, offset } = filter;
  const matches = (name: ReturnType<Sql>) =>
    search.endsWith("/")
      ? sql`starts_with(lower(${name}), lower(${search}::text))`
      : sql`strpos(lower(${name}), lower(${search}::text)) > 0`;
  const bar =
    sql`n.run_id, n.state, n.dry_run, n.low_ratio, n.total_rows, n.requested_at, etl.worked_ms(n) as worked`;
  const [found] = await sql<[Pipelines]>`
    with recursive jumps as (
      (select run_label, 1 as n from etl.runs order by run_label limit 1)
      union all
      select (select r.run_label from etl.runs as r where r.run_label > j.run_label order by r.run_label limit 1), j.n + 1
      from jumps as j where j.run_label is not null and j.n <= ${LABELS_WALKED}
    ),
    -- reads no more of the jumps than it needs
    matched as materialized (
      select j.run_label as name from jumps as j
      where j.run_label is not null and ${matches(sql`j.run_label`)}
      limit ${MAX_LABELS + 1}
    ),
    failed_jumps as (
      (select run_label, 1 as n from etl.runs where state = 'failed' order by run_label limit 1)
      union all
      select (select r.run_label from etl.runs as r where r.state = 'failed' and r.run_label > j.run_label
        order by r.run_label limit 1), j.n + 1
      from failed_jumps as j where j.run_label is not null and j.n <= ${FAILED_WALKED}
    ),
    failed as (
      select j.run_label as name from failed_jumps as j cross join lateral (
        select r.state from etl.runs as r where r.run_label = j.run_label and r.state in ('succeeded', 'failed', 'cancelled')
        order by r.requested_at desc limit 1) as e
      where j.run_label is not null and e.state = 'failed'
    ),
    usual as (
      select coalesce((select v.value #>> '{}' from etl.variables as v where v.name = 'etl_improved__run_label'),
        (select coalesce(p.environment ->> 'run_label', p.schema #>> '{properties,run_label,default}')
         from etl.param_schema as p limit 1)) as label
    ),
    feeding as materialized (
      select s.name, coalesce(s.conf ->> 'run_label', c.conf ->> 'run_label', u.label) as label,
        (select min(n.slot) from etl.slots as n where s.active and n.schedule = s.name and n.state = 'pending'
          and n.slot > greatest(clock_timestamp(), s.paused_until - interval '1 microsecond')) as next_slot
      from etl.schedules as s cross join usual as u
      left join etl.configurations as c on c.name = s.conf ->> 'configuration'
    ),
    -- a label with a slot in it is another one for each run
    own as materialized (
      select case when f.label like '%{{%' then f.name else f.label end as name, f.label like '%{{%' as of_schedule,
        min(f.next_slot) as next_slot, array_agg(f.name order by f.name) as schedules
      from feeding as f group by 1, 2
    ),
    open_incidents as materialized (
      select case when i.kind = any (${kindsAbout("label or stage")}::text[])
          then regexp_replace(i.subject, ' [a-z_]+$', '') else i.subject end as label,
        case when i.kind = any (${kindsAbout("schedule")}::text[]) then i.subject
          when i.subject like 'schedule %' then substr(i.subject, 10) end as schedule
      from etl.alert_states as i
      where i.resolved_at is null and i.kind <> all (${[
    ...kindsAbout("dataset"),
    ...kindsAbout("consumer"),
    ...kindsAbout("task"),
  ]}::text[])
    ),
    named as (
      select m.name, false as of_schedule from matched as m
      union select f.name, false from failed as f
      union (select r.run_label, false from etl.runs as r where r.state = 'running' order by r.requested_at desc limit ${ACTIVE})
      union (select r.run_label, false from etl.runs as r where r.state = 'queued' order by r.requested_at desc limit ${ACTIVE})
      union select i.label, false from open_incidents as i
        where i.schedule is null and exists (select from etl.runs as r where r.run_label = i.label)
      union select o.name, o.of_schedule from own as o
      union select c.conf ->> 'run_label', false from etl.configurations as c
        where c.conf ->> 'run_label' is not null and c.conf ->> 'run_label' not like '%{{%'
    ),
    looked as (
      select n.name, n.of_schedule, o.next_slot, coalesce(o.schedules, '{}') as schedules, i.incidents, l.active, e.bad
      from named as n
      left join own as o on o.name = n.name and o.of_schedule = n.of_schedule
      left join lateral (
        select max(r.schedule) as schedule, bool_or(r.state in ('queued', 'running')) as active from (
          (select r.state, r.schedule from etl.runs as r
           where not n.of_schedule and r.run_label = n.name order by r.requested_at desc limit 1)
          union all
          -- its runs have labels of their own, so that many may be at work
          (select r.state, null from etl.runs as r
           where n.of_schedule and r.schedule = n.name order by r.requested_at desc limit ${BARS})) as r) as l on true
      -- what has ended last says whether all is well, also while the next run is at work
      left join lateral (
        select r.state = 'failed' or (r.low_ratio and r.state <> 'succeeded') as bad from (
          (select r.state, r.low_ratio, r.requested_at from etl.runs as r
           where not n.of_schedule and r.run_label = n.name and r.state in ('succeeded', 'failed', 'cancelled')
           order by r.requested_at desc limit 1)
          union all
          (select r.state, r.low_ratio, r.requested_at from etl.runs as r
           where n.of_schedule and r.schedule = n.name and r.state in ('succeeded', 'failed', 'cancelled')
           order by r.requested_at desc limit 1)) as r) as e on true
      cross join lateral (
        select count(*)::integer as incidents from open_incidents as i
        where (not n.of_schedule and i.schedule is null and i.label = n.name) or i.schedule = any (o.schedules)) as i
      where (${matches(sql`n.name`)} or exists (select from unnest(o.schedules) as s where ${
    matches(sql`s`)
  }))
        -- its schedule has the row
        and (n.of_schedule or l.schedule is null or not exists (select from own as t where t.of_schedule and t.name = l.schedule))
    ),
    ranked as (
      select k.*, case when k.incidents > 0 or k.bad then 2 when k.active then 1 else 0 end as urgency from looked as k
    ),
    shown as (
      select * from ranked as k order by k.urgency desc, k.name, k.of_schedule limit ${limit} offset ${offset}
    )
    select (select count(*)::integer from ranked) as total,
      case when (select count(*) from matched) > ${MAX_LABELS} then true
        else exists (select from jumps as j where j.n > ${LABELS_WALKED}) end
        or exists (select from failed_jumps as j where j.n > ${FAILED_WALKED}) as truncated,
      coalesce((select jsonb_agg(jsonb_build_object('name', k.name, 'of_schedule', k.of_schedule, 'runs', coalesce(b.runs, '[]'),
        'last_success', b.last_success, 'next_slot', etl.iso(k.next_slot), 'schedules', to_jsonb(k.schedules),
        'incidents', k.incidents, 'urgency', k.urgency) order by k.urgency desc, k.name, k.of_schedule)
    from shown as k cross join lateral (
      select (select jsonb_agg(jsonb_build_object('run_id', r.run_id, 'state', r.state, 'dry_run', r.dry_run,
            'low_ratio', coalesce(r.low_ratio, false), 'rows', r.total_rows, 'requested_at', etl.iso(r.requested_at),
            'duration_ms', round(r.worked::numeric)) order by r.requested_at desc, r.run_id desc)
          from (
            (select ${bar} from etl.runs as n where not k.of_schedule and n.run_label = k.name
             order by n.requested_at desc limit ${BARS})
            union all
            (select ${bar} from etl.runs as n where k.of_schedule and n.schedule = k.name
             order by n.requested_at desc limit ${BARS})) as r) as runs,
        (select jsonb_build_object('run_id', r.run_id, 'ended_at', etl.iso(r.ended_at), 'rows', r.total_rows) from (
          (select * from etl.runs as r where not k.of_schedule and r.run_label = k.name
             and r.state = 'succeeded' and not r.dry_run order by r.requested_at desc limit 1)
          union all
          (select * from etl.runs as r where k.of_schedule and r.schedule = k.name
             and r.state = 'succeeded' and not r.dry_run order by r.requested_at desc limit 1)) as r limit 1) as last_success) as b), '[]') as rows`;
  return found;
}

/** The bars of a row up to one of its runs, newest first; none where that is gone. `ofSchedule`: the row is its schedule's. */
export async function pipelineBars(
  sql: Sql,
  last: string,
  ofSchedule: boolean,
): Promise<PipelineBar[]> {
  const column = sql(ofSchedule ? "schedule" : "run_label");
  return await sql<PipelineBar[]>`
    select r.run_id, r.state, r.dry_run, coalesce(r.low_ratio, false) as low_ratio, r.total_rows::float8 as rows,
      etl.iso(r.requested_at) as requested_at, round(etl.worked_ms(r)::numeric)::float8 as duration_ms
    from etl.runs as l join etl.runs as r on r.${column} = l.${column} and r.requested_at <= l.requested_at
    where l.run_id = ${last}::uuid order by r.requested_at desc limit ${BARS}`;
}
