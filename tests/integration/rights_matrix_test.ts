import assert from "node:assert/strict";
import { type Kind, KINDS, type RolesWorld, rolesWorld } from "../helpers/roles.ts";

/** The columns of the tables in docs/database_role.md that hold for a kind of role. */
const COLUMNS: Record<Exclude<Kind, "owner">, ("Server" | "Reader" | "Everybody")[]> = {
  server: ["Server", "Everybody"],
  creator: ["Server", "Everybody"],
  reader: ["Reader", "Everybody"],
  stranger: ["Everybody"],
};

const TABLE_PRIVILEGES = [
  "select",
  "insert",
  "update",
  "delete",
  "truncate",
  "references",
  "trigger",
];

/** What the document says: by object, then by column of its table, privileges as GRANT takes them. */
async function documented(): Promise<Map<string, Record<string, string>>> {
  const page = await Deno.readTextFile(new URL("../../docs/database_role.md", import.meta.url));
  const said = new Map<string, Record<string, string>>();
  let titles: string[] = [];
  for (const line of page.split("\n").filter((each) => each.startsWith("|"))) {
    const cells = line.split("|").slice(1, -1).map((cell) => cell.trim());
    if (/^(Tables and views|Functions)$/.test(cells[0]!)) titles = cells;
    if (titles.length === 0 || cells[0] === titles[0] || cells[0]!.startsWith("---")) continue;
    for (const [, name] of cells[0]!.matchAll(/`([^`]+)`/g)) {
      said.set(
        name!,
        Object.fromEntries(titles.slice(1).map((title, i) => [title, cells[i + 1]!])),
      );
    }
  }
  return said;
}

/** "select, update (a, b)" as {"select", "update a", "update b"}. */
function privileges(text: string): Set<string> {
  return new Set(
    [...text.matchAll(/([a-z]+)(?: \(([^)]*)\))?/g)].flatMap(([, privilege, columns]) =>
      columns === undefined
        ? [privilege!]
        : columns.split(",").map((column) => `${privilege} ${column.trim()}`)
    ),
  );
}

/** What a role may do, by object: privileges on all of a table, and on columns of which it is not all. */
async function actual(w: RolesWorld, role: string): Promise<Map<string, Set<string>>> {
  const { rows } = await w.admin.query<{ name: string; may: string[] }>(
    `with relations as (
      select c.oid, c.relkind, n.nspname || '.' || c.relname as name from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
      where n.nspname in ('etl', 'public') and c.relkind in ('r', 'p', 'v', 'm', 'S')
    )
    select r.name, array_remove(case r.relkind when 'S' then
        array(select p from unnest(array['usage', 'select', 'update']) as p where has_sequence_privilege($1, r.oid, p))
      else array(select p from unnest($2::text[]) as p where has_table_privilege($1, r.oid, p)
        union all
        select p || ' ' || a.attname from unnest(array['select', 'insert', 'update', 'references']) as p, pg_attribute as a
        where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped and not has_table_privilege($1, r.oid, p)
          and has_column_privilege($1, r.oid, a.attnum, p)) end, null) as may
    from relations as r
    union all
    select n.nspname || '.' || p.proname, case when bool_or(has_function_privilege($1, p.oid, 'execute')) then array['execute'] else '{}' end
    from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace where n.nspname in ('etl', 'public') group by 1`,
    [role, TABLE_PRIVILEGES],
  );
  return new Map(rows.map(({ name, may }) => [name, new Set(may)]));
}

const text = (of: Iterable<string>) => [...of].sort().join(", ");

Deno.test("each role may do to each table, view, sequence and function what docs/database_role.md says, no less and no more", async (t) => {
  await using w = await rolesWorld(t);
  const said = await documented();
  assert.ok(said.size > 100);
  for (const kind of KINDS) {
    const may = await actual(w, w.names[kind]);
    const lines: string[] = [];
    for (const [name, has] of may) {
      const isSequence = name.endsWith("_seq");
      const line = said.get(name);
      if (line === undefined && !isSequence) {
        lines.push(`${name} has no line in docs/database_role.md`);
        continue;
      }
      const expected = kind === "owner"
        ? isSequence
          ? new Set(["usage", "select", "update"])
          : new Set(may.get(name)!.has("execute") ? ["execute"] : TABLE_PRIVILEGES)
        : new Set(COLUMNS[kind].flatMap((title) => [...privileges(line?.[title] ?? "")]));
      if (text(expected) !== text(has)) {
        lines.push(`${name}: expected (${text(expected)}), may (${text(has)})`);
      }
    }
    assert.deepEqual(lines, [], kind);
    for (const name of said.keys()) assert.ok(may.has(name), `${name} does not exist`);
  }
  const { rows } = await w.admin.query<Record<string, unknown>>(
    `select r.kind, has_schema_privilege(r.name, 'etl', 'usage') as looks, has_schema_privilege(r.name, 'etl', 'create') as adds,
      has_schema_privilege(r.name, 'public', 'create') as makes,
      has_database_privilege(r.name, current_database(), 'connect') as connects,
      has_database_privilege(r.name, current_database(), 'temporary') as temporary,
      has_database_privilege(r.name, current_database(), 'create') as schemas,
      (select count(*)::int from pg_class as c where pg_get_userbyid(c.relowner) = r.name and c.relkind <> 'i') > 0 as owns
    from unnest($1::text[], $2::text[]) as r (kind, name)`,
    [Object.keys(w.names), Object.values(w.names)],
  );
  const flags = Object.fromEntries(
    rows.map(({ kind, ...of }) => [kind, text(Object.keys(of).filter((each) => of[each]))]),
  );
  assert.deepEqual(flags, {
    owner: "adds, connects, looks, makes, owns, schemas, temporary",
    server: "connects, looks, temporary",
    creator: "connects, looks, makes, schemas, temporary",
    reader: "connects, looks",
    stranger: "connects",
  });
});

Deno.test("a server's role may vacuum each table that maintenance vacuums, where PostgreSQL can grant that", async (t) => {
  await using w = await rolesWorld(t);
  await w.as.creator.query("select etl.ensure_destination('sales', 'orders', 'orders_audit')");
  await w.admin.query("update etl.datasets set maintained = true");
  const { rows: tables } = await w.admin.query<{ name: string }>(
    `select m.relation::text as name from unnest(array['clean_old_metrics', 'clean_old_audit', 'clean_old_alerts', 'clean_old_events']) as t (task),
      etl.maintained_tables(t.task) as m`,
  );
  assert.ok(tables.some(({ name }) => name === "etl_improved_alerts"));
  const { rows: [server] } = await w.admin.query(
    "select current_setting('server_version_num')::int >= 170000 as grants",
  );
  for (const { name } of server.grants ? tables : []) {
    for (const kind of ["server", "creator"] as const) {
      const { rows: [may] } = await w.admin.query(
        "select has_table_privilege($1, $2, 'maintain') as vacuum",
        [w.names[kind], name],
      );
      assert.ok(may.vacuum, `${kind}: ${name}`);
    }
  }
});

Deno.test("functions that run as their owner fix their search_path and let nobody but a server's role call them", async (t) => {
  await using w = await rolesWorld(t);
  const { rows } = await w.admin.query<{ name: string; owner: string; path: string }>(
    `select p.oid::regprocedure::text as name, pg_get_userbyid(p.proowner) as owner, array_to_string(p.proconfig, ';') as path
    from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace where n.nspname in ('etl', 'public') and p.prosecdef`,
  );
  assert.ok(rows.length > 8);
  for (const { name, owner, path } of rows) {
    assert.equal(owner, w.names.owner, name);
    assert.match(path, /search_path=pg_catalog(, etl)?, pg_temp(;|$)/, name);
    for (const kind of ["reader", "stranger"] as const) {
      const { rows: [may] } = await w.admin.query(
        "select has_function_privilege($1, $2::regprocedure, 'execute') as may",
        [w.names[kind], name],
      );
      assert.equal(may!.may, false, `${kind}: ${name}`);
    }
  }
});

Deno.test("a revoked role has what a stranger has, and a set-up does not give it anything back", async (t) => {
  await using w = await rolesWorld(t);
  await w.as.owner.query("select etl.ensure_destination('sales', 'orders', 'orders_audit')");
  const stranger = await actual(w, w.names.stranger);
  for (const kind of ["server", "creator", "reader"] as const) {
    await w.setUp({ revoke: w.names[kind] });
    await w.setUp();
    assert.deepEqual(await actual(w, w.names[kind]), stranger, kind);
    const { rows } = await w.admin.query(
      `select has_schema_privilege($1, 'etl', 'usage') or has_schema_privilege($1, 'public', 'create')
        or has_schema_privilege($1, 'sales', 'usage') or has_table_privilege($1, 'sales.orders', 'select')
        or has_table_privilege($1, 'sales.orders_audit', 'insert') or has_table_privilege($1, 'sales.etl_improved_metrics', 'select')
        or has_database_privilege($1, current_database(), 'create') as may`,
      [w.names[kind]],
    );
    assert.equal(rows[0].may, false, kind);
  }
});
