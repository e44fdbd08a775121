import { say } from "../../../vocabulary/messages.ts";
import { type Json, jsonText } from "../../numbers.ts";
import { parseJson } from "../json_text.ts";
import { Problem } from "../../../vocabulary/problem.ts";
import { checkedConfig } from "../../user_code/hosted_source.ts";
import { misconfigured, type SourceOpening } from "../../user_code/source_client.ts";
import type { ModuleConf } from "../schema.ts";
import type { PlanContext, ReadContext, RecordBatch } from "../source.ts";
import type { Planned, SourceContext, SourceDefinition } from "./define.ts";

/**
 * Modules that need a socket or a file, which no host has. They are part of the program, have the same
 * interface as anybody's, and run in the workers that read the other sources.
 */
export const TRUSTED = {
  sqlite: () => import("./sqlite.ts"),
  mysql: () => import("./mysql.ts"),
};

export type TrustedName = keyof typeof TRUSTED;

/** Records of a batch. */
const BATCH = 1_000;

/** A module that was opened for a run or preview. */
export interface OpenModule {
  cursor: string | null;
  repeatable: boolean;
  steady: boolean;
  plan(): Promise<{ slices: string[]; position: string | null; steady?: boolean }>;
  read(slice: string): AsyncIterable<RecordBatch>;
}

export async function openTrusted(
  name: TrustedName,
  { config: given, since, connections, pageSize, key }: SourceOpening & Pick<ModuleConf, "key">,
  ctx: Pick<ReadContext, "connections" | "dataDir" | "signal"> & Pick<PlanContext, "whole">,
): Promise<OpenModule> {
  const definition = (await TRUSTED[name]()).default as SourceDefinition<unknown>;
  const { value: config, issues } = checkedConfig(definition.config, given);
  if (issues !== null) throw misconfigured(name, issues);
  const noNetwork = () => Promise.reject(new Error(`the module ${name} sends no HTTP requests`));
  const context: SourceContext<unknown> = {
    config,
    since,
    connections,
    pageSize,
    fetch: noNetwork,
    fetchJson: noNetwork,
    readJson: noNetwork,
    log: () => {},
    trusted: {
      dataDir: ctx.dataDir,
      signal: ctx.signal,
      key,
      whole: ctx.whole === true,
      connection: (wanted) => {
        const text = Object.hasOwn(ctx.connections, wanted) ? ctx.connections[wanted] : undefined;
        if (text !== undefined) return text;
        throw new Problem("invalid-conf", {
          detail: say("no-module-connection", {
            name: wanted,
            variable: `ETL_CONNECTION_${wanted.toUpperCase()}`,
          }),
          errors: [{ field: "source.connections", message: "unknown", value: wanted }],
        });
      },
    },
  };
  const { cursor, steady } = definition;
  return {
    cursor: (typeof cursor === "function" ? cursor(config) : cursor) ?? null,
    repeatable: definition.repeatable !== false,
    steady: (typeof steady === "function" ? steady(config) : steady) === true,
    plan: async () => {
      const planned = await (definition.plan?.(context) ?? [null]);
      const { slices, position = null, steady }: Planned = Array.isArray(planned)
        ? { slices: planned }
        : planned;
      return {
        slices: slices.map((slice) => jsonText({ slice })),
        position,
        ...(steady === undefined ? {} : { steady }),
      };
    },
    read: async function* (slice) {
      let batch: RecordBatch = [];
      for await (const some of definition.read(sliceValue(slice), context)) {
        if (Array.isArray(some)) {
          // a page is as large as the module lets it be
          if (some.length > 0) yield some as RecordBatch;
          continue;
        }
        batch.push(some as RecordBatch[number]);
        if (batch.length < BATCH) continue;
        yield batch;
        batch = [];
      }
      if (batch.length > 0) yield batch;
    },
  };
}

/** The value of a slice's text. */
function sliceValue(text: string): Json {
  return (parseJson(text) as { slice: Json }).slice;
}
