import { foreignStaged, isLeftOut, LEFT_OUT, type Rules, upsertText } from "./event_rows.ts";
import type { Client } from "./pg.ts";

/**
 * Classes of SQLSTATE that a row is not the cause of: whatever else a constraint, a cast or a trigger raises concerns the row
 * (PostgreSQL's manual, appendix A "PostgreSQL Error Codes"; classes of one's own begin with other letters).
 */
const TROUBLE = /^(?:0[38ABZ]|2[5-8BDF]|3[4-9DF]|4[02]|5[3-8]|72|F0|HV|XX)/;

/** Rows that a chunk begins with may all be refused, and no more: the table and the records do not go together. */
const HOPELESS = 1000;
/** Times that rows are tried again which others may have been in the way of, or needed. */
const PASSES = 10;
/** What is said of a value that the table would change. */
const UNHELD = "a column would round a value or cut it off";

/** SQL for whether a row may go in when others are there or gone: foreign keys, unique and exclusion constraints, triggers. */
const waits = (code: string) => `${code} in ('23503', '23505', '23P01', 'P0001')`;

/** A staged row that the table has refused. */
export interface RefusedRow {
  /** Which one, from 0 in the order in which they were staged. */
  index: number;
  /** SQLSTATE; null where the column would have kept another value. */
  code: string | null;
  constraint: string | null;
  column: string | null;
  message: string;
  /** JSON of the row as it was to be written, by column; of a deletion, of its key. */
  row: string;
}

/** Whether a row may be the cause of an error of the database: a constraint, a type or a trigger of the table has refused it. */
export function refusesRow(code: string | undefined): boolean {
  return code !== undefined && /^[0-9A-Z]{5}$/.test(code) && !code.startsWith("E") &&
    !TROUBLE.test(code);
}

/** Throws where the table would hold another value than a staged row has, as where PostgreSQL itself refuses a value. */
export async function refuseUnheld(client: Client, held: string): Promise<void> {
  const { rows: [row] } = await client.query<{ unheld: boolean }>(
    `select exists (select from pg_temp.etl_stage as s where not (${held})) as unheld`,
  );
  if (row!.unheld) {
    throw Object.assign(new Error(UNHELD), { code: "22000" });
  }
}

/** SQL that notes staged rows whose values the table would change; one by one where a value is out of its column's range. */
function noteUnheld(held: string): string {
  return `do $etl$
    #variable_conflict use_column
    declare
      s record;
      v_etl_code text;
      v_etl_told text;
    begin
      insert into pg_temp.etl_refused (no, told)
      select s.etl_no, '${UNHELD}' from pg_temp.etl_stage as s where not (${held});
    exception when others then
      get stacked diagnostics v_etl_code = returned_sqlstate;
      if v_etl_code ~ '${TROUBLE.source}' then
        raise;
      end if;
      for s in select * from pg_temp.etl_stage loop
        begin
          if not (${held}) then
            insert into pg_temp.etl_refused (no, told) values (s.etl_no, '${UNHELD}');
          end if;
        exception when others then
          get stacked diagnostics v_etl_code = returned_sqlstate, v_etl_told = message_text;
          if v_etl_code ~ '${TROUBLE.source}' then
            raise;
          end if;
          insert into pg_temp.etl_refused (no, code, told) values (s.etl_no, v_etl_code, v_etl_told);
        end;
      end loop;
    end $etl$;`;
}

/** Makes the staging table number its rows, for {@linkcode siftStaged}; before it is filled. */
export async function numberStaged(client: Client): Promise<void> {
  await client.query(
    `alter table pg_temp.etl_stage add column etl_no integer generated always as identity, add column etl_turn integer`,
  );
}

/**
 * Upserts the staged rows but for those that a constraint, a type or a trigger of the table refuses. The next rows go in one
 * statement, half as many when it fails, twice as many when it does not: a few statements for each refused row. Rows that
 * others may have been in the way of (unique), or needed (foreign key), are tried again when the others are there.
 */
export async function siftStaged(
  client: Client,
  destination: string,
  rules: Rules,
  { givesUp }: {
    /** Whether the search may end with the first rows, where all of them are refused. */
    givesUp: boolean;
  },
): Promise<
  {
    inserted: number;
    updated: number;
    foreign: { event_id: string; source: string }[];
    refused: RefusedRow[];
    /** Whether the search was given up, as the first rows were all refused. */
    hopeless: boolean;
  }
> {
  const foreign = await foreignStaged(client, destination, rules);
  if (foreign.length > 0) {
    return { inserted: 0, updated: 0, foreign, refused: [], hopeless: false };
  }
  const held = rules.layout.holds("s");
  const chosen = "s.etl_turn >= v_etl_turn and s.etl_turn < v_etl_turn + v_etl_size";
  await client.query(
    `create temp table etl_refused (no integer primary key, code text, con text, col text, told text) on commit drop;
    create temp table etl_sifted (inserted integer, updated integer, hopeless boolean) on commit drop;
    ${held === null ? "" : noteUnheld(held)}
    update pg_temp.etl_stage as s set etl_turn = n.turn from (
      select t.etl_no, row_number() over (order by t.etl_no) as turn from pg_temp.etl_stage as t
      where not exists (select from pg_temp.etl_refused as r where r.no = t.etl_no)) as n where n.etl_no = s.etl_no;
    create unique index on pg_temp.etl_stage (etl_turn);
    analyze pg_temp.etl_stage;
    -- what waits for the commit would fail it
    set constraints all immediate;
    do $etl$
    #variable_conflict use_column
    declare
      v_etl_turn integer;
      v_etl_last integer;
      v_etl_size integer;
      v_etl_fresh integer;
      v_etl_changed integer;
      v_etl_taken integer;
      v_etl_hard integer := 0;
      v_etl_inserted integer := 0;
      v_etl_updated integer := 0;
      v_etl_code text;
      v_etl_con text;
      v_etl_col text;
      v_etl_told text;
    begin
      for v_etl_pass in 1..${PASSES} loop
        select coalesce(max(s.etl_turn), 0) into v_etl_last from pg_temp.etl_stage as s;
        v_etl_turn := 1;
        v_etl_size := v_etl_last;
        v_etl_taken := 0;
        while v_etl_turn <= v_etl_last loop
          v_etl_size := least(v_etl_size, v_etl_last - v_etl_turn + 1);
          begin
            with upserted as (${upsertText(destination, rules, chosen)})
            select count(*) filter (where is_new), count(*) filter (where not is_new)
              into v_etl_fresh, v_etl_changed from upserted;
            if v_etl_fresh + v_etl_changed < v_etl_size then
              perform from pg_temp.etl_stage as s where ${chosen} and ${
      isLeftOut(destination, rules.layout)
    };
              if found then
                raise data_exception using message = '${LEFT_OUT}';
              end if;
            end if;
            v_etl_inserted := v_etl_inserted + v_etl_fresh;
            v_etl_updated := v_etl_updated + v_etl_changed;
            v_etl_taken := v_etl_taken + v_etl_size;
            v_etl_turn := v_etl_turn + v_etl_size;
            v_etl_size := v_etl_size * 2;
          exception when others then
            get stacked diagnostics v_etl_code = returned_sqlstate, v_etl_con = constraint_name,
              v_etl_col = column_name, v_etl_told = message_text;
            if v_etl_code ~ '${TROUBLE.source}' then
              raise;
            elsif v_etl_size > 1 then
              v_etl_size := v_etl_size / 2;
            else
              insert into pg_temp.etl_refused
              select s.etl_no, v_etl_code, nullif(v_etl_con, ''), nullif(v_etl_col, ''), v_etl_told
              from pg_temp.etl_stage as s where s.etl_turn = v_etl_turn;
              v_etl_turn := v_etl_turn + 1;
              v_etl_hard := v_etl_hard + (not ${waits("v_etl_code")})::integer;
            end if;
          end;
          if ${givesUp} and v_etl_hard >= ${HOPELESS} and v_etl_pass = 1 and v_etl_hard = v_etl_turn - 1 then
            insert into pg_temp.etl_sifted values (0, 0, true);
            return;
          end if;
        end loop;
        exit when v_etl_taken = 0 or v_etl_pass = ${PASSES};
        update pg_temp.etl_stage as s set etl_turn = null where s.etl_turn is not null;
        update pg_temp.etl_stage as s set etl_turn = n.turn from (
          select r.no, row_number() over (order by r.no) as turn from pg_temp.etl_refused as r
          where ${waits("r.code")}) as n where n.no = s.etl_no;
        exit when not found;
        delete from pg_temp.etl_refused as r using pg_temp.etl_stage as s where s.etl_no = r.no and s.etl_turn is not null;
      end loop;
      insert into pg_temp.etl_sifted values (v_etl_inserted, v_etl_updated, false);
    end $etl$`,
  );
  const { rows: [sifted] } = await client.query<
    { inserted: number; updated: number; hopeless: boolean }
  >("select inserted, updated, hopeless from pg_temp.etl_sifted");
  const { rows: refused } = await client.query<RefusedRow>(
    `select r.no - 1 as index, r.code, r.con as constraint, r.col as column, r.told as message,
      (to_jsonb(s) - '{etl_no,etl_turn}'::text[])::text as row
    from pg_temp.etl_refused as r join pg_temp.etl_stage as s on s.etl_no = r.no order by r.no`,
  );
  // the same transaction may have another chunk
  await client.query("drop table pg_temp.etl_refused, pg_temp.etl_sifted");
  return { ...sifted!, foreign, refused };
}
