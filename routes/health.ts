import type { OpenAPIHono } from "@hono/zod-openapi";
import { databaseHealth } from "../store/health.ts";
import type { AppDeps } from "./deps.ts";

/** Health: /livez says that the process runs, /readyz that it can work, /api/etl/health what is wrong. */
export function healthRoutes(app: OpenAPIHono, deps: AppDeps): void {
  app.get("/livez", (c) => c.json({ status: "ok" }));
  app.get("/readyz", async (c) => {
    const problems = await problemsOf(deps);
    return c.json(
      { status: problems.length === 0 ? "ok" : "unready", problems },
      problems.length === 0 ? 200 : 503,
    );
  });
  app.get("/api/etl/health", async (c) => {
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
      const database = await databaseHealth(deps.sql);
      const problems = [...database.problems];
      if (draining) problems.push("this server is stopping");
      const status = problems.length === 0 ? "healthy" : "unhealthy";
      const dispatch = listening
        ? "notify"
        : "polling: LISTEN is off (ETL_LISTEN=false) or not possible";
      return c.json(
        { status, problems, server, dispatch, ...database.facts },
        problems.length === 0 ? 200 : 503,
      );
    } catch {
      return c.json({
        status: "unhealthy",
        problems: [
          "the database cannot be reached: check KPIS_PG_DSN and that PostgreSQL is running",
        ],
        server,
      }, 503);
    }
  });
}

async function problemsOf(deps: AppDeps): Promise<string[]> {
  if (deps.status().draining) return ["this server is stopping"];
  try {
    return (await databaseHealth(deps.sql)).problems;
  } catch {
    return ["the database cannot be reached"];
  }
}
