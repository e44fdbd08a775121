import assert from "node:assert/strict";
import { ERROR_MESSAGES } from "../../vocabulary/error_messages.ts";
import { PROBLEM_MESSAGES } from "../../vocabulary/problem_messages.ts";
import { SOURCE_MESSAGES } from "../../vocabulary/source_messages.ts";
import { inSpanish, messageOf, MESSAGES, say } from "../../vocabulary/messages.ts";

const FOLDERS = [
  "sql/reactions",
  "sql/runs",
  "sql/schedules",
  "sql/conf",
  "sql/datasets",
  "sql/maintenance",
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
    .replaceAll("\\'", "'").replaceAll("\\\\", "\\");
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
  const what = say("csv-after-quote", {});
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
  const catalogues: Record<string, unknown>[] = [SOURCE_MESSAGES, ERROR_MESSAGES, PROBLEM_MESSAGES];
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
  for (const [, words] of text.matchAll(/'(?:message|expected)', '((?:[^']|'')+)'(?=\)|,|\n)/g)) {
    said.add(words!.replaceAll("''", "'"));
  }
  assert.ok(said.size > 100, `${said.size} texts found`);
  const english = [...said].filter((words) =>
    words.includes(" ") && !NO_WORDS.test(words) && messageOf(words) === null
  );
  assert.deepEqual(english, []);
});
