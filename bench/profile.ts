/**
 * Where the CPU time of prepare goes: prepares a data set in this thread,
 * without a database, and prints µs a record by stage. With `--functions` also
 * the functions that took most, sampled by V8.
 *
 *     deno run -A bench/profile.ts [--records N] [--format csv|parquet] [--typed] [--events] [--functions]
 *
 * `--events` makes an event of each record, also of flat ones.
 */
import { Session } from "node:inspector";
import { parseArgs } from "node:util";
import { type DataFormat, writeDataSet } from "./data_set.ts";
import { type FinishedRows, finishRows, TYPED } from "./finished_rows.ts";

/** The first records run code that V8 has not compiled yet. */
const WARM_UP_RECORDS = 50_000;
const SAMPLING_INTERVAL_US = 500;
const FUNCTIONS_SHOWN = 25;

function stageLines({ records, stages }: FinishedRows): string[] {
  const perRecord = (ms: number) => (ms * 1000 / records).toFixed(2).padStart(8);
  const lines = Object.entries(stages).map(([stage, { cpuMs, wallMs }]) =>
    `${stage.padEnd(10)}${perRecord(cpuMs)}${perRecord(wallMs)}`
  );
  const sum = (kind: "cpuMs" | "wallMs") =>
    Object.values(stages).reduce((total, stage) => total + stage[kind], 0);
  return [
    "µs a record    CPU    wall",
    ...lines,
    `${"all".padEnd(10)}${perRecord(sum("cpuMs"))}${perRecord(sum("wallMs"))}`,
  ];
}

interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  samples: number[];
  timeDeltas: number[];
}

/** Runs `work` under V8's sampling profiler. */
async function sampled<T>(work: () => Promise<T>): Promise<{ result: T; profile: CpuProfile }> {
  const session = new Session();
  session.connect();
  const post = (method: string, parameters: Record<string, unknown> = {}) =>
    new Promise<unknown>((resolve, reject) =>
      session.post(method, parameters, (error, answer) => error ? reject(error) : resolve(answer))
    );
  await post("Profiler.enable");
  await post("Profiler.setSamplingInterval", { interval: SAMPLING_INTERVAL_US });
  await post("Profiler.start");
  const result = await work();
  const { profile } = await post("Profiler.stop") as { profile: CpuProfile };
  session.disconnect();
  return { result, profile };
}

/** µs a record that each function itself took, most first. */
function functionLines({ nodes, samples, timeDeltas }: CpuProfile, records: number): string[] {
  const names = new Map(nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => [
    id,
    `${functionName || "(anonymous)"} ${url.split("/").slice(-2).join("/")}:${lineNumber + 1}`,
  ]));
  const self = new Map<string, number>();
  samples.forEach((id, i) => {
    const name = names.get(id)!;
    self.set(name, (self.get(name) ?? 0) + timeDeltas[i]!);
  });
  return [...self].sort((a, b) => b[1] - a[1]).slice(0, FUNCTIONS_SHOWN)
    .map(([name, us]) => `${(us / records).toFixed(2).padStart(8)}  ${name}`);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      records: { type: "string", default: "500000" },
      format: { type: "string", default: "ndjson" },
      events: { type: "boolean", default: false },
      typed: { type: "boolean", default: false },
      functions: { type: "boolean", default: false },
    },
  });
  const table = values.typed ? TYPED : null;
  const dataDir = await Deno.makeTempDir({ prefix: "etl-profile-" });
  try {
    const prepare = async (records: number) => {
      const format = values.format as DataFormat;
      const file = `${records}.${format}`;
      await writeDataSet(`${dataDir}/${file}`, { records, order: "scattered", format });
      return () =>
        finishRows(file, { dataDir, dir: `${dataDir}/rows`, table, asRows: !values.events });
    };
    await (await prepare(WARM_UP_RECORDS))();
    const work = await prepare(Number(values.records));
    if (values.functions) {
      const { result, profile } = await sampled(work);
      console.log(stageLines(result).join("\n"));
      console.log(`\nµs a record in the function itself`);
      console.log(functionLines(profile, result.records).join("\n"));
    } else {
      console.log(stageLines(await work()).join("\n"));
    }
  } finally {
    await Deno.remove(dataDir, { recursive: true });
  }
}
