import { gunzipSync, gzipSync } from "node:zlib";
import type { Reference } from "./reference.ts";

/** Answers of Great Expectations to all cases, kept so that every run of the tests compares with them, without Python. */
const FILE = new URL("../fixtures/great_expectations.json.gz", import.meta.url);

/** What Great Expectations has answered, by case and expectation. */
export async function keptAnswers(): Promise<Reference[][]> {
  return JSON.parse(new TextDecoder().decode(gunzipSync(await Deno.readFile(FILE))));
}

export async function keepAnswers(answers: Reference[][]): Promise<void> {
  await Deno.writeFile(FILE, gzipSync(JSON.stringify(answers), { level: 9 }));
}
