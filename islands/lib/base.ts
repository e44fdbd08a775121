/// <reference lib="dom" />
/**
 * What the server's address has in front of its own paths, where a proxy publishes it under a prefix: "/tools/etl", else
 * "". In the browser the page says it; the server says it for each page that it renders.
 */
let base = typeof document === "undefined" ? "" : document.documentElement.dataset.base ?? "";

/** On the server: for all that is rendered until it is called again. */
export function renderBelow(prefix: string): void {
  base = prefix;
}

/** A path of the server as the browser has to ask for it. */
export const at = (path: string): string => path.startsWith("/") ? base + path : path;
