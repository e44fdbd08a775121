import { Problem } from "../../vocabulary/problem.ts";
import { jsonText } from "../numbers.ts";
import { parseJson } from "../sources/json_text.ts";
import { isRowWise, readSuite, type Suite, writeSuite } from "./suite.ts";

/**
 * The suites of a directory, by name: every `*.json` in it.
 *
 * @throws Problem invalid-conf naming the file, when one is no suite or two
 * have the same name, or there is no such directory.
 */
export async function readSuiteFiles(dir: string): Promise<Map<string, Suite>> {
  const suites = new Map<string, Suite>();
  const names: string[] = [];
  try {
    for await (const { name, isFile } of Deno.readDir(dir)) {
      if (isFile && name.endsWith(".json")) names.push(name);
    }
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Problem("invalid-conf", {
      detail: `The directory of expectation suites, ${dir}, does not exist. Make it, or let ` +
        "ETL_SUITES_DIR name another.",
      cause,
    });
  }
  for (const name of names.sort()) {
    const path = `${dir}/${name}`;
    const suite = readFile(path, await Deno.readTextFile(path));
    if (suites.has(suite.name)) {
      throw new Problem("invalid-conf", {
        detail: `${path}: another file of this directory has a suite named ${suite.name}, too.`,
      });
    }
    suites.set(suite.name, suite);
  }
  return suites;
}

/** The suites of a directory as rows of etl.suites, the suites themselves as JSON text. Throws as readSuiteFiles does. */
export async function suiteRows(
  dir: string,
): Promise<{ name: string; suite: string; row_wise: boolean }[]> {
  return [...await readSuiteFiles(dir)].map(([name, suite]) => ({
    name,
    suite: jsonText(writeSuite(suite)),
    row_wise: suite.expectations.every(isRowWise),
  }));
}

function readFile(path: string, text: string): Suite {
  try {
    return readSuite(parseJson(text));
  } catch (cause) {
    if (!(cause instanceof Problem) && !(cause instanceof SyntaxError)) throw cause;
    throw new Problem("invalid-conf", {
      detail: `${path}: ${cause.message}`,
      ...(cause instanceof Problem ? { errors: cause.errors } : {}),
      cause,
    });
  }
}

/** The JSON Schema for payloads that comes with a suite (`meta.payload_schema`), if any. */
export function payloadSchemaOf(suite: Suite): Record<string, unknown> | undefined {
  const schema = suite.meta.payload_schema;
  return typeof schema === "object" && schema !== null && !Array.isArray(schema)
    ? schema as Record<string, unknown>
    : undefined;
}
