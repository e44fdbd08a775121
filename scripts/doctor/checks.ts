import { statfs } from "node:fs/promises";
import { join, resolve } from "node:path";
import { manifestSchema } from "../../routes/dashboard/assets.ts";
import { type Config, readConfig } from "../../server/config.ts";
import { unknownVariables } from "../../server/environment_names.ts";
import { connectionProblem } from "../../store/connection_problem.ts";
import { connect } from "../../store/pg.ts";
import { Problem } from "../../vocabulary/problem.ts";

/** What one look at an installation has found. */
export interface Check {
  /** What was looked at, in a few words. */
  name: string;
  state: "ok" | "warn" | "fail";
  /** What was found. */
  found: string;
  /** What to do about it; with warn and fail. */
  remedy?: string;
}

export const ok = (name: string, found: string): Check => ({ name, state: "ok", found });

export const warn = (name: string, found: string, remedy: string): Check => ({
  name,
  state: "warn",
  found,
  remedy,
});

export const fail = (name: string, found: string, remedy: string): Check => ({
  name,
  state: "fail",
  found,
  remedy,
});

/** A check that throws has found something too. */
export async function guarded(
  name: string,
  look: () => Promise<Check | Check[]>,
  dsn?: string,
): Promise<Check[]> {
  try {
    return [await look()].flat();
  } catch (error) {
    const known = dsn === undefined ? undefined : connectionProblem(error, dsn);
    const found = known?.message ?? (error instanceof Error ? error.message : String(error));
    return [fail(name, found, "Fix this, then run doctor again.")];
  }
}

/** Names with this beginning are ours, or meant to be. */
const OURS = /^(ETL|KPIS)_/i;
/** Other programs have names with these, so that only what is nearly one of ours is told of. */
const SHARED = /^(STATSD|OPENLINEAGE|SLACK|MLFLOW)_/;
/** Names, values, and what is usually forgotten. `config` is undefined where the values are not valid. */
export function environmentChecks(
  env: Record<string, string>,
): { checks: Check[]; config: Config | undefined } {
  const checks = misspelled(env);
  let config: Config | undefined;
  try {
    config = readConfig({ ...env, KPIS_PG_DSN: env.KPIS_PG_DSN || "postgres://embedded" }, 1);
    checks.push(ok("environment", "its values are valid"));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    checks.push(
      fail("environment", error.message, "Correct it; docs/configuration.md has every variable."),
    );
  }
  if (config !== undefined) checks.push(...forgotten(config));
  return { checks, config };
}

function misspelled(env: Record<string, string>): Check[] {
  return unknownVariables(Object.keys(env))
    .filter(({ name, meant }) => OURS.test(name) || meant !== undefined && SHARED.test(name))
    .map(({ name, meant }) =>
      warn(
        "environment",
        `${name} is not a known variable and has no effect`,
        meant === undefined
          ? "Remove it, or see docs/configuration.md."
          : `Did you mean ${meant}? Otherwise remove it.`,
      )
    );
}

function forgotten(config: Config): Check[] {
  const { telemetry, host, allowedHosts } = config;
  const checks: Check[] = [];
  const { slackWebhook, alertWebhook, email, teamsWebhook, pagerDuty } = telemetry;
  if ([slackWebhook, alertWebhook, email, teamsWebhook, pagerDuty].every((each) => each === null)) {
    checks.push(
      warn(
        "alerts",
        "no channel is configured: alerts are stored, but not sent",
        "Set SLACK_WEBHOOK, ETL_SMTP_URL or another channel (docs/observability.md), or watch GET /api/alerts/recent or Prometheus.",
      ),
    );
  } else if (telemetry.publicUrl === null) {
    checks.push(
      warn(
        "alerts",
        "ETL_PUBLIC_URL is not set: links in messages use the address that this server listens on",
        "Set ETL_PUBLIC_URL to the dashboard's public address.",
      ),
    );
  } else {
    checks.push(ok("alerts", "somebody is told"));
  }
  const wide = !["127.0.0.1", "::1", "localhost"].includes(host);
  if (wide && allowedHosts.length === 0) {
    checks.push(
      warn(
        "access",
        `ETL_HOST is ${host}, and only requests to localhost are answered`,
        "Set ETL_ALLOWED_HOSTS to the names and addresses that clients use for this server.",
      ),
    );
  }
  return checks;
}

const GIB = 2 ** 30;

/** Directories, space, and the port. */
export async function machineChecks(projectDir: string, config: Config): Promise<Check[]> {
  const dataDir = resolve(projectDir, config.dataDir);
  const spoolDir = resolve(projectDir, config.spoolDir);
  return [
    ...await guarded("data", () => readable(dataDir)),
    ...await guarded("spool", () => writable(spoolDir)),
    ...await guarded("transforms", () => transforms(resolve(projectDir, config.transformsDir))),
    ...await guarded("port", () => port(config.host, config.port)),
  ];
}

async function readable(dir: string): Promise<Check> {
  try {
    for await (const _ of Deno.readDir(dir)) break;
    return ok("data", dir);
  } catch (error) {
    const missing = error instanceof Deno.errors.NotFound;
    return (missing ? warn : fail)(
      "data",
      missing ? `${dir} is not there` : `${dir} cannot be read (${(error as Error).name})`,
      missing
        ? "Create it or set ETL_DATA_DIR, if you use file sources."
        : "Give the server's account read access.",
    );
  }
}

async function writable(dir: string): Promise<Check> {
  const probe = join(dir, `.doctor-${crypto.randomUUID()}`);
  try {
    await Deno.mkdir(dir, { recursive: true });
    await Deno.writeTextFile(probe, "");
    await Deno.remove(probe);
  } catch (error) {
    return fail(
      "spool",
      `${dir} cannot be written to (${(error as Error).name})`,
      "Give the server's account write access, or set ETL_SPOOL_DIR.",
    );
  }
  const { bsize, bavail } = await statfs(dir);
  return spaceCheck(dir, bsize * bavail);
}

/** Whether so many free bytes are enough for the spool directory. */
export function spaceCheck(dir: string, free: number): Check {
  const found = `${dir}, ${(free / GIB).toFixed(1)} GiB free`;
  const remedy = "Free space, or set ETL_SPOOL_DIR: it must hold a run's finished rows.";
  if (free < 0.2 * GIB) return fail("spool", found, remedy);
  return free < 2 * GIB ? warn("spool", found, remedy) : ok("spool", found);
}

async function transforms(dir: string): Promise<Check> {
  const found = await Deno.stat(dir).then((stat) => stat.isDirectory, () => false);
  return found
    ? ok("transforms", dir)
    : fail("transforms", `${dir} is not there`, "Create it, or correct ETL_TRANSFORMS_DIR.");
}

async function port(host: string, number: number): Promise<Check> {
  if (number === 0) return ok("port", "any free one");
  const asked = ["0.0.0.0", "::"].includes(host) ? "127.0.0.1" : host;
  const address = `http://${asked.includes(":") ? `[${asked}]` : asked}:${number}`;
  try {
    const answer = await fetch(`${address}/livez`, {
      headers: { host: "localhost" },
      signal: AbortSignal.timeout(3000),
    });
    const body = await answer.json().catch(() => null);
    if (body?.status === "ok") return ok("port", `a server answers at ${address}`);
  } catch {
    // nobody, or somebody who speaks something else
  }
  try {
    Deno.listen({ hostname: host, port: number }).close();
    return ok("port", `${number} is free: no server runs here now`);
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return taken(number);
    return fail(
      "port",
      `cannot listen on ${host}:${number} (${(error as Error).message})`,
      "Set ETL_HOST to an address of this machine, and ETL_PORT to a port above 1023.",
    );
  }
}

function taken(number: number): Check {
  return fail(
    "port",
    `${number} is used by another program`,
    "Set ETL_PORT to another port, or stop that program.",
  );
}

const LIMIT_MS = 5_000;

/** Whether what the server talks to can be reached. Nothing is posted anywhere. */
export async function serviceChecks(config: Config): Promise<Check[]> {
  const { telemetry, connections } = config;
  const urls: [string, string | null | undefined][] = [
    ["Slack", telemetry.slackWebhook],
    ["alert webhook", telemetry.alertWebhook?.url],
    ["Teams", telemetry.teamsWebhook],
    ["PagerDuty", telemetry.pagerDuty?.url],
    ["MLflow", telemetry.mlflow?.url],
    ["OpenLineage", telemetry.openLineage?.url],
  ];
  const looks = [
    ...urls.flatMap(([name, url]) =>
      url && !url.startsWith("file:") ? [guarded(name, () => reached(name, url))] : []
    ),
    ...(telemetry.email === null ? [] : [
      guarded("mail server", () => listens("mail server", telemetry.email!.url)),
    ]),
    ...Object.entries(connections).map(([name, dsn]) =>
      guarded(`connection ${name}`, () => connected(`connection ${name}`, dsn))
    ),
  ];
  return (await Promise.all(looks)).flat();
}

/** The address may be a secret: only its host is shown. */
async function reached(name: string, url: string): Promise<Check> {
  const { origin, host } = new URL(url);
  try {
    const answer = await fetch(origin, {
      method: "HEAD",
      redirect: "manual",
      signal: AbortSignal.timeout(LIMIT_MS),
    });
    await answer.body?.cancel();
    return answer.status >= 500
      ? warn(name, `${host} answers ${answer.status}`, "Check that system.")
      : ok(name, `${host} answers`);
  } catch (error) {
    const why = error instanceof DOMException
      ? `no answer in ${LIMIT_MS / 1000} s`
      : "no way there";
    return warn(
      name,
      `${host} cannot be reached: ${why}`,
      "Check the address, DNS, proxy and firewall; runs continue, and messages are retried.",
    );
  }
}

/** Whether somebody takes connections at an smtp address. */
async function listens(name: string, url: string): Promise<Check> {
  const { protocol, hostname, port, host } = new URL(url);
  const to = { hostname, port: Number(port || (protocol === "smtps:" ? 465 : 587)) };
  try {
    (await Deno.connect({ ...to, signal: AbortSignal.timeout(LIMIT_MS) })).close();
    return ok(name, `${host} answers`);
  } catch {
    return warn(
      name,
      `${host} cannot be reached`,
      "Check ETL_SMTP_URL, DNS and firewall; mails are retried for 24 hours.",
    );
  }
}

async function connected(name: string, dsn: string): Promise<Check> {
  try {
    const client = await connect(dsn, { connectTimeoutMs: LIMIT_MS });
    await client.end();
    return ok(name, "can be connected to");
  } catch (error) {
    const found = connectionProblem(error, dsn)?.message ?? (error as Error).message;
    return warn(name, found, "Sources that use it fail until then.");
  }
}

/** The Deno that this version is tested with. */
const TESTED_DENO = "2.9.6";

interface Lock {
  specifiers?: Record<string, string>;
}

/** Deno itself, the packages that the lockfile names, what browsers get. */
export async function programChecks(
  projectDir: string,
  deno: string = Deno.version.deno,
): Promise<Check[]> {
  return [denoVersion(deno), await packages(projectDir), await assets(projectDir)];
}

function denoVersion(version: string): Check {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [testedMajor = 0, testedMinor = 0] = TESTED_DENO.split(".").map(Number);
  if (major < testedMajor || (major === testedMajor && minor < testedMinor)) {
    return fail(
      "Deno",
      `${version} is older than ${TESTED_DENO}`,
      `Install ${TESTED_DENO}, or run it with npx: npx -y deno@${TESTED_DENO} task start`,
    );
  }
  if (version !== TESTED_DENO) {
    return warn(
      "Deno",
      `${version}; tested with ${TESTED_DENO}`,
      `If something does not work, try npx -y deno@${TESTED_DENO} task start`,
    );
  }
  return ok("Deno", version);
}

async function packages(projectDir: string): Promise<Check> {
  const name = "npm packages";
  const remedy = "Run deno install --frozen in the project's directory.";
  const { imports } = JSON.parse(await Deno.readTextFile(join(projectDir, "deno.json"))) as {
    imports: Record<string, string>;
  };
  const { specifiers = {} } = JSON.parse(
    await Deno.readTextFile(join(projectDir, "deno.lock")),
  ) as Lock;
  const missing: string[] = [];
  const unlocked: string[] = [];
  const pruned = await prunedTo(projectDir);
  const wanted = new Set(
    Object.values(imports).filter((each) => each.startsWith("npm:"))
      .map((each) => each.replace(/^npm:\/?/, "npm:").replace(/\/$/, "")),
  );
  for (const specifier of wanted) {
    const version = specifiers[specifier];
    const packageName = specifier.slice("npm:".length).replace(/(.)@[^@]*$/, "$1");
    if (version === undefined) {
      unlocked.push(specifier);
      continue;
    }
    const folder = `${packageName.replace("/", "+")}@${version.split("_")[0]}`;
    if (pruned !== undefined && !pruned.some((each) => each.startsWith(folder))) continue;
    if (!await isInstalled(projectDir, folder)) missing.push(`${packageName}@${version}`);
  }
  if (unlocked.length > 0) {
    return fail(
      name,
      `deno.lock does not know ${unlocked.join(", ")}`,
      "Use deno.json and deno.lock of the same version of the program.",
    );
  }
  if (missing.length > 0) {
    return fail(name, `not installed: ${missing.slice(0, 5).join(", ")}`, remedy);
  }
  return ok(name, `${wanted.size} as in deno.lock${pruned ? ", pruned to the server's" : ""}`);
}

/** The packages that scripts/prune_modules.ts has left. */
async function prunedTo(projectDir: string): Promise<string[] | undefined> {
  try {
    return JSON.parse(
      await Deno.readTextFile(join(projectDir, "node_modules", ".deno", "pruned.json")),
    );
  } catch {
    return undefined;
  }
}

async function isInstalled(projectDir: string, folder: string): Promise<boolean> {
  const store = join(projectDir, "node_modules", ".deno");
  if (await exists(join(store, folder))) return true;
  // a package with peers has their names behind its own
  for await (const { name } of Deno.readDir(store)) {
    if (name.startsWith(`${folder}_`)) return true;
  }
  return false;
}

async function assets(projectDir: string): Promise<Check> {
  const dir = join(projectDir, ".data", "assets");
  const remedy =
    "Run deno task build-dashboard; until then pages work without charts and live progress.";
  let text: string;
  try {
    text = await Deno.readTextFile(join(dir, "manifest.json"));
  } catch {
    return warn("dashboard", "its scripts and style are not built", remedy);
  }
  const manifest = manifestSchema.safeParse(JSON.parse(text));
  if (!manifest.success) return warn("dashboard", "its manifest is of another version", remedy);
  for (const file of manifest.data.files) {
    if (!await exists(join(dir, file))) return warn("dashboard", `${file} is missing`, remedy);
  }
  return ok("dashboard", "built");
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
