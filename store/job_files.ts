/** A periodic job, as a file of sql/cron describes it; psql can run the file where pg_cron is. */
export interface JobDefinition {
  name: string;
  /** Five fields of cron or @weekly and its like, UTC. */
  schedule: string;
  /** One SQL statement. */
  command: string;
  description: string;
  /** Makes sense only for pg_cron, in pg_cron's own database. */
  pgCronOnly: boolean;
}

const DIRECTORY = new URL("../sql/cron/", import.meta.url);
const FORM = /^((?:-- .*\n)+)select cron\.schedule\('(\w+)', '([^']+)', \$\$([^$]+)\$\$\);\s*$/;
const PG_CRON_ONLY = "pg_cron only";

/** The jobs of sql/cron, by name. Throws when a file has another form. */
export async function readJobFiles(directory: URL = DIRECTORY): Promise<JobDefinition[]> {
  const names = [...Deno.readDirSync(directory)].map(({ name }) => name)
    .filter((name) => name.endsWith(".sql")).sort();
  return await Promise.all(
    names.map(async (file) =>
      parseJobFile(file, await Deno.readTextFile(new URL(file, directory)))
    ),
  );
}

/** Reads one file: comments, then one `select cron.schedule('name', 'schedule', $$command$$);`. */
export function parseJobFile(file: string, text: string): JobDefinition {
  const [, comments, name, schedule, command] = FORM.exec(text) ?? [];
  if (name === undefined || `${name}.sql` !== file) {
    throw new Error(
      `sql/cron/${file} must be comments and select cron.schedule('${
        file.replace(/\.sql$/, "")
      }', 'schedule', $$command$$);`,
    );
  }
  const lines = comments!.trim().split("\n").map((line) => line.replace(/^-- /, ""));
  return {
    name,
    schedule: schedule!,
    command: command!.trim(),
    description: lines.filter((line) => line !== PG_CRON_ONLY).join(" "),
    pgCronOnly: lines.includes(PG_CRON_ONLY),
  };
}
