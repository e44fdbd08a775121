import postgres from "postgres";

export type Sql = postgres.Sql;

export interface DatabaseOptions {
  applicationName: string;
  /** Connections at most; default 6. */
  max?: number;
  /** Prepared statements; off behind PgBouncer in transaction mode. Default true. */
  prepare?: boolean;
}

/** postgres.js for single statements and LISTEN; transactions and COPY go through pg (store/pg.ts). */
export function openDatabase(dsn: string, options: DatabaseOptions): Sql {
  return postgres(dsn, {
    max: options.max ?? 6,
    prepare: options.prepare ?? true,
    connect_timeout: 10,
    idle_timeout: 60,
    // the default leaves queries waiting for many seconds after a short outage
    backoff: (attempt: number) => Math.min(0.1 * 2 ** attempt, 1),
    connection: { application_name: options.applicationName },
    onnotice: () => {},
    transform: { undefined: null },
  });
}
