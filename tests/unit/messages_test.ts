import assert from "node:assert/strict";
import { ERROR_MESSAGES } from "../../vocabulary/error_messages.ts";
import { PROBLEM_MESSAGES } from "../../vocabulary/problem_messages.ts";
import { SOURCE_MESSAGES } from "../../vocabulary/source_messages.ts";
import { SQL_MESSAGES } from "../../vocabulary/sql_messages.ts";
import { inSpanish, messageOf, MESSAGES, say } from "../../vocabulary/messages.ts";
import { type Said, saidBy, SAMPLE } from "../helpers/sql_said.ts";

const FOLDERS = [
  "sql/reactions",
  "sql/runs",
  "sql/schedules",
  "sql/conf",
  "sql/datasets",
  "sql/maintenance",
  "sql/queue",
  "sql/restore",
  "store",
  "routes",
  "routes/access",
  "routes/dashboard",
  "routes/shared",
  "server",
  "pipeline",
  "pipeline/consumers",
  "pipeline/expectations",
  "pipeline/sources",
  "pipeline/sources/local",
  "pipeline/stages",
  "pipeline/sources/http",
  "pipeline/sources/modules",
  "pipeline/sources/postgres",
  "pipeline/sources/s3",
  "pipeline/schedules",
  "pipeline/spill",
  "pipeline/user_code",
  "pipeline/workers",
  "queue",
  "telemetry",
  "timers",
  "vocabulary",
];

/** Text of the files that say something, its concatenations joined. */
async function sources(): Promise<string> {
  const texts: string[] = [];
  for (const folder of FOLDERS) {
    const url = new URL(`../../${folder}/`, import.meta.url);
    for await (const { name, isFile } of Deno.readDir(url)) {
      // nobody says a text by listing it
      if (isFile && !/_messages\.ts$|^messages\.ts$/.test(name)) {
        texts.push(await Deno.readTextFile(new URL(name, url)));
      }
    }
  }
  return texts.join("\n").replaceAll(/["'`]\s*\+\s*["'`]|'\n\s*'/g, "").replaceAll("\\`", "`")
    .replaceAll("\\'", "'").replaceAll("\\\\", "\\").replaceAll(/(?<=\w)''/g, "'");
}

/** What the checker of schemas says of one. */
const OF_AJV = ["schema-invalid", "schema-no-reference"];

Deno.test("every message of the catalogue is what the program says, word by word", async () => {
  const said = await sources();
  for (const [code, [english]] of Object.entries(MESSAGES)) {
    // say() has the words from the catalogue
    if (new RegExp(`"${code}"`).test(said) || OF_AJV.includes(code)) continue;
    for (const part of english.split(/\{\w+\*?\}|[[|\]]/)) {
      // what is said in several pieces is found piece by piece
      const missing = part.trim().length < 4 || said.includes(part.trim()) ||
        part.split(/[,;:.?]/).every((piece) => said.includes(piece.trim()));
      assert.ok(missing, `${code}: nobody says “${part}”`);
    }
  }
});

Deno.test("a message is found by its English, and has the same places and names in Spanish", () => {
  const places = (text: string) =>
    (text.match(/\{\w+\*?\}|ETL_[A-Z_]+|\/api\/[a-z/]+|KPIS_PG_DSN|pg_[a-z_]+/g) ?? []).sort();
  for (const [code, [english, spanish]] of Object.entries(MESSAGES)) {
    assert.deepEqual(places(spanish), places(english), code);
    const fill = (text: string) =>
      text.replaceAll(/\[[^[|\]]*\|([^[|\]]*)\]/g, "$1").replaceAll(/\{(\w+)\*?\}/g, "‹$1›");
    const filled = fill(english);
    assert.equal(messageOf(filled)?.code, code);
    assert.equal(inSpanish(filled), fill(spanish), code);
  }
});

Deno.test("a message within a message is Spanish too, and what nobody knows stays as it is", () => {
  assert.equal(
    inSpanish(
      "5 of 30 expected rows arrived (ratio 0.1667), below min_acceptance_ratio 1. What was loaded stays in the table. Look at the quarantine and at batch_size, or accept less with min_acceptance_ratio.",
    ),
    "Llegaron 5 de 30 filas esperadas (ratio 0.1667), menos que min_acceptance_ratio 1. Lo cargado se queda en la tabla. Mire la cuarentena y batch_size, o acepte menos con min_acceptance_ratio.",
  );
  assert.equal(
    inSpanish(
      "The run should have ended by 2026-01-01T00:00:00Z, 5 s after the request, and is still waiting.",
    ),
    "La ejecución debía terminar antes de 2026-01-01T00:00:00Z, 5 s después de la petición, y sigue en espera.",
  );
  // what a failed run has published is said behind its problem
  assert.equal(
    inSpanish(`${say("run-cancelled", {})} (1 of 3 chunks are in the table)`),
    "La ejecución se canceló. (1 de 3 chunks están en la tabla)",
  );
  assert.match(
    inSpanish(say("low-ratio", {
      rows: 0,
      expected: 5,
      ratio: "0.0000",
      least: 1,
      kept: "Nothing was changed.",
    })),
    /que min_acceptance_ratio 1\. No se cambió nada\. Mire/,
  );
  assert.equal(inSpanish("Something else happened."), "Something else happened.");
  // a text made to be slow to match is done with at once
  const hostile = "a of b ".repeat(2000);
  assert.equal(inSpanish(hostile), hostile);
});

Deno.test("what say() says is found again with all that was filled in, also messages within it", () => {
  const what = say("csv-after-quote", { written: '""' });
  const shown = say("as-shown", { what: say("place", { line: 3, file: "a: b.csv", what }) });
  assert.equal(
    inSpanish(shown),
    'línea 3 de a: b.csv: hay texto tras la comilla que cierra un campo; escriba una comilla dentro de un campo como ""; ' +
      "se muestra sin sus campos privados",
  );
  assert.equal(
    inSpanish(say("name-twice", { who: say("records-have", { n: 2 }), example: '"a"' })),
    '2 registros tienen un nombre dos veces en un objeto; se conservó el último valor: "a"',
  );
});

Deno.test("one is said in the singular, in either language", () => {
  const told = [1, 2].map((n) => say("schema-fewer-characters", { at: "a", n }));
  assert.deepEqual(told, [
    "a must NOT have fewer than 1 character",
    "a must NOT have fewer than 2 characters",
  ]);
  assert.deepEqual(told.map(inSpanish), [
    "a NO debe tener menos de 1 carácter",
    "a NO debe tener menos de 2 caracteres",
  ]);
  assert.equal(inSpanish("at least 1 item"), "al menos 1 elemento");
  assert.equal(
    inSpanish(say("alerts-open", { n: 1 })),
    "1 alerta abierta: GET /api/alerts/recent",
  );
});

Deno.test("no reason and no warning leaves the program but by way of the catalogue", async () => {
  // the compiler refuses a text where a Message belongs; this is the one way around it
  const uses = new Map<string, number>();
  for (const folder of FOLDERS) {
    const url = new URL(`../../${folder}/`, import.meta.url);
    for await (const { name, isFile } of Deno.readDir(url)) {
      if (!isFile) continue;
      const text = await Deno.readTextFile(new URL(name, url));
      const count = (text.match(/\bverbatim\(|as Message\b|as unknown as Message\b/g) ?? []).length;
      if (count > 0) uses.set(`${folder}/${name}`, count);
    }
  }
  assert.deepEqual([...uses].sort(), [
    ["pipeline/consumers/sql_consumer.ts", 1],
    ["pipeline/expectations/expectations.ts", 1],
    ["pipeline/expectations/json_schema.ts", 1],
    ["pipeline/expectations/regex.ts", 1],
    ["pipeline/private_fields.ts", 1],
    ["pipeline/record_chain.ts", 1],
    ["pipeline/run_problem.ts", 1],
    ["pipeline/sources/postgres/plan.ts", 1],
    ["pipeline/stages/prepare.ts", 1],
    ["pipeline/stages/publish_at_once.ts", 1],
    ["pipeline/stages/transform.ts", 1],
    ["pipeline/typed_rows.ts", 1],
    ["pipeline/user_code/crossing.ts", 2],
    ["pipeline/user_code/hosted_modules.ts", 2],
    ["pipeline/user_code/zod_words.ts", 1],
    ["routes/shared/problems.ts", 1],
    ["vocabulary/messages.ts", 2],
    ["vocabulary/problem.ts", 1],
  ], "words of others only: say() for our own");
});

Deno.test("no problem leaves the program but by way of the catalogue, save in a terminal", async () => {
  // of a Problem the compiler refuses any other text, however it is put together
  const others: string[] = [];
  for (const folder of FOLDERS.filter((each) => !each.startsWith("sql/"))) {
    const url = new URL(`../../${folder}/`, import.meta.url);
    for await (const { name, isFile } of Deno.readDir(url)) {
      if (!isFile || folder === "vocabulary") continue;
      const text = await Deno.readTextFile(new URL(name, url));
      if (/\bTerminalProblem\b/.test(text)) others.push(`${folder}/${name}`);
    }
  }
  assert.deepEqual(others.sort(), [
    "pipeline/consumers/consumer.ts",
    "pipeline/consumers/sql_consumer.ts",
    "pipeline/expectations/suite.ts",
    "pipeline/user_code/consumer_client.ts",
    "routes/access/access.ts",
    "server/config.ts",
    "server/server.ts",
    "store/connection_problem.ts",
    "store/connection_target.ts",
    "store/dsn.ts",
    "store/schema_version.ts",
    "telemetry/settings_schema.ts",
  ], "what a start or a command says: everywhere else a Problem, in words of the catalogue");
  const catalogues: Record<string, unknown>[] = [
    SOURCE_MESSAGES,
    ERROR_MESSAGES,
    PROBLEM_MESSAGES,
    SQL_MESSAGES,
  ];
  const own = catalogues.flatMap((each) => Object.entries(each));
  const twice = own.filter(([code, texts]) =>
    (MESSAGES as Record<string, unknown>)[code] !== texts
  );
  assert.deepEqual(twice, [], "a code has one message");
});

Deno.test("why a source cannot be read is Spanish to its pieces", () => {
  const shop = say("the-query-of", { name: "shop" });
  const told = [
    say("source-try-again", { what: shop, reason: " (57P01)" }),
    say("files-changed", {
      which: [
        say("file-had", { path: "a: b.csv", then: 1, now: 2 }),
        say("file-is-gone", { path: "c.csv" }),
        "…",
      ].join("; "),
    }),
    say("s3-no-object", {
      what: "s3://b/k",
      answer: "404 NoSuchKey: The key. It does not exist.",
    }),
    say("module-broken", {
      module: "rest",
      name: "rest",
      what: say("module-failed", {
        where: say("in-read", {}),
        said: say("rest-many-lists", { url: "http://a", n: 2 }),
      }),
    }),
    say("s3-environment-wrong", { what: say("one-key-only", {}) }),
    say("format-foreign", {
      file: "x.csv",
      what: say("of-xz", {}),
      next: say("next-convert", { command: "xzcat" }),
    }),
  ];
  assert.deepEqual(told.map(inSpanish), [
    'la consulta de la conexión "shop" no se puede leer (57P01): inténtelo de nuevo.',
    "Los archivos cambiaron desde que la ejecución los leyó por primera vez (a: b.csv tenía 1 bytes y tiene 2; c.csv ya no está; …): inicie una ejecución nueva para cargarlos como están ahora.",
    "s3://b/k: el servicio respondió 404 NoSuchKey: The key. It does not exist.. Compruebe source.url.",
    "El módulo de fuente rest: falló en read: http://a responde con 2 listas: diga cuál en records_path. `etl source try rest` muestra lo que devuelve; docs/sources.md describe lo que debe hacer.",
    'el entorno (AWS_…) solo tiene una de las dos claves. Para fuentes s3 debe ser JSON: {"type": "s3", "region": "eu-central-1", "access_key_id": "…", "secret_access_key": "…"}, con "endpoint": "https://host" para un servicio distinto de AWS.',
    "x.csv: los datos son de xz. Conviértalo: xzcat FILE | zstd > FILE.zst (o gzip).",
  ]);
});

/** What these say is put together of places, is no sentence, or has a code that is translated. */
const NO_WORDS =
  /^(?:%Y|[[{]|x x$|lacks |x lacks|is less than x of|x: x$|must have x parts|is more than x slots|is x$|worker x died|is of no known|must be (?:x|object)$|is too |has the wrong form|x has no x|a URL relative)/;

Deno.test("what is wrong with a field and what would be right are in the catalogue, whoever says so", async () => {
  const said = new Set<string>();
  const text = await sources();
  const typescript =
    /\b(?:message|expected|short)(?::| =)\s*(?:"((?:[^"\\]|\\.)+)"|`((?:[^`\\]|\\.)+)`|'([^']+)')/g;
  for (const found of text.matchAll(/\{[^{}]*\bfield\b(?:[^{}]|\$\{[^{}]*\}|\{[^{}]*\})*\}/g)) {
    for (const [, plain, template, quoted] of found[0].matchAll(typescript)) {
      said.add(plain ?? template?.replaceAll(/\$\{[^{}]*\}/g, "x") ?? quoted!);
    }
  }
  assert.ok(said.size > 80, `${said.size} texts found`);
  const english = [...said].filter((words) =>
    words.includes(" ") && !NO_WORDS.test(words) && messageOf(words) === null
  );
  assert.deepEqual(english, []);
});

/** What SQL says in a terminal only: set-up, rights, the beginning of a restore. */
const IN_TERMINAL = /^sql\/(?:access|cron|migrations|setup)\/|^sql\/restore\/opening\.sql/;

/** What passes on what is said elsewhere, and found there; statements, which are the same in every language. */
const PASSED_ON = [
  // a function's parameter, a stored alert, a record's error
  "message",
  "raise_alert . message",
  "resolve_alert . message",
  "a . message",
  "f . message",
  // errors found above
  "w . message",
  "w . expected",
  "format ( %s %s , errors #>> {0,field} , errors #>> {0,message} )",
  "( select string_agg ( format ( %s %s , e ->> field , e ->> message ) , ;  ) from jsonb_array_elements ( errors ) as e )",
  // a GRANT
  "wanted",
  "grants",
  "needed",
];

/** Other texts that need no Spanish. */
const OTHERS = [
  // defects of the program, which only its log and PostgreSQL's tell
  "run % cannot go from % to %",
  "run % cannot succeed: % of % chunks are published",
  "action % is none of acknowledge, silence, close",
  "format ( run %s is not running , run_id )",
  "format ( run %s marks nothing , run_id )",
  "format ( %s is not a manifest , name )",
  "format ( %s is not the manifest of attempt %s of run %s , name , attempt , run_id )",
  "format ( %s is not an audit table of this installation , relation )",
  // warnings and a hint in psql
  "schedule % could not be decided: %",
  "the typed view of % could not be made: %",
  'Leave commit to the server; "set constraints all immediate" needs the names of the constraints.',
  // PostgreSQL's own words, and comments on what is made
  "format ( permission denied for database %I , current_database ( ) )",
  "format ( permission denied for schema %I , schema_name )",
  "each version of a key, and from when to when it held",
  "the version of each key that holds now",
  "format ( typed view of dataset %s, made by etl.set_dataset_columns , dataset )",
  // a part of column-type-meant, the subject of a message in Slack, the name of a lock
  "; did you mean ",
  "Maintenance succeeded",
  "channel slack",
  // the beginning of what a record's rule says
  "format ( line %s of  , q . slice_line + b . newlines )",
];

/** Statements and names, whatever runs them. */
const NO_TEXT =
  /^\s*(?:select|insert|update|delete|alter|create|drop|grant|revoke|lock|comment|analyze|for update|with|etl|tablesample|schema|table|add column|timestamp|timestamptz)\b|^[,(^[{]|\$[1-9]|-----BEGIN|%1\$I|::|\bt\.payload|etl\.to_/;

/** What is left of English in a text that should be Spanish; statements and commands are as they are. */
const ENGLISH =
  /\b(?:the|is|are|was|were|has|have|of|to|with|and|not|which|that|from|must|be|for|this|its|does|there|cannot|may|or|in|into)\b/;
const STATEMENTS =
  /`[^`]*`|"[^"]*"|\b(?:grant|alter|create|delete|drop|undistribute)\b.*|etl dataset alter .*/g;

function said(): Said[] {
  const root = new URL("../../", import.meta.url);
  const files = (folder: string): string[] =>
    [...Deno.readDirSync(new URL(folder, root))].flatMap(({ name, isDirectory }) =>
      isDirectory ? files(`${folder}${name}/`) : folder === "sql/" ? [] : [folder + name]
    );
  return files("sql/").filter((file) => file.endsWith(".sql") && !IN_TERMINAL.test(file)).sort()
    .flatMap((file) => saidBy(file, Deno.readTextFileSync(new URL(file, root))));
}

/** Why a text is not Spanish on a Spanish page; null where it is. */
function notSpanish(text: string): string | null {
  const spanish = messageOf(text)?.spanish;
  if (spanish === undefined) return "not in the catalogue";
  const rest = spanish.replaceAll(STATEMENTS, "");
  return ENGLISH.test(rest) ? `in part only: ${spanish}` : null;
}

const hasWords = (text: string) => /[a-z]{2}/i.test(text.replaceAll(SAMPLE, ""));

Deno.test("what SQL raises, stores and tells is in the catalogue, to its last word", () => {
  const all = said();
  const told = all.filter(({ kind }) => !["other", "raised"].includes(kind));
  assert.ok(told.length > 200, `${told.length} texts found`);
  const unread = told.filter(({ sql, texts }) => !texts.some(hasWords) && !PASSED_ON.includes(sql));
  assert.deepEqual(
    unread.map(({ at, sql }) => `${at}: ${sql}`),
    [],
    "cannot be read: say it plainly",
  );
  const english = told.flatMap(({ at, kind, texts }) =>
    texts.filter((text) =>
      hasWords(text) && !(kind === "expected" && (!text.includes(" ") || NO_TEXT.test(text)))
    )
      .map((text) => [text, notSpanish(text)] as const).filter(([, why]) => why !== null)
      .map(([text, why]) => `${at}: ${text} (${why})`)
  );
  assert.deepEqual(english, []);
});

Deno.test("no other text of SQL is told without the catalogue", () => {
  const others = said().filter(({ at, kind, sql }) =>
    (kind === "other" || kind === "raised") && !/\/tables\.sql:/.test(at) && !NO_TEXT.test(sql)
  );
  const english = others.filter(({ sql, texts }) =>
    !OTHERS.includes(sql) &&
    texts.some((text) =>
      /[a-z]{2} [a-z]/i.test(text) && !NO_TEXT.test(text) && notSpanish(text) !== null
    )
  );
  assert.deepEqual(english.map(({ at, sql }) => `${at}: ${sql}`), []);
});
