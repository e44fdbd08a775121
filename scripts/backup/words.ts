import { count } from "../terminal.ts";

/** "12.3 MB" */
export function bytes(size: number): string {
  if (size < 1000) return `${size} bytes`;
  if (size < 999_950) return `${(size / 1000).toFixed(1)} kB`;
  return size < 999_950_000 ? `${(size / 1e6).toFixed(1)} MB` : `${(size / 1e9).toFixed(2)} GB`;
}

/** Tables with their rows, aligned; those without any in one line. */
export function tableList(tables: [name: string, rows: number][]): string {
  const filled = tables.filter(([, rows]) => rows > 0);
  const width = Math.max(0, ...filled.map(([, rows]) => count(rows).length));
  const empty = tables.filter(([, rows]) => rows === 0).map(([name]) => name);
  return [
    ...filled.map(([name, rows]) => `  ${count(rows).padStart(width)}  ${name}`),
    ...(empty.length > 0 ? [`  empty: ${empty.join(", ")}`] : []),
  ].join("\n");
}
