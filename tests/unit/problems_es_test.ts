import assert from "node:assert/strict";
import { errorsText, type FieldError, Problem, TerminalProblem } from "../../vocabulary/problem.ts";
import { PROBLEM_TYPES, type ProblemType } from "../../vocabulary/problem_types.ts";
import { PROBLEMS_ES, spanishProblem } from "../../vocabulary/problems_es.ts";
import { parseConf } from "../../pipeline/conf_errors.ts";
import { readSuite } from "../../pipeline/expectations/expectations.ts";
import { es } from "../../islands/i18n/es.ts";
import { inSpanish, MESSAGES, say } from "../../vocabulary/messages.ts";
import { checkedConfig } from "../../pipeline/user_code/hosted_source.ts";
import { misconfigured } from "../../pipeline/user_code/source_client.ts";
import rest from "../../pipeline/sources/modules/rest.ts";
import sqlite from "../../pipeline/sources/modules/sqlite.ts";

Deno.test("every kind of problem has as many remedies in Spanish, with the same commands and names", () => {
  const names = (text: string) =>
    (text.match(/ETL_[A-Z_]+|KPIS_PG_DSN|\/api\/[a-z/{}]+|min_acceptance_ratio/g) ?? []).sort();
  for (const [type, english] of Object.entries(PROBLEM_TYPES)) {
    const spanish = PROBLEMS_ES[type as ProblemType];
    assert.equal(spanish.remedies.length, english.remedies.length, type);
    const texts = (
      { meaning, remedies }: { meaning: string; remedies: string[] },
    ) => [meaning, ...remedies];
    assert.deepEqual(texts(spanish).map(names), texts(english).map(names), type);
    assert.notEqual(spanish.meaning, english.meaning);
  }
});

Deno.test("a problem in Spanish keeps its codes, fields and what only its words say", () => {
  const errors: FieldError[] = [
    {
      field: "bach_size",
      code: "unknown-name",
      message: "is not a known name; did you mean batch_size?",
    },
    { field: "pool", code: "not-found", message: "is away today", expected: "one of: a" },
  ];
  const detail = say("conf-errors", { errors: errorsText(errors) });
  const problem = new Problem("invalid-conf", { detail, errors }).toJSON();
  const spanish = spanishProblem(problem);
  assert.equal(spanish.title, "La configuración no es válida");
  assert.equal(spanish.type, problem.type);
  assert.deepEqual(spanish.errors!.map(({ field, code, message }) => [field, code, message]), [
    ["bach_size", "unknown-name", "no es un nombre conocido; ¿quería decir batch_size?"],
    ["pool", "not-found", "no se encuentra (is away today)"],
  ]);
  assert.match(spanish.detail, /bach_size: no es un nombre conocido/);
  const other = spanishProblem(
    new TerminalProblem("not-found", { detail: "There is no run 7." }).toJSON(),
  );
  assert.equal(other.title, "No encontrado");
  assert.match(other.detail, /\(There is no run 7\.\)$/);
  const known = new Problem("not-found", { detail: say("no-run", { id: "7" }) }).toJSON();
  assert.equal(
    spanishProblem(known).detail,
    "No hay ninguna ejecución 7. GET /api/etl/runs las lista.",
  );
});

Deno.test("what is wrong with a suite or a conf is Spanish, and so is what would be right", () => {
  const spanish = (check: () => unknown) => {
    try {
      check();
    } catch (error) {
      const { errors } = spanishProblem((error as Problem).toJSON());
      return errors!.map(({ field, message, expected }) => [field, message, expected ?? ""]);
    }
    throw new Error("nothing is wrong");
  };
  const suite = (type: string, kwargs: unknown) => ({
    name: "s",
    expectations: [{ type, kwargs }],
  });
  const between = "expect_column_values_to_be_between";
  const at = "expectations[0]";
  assert.deepEqual(spanish(() => readSuite({ expectations: [] })), [
    ["name", "la suite no tiene nombre", "un texto"],
  ]);
  assert.deepEqual(spanish(() => readSuite(suite(between, { column: "a" }))), [
    [`${at}.kwargs.min_value`, "min_value y max_value no pueden ser ambos null", ""],
  ]);
  assert.deepEqual(spanish(() => readSuite(suite(between, { column: 1, min_value: 1 }))), [
    [`${at}.kwargs.column`, "es de otro tipo", ""],
  ]);
  assert.deepEqual(spanish(() => readSuite(suite(between, { min_value: 1 }))), [
    [`${at}.kwargs.column`, "falta", ""],
  ]);
  assert.deepEqual(spanish(() => readSuite(suite(between, { colum: "a", column: "a", max: 1 }))), [
    [
      `${at}.kwargs.colum`,
      "no es un nombre conocido; ¿quería decir column?",
      "column",
    ],
    [`${at}.kwargs.max`, "no es un nombre conocido", ""],
  ]);
  assert.match(
    spanish(() => readSuite(suite("expect_colum_values_to_be_between", {})))[0]![1]!,
    /^es de un tipo desconocido; ¿quería decir expect_column_values_to_be_between\?$/,
  );
  assert.deepEqual(spanish(() => parseConf({ batch_size: -1, run_label: "\u200b", pool: 5 })), [
    ["batch_size", "es demasiado pequeño", "al menos 0"],
    [
      "run_label",
      "tiene una forma incorrecta",
      "texto sin caracteres de control ni otros que no se ven",
    ],
    ["pool", "debe ser texto", "texto"],
  ]);
  const uncoded = new TerminalProblem("invalid-conf", {
    detail: "x",
    errors: [{ field: "source.cursor", message: "is elsewhere" }],
  });
  assert.deepEqual(
    spanish(() => {
      throw uncoded;
    }),
    [["source.cursor", "no es válido (is elsewhere)", ""]],
  );
});

Deno.test("why a source cannot be read is Spanish, in the problem of the run and in that of its fields", () => {
  const detail =
    'No file matches "a*.csv" in the data directory (ETL_DATA_DIR). It holds no files.';
  const spanish = spanishProblem(
    new TerminalProblem("source-unreadable", {
      detail,
      errors: [{ field: "source.path", message: "matches no file", value: "a*.csv" }],
    }).toJSON(),
  );
  assert.equal(
    spanish.detail,
    'Ningún archivo corresponde a "a*.csv" en el directorio de datos (ETL_DATA_DIR), que no contiene archivos.',
  );
  assert.equal(spanish.errors![0]!.message, "no corresponde a ningún archivo");
});

Deno.test("what a source module finds wrong with its config is Spanish, in its problem and in that of each field", async () => {
  const refused = (module: typeof rest | typeof sqlite, config: unknown) =>
    spanishProblem(
      misconfigured("m", checkedConfig(module.config as never, config).issues!).toJSON(),
    );
  const wrong = refused(rest, {
    paging: { by: "offset", size: 0 },
    each: { a: ["1"], b: ["2"] },
    method: "PUT",
    max_pages: "1",
    pagging: 1,
  });
  assert.deepEqual(wrong.errors!.map(({ field, message }) => [field, message]), [
    ["source.config.url", "source.config debe tener la propiedad obligatoria 'url'"],
    ["source.config.method", "method debe ser uno de estos: GET, POST"],
    ["source.config.paging.size", "size debe ser >= 1"],
    ["source.config.each", "admite un solo nombre"],
    ["source.config.max_pages", "max_pages debe ser de tipo number"],
    [
      "source.config",
      "source.config NO debe tener la propiedad 'pagging', que el esquema no conoce",
    ],
  ]);
  const { errors, detail } = refused(rest, { url: "x", paging: { by: "pages" } });
  assert.match(errors![0]!.message, /^by debe ser uno de estos: none, link, cursor, page, offset$/);
  assert.equal(
    detail,
    "El módulo de fuente m no puede usar su config: source.config.paging.by: by debe ser uno de estos: none, link, cursor, page, offset",
  );
  const both = refused(sqlite, { path: "a.db", table: "a", query: "b" });
  assert.equal(both.errors![0]!.message, "admite o bien table o bien query");
  // said when it is read
  const context = { config: rest.config!.parse({ url: "x/{name}" }), since: null };
  await assert.rejects(
    () => Array.fromAsync(rest.read(null, context as never)),
    ({ message }: Error) =>
      inSpanish(message) === "url tiene {name}, que no es ni {since} ni un nombre de each",
  );
});

/** Imperatives to a friend (tú); the dashboard says usted. */
const DO_IT_FRIEND = new RegExp(
  "(?:^|[.;:,(¿]\\s+|\\b(?:y|o|u|e|después|pero)\\s+)(?:" +
    "abre|acepta|actívala|añade|apunta|aumenta|baja|borra|busca|cambia|cancela|carga|cierra|compara|comprueba|conserva|" +
    "consulta|copia|corrige|crea|da|decide|declara|deja|ejecuta|elige|elimina|entrega|envía|escribe|espera|guarda|indica|" +
    "informa|inicia|intenta|inténtalo|lee|libera|lista|mira|muestra|nombra|pega|pide|pon|prueba|pruébal[oa]|pulsa|quita|" +
    "reduce|reinicia|reinícialo|reintenta|reinténtala|repite|revisa|sincroniza|sube|termina|termínala|toma|usa|verifica|" +
    "vuelve)(?![\\wáéíóúñ])",
  "i",
);
const WORDS_OF_A_FRIEND =
  /(?<![\wáéíóúñ])(?:tu|tus|tuy[oa]s?|contigo|tú|puedes|quieres|querías|debes|tienes|necesitas|dejaste|haz|hazlo)(?![\wáéíóúñ])/i;
/** What looks like an imperative and says what somebody else does. */
const OF_OTHERS =
  /Carga otra vez estos|ejecuta las programaciones|ejecuta otra compilación|No escribe nada|Termina con una|da lugar a|: lee la entrada/;

Deno.test("Spanish speaks to its reader as usted, whoever says it: page, problem or alert", async () => {
  const readme = await Deno.readTextFile(new URL("../../README.es.md", import.meta.url));
  const texts = [
    ...Object.values(es),
    ...Object.values(MESSAGES).map(([, spanish]) => spanish),
    ...Object.values(PROBLEMS_ES).flatMap(({ meaning, remedies }) => [meaning, ...remedies]),
  ];
  const familiar = texts.filter((text) =>
    WORDS_OF_A_FRIEND.test(text) || DO_IT_FRIEND.test(text) && !OF_OTHERS.test(text)
  );
  assert.deepEqual(familiar, []);
  assert.doesNotMatch(readme, WORDS_OF_A_FRIEND);
  // what it must find
  for (const text of ["Mira el registro.", "Corrija uno, o quita el otro."]) {
    assert.match(text, DO_IT_FRIEND);
  }
});
