/** What errors say of fields and of sources, as {@linkcode ./messages.ts} has the rest: by code, English and Spanish. */
export const ERROR_MESSAGES = {
  // fields of a conf or a request: what is wrong
  "must-be-number": ["must be a number", "debe ser un número"],
  "must-be-whole": ["must be a whole number", "debe ser un número entero"],
  "must-be-text": ["must be text", "debe ser texto"],
  "must-be-truth": ["must be true or false", "debe ser true o false"],
  "must-be-list": ["must be a list", "debe ser una lista"],
  "quoted": ["{must*}, written without quotes", "{must*}, escrito sin comillas"],
  "a-number": ["a number", "un número"],
  "a-whole-number": ["a whole number", "un número entero"],
  "just-text": ["text", "texto"],
  "a-truth": ["true or false", "true o false"],
  "an-object": ["an object", "un objeto"],
  "conf-without": ["must be an object", "debe ser un objeto"],
  "is-missing": ["is missing", "falta"],
  "is-required": ["required", "falta"],
  "is-unknown": ["unknown", "no se conoce"],
  "is-not-known": ["is not known", "no se conoce"],
  "is-not-valid": ["is not valid", "no es válido"],
  "is-not-accepted": ["is not an accepted value", "no es un valor aceptado"],
  "is-reserved": ["is reserved", "está reservado"],
  "is-no-time": ["is no time", "no es una hora"],
  "is-not-a-time": ["is not a time", "no es una hora"],
  "has-passed": ["has passed", "ya pasó"],
  "is-not-unique": ["is not unique", "no es único"],
  "is-not-unique-there": ["is not unique in the table", "no es único en la tabla"],
  "is-not-a-column": ["is not a column", "no es una columna"],
  "is-no-column": ["is no column", "no es una columna"],
  "no-column-there": ["has no column in the table", "no tiene columna en la tabla"],
  "identifies-nothing": [
    "is not a value that can identify rows",
    "no es un valor que pueda identificar filas",
  ],
  "does-not-exist": ["does not exist", "no existe"],
  "does-not-work": ["does not work", "no funciona"],
  "cannot-be-loaded": ["cannot be loaded", "no se puede cargar"],
  "names-none": ["names none", "no nombra ninguna"],
  "has-no-value": ["has rows without a value", "tiene filas sin valor"],
  "is-needed-here": ["is needed for this table", "hace falta para esta tabla"],
  "needs-a-table": ["needs a table", "necesita una tabla"],
  "is-private": ["is a private field", "es un campo privado"],
  "needs-hash-secret": ["needs ETL_HASH_SECRET", "necesita ETL_HASH_SECRET"],
  "leads-away": [
    "leads away from the connection's server",
    "sale del servidor de la conexión",
  ],
  "encoding-differs": ["is not that of the text", "no es la del texto"],
  "no-file": ["matches no file", "no corresponde a ningún archivo"],
  "no-object": ["matches no object", "no corresponde a ningún objeto"],
  "no-glob": ["is no glob", "no es un glob"],
  "is-absolute": ["is absolute", "es absoluta"],
  "leads-upwards": ["leads upwards", "lleva a un directorio superior"],
  "holds-nul": ["holds a NUL character", "contiene un carácter NUL"],
  "not-in-http-sources": ["is not in ETL_HTTP_SOURCES", "no está en ETL_HTTP_SOURCES"],
  "not-http": ["must be http or https", "debe ser http o https"],
  "must-name-module": [
    "must name the module: its file without .ts",
    "debe nombrar el módulo: su archivo sin .ts",
  ],
  "date-parts": ["must have a year, a month and a day", "debe tener año, mes y día"],
  "separators-clash": ["decimal and thousands clash", "decimal y thousands se contradicen"],
  "many-chunks": ["makes too many chunks", "produce demasiados chunks"],
  "rows-of-others": ["has rows of others", "tiene filas de otros"],
  "owns-not": ["does not own the rows", "no es dueño de las filas"],
  "deletes-distributed": [
    "deletes or marks rows of a distributed table",
    "implica borrar o marcar filas de una tabla distribuida",
  ],
  "compares-nothing": [
    "has no table to compare with",
    "no tiene una tabla con la que comparar",
  ],
  "needs-steady": ["needs a steady source", "necesita una fuente estable"],
  "no-dry-run": [
    "is not a successful dry run into this dataset with compare: true",
    "no es una simulación correcta de este conjunto de datos con compare: true",
  ],
  "other-key-type": ["is of another type than the key", "es de otro tipo que la clave"],
  "is-no-cursor": ["is not a cursor of this list", "no es un cursor de esta lista"],
  "other-configuration": [
    "is another one than conf.configuration",
    "no es la misma que conf.configuration",
  ],
  "of-the-schedule": ["belongs to the schedule itself", "pertenece a la propia programación"],
  "not-allowed-here": ["is not allowed here", "no se permite aquí"],
  "no-retention": [
    "is not a retention: 7 to 1,095 days, or -1 to keep for ever",
    "no es una retención: de 7 a 1.095 días, o -1 para conservar siempre",
  ],
  "no-schedule": ["is no schedule", "no es una expresión cron"],
  "of-airflow": [
    "is Airflow's, and has no meaning here",
    "es de Airflow y aquí no significa nada",
  ],
  "in-the-query": ["is in the query", "está en la consulta de la URL"],
  "cannot-be-told": ["cannot be told", "no se puede indicar"],
  "no-list": ["is not a list of objects", "no es una lista de objetos"],
  "cannot-be-set": ["cannot be set", "no se puede cambiar"],
  "by-a-run-only": ["can be read by a run only", "solo lo puede leer una ejecución"],
  "ge-or-quarantine": [
    "cannot be together with enforce_ge: either the failing rows stay out, or everything does",
    "no puede ir con enforce_ge: o se quedan fuera las filas que fallan, o todo",
  ],
  "no-pool": ["is not a known pool", "no es un pool conocido"],
  "no-pool-near": [
    "is not a known pool; did you mean {near}?",
    "no es un pool conocido; ¿quería decir {near}?",
  ],
  "no-suite": ["is not a known suite", "no es una suite conocida"],
  "no-configuration": ["is not a saved configuration", "no es una configuración guardada"],
  "needs-suite": [
    "needs a suite, and there is none for this table",
    "necesita una suite, y no hay ninguna para esta tabla",
  ],
  "not-of-the-run": [
    "does not hold what the run writes to",
    "no contiene aquello en lo que la ejecución escribe",
  ],
  "no-unique-event-id": [
    "has no unique index on event_id",
    "no tiene un índice único sobre event_id",
  ],
  "table-of-another": [
    "holds a table of another owner",
    "contiene una tabla de otro propietario",
  ],
  "other-shape": ["is a table of another shape", "es una tabla de otra forma"],
  "not-open": ["is not open to the role", "no está abierto al rol"],
  "history-deletes": [
    "cannot be together with write: history, which deletes nothing",
    "no puede ir con write: history, que no borra nada",
  ],
  "version-in-key": ["has the version in it", "contiene la versión"],
  "history-key": [
    "is missing: a history is that of a key",
    "falta: un histórico es el de una clave",
  ],
  "history-needs": ["is missing: a history needs it", "falta: un histórico lo necesita"],
  "long-for-views": [
    "is too long for the views of a history",
    "es demasiado largo para las vistas de un histórico",
  ],
  "role-cannot-make": ["cannot be made by the role", "el rol no lo puede crear"],
  "no-view-name": ["cannot be the name of the view", "no puede ser el nombre de la vista"],
  "name-of-view": ["is the name of another view", "es el nombre de otra vista"],
  "name-of-else": ["is the name of something else", "es el nombre de otra cosa"],
  "list-of-columns": [
    "must be a list of 1 to 500 columns",
    "debe ser una lista de 1 a 500 columnas",
  ],
  "view-needed": ["other things depend on the view", "otras cosas dependen de la vista"],
  "api-by-page": [
    "cannot be delete for an API that is read page by page: what moves between pages meanwhile is missed, and would be deleted",
    "no puede ser delete para una API que se lee página a página: lo que cambia de página mientras tanto se pierde, y se borraría",
  ],
  "beyond-mirror": [
    "cannot be together with write: mirror: rows beyond it would look as if the source had them no more",
    "no puede ir con write: mirror: parecería que la fuente ya no tiene las filas que quedan fuera",
  ],
  "no-deletion-seen": [
    "is left out or hashed, so no record can be recognized as a deletion",
    "se omite o se guarda como hash, así que no se reconoce ningún registro como borrado",
  ],
  "no-suite-parameter": [
    "the suite parameter {name} has no value",
    "el parámetro {name} de la suite no tiene valor",
  ],
  "no-time-zone": ["is not a known time zone", "no es una zona horaria conocida"],
  "no-time-zone-near": [
    "is not a known time zone; did you mean {near}?",
    "no es una zona horaria conocida; ¿quería decir {near}?",
  ],
  "schema-refused": [
    "The JSON Schema cannot be used: {why*}.",
    "El JSON Schema no se puede usar: {why*}.",
  ],
  "schema-too-long": [
    "it is larger than {n} characters",
    "tiene más de {n} caracteres",
  ],
  "schema-endless": [
    "it refers to itself without end, or is nested too deeply",
    "se refiere a sí mismo sin fin, o está anidado a demasiada profundidad",
  ],
  "schema-subschemas": [
    "it applies more than {n} subschemas to one value",
    "aplica más de {n} subesquemas a un valor",
  ],
  "schema-invalid": ["schema is invalid: {what}", "el esquema no es válido: {what}"],
  "schema-no-reference": [
    "can't resolve reference {ref} from id {id}",
    "no se encuentra la referencia {ref} desde el id {id}",
  ],
  // what would be right
  "an-iana-name": ["an IANA name such as Europe/Madrid", "un nombre IANA como Europe/Madrid"],
  "a-moment": [
    "a day such as 2027-03-28, or a time such as 2027-03-28T02:30 or …T02:30:00Z",
    "un día como 2027-03-28, o una hora como 2027-03-28T02:30 o …T02:30:00Z",
  ],
  "upsert-or-append": ["upsert or append, without deleted", "upsert o append, sin deleted"],
  "all-may-go": ["1, if the rows are to go", "1, si las filas deben desaparecer"],
  "a-text": ["a text", "un texto"],
  "names-of-ge": ["the names of Great Expectations", "los nombres de Great Expectations"],
  "a-suite-parameter": ["a value in suite_parameters", "un valor en suite_parameters"],
  "a-larger-one": ["a larger one", "uno mayor"],
  "a-relative-url": [
    'a URL relative to the connection\'s, such as "exports/day.csv"',
    'una URL relativa a la de la conexión, como "exports/day.csv"',
  ],
  "a-column-of-type": ["a column of type {type}", "una columna de tipo {type}"],
  "what-next-held": [
    "what `next` of a page held",
    "lo que contenía `next` de una página",
  ],
  "one-of-them": ["one of them", "uno de los dos"],
  "overlap-beside": ["overlap beside conf", "overlap al lado de conf"],
  "days-or-never": ["7 to 1095, or -1", "de 7 a 1095, o -1"],
  "five-fields": [
    "minute hour day month weekday, such as 30 3 * * 0",
    "minuto hora día mes día-de-la-semana, como 30 3 * * 0",
  ],
  "a-future-time": [
    "a time in the future; without it the schedule is paused until it is resumed",
    "una hora futura; sin ella la programación queda en pausa hasta que se reanude",
  ],
  "body-member": ["a member of the JSON body", "un miembro del cuerpo JSON"],
  "one-value": ["one value", "un valor"],
  "a-list": ["a list", "una lista"],
  "the-mapping": [
    "the mapping: key, event_type, occurred_at, version, columns",
    "el mapeo: key, event_type, occurred_at, version, columns",
  ],
  "records-themselves": [
    "the records themselves, in source.records",
    "los propios registros, en source.records",
  ],
  "api-name": ["a name of /api/docs", "un nombre de /api/docs"],
  "suite-or-stored": [
    "a suite by name, or one stored for the table",
    "una suite por su nombre, o una guardada para la tabla",
  ],
  "own-schema": ["a schema of your own, such as public", "un esquema propio, como public"],
  "other-table": ["another table_name", "otro table_name"],
  "history-or-other": ["history, or another table_name", "history, u otro table_name"],
  "null-or-upsert": ["null, or write: upsert", "null, o write: upsert"],
  "time-of-version": [
    "the field with the time from which a version holds",
    "el campo con la hora desde la que vale una versión",
  ],
  "fields-of-version": [
    "the fields that tell what a version is of",
    "los campos que dicen de qué es una versión",
  ],
  "key-alone": [
    "the key alone: a history adds the version",
    "solo la clave: un histórico añade la versión",
  ],
  "own-role": [
    "a server with a role of its own (`deno task setup-db --role NAME`, docs/database_role.md)",
    "un servidor con un rol propio (`deno task setup-db --role NAME`, docs/database_role.md)",
  ],
  "own-columns": [
    "a table with columns of its own, or the name of one that does not exist yet",
    "una tabla con columnas propias, o el nombre de una que aún no existe",
  ],
  "neither-field": ["a field that is neither", "un campo que no sea ninguno de los dos"],
  "no-batch-size": ["no batch_size", "sin batch_size"],
  "no-cursor-or-upsert": ["no cursor, or write: upsert", "sin cursor, o write: upsert"],
  "source-file-or-built-in": [
    "a file in ETL_SOURCES_DIR, or rest, sqlite or mysql: `etl source list` shows those that there are",
    "un archivo en ETL_SOURCES_DIR, o rest, sqlite o mysql: `etl source list` muestra los que hay",
  ],
  // why a source cannot be read
  "no-data-directory": [
    "The data directory (ETL_DATA_DIR) does not exist: create it, or set another.",
    "El directorio de datos (ETL_DATA_DIR) no existe: créelo, o indique otro.",
  ],
  "no-file-of": [
    'No file matches "{pattern}" in the data directory (ETL_DATA_DIR). It holds: {list}',
    'Ningún archivo corresponde a "{pattern}" en el directorio de datos (ETL_DATA_DIR), que contiene: {list}',
  ],
  "no-files-at-all": [
    'No file matches "{pattern}" in the data directory (ETL_DATA_DIR). It holds no files.',
    'Ningún archivo corresponde a "{pattern}" en el directorio de datos (ETL_DATA_DIR), que no contiene archivos.',
  ],
  "path-refused": [
    "The path {pattern} {why*}: name files below the data directory (ETL_DATA_DIR).",
    "La ruta {pattern} {why*}: nombre archivos bajo el directorio de datos (ETL_DATA_DIR).",
  ],
  "path-no-glob": [
    "The path {pattern} cannot be read as a glob: *, **, ?, [a-z] and {a,b} have a meaning; write \\ before what is meant as it is.",
    "La ruta {pattern} no se puede leer como glob: *, **, ?, [a-z] y {a,b} tienen un significado; escriba \\ delante de lo que sea literal.",
  ],
  "is-directory": [
    '{path} is a directory: name the files in it, for example "{example}".',
    '{path} es un directorio: nombre los archivos que contiene, por ejemplo "{example}".',
  ],
  "no-regular-file": ["{path} is not a regular file.", "{path} no es un archivo normal."],
  "too-many-files": [
    '"{pattern}" matches more than {n} files: name fewer.',
    '"{pattern}" corresponde a más de {n} archivos: nombre menos.',
  ],
  "no-object-of": [
    'No object matches "{url}". There are: {list}',
    'Ningún objeto corresponde a "{url}". Hay: {list}',
  ],
  "no-object-begins": [
    'No object matches "{url}". Nothing begins with {prefix}.',
    'Ningún objeto corresponde a "{url}". Nada empieza por {prefix}.',
  ],
  "host-not-listed": [
    "This server does not read from {host}: add it to ETL_HTTP_SOURCES, and restart it.",
    "Este servidor no lee de {host}: añádalo a ETL_HTTP_SOURCES y reinicie el servidor.",
  ],
  "host-unknown": [
    "The host {host} has no address: check the URL.",
    "El host {host} no tiene dirección: compruebe la URL.",
  ],
  "host-of-credentials": [
    "{host} is at {address}, where cloud machines keep their credentials: no source is read from there, whatever is allowed.",
    "{host} está en {address}, donde las máquinas en la nube guardan sus credenciales: de ahí no se lee ninguna fuente, se permita lo que se permita.",
  ],
  "host-private": [
    "{host} is at {address}, which is not a public address. If that is intended, name it where the server is started: ETL_HTTP_PRIVATE_HOSTS={named}",
    "{host} está en {address}, que no es una dirección pública. Si es lo que quiere, nómbrelo donde se inicia el servidor: ETL_HTTP_PRIVATE_HOSTS={named}",
  ],
  "host-not-permitted": [
    "The server may not connect to {host}: widen its --allow-net.",
    "El servidor no puede conectarse a {host}: amplíe su --allow-net.",
  ],
  "not-fetched": [
    "{url} could not be fetched in {n} attempts ({error}): try again when it is reachable.",
    "{url} no se pudo obtener en {n} intentos ({error}): inténtelo de nuevo cuando responda.",
  ],
  "answered-check-url": [
    "{url} answered {status}. Check the URL.",
    "{url} respondió {status}. Compruebe la URL.",
  ],
  "answered-check-rights": [
    "{url} answered {status}. Check its credentials and rights.",
    "{url} respondió {status}. Compruebe sus credenciales y permisos.",
  ],
  "larger-than": [
    "{url} is larger than {n} bytes, which is the limit. Load it in smaller files, or raise the limit.",
    "{url} tiene más de {n} bytes, que es el límite. Cárguelo en archivos menores, o aumente el límite.",
  ],
  "connection-unreachable": [
    'The database of connection "{name}" cannot be reached{reason}: check its DSN and that it is running.',
    'No se llega a la base de datos de la conexión "{name}"{reason}: compruebe su DSN y que esté en marcha.',
  ],
  "no-connection": [
    'There is no connection "{name}": set {variable} to its DSN and restart the server.',
    'No hay ninguna conexión "{name}": ponga su DSN en {variable} y reinicie el servidor.',
  ],
  "no-connection-known": [
    'There is no connection "{name}": set {variable} to its DSN and restart the server. Known: {list}.',
    'No hay ninguna conexión "{name}": ponga su DSN en {variable} y reinicie el servidor. Se conocen: {list}.',
  ],
  "source-not-readable": [
    "{what*} cannot be read{reason}: correct the source, or the rights of the connection's role.",
    "{what*} no se puede leer{reason}: corrija la fuente, o los permisos del rol de la conexión.",
  ],
  "files-changed": [
    "The files changed since the run first read them ({which*}): start a new run to load them as they are now.",
    "Los archivos cambiaron desde que la ejecución los leyó por primera vez ({which*}): inicie una ejecución nueva para cargarlos como están ahora.",
  ],
  "column-without-name": [
    "{file}: column {n} of the header has no name. Give it one in the file, or name all columns: source.header as a list of names, with source.skip_lines 1.",
    "{file}: la columna {n} de la cabecera no tiene nombre. Déselo en el archivo, o nombre todas las columnas: source.header como lista de nombres, con source.skip_lines 1.",
  ],
  "column-twice": [
    '{file}: the header names the column "{column}" twice. Rename one of them, or one would hide the other.',
    '{file}: la cabecera nombra dos veces la columna "{column}". Cambie el nombre de una, o una ocultaría a la otra.',
  ],
  "columns-twice": [
    '{file}: two columns are called "{column}". Rename one, or one would hide the other.',
    '{file}: dos columnas se llaman "{column}". Cambie el nombre de una, o una ocultaría a la otra.',
  ],
  "header-nul": [
    '{file}: the header holds NUL characters, so its text is not UTF-8. Set source.encoding, for example to "utf-16le" or "utf-16be".',
    '{file}: la cabecera contiene caracteres NUL, así que su texto no es UTF-8. Indique source.encoding, por ejemplo "utf-16le" o "utf-16be".',
  ],
  "other-delimiter": [
    "{file}: the header has one column only, and holds another usual delimiter. Set source.delimiter to {delimiter}.",
    "{file}: la cabecera tiene una sola columna, y contiene otro separador habitual. Ponga {delimiter} en source.delimiter.",
  ],
  "another-delimiter": [
    "{file}: the header has one column only, and holds another usual delimiter",
    "{file}: la cabecera tiene una sola columna, y contiene otro separador habitual",
  ],
  "text-utf16": [
    '{file}: the text is UTF-16. Set source.encoding to "utf-16le", or convert it to UTF-8.',
    '{file}: el texto es UTF-16. Ponga source.encoding a "utf-16le", o conviértalo a UTF-8.',
  ],
  "text-utf32": [
    "{file}: the text is UTF-32, which is not read. Convert it to UTF-8: iconv -f UTF-32 -t UTF-8.",
    "{file}: el texto es UTF-32, que no se lee. Conviértalo a UTF-8: iconv -f UTF-32 -t UTF-8.",
  ],
  "text-other-mark": [
    '{file}: the text begins with the mark of {mark}, and source.encoding is "{encoding}". Remove source.encoding: the mark tells it.',
    '{file}: el texto empieza por la marca de {mark}, y source.encoding es "{encoding}". Quite source.encoding: la marca ya lo dice.',
  ],
  "text-without-mark": [
    '{file}: the text is {order}, without a byte order mark. Set source.encoding to "{encoding}".',
    '{file}: el texto es {order}, sin marca de orden de bytes. Ponga "{encoding}" en source.encoding.',
  ],
  "text-not-as-said": [
    '{file}: the text is {order}, and source.encoding is "{said}". Set source.encoding to "{encoding}".',
    '{file}: el texto es {order}, y source.encoding dice "{said}". Ponga "{encoding}" en source.encoding.',
  ],
  "text-other-encoding": [
    "{file}: not valid {encoding}. Correct source.encoding.",
    "{file}: no es {encoding} válido. Corrija source.encoding.",
  ],
  "format-unknown": [
    "{file}: its name and content do not show its format. Set source.format to csv, tsv, ndjson, json, parquet or arrow; of a folder, name the files that are data, such as *.csv.",
    "{file}: ni su nombre ni su contenido muestran su formato. Ponga source.format a csv, tsv, ndjson, json, parquet o arrow; de una carpeta, nombre los archivos de datos, como *.csv.",
  ],
} as const satisfies Record<string, readonly [english: string, spanish: string]>;
