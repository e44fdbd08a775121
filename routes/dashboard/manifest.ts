import { z } from "zod";

/** What a build of the dashboard's assets has made; file names are below /etl/assets/. */
export const manifestSchema = z.object({
  /** Hash of the sources that it was made from. */
  sources: z.string(),
  /** Entry by name: its file, and the files that it imports at once. */
  scripts: z.record(z.string(), z.object({ file: z.string(), imports: z.array(z.string()) })),
  style: z.string(),
  /** Style sheet on top of it where no script runs. */
  noscript: z.string(),
  font: z.string(),
  icon: z.string(),
  files: z.array(z.string()),
});

export type Manifest = z.infer<typeof manifestSchema>;

/** Names of the files that a bundle imports statically. */
export function assetReferences(text: string): string[] {
  const found = text.matchAll(/(?:\bfrom|\bimport)\s*["']\.\/([^"']+)["']/g);
  return [...new Set([...found].map((match) => match[1]!))];
}
