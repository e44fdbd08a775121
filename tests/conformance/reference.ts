import { pythonVenv } from "../helpers/python.ts";

/** One data set with a suite, evaluated by both sides. */
export interface Case {
  name: string;
  /** `sqlite` for what the pandas engine of Great Expectations does not have (LIKE). */
  engine: "pandas" | "sqlite";
  records: Record<string, unknown>[];
  /** Nested paths that become columns of the reference's data frame. */
  paths: string[];
  /** Columns of dates in text that the reference's data frame holds as datetime64. */
  dates?: string[];
  /** Column names, for when there are no records. */
  columns: string[];
  /** The records as Python reads them, where that is not what JavaScript reads. */
  json?: string;
  /** Each answer differs, for this reason. */
  differs?: string;
  expectations: { type: string; kwargs: Record<string, unknown> }[];
}

/** What Great Expectations answered for one expectation. */
export interface Reference {
  /** Why Great Expectations does not accept the expectation at all. */
  refused?: string;
  success: boolean;
  result: Record<string, unknown>;
  raised: boolean;
  message: string;
}

const here = new URL(".", import.meta.url).pathname;

/** Results of Great Expectations, by case and expectation. */
export async function evaluateByReference(cases: Case[]): Promise<Reference[][]> {
  const python = await pythonVenv("great_expectations", `${here}requirements.txt`);
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/cases.json`, casesJson(cases));
    await run(python, [`${here}reference.py`, `${dir}/cases.json`, `${dir}/answers.json`]);
    const answers = await Deno.readTextFile(`${dir}/answers.json`);
    // Python writes NaN and Infinity as they are.
    return JSON.parse(
      answers.replace(
        /(?<=[\[:,]\s*)(NaN|-?Infinity)(?=\s*[,\]}])/g,
        (word) => word === "NaN" ? "null" : word === "Infinity" ? '"inf"' : '"-inf"',
      ),
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function run(command: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args, stdout: "null" }).output();
  if (!success) {
    throw new Error(
      `${command} ${args.join(" ")}:\n${new TextDecoder().decode(stderr).slice(-3000)}`,
    );
  }
}

function casesJson(cases: Case[]): string {
  const texts = cases.map(({ json, ...one }) => {
    const text = toPythonJson(one);
    return json === undefined ? text : `${text.slice(0, -1)},"records":${json}}`;
  });
  return `[${texts.join(",")}]`;
}

/** JSON with every digit of big integers, and NaN and Infinity as Python reads them. */
function toPythonJson(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number") return String(value);
  if (Array.isArray(value)) return `[${value.map(toPythonJson).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).filter(([, v]) => v !== undefined)
      .map(([k, v]) => `${JSON.stringify(k)}:${toPythonJson(v)}`);
    return `{${members.join(",")}}`;
  }
  return JSON.stringify(value ?? null);
}
