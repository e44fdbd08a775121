import type { ErrorCode, FieldError, ProblemDetails } from "./problem.ts";
import { inSpanish, messageOf } from "./messages.ts";
import type { ProblemType } from "./problem_types.ts";

/** Every kind of problem in Spanish; the compiler refuses one that is missing. */
export const PROBLEMS_ES: Record<
  ProblemType,
  { title: string; meaning: string; remedies: string[] }
> = {
  "invalid-conf": {
    title: "La configuración no es válida",
    meaning:
      "Un parámetro de la ejecución tiene un valor que no puede tener. `errors` nombra cada uno, qué se dio y qué sería correcto.",
    remedies: [
      "Corrija los campos que nombra `errors`.",
      "Consulte límites y valores por defecto con `etl help params` o en docs/configuration.md.",
      "Un valor puede venir de una configuración guardada, una variable o el entorno: el mensaje lo dice.",
    ],
  },
  "unknown-parameter": {
    title: "Parámetro desconocido",
    meaning: "La configuración tiene un nombre que ningún parámetro tiene.",
    remedies: ["Use el nombre que sugiere `errors`, o mire todos con `etl help params`."],
  },
  "bad-request": {
    title: "Petición incorrecta",
    meaning:
      "La petición misma no se puede leer: no es JSON, o un parámetro o una cabecera están mal.",
    remedies: ["Compare la petición con /api/docs."],
  },
  unauthorized: {
    title: "Sin autorización",
    meaning: "La petición necesita un token de la API y no tiene ninguno válido.",
    remedies: [
      "Envíe un token válido en la cabecera `Authorization: Bearer etl_…`; las personas inician sesión en /etl/sign-in.",
      "La línea de órdenes envía lo que tiene ETL_TOKEN, o el archivo que nombra --token-file.",
      "Un administrador crea tokens con `deno task etl token create NOMBRE --role ROL`. Véase docs/security.md.",
    ],
  },
  forbidden: {
    title: "No permitido",
    meaning:
      "La petición no está permitida: su Host no es de este servidor, viene de una página de otro origen, o su token no puede hacer esto.",
    remedies: [
      "Añada el nombre a ETL_ALLOWED_HOSTS si es de este servidor.",
      "Use un token con el rol que nombra el mensaje.",
    ],
  },
  "not-found": {
    title: "No encontrado",
    meaning: "No hay nada con esta dirección o este nombre.",
    remedies: ["Liste lo que hay, por ejemplo con GET /api/etl/runs, y compruebe el id."],
  },
  "method-not-allowed": {
    title: "Método no permitido",
    meaning: "Lo que hay en esta dirección se puede pedir, pero no con este método HTTP.",
    remedies: ["Use uno de los métodos que lista la cabecera Allow de la respuesta."],
  },
  conflict: {
    title: "Conflicto",
    meaning:
      "Lo pedido no encaja con el estado actual, por ejemplo reintentar una ejecución que sigue en curso.",
    remedies: ["Mire la ejecución o el recurso como está ahora y decida de nuevo."],
  },
  "idempotency-conflict": {
    title: "Conflicto de idempotencia",
    meaning: "La Idempotency-Key se usó antes con otra configuración.",
    remedies: [
      "Use otra clave para otra ejecución; repita la misma configuración para obtener la misma ejecución.",
    ],
  },
  "payload-too-large": {
    title: "Cuerpo demasiado grande",
    meaning: "El cuerpo de la petición es mayor de lo que acepta este servidor.",
    remedies: [
      "Ponga los datos donde una fuente file o http los pueda leer.",
      "Aumente ETL_MAX_BODY_BYTES si los cuerpos con datos pueden ser mayores.",
    ],
  },
  "unsupported-media-type": {
    title: "Tipo de contenido no aceptado",
    meaning: "El Content-Type no es de los que acepta esta dirección.",
    remedies: [
      "Envíe application/json o, para una ejecución, uno de los tipos de datos que lista el mensaje.",
    ],
  },
  "too-many-requests": {
    title: "Demasiadas peticiones",
    meaning: "Hay demasiadas peticiones de este tipo en este momento.",
    remedies: ["Espere lo que dice Retry-After e inténtelo de nuevo."],
  },
  unavailable: {
    title: "No disponible",
    meaning: "El servidor o su base de datos no pueden atender esto ahora mismo.",
    remedies: [
      "Inténtelo de nuevo en unos segundos.",
      "Si sigue así, mire /api/etl/health y el registro del servidor.",
    ],
  },
  internal: {
    title: "Error interno",
    meaning: "Ocurrió algo inesperado. Es un defecto del programa.",
    remedies: ["Mire el registro del servidor, que tiene los detalles, e informe de ellos."],
  },
  "source-unreadable": {
    title: "No se puede leer la fuente",
    meaning:
      "No se pudo leer la fuente: falta un archivo o está dañado, o una dirección no responde.",
    remedies: [
      "Compruebe los campos de `source` que nombra `errors`.",
      "Pruébela con `etl preview`, que no escribe nada.",
    ],
  },
  "source-changed": {
    title: "La fuente ha cambiado",
    meaning:
      "La entrada no es la que era cuando la ejecución la leyó por primera vez (tamaño, hora, ETag, columnas o número de chunks), así que el resto no encajaría con lo cargado.",
    remedies: [
      "Pida una ejecución nueva: lee la entrada como está ahora. Las filas ya cargadas se conservan.",
    ],
  },
  "source-refused": {
    title: "Fuente rechazada",
    meaning:
      "La fuente es de las que este servidor no lee: fuera de ETL_DATA_DIR, o en una dirección privada.",
    remedies: [
      "Ponga el archivo bajo ETL_DATA_DIR; los enlaces simbólicos también deben terminar ahí.",
      "Nombre el host en ETL_HTTP_PRIVATE_HOSTS si se puede leer aunque su dirección sea privada.",
    ],
  },
  "too-many-deletions": {
    title: "Se borrarían demasiadas filas",
    meaning:
      "Un mirror encontró que su fuente ya no tiene una parte de sus filas mayor de la que max_delete_ratio permite borrar. No se cambió nada.",
    remedies: [
      "Mire si la fuente está completa: un archivo cortado, un filtro nuevo, una tabla vacía.",
      "Si las filas deben irse, ejecute de nuevo con `max_delete_ratio: 1` (`etl load … --yes`).",
      "`dry_run: true` dice lo que se borraría, y no borra nada.",
    ],
  },
  "deletion-refused": {
    title: "La tabla conserva filas que deben borrarse",
    meaning:
      "Un mirror o replace habría borrado filas a las que otra tabla hace referencia, o que un trigger conserva. No se cambió nada.",
    remedies: [
      "Borre primero lo que hace referencia a esas filas; el mensaje nombra la restricción.",
      "O haga que la restricción diga qué pasa con ello: `on delete cascade` u `on delete set null`.",
      "O use mirror con `on_missing: mark`, que no borra nada.",
    ],
  },
  "too-many-rejected": {
    title: "Demasiados registros rechazados",
    meaning:
      "Se rechazaron más de 100.000 registros, o los 1.000 primeros: el mapeo de la fuente no encaja con sus registros.",
    remedies: [
      "Mire reglas y registros: `etl quarantine ID`, o GET /api/etl/runs/{id}/quarantine.",
      "Corrija key, event_type, occurred_at o version, con `etl preview` hasta que encaje.",
    ],
  },
  "foreign-rows": {
    title: "Las filas son de otra fuente",
    meaning:
      "La ejecución habría sobrescrito filas que pertenecen a otra fuente. No se publicó nada.",
    remedies: [
      "Dé a las fuentes claves distintas, o tablas propias (table_name).",
      "Si es la misma fuente con otro nombre, conserve el antiguo en `source.name`.",
    ],
  },
  "destination-mismatch": {
    title: "El destino no encaja",
    meaning: "La tabla existe y tiene otra forma de la que necesita una ejecución.",
    remedies: [
      "Elija otra table_name, o un esquema propio.",
      "Ejecute sql/etl_migration.sql si es de una instalación anterior.",
    ],
  },
  "schema-changed": {
    title: "Los registros tienen otros campos que la tabla",
    meaning:
      "Hay registros con campos para los que la tabla tipada no tiene columna. No se publicó nada.",
    remedies: [
      "Añada las columnas: `etl dataset alter DATASET --add CAMPO:TIPO`, y pida la ejecución de nuevo.",
      "O quite el campo en una transformación, o ponga schema_policy en quarantine.",
    ],
  },
  "missing-grant": {
    title: "Falta un permiso",
    meaning:
      "Al rol de base de datos del servidor le falta un permiso. El mensaje nombra el GRANT.",
    remedies: [
      "Pida al dueño de la base de datos que ejecute el GRANT.",
      "O ejecute `deno task setup-db --schema ESQUEMA --role ROL` como dueño.",
    ],
  },
  "validation-failed": {
    title: "La validación ha fallado",
    meaning:
      "El lote incumplió expectativas de su suite, y enforce_ge estaba activo. No se publicó nada.",
    remedies: [
      "Mire los resultados en GET /api/etl/runs/{id}/validation.",
      "Corrija los datos o la suite y reintente la ejecución.",
    ],
  },
  "low-ratio": {
    title: "No se alcanzó el ratio de aceptación",
    meaning:
      "Llegaron menos filas de las que pide min_acceptance_ratio. Lo que se cargó se conserva.",
    remedies: [
      "Mire qué se rechazó y por qué: `etl quarantine ID`, o GET /api/etl/runs/{id}/quarantine.",
      "Baje min_acceptance_ratio si esa parte de registros rechazados es aceptable.",
    ],
  },
  "out-of-memory": {
    title: "La ejecución necesita demasiada memoria",
    meaning:
      "Un worker ocupó más memoria que ETL_WORKER_MEMORY_MB al preparar un chunk. La ejecución se terminó antes de " +
      "que muriera su servidor, que habría terminado también otras.",
    remedies: [
      "Cargue menos de una vez: un chunk_size menor, row groups menores, registros más cortos.",
      "La causa puede ser un módulo de transformación o una suite que junta valores de muchos registros.",
      "Dé más memoria al servidor y suba ETL_WORKER_MEMORY_MB; después reintente la ejecución.",
    ],
  },
  "timed-out": {
    title: "La ejecución tardó demasiado",
    meaning:
      "La ejecución, o una de sus etapas, tardó más de lo que permite timeout_seconds. Lo publicado se conserva.",
    remedies: [
      "Reinténtela (`etl retry ID`): sigue desde su último chunk, con el tiempo desde cero.",
      "Mire en la página de la ejecución qué etapa tardó; suba o quite timeout_seconds si lo necesita.",
    ],
  },
  "transform-failed": {
    title: "La transformación ha fallado",
    meaning:
      "El módulo de transformación falta, no se puede cargar, no exporta ninguna función, o se detuvo: no terminó a tiempo, necesitó demasiada memoria o se rompió.",
    remedies: [
      "Mire pipeline/transforms/example.ts: es un módulo que funciona.",
      "Pruébelo con `etl preview --set transform=NOMBRE`; lo que escribe con console.log está en el registro de la ejecución.",
      "Un módulo que necesita más tiempo para un lote de unos 1.000 registros puede tenerlo: transform_timeout_ms.",
    ],
  },
  "database-unavailable": {
    title: "Base de datos no disponible",
    meaning: "No se pudo llegar a la base de datos. La ejecución sigue por sí sola cuando vuelva.",
    remedies: ["Compruebe que PostgreSQL está en marcha y que KPIS_PG_DSN es correcto."],
  },
  "database-error": {
    title: "Error de la base de datos",
    meaning: "La base de datos rechazó una sentencia. El mensaje tiene su motivo y su SQLSTATE.",
    remedies: ["Elimine el motivo y reintente la ejecución: sigue donde se detuvo."],
  },
  "disk-full": {
    title: "Disco lleno",
    meaning: "Un disco está lleno: el de ETL_SPOOL_DIR o el de la base de datos.",
    remedies: [
      "Libere espacio o apunte ETL_SPOOL_DIR a un disco mayor; la ejecución sigue por sí sola.",
    ],
  },
  "server-lost": {
    title: "El servidor se detuvo",
    meaning:
      "El servidor que hacía la ejecución terminó sin avisar: lo mataron, se quedó sin memoria, o su máquina ya no está. Otro intento sigue con lo cargado. No cuenta un intento con el que murieron otras ejecuciones.",
    remedies: [
      "Mire la salida del servidor: `Fatal JavaScript out of memory`, o el código de salida 137 de su contenedor, es la memoria.",
      "Cargue menos a la vez: row groups menores, un batch_size menor, menos ETL_WORKERS; o dé más memoria al servidor.",
      "Una ejecución con la que murieron dos servidores sin que avanzara se ejecuta sola hasta que avance.",
    ],
  },
  "attempts-exhausted": {
    title: "Intentos agotados",
    meaning: "La ejecución se inició ETL_RUN_MAX_ATTEMPTS veces y nunca terminó.",
    remedies: [
      "Mire el último problema en el mensaje y el registro del servidor.",
      "Reintente la ejecución cuando la causa haya desaparecido.",
    ],
  },
  cancelled: {
    title: "Cancelada",
    meaning: "La ejecución se canceló. Los chunks que se publicaron antes se quedan en la tabla.",
    remedies: ["`etl retry ID` sigue donde se detuvo."],
  },
  superseded: {
    title: "Sustituida",
    meaning: "Una ejecución más nueva ocupó el lugar de esta.",
    remedies: ["Mire la ejecución más nueva."],
  },
};

/** What is wrong with a field, by code. */
const FIELD_ERRORS: Record<ErrorCode, string> = {
  "unknown-name": "no es un nombre conocido",
  missing: "falta",
  "wrong-type": "es de otro tipo",
  "unknown-type": "es de un tipo desconocido",
  "too-small": "es demasiado pequeño",
  "too-large": "es demasiado grande",
  "too-short": "es demasiado corto",
  "too-long": "es demasiado largo",
  "not-accepted": "no es un valor aceptado",
  "wrong-form": "tiene una forma incorrecta",
  invalid: "no es válido",
  "not-storable": "no se puede guardar",
  "not-found": "no se encuentra",
  conflict: "no encaja con otro valor",
  secret: "contiene un secreto",
};
/** Codes whose English words say more than the code. */
const SAY_MORE: ErrorCode[] = ["invalid", "not-found", "conflict", "secret"];

function spanishError(error: FieldError): FieldError {
  const { code, message, expected } = error;
  const near = /did you mean (.+)\?/.exec(message)?.[1];
  const known = inSpanish(message);
  // without a code: what only its English words say stays in brackets
  const said = known !== message ? known : FIELD_ERRORS[code ?? "invalid"] +
    (near === undefined ? "" : `; ¿quería decir ${near}?`) +
    (code === undefined || SAY_MORE.includes(code) ? ` (${message})` : "");
  return { ...error, message: said, ...(expected && { expected: inSpanish(expected) }) };
}

/** A problem in Spanish: what its kind and codes say; what only its English words say stays in brackets. */
export function spanishProblem(details: ProblemDetails): ProblemDetails {
  const type = details.type.replace("/api/problems/", "");
  if (!Object.hasOwn(PROBLEMS_ES, type)) return details;
  const { title, meaning } = PROBLEMS_ES[type as ProblemType];
  const errors = details.errors?.map(spanishError);
  const known = messageOf(details.detail)?.spanish;
  // what quotes its errors in English is said with their Spanish
  const quoted = details.errors?.some(({ message }) => known?.includes(message)) ?? false;
  const detail = known !== undefined && known !== details.detail && !quoted
    ? known
    : errors !== undefined && errors.length > 0
    ? `${meaning} ${
      errors.slice(0, 20).map(({ field, message }) => `${field}: ${message}`).join("; ")
    }`
    : `${meaning} (${details.detail})`;
  return { ...details, title, detail, ...(errors === undefined ? {} : { errors }) };
}
