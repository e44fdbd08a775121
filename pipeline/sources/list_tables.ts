import { say } from "../../vocabulary/messages.ts";
import { Problem } from "../../vocabulary/problem.ts";
import type { CatalogueRequest, SourceCatalogue } from "./catalogue.ts";

/** Tables that are answered at most: more are no group that anybody looks at. */
const MOST_TABLES = 2_000;

/**
 * The tables of another database whose names match, with their keys and columns as its catalogue has them: nothing is
 * guessed from rows.
 *
 * @throws {Problem} `source-unreadable`, or `invalid-conf` where too many match.
 */
export async function listTables(request: CatalogueRequest): Promise<SourceCatalogue> {
  const isMysql = /^(?:mysql|mariadb):/i.test(request.dsn);
  const { own, tables } = isMysql
    ? await (await import("./modules/mysql_catalogue.ts")).mysqlTables(request)
    : await (await import("./postgres/catalogue.ts")).postgresTables(request);
  const matches = request.patterns.map((pattern) => matcher(pattern, own));
  const found = tables.filter((table) => matches.some((match) => match(table)));
  if (found.length > MOST_TABLES) {
    throw new Problem("invalid-conf", {
      detail: say("many-tables", {
        n: found.length,
        name: request.connection,
        patterns: request.patterns.join(", "),
        most: MOST_TABLES,
      }),
    });
  }
  found.sort((a, b) => compare(a.schema, b.schema) || compare(a.name, b.name));
  return { kind: isMysql ? "mysql" : "postgres", tables: found };
}

const compare = (a: string, b: string) => a < b ? -1 : a > b ? 1 : 0;

/** Whether a table is one that a pattern means; `own`: schema of names without one. */
function matcher(
  pattern: string,
  own: string | null,
): (table: { schema: string; name: string }) => boolean {
  const dot = pattern.indexOf(".");
  const schema = dot < 0 ? null : glob(pattern.slice(0, dot));
  const name = glob(pattern.slice(dot + 1));
  return (table) =>
    name(table.name) && (schema === null ? table.schema === own : schema(table.schema));
}

/**
 * Whether a text is what a pattern with * and ? says. Going back to the last * is enough, as a later one takes whatever an
 * earlier one could: so no pattern takes longer than the product of both lengths.
 */
export function glob(pattern: string): (text: string) => boolean {
  const wanted = [...pattern];
  return (text) => {
    const signs = [...text];
    let [at, after, from] = [0, -1, 0];
    for (let i = 0; i < signs.length;) {
      if (wanted[at] === "*") [after, from] = [++at, i];
      else if (at < wanted.length && (wanted[at] === "?" || wanted[at] === signs[i])) {
        at++;
        i++;
      } else if (after >= 0) [at, i] = [after, ++from];
      else return false;
    }
    return wanted.slice(at).every((sign) => sign === "*");
  };
}
