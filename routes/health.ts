import type { Context } from "hono";
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { databaseHealth, missingRelations, originalChecks, unwritable } from "../store/health.ts";
import { passing } from "../store/errors.ts";
import { inSpanish } from "../vocabulary/messages.ts";
import { speaksSpanish } from "./shared/language.ts";
import type { AppDeps } from "./shared/deps.ts";
import { deadline } from "./shared/lookups.ts";
import { jsonOf } from "./shared/schemas.ts";

/** A database that does not answer is as good as none. */
const ANSWER_LIMIT_MS = 5_000;

/** What is wrong with a database that has not answered what was asked. */
function outOfReach(error: unknown): string {
  const words = passing(error)?.words;
  return "the database cannot be reached" + (words === undefined ? "" : ` (${words})`) +
    ": check KPIS_PG_DSN and that PostgreSQL is running";
}

/** A server whose timers are silent for so long does none of its work. */
const STANDSTILL_MS = 10_000;

const STUCK =
  "statements of this server get no answer within 5 s, although the database responds: somebody holds a lock " +
  "(pg_locks, pg_stat_activity), or it is overloaded";

const healthSchema = z.object({
  healthy: z.boolean(),
  timestamp: z.string().openapi({ format: "date-time" }),
  checks: z.object({ db_connectivity: z.object({ status: z.string(), message: z.string() }) })
    .loose(),
  status: z.enum(["healthy", "unhealthy"]),
  problems: z.array(z.string()),
  warnings: z.array(z.string()).optional(),
}).loose().openapi("Health");

const readySchema = z.object({
  status: z.enum(["ok", "unready"]),
  problems: z.array(z.string()),
}).openapi("Ready");

/** Health: /livez says that the process runs, /readyz that it can work, /api/etl/health what is wrong. */
export function healthRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.openapi(
    createRoute({
      method: "get",
      path: "/livez",
      summary: "Whether the process runs; asks nobody else",
      responses: {
        200: jsonOf(z.object({ status: z.literal("ok") }), "it runs"),
        503: jsonOf(readySchema, "its timers have stood still for 10 s: restart it"),
      },
    }),
    (c) => {
      const { silentMs } = deps.status();
      if (silentMs < STANDSTILL_MS) return c.json({ status: "ok" as const }, 200);
      const problem = `the timers of this server have stood still for ${
        Math.floor(silentMs / 1000)
      } s: restart it`;
      return c.json({ status: "unready" as const, problems: [problem] }, 503);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/readyz",
      summary: "Whether this server can work",
      responses: {
        200: jsonOf(readySchema, "it can"),
        503: jsonOf(readySchema, "it cannot; problems says why"),
      },
    }),
    async (c) => {
      const problems = await unreadiness(deps);
      return problems.length === 0
        ? c.json({ status: "ok" as const, problems }, 200)
        : c.json({ status: "unready" as const, problems }, 503);
    },
  );

  app.openapi(
    createRoute({
      method: "get",
      path: "/api/etl/health",
      summary: "What is wrong, in words",
      responses: {
        200: jsonOf(healthSchema, "healthy; warnings name what somebody should look at"),
        503: jsonOf(healthSchema, "unhealthy; problems says why"),
      },
    }),
    async (c) => {
      const { healthy, checks, body } = inLanguage(c, await health(deps));
      const original = { healthy, timestamp: new Date().toISOString(), checks };
      return healthy
        ? c.json({ ...original, status: "healthy" as const, ...body }, 200)
        : c.json({ ...original, status: "unhealthy" as const, ...body }, 503);
    },
  );
}

/** Problems and warnings in the language that is asked for. */
function inLanguage<T extends { body: { problems: string[]; warnings?: string[] } }>(
  c: Context,
  found: T,
): T {
  if (!speaksSpanish(c)) return found;
  const { body } = found;
  return {
    ...found,
    body: {
      ...body,
      problems: body.problems.map(inSpanish),
      ...(body.warnings === undefined ? {} : { warnings: body.warnings.map(inSpanish) }),
    },
  };
}

type Checks = z.infer<typeof healthSchema>["checks"];

async function health(deps: AppDeps) {
  const { serverId, role, listening, draining, workers, workersBusy } = deps.status();
  const server = {
    server_id: serverId,
    role,
    listening,
    draining,
    workers,
    workers_busy: workersBusy,
  };
  try {
    const sql = deps.probe ?? deps.sql;
    const look = () =>
      Promise.all([
        databaseHealth(sql, deps.config),
        originalChecks(sql) as Promise<Checks>,
      ]);
    // once more: a statement may meet a set-up that replaces the function that it calls
    const [database, checks] = await deadline(look().catch(look), ANSWER_LIMIT_MS);
    const problems = [...database.problems, ...(draining ? ["this server is stopping"] : [])];
    const dispatch = listening
      ? "notify"
      : "polling: LISTEN is off (ETL_LISTEN=false) or not possible";
    const body = { problems, warnings: database.warnings, server, dispatch, ...database.facts };
    return { healthy: problems.length === 0, checks, body };
  } catch (error) {
    const problem = await answers(deps) ? STUCK : outOfReach(error);
    const checks: Checks = { db_connectivity: { status: "error", message: problem } };
    return { healthy: false, checks, body: { problems: [problem], server } };
  }
}

/** Whether the database answers, though statements of the pool do not: they may wait for a lock, or for those that do. */
async function answers({ probe, sql }: AppDeps): Promise<boolean> {
  return await deadline((probe ?? sql)`select`, 2_000).then(() => true, () => false);
}

/** What keeps the database from being worked with; looked up once for all who ask at the same time. */
const readiness = new WeakMap<AppDeps["sql"], Promise<string[]>>();

async function unreadiness(deps: AppDeps): Promise<string[]> {
  if (deps.status().draining) return ["this server is stopping"];
  const sql = deps.probe ?? deps.sql;
  const asked = readiness.get(sql) ?? lookWhetherReady(sql).finally(() => readiness.delete(sql));
  readiness.set(sql, asked);
  return await asked;
}

async function lookWhetherReady(sql: AppDeps["sql"]): Promise<string[]> {
  try {
    const missing = await deadline(missingRelations(sql), ANSWER_LIMIT_MS);
    return missing.length > 0 ? missing : await deadline(unwritable(sql), ANSWER_LIMIT_MS);
  } catch (error) {
    return [outOfReach(error)];
  }
}

/** Tells whether the timers of this thread fire: leases, looks for work and pauses hang on them. */
export class Pulse {
  #at = performance.now();
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(everyMs = 1_000) {
    this.#timer = setInterval(() => this.#at = performance.now(), everyMs);
  }

  /** Milliseconds since a timer has fired. */
  get silentMs(): number {
    return performance.now() - this.#at;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
