/**
 * A path, and where it leads through symbolic links: permissions are checked
 * by the letter, and files are opened by their real names.
 */
export function realPaths(path: string): string[] {
  try {
    return [...new Set([path, Deno.realPathSync(path)])];
  } catch {
    // not there yet
    return [path];
  }
}
