import { VERSION } from "../vocabulary/version.ts";
import type { Sql } from "./database.ts";

export interface ServerOfRuns {
  server_id: string;
  /** Runs that it executes at once. */
  run_slots: number;
}

/** Says that a server executes runs, for the next 20 s; pools whose slots are each server's count it. */
export async function prolongServer(sql: Sql, server: ServerOfRuns): Promise<void> {
  await sql`select etl.prolong_server(${server.server_id}, ${VERSION}, ${server.run_slots})`;
}

/** Says that it executes none any more. */
export async function removeServer(sql: Sql, serverId: string): Promise<void> {
  await sql`delete from etl.servers where server_id = ${serverId}`;
}
