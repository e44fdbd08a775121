import type { Node } from "libpg-query";

/** A name as the parser gives it. */
interface Relation {
  schemaname?: string;
  relname?: string;
  relpersistence?: string;
}

type Tree = Record<string, unknown>;

const READS = new Set([
  "SelectStmt",
  "ExplainStmt",
  "VariableSetStmt",
  "ConstraintsSetStmt",
  "LockStmt",
]);
/** Statements of rows, wherever they stand: in CTEs, too. */
const WRITES_ROWS = new Set(["InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"]);

const UNSEEN: Record<string, string> = {
  DoStmt: "what a do block does cannot be seen before it does it: write its statements themselves",
  CallStmt:
    "what a procedure does cannot be seen before it does it: write its statements themselves",
};

/**
 * Looks at the statements of a file in their order and says of each, in words, what it may not do: write any other table
 * than its own and temporary ones that it makes. Null: it may.
 *
 * What functions and triggers do is not in the text; rights of the server's role bound that.
 */
export function writesOnly(target: string): (stmt: Node) => string | null {
  const temporary = new Set<string>();
  const isTemporary = ({ schemaname, relname }: Relation) =>
    schemaname === "pg_temp" || schemaname === undefined && temporary.has(relname!);
  const isOurs = (relation: Relation) =>
    isTemporary(relation) || `${relation.schemaname}.${relation.relname}` === target;
  const elsewhere = (relation: Relation) =>
    isOurs(relation)
      ? null
      : relation.schemaname === undefined && target.endsWith(`.${relation.relname}`)
      ? `write ${target}: which table ${relation.relname} is hangs on the search path`
      : `it may write ${target}, which its header names, and not ${nameOf(relation)}: a file for ` +
        "each table, with the dataset of the other under listens";
  /** A table that a statement makes; `of`: those that it becomes a part of. */
  const made = (relation: Relation, of: Relation[] = []) => {
    if (relation.relpersistence === "t") {
      temporary.add(relation.relname!);
      return null;
    }
    return of.some(isOurs) ? null : elsewhere(relation);
  };

  const whole = (kind: string, node: Tree): string | null => {
    const relation = (node.relation ?? {}) as Relation;
    switch (kind) {
      case "CreateStmt":
        return made(relation, relations(node.inhRelations));
      case "CreateTableAsStmt":
        return made((node.into as { rel: Relation }).rel);
      case "ViewStmt":
        return made(node.view as Relation);
      case "RefreshMatViewStmt":
      case "IndexStmt":
      case "AlterTableStmt":
        return elsewhere(relation);
      case "TruncateStmt":
        return first(relations(node.relations), elsewhere);
      case "VacuumStmt":
        return first(
          ((node.rels ?? []) as { VacuumRelation: { relation: Relation } }[])
            .map(({ VacuumRelation }) => VacuumRelation.relation),
          elsewhere,
        );
      case "DropStmt": {
        const objects =
          ((node.objects ?? []) as { List?: { items: { String: { sval: string } }[] } }[])
            .map(({ List }): Relation => {
              const [relname, schemaname] = (List?.items ?? []).map(({ String }) => String?.sval)
                .reverse();
              return { ...(relname && { relname }), ...(schemaname && { schemaname }) };
            });
        if (!/^OBJECT_(TABLE|VIEW|MATVIEW)$/.test(String(node.removeType))) {
          return "it may drop its own table and nothing else";
        }
        const reason = first(objects, elsewhere);
        // from here on the name is that of another table, if any
        for (const { schemaname, relname } of objects) {
          if (schemaname === undefined || schemaname === "pg_temp") temporary.delete(relname!);
        }
        return reason;
      }
    }
    return READS.has(kind) || WRITES_ROWS.has(kind) ? null : UNSEEN[kind] ??
      `it may read, write the rows of ${target} and make, change or drop that table: nothing else`;
  };

  return (stmt) => {
    const [[kind, node] = ["", {}]] = Object.entries(stmt) as [string, Tree][];
    const reason = whole(kind, node);
    if (reason !== null) return reason;
    for (const [inner, part] of nodes(stmt)) {
      if (WRITES_ROWS.has(inner)) {
        const reason = elsewhere(part.relation as Relation);
        if (reason !== null) return reason;
      } else if (inner === "intoClause" && kind === "SelectStmt") {
        const reason = made(part.rel as Relation);
        if (reason !== null) return reason;
      } else if (inner === "CreateTableAsStmt" && kind === "ExplainStmt") {
        const reason = made((part.into as { rel: Relation }).rel);
        if (reason !== null) return reason;
      }
    }
    return null;
  };
}

const nameOf = ({ schemaname, relname }: Relation) =>
  schemaname === undefined ? relname : `${schemaname}.${relname}`;

function relations(list: unknown): Relation[] {
  return ((list ?? []) as { RangeVar: Relation }[]).map(({ RangeVar }) => RangeVar);
}

function first(all: Relation[], wrong: (relation: Relation) => string | null): string | null {
  for (const each of all) {
    const reason = wrong(each);
    if (reason !== null) return reason;
  }
  return null;
}

/** Every named part of a statement, however deep. */
function* nodes(tree: unknown): Generator<[string, Tree]> {
  const waiting: unknown[] = [tree];
  while (waiting.length > 0) {
    const next = waiting.pop();
    if (typeof next !== "object" || next === null) continue;
    for (const [name, part] of Object.entries(next)) {
      if (typeof part !== "object" || part === null) continue;
      if (!Array.isArray(part)) yield [name, part as Tree];
      waiting.push(part);
    }
  }
}
