import { z } from "zod";

const markSchema = z.object({ checksum: z.string(), migrations: z.array(z.string()) });

/** Which version of the schema a program is made for: what the last line of its sql/etl_setup.sql says. */
export type SetupMark = z.infer<typeof markSchema>;

const PREFIX = "-- etl-improved setup: ";

export function setupMark(mark: SetupMark): string {
  return `${PREFIX}${JSON.stringify(mark)}\n`;
}

/** Reads the mark from the text of sql/etl_setup.sql. Throws where it has none. */
export function readSetupMark(text: string): SetupMark {
  const start = text.lastIndexOf(`\n${PREFIX}`);
  if (start < 0) throw new Error("sql/etl_setup.sql has no mark: run `deno task build-sql`");
  return markSchema.parse(JSON.parse(text.slice(start + 1 + PREFIX.length)));
}
