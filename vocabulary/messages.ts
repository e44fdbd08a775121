import { ERROR_MESSAGES } from "./error_messages.ts";
import { PROBLEM_MESSAGES } from "./problem_messages.ts";
import { SOURCE_MESSAGES } from "./source_messages.ts";
import { SQL_MESSAGES } from "./sql_messages.ts";

/**
 * What alerts, health, runs and errors say, by code: the English as it is stored and sent, and its Spanish. `{name}` is
 * a place that is filled in; `{name*}` one whose text may be a message of its own; `[row|rows]` depends on the place
 * `{n}`. Texts are found again by their English, so that what was stored long ago is read in either language.
 */
export const MESSAGES = {
  ...ERROR_MESSAGES,
  ...PROBLEM_MESSAGES,
  ...SOURCE_MESSAGES,
  ...SQL_MESSAGES,
  // alerts
  "low-ratio": [
    "{rows} of {expected} expected rows arrived (ratio {ratio}), below min_acceptance_ratio {least}. {kept*} Look at the quarantine and at batch_size, or accept less with min_acceptance_ratio.",
    "Llegaron {rows} de {expected} filas esperadas (ratio {ratio}), menos que min_acceptance_ratio {least}. {kept*} Mire la cuarentena y batch_size, o acepte menos con min_acceptance_ratio.",
  ],
  "rejected-most": [
    "{kept*} Rejected most often, {records} of {rejected}: {rule*}.",
    "{kept*} Lo más rechazado, {records} de {rejected}: {rule*}.",
  ],
  "rule-in-field": ["{rule} in {field}", "{rule} en {field}"],
  "kept": ["What was loaded stays in the table.", "Lo cargado se queda en la tabla."],
  "nothing-changed": ["Nothing was changed.", "No se cambió nada."],
  "chunks-in-table": [
    "{what*} ({published} of {chunks} chunks are in the table)",
    "{what*} ({published} de {chunks} chunks están en la tabla)",
  ],
  "nothing-written": ["Nothing was written (dry run).", "No se escribió nada (simulación)."],
  "low-ratio-accepted": [
    "{rows} of {expected} expected rows arrived (ratio {ratio}), accepted by min_acceptance_ratio {least}. Look at the quarantine of the run.",
    "Llegaron {rows} de {expected} filas esperadas (ratio {ratio}), que min_acceptance_ratio {least} acepta. Mire la cuarentena de la ejecución.",
  ],
  "expectations-failed": [
    "{failed} of {n} expectations failed: {names}. {became*}",
    "Fallaron {failed} de {n} expectativas: {names}. {became*}",
  ],
  "nothing-loaded": ["Nothing was loaded.", "No se cargó nada."],
  "loaded-all-the-same": [
    "The data was loaded nevertheless.",
    "Los datos se cargaron de todos modos.",
  ],
  "records-in-quarantine": [
    "Records in the quarantine: {records}; rows in the table: {rows}.",
    "Registros en la cuarentena: {records}; filas en la tabla: {rows}.",
  ],
  "run-failed": ["The run failed.", "La ejecución falló."],
  "nothing-read": [
    "Nothing was read: the source had no records.",
    "No se leyó nada: el origen no tenía registros.",
  ],
  "none-arrived": [
    "None of the {n} records read has reached the table.",
    "Ninguno de los {n} registros leídos llegó a la tabla.",
  ],
  "trend-drop": [
    "The ratio fell to {ratio}; the mean of the last {n} runs of this label is {mean}.",
    "El ratio bajó a {ratio}; la media de las últimas {n} ejecuciones de esta etiqueta es {mean}.",
  ],
  "volume-drop": [
    "Only {rows} rows arrived; the mean of the last {n} runs of this label is {mean}.",
    "Solo llegaron {rows} filas; la media de las últimas {n} ejecuciones de esta etiqueta es {mean}.",
  ],
  "sla-miss": [
    "{what*} should have ended by {at}, {seconds} s after the request, and {state*}.",
    "{what*} debía terminar antes de {at}, {seconds} s después de la petición, y {state*}.",
  ],
  "the-run": ["The run", "La ejecución"],
  "a-stage": ["Stage {stage}", "La etapa {stage}"],
  "ended-late": ["ended {seconds} s too late", "terminó {seconds} s tarde"],
  "still-waiting": ["is still waiting", "sigue en espera"],
  "still-going-on": ["is still going on", "sigue en marcha"],
  "stale": [
    "{dataset} was last updated at {at}, more than {seconds} s ago.",
    "{dataset} se actualizó por última vez el {at}, hace más de {seconds} s.",
  ],
  "consumer-late": [
    "An event has waited for consumer {consumer} since {at}. GET /api/consumers shows what holds it up.",
    "Un evento espera al consumidor {consumer} desde {at}. GET /api/consumers muestra qué lo retiene.",
  ],
  "consumer-failed": [
    "Consumer {consumer} failed {n} times and gave up on {what*}. The last error: {error*}",
    "El consumidor {consumer} falló {n} veces y renunció a {what*}. El último error: {error*}",
  ],
  "an-event": ["an event", "un evento"],
  "events": ["{n} events", "{n} eventos"],
  "schedule-overdue": [
    "Schedule {schedule} was due at {at} and has made no run. Check the scheduler: GET /api/etl/health shows which one is in use.",
    "La programación {schedule} tocaba el {at} y no ha creado ninguna ejecución. Compruebe que el planificador funciona: GET /api/etl/health dice cuál es.",
  ],
  "slots-not-computed": [
    "Schedule {schedule} has made no run since {at}, as its slots cannot be computed: {error*}",
    "La programación {schedule} no ha creado ninguna ejecución desde {at}, pues sus horas no se pueden calcular: {error*}",
  ],
  "slot-failed": [
    "Schedule {schedule} could not request its run of {at}: {error*}",
    "La programación {schedule} no pudo pedir su ejecución de {at}: {error*}",
  ],
  "maintenance-failed": ["The maintenance failed: {error*}", "El mantenimiento falló: {error*}"],
  "default-pool": ["runs that name no pool", "ejecuciones que no nombran ningún pool"],
  // ends of incidents, which channels are told
  "run-succeeded": ["A run has succeeded.", "Una ejecución terminó bien."],
  "ratio-again": ["The ratio is {ratio} again.", "El ratio vuelve a ser {ratio}."],
  "expectations-hold": ["All expectations hold.", "Se cumplen todas las expectativas."],
  "rows-arrived": ["{n} rows arrived.", "Llegaron {n} filas."],
  // health: problems
  "stopping": ["this server is stopping", "este servidor se está deteniendo"],
  "out-of-reach": [
    "the database cannot be reached{why}: check KPIS_PG_DSN and that PostgreSQL is running",
    "no se llega a la base de datos{why}: compruebe KPIS_PG_DSN y que PostgreSQL está en marcha",
  ],
  "timers-stand-still": [
    "the timers of this server have stood still for {seconds} s: restart it",
    "los temporizadores de este servidor llevan {seconds} s parados: reinícielo",
  ],
  "statements-stuck": [
    "statements of this server get no answer within 5 s, although the database responds: somebody holds a lock (pg_locks, pg_stat_activity), or it is overloaded",
    "las sentencias de este servidor no obtienen respuesta en 5 s, aunque la base de datos sí responde: alguien tiene un bloqueo (pg_locks, pg_stat_activity), o está sobrecargada",
  ],
  "relations-missing": [
    "missing: {names}; run `deno task setup-db`",
    "faltan: {names}; ejecute `deno task setup-db`",
  ],
  "standby": [
    "the database takes no writes: this is a standby. Name the primary in KPIS_PG_DSN, or all hosts with target_session_attrs=read-write",
    "la base de datos no admite escrituras: es una réplica. Nombre la primaria en KPIS_PG_DSN, o todas con target_session_attrs=read-write",
  ],
  "read-only": [
    "the database takes no writes: default_transaction_read_only is on, for it or this role",
    "la base de datos no admite escrituras: default_transaction_read_only está activo, para ella o para este rol",
  ],
  "disk-full": [
    "{what}: make room there; runs wait meanwhile",
    "{what}: libere espacio; las ejecuciones esperan mientras tanto",
  ],
  "schedule-due": [
    "schedule {schedule} was due at {at} and has made no run",
    "la programación {schedule} tocaba el {at} y no ha creado ninguna ejecución",
  ],
  "run-not-started": [
    "a run has had its place in its pool for {seconds} s and no server has started it: is one with ETL_ROLE=all or worker running?",
    "una ejecución tiene su plaza en el pool desde hace {seconds} s y ningún servidor la ha iniciado: ¿hay alguno en marcha con ETL_ROLE=all o worker?",
  ],
  "consumer-behind": [
    "etl_consumer is {seconds} s behind: {n} ended runs wait for it",
    "etl_consumer va {seconds} s retrasado: {n} ejecuciones terminadas lo esperan",
  ],
  // health: warnings
  "last-maintenance-failed": [
    "the last maintenance failed: {error*}",
    "el último mantenimiento falló: {error*}",
  ],
  "last-run-failed": ["the last run failed: {run}", "la última ejecución falló: {run}"],
  "consumer-is-late": [
    "consumer {consumer} is late: the oldest of its {n} pending events waits for {seconds} s",
    "el consumidor {consumer} va retrasado: el más antiguo de sus {n} eventos pendientes espera desde hace {seconds} s",
  ],
  "alerts-open": [
    "{n} [alert is|alerts are] open: GET /api/alerts/recent",
    "{n} [alerta abierta|alertas abiertas]: GET /api/alerts/recent",
  ],
  "channel-vanished": [
    "no server sends alerts to {channel} any more, where messages went within the last 7 days: is its variable missing?",
    "ningún servidor envía ya alertas a {channel}, adonde fueron mensajes en los últimos 7 días: ¿falta su variable?",
  ],
  "channel-failing": [
    "{channel} has accepted no message since {at} ({n} [failure|failures]): {error*}",
    "{channel} no acepta mensajes desde {at} ({n} [fallo|fallos]): {error*}",
  ],
  "exports-failing": [
    "{n} [run|runs] of the last 24 h [was|were] not delivered to {target}: {error*}",
    "{n} [ejecución|ejecuciones] de las últimas 24 h no [está|están] en {target}: {error*}",
  ],
  "clock-skewed": [
    "this server's clock is {seconds} s {way*} the database's, which schedules, deadlines and retentions use: synchronize both with NTP",
    "el reloj de este servidor va {seconds} s {way*} de la base de datos, que rige programaciones, plazos y retenciones: sincronice ambos con NTP",
  ],
  "behind": ["behind", "atrasado respecto al"],
  "ahead": ["ahead of", "adelantado respecto al"],
  "not-encrypted": [
    "the connection to {place} is not encrypted: add sslmode=verify-full to KPIS_PG_DSN, or sslmode=disable where the network between is your own",
    "la conexión con {place} no va cifrada: añada sslmode=verify-full a KPIS_PG_DSN, o sslmode=disable si la red entre ambos es suya",
  ],
  "transaction-open": [
    "{who} keeps a transaction open, which may hold up others: end it, or select pg_terminate_backend({pid})",
    "{who} mantiene abierta una transacción, que puede retener a otros: termínela, o select pg_terminate_backend({pid})",
  ],
  "turn-held": [
    "{who} holds a lock by which the servers take turns, so that runs, schedules or alerts stand still: end it, or select pg_terminate_backend({pid})",
    "{who} retiene un bloqueo con el que los servidores se turnan, y por eso no avanzan ejecuciones, programaciones o alertas: termínela, o select pg_terminate_backend({pid})",
  ],
  "fingerprints-unknown": [
    "fingerprints of {dataset}, which was taken over, are still being computed (block {block} of {blocks}): until then a run writes each row once",
    "aún no se conocen todas las huellas de {dataset}, que fue adoptada (bloque {block} de {blocks}): hasta entonces una ejecución escribe sus filas una vez",
  ],
  "job-not-run": [
    "job {job} has not run for {seconds} s: schedules start no runs",
    "la tarea {job} no se ejecuta desde hace {seconds} s: las programaciones no inician ejecuciones",
  ],
  "job-missing": [
    "job {job} is missing in {scheduler}: start a server or run `deno task setup-db`",
    "falta la tarea {job} en {scheduler}: inicie un servidor o ejecute `deno task setup-db`",
  ],
  "job-off": [
    "job {job} is switched off in pg_cron: unless this is intended, switch it on with cron.alter_job(job_id, active => true)",
    "la tarea {job} está desactivada en pg_cron: actívela con cron.alter_job(job_id, active => true), si nadie la quiere así",
  ],
  "job-changed": [
    "job {job} differs from {file} and variable {variable}: the next server that starts corrects its command; its schedule stays until that variable changes",
    "la tarea {job} no es como dicen {file} y la variable {variable}: otra orden la corrige el próximo servidor que arranque, otro horario se conserva hasta que cambie esa variable",
  ],
  "job-failed": ["job {job} failed at {at}: {error*}", "la tarea {job} falló el {at}: {error*}"],
  "jobs-of-another": [
    "nobody runs the periodic jobs: this database is a copy of another one; start a server or run `deno task setup-db`",
    "nadie ejecuta las tareas periódicas: esta base de datos es una copia, y quién las ejecuta lo anotó la otra; inicie un servidor o ejecute `deno task setup-db`",
  ],
  // rejected records
  "place": ["line {line} of {file}: {what*}", "línea {line} de {file}: {what*}"],
  "key-missing": ["key field {field} is missing or null", "el campo clave {field} falta o es nulo"],
  "time-missing": [
    "time field {field} is missing or null",
    "el campo de hora {field} falta o es nulo",
  ],
  "time-day-first": [
    'time field {field} is no time in format {format}: {value}. Declare it in source.columns as it is written, such as {"type": "date", "format": "%d/%m/%Y"}',
    'el campo {field} no es una hora en formato {format}: {value}. Declárela en source.columns como está escrita, por ejemplo {"type": "date", "format": "%d/%m/%Y"}',
  ],
  "time-invalid": [
    "time field {field} is no time in format {format}: {value}",
    "el campo {field} no es una hora en formato {format}: {value}",
  ],
  "several-outputs": [
    "several outputs of this record have the key {key}",
    "varias salidas de este registro tienen la clave {key}",
  ],
  "transform-threw": ["the transform failed: {error*}", "la transformación falló: {error*}"],
  "as-shown": [
    "{what*}; shown without its private fields",
    "{what*}; se muestra sin sus campos privados",
  ],
  "file-place": ["{file}: {what*}", "{file}: {what*}"],
  "record-place": ["record {n} of {file}: {what*}", "registro {n} de {file}: {what*}"],
  "byte-place": ["byte {n} of {file}: {what*}", "byte {n} de {file}: {what*}"],
  "record-number": ["record {n}: {what*}", "registro {n}: {what*}"],
  "row-of-file": [
    'row {n} of {file}: column "{column}": {what*}',
    'fila {n} de {file}: columna "{column}": {what*}',
  ],
  "row-of": ["a row of {what}: {error*}", "una fila de {what}: {error*}"],
  "module-rejects": ["module {module}: {what}", "el módulo {module}: {what}"],
  "not-an-object": ["a record must be a JSON object", "un registro debe ser un objeto JSON"],
  "not-this-kind": [
    "a record must be a JSON object, this is {kind}",
    "un registro debe ser un objeto JSON; este es {kind}",
  ],
  "number-infinite": ["a number is out of range", "un número está fuera de rango"],
  "number-range": [
    "number {number} is out of range: written out it has more than {limit} digits",
    "el número {number} está fuera de rango: escrito entero tiene más de {limit} cifras",
  ],
  "number-digits": [
    'a number of {n} characters in {field}; the limit is {limit}: declare the column as text in source.columns to load it: {"…": "text"}',
    'un número de {n} caracteres en {field}; el límite es {limit}: declare la columna como texto en source.columns para cargarlo: {"…": "text"}',
  ],
  "json-syntax": ["not valid JSON: {error}", "no es JSON válido: {error}"],
  "not-utf8": [
    "not valid UTF-8; if it is another encoding, name it: source.encoding=windows-1252 (etl load: --set source.encoding=windows-1252)",
    "no es UTF-8 válido; si es otra codificación, nómbrela: source.encoding=windows-1252 (etl load: --set source.encoding=windows-1252)",
  ],
  "record-too-long": [
    "a record of {n} bytes; the limit is {limit}: raise ETL_MAX_RECORD_BYTES, or look for a quote or line end that is missing",
    "un registro de {n} bytes; el límite es {limit}: aumente ETL_MAX_RECORD_BYTES, o busque unas comillas o un fin de línea que falten",
  ],
  "csv-unclosed": ["a quoted field is not closed", "un campo entre comillas no se cierra"],
  "csv-after-quote": [
    "there is text after the closing quote of a field; write a quote inside a field as {written}",
    "hay texto tras la comilla que cierra un campo; escriba una comilla dentro de un campo como {written}",
  ],
  "csv-bare-cr": [
    "a CR outside quotes, which ends no line here; convert the file to LF or CRLF line ends, or quote the field",
    "un CR fuera de comillas, que aquí no termina la línea; convierta el archivo a finales de línea LF o CRLF, o ponga el campo entre comillas",
  ],
  "one-field": ["1 field, the header has {columns}", "1 campo; la cabecera tiene {columns}"],
  "fields-differ": [
    "{n} fields, the header has {columns}",
    "{n} campos; la cabecera tiene {columns}",
  ],
  "header-again": [
    "the header again: were files joined? Remove it, or load the files by a glob",
    "otra vez la cabecera: ¿se unieron archivos? Quítela, o cargue los archivos con un glob",
  ],
  "no-json": [
    'column {column}: {value} is not JSON (jsonb), such as {"a": 1}',
    'columna {column}: {value} no es JSON (jsonb), como {"a": 1}',
  ],
  "json-name-twice": [
    "column {column}: {value} has the name {name} twice in one object, of which jsonb would keep the last value only",
    "columna {column}: {value} tiene dos veces el nombre {name} en un objeto, y jsonb solo guardaría el último valor",
  ],
  "no-boolean": [
    "column {column}: {value} is no boolean: {words} or {others}",
    "columna {column}: {value} no es booleano: {words} o {others}",
  ],
  "no-such-type": [
    "column {column}: {value} is no {type} such as {sample}",
    "columna {column}: {value} no es {type}, como {sample}",
  ],
  "no-such-bits": [
    "column {column}: {value} is no {type} such as {sample}, of 64 bits",
    "columna {column}: {value} no es {type}, como {sample}, de 64 bits",
  ],
  "no-such-form": [
    "column {column}: {value} is no {type} of the form {form}",
    "columna {column}: {value} no es {type} de la forma {form}",
  ],
  "nested-value": [
    "column {column}: an object or a list is not {type}; use jsonb",
    "columna {column}: un objeto o una lista no es {type}; use jsonb",
  ],
  "spaces-cut": [
    "column {column}: the value is longer than {n} characters, and the column would cut the spaces at its end",
    "columna {column}: el valor tiene más de {n} caracteres, y la columna cortaría los espacios del final",
  ],
  "no-uuid": ["column {column}: {value} is no uuid", "columna {column}: {value} no es un uuid"],
  "below-microseconds": [
    "column {column}: {value} has more than 6 decimals of a second, which {type} would cut off",
    "columna {column}: {value} tiene más de 6 decimales de segundo, que {type} cortaría",
  ],
  "does-not-fit": [
    "column {column}: {value} does not fit {type}, which would round it or overflow",
    "columna {column}: {value} no cabe en {type}, que lo redondearía o se desbordaría",
  ],
  "zero-date": [
    "{table}: {column} is {value}, which is not a date",
    "{table}: {column} es {value}, que no es una fecha",
  ],
  "column-not-json": [
    "{table}: {column} is not JSON ({error})",
    "{table}: {column} no es JSON ({error})",
  ],
  "sqlite-text": [
    "{table} of {file}: a text in {columns} is not valid, or has a character U+0000: store it as a blob, or correct it",
    "{table} de {file}: un texto en {columns} no es válido, o tiene un carácter U+0000: guárdelo como blob, o corríjalo",
  ],
  "bad-utf8": ["a text that is not valid UTF-8", "un texto que no es UTF-8 válido"],
  "bad-json": ["a JSON value that is not valid", "un valor JSON que no es válido"],
  "parquet-kind": [
    "a value of an unexpected kind ({kind})",
    "un valor de una clase inesperada ({kind})",
  ],
  "key-empty": ["key field {field} is empty", "el campo clave {field} está vacío"],
  "key-nested": [
    "key field {field} is an object or a list",
    "el campo clave {field} es un objeto o una lista",
  ],
  "key-misfit": [
    "key field {field} does not fit its column",
    "el campo clave {field} no encaja en su columna",
  ],
  "key-code": [
    "key field {field} is {text}, which its column of type {type} would hold as {key}. If both are one key, declare this type in source.columns; if they are codes, load them into a new table, with the column declared as text",
    "el campo clave {field} es {text}, que su columna de tipo {type} guardaría como {key}. Si ambos son una misma clave, declare este tipo en source.columns; si son códigos, cárguelos en una tabla nueva, con la columna declarada como texto",
  ],
  "key-too-long": ["the key has more than {n} bytes", "la clave tiene más de {n} bytes"],
  "type-missing": [
    "event_type field {field} is missing or no text",
    "el campo event_type {field} falta o no es texto",
  ],
  "type-too-long": [
    "event_type has more than {n} characters",
    "event_type tiene más de {n} caracteres",
  ],
  "version-no-time": [
    "version field {field} is no time, which write: history needs",
    "el campo de versión {field} no es una hora, que write: history necesita",
  ],
  "version-invalid": [
    "version field {field} is neither a number nor a time",
    "el campo de versión {field} no es ni un número ni una hora",
  ],
  "version-not-storable": [
    "version is not a number that can be stored",
    "la versión no es un número que se pueda guardar",
  ],
  "payload-too-large": ["has more than {n} bytes", "tiene más de {n} bytes"],
  "mostly-in-field": [
    "{what*}, most of them in field {field}",
    "{what*}, la mayoría en el campo {field}",
  ],
  "in-field": ["field {field} {what*}", "el campo {field} {what*}"],
  "nul-character": [
    "holds a NUL character, which PostgreSQL cannot store",
    "contiene un carácter NUL, que PostgreSQL no puede guardar",
  ],
  "half-surrogate": [
    "holds half of a surrogate pair, which PostgreSQL cannot store",
    "contiene medio par sustituto, que PostgreSQL no puede guardar",
  ],
  "unknown-field": [
    "field {field} has no column in the table",
    "el campo {field} no tiene columna en la tabla",
  ],
  "breaks-rule": ["breaks the rule {rule}", "incumple la regla {rule}"],
  "field-breaks-rule": [
    "field {field}: breaks the rule {rule}",
    "campo {field}: incumple la regla {rule}",
  ],
  "table-refuses": [
    "the table refuses it; in the words of PostgreSQL: {error}",
    "la tabla lo rechaza; en palabras de PostgreSQL: {error}",
  ],
  "too-deep": ["nested deeper than {n} levels", "anidado a más de {n} niveles"],
  "not-json-number": ["{value} is not a JSON number", "{value} no es un número de JSON"],
  "not-json-value": ["a {kind} is not a JSON value", "{kind} no es un valor de JSON"],
  "integer-digits": [
    "an integer has more than {n} digits",
    "un entero tiene más de {n} cifras",
  ],
  "too-many-names": [
    "an object has {n} names; the limit is {limit}",
    "un objeto tiene {n} nombres; el límite es {limit}",
  ],
  "transform-output": [
    "a transform gives objects, a list of objects or null",
    "una transformación devuelve objetos, una lista de objetos o null",
  ],
  // warnings of runs
  "one-record-has": ["1 record has", "1 registro tiene"],
  "records-have": ["{n} records have", "{n} registros tienen"],
  "one-row-has": ["1 row has", "1 fila tiene"],
  "rows-have": ["{n} rows have", "{n} filas tienen"],
  "one-key-has": ["1 key has", "1 clave tiene"],
  "keys-have": ["{n} keys have", "{n} claves tienen"],
  "cursor-nulls": [
    "{who*} no value in the cursor column {column}; later runs will not see changes of theirs",
    "{who*} ningún valor en la columna de cursor {column}; las próximas ejecuciones no verán sus cambios",
  ],
  "future-positions": [
    "{who*} a time in the future in {column*}, such as {example}: it is no position, and every run reads them",
    "{who*} una hora futura en {column*}, como {example}: no es una posición, y cada ejecución los lee",
  ],
  "the-cursor": ["the cursor", "el cursor"],
  "position-stays": [
    "a part that was loaded before a server died was read again, so the position stays where it was; the next run reads from there",
    "se leyó otra vez una parte que se había cargado antes de que muriera un servidor, así que la posición se queda donde estaba; la próxima ejecución lee desde ahí",
  ],
  "name-twice": [
    "{who*} a name twice in one object, of which the last value was kept: {example}",
    "{who*} un nombre dos veces en un objeto; se conservó el último valor: {example}",
  ],
  "key-kinds": [
    'Key field {field} is a {kind*} in {n} records and a text that reads like one in {texts}: {example} and "{same}" are one key. Give them one type, or add a field to the key.',
    'El campo clave {field} es un {kind*} en {n} registros y un texto que se lee igual en {texts}: {example} y "{same}" son una misma clave. Deles un solo tipo, o añada un campo a la clave.',
  ],
  "kind-number": ["number", "número"],
  "kind-boolean": ["boolean", "booleano"],
  "private-missing": [
    "No record has {fields}, which exclude or hash name: a name that is not the records' own protects nothing",
    "Ningún registro tiene {fields}, que exclude o hash nombran: un nombre que los registros no tienen no protege nada",
  ],
  "body-name-twice": [
    'The body has the name "{name}" twice in one object, of which the last value was kept. As NDJSON, each such record is counted.',
    'El cuerpo tiene el nombre "{name}" dos veces en un objeto; se conservó el último valor. Como NDJSON, se cuenta cada uno de esos registros.',
  ],
  "keys-of-files": [
    "{who*} different contents in several files, of which the last file won, as there is no source.version: {key} in {files}",
    "{who*} contenidos distintos en varios archivos; ganó el último, pues no hay source.version: {key} en {files}",
  ],
  "few-texts": [
    'Column {column} is text for {texts} of {n} values, such as "{example}". To have it {type} and those values in the quarantine, drop the table and load again with "columns": {columns} in source.',
    'La columna {column} es texto por {texts} de {n} valores, como "{example}". Para tenerla como {type} y esos valores en la cuarentena, borre la tabla y cargue otra vez con "columns": {columns} en source.',
  ],
  "got-a-column": ["The table got a column: {columns}", "La tabla recibió una columna: {columns}"],
  "got-columns": [
    "The table got {n} columns: {columns}",
    "La tabla recibió {n} columnas: {columns}",
  ],
  "no-column-fails-owner": [
    "The table has no column for {fields}: a run would fail, unless its owner adds one",
    "La tabla no tiene columna para {fields}: una ejecución fallaría, salvo que su dueño añada una",
  ],
  "no-column-adds": [
    "The table has no column for {fields}: a run would add them",
    "La tabla no tiene columna para {fields}: una ejecución las añadiría",
  ],
  "no-column-fails": [
    "The table has no column for {fields}: a run would fail (schema_policy: evolve adds them)",
    "La tabla no tiene columna para {fields}: una ejecución fallaría (schema_policy: evolve las añade)",
  ],
  "one-held-back": [
    "1 row was not updated: a later request of this source has loaded since, and may have confirmed what is stored",
    "1 fila no se actualizó: una petición posterior de este origen cargó mientras tanto, y puede haber confirmado lo guardado",
  ],
  "held-back": [
    "{n} rows were not updated: a later request of this source has loaded since, and may have confirmed what is stored",
    "{n} filas no se actualizaron: una petición posterior de este origen cargó mientras tanto, y puede haber confirmado lo guardado",
  ],
  "nothing-deleted": [
    "The source gave no records, so no row was deleted.",
    "El origen no dio registros, así que no se borró ninguna fila.",
  ],
  "nothing-marked": [
    "The source gave no records, so no row was marked.",
    "El origen no dio registros, así que no se marcó ninguna fila.",
  ],
  "none-deleted": [
    "No row was deleted: {why*}",
    "No se borró ninguna fila: {why*}",
  ],
  "none-marked": [
    "No row was marked: {why*}",
    "No se marcó ninguna fila: {why*}",
  ],
  "one-keyless": [
    "1 rejected record has no key that can be read, so it is not known which row is theirs. Correct them (etl quarantine ID), and run again.",
    "1 registro rechazado no tiene una clave legible, así que no se sabe cuál es su fila. Corríjalo (etl quarantine ID) y ejecute otra vez.",
  ],
  "keyless": [
    "{n} rejected records have no key that can be read, so it is not known which row is theirs. Correct them (etl quarantine ID), and run again.",
    "{n} registros rechazados no tienen una clave legible, así que no se sabe cuál es su fila. Corríjalos (etl quarantine ID) y ejecute otra vez.",
  ],
  "not-repeatable": [
    "the source module {module} cannot read a slice twice: after a failure it reads at least once, and what has a key is stored once",
    "el módulo de origen {module} no puede leer dos veces una parte: tras un fallo lee al menos una vez, y lo que tiene clave se guarda una vez",
  ],
  "open-ended": [
    "{file}: the server tells neither the length of its answer nor where it ends; if its connection broke, records at the end are missing.",
    "{file}: el servidor no dice ni la longitud de su respuesta ni dónde termina; si se cortó la conexión, faltan registros del final.",
  ],
  "not-searched": [
    "{dir}: not searched, it leads out of the data directory.",
    "{dir}: no se recorre, lleva fuera del directorio de datos.",
  ],
  "rows-hidden": [
    "Row-level security of {what} hides rows from role {role}, which are not read. If all are to be read, give the role bypassrls or a policy for every row.",
    "La seguridad por filas de {what} oculta filas al rol {role}, y no se leen. Si deben leerse todas, dé al rol bypassrls o una política para todas las filas.",
  ],
  "rows-without-cursor": [
    "{n} rows have no value in the cursor column {column} and are not read; a run with full_refresh reads them.",
    "{n} filas no tienen valor en la columna de cursor {column} y no se leen; una ejecución con full_refresh las lee.",
  ],
  "sorted-elsewhere": [
    'Rows of {what} are in a foreign table, and its page key {column} is text: if the two servers sort texts differently, rows are missed. Page by columns that are no texts, or by one with collate "C" in a query.',
    'Hay filas de {what} en una tabla foránea, y su clave de paginación {column} es texto: si los dos servidores ordenan los textos de otra manera, se pierden filas. Pagine por columnas que no sean texto, o por una con collate "C" en una consulta.',
  ],
  "fewer-read": [
    "The source had {counted} rows when the run began, and {read} were read: the others were deleted meanwhile, or their page key changed.",
    "La fuente tenía {counted} filas al empezar la ejecución, y se leyeron {read}: las demás se borraron entretanto, o cambió su clave de paginación.",
  ],
  "batch-cut": [
    "batch_size left rows out, so the cursor stays where it is.",
    "batch_size dejó filas fuera, así que el cursor se queda donde está.",
  ],
  "stray-rows": [
    "{who*} a value in {column} that is no position ({value}: infinite, in the future, or no number), and every run reads them: {row}",
    "{who*} en {column} un valor que no es una posición ({value}: infinito, futuro o no es un número), y cada ejecución las lee: {row}",
  ],
  "all-read-once": ["Everything is read once: {why*}.", "Se lee todo una vez: {why*}."],
  "position-future": [
    "the stored position {position} is infinite or in the future",
    "la posición guardada {position} es infinita o futura",
  ],
  "position-type": [
    "the stored position {position} is not of type {type}",
    "la posición guardada {position} no es de tipo {type}",
  ],
  "no-snapshot": [
    "no earlier run has noted which transactions were open (mode exact)",
    "ninguna ejecución anterior anotó qué transacciones estaban abiertas (modo exact)",
  ],
  "xids-start-again": [
    "the transaction ids of the database start again, as after a restore",
    "los números de transacción de la base de datos empiezan de nuevo, como tras una restauración",
  ],
  "file-empty": ["{file}: the file is empty.", "{file}: el archivo está vacío."],
  "read-as-ndjson": [
    "{file}: read as NDJSON, one object a line.",
    "{file}: se lee como NDJSON, un objeto por línea.",
  ],
  "read-as-charset": [
    "{file}: read as {charset}, from its Content-Type; source.encoding overrides it.",
    "{file}: se lee como {charset}, por su Content-Type; source.encoding lo cambia.",
  ],
  "tsv-quotes": [
    '{file}: fields are in quotes, which TSV does not have, so the quotes are kept. To remove them, set source.quote to "\\"".',
    '{file}: hay campos entre comillas, que TSV no tiene, así que las comillas se conservan. Para quitarlas, ponga source.quote a "\\"".',
  ],
  "header-alone": [
    "{file}: a header ({names}…) and no records. If that is wrong, look at source.format and source.header.",
    "{file}: una cabecera ({names}…) y ningún registro. Si eso no es así, mire source.format y source.header.",
  ],
  "read-as-one": [
    "{file}: read as one record, since the document is one object. If the records are in an array of it, set source.records_path: {paths}.",
    "{file}: se lee como un solo registro, pues el documento es un objeto. Si los registros están en una lista suya, ponga source.records_path: {paths}.",
  ],
  "no-such-column": [
    "source.columns declares {column}, which is the name of no column.",
    "source.columns declara {column}, que no es el nombre de ninguna columna.",
  ],
  "preview-too-short": [
    "{file}: no record ends in the first {n} bytes, which are all that a preview reads of this file. A run reads it whole.",
    "{file}: ningún registro termina en los primeros {n} bytes, que son todo lo que una vista previa lee de este archivo. Una ejecución lo lee entero.",
  ],
  "version-dropped": [
    'The records have no version, and the run of this label before had "version": {version}. Without it the record that is read last wins, also over newer rows. Put source.version back, unless that is meant.',
    'Los registros no tienen versión, y la ejecución anterior de esta etiqueta tenía "version": {version}. Sin ella gana el registro que se lee el último, también sobre filas más nuevas. Ponga source.version otra vez, salvo que se quiera así.',
  ],
  // what a schema says of a payload
  "the-payload": ["the payload", "el payload"],
  "schema-type": ["{at*} must be of type {type}", "{at*} debe ser de tipo {type}"],
  "schema-required": [
    "{at*} must have required property '{name}'",
    "{at*} debe tener la propiedad obligatoria '{name}'",
  ],
  "schema-enum": ["{at*} must be one of: {values}", "{at*} debe ser uno de estos: {values}"],
  "schema-const": ["{at*} must be exactly {value}", "{at*} debe ser exactamente {value}"],
  "schema-at-least": ["{at*} must be >= {n}", "{at*} debe ser >= {n}"],
  "schema-at-most": ["{at*} must be <= {n}", "{at*} debe ser <= {n}"],
  "schema-more-than": ["{at*} must be > {n}", "{at*} debe ser > {n}"],
  "schema-less-than": ["{at*} must be < {n}", "{at*} debe ser < {n}"],
  "schema-multiple": ["{at*} must be a multiple of {n}", "{at*} debe ser múltiplo de {n}"],
  "schema-fewer-characters": [
    "{at*} must NOT have fewer than {n} [character|characters]",
    "{at*} NO debe tener menos de {n} [carácter|caracteres]",
  ],
  "schema-more-characters": [
    "{at*} must NOT have more than {n} [character|characters]",
    "{at*} NO debe tener más de {n} [carácter|caracteres]",
  ],
  "schema-fewer-items": [
    "{at*} must NOT have fewer than {n} [item|items]",
    "{at*} NO debe tener menos de {n} [elemento|elementos]",
  ],
  "schema-more-items": [
    "{at*} must NOT have more than {n} [item|items]",
    "{at*} NO debe tener más de {n} [elemento|elementos]",
  ],
  "schema-fewer-properties": [
    "{at*} must NOT have fewer than {n} [property|properties]",
    "{at*} NO debe tener menos de {n} [propiedad|propiedades]",
  ],
  "schema-more-properties": [
    "{at*} must NOT have more than {n} [property|properties]",
    "{at*} NO debe tener más de {n} [propiedad|propiedades]",
  ],
  "schema-unique": [
    "{at*} must NOT have duplicate items (items {i} and {j} are identical)",
    "{at*} NO debe tener elementos repetidos (los elementos {i} y {j} son idénticos)",
  ],
  "schema-pattern": [
    '{at*} must match pattern "{pattern}"',
    '{at*} debe seguir el patrón "{pattern}"',
  ],
  "schema-format": [
    '{at*} must match format "{format}"',
    '{at*} debe tener el formato "{format}"',
  ],
  "schema-no-more": [
    "{at*} must NOT have the property '{name}', which the schema does not know",
    "{at*} NO debe tener la propiedad '{name}', que el esquema no conoce",
  ],
  "schema-other": [
    "{at*} does not satisfy the schema: {keyword}, in the words of its checker: {words}",
    "{at*} no cumple el esquema: {keyword}, en palabras de su comprobador: {words}",
  ],
  // what is wrong with a suite
  "suite-no-name": ["the suite has no name", "la suite no tiene nombre"],
  "expectation-no-type": ["the expectation has no type", "la expectativa no tiene tipo"],
  "bounds-null": [
    "min_value and max_value cannot both be null",
    "min_value y max_value no pueden ser ambos null",
  ],
  "bounds-types": [
    "min_value and max_value must be of the same type",
    "min_value y max_value deben ser del mismo tipo",
  ],
  "quantiles-differ": [
    "quantiles and value_ranges must have the same number of elements",
    "quantiles y value_ranges deben tener el mismo número de elementos",
  ],
  "suite-too-large": [
    "the patterns and schemas of the suite are too large together (more than {n} characters and states); divide it into several suites",
    "los patrones y esquemas de la suite son demasiado grandes en conjunto (más de {n} caracteres y estados); divídala en varias suites",
  ],
  "no-json-schema": ["is no JSON Schema", "no es un JSON Schema"],
  // what would be right
  "least-characters": ["at least {n} [character|characters]", "al menos {n} [carácter|caracteres]"],
  "least-items": ["at least {n} [item|items]", "al menos {n} [elemento|elementos]"],
  "most-characters": [
    "at most {n} [character|characters]",
    "como máximo {n} [carácter|caracteres]",
  ],
  "most-items": ["at most {n} [item|items]", "como máximo {n} [elemento|elementos]"],
  "at-least": ["at least {n}", "al menos {n}"],
  "at-most": ["at most {n}", "como máximo {n}"],
  "more-than": ["more than {n}", "más de {n}"],
  "less-than": ["less than {n}", "menos de {n}"],
  "one-of": ["one of: {names}", "uno de estos: {names}"],
  "no-such-name": ["no such name", "ningún nombre así"],
  "text-without-it": ["text without it", "texto sin ello"],
  "text-that-is-seen": [
    "text without control characters and such as cannot be seen",
    "texto sin caracteres de control ni otros que no se ven",
  ],
  "a-json-object": ["a JSON object", "un objeto JSON"],
} as const satisfies Record<string, readonly [english: string, spanish: string]>;
export type MessageCode = keyof typeof MESSAGES;

/** A text that the catalogue has, so that it is there in either language: {@linkcode say} makes it. */
export type Message = string & { readonly __message: never };

/** Words of another program or of a user's module, which nobody can translate; what {@linkcode say} made stays a message. */
export const verbatim = (text: string): Message => text as Message;

/** The names of the places of a message. */
type Places<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}`
  // a brace of JSON is no place
  ?
    | (Name extends `${string}${'"' | ","}${string}` ? never
      : Name extends `${infer Plain}*` ? Plain
      : Name)
    | Places<Rest>
  : never;

/** A message of the catalogue with its places filled in, in English; `places` must name each of them. */
export function say<Code extends MessageCode>(
  code: Code,
  places: Record<Places<(typeof MESSAGES)[Code][0]>, string | number>,
): Message {
  const filled = places as Record<string, string | number>;
  return inNumber(MESSAGES[code][0], filled.n).replaceAll(
    /\{(\w+)\*?\}/g,
    (_, name: string) => String(filled[name]),
  ) as Message;
}

const IN_NUMBER = /\[([^[|\]]*)\|([^[|\]]*)\]/g;

/** `[row|rows]` as it is for so many. */
const inNumber = (text: string, n: string | number | undefined) =>
  text.replaceAll(IN_NUMBER, (_, one: string, many: string) => String(n) === "1" ? one : many);

interface Pattern {
  code: MessageCode;
  pattern: RegExp;
  spanish: string;
}

/** A text of a message with its places open. */
function patternOf(english: string): RegExp {
  const source = english.split(/(\{\w+\*?\}|\[[^[|\]]*\|[^[|\]]*\])/).map((part) => {
    const [, name] = /^\{(\w+)\*?\}$/.exec(part) ?? [];
    if (part.startsWith("[") && part.includes("|")) return `(?:${part.slice(1, -1)})`;
    return name === undefined ? part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&") : `(?<${name}>.*?)`;
  }).join("");
  return new RegExp(`^${source}$`, "s");
}

let made: Pattern[] | undefined;

/**
 * All of them: of those that leave the same as it is, the one with most words comes first. Made when somebody first looks for
 * one, as most threads never do and all of them load this.
 */
const patterns = (): Pattern[] =>
  made ??= Object.entries(MESSAGES)
    .map(([code, [english, spanish]]) => ({
      code: code as MessageCode,
      pattern: patternOf(english),
      spanish,
      words: english.replaceAll(/\{\w+\*?\}/g, "").length,
    }))
    .sort((a, b) => b.words - a.words);

/** Longer texts are no message of the catalogue. */
const LONGEST = 2000;
/** Messages within messages at most: a text made to be slow to match has no end of them. */
const DEEPEST = 4;

interface Found {
  code: MessageCode;
  spanish: string;
  /** Characters that stay as they are. */
  left: number;
}

/** A text of the catalogue: its code, and what it says in Spanish; null for any other text. */
export const messageOf = (text: string): { code: MessageCode; spanish: string } | null =>
  found(text, 0, new Map());

/** What has been found, by text: messages within messages may be read in several ways, and each only once. */
type Known = Map<string, Found | null>;

/** Of all messages that it could be, the one that leaves least of it as it is: "{rule} in {field}" is many a text. */
function found(text: string, depth: number, known: Known): Found | null {
  if (text.length > LONGEST || depth > DEEPEST) return null;
  let best = known.get(text) ?? null;
  if (known.has(text)) return best;
  for (const { code, pattern, spanish } of patterns()) {
    const match = pattern.exec(text);
    if (match === null) continue;
    let left = 0;
    const filled = inNumber(spanish, match.groups?.n).replaceAll(
      /\{(\w+)(\*?)\}/g,
      (whole, name: string, message: string) => {
        const value = match.groups?.[name];
        if (value === undefined) return whole;
        const said = message === "" ? asItIs(value) : pieces(value, depth + 1, known);
        left += said.left;
        return said.spanish;
      },
    );
    if (best === null || left < best.left) best = { code, spanish: filled, left };
    if (left === 0) break;
  }
  known.set(text, best);
  return best;
}

const asItIs = (text: string) => ({ spanish: text, left: text.length });

/** One message, or several with semicolons between. */
function pieces(text: string, depth: number, known: Known): { spanish: string; left: number } {
  const whole = found(text, depth, known) ?? asItIs(text);
  const each = text.split("; ").map((piece) =>
    piece === "…" ? asItIs(piece) : found(piece, depth, known)
  );
  if (each.length === 1 || each.includes(null)) return whole;
  const left = each.reduce((sum, piece) => sum + piece!.left, 0);
  return left > whole.left
    ? whole
    : { spanish: each.map((piece) => piece!.spanish).join("; "), left };
}

/** What is said, in Spanish where the catalogue has it. */
export const inSpanish = (text: string): string => messageOf(text)?.spanish ?? text;
