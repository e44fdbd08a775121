/** `deno task bench`: measures what the performance claims say; `--help` explains. */
import { parseArgs } from "node:util";
import { cpus, totalmem } from "node:os";
import type { Measure, Row } from "./bench.ts";
import { duplicates } from "./measures/duplicates.ts";
import { dashboard } from "./measures/dashboard.ts";
import { defaultRun } from "./measures/default_run.ts";
import { hostile } from "./measures/hostile.ts";
import { limits } from "./measures/limits.ts";
import { load, loadCsv, loadParquet, loadSequential } from "./measures/load.ts";
import { loadingOnly } from "./measures/loading_only.ts";
import { queuedRuns, smallRuns } from "./measures/many_runs.ts";
import { maintenance } from "./measures/maintenance.ts";
import { observing } from "./measures/observing.ts";
import { peers, peersCsv, peersParquet, peersPostgres } from "./measures/peers.ts";
import { recovery } from "./measures/recovery.ts";
import { scale } from "./measures/scale.ts";
import { scaleOut, scaleOutS3 } from "./measures/scale_out.ts";
import { smallLoad } from "./measures/small_load.ts";
import { typed } from "./measures/typed.ts";
import { upload } from "./measures/upload.ts";
import { typedView } from "./measures/typed_view.ts";
import { validation } from "./measures/validation.ts";
import { table } from "./report.ts";
import { World } from "./world.ts";

const MEASURES: Measure[] = [
  load,
  loadSequential,
  loadCsv,
  loadParquet,
  smallLoad,
  typed,
  upload,
  loadingOnly,
  scale,
  scaleOut,
  scaleOutS3,
  duplicates,
  validation,
  defaultRun,
  smallRuns,
  queuedRuns,
  recovery,
  observing,
  dashboard,
  maintenance,
  typedView,
  hostile,
  limits,
  peers,
  peersCsv,
  peersParquet,
  peersPostgres,
];

const HELP = `Usage: deno task bench [MEASURE…] [--records N] [--rounds N] [--full] [--json FILE]

Measures ours against a baseline on the same database and data, in turns, and
prints a table; the figures that count are the ratios. Without names: all of them but those of peers.

${MEASURES.map(({ name, about }) => `  ${name.padEnd(16)} ${about}`).join("\n")}

  --records N   records of the data set; default 1,000,000
  --rounds N    times that each side runs, the median counts; default 3
  --full        10 times the records for scale (needs 15 GB of disk), all rows for execute_values
  --json FILE   everything measured, single values too, as JSON; "-" for standard output
`;

interface Options {
  measures: Measure[];
  records: number;
  rounds: number;
  full: boolean;
  json: string | undefined;
}

/** The arguments, or what is wrong with them. */
function readArguments(): Options | "help" {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      records: { type: "string", default: "1000000" },
      rounds: { type: "string", default: "3" },
      full: { type: "boolean", default: false },
      json: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return "help";
  const unknown = positionals.find((name) => !MEASURES.some((measure) => measure.name === name));
  if (unknown !== undefined) throw new Error(`There is no measure ${unknown}. Look at --help.`);
  return {
    measures: positionals.length === 0
      ? MEASURES.filter(({ onlyNamed }) => !onlyNamed)
      : MEASURES.filter(({ name }) => positionals.includes(name)),
    records: whole("--records", values.records),
    rounds: whole("--rounds", values.rounds),
    full: values.full,
    json: values.json,
  };
}

function whole(name: string, text: string): number {
  const value = Number(text.replaceAll("_", ""));
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`${name} must be a whole number above 0: current value is ${text}`);
}

async function main(options: Options): Promise<void> {
  const { measures, records, rounds, full } = options;
  const started = performance.now();
  const log = (message: string) => {
    const seconds = Math.round((performance.now() - started) / 1000);
    console.error(`${String(seconds).padStart(5)} s  ${message}`);
  };
  await using world = await World.create({ records, rounds, full, log });
  const rows: Row[] = [];
  const failed: string[] = [];
  for (const measure of measures) {
    log(`${measure.name}: ${measure.about}`);
    // what the others measured in half an hour is not lost with one that fails
    try {
      rows.push(...await measure.run(world));
    } catch (error) {
      failed.push(measure.name);
      log(`${measure.name} failed: ${Deno.inspect(error)}`);
    }
  }
  const { rows: [database] } = await world.db.query("select version()");
  const report = {
    measured_at: new Date().toISOString(),
    records,
    rounds,
    full,
    machine: { cpu: cpus()[0]?.model ?? "unknown", cores: cpus().length, memory_bytes: totalmem() },
    deno: Deno.version.deno,
    postgres: database.version,
    rows,
  };
  const json = JSON.stringify(report, null, 2);
  if (options.json !== undefined && options.json !== "-") {
    await Deno.writeTextFile(options.json, `${json}\n`);
  }
  console.log(options.json === "-" ? json : table(rows));
  if (failed.length > 0) throw new Error(`Without a result: ${failed.join(", ")}.`);
}

if (import.meta.main) {
  try {
    const options = readArguments();
    if (options === "help") console.log(HELP);
    else await main(options);
  } catch (error) {
    console.error(error instanceof Error ? error.stack : error);
    Deno.exit(1);
  }
}
