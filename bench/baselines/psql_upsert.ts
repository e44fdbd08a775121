import { ROW_COLUMNS } from "../../store/row_layout.ts";
import { cpuSecondsOfPrograms } from "../process_usage.ts";
import { runClient, type Timed } from "./client_program.ts";

/**
 * What somebody would do by hand with finished rows: psql's `\copy` into a
 * temporary table and one `insert … on conflict`, on one connection, in one transaction.
 */
export async function psqlUpsert(
  dsn: string,
  { table, rowsPath, scratch }: { table: string; rowsPath: string; scratch: string },
): Promise<Timed> {
  const columns = ROW_COLUMNS.join(", ");
  const assignments = ROW_COLUMNS.filter((column) => column !== "event_id")
    .map((column) => `${column} = excluded.${column}`).join(", ");
  const script = `${scratch}/upsert.sql`;
  await Deno.writeTextFile(
    script,
    `begin;
create temp table stage on commit drop as select ${columns} from ${table} with no data;
\\copy pg_temp.stage (${columns}) from '${rowsPath}'
insert into ${table} as t (${columns}) select ${columns} from pg_temp.stage
on conflict (event_id) do update set ${assignments}, updated_at = now()
where t.fingerprint is distinct from excluded.fingerprint;
commit;
`,
  );
  const cpu = await cpuSecondsOfPrograms();
  const started = performance.now();
  await runClient("psql", ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", script], {
    dsn,
    hint: "Debian: apt-get install postgresql-client",
  });
  const seconds = (performance.now() - started) / 1000;
  return { seconds, clientCpuSeconds: await cpuSecondsOfPrograms() - cpu };
}
