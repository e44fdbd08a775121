/**
 * What alerts, health and runs say, by code: the English as it is stored and sent, and its Spanish. `{name}` is a place
 * that is filled in; `{name*}` one whose text may be a message of its own. Texts are found again by their English, so
 * that what was stored long ago is read in either language.
 */
export const MESSAGES = {
  // alerts
  "low-ratio": [
    "{rows} of {expected} expected rows arrived (ratio {ratio}), below min_acceptance_ratio {least}. {kept*} Look at the quarantine and at batch_size, or accept less with min_acceptance_ratio.",
    "Llegaron {rows} de {expected} filas esperadas (ratio {ratio}), menos que min_acceptance_ratio {least}. {kept*} Mire la cuarentena y batch_size, o acepte menos con min_acceptance_ratio.",
  ],
  "kept": ["What was loaded stays in the table.", "Lo cargado se queda en la tabla."],
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
    "{records} records are in the quarantine, {rows} rows are in the table.",
    "{records} registros están en la cuarentena, {rows} filas en la tabla.",
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
    "{n} alerts are open: GET /api/alerts/recent",
    "{n} alertas abiertas: GET /api/alerts/recent",
  ],
  "channel-vanished": [
    "no server sends alerts to {channel} any more, where messages went within the last 7 days: is its variable missing?",
    "ningún servidor envía ya alertas a {channel}, adonde fueron mensajes en los últimos 7 días: ¿falta su variable?",
  ],
  "channel-failing": [
    "{channel} has accepted no message since {at} ({n} failures): {error*}",
    "{channel} no acepta mensajes desde {at} ({n} fallos): {error*}",
  ],
  "exports-failing": [
    "{n} runs of the last 24 h were not delivered to {target}: {error*}",
    "{n} ejecuciones de las últimas 24 h no están en {target}: {error*}",
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
  "time-invalid": [
    "time field {field} is no time in format {format}: {value}",
    "el campo {field} no es una hora en formato {format}: {value}",
  ],
  "several-outputs": [
    "several outputs of this record have the key {key}",
    "varias salidas de este registro tienen la clave {key}",
  ],
  "transform-threw": ["the transform failed: {error}", "la transformación falló: {error}"],
  "no-such-type": [
    "column {column}: {value} is no {type} such as {sample}",
    "columna {column}: {value} no es {type}, como {sample}",
  ],
  "no-such-form": [
    "column {column}: {value} is no {type} of the form {form}",
    "columna {column}: {value} no es {type} de la forma {form}",
  ],
  "fields-differ": [
    "{n} fields, the header has {columns}",
    "{n} campos; la cabecera tiene {columns}",
  ],
} as const satisfies Record<string, readonly [english: string, spanish: string]>;
export type MessageCode = keyof typeof MESSAGES;

interface Pattern {
  code: MessageCode;
  pattern: RegExp;
  spanish: string;
}

/** A text of a message with its places open. */
function patternOf(english: string): RegExp {
  const source = english.split(/(\{\w+\*?\})/).map((part) => {
    const [, name] = /^\{(\w+)\*?\}$/.exec(part) ?? [];
    return name === undefined ? part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&") : `(?<${name}>.*?)`;
  }).join("");
  return new RegExp(`^${source}$`, "s");
}

/** The most particular first: a text of few words could be any. */
const PATTERNS: Pattern[] = Object.entries(MESSAGES)
  .map(([code, [english, spanish]]) => ({
    code: code as MessageCode,
    pattern: patternOf(english),
    spanish,
    words: english.replaceAll(/\{\w+\*?\}/g, "").length,
  }))
  .sort((a, b) => b.words - a.words);

/** Longer texts are no message of the catalogue. */
const LONGEST = 2000;

/** A text of the catalogue: its code, and what it says in Spanish; null for any other text. */
export function messageOf(text: string): { code: MessageCode; spanish: string } | null {
  if (text.length > LONGEST) return null;
  for (const { code, pattern, spanish } of PATTERNS) {
    const places = pattern.exec(text)?.groups;
    if (places === undefined && !pattern.test(text)) continue;
    const filled = spanish.replaceAll(/\{(\w+)(\*?)\}/g, (_, name: string, message: string) => {
      const value = places?.[name] ?? "";
      return message === "" ? value : messageOf(value)?.spanish ?? value;
    });
    return { code, spanish: filled };
  }
  return null;
}

/** What is said, in Spanish where the catalogue has it. */
export const inSpanish = (text: string): string => messageOf(text)?.spanish ?? text;
