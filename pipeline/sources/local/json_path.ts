/** The names of a dotted path; a dot inside a name is written `\.`. */
export function splitPath(path: string): string[] {
  const names: string[] = [];
  let name = "";
  for (let i = 0; i < path.length; i++) {
    if (path[i] === "\\" && path[i + 1] === ".") {
      name += ".";
      i++;
    } else if (path[i] === ".") {
      names.push(name);
      name = "";
    } else name += path[i];
  }
  if (path !== "") names.push(name);
  return names;
}

/** The dotted path of some names; the inverse of `splitPath`. */
export function joinPath(names: string[]): string {
  return names.map((name) => name.replaceAll(".", "\\.")).join(".");
}
