import { Buffer } from "node:buffer";
import mysql from "mysql2/promise";
import { waitFor } from "./wait_for.ts";

const BINARIES = { server: "/usr/sbin/mariadbd", install: "/usr/bin/mariadb-install-db" };

/** Whether Debian's mariadb-server is installed. */
export async function mariadbIsInstalled(): Promise<boolean> {
  return await Deno.stat(BINARIES.server).then(() => true, () => false);
}

/** A MariaDB of its own, on a free port of loopback. */
export async function startMariadb() {
  const dir = await Deno.makeTempDir({ prefix: "etl_mariadb_" });
  await Deno.chmod(dir, 0o755);
  const root = Deno.uid() === 0 ? ["--user=root"] : [];
  const made = await new Deno.Command(BINARIES.install, {
    args: [
      "--no-defaults",
      `--datadir=${dir}/data`,
      "--auth-root-authentication-method=normal",
      "--skip-test-db",
      ...root,
    ],
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!made.success) throw new Error(new TextDecoder().decode(made.stderr));
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  const server = new Deno.Command(BINARIES.server, {
    args: [
      "--no-defaults",
      `--datadir=${dir}/data`,
      `--socket=${dir}/socket`,
      `--pid-file=${dir}/pid`,
      "--bind-address=127.0.0.1",
      `--port=${port}`,
      "--innodb-buffer-pool-size=16M",
      "--innodb-flush-log-at-trx-commit=0",
      "--skip-log-bin",
      ...root,
    ],
    stdout: "null",
    stderr: "null",
  }).spawn();
  const connect = () =>
    mysql.createConnection({ host: "127.0.0.1", port, user: "root", multipleStatements: true });
  let client: mysql.Connection | undefined;
  await waitFor(async () => {
    client = await connect().catch(() => undefined);
    return client !== undefined;
  }, { timeoutMs: 30_000, intervalMs: 100 });
  await client!.query(
    "create database shop character set utf8mb4; create user reader@'%' identified by 'a:b@c/d'; grant select on shop.* to reader@'%'; use shop",
  );
  return {
    dsn: `mysql://reader:${encodeURIComponent("a:b@c/d")}@127.0.0.1:${port}/shop`,
    /** Statements of its superuser, in the database shop. */
    query: (sql: string, values: (string | number | Buffer)[] = []) => client!.query(sql, values),
    async [Symbol.asyncDispose]() {
      client!.destroy();
      server.kill("SIGTERM");
      await server.status;
      await Deno.remove(dir, { recursive: true });
    },
  };
}
