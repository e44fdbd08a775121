/** What problems outside of sources say, as {@linkcode ./messages.ts} has the rest: by code, English and Spanish. */
export const PROBLEM_MESSAGES = {
  "conf-errors": [
    "The conf has {errors}",
    "La conf tiene {errors}",
  ],
  "conf-too-many-values": [
    "The conf has more than {n} values besides its records. Put records into source.records; nothing else in a conf is that large.",
    "La conf tiene más de {n} valores además de sus registros. Ponga los registros en source.records; nada más de una conf es tan grande.",
  ],
  "conf-not-object": [
    'The conf must be a JSON object, such as {"batch_size": 1000}.',
    'La conf debe ser un objeto JSON, como {"batch_size": 1000}.',
  ],
  "consumer-params": [
    "{name} does not take these parameters: {errors}.",
    "{name} no admite estos parámetros: {errors}.",
  ],
  "key-no-value": [
    "This is no value of the table's key columns.",
    "Esto no es un valor de las columnas de clave de la tabla.",
  ],
  "key-parts": [
    "A key of this dataset has {n} parts ({names}): give them with | between them, and \\| for one within a part.",
    "Una clave de este conjunto de datos tiene {n} partes ({names}): escríbalas con | entre ellas, y \\| para uno dentro de una parte.",
  ],
  "no-dataset": [
    "There is no dataset {dataset}. GET /api/datasets lists them.",
    "No hay ningún conjunto de datos {dataset}. GET /api/datasets los lista.",
  ],
  "nothing-forgotten": [
    "Nothing was forgotten: {why*}. Ask again in a few seconds.",
    "No se olvidó nada: {why*}. Inténtelo otra vez en unos segundos.",
  ],
  "page-key-private": [
    "The source is read in parts by {column}, which is a private field, and where a part begins is stored. Name other unique columns as page_key, or read a query that makes the hash itself.",
    "La fuente se lee por partes según {column}, que es un campo privado, y el comienzo de cada parte se guarda. Nombre otras columnas únicas en page_key, o lea una consulta que haga el hash ella misma.",
  ],
  "no-hash-secret": [
    "Fields are to be hashed, and this server has no secret for it. Set ETL_HASH_SECRET, the same on every server, to at least 32 random characters (`openssl rand -hex 32`), keep it as you keep passwords, and ask again.",
    "Hay campos que deben ir con hash, y este servidor no tiene el secreto para ello. Defina ETL_HASH_SECRET, el mismo en cada servidor, con al menos 32 caracteres al azar (`openssl rand -hex 32`), guárdelo como se guardan las contraseñas, y pídalo otra vez.",
  ],
  "params-not-valid": [
    "The parameters of the run are not valid: {errors}",
    "Los parámetros de la ejecución no son válidos: {errors}",
  ],
  "source-not-steady": [
    "The source may miss what moves while it is read, and a mirror would delete that: its module does not say that it is steady, or a table is paged by columns that are not part of source.key, or by texts of a foreign table. Nothing was read. Add those columns to the key, or name unique columns of the key in page_key, or use on_missing: mark, which marks such rows until they are found again.",
    "La fuente puede perderse lo que se mueve mientras se lee, y un mirror lo borraría: su módulo no dice que sea estable, o una tabla se lee por páginas según columnas que no forman parte de source.key, o por textos de una tabla foránea. No se leyó nada. Añada esas columnas a la clave, o nombre columnas únicas de la clave en page_key, o use on_missing: mark, que marca esas filas hasta que se encuentren de nuevo.",
  ],
  "table-distributed": [
    "{table} is distributed over several servers (Citus). Rows are added and changed there; write: replace and mirror, and feeds with deletions, need a table of one server. Nothing was changed.",
    "{table} está distribuida entre varios servidores (Citus). Allí se añaden y cambian filas; write: replace y mirror, y las fuentes con borrados, necesitan una tabla de un solo servidor. No se cambió nada.",
  ],
  "later-run-loaded": [
    "A later run of this source has loaded the table since this one was requested, so the rows that this one would replace or delete may be newer than its input. Nothing was changed. Request a new run.",
    "Una ejecución posterior de esta fuente cargó la tabla desde que se pidió esta, así que las filas que esta sustituiría o borraría pueden ser más nuevas que su entrada. No se cambió nada. Pida una ejecución nueva.",
  ],
  "slices-changed": [
    "The input has {now} chunks now, and had {then} when the run first read it. Request a new run.",
    "La entrada tiene ahora {now} chunks, y tenía {then} cuando la ejecución la leyó por primera vez. Pida una ejecución nueva.",
  ],
  "took-too-long": [
    "{what*} took longer than {seconds} s (timeout_seconds). Published chunks stay: retry the run to continue after them, with a larger limit if it needs one.",
    "{what*} tardó más de {seconds} s (timeout_seconds). Los chunks publicados se quedan: reintente la ejecución para seguir tras ellos, con un límite mayor si lo necesita.",
  ],
  "run-cancelled": [
    "The run was cancelled.",
    "La ejecución se canceló.",
  ],
  "unexpected-in-run": [
    "Something unexpected happened{where*}. The server's log has the details under this run's id.",
    "Ocurrió algo inesperado{where*}. El registro del servidor tiene los detalles bajo el id de esta ejecución.",
  ],
  "database-refused": [
    "The database refused{where*} (SQLSTATE {code}): {error}",
    "La base de datos lo rechazó{where*} (SQLSTATE {code}): {error}",
  ],
  "database-refused-grant": [
    "The database refused{where*}: {error}. Grant it to the role, or run setup-db --role.",
    "La base de datos lo rechazó{where*}: {error}. Conceda ese permiso al rol, o ejecute setup-db --role.",
  ],
  "statement-timeout": [
    "A statement{where*} took longer than db_statement_timeout_ms and was stopped. Allow more time, or use a smaller chunk_size.",
    "Una sentencia{where*} tardó más que db_statement_timeout_ms y se detuvo. Dé más tiempo, o use un chunk_size menor.",
  ],
  "run-stopped-at": [
    "The run stopped{where*}: {why*} ({error}). It is tried again.",
    "La ejecución se detuvo{where*}: {why*} ({error}). Se intenta otra vez.",
  ],
  "schedule-errors": [
    "The schedule has {errors}",
    "La programación tiene {errors}",
  ],
  "not-a-time": [
    "{field} is not a time.",
    "{field} no es una hora.",
  ],
  "chunk-prepared-otherwise": [
    "A chunk had other keys or contents when a second server prepared it, after the first had died: does its transform depend on more than the record, such as the time or chance? What had not been published is compared anew.",
    "Un chunk tenía otras claves u otro contenido cuando lo preparó un segundo servidor, tras morir el primero: ¿depende su transformación de algo más que el registro, como la hora o el azar? Lo que no se había publicado se compara de nuevo.",
  ],
  "spool-full": [
    "The spool directory {dir} is full. Free space there, or point ETL_SPOOL_DIR at a larger disk; the run continues where it stopped.",
    "El directorio de spool {dir} está lleno. Libere espacio allí, o apunte ETL_SPOOL_DIR a un disco mayor; la ejecución sigue donde se detuvo.",
  ],
  "planning-too-slow": [
    "Finding the parts of the source took longer than {n} minutes. Is a query of it slow (an index on page_key and cursor helps), or does its storage not answer? Divide the source, or try again when it is fast.",
    "Encontrar las partes de la fuente tardó más de {n} minutos. ¿Es lenta alguna de sus consultas (un índice en page_key y cursor ayuda), o no responde su almacenamiento? Divida la fuente, o inténtelo cuando sea rápida.",
  ],
  "suite-removed": [
    "enforce_ge is set and the suite has been removed since the run was requested. Store it again, then retry the run.",
    "enforce_ge está activo y la suite se quitó desde que se pidió la ejecución. Guárdela otra vez y reintente la ejecución.",
  ],
  "suite-enforced": [
    "{failed} of {n} expectations of suite {suite} do not hold: {names}. Nothing was loaded, as enforce_ge is set. See the run's validation results.",
    "{failed} de {n} expectativas de la suite {suite} no se cumplen: {names}. No se cargó nada, pues enforce_ge está activo. Mire los resultados de validación de la ejecución.",
  ],
  "too-many-gone": [
    "{gone} of the {rows} rows that source {source} has in {table} ({percent}%) are not in what was read, more than max_delete_ratio {most} allows. Nothing was changed. Check that the source is complete; if it is, run again with max_delete_ratio 1 (etl load: --yes).",
    "{gone} de las {rows} filas que la fuente {source} tiene en {table} ({percent}%) no están en lo que se leyó, más de lo que permite max_delete_ratio {most}. No se cambió nada. Compruebe que la fuente está completa; si lo está, ejecute otra vez con max_delete_ratio 1 (etl load: --yes).",
  ],
  "exchanged-keys-gone": [
    "The keys that the servers of this run have exchanged are no longer in the database, which was probably restarted after a crash. The run exchanges them again.",
    "Las claves que intercambiaron los servidores de esta ejecución ya no están en la base de datos, que probablemente se reinició tras una caída. La ejecución las intercambia otra vez.",
  ],
  "format-refused": [
    "The format {format} cannot be used: {why*}.",
    "El formato {format} no se puede usar: {why*}.",
  ],
  "key-folds": [
    'Field {field} cannot be a key: column {column} of {table} has a collation in which different texts are equal. Give the column another one, such as collate "C" (alter table … alter column … type text collate "C").',
    'El campo {field} no puede ser clave: la columna {column} de {table} tiene un orden (collation) en el que textos distintos son iguales. Dé otro a la columna, como collate "C" (alter table … alter column … type text collate "C").',
  ],
  "key-type-refused": [
    "Field {field} cannot be a key: column {column} of {table} is of type {type}, whose values may differ although their texts are equal.",
    "El campo {field} no puede ser clave: la columna {column} de {table} es de tipo {type}, cuyos valores pueden ser distintos aunque sus textos sean iguales.",
  ],
  "preview-too-slow": [
    "The preview was not ready after {seconds} s. The source is slow to answer, or the transform module does not end. A run has no such limit.",
    "La vista previa no estuvo lista tras {seconds} s. La fuente responde despacio, o el módulo de transformación no termina. Una ejecución no tiene ese límite.",
  ],
  "source-slow": [
    "It took too long: the source is slow to answer.",
    "Tardó demasiado: la fuente responde despacio.",
  ],
  "suite-not-compiled": [
    "The suite could not be compiled in {seconds} s: its schemas refer to each other too often, or its patterns are too large. Take them apart.",
    "La suite no se pudo compilar en {seconds} s: sus esquemas se refieren unos a otros demasiadas veces, o sus patrones son demasiado grandes. Divídalos.",
  ],
  "chunk-memory": [
    "Chunk {chunk}: its worker holds {used} MB while it prepares it; the limit is {limit} MB (ETL_WORKER_MEMORY_MB). Load less at once: a smaller chunk_size, shorter records, a transform module that keeps nothing.",
    "Chunk {chunk}: su worker ocupa {used} MB mientras lo prepara; el límite es {limit} MB (ETL_WORKER_MEMORY_MB). Cargue menos a la vez: un chunk_size menor, registros más cortos, un módulo de transformación que no guarde nada.",
  ],
  "run-stopped": [
    "The run was stopped.",
    "La ejecución se detuvo.",
  ],
  "spill-gone": [
    "A file of the run below {dir} has disappeared. Let nothing else remove files from ETL_SPOOL_DIR; the run prepares them again.",
    "Un archivo de la ejecución bajo {dir} ha desaparecido. Que nadie más borre archivos de ETL_SPOOL_DIR; la ejecución los prepara otra vez.",
  ],
  "rate-exceeded": [
    "More than {n} {what*} a minute. Try again in {seconds} s.",
    "Más de {n} {what*} por minuto. Inténtelo de nuevo en {seconds} s.",
  ],
  "host-refused": [
    "Requests for host {host} are not answered here. Add it to ETL_ALLOWED_HOSTS if it is this server's.",
    "Las peticiones para el host {host} no se responden aquí. Añádalo a ETL_ALLOWED_HOSTS si es de este servidor.",
  ],
  "other-origin": [
    "Requests from web pages of another origin are refused.",
    "Se rechazan las peticiones de páginas web de otro origen.",
  ],
  "authorization-form": [
    "The Authorization header must be `Bearer etl_…`, with an API token.",
    "La cabecera Authorization debe ser `Bearer etl_…`, con un token de la API.",
  ],
  "needs-role": [
    "This needs the role {needed}, and {name} has the role {role}.",
    "Esto necesita el rol {needed}, y {name} tiene el rol {role}.",
  ],
  "needs-token": [
    "This needs an API token, in the header `Authorization: Bearer etl_…`. People sign in at /etl/sign-in.",
    "Esto necesita un token de la API, en la cabecera `Authorization: Bearer etl_…`. Las personas inician sesión en /etl/sign-in.",
  ],
  "form-unreadable": [
    "The form cannot be read.",
    "El formulario no se puede leer.",
  ],
  "form-expected": [
    "This takes a form, as the pages of the dashboard send it.",
    "Esto espera un formulario, como lo envían las páginas del panel.",
  ],
  "form-not-ours": [
    "This does not come from a page of this server, or from an old one. Load the page again. Programs send an API token instead of a cookie.",
    "Esto no viene de una página de este servidor, o viene de una antigua. Cargue la página otra vez. Los programas envían un token de la API en vez de una cookie.",
  ],
  "no-incident": [
    "No incident of that fingerprint is open. GET /api/alerts/open lists them.",
    "No hay ningún incidente abierto con esa huella. GET /api/alerts/open los lista.",
  ],
  "no-asset": [
    "There is no file {name}. Load the page again: it may be newer.",
    "No hay ningún archivo {name}. Cargue la página otra vez: puede ser más nueva.",
  ],
  "no-page": [
    "There is no page {path}.",
    "No hay ninguna página {path}.",
  ],
  "not-a-folder": [
    "{folder} is a file, not a folder of the data directory.",
    "{folder} es un archivo, no una carpeta del directorio de datos.",
  ],
  "dataset-unwritten": [
    "No run has written a dataset {name}. /etl/datasets lists them.",
    "Ninguna ejecución ha escrito un conjunto de datos {name}. /etl/datasets los lista.",
  ],
  "no-run-to-start-from": [
    "There is no run {run} to start from.",
    "No hay ninguna ejecución {run} de la que partir.",
  ],
  "missing-configuration": [
    "There is no configuration {name}.",
    "No hay ninguna configuración {name}.",
  ],
  "query-errors": [
    "The address has {errors}",
    "La dirección tiene {errors}",
  ],
  "last-no-run": [
    "last must be the id of a run.",
    "last debe ser el id de una ejecución.",
  ],
  "no-run-page": [
    "There is no run {id}. /etl/runs lists them.",
    "No hay ninguna ejecución {id}. /etl/runs las lista.",
  ],
  "no-chunk": [
    "Run {run} has no chunk {chunk}.",
    "La ejecución {run} no tiene ningún chunk {chunk}.",
  ],
  "no-report": [
    "There is no such report yet: etl_downstream_example writes one after each run, and on POST /api/etl/downstream.",
    "Todavía no hay ningún informe así: etl_downstream_example escribe uno tras cada ejecución, y con POST /api/etl/downstream.",
  ],
  "no-analysis": [
    "analysis_type {type} is neither an analysis nor a consumer; {expected*}.",
    "analysis_type {type} no es ni un análisis ni un consumidor; {expected*}.",
  ],
  "no-delivery": [
    "There is no such delivery.",
    "No hay ninguna entrega así.",
  ],
  "no-sql-consumer": [
    "There is no {name}.sql in ETL_CONSUMERS_DIR; only consumers in SQL can be tried.",
    "No hay ningún {name}.sql en ETL_CONSUMERS_DIR; solo se pueden probar consumidores en SQL.",
  ],
  "no-consumers-dir": [
    "This server has no ETL_CONSUMERS_DIR, the directory of consumers of your own.",
    "Este servidor no tiene ETL_CONSUMERS_DIR, el directorio de los consumidores propios.",
  ],
  "no-consumer": [
    "There is no consumer of that name. There are: {names}.",
    "No hay ningún consumidor con ese nombre. Hay: {names}.",
  ],
  "no-consumer-yet": [
    "There is no consumer of that name. There is none yet.",
    "No hay ningún consumidor con ese nombre. Aún no hay ninguno.",
  ],
  "no-problem-type": [
    "There is no kind of problem {type}. /api/problems lists them.",
    "No hay ninguna clase de problema {type}. /api/problems las lista.",
  ],
  "no-job": [
    "There is no job {name}. GET /api/jobs lists them.",
    "No hay ninguna tarea {name}. GET /api/jobs las lista.",
  ],
  "no-maintenance": [
    "There is no maintenance {id}. GET /api/etl/maintenance lists them.",
    "No hay ningún mantenimiento {id}. GET /api/etl/maintenance los lista.",
  ],
  "pool-used": [
    "The pool {name} is used by runs and cannot be removed. Set its slots to 0 to stop it.",
    "El pool {name} lo usan ejecuciones y no se puede quitar. Ponga sus slots a 0 para detenerlo.",
  ],
  "default-stays": [
    "The pool {name} is what runs use that name none; it can be changed, not removed.",
    "El pool {name} es el que usan las ejecuciones que no nombran ninguno; se puede cambiar, no quitar.",
  ],
  "name-taken": [
    "There is one of the name {name} already. Choose another name, or change that one.",
    "Ya existe uno con el nombre {name}. Elija otro nombre o cambie ese.",
  ],
  "no-such-entry": [
    "There is no {what*} {name}. `etl {noun} list` and GET {path} list them.",
    "No existe {what*} {name}. Las listas: `etl {noun} list` y GET {path}.",
  ],
  "job-schedule-form": [
    '{name} is five fields of figures, *, -, / and commas in UTC, such as "30 3 * * 0", or @hourly, @daily, @weekly, @monthly, @yearly.',
    '{name} son cinco campos de cifras, *, -, / y comas en UTC, como "30 3 * * 0", o @hourly, @daily, @weekly, @monthly, @yearly.',
  ],
  "configuration-nested": [
    "A configuration cannot start from another one: put its values in.",
    "Una configuración no puede partir de otra: ponga sus valores en ella.",
  ],
  "preview-type": [
    "Request a preview with application/json, the conf of a run with its source, or with data as one of {types}.",
    "Pida una vista previa con application/json, la conf de una ejecución con su fuente, o con datos como uno de estos: {types}.",
  ],
  "replay-fixed": [
    "A replay reads the quarantine, so {names} cannot be set.",
    "Un reproceso lee la cuarentena, así que {names} no se puede fijar.",
  ],
  "replay-too-early": [
    "Run {run} is {state}; its quarantine can be replayed when it has ended.",
    "La ejecución {run} está {state}; su cuarentena se puede reprocesar cuando haya terminado.",
  ],
  "charset-not-read": [
    "The charset {charset} is not read. Send the text as UTF-8, or as one of: {encodings}.",
    "El juego de caracteres {charset} no se lee. Envíe el texto como UTF-8, o como uno de estos: {encodings}.",
  ],
  "body-encoded": [
    "The body is sent with content-encoding {encoding}. Send it as it is.",
    "El cuerpo se envía con content-encoding {encoding}. Envíelo tal cual.",
  ],
  "body-empty": [
    "The body is empty: there is nothing to load.",
    "El cuerpo está vacío: no hay nada que cargar.",
  ],
  "params-in-query": [
    "Put the parameters of a JSON request into its body; the query has {names}.",
    "Ponga los parámetros de una petición JSON en su cuerpo; la consulta tiene {names}.",
  ],
  "dag-run-members": [
    'Of a DAG run of Airflow only conf is taken, not {names}. Send the members of conf, or {"conf": {…}} alone; the header Idempotency-Key takes the place of dag_run_id.',
    'De un DAG run de Airflow solo se toma conf, no {names}. Envíe los miembros de conf, o {"conf": {…}} solo; la cabecera Idempotency-Key ocupa el lugar de dag_run_id.',
  ],
  "conf-not-storable": [
    "The conf holds what PostgreSQL cannot store: {what*}.",
    "La conf contiene lo que PostgreSQL no puede guardar: {what*}.",
  ],
  "no-run": [
    "There is no run {id}. GET /api/etl/runs lists them.",
    "No hay ninguna ejecución {id}. GET /api/etl/runs las lista.",
  ],
  "server-stopping": [
    "This server is stopping. Use another one, or try again soon.",
    "Este servidor se está deteniendo. Use otro, o inténtelo pronto otra vez.",
  ],
  "missing-schedule": [
    "There is no schedule {name}. GET /api/schedules lists them.",
    "No hay ninguna programación {name}. GET /api/schedules las lista.",
  ],
  "too-many-slots": [
    "There are more than {n} slots in this time. Run it in pieces: the first ends at {last}.",
    "Hay más de {n} slots en ese tiempo. Ejecútelo por partes: la primera termina en {last}.",
  ],
  "range-refused": [
    "The time range cannot be used: {errors}.",
    "El intervalo no se puede usar: {errors}.",
  ],
  "pause-past": [
    "A pause ends in the future.",
    "Una pausa termina en el futuro.",
  ],
  "body-number": [
    "The body is not JSON that can be kept: number {number} is out of range.",
    "El cuerpo no es JSON que se pueda guardar: el número {number} está fuera de rango.",
  ],
  "body-excess": [
    "The body {what*}, which nothing here takes. Send records as CSV or NDJSON to POST /api/etl/run, or put them where a file or http source can read them.",
    "El cuerpo {what*}, y nada aquí lo admite. Envíe registros como CSV o NDJSON a POST /api/etl/run, o póngalos donde una fuente file o http los pueda leer.",
  ],
  "body-not-utf8": [
    "The body is not UTF-8 text.",
    "El cuerpo no es texto UTF-8.",
  ],
  "body-no-json": [
    "The body is not JSON: {error}",
    "El cuerpo no es JSON: {error}",
  ],
  "body-too-slow": [
    "The body stopped coming for {seconds} s, or comes at less than {rate} KiB a second. Nothing of it was kept: send it again.",
    "El cuerpo dejó de llegar durante {seconds} s, o llega a menos de {rate} KiB por segundo. No se guardó nada de él: envíelo otra vez.",
  ],
  "neither-true-nor-false": [
    "{name} is neither true nor false.",
    "{name} no es ni true ni false.",
  ],
  "server-busy": [
    "This server is busy: {what*} already. Nothing was begun; try again in a few seconds.",
    "Este servidor está ocupado: ya {what*}. No se empezó nada; inténtelo en unos segundos.",
  ],
  "share-used": [
    "One caller may have {share} of this at once, and you have: this server is full when {what*}. Nothing was begun; try again in a few seconds.",
    "Quien llama puede tener {share} de esto a la vez, y los tiene: este servidor está lleno cuando {what*}. No se empezó nada; inténtelo en unos segundos.",
  ],
  "cursor-foreign": [
    "The cursor is not one that this list has given. Start again without it.",
    "El cursor no es uno que haya dado esta lista. Empiece otra vez sin él.",
  ],
  "unexpected": [
    "Something unexpected happened. The server's log has the details.",
    "Ocurrió algo inesperado. El registro del servidor tiene los detalles.",
  ],
  "database-just-now": [
    "The database cannot be used just now: {why*}. Try again in a few seconds.",
    "La base de datos no se puede usar ahora mismo: {why*}. Inténtelo en unos segundos.",
  ],
  "request-not-storable": [
    "The request holds text that PostgreSQL cannot store: a NUL character, or half of a surrogate pair.",
    "La petición contiene texto que PostgreSQL no puede guardar: un carácter NUL, o medio par sustituto.",
  ],
  "body-no-type": [
    "The body has no content type, or one that is not taken here: send application/json.",
    "El cuerpo no tiene tipo de contenido, o tiene uno que aquí no se admite: envíe application/json.",
  ],
  "profile-too-slow": [
    "The profile was not ready after {seconds} s. Ask for fewer records, or use `etl profile` without a server, which has no such limit.",
    "El perfil no estuvo listo tras {seconds} s. Pida menos registros, o use `etl profile` sin servidor, que no tiene ese límite.",
  ],
  "suite-try-too-slow": [
    "The suite was not tried after {seconds} s. The source is slow to answer, the transform module does not end, or the schemas or patterns of the suite are large. Try a smaller sample.",
    "La suite no se había probado tras {seconds} s. La fuente responde despacio, el módulo de transformación no termina, o los esquemas o patrones de la suite son grandes. Pruebe con una muestra menor.",
  ],
  "must-be": [
    "{field} must be {expected*}.",
    "{field} debe ser {expected*}.",
  ],
  "sample-form": [
    "records must be a list of at most {n} JSON objects; or give a conf.",
    "records debe ser una lista de {n} objetos JSON como máximo; o dé una conf.",
  ],
  "must-be-object": [
    "{what} must be a JSON object.",
    "{what} debe ser un objeto JSON.",
  ],
  "suite-try-body": [
    "The body has the suite, and either records, the conf of a source or a dataset; nothing else.",
    "El cuerpo tiene la suite, y o bien records, o la conf de una fuente, o un conjunto de datos; nada más.",
  ],
  "body-no-object": [
    "The body must be a JSON object.",
    "El cuerpo debe ser un objeto JSON.",
  ],
  "body-no-suite": [
    "The body is not a suite: it has no expectations. An empty suite has an empty list.",
    "El cuerpo no es una suite: no tiene expectations. Una suite vacía tiene una lista vacía.",
  ],
  "missing-suite": [
    "There is no suite {name}. GET /api/suites lists them.",
    "No hay ninguna suite {name}. GET /api/suites las lista.",
  ],
  "no-validation": [
    "Run {id} has no validation result: it had no suite, or has not come so far.",
    "La ejecución {id} no tiene resultado de validación: no tenía suite, o no llegó tan lejos.",
  ],
  "no-token": [
    "No token in use has the name {name}. GET /api/tokens lists them.",
    "Ningún token en uso se llama {name}. GET /api/tokens los lista.",
  ],
  "no-declared-columns": [
    "Dataset {dataset} has no declared columns, so there is nothing to remove.",
    "El conjunto de datos {dataset} no tiene columnas declaradas, así que no hay nada que quitar.",
  ],
  "no-dataset-written": [
    "There is no dataset {dataset} that a run has written. GET /api/datasets lists them.",
    "No hay ningún conjunto de datos {dataset} que haya escrito una ejecución. GET /api/datasets los lista.",
  ],
  "method-not-possible": [
    "{method} is not possible at {path}; possible: {allowed}.",
    "{method} no es posible en {path}; posible: {allowed}.",
  ],
  "nothing-there": [
    "There is nothing at {path}. /api/openapi.json describes what there is.",
    "No hay nada en {path}. /api/openapi.json describe lo que hay.",
  ],
  "request-errors": [
    "The request has {errors}",
    "La petición tiene {errors}",
  ],
  "deleted-meanwhile": [
    "Another run of this source has deleted rows while this one was comparing its own with the table. It compares them again.",
    "Otra ejecución de esta fuente borró filas mientras esta comparaba las suyas con la tabla. Las compara otra vez.",
  ],
  "compare-no-dry-run": [
    "{run} is not a successful dry run into {dataset} with compare: true.",
    "{run} no es una simulación correcta en {dataset} con compare: true.",
  ],
  "compare-missing": [
    "{name} cannot be compared: it has no column {columns}. A view with the dataset's column names makes it comparable.",
    "{name} no se puede comparar: no tiene la columna {columns}. Una vista con los nombres de columna del conjunto de datos la hace comparable.",
  ],
  "compare-shapes": [
    "{name} cannot be compared: it needs the columns {columns}, or {others} as the original's.",
    "{name} no se puede comparar: necesita las columnas {columns}, o {others} como la original.",
  ],
  "compare-rights": [
    "{name} is a view, or a table with row security, of another role, and this server has the rights of the installation's owner: what it calls would run with them. Compare with a table.",
    "{name} es una vista, o una tabla con seguridad por filas, de otro rol, y este servidor tiene los derechos del dueño de la instalación: lo que ella llama se ejecutaría con ellos. Compare con una tabla.",
  ],
  "no-table": [
    "There is no table {name}. Write it as schema.table.",
    "No hay ninguna tabla {name}. Escríbala como esquema.tabla.",
  ],
  "compare-types": [
    "{table} cannot be compared with {dataset}: {error}. Its columns need the types that the dataset's have.",
    "{table} no se puede comparar con {dataset}: {error}. Sus columnas necesitan los tipos que tienen las del conjunto de datos.",
  ],
  "upload-gone": [
    "The request body {upload} is not stored, or no more: send the data again.",
    "El cuerpo de la petición {upload} no está guardado, o ya no: envíe los datos otra vez.",
  ],
  "consumer-try-too-slow": [
    "{file}: a try has {seconds} s, and it was not done",
    "{file}: una prueba tiene {seconds} s, y no había terminado",
  ],
  "pattern-refused": [
    "The pattern {pattern} cannot be used: {why*}.",
    "El patrón {pattern} no se puede usar: {why*}.",
  ],
  "pattern-too-long": [
    "it is longer than {n} characters",
    "tiene más de {n} caracteres",
  ],
  "pattern-too-many-parts": [
    "with its repetitions written out it has more than {n} parts",
    "con sus repeticiones escritas enteras tiene más de {n} partes",
  ],
  "not-inside-brackets": [
    "{escape} inside brackets is not supported",
    "{escape} dentro de corchetes no se admite",
  ],
  "escape-digits": [
    "{escape} needs {n} hexadecimal digits",
    "{escape} necesita {n} cifras hexadecimales",
  ],
  "no-such-escape": [
    "{escape} is not an escape of Python's regular expressions",
    "{escape} no es un escape de las expresiones regulares de Python",
  ],
  "directive-unsupported": [
    "{directive} is not supported",
    "{directive} no se admite",
  ],
  "directive-twice": [
    "{directive} stands twice",
    "{directive} está dos veces",
  ],
  "suite-not-valid": [
    "The expectation suite {name}is not valid: {errors}.",
    "La suite de expectativas {name}no es válida: {errors}.",
  ],
  "compare-distributed": [
    "{table} is distributed over several servers (Citus), where rows of a run cannot be compared with it. Request a dry run without compare: it counts what is new, changed and unchanged.",
    "{table} está distribuida entre varios servidores (Citus), donde las filas de una ejecución no se pueden comparar con ella. Pida una simulación sin compare: cuenta lo nuevo, lo cambiado y lo que sigue igual.",
  ],
  "compare-no-table": [
    "There is no table {table} to compare with.",
    "No hay ninguna tabla {table} con la que comparar.",
  ],
  "more-were-rejected": [
    "More than {n} records were rejected",
    "Se rechazaron más de {n} registros",
  ],
  "table-refused-more": [
    "The table refused more than {n} rows",
    "La tabla rechazó más de {n} filas",
  ],
  "table-refused-more-of-chunk": [
    "The table refused more than {n} rows of a chunk",
    "La tabla rechazó más de {n} filas de un chunk",
  ],
  "table-refused-first": [
    "The table refused all of the first {n} rows of a chunk",
    "La tabla rechazó las primeras {n} filas de un chunk, todas",
  ],
  "first-all-rejected": [
    "The first {n} records were all rejected",
    "Los primeros {n} registros se rechazaron todos",
  ],
  "too-many-rejected": [
    "{what*}. Check the mapping of the source (key, event_type, occurred_at, version) with a preview.{example*}",
    "{what*}. Compruebe la correspondencia de la fuente (key, event_type, occurred_at, version) con una vista previa.{example*}",
  ],
  "first-rejected": [
    " The first: {what*} (rule {rule}){place*}, in {raw}",
    " El primero: {what*} (regla {rule}){place*}, en {raw}",
  ],
  "at-line-of": [
    ", line {line} of {file}",
    ", línea {line} de {file}",
  ],
  "in-the-file": [
    ", in {file}",
    ", en {file}",
  ],
  "in-stage": [
    " in {stage}",
    " en {stage}",
  ],
  "worker-died": [
    "its worker died",
    "murió su worker",
  ],
  "spool-has-left": [
    "The finished rows of this run take about {bytes}, and the disk of {dir} is full but for {free}: free space there.",
    "Las filas terminadas de esta ejecución ocupan unos {bytes}, y al disco de {dir} solo le quedan {free}: libere espacio allí.",
  ],
  "spool-too-small": [
    "The finished rows of this run take about {bytes}, and the disk of {dir} has {size} in all: point ETL_SPOOL_DIR at a larger disk, or load the source in parts.",
    "Las filas terminadas de esta ejecución ocupan unos {bytes}, y el disco de {dir} tiene {size} en total: apunte ETL_SPOOL_DIR a un disco mayor, o cargue la fuente por partes.",
  ],
  "one-has-key-of-row": [
    "A record of this run has the key of a row",
    "Un registro de esta ejecución tiene la clave de una fila",
  ],
  "some-have-keys-of-rows": [
    "{n} records of this run have keys of rows",
    "{n} registros de esta ejecución tienen claves de filas",
  ],
  "rows-of-nobody": [
    "{who*} in {table} that no run has written (_etl_run_id is null): {keys}. Nothing of them was changed. Delete them, or leave these records out.",
    "{who*} de {table} que ninguna ejecución escribió (_etl_run_id es null): {keys}. No se cambió nada de ellas. Bórrelas, o deje fuera estos registros.",
  ],
  "rows-of-another": [
    "{who*} that another source owns in {table}: {keys}. Nothing of them was changed. Give the source the name that owns them (now: {source}), a key of its own, or another table_name.",
    "{who*} de otra fuente en {table}: {keys}. No se cambió nada de ellas. Dé a la fuente el nombre al que pertenecen (ahora: {source}), una clave propia, u otro table_name.",
  ],
  "fields-without-column": [
    "The records have {n} [field|fields] that {dataset} has no column for: {fields*}. Nothing was loaded. Add the column ({how*}), drop the field in a transform, or send such records to the quarantine (schema_policy: quarantine).",
    "Los registros tienen {n} [campo|campos] sin columna en {dataset}: {fields*}. No se cargó nada. Añada la columna ({how*}), quite el campo en una transformación, o envíe esos registros a la cuarentena (schema_policy: quarantine).",
  ],
  "field-in-records": [
    "{field} ({type}, in {n} [record|records], such as {example})",
    "{field} ({type}, en {n} [registro|registros], como {example})",
  ],
  "table-generates": [
    'the table generates {column}, so no run writes it: name another with {"column": …} in source.columns',
    'la tabla genera {column}, así que ninguna ejecución la escribe: nombre otra con {"column": …} en source.columns',
  ],
  "owner-adds": [
    'as its owner, {owner}: alter table {table} add column {column} {type}; or name one with {"column": …} in source.columns',
    'como su dueño, {owner}: alter table {table} add column {column} {type}; o nombre una con {"column": …} en source.columns',
  ],
  "field-no-place": [
    "Field {field} cannot be stored in column {column}: {table} {why*}.",
    "El campo {field} no se puede guardar en la columna {column}: {table} {why*}.",
  ],
  "has-no-such-column": [
    "has no such column",
    "no tiene esa columna",
  ],
  "generates-it": [
    "generates it, and no run writes it",
    "la genera, y ninguna ejecución la escribe",
  ],
  "has-another-there": [
    "has another field there",
    "tiene ahí otro campo",
  ],
  "records-range": [
    "records {from} to {to}",
    "registros {from} a {to}",
  ],
  "records-of-chunk": [
    "records {from} to {to} of chunk {chunk}",
    "registros {from} a {to} del chunk {chunk}",
  ],
  "at-record": [
    "{where*}, at record {at}",
    "{where*}, en el registro {at}",
  ],
  "transform-memory": [
    "The transform module {module} needs more than 512 MiB of memory ({place*}). Let it keep less from record to record.",
    "El módulo de transformación {module} necesita más de 512 MiB de memoria ({place*}). Haga que guarde menos de un registro a otro.",
  ],
  "transform-broke": [
    "The transform module {module} broke down ({place*}): {error}",
    "El módulo de transformación {module} se rompió ({place*}): {error}",
  ],
  "transform-endless": [
    "The transform module {module} did not end within {n} ms ({place*}) and was stopped. Look for a loop that does not end, or allow more with transform_timeout_ms.",
    "El módulo de transformación {module} no terminó en {n} ms ({place*}) y se detuvo. Busque un bucle sin fin, o dé más tiempo con transform_timeout_ms.",
  ],
  "no-transform-yet": [
    "There is no transform module {module}: {path} does not exist. No module is there yet.",
    "No hay ningún módulo de transformación {module}: {path} no existe. Allí todavía no hay ninguno.",
  ],
  "no-transform": [
    "There is no transform module {module}: {path} does not exist. Known: {names}.",
    "No hay ningún módulo de transformación {module}: {path} no existe. Conocidos: {names}.",
  ],
  "transform-not-loaded": [
    "The transform module {path} cannot be loaded: {error}",
    "El módulo de transformación {path} no se puede cargar: {error}",
  ],
  "transform-load-endless": [
    "The transform module {path} was not loaded within {n} ms and was stopped.",
    "El módulo de transformación {path} no se cargó en {n} ms y se detuvo.",
  ],
  "transform-exports": [
    "The transform module {path} exports neither a function named transform nor a zod schema named schema.",
    "El módulo de transformación {path} no exporta ni una función llamada transform ni un esquema de zod llamado schema.",
  ],
  "host-changed": [
    "The transform module changes the program around it: {what}. It must export its functions and change nothing else.",
    "El módulo de transformación cambia el programa que lo rodea: {what}. Debe exportar sus funciones y no cambiar nada más.",
  ],
  "token-unknown": [
    "This token is not known here. An admin makes one: `deno task etl token create`.",
    "Este token no se conoce aquí. Un administrador crea uno: `deno task etl token create`.",
  ],
  "token-revoked": [
    "The token {name} was revoked. Get a new one from an admin.",
    "El token {name} se revocó. Pida uno nuevo a un administrador.",
  ],
  "token-expired": [
    "The token {name} expired at {at}. Get a new one from an admin.",
    "El token {name} caducó el {at}. Pida uno nuevo a un administrador.",
  ],
  "do-you-mean": [
    "; do you mean {name}?",
    "; ¿quiere decir {name}?",
  ],
  "no-database-connection": [
    'There is no connection "{name}" to a database{near*} Set {variable} to postgres://user:password@host/database or mysql://… and restart the server.',
    'No hay ninguna conexión "{name}" a una base de datos{near*} Ponga en {variable} postgres://user:password@host/database o mysql://… y reinicie el servidor.',
  ],
  "no-job-schedule": [
    "{name} is no job whose schedule can be set{near*} There are {names}.",
    "{name} no es una tarea cuyo horario se pueda fijar{near*} Hay: {names}.",
  ],
  "source-is-data": [
    "The source of a request with data is the data: give its key, event_type, … in the query.",
    "La fuente de una petición con datos son los datos: dé su key, event_type, … en la consulta.",
  ],
  "given-several-times": [
    "{name} is given {n} times.",
    "{name} se da {n} veces.",
  ],
  "run-request-types": [
    "A run request is application/json, or data as one of {types}",
    "Una petición de ejecución es application/json, o datos como uno de estos: {types}",
  ],
  "type-not-taken": [
    "{wanted*}; not {type*}.",
    "{wanted*}; no {type*}.",
  ],
  "no-content-type": [
    "a body without a content type",
    "un cuerpo sin tipo de contenido",
  ],
  "parameters-are-json": [
    'The parameters are application/json, e.g. {"top_n": 5}',
    'Los parámetros son application/json, p. ej. {"top_n": 5}',
  ],
  "one-of-or-consumer": [
    "one of {names}, or a consumer: {consumers}",
    "uno de {names}, o un consumidor: {consumers}",
  ],
  "maintenance-is-json": [
    'The conf is application/json, e.g. {"retention_days_metrics": 60}',
    'La conf es application/json, p. ej. {"retention_days_metrics": 60}',
  ],
  "chunked-too-large": [
    "A body without Content-Length has {n} bytes at most. Send it with its length: curl --data-binary @FILE, or @- for the standard input.",
    "Un cuerpo sin Content-Length tiene {n} bytes como máximo. Envíelo con su longitud: curl --data-binary @FILE, o @- para la entrada estándar.",
  ],
  "body-too-large": [
    "The body has more than {n} bytes. Put the data where a file or http source can read it.",
    "El cuerpo tiene más de {n} bytes. Ponga los datos donde una fuente file o http los pueda leer.",
  ],
  "is-too-deep": [
    "is nested deeper than {n} levels",
    "está anidado a más de {n} niveles",
  ],
  "has-too-many-names": [
    "has an object of more than {n} names",
    "tiene un objeto de más de {n} nombres",
  ],
  "has-too-many-digits": [
    "has a number of more than {n} digits",
    "tiene un número de más de {n} cifras",
  ],
  "has-too-many-long-numbers": [
    "has more than {n} numbers of 16 or more digits",
    "tiene más de {n} números de 16 cifras o más",
  ],
  "has-too-many-values": [
    "has more than {n} values",
    "tiene más de {n} valores",
  ],
  "requests-in-progress": [
    "{n} requests are in progress",
    "hay {n} peticiones en curso",
  ],
  "strangers-in-progress": [
    "{n} requests without a token are in progress",
    "hay {n} peticiones sin token en curso",
  ],
  "streams-open": [
    "{n} streams and waiting requests are open",
    "hay {n} streams y peticiones en espera abiertos",
  ],
  "bodies-received": [
    "{n} bodies of data are being received",
    "se están recibiendo {n} cuerpos de datos",
  ],
  "bodies-fill-memory": [
    "request bodies fill the memory meant for them",
    "los cuerpos de peticiones llenan la memoria prevista para ellos",
  ],
  "wrong-tokens": [
    "wrong tokens",
    "tokens incorrectos",
  ],
  "requests-that-start-work": [
    "requests that start work",
    "peticiones que inician trabajo",
  ],
  "locked": [
    "Something that this needs is locked in the database. Try again in a few seconds.",
    "Algo que esto necesita está bloqueado en la base de datos. Inténtelo en unos segundos.",
  ],
  "locked-by": [
    "Something that this needs is locked by {who}. Try again when that transaction has ended, or end it: select pg_terminate_backend({pid}).",
    "Algo que esto necesita lo tiene bloqueado {who}. Inténtelo cuando haya terminado esa transacción, o termínela: select pg_terminate_backend({pid}).",
  ],
  "environment-token": [
    "The token of the environment is revoked by changing ETL_ADMIN_TOKEN and starting the servers again.",
    "El token del entorno se revoca cambiando ETL_ADMIN_TOKEN y arrancando los servidores otra vez.",
  ],
  "token-name-reserved": [
    "{name} is how the audit table names others. Choose another name.",
    "{name} es como la tabla de auditoría llama a otros. Elija otro nombre.",
  ],
  "token-in-use": [
    "There is a token {name} in use. Revoke it first, or choose another name.",
    "Hay un token {name} en uso. Revóquelo antes, o elija otro nombre.",
  ],
  "flags-a-u": [
    "the flags a and u exclude each other",
    "las marcas a y u se excluyen",
  ],
  "flags-a-i": [
    "the flags a and i together are not supported",
    "las marcas a e i juntas no se admiten",
  ],
  "ends-with-escape": [
    "it ends with its escape character",
    "acaba en su carácter de escape",
  ],
  "no-possessive": [
    "possessive quantifiers are not supported",
    "los cuantificadores posesivos no se admiten",
  ],
  "no-look-around": [
    "look-around is not supported",
    "las aserciones de contexto (look-around) no se admiten",
  ],
  "no-back-references": [
    "back references are not supported",
    "las referencias hacia atrás no se admiten",
  ],
  "no-atomic-groups": [
    "atomic groups are not supported",
    "los grupos atómicos no se admiten",
  ],
  "no-conditional-groups": [
    "conditional groups are not supported",
    "los grupos condicionales no se admiten",
  ],
  "no-comments": [
    "comments are not supported",
    "los comentarios no se admiten",
  ],
  "no-verbose-mode": [
    "verbose mode is not supported",
    "el modo verboso no se admite",
  ],
  "no-multi-line": [
    "multi-line mode is not supported",
    "el modo multilínea no se admite",
  ],
  "no-inner-flags": [
    "the flags a, u and L are not supported inside of a pattern",
    "las marcas a, u y L no se admiten dentro de un patrón",
  ],
  "ends-with-backslash": [
    "it ends with a backslash",
    "acaba en una barra inversa",
  ],
  "database-no-space": [
    "no space is left on the database's disk",
    "no queda espacio en el disco de la base de datos",
  ],
  "database-no-memory": [
    "the database is out of memory",
    "la base de datos se quedó sin memoria",
  ],
  "database-no-connections": [
    "all connections of the database are in use",
    "todas las conexiones de la base de datos están en uso",
  ],
  "database-short": [
    "the database is short of resources",
    "a la base de datos le faltan recursos",
  ],
  "database-no-writes": [
    "the database takes no writes now (a standby, or read-only)",
    "la base de datos no admite escrituras ahora (una réplica, o solo lectura)",
  ],
  "database-shutting-down": [
    "the connection was ended, or the database is shutting down",
    "la conexión se cerró, o la base de datos se está apagando",
  ],
  "database-crashed": [
    "the database has crashed and starts again",
    "la base de datos se cayó y arranca otra vez",
  ],
  "database-starting": [
    "the database is starting up or shutting down",
    "la base de datos está arrancando o apagándose",
  ],
  "database-ended-session": [
    "the database has ended a session that waited",
    "la base de datos terminó una sesión que esperaba",
  ],
  "database-disk": [
    "the database cannot read or write its disk",
    "la base de datos no puede leer o escribir su disco",
  ],
  "connection-lost": [
    "the connection to the database was lost",
    "se perdió la conexión con la base de datos",
  ],
  "another-was-faster": [
    "another transaction was faster",
    "otra transacción fue más rápida",
  ],
  "waited-for-each-other": [
    "two transactions waited for each other",
    "dos transacciones se esperaban una a otra",
  ],
  "another-holds-lock": [
    "another transaction holds a lock",
    "otra transacción tiene un bloqueo",
  ],
  "nothing-listens": [
    "nothing listens at the database's address",
    "nada escucha en la dirección de la base de datos",
  ],
  "host-not-known": [
    "the database's host name is not known now",
    "el nombre de host de la base de datos no se conoce ahora",
  ],
  "no-route": [
    "there is no network route to the database",
    "no hay ruta de red hasta la base de datos",
  ],
  "database-silent": [
    "the database does not answer",
    "la base de datos no responde",
  ],
  "no-host-writes": [
    "none of the database's hosts takes writes now",
    "ninguno de los hosts de la base de datos admite escrituras ahora",
  ],
  "machine-short": [
    "the machine is short of file descriptors or buffers",
    "a la máquina le faltan descriptores de archivo o búferes",
  ],
  "lock-waited": [
    "a statement waited too long for a lock, or somebody cancelled it",
    "una sentencia esperó demasiado un bloqueo, o alguien la canceló",
  ],
  "deletion-refused": [
    "{table} refuses to have rows deleted that the source no longer has: {error} (SQLSTATE {code}). Nothing was changed. Delete what refers to these rows, let the constraint say `on delete`, or mirror with on_missing: mark; then ask for the run again.",
    "{table} no deja que se borren filas que la fuente ya no tiene: {error} (SQLSTATE {code}). No se cambió nada. Borre lo que se refiere a esas filas, o dé a la restricción un `on delete`, o haga el mirror con on_missing: mark; después pida la ejecución otra vez.",
  ],
  "marking-refused": [
    "{table} refuses to have rows marked that the source no longer has: {error} (SQLSTATE {code}). Nothing was changed. Delete what refers to these rows, let the constraint say `on delete`; then ask for the run again.",
    "{table} no deja que se marquen filas que la fuente ya no tiene: {error} (SQLSTATE {code}). No se cambió nada. Borre lo que se refiere a esas filas, o dé a la restricción un `on delete`; después pida la ejecución otra vez.",
  ],
  "a-configuration": [
    "configuration",
    "la configuración",
  ],
  "a-variable": [
    "variable",
    "la variable",
  ],
  "a-pool": [
    "pool",
    "el pool",
  ],
  "catalogues-read": [
    "{n} catalogues are being read",
    "se están leyendo {n} catálogos",
  ],
  "previews-made": [
    "{n} [preview is|previews are] being made",
    "se [está|están] haciendo {n} [vista previa|vistas previas]",
  ],
  "suites-tried": [
    "{n} suites are being tried or profiled",
    "se están probando o perfilando {n} suites",
  ],
  "labels-looked-at": [
    "{n} run labels are looked at",
    "se están mirando {n} etiquetas",
  ],
  "rows-left-out": [
    "{missing} of {written} rows that were written into {table} are not there: {why*}. Nothing of this chunk was kept. Let the trigger raise an error for what it does not take, or filter those records in a transform.",
    "{missing} de las {written} filas escritas en {table} no están: {why*}. No se conservó nada de este chunk. Haga que el trigger dé un error con lo que no admite, o filtre esos registros en una transformación.",
  ],
  "left-out-by-trigger": [
    "a trigger or rule of the table has left the row out or as it was, or changed its key",
    "un trigger o una regla de la tabla dejó fuera la fila o la dejó como estaba, o cambió su clave",
  ],
} as const satisfies Record<string, readonly [english: string, spanish: string]>;
