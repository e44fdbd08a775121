/** What SQL says (sql/), where nothing else says the same: by code, English and Spanish, as {@linkcode ./messages.ts} has the rest. */
export const SQL_MESSAGES = {
  "as-owner": [
    "{what*}. As its owner: {statement}",
    "{what*}. Como su dueño: {statement}",
  ],
  "as-owner-named": [
    "{what*}. As its owner, {owner}: {statement}",
    "{what*}. Como su dueño, {owner}: {statement}",
  ],
  "as-an-owner": [
    "{what*}. As an owner: {statement}",
    "{what*}. Como dueño: {statement}",
  ],
  "as-schema-owner": [
    "{what*}. As the owner of the schema: {statement}",
    "{what*}. Como dueño del esquema: {statement}",
  ],
  "when-queries-end": [
    "{what*}. Try again when the queries on it have ended.",
    "{what*}. Inténtelo cuando hayan terminado las consultas que la usan.",
  ],
  "from-stored": [
    "{what*} (from the {origin*})",
    "{what*} (según {origin*})",
  ],
  "from-servers": [
    "{what*} (from the servers' environment: {variable})",
    "{what*} (del entorno de los servidores: {variable})",
  ],
  "from-variable": [
    "{what*} (from the variable {variable})",
    "{what*} (de la variable {variable})",
  ],
  "value-too-small": [
    "is too small",
    "es demasiado pequeño",
  ],
  "value-too-large": [
    "is too large",
    "es demasiado grande",
  ],
  "value-too-short": [
    "is too short",
    "es demasiado corto",
  ],
  "value-too-long": [
    "is too long",
    "es demasiado largo",
  ],
  "value-wrong-form": [
    "has the wrong form",
    "tiene una forma incorrecta",
  ],
  "value-unknown-type": [
    "is of no known type",
    "es de un tipo desconocido",
  ],
  "name-not-known": [
    "is not a known name",
    "no es un nombre conocido",
  ],
  "name-meant": [
    "is not a known name; did you mean {name}?",
    "no es un nombre conocido; ¿quería decir {name}?",
  ],
  "an-environment": [
    "environment",
    "el entorno",
  ],
  "a-value": [
    "value",
    "un valor",
  ],
  "text-that-matches": [
    "text that matches {pattern}",
    "texto que siga {pattern}",
  ],
  "must-be-a": [
    "must be a {type}",
    "debe ser un {type}",
  ],
  "must-be-unquoted": [
    "must be a {type}, written without quotes",
    "debe ser un {type}, escrito sin comillas",
  ],
  "not-set-up": [
    "The database is not set up: run `deno task setup-db` first.",
    "La base de datos no está preparada: ejecute antes `deno task setup-db`.",
  ],
  "none-saved": [
    "none is saved yet",
    "todavía no hay ninguna guardada",
  ],
  "none-stored": [
    "none is stored yet",
    "todavía no hay ninguna guardada",
  ],
  "one-of-or-make": [
    "one of: {names}; or make it: etl pool set {pool} 4",
    "uno de estos: {names}; o créelo: etl pool set {pool} 4",
  ],
  "suite-row-by-row": [
    "needs a suite that judges rows one by one; {suite} has expectations of the whole batch",
    "necesita una suite que juzgue fila por fila; {suite} tiene expectativas sobre todo el lote",
  ],
  "holds-secret": [
    "holds {what*}, and confs are stored and shown",
    "contiene {what*}, y las confs se guardan y se muestran",
  ],
  "secret-user": [
    "a user or password before the host",
    "un usuario o una contraseña delante del host",
  ],
  "secret-in-query": [
    "a token or signature in the query ({name})",
    "un token o una firma en la consulta ({name})",
  ],
  "secret-as-query": [
    "a token as its query",
    "un token como consulta",
  ],
  "secret-token-password": [
    "a token or password ({name})",
    "un token o una contraseña ({name})",
  ],
  "secret-in-path": [
    "a token in the path ({name})",
    "un token en la ruta ({name})",
  ],
  "secret-connection": [
    "a connection string with a password",
    "una cadena de conexión con contraseña",
  ],
  "secret-header": [
    "a header that authorises",
    "una cabecera que autoriza",
  ],
  "secret-private-key": [
    "a private key",
    "una clave privada",
  ],
  "secret-jwt": [
    "a JSON web token",
    "un JSON web token",
  ],
  "secret-access-token": [
    "an access token",
    "un token de acceso",
  ],
  "secret-other": [
    "what authorises",
    "algo que autoriza",
  ],
  "secret-of-connection": [
    "the name of a connection in source.connection, whose URL and headers the variable ETL_CONNECTION_<NAME> of the servers holds; source.url then without secrets",
    "el nombre de una conexión en source.connection, cuya URL y cabeceras tiene la variable ETL_CONNECTION_<NAME> de los servidores; source.url entonces sin secretos",
  ],
  "no-secret": [
    "no secret",
    "ningún secreto",
  ],
  "idempotency-length": [
    "An idempotency key has 1 to 255 characters.",
    "Una clave de idempotencia tiene de 1 a 255 caracteres.",
  ],
  "idempotency-used": [
    "This idempotency key belongs to run {run}, which was requested with another conf. Use a new key for a new run.",
    "Esta clave de idempotencia es de la ejecución {run}, que se pidió con otra conf. Use una clave nueva para una ejecución nueva.",
  ],
  "maintenance-errors": [
    "The conf of etl_maintenance has {errors}",
    "La conf de etl_maintenance tiene {errors}",
  ],
  "maintenance-going-on": [
    "Maintenance {id} is in progress ({state} since {at}). See GET /api/etl/maintenance/{same} and repeat the request when it has ended.",
    "El mantenimiento {id} está en curso ({state} desde {at}). Mire GET /api/etl/maintenance/{same} y repita la petición cuando haya terminado.",
  ],
  "maintenance-elsewhere": [
    "Maintenance {id} is carried out by another server now.",
    "El mantenimiento {id} lo hace ahora otro servidor.",
  ],
  "other-server": [
    "Another server does this now: {work}.",
    "Otro servidor hace esto ahora: {work}.",
  ],
  "write-needs-all": [
    "cannot be together with write: {write}, which needs all that the source has",
    "no puede ir con write: {write}, que necesita todo lo que tiene la fuente",
  ],
  "append-changes-none": [
    "is nothing for write: append, which changes no row",
    "no sirve con write: append, que no cambia ninguna fila",
  ],
  "deletion-needs-key": [
    "is missing: a record that deletes needs the key to delete",
    "falta: un registro que borra necesita la clave que borrar",
  ],
  "identifying-fields": [
    "the fields that identify a record",
    "los campos que identifican un registro",
  ],
  "for-mirror-only": [
    "is for write: mirror, and this is write: {write}",
    "es para write: mirror, y esto es write: {write}",
  ],
  "deletes-nothing": [
    "is for write: mirror, and write: {write} deletes nothing",
    "es para write: mirror, y write: {write} no borra nada",
  ],
  "server-stopped": [
    'Its server {server} stopped without a word at {at}, in stage {stage}, with {prepared} of {chunks*} chunks prepared and {published} published. {why*} Such a process has usually run out of memory: its output contains "out of memory", or its exit code is 137.',
    'Su servidor {server} se detuvo sin avisar el {at}, en la etapa {stage}, con {prepared} de {chunks*} chunks preparados y {published} publicados. {why*} Un proceso así casi siempre se quedó sin memoria: su salida contiene "out of memory", o su código de salida es 137.',
  ],
  "unknown-number": [
    "an unknown number of",
    "un número desconocido de",
  ],
  "got-on": [
    "The run had got on since its last attempt, so this one does not count.",
    "La ejecución había avanzado desde su último intento, así que este no cuenta.",
  ],
  "others-were-on-it": [
    "{n} other runs were on it, and the cause may be any of them, so the attempt does not count.",
    "Había otras {n} ejecuciones en él, y cualquiera puede ser la causa, así que el intento no cuenta.",
  ],
  "no-other-on-it": [
    "No other run was on it.",
    "No había otra ejecución en él.",
  ],
  "attempts-used-up": [
    "The run was started {attempts} times and never ended. The last problem: {problem*} Retry it when the cause is gone.",
    "La ejecución se inició {attempts} veces y nunca terminó. El último problema: {problem*} Reinténtela cuando haya desaparecido la causa.",
  ],
  "server-silent": [
    "its server stopped without a word.",
    "su servidor se detuvo sin avisar.",
  ],
  "outage-too-long": [
    "{problem*} It was waited for since {at}, for the {minutes} minutes of ETL_OUTAGE_MINUTES. Retry the run when the cause is gone.",
    "{problem*} Se esperó desde {at}, los {minutes} minutos de ETL_OUTAGE_MINUTES. Reintente la ejecución cuando haya desaparecido la causa.",
  ],
  "not-retriable": [
    "Run {run} is {state*}; only a failed or cancelled run can be retried.",
    "La ejecución {run} está {state*}; solo se puede reintentar una fallida o cancelada.",
  ],
  "state-queued": [
    "queued",
    "en cola",
  ],
  "state-running": [
    "running",
    "en curso",
  ],
  "state-succeeded": [
    "succeeded",
    "terminada con éxito",
  ],
  "overlap-skipped": [
    "Skipped: run {run} of the same label was waiting or running, and overlap is skip.",
    "Omitida: la ejecución {run} de la misma etiqueta esperaba o estaba en curso, y overlap es skip.",
  ],
  "nothing-to-replay": [
    "Run {run} has no open record in its quarantine{which*}: none was rejected, or all have been replayed.",
    "La ejecución {run} no tiene ningún registro abierto en su cuarentena{which*}: no se rechazó ninguno, o todos se han vuelto a cargar.",
  ],
  "rule-rejected": [
    " that rule {rule} rejected",
    " que rechazara la regla {rule}",
  ],
  "restored-run": [
    "The run was in progress when the backup of {at} was taken. A retry continues from there.",
    "La ejecución estaba en curso cuando se hizo la copia de seguridad del {at}. Un reintento sigue desde ahí.",
  ],
  "time-zone-unknown": [
    "{zone} is not a known time zone.",
    "{zone} no es una zona horaria conocida.",
  ],
  "no-previous-slot": [
    "{{slot_previous}} is used, but this run has no previous slot.",
    "Se usa {{slot_previous}}, pero esta ejecución no tiene una hora programada anterior.",
  ],
  "no-schedule-named": [
    "There is no schedule {schedule}.",
    "No hay ninguna programación {schedule}.",
  ],
  "slot-paused": [
    "the schedule was paused",
    "la programación estaba en pausa",
  ],
  "slot-run-in-progress": [
    "run {run} was in progress",
    "la ejecución {run} estaba en curso",
  ],
  "slot-late": [
    "later than the grace of {seconds} s",
    "más tarde que el margen de {seconds} s",
  ],
  "slot-late-newest": [
    "later than the grace of {seconds} s; of such slots only the newest is run",
    "más tarde que el margen de {seconds} s; de tales horas solo se ejecuta la más nueva",
  ],
  "slot-late-newest-100": [
    "later than the grace of {seconds} s; of such slots only the newest 100 are run",
    "más tarde que el margen de {seconds} s; de tales horas solo se ejecutan las 100 más nuevas",
  ],
  "schema-reserved": [
    "Schema {schema} cannot hold data: it belongs to PostgreSQL or to the pipeline itself. Choose another schema_name; a missing one is created.",
    "El esquema {schema} no puede tener datos: es de PostgreSQL o del propio programa. Elija otro schema_name; si falta, se crea.",
  ],
  "not-there-no-create": [
    "{table} does not exist and role {role} may not create it",
    "{table} no existe y el rol {role} no puede crearla",
  ],
  "not-there-set-up": [
    "{table*} does not exist and role {role} may not create it. Run `{command}` as the owner.",
    "{table*} no existe y el rol {role} no puede crearla. Ejecute `{command}` como dueño.",
  ],
  "not-there-set-up-or": [
    "{table*} does not exist and role {role} may not create it. Run `{command}` as the owner, or: {statement}",
    "{table*} no existe y el rol {role} no puede crearla. Ejecute `{command}` como dueño, o: {statement}",
  ],
  "what-run-writes": [
    "What the run writes to in schema {schema}",
    "La tabla en la que escribe la ejecución, del esquema {schema},",
  ],
  "may-not-write": [
    "Role {role} may not write into {table}",
    "El rol {role} no puede escribir en {table}",
  ],
  "may-not-look": [
    "Role {role} may not look into schema {schema}",
    "El rol {role} no puede ver el esquema {schema}",
  ],
  "may-not-load": [
    "Role {role} may not load into {table}",
    "El rol {role} no puede cargar en {table}",
  ],
  "may-not-add-columns": [
    "Role {role} may not add columns to {table}",
    "El rol {role} no puede añadir columnas a {table}",
  ],
  "may-not-change": [
    "Role {role} may not change {dataset}",
    "El rol {role} no puede cambiar {dataset}",
  ],
  "may-not-change-owner": [
    "Role {role}, or the owner of schema etl, may not change {table}: it is another's.",
    "Ni el rol {role} ni el dueño del esquema etl pueden cambiar {table}: es de otro.",
  ],
  "may-not-declare": [
    "Role {role} may not declare columns of {dataset}",
    "El rol {role} no puede declarar columnas de {dataset}",
  ],
  "may-not-make-view": [
    "Role {role} may not make the view of {dataset}",
    "El rol {role} no puede crear la vista de {dataset}",
  ],
  "may-not-drop-view": [
    "Role {role} may not drop the view {view}",
    "El rol {role} no puede borrar la vista {view}",
  ],
  "view-not-dropped": [
    "{view} may not be dropped by the owner of schema etl",
    "El dueño del esquema etl no puede borrar {view}",
  ],
  "owned-by-other-session": [
    "{table} belongs to another role than {owner}, and this session has the rights of {same}: what is attached to it (triggers, policies, what a view calls) would run with them. Use a server with a role of its own (docs/database_role.md).",
    "{table} es de otro rol que {owner}, y esta sesión tiene los derechos de {same}: con ellos se ejecutaría lo que depende de ella (triggers, políticas, lo que llama una vista). Use un servidor con un rol propio (docs/database_role.md).",
  ],
  "owned-by-other-server": [
    "{table} belongs to another role than {owner}, and this server has the rights of {same}, with which triggers of the table would run. Give the server its own role (docs/database_role.md).",
    "{table} es de otro rol que {owner}, y este servidor tiene los derechos de {same}, con los que se ejecutarían los triggers de la tabla. Dé al servidor un rol propio (docs/database_role.md).",
  ],
  "owned-by-other-request": [
    "{table} belongs to another role than {owner}, and this request has the rights of {role}, with which triggers of the table would run. Make the request as a server's role (docs/database_role.md).",
    "{table} es de otro rol que {owner}, y esta petición tiene los derechos de {role}, con los que se ejecutarían los triggers de la tabla. Haga la petición con el rol de un servidor (docs/database_role.md).",
  ],
  "schema-of-other": [
    "{table} belongs to role {owner}, in a schema of role {other}, and this request has the rights of {role}, with which triggers of the table would run. Make the request as the server's role, or, as a superuser: {statement}",
    "{table} es del rol {owner}, en un esquema del rol {other}, y esta petición tiene los derechos de {role}, con los que se ejecutarían los triggers de la tabla. Haga la petición con el rol del servidor, o, como superusuario: {statement}",
  ],
  "lacks-columns-choose": [
    "{table} exists, but lacks {columns}. Choose another table_name, or run sql/etl_migration.sql if it is from an older installation.",
    "{table} existe, pero le faltan {columns}. Elija otro table_name, o ejecute sql/etl_migration.sql si es de una instalación anterior.",
  ],
  "lacks": [
    "lacks {columns}",
    "le faltan {columns}",
  ],
  "no-event-id-key": [
    "{table} has no primary key or unique index on event_id alone, so an upsert could not find its rows.",
    "{table} no tiene clave primaria ni índice único solo sobre event_id, así que un upsert no encontraría sus filas.",
  ],
  "no-audit-table": [
    "{table} exists and is not an audit table. Choose another audit_table_name.",
    "{table} existe y no es una tabla de auditoría. Elija otro audit_table_name.",
  ],
  "tables-of": [
    "tables of {owner}",
    "tablas de {owner}",
  ],
  "lacks-run-columns": [
    "{table} lacks columns of a run",
    "A {table} le faltan columnas de una ejecución",
  ],
  "no-deleted-at": [
    "{table} has no column _etl_deleted_at, in which rows are marked",
    "{table} no tiene la columna _etl_deleted_at, en la que se marcan las filas",
  ],
  "no-unique-key": [
    "{table} has no unique constraint on exactly the columns of the key ({columns})",
    "{table} no tiene una restricción única exactamente sobre las columnas de la clave ({columns})",
  ],
  "no-typed-load": [
    "{table} exists and is not a table that a typed load can use. Choose another table_name.",
    "{table} existe y no es una tabla que pueda usar una carga tipada. Elija otro table_name.",
  ],
  "no-run-made-it": [
    "{table} exists and is not a typed table created by a run. Choose another table_name.",
    "{table} existe y no es una tabla tipada creada por una ejecución. Elija otro table_name.",
  ],
  "own-table-gone": [
    "{table} no longer exists: it was its owner's table, which runs do not create.",
    "{table} ya no existe: era una tabla de su dueño, que las ejecuciones no crean.",
  ],
  "no-such-columns": [
    "{table} has no such columns to load into: {columns*}",
    "{table} no tiene columnas así en las que cargar: {columns*}",
  ],
  "own-column-missing": [
    "{column}: no column of {table}",
    "{column}: no es una columna de {table}",
  ],
  "own-column-generated": [
    "{column}: generated or an identity, which no run writes",
    "{column}: es generada o de identidad, y ninguna ejecución la escribe",
  ],
  "own-column-type": [
    "{column}: of type {type}",
    "{column}: es de tipo {type}",
  ],
  "own-table-alter": [
    "{dataset} is a table of its owner, {owner}, who adds and alters its columns (alter table {table} …); then repeat this. Current differences: {columns*}",
    "{dataset} es una tabla de su dueño, {owner}, que añade y altera sus columnas (alter table {table} …); repita esto después. Diferencias actuales: {columns*}",
  ],
  "is-no-table": [
    "is no table",
    "no es una tabla",
  ],
  "is-events-table": [
    "is a table of events, into which no typed load goes",
    "es una tabla de eventos, en la que no cabe una carga tipada",
  ],
  "lacks-whose": [
    "lacks columns that tell whose a row is and whether it changed",
    "le faltan columnas que digan de quién es una fila y si cambió",
  ],
  "lacks-dry": [
    "lacks columns of a run, and a dry run adds none",
    "le faltan columnas de una ejecución, y una simulación no las añade",
  ],
  "lacks-role": [
    "lacks columns of a run, and role {role} may not add them",
    "le faltan columnas de una ejecución, y el rol {role} no puede añadirlas",
  ],
  "or-add-columns": [
    "{statement}; or add_columns: true (--add-columns), where the server's role owns the table",
    "{statement}; o add_columns: true (--add-columns), si la tabla es del rol del servidor",
  ],
  "owner-triggers": [
    "belongs to role {owner}, and the server has the rights of {role}: the table's triggers and defaults would run with them",
    "es del rol {owner}, y el servidor tiene los derechos de {role}: con ellos se ejecutarían los triggers y valores por defecto de la tabla",
  ],
  "not-open-to": [
    "is not open to role {role}",
    "no está abierta al rol {role}",
  ],
  "not-as-declared": [
    "is not what {dataset} has declared",
    "no es lo que declaró {dataset}",
  ],
  "or-omit": [
    "{value*}, or omit it; `etl dataset alter {dataset}` shows what can be changed",
    "{value*}, u omítalo; `etl dataset alter {dataset}` muestra lo que se puede cambiar",
  ],
  "of-one-source": [
    "{source}: a typed table belongs to one source",
    "{source}: una tabla tipada es de una sola fuente",
  ],
  "no-key": [
    "no key",
    "ninguna clave",
  ],
  "no-version": [
    "no version",
    "ninguna versión",
  ],
  "typed-columns": [
    "A typed table has 1 to 1,500 columns.",
    "Una tabla tipada tiene de 1 a 1500 columnas.",
  ],
  "typed-too-many-columns": [
    "A typed table has at most 1,500 columns, and {dataset} would have {columns}.",
    "Una tabla tipada tiene 1500 columnas como máximo, y {dataset} tendría {columns}.",
  ],
  "not-columns": [
    "These cannot be columns: {columns*}",
    "Estas no pueden ser columnas: {columns*}",
  ],
  "column-of-type": [
    "{column} (type {type})",
    "{column} (tipo {type})",
  ],
  "no-typed-key": [
    "{fields} cannot be the key of a typed table: it is an object, a list, or no field.",
    "{fields} no puede ser la clave de una tabla tipada: es un objeto, una lista o no es un campo.",
  ],
  "column-type-wrong": [
    "{column}: a column has a type of text, integer, numeric, numeric(p,s), boolean, date, timestamptz or jsonb, not {type}",
    "{column}: una columna es de tipo text, integer, numeric, numeric(p,s), boolean, date, timestamptz o jsonb, no {type}",
  ],
  "column-not-there": [
    "{column}: is not a column of the table",
    "{column}: no es una columna de la tabla",
  ],
  "column-not-wider": [
    "{column}: integer becomes numeric, date becomes timestamptz, numeric(p,s) becomes numeric, and nothing else keeps every value",
    "{column}: integer puede pasar a numeric, date a timestamptz y numeric(p,s) a numeric, y nada más conserva todos los valores",
  ],
  "retention-own": [
    "{dataset} is a table of its owner, who deletes its rows: retention does not touch it.",
    "{dataset} es una tabla de su dueño, que borra sus filas: la retención no la toca.",
  ],
  "retention-events": [
    "{dataset} is a table of events, whose age occurred_at tells: leave the column out.",
    "{dataset} es una tabla de eventos, cuya edad dice occurred_at: omita la columna.",
  ],
  "retention-column": [
    "Name the column of {dataset} that tells the age of its rows, a time or a day: {columns*}.",
    "Nombre la columna de {dataset} que dice la edad de sus filas, una hora o un día: {columns*}.",
  ],
  "it-has-none": [
    "it has none",
    "no tiene ninguna",
  ],
  "typed-dataset-missing": [
    "There is no typed dataset {dataset}. `etl dataset list` shows them.",
    "No hay ningún conjunto de datos tipado {dataset}. `etl dataset list` los muestra.",
  ],
  "dataset-missing": [
    "There is no dataset {dataset}. `etl dataset list` shows them.",
    "No hay ningún conjunto de datos {dataset}. `etl dataset list` los muestra.",
  ],
  "dataset-no-table": [
    "There is no dataset {dataset} with a table. `etl dataset list` shows them.",
    "No hay ningún conjunto de datos {dataset} con tabla. `etl dataset list` los muestra.",
  ],
  "dataset-first-run": [
    "There is no dataset {dataset}. The first run into a table creates its dataset; `etl dataset list` shows them.",
    "No hay ningún conjunto de datos {dataset}. La primera ejecución en una tabla crea el suyo; `etl dataset list` los muestra.",
  ],
  "in-use": [
    "{table} is in use just now",
    "{table} está en uso en este momento",
  ],
  "in-use-columns": [
    "{table} is in use just now, so its columns cannot be changed",
    "{table} está en uso en este momento, así que sus columnas no se pueden cambiar",
  ],
  "in-use-adding": [
    "{table} is in use just now, so columns cannot be added to it",
    "{table} está en uso en este momento, así que no se le pueden añadir columnas",
  ],
  "in-use-views": [
    "{table} is in use just now, so its views cannot be made",
    "{table} está en uso en este momento, así que sus vistas no se pueden crear",
  ],
  "view-read": [
    "{view} is being read just now, so it cannot be changed",
    "{view} se está leyendo en este momento, así que no se puede cambiar",
  ],
  "built-on": [
    "{dataset} cannot be changed while something is built on it: {error} ({objects}). Drop that, and make it again afterwards.",
    "{dataset} no se puede cambiar mientras algo dependa de ella: {error} ({objects}). Bórrelo y créelo otra vez después.",
  ],
  "column-of-another": [
    "{error}: {table} has such a column already, which no run has made",
    "{error}: {table} ya tiene una columna así, que no creó ninguna ejecución",
  ],
  "first-load-duplicates": [
    "During the first load of {table}, rows with the same keys were written by somebody else, so it has no primary key yet. Delete the duplicates ({which}) and request the run again: it creates the key.",
    "Durante la primera carga de {table}, alguien más escribió filas con las mismas claves, así que aún no tiene clave primaria. Borre los duplicados ({which}) y pida la ejecución otra vez, que creará la clave.",
  ],
  "typed-not-distributed": [
    "{dataset} is a typed table. Only tables of events can be distributed: by event_id, as their key.",
    "{dataset} es una tabla tipada. Solo se pueden distribuir tablas de eventos: por event_id, su clave.",
  ],
  "loading-now": [
    "A run loads {table} just now. Wait for its end, then try again.",
    "Una ejecución carga {table} en este momento. Espere a que termine e inténtelo otra vez.",
  ],
  "no-citus": [
    'This database has no extension citus, so {table} cannot be distributed. Install Citus on this PostgreSQL and on its workers, have a superuser run "create extension citus" and citus_add_node for each worker, then try again. docs/scaling.md says what else helps.',
    'Esta base de datos no tiene la extensión citus, así que {table} no se puede distribuir. Instale Citus en este PostgreSQL y en sus workers, haga que un superusuario ejecute "create extension citus" y citus_add_node para cada worker, e inténtelo otra vez. docs/scaling.md dice qué más ayuda.',
  ],
  "distributed-otherwise": [
    "{table} is distributed by {column}. Runs find rows by event_id: undistribute_table it, then try again.",
    "{table} está distribuida por {column}. Las ejecuciones encuentran las filas por event_id: use undistribute_table con ella e inténtelo otra vez.",
  ],
  "keeps-history": [
    "cannot be: {dataset} keeps a history, whose rows have key and version as their key",
    "no puede ser: {dataset} guarda un historial, cuyas filas tienen clave y versión como clave",
  ],
  "has-no-history-rows": [
    "not possible: {dataset} has rows that are not a history",
    "no es posible: {dataset} tiene filas que no son de un historial",
  ],
  "history-views-needed": [
    "The views of the history of {table} would have to be dropped, and other things are built on them: {objects}. Drop them first and make them again afterwards.",
    "Habría que borrar las vistas del historial de {table}, y otras cosas dependen de ellas: {objects}. Bórrelas antes y créelas otra vez después.",
  ],
  "no-history-view": [
    "{view} exists and is no view of a history. Give it another name.",
    "{view} existe y no es una vista de un historial. Dele otro nombre.",
  ],
  "history-view-taken": [
    "{view} or {other} exists and is none of a history: {error}. Give it another name.",
    "{view} u {other} existe y no es de un historial: {error}. Dele otro nombre.",
  ],
  "history-version-no-time": [
    "The version of a history is a time, and {field} is {type}. Name a field with a time as source.version.",
    "La versión de un historial es una hora, y {field} es {type}. Nombre un campo con una hora como source.version.",
  ],
  "history-own-columns": [
    "A history has its own columns valid_from, valid_to and is_current, and the records also have {columns}. Rename it in a transform.",
    "Un historial tiene sus propias columnas valid_from, valid_to e is_current, y los registros también tienen {columns}. Cámbiele el nombre en una transformación.",
  ],
  "history-views-failed": [
    "The views of the history of {table} cannot be made ({error})",
    "Las vistas del historial de {table} no se pueden crear ({error})",
  ],
  "private-otherwise": [
    "differs from the declaration of {dataset} for this source",
    "no coincide con la declaración de {dataset} para esta fuente",
  ],
  "private-leave-out": [
    "{fields}, or leave it out; `{command}` changes it",
    "{fields}, u omítalo; `{command}` lo cambia",
  ],
  "private-changed": [
    "{kind} of this run differs from the declaration that {dataset} has got meanwhile: {fields}. Omit it, or change the declaration: {command}",
    "{kind} de esta ejecución no coincide con la declaración que {dataset} tiene entretanto: {fields}. Omítalo, o cambie la declaración: {command}",
  ],
  "hashes-otherwise": [
    "The hashes in {dataset} were made with another ETL_HASH_SECRET than this server has, so they would not be equal where the values are. Give the server the secret of before; or, if the hashes are to be others from now on, say so: {command}",
    "Los hashes de {dataset} se hicieron con otro ETL_HASH_SECRET que el de este servidor, así que no serían iguales donde lo son los valores. Dé al servidor el secreto de antes; o, si los hashes van a ser otros desde ahora, dígalo: {command}",
  ],
  "several-sources": [
    "{dataset} may have rows of several sources: say with --source which one is meant (its name, else its run_label).",
    "{dataset} puede tener filas de varias fuentes: diga con --source cuál (su nombre, o su run_label).",
  ],
  "private-both": [
    "contains {field}, which exclude leaves out",
    "contiene {field}, que exclude omite",
  ],
  "private-one-of-both": [
    "each field in only one of both",
    "cada campo en solo uno de los dos",
  ],
  "private-needed": [
    "contains {field}, which the source needs unchanged ({use})",
    "contiene {field}, que la fuente necesita sin cambios ({use})",
  ],
  "private-key-hashed": [
    "the field in hash: a key may be hashed",
    "el campo en hash: una clave puede ir con hash",
  ],
  "private-another-field": [
    "another field",
    "otro campo",
  ],
  "private-declared": [
    "contains {field}, which source.columns declares as {type}",
    "contiene {field}, que source.columns declara como {type}",
  ],
  "private-no-declaration": [
    "no declaration of it, or text",
    "sin declararlo, o text",
  ],
  "private-column-type": [
    "contains {field}, which is a column of type {type} in {table}",
    "contiene {field}, que es una columna de tipo {type} en {table}",
  ],
  "private-text-column": [
    "a column of type text, as a hash is text",
    "una columna de tipo text, pues un hash es texto",
  ],
  "name-of-source": [
    "the name of a source",
    "el nombre de una fuente",
  ],
  "columns-no-list": [
    "columns must be a list of 1 to 500 columns: {example}",
    "columns debe ser una lista de 1 a 500 columnas: {example}",
  ],
  "view-dependents": [
    "{view} must be dropped first, but other objects depend on it: {objects}. Drop these and create them again afterwards; columns added at the end of the list need no drop.",
    "Antes hay que borrar {view}, pero otros objetos dependen de ella: {objects}. Bórrelos y créelos otra vez después; las columnas añadidas al final de la lista no lo necesitan.",
  ],
  "view-name-taken": [
    "{view} exists and is not the typed view of {dataset}. Give the view another name with `view`.",
    "{view} existe y no es la vista tipada de {dataset}. Dé a la vista otro nombre con `view`.",
  ],
  "view-name-length": [
    "view must be a name of 1 to 63 bytes that is not the table's.",
    "view debe ser un nombre de 1 a 63 bytes que no sea el de la tabla.",
  ],
  "view-of-another": [
    "{view} is the typed view of another dataset. Give the view another name with `view`.",
    "{view} es la vista tipada de otro conjunto de datos. Dé a la vista otro nombre con `view`.",
  ],
  "typed-needs-no-view": [
    "{dataset} is a typed table: it has its columns itself, and needs no view.",
    "{dataset} es una tabla tipada: ya tiene sus columnas, y no necesita una vista.",
  ],
  "no-part-of-column": [
    "is no part of a column",
    "no es parte de una columna",
  ],
  "name-of-column": [
    "must be the name of a column",
    "debe ser el nombre de una columna",
  ],
  "name-too-long": [
    "is too long for a name in PostgreSQL",
    "es demasiado largo para un nombre en PostgreSQL",
  ],
  "most-63-bytes": [
    "at most 63 bytes",
    "como máximo 63 bytes",
  ],
  "fixed-column": [
    "is a column that every typed view has",
    "es una columna que tiene toda vista tipada",
  ],
  "another-name": [
    "another name",
    "otro nombre",
  ],
  "two-columns": [
    "is the name of two columns",
    "es el nombre de dos columnas",
  ],
  "path-into-payload": [
    "must be a path into payload",
    "debe ser una ruta dentro de payload",
  ],
  "path-example": [
    '"properties.mag", with \\. for a dot inside a name',
    '"properties.mag", con \\. para un punto dentro de un nombre',
  ],
  "no-column-type": [
    "is not a column type",
    "no es un tipo de columna",
  ],
  "column-type-meant": [
    "is not a column type; did you mean {type}?",
    "no es un tipo de columna; ¿quería decir {type}?",
  ],
  "consumer-commits": [
    "A consumer does not commit: its transaction is the one in which its events are ticked off.",
    "Un consumidor no hace commit: su transacción es la misma en la que se marcan sus eventos.",
  ],
  "consumer-ended": [
    "The consumer has ended its transaction.",
    "El consumidor terminó su transacción.",
  ],
  "consumer-server-stopped": [
    "Its server stopped without a word while it was executed.",
    "Su servidor se detuvo sin avisar mientras se ejecutaba.",
  ],
  "closed-by": [
    "Closed by {name}.",
    "Cerrado por {name}.",
  ],
  "source-incremental": [
    "The source is incremental: a run gives what has changed, however much that is.",
    "La fuente es incremental: una ejecución da lo que cambió, sea cuanto sea.",
  ],
  "schedule-gone": [
    "The schedule is gone.",
    "La programación ya no existe.",
  ],
  "schedule-off": [
    "The schedule is off.",
    "La programación está desactivada.",
  ],
  "label-gone": [
    "The label has no runs any more.",
    "La etiqueta ya no tiene ejecuciones.",
  ],
  "label-idle": [
    "The label has not been run for 40 days.",
    "La etiqueta no se ejecuta desde hace 40 días.",
  ],
  "dataset-gone": [
    "The dataset is gone, or may be as old as it likes.",
    "El conjunto de datos ya no existe, o su antigüedad ya no importa.",
  ],
  "consumer-gone": [
    "The consumer is gone.",
    "El consumidor ya no existe.",
  ],
  "given-up-delivered": [
    "What the consumer gave up has been delivered since, or deleted as too old.",
    "Aquello a lo que renunció el consumidor se entregó después, o se borró por antiguo.",
  ],
  "schedule-on-time": [
    "Schedule {schedule} is on time again.",
    "La programación {schedule} vuelve a ser puntual.",
  ],
  "schedule-asks-again": [
    "A run could be asked for again.",
    "Se pudo pedir otra vez una ejecución.",
  ],
  "run-in-time": [
    "A run ended in time.",
    "Una ejecución terminó a tiempo.",
  ],
  "stage-in-time": [
    "Stage {stage} of a run ended in time.",
    "La etapa {stage} de una ejecución terminó a tiempo.",
  ],
  "dataset-updated": [
    "{dataset} has been updated.",
    "{dataset} se ha actualizado.",
  ],
  "consumer-works": [
    "Consumer {consumer} works again, and has had all of its events.",
    "El consumidor {consumer} funciona otra vez y ha recibido todos sus eventos.",
  ],
  "consumer-caught-up": [
    "Consumer {consumer} has caught up.",
    "El consumidor {consumer} está al día.",
  ],
  "maintenance-succeeded": [
    "The maintenance succeeded. Deleted: {figures*}.",
    "El mantenimiento terminó bien. Borrado: {figures*}.",
  ],
  "maintenance-deleted": [
    "Deleted: {figures*}.",
    "Borrado: {figures*}.",
  ],
  "nothing": [
    "nothing",
    "nada",
  ],
  "days-origin": [
    "{origin*}, with the value {value}: not 7 to 1,095 days or -1",
    "{origin*}, con el valor {value}: ni de 7 a 1095 días ni -1",
  ],
  "days-taken": [
    "{name} comes from the {origin*}; {days} days are taken",
    "{name} según {origin*}; se toman {days} días",
  ],
  "statement-refused": [
    "The database refused a statement: {error} (SQLSTATE {code})",
    "La base de datos rechazó una sentencia: {error} (SQLSTATE {code})",
  ],
} as const satisfies Record<string, readonly [english: string, spanish: string]>;
