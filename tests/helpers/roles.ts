import { setupDatabase } from "../../scripts/setup_db.ts";
import { type Client, connect } from "../../store/pg.ts";
import { testDatabase } from "./postgres.ts";

/** Who there is besides the superuser: `creator` is a server's role with `--may-create`, `stranger` may only connect. */
export const KINDS = ["owner", "server", "creator", "reader", "stranger"] as const;
export type Kind = typeof KINDS[number];

export interface RolesWorld extends AsyncDisposable {
  /** Names of the roles, each of its own for this database. */
  names: Record<Kind, string>;
  /** A session of each. */
  as: Record<Kind, Client>;
  admin: Client;
  adminDsn: string;
  dsnOf(kind: Kind): string;
  /** `deno task setup-db` as the owner. */
  setUp(options?: Parameters<typeof setupDatabase>[1]): Promise<string[]>;
}

/** A database set up by an owner who is no superuser, with a role of each kind, none of which owns anything. */
export async function rolesWorld(t: { name: string }): Promise<RolesWorld> {
  const db = await testDatabase(t, { setUp: false });
  const suffix = crypto.randomUUID().slice(0, 8);
  const names = Object.fromEntries(KINDS.map((kind) => [kind, `${kind}_${suffix}`])) as Record<
    Kind,
    string
  >;
  const admin = await connect(db.dsn);
  await admin.query(
    `${KINDS.map((kind) => `create role ${names[kind]} login password 'x';`).join("")}
    alter database "${db.name}" owner to ${names.owner};
    revoke all on database "${db.name}" from public;
    grant connect on database "${db.name}" to ${names.stranger}`,
  );
  const dsnOf = (kind: Kind) =>
    Object.assign(new URL(db.dsn), { username: names[kind], password: "x" }).href;
  const setUp: RolesWorld["setUp"] = (options) => setupDatabase(dsnOf("owner"), options);
  await setUp({ role: names.server, reader: names.reader });
  const as = {} as Record<Kind, Client>;
  for (const kind of KINDS) {
    as[kind] = await connect(dsnOf(kind));
    if (kind !== "owner") continue;
    await as.owner.query("select etl.grant_server_role($1, true)", [names.creator]);
  }
  return {
    names,
    as,
    admin,
    adminDsn: db.dsn,
    dsnOf,
    setUp,
    async [Symbol.asyncDispose]() {
      for (const kind of KINDS) await as[kind].end();
      const all = Object.values(names).join(", ");
      await admin.query(`alter database "${db.name}" owner to current_user;
        drop owned by ${all} cascade; drop role ${all}`);
      await admin.end();
      await db[Symbol.asyncDispose]();
    },
  };
}
