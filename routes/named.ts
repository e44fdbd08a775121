import { parseExact } from "../vocabulary/exact_json.ts";
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { confProblem, issueErrors, parseConf } from "../pipeline/conf_errors.ts";
import { consumerSchema } from "../pipeline/consumers/params.ts";
import { maintenanceConfSchema } from "../pipeline/maintenance/params.ts";
import { nearestName } from "../vocabulary/nearest_name.ts";
import { Problem } from "../vocabulary/problem.ts";
import { say } from "../vocabulary/messages.ts";
import { jobSchedule } from "../pipeline/schedules/cron.ts";
import { errorCode } from "../store/errors.ts";
import { JOB_VARIABLE, SETTABLE_JOBS } from "../store/jobs.ts";
import {
  CONFIGURATIONS,
  deleteNamed,
  getNamed,
  listNamed,
  type NamedTable,
  POOLS,
  putNamed,
  VARIABLES,
} from "../store/named.ts";
import { admitSoon } from "../store/runs.ts";
import type { AppDeps } from "./shared/deps.ts";
import { actorOf } from "./access/identity.ts";
import { nameTaken, onlyNew, onlyNewHeader } from "./shared/only_new.ts";
import { anyMembers, jsonBody, jsonOf, problemResponses } from "./shared/schemas.ts";

const FOREIGN_KEY_VIOLATION = "23503";

interface Resource<T extends z.ZodObject> {
  path: string;
  /** As an error names it: "a configuration". */
  noun: "configuration" | "variable" | "pool";
  table: NamedTable;
  body: T;
  /** Further checks of what is put. */
  check?: (values: z.infer<T>, name: string) => void;
  /** A row that cannot be removed. */
  keep?: string;
  /** After a change. */
  changed?: (name: string) => Promise<void>;
}

const name = z.string().regex(
  /^[A-Za-z][A-Za-z0-9_.-]{0,99}$/,
  "a name of letters, digits, _ . and -",
);

/** Configurations, variables and pools: look, create or change, remove. */
export function namedRoutes(app: OpenAPIHono, deps: AppDeps): void {
  register(app, deps, {
    path: "/api/configurations",
    noun: "configuration",
    table: CONFIGURATIONS,
    body: z.strictObject({
      conf: anyMembers("the conf of a run"),
      description: z.string().max(1000).nullable().optional(),
    }),
    check: ({ conf }) => {
      parseConf(conf);
      if ("configuration" in conf) {
        throw new Problem("invalid-conf", {
          detail: say("configuration-nested", {}),
          errors: [{ field: "conf.configuration", message: "is not allowed here" }],
        });
      }
    },
  });
  register(app, deps, {
    path: "/api/variables",
    noun: "variable",
    table: VARIABLES,
    body: z.strictObject({
      // not z.json(): OpenAPI cannot be made of a schema that holds itself
      value: z.any().refine(
        (value) => value !== undefined && value !== null,
        "is missing; remove the variable to have none",
      ).openapi({ type: ["string", "number", "boolean", "array", "object"] as never, items: {} }),
    }),
    check: ({ value }, name) => checkVariable(name, value),
  });
  register(app, deps, {
    path: "/api/pools",
    noun: "pool",
    table: POOLS,
    body: z.strictObject({
      slots: z.number().int().min(0).max(1000),
      per_server: z.boolean().default(false).describe(
        "whether each server adds so many slots; else they are those of all servers together",
      ),
      description: z.string().max(1000).nullable().optional(),
    }),
    keep: "default_pool",
    changed: () => admitSoon(deps.sql),
  });
}

/** A variable that stands for a parameter has to be one that runs can take, one of a job a schedule. */
function checkVariable(name: string, value: unknown): void {
  if (name.startsWith(JOB_VARIABLE)) return checkJobVariable(name, value);
  const [, kind, parameter] = /^(etl_improved|etl_maintenance|etl_consumer)__(.*)$/.exec(name) ??
    [];
  if (parameter === undefined) return;
  if (kind === "etl_improved") return void parseConf({ [parameter]: value });
  const schema = kind === "etl_consumer" ? consumerSchema.partial() : maintenanceConfSchema;
  const { error } = schema.safeParse({ [parameter]: value }, { reportInput: true });
  if (!error) {
    if (
      kind === "etl_maintenance" && value !== -1 && !(Number(value) >= 7 && Number(value) <= 1095)
    ) {
      // a request of maintenance with it is refused in the same words
      throw confProblem([{
        field: parameter,
        value,
        code: "not-accepted",
        message: "is not a retention: 7 to 1,095 days, or -1 to keep for ever",
        expected: "7 to 1095, or -1",
      }]);
    }
    return;
  }
  const known = Object.keys(schema.shape);
  throw confProblem(issueErrors(error.issues, () => known));
}

function checkJobVariable(name: string, value: unknown): void {
  const known = SETTABLE_JOBS.map((job) => JOB_VARIABLE + job);
  if (!known.includes(name)) {
    const near = nearestName(name, known);
    throw new Problem("invalid-conf", {
      detail: say("no-job-schedule", {
        name,
        near: near === undefined ? "." : say("do-you-mean", { name: near }),
        names: known.join(", "),
      }),
      errors: [{ field: "name", value: name, message: "is not known" }],
    });
  }
  if (jobSchedule(value) !== undefined) return;
  throw new Problem("invalid-conf", {
    detail: say("job-schedule-form", { name }),
    errors: [{
      field: "value",
      value,
      message: "is no schedule",
      expected: "minute hour day month weekday, such as 30 3 * * 0",
    }],
  });
}

function register<T extends z.ZodObject>(app: OpenAPIHono, deps: AppDeps, resource: Resource<T>) {
  const { path, noun, table } = resource;
  const params = z.object({ name: name.openapi({ param: { name: "name", in: "path" } }) });
  const row = z.record(z.string(), z.any());
  const missing = (which: string) =>
    new Problem("not-found", {
      detail: say("no-such-entry", { what: say(`a-${noun}`, {}), name: which, noun, path }),
    });

  app.openapi(
    createRoute({
      method: "get",
      path,
      summary: `Every ${noun}`,
      responses: {
        200: jsonOf(z.object({ items: z.array(row) }), "by name"),
      },
    }),
    async (c) => c.json({ items: await listNamed(deps.sql, table) }, 200),
  );
  app.openapi(
    createRoute({
      method: "get",
      path: `${path}/{name}`,
      summary: `One ${noun}`,
      request: { params },
      responses: {
        200: jsonOf(row, noun),
        ...problemResponses(400, 404),
      },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      const found = await getNamed(deps.sql, table, name);
      if (found === null) throw missing(name);
      return c.json(found, 200);
    },
  );
  app.openapi(
    createRoute({
      method: "put",
      path: `${path}/{name}`,
      summary: `Create or change a ${noun}`,
      request: { params, headers: onlyNewHeader, body: jsonBody(resource.body) },
      responses: {
        200: jsonOf(row, "changed"),
        201: jsonOf(row, "created"),
        ...problemResponses(400, 412, 415, 422),
      },
    }),
    async (c) => {
      const { name } = c.req.valid("param" as never) as { name: string };
      const values = c.req.valid("json" as never) as z.infer<T>;
      resource.check?.(values, name);
      // what is stored has the digits of the body, which JSON.parse has rounded
      const exact = parseExact(await c.req.text()) as z.infer<T>;
      const stored = { ...values, ...Object.fromEntries(table.json.map((of) => [of, exact[of]])) };
      const isNew = await putNamed(deps.sql, table, {
        name,
        values: stored,
        actor: actorOf(c),
        onlyNew: onlyNew(c),
      });
      if (isNew === null) throw nameTaken(name);
      await resource.changed?.(name);
      return c.json((await getNamed(deps.sql, table, name))!, isNew ? 201 : 200);
    },
  );
  app.openapi(
    createRoute({
      method: "delete",
      path: `${path}/{name}`,
      summary: `Remove a ${noun}`,
      request: { params },
      responses: { 204: { description: "removed" }, ...problemResponses(400, 404, 409) },
    }),
    async (c) => {
      const { name } = c.req.valid("param");
      if (resource.keep === name) {
        throw new Problem("conflict", {
          detail: say("default-stays", { name }),
        });
      }
      try {
        if (!await deleteNamed(deps.sql, table, { name, actor: actorOf(c) })) throw missing(name);
      } catch (error) {
        if (errorCode(error) !== FOREIGN_KEY_VIOLATION) throw error;
        throw new Problem("conflict", {
          detail: say("pool-used", { name }),
        });
      }
      return c.body(null, 204);
    },
  );
}
