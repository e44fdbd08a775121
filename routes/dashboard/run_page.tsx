import type { Context } from "hono";
import type { RunExtras, RunPageData } from "../../islands/run/run_data.ts";
import { RunView } from "../../islands/run.tsx";
import type { ReplayChoices } from "../../islands/run/replay.tsx";
import { Problem, type ProblemType } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import { PROBLEM_TYPES } from "../../vocabulary/problem_types.ts";
import { PROBLEMS_ES } from "../../vocabulary/problems_es.ts";
import { readPreferences } from "./preferences.ts";
import { listQuarantine, quarantineRules } from "../../store/quarantine.ts";
import type { RunDetail } from "../../vocabulary/run_schema.ts";
import {
  chunkStates,
  logTail,
  oneChunk,
  runDetail,
  runLogs,
  runRelations,
} from "../../store/run_views.ts";
import { listSuites, runValidation } from "../../store/suites.ts";
import { transformNames } from "./data_files.ts";
import { csvText } from "../shared/csv.ts";
import { encodeCursor } from "../shared/page_cursor.ts";
import { type DashboardDeps, Island, type Page, SECURITY_HEADERS } from "./page.tsx";

/** Lines of the log that the page begins with. */
const LOG_LINES = 300;
const QUARANTINE_ROWS = 10;

export const runPage: Page = {
  path: "/runs/:id",
  role: "viewer",
  nav: "runs",
  data: {
    "/runs/:id/data": runData,
    "/runs/:id/chunks/:no": chunkData,
    "/runs/:id/quarantine.csv": (c, deps) => quarantineFile(c, deps, "csv"),
    "/runs/:id/quarantine.ndjson": (c, deps) => quarantineFile(c, deps, "ndjson"),
    "/runs/:id/log.txt": logFile,
    "/data/replay-choices": replayChoices,
  },
  async load(c, deps) {
    const run = await requiredRun(c, deps);
    const data: RunPageData = {
      run,
      ...explanationOf(c, run),
      ...await runExtras(c, deps, run.run_id),
    };
    return {
      title: () => run.run_label,
      holdsRows: true,
      main: <Island name="run" component={RunView} props={data} />,
    };
  },
};

/** What a replay of rejected records can be given. */
async function replayChoices(c: Context, { sql, config }: DashboardDeps): Promise<Response> {
  const [transforms, suites] = await Promise.all([
    transformNames(config.transformsDir),
    listSuites(sql),
  ]);
  const choices: ReplayChoices = { transforms, suites: suites.map(({ name }) => name) };
  return c.json(choices, 200, { "cache-control": "no-store" });
}

/** What the page looks up again while its run goes on. */
async function runData(c: Context, deps: DashboardDeps): Promise<Response> {
  const run = await requiredRun(c, deps);
  const after = Number(c.req.query("log_after") ?? 0);
  const extras = await runExtras(c, deps, run.run_id, isIndex(after) ? after : 0);
  return c.json({ ...extras, ...explanationOf(c, run) }, 200, { "cache-control": "no-store" });
}

async function chunkData(c: Context, deps: DashboardDeps): Promise<Response> {
  const run = await requiredRun(c, deps);
  const no = Number(c.req.param("no"));
  const chunk = isIndex(no) ? await oneChunk(deps.sql, run.run_id, no) : null;
  if (chunk === null) {
    throw new Problem("not-found", {
      detail: say("no-chunk", { run: run.run_id, chunk: c.req.param("no")!.slice(0, 20) }),
    });
  }
  return c.json(chunk, 200, { "cache-control": "no-store" });
}

const EXPORTED = [
  "rule",
  "field",
  "message",
  "file",
  "line",
  "chunk_no",
  "position",
  "output",
  "state",
  "raw",
  "record",
] as const;
/** Rows that are looked up at a time for a file: at first few, then as many as have about so many bytes. */
const FILE_PAGE = { first: 500, most: 20_000, bytes: 2 << 20 };
/** Of a rejected record that may have megabytes, the page shows so many characters; the file and the API have all of it. */
const SHOWN_CHARACTERS = 50_000;

/** Every rejected record of a run, looked up as fast as it is read: a page while the one before it is sent. */
async function quarantineFile(
  c: Context,
  deps: DashboardDeps,
  kind: "csv" | "ndjson",
): Promise<Response> {
  const { run_id } = await requiredRun(c, deps);
  let limit = FILE_PAGE.first;
  const look = (after: [number, number, number]) => {
    const page = listQuarantine(deps.sql, run_id, { after, limit, bytes: FILE_PAGE.bytes });
    // who has stopped reading never asks for it
    page.catch(() => {});
    return page;
  };
  let next = look([-1, -1, -1]);
  return fileOf(
    kind === "csv" ? "text/csv; charset=utf-8" : "application/x-ndjson",
    `quarantine_${run_id}.${kind}`,
    async (first) => {
      const { rows, more } = await next;
      const last = rows.at(-1);
      if (last === undefined && !(first && kind === "csv")) return null;
      limit = Math.min(FILE_PAGE.most, 4 * rows.length);
      next = last === undefined || !more
        ? Promise.resolve({ rows: [], more: false })
        : look([last.chunk_no, last.position, last.output]);
      if (kind === "ndjson") return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
      const text = csvText(EXPORTED, rows);
      return first ? text : text.slice(text.indexOf("\r\n") + 2);
    },
  );
}

/** Lines of a log that are looked up at a time for a file. */
const LOG_PAGE = 5000;

/** The lines of a run's log that are kept, as text. */
async function logFile(c: Context, deps: DashboardDeps): Promise<Response> {
  const { run_id } = await requiredRun(c, deps);
  let after = 0;
  return fileOf("text/plain; charset=utf-8", `run_${run_id}.log`, async () => {
    const lines = await runLogs(deps.sql, run_id, { after, limit: LOG_PAGE });
    if (lines.length === 0) return null;
    after = lines.at(-1)!.line_no;
    return lines.map(({ logged_at, level, message, fields }) =>
      `${logged_at} ${level} ${message}${
        Object.keys(fields).length === 0 ? "" : ` ${JSON.stringify(fields)}`
      }\n`
    ).join("");
  });
}

/** A file that is made part by part until there is none. */
function fileOf(
  type: string,
  name: string,
  part: (first: boolean) => Promise<string | null>,
): Response {
  const encoder = new TextEncoder();
  let first = true;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const text = await part(first);
      first = false;
      if (text === null) controller.close();
      else controller.enqueue(encoder.encode(text));
    },
  }, { highWaterMark: 0 });
  return new Response(body, {
    headers: {
      ...SECURITY_HEADERS,
      "content-type": type,
      "content-disposition": `attachment; filename="${name}"`,
      "cache-control": "no-store",
    },
  });
}

/** A number of PostgreSQL's type integer that a line or chunk can have. */
const isIndex = (no: number) => Number.isInteger(no) && no >= 0 && no < 2 ** 31;

async function requiredRun(c: Context, deps: DashboardDeps): Promise<RunDetail> {
  const id = c.req.param("id") ?? "";
  const isUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id);
  const run = isUuid ? await runDetail(deps.sql, id) : null;
  if (run !== null) return run;
  throw new Problem("not-found", {
    detail: say("no-run-page", { id: id.slice(0, 100) }),
  });
}

async function runExtras(
  c: Context,
  { sql }: DashboardDeps,
  runId: string,
  logAfter = 0,
): Promise<RunExtras> {
  const [chunks, log, records, rules, validation, relations] = await Promise.all([
    chunkStates(sql, runId),
    logTail(sql, runId, { after: logAfter, limit: LOG_LINES }),
    listQuarantine(sql, runId, {
      after: [-1, -1, -1],
      limit: QUARANTINE_ROWS,
      shown: SHOWN_CHARACTERS,
    }),
    quarantineRules(sql, runId),
    runValidation(sql, runId),
    runRelations(sql, runId),
  ]);
  const { rows, more } = records;
  // as those that the API adds, in the language of the page
  const { translate } = readPreferences(c);
  const items = rows.map((row) => ({ ...row, message: translate(row.message) }));
  const last = items.at(-1);
  const next = more && last !== undefined
    ? encodeCursor([last.chunk_no, last.position, last.output])
    : null;
  return {
    chunks,
    log,
    quarantine: { items, next, rules },
    validation: validation as RunExtras["validation"],
    relations,
  };
}

/** What helps against what went wrong, in the viewer's language; and what it is, where that is not English. */
function explanationOf(c: Context, run: RunDetail): Pick<RunPageData, "remedies" | "problem"> {
  const type = String(run.error?.type ?? "").replace(/^.*\/api\/problems\//, "") as ProblemType;
  if (!Object.hasOwn(PROBLEM_TYPES, type)) return { remedies: [], problem: null };
  if (readPreferences(c).lang === "en") {
    return { remedies: PROBLEM_TYPES[type].remedies, problem: null };
  }
  const { remedies, ...problem } = PROBLEMS_ES[type];
  return { remedies, problem };
}
