import assert from "node:assert/strict";
import { ALERT_KINDS } from "../../vocabulary/alert_kinds.ts";
import { PROBLEM_TYPES } from "../../vocabulary/problem_types.ts";
import {
  ALERT_SEVERITIES,
  CHUNK_STATES,
  COUNTERS,
  END_STATES,
  METRIC_COUNTERS,
  OVERLAPS,
  ROLES,
  RUN_STATES,
} from "../../vocabulary/words.ts";

const root = new URL("../../", import.meta.url);
const read = (path: string) => Deno.readTextFileSync(new URL(path, root));

/** The schema as PostgreSQL lists it, and the text of all functions. */
const dump = read("sql/schema.dump.txt");
/** Each file of sql/ by hand that may name kinds; etl_setup.sql is made of them. */
const functions = sqlFiles("sql/").map(read).join("\n");

function sqlFiles(folder: string): string[] {
  return [...Deno.readDirSync(new URL(folder, root))].flatMap(({ name, isDirectory }) =>
    isDirectory
      ? ["migrations", "restore"].includes(name) ? [] : sqlFiles(`${folder}${name}/`)
      : name.endsWith(".sql") && folder !== "sql/"
      ? [folder + name]
      : []
  );
}

/** The texts in quotes of a line. */
const quoted = (line: string) => [...line.matchAll(/'([^']*)'::text/g)].map(([, word]) => word!);

function checked(constraint: string): string[] {
  const line = dump.split("\n").find((each) => each.includes(constraint));
  assert.ok(line !== undefined, `${constraint} is not in sql/schema.dump.txt`);
  return quoted(line);
}

Deno.test("the checks of the schema accept the words of the vocabulary, and no others", () => {
  assert.deepEqual(checked(".runs_state_known"), [...RUN_STATES]);
  assert.deepEqual(checked(".runs_ended_when_terminal"), [...END_STATES]);
  assert.deepEqual(checked(".runs_overlap_known"), [...OVERLAPS]);
  assert.deepEqual(checked(".schedules_overlap_known"), [...OVERLAPS]);
  assert.deepEqual(checked(".chunks_state_known"), [...CHUNK_STATES]);
  assert.deepEqual(checked(".api_tokens_role_known"), [...ROLES]);
});

Deno.test("each counter of the vocabulary is a column of chunks, and of the metrics", () => {
  for (const name of COUNTERS) {
    assert.ok(dump.includes(`column etl.chunks.${name} bigint not null default 0`), name);
  }
  for (const name of METRIC_COUNTERS) {
    assert.ok(
      dump.includes(`column public.etl_improved_metrics.${name} bigint not null default 0`),
      name,
    );
    assert.ok((COUNTERS as readonly string[]).includes(name), name);
  }
});

Deno.test("SQL raises and ends the kinds of alert of the vocabulary, all of them", () => {
  const kinds = Object.keys(ALERT_KINDS);
  const named = (pattern: RegExp) =>
    [...new Set([...functions.matchAll(pattern)].map(([, kind]) => kind!))].sort();
  assert.deepEqual(
    named(/\betl\.(?:raise_alert|set_condition)\('(\w+)'/g),
    [...kinds].sort(),
    "raised",
  );
  for (const kind of named(/\betl\.resolve_alert\('(\w+)'/g)) assert.ok(kinds.includes(kind), kind);
  const gone = /function etl\.end_gone_incidents[\s\S]*?\$\$;/.exec(functions)![0];
  for (const [, text] of gone.matchAll(/state\.kind (?:= |in \()((?:'\w+'(?:, )?)+)/g)) {
    for (const [, kind] of text!.matchAll(/'(\w+)'/g)) assert.ok(kinds.includes(kind!), kind!);
  }
});

Deno.test("SQL gives alerts only severities of the vocabulary", () => {
  const given = [
    ...functions.matchAll(/'severity', (?:'(\w+)'|case .*? then '(\w+)' else '(\w+)')/g),
  ]
    .flatMap(([, ...words]) => words.filter((word) => word !== undefined));
  assert.ok(given.length > 5);
  for (const word of given) {
    assert.ok((ALERT_SEVERITIES as readonly string[]).includes(word), word);
  }
});

Deno.test("SQL names only problems that are documented", () => {
  const named = [
    ...functions.matchAll(/raise_problem\(\s*'([a-z-]+)'/g),
    ...functions.matchAll(/'\/api\/problems\/([a-z-]+)'/g),
  ];
  assert.ok(named.length > 20);
  for (const [, type] of named) assert.ok(Object.hasOwn(PROBLEM_TYPES, type!), type!);
});

/** The files of the program, written by hand, that have a word in them. */
function filesWith(word: string): string[] {
  const isWord = new RegExp(`\\b${word}\\b`);
  const look = (folder: string): string[] =>
    [...Deno.readDirSync(new URL(folder, root))].flatMap(({ name, isDirectory }) =>
      isDirectory
        ? look(`${folder}${name}/`)
        : /\.(tsx?|sql)$/.test(name) && isWord.test(read(folder + name))
        ? [folder + name]
        : []
    );
  return [
    ...["vocabulary", "islands", "pipeline", "queue", "routes", "server", "store", "telemetry"],
    ...["sql/conf", "sql/metrics", "sql/reactions", "sql/runs", "sql/schedules", "sql/shared"],
  ].flatMap((folder) => look(`${folder}/`));
}

Deno.test("a kind of alert is named in five files at most, an environment variable in one", () => {
  for (const kind of ["schedule_overdue", "consumer_failed", "sla_miss", "ge_failed"]) {
    const files = filesWith(kind);
    assert.ok(files.length >= 3 && files.length <= 5, `${kind}: ${files.join(", ")}`);
  }
  for (
    const variable of ["ETL_MAX_STREAMS", "ETL_BODY_TIMEOUT_SECONDS", "ETL_SIGN_INS_PER_MINUTE"]
  ) {
    assert.deepEqual(filesWith(variable), ["server/config.ts"], variable);
  }
});
