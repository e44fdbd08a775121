/** Why a source cannot be read or a connection not be used, as {@linkcode ./messages.ts} has the rest: by code, English and Spanish. */
export const SOURCE_MESSAGES = {
  // files
  "file-gone": [
    "The file {path} no longer exists: put it back or start a new run.",
    "El archivo {path} ya no existe: vuelva a ponerlo o inicie una ejecución nueva.",
  ],
  "file-not-readable": [
    "The file {path} cannot be read: check its permissions.",
    "El archivo {path} no se puede leer: compruebe sus permisos.",
  ],
  "file-not-opened": [
    "The file {path} cannot be opened: check its permissions.",
    "El archivo {path} no se puede abrir: compruebe sus permisos.",
  ],
  "file-leads-out": [
    "The file {path} leads out of the data directory: copy it there instead of linking to it.",
    "El archivo {path} lleva fuera del directorio de datos: cópielo allí en vez de enlazarlo.",
  ],
  "file-replaced": [
    "The file {path} was replaced by another one while it was opened: start a new run.",
    "Otro archivo ocupó el lugar de {path} mientras se abría: inicie una ejecución nueva.",
  ],
  "file-no-longer-regular": [
    "{path} is not a regular file any more: start a new run.",
    "{path} ya no es un archivo normal: inicie una ejecución nueva.",
  ],
  "file-changed": [
    "The file {path} changed while the run was reading it ({how*}): start a new run to load its current content.",
    "El archivo {path} cambió mientras la ejecución lo leía ({how*}): inicie una ejecución nueva para cargar su contenido actual.",
  ],
  "columns-changed": [
    "{what*} has other columns than when the run began, or is another table: start a new run to load it as it is now.",
    "{what*} tiene otras columnas que cuando empezó la ejecución, o es otra tabla: inicie una ejecución nueva para cargarla como está ahora.",
  ],
  "file-shorter": [
    "The file {path} became shorter while it was read: start a new run to load its current content.",
    "El archivo {path} se acortó mientras se leía: inicie una ejecución nueva para cargar su contenido actual.",
  ],
  "bytes-then-now": ["{then} bytes then, {now} now", "{then} bytes entonces, {now} ahora"],
  "modified-then-now": [
    "modified at {then} then, {now} now",
    "modificado en {then} entonces, {now} ahora",
  ],
  "file-had": [
    "{path} had {then} bytes and has {now}",
    "{path} tenía {then} bytes y tiene {now}",
  ],
  "file-is-new": ["{path} is new", "{path} es nuevo"],
  "file-was-modified": ["{path} was modified", "{path} se modificó"],
  "file-is-gone": ["{path} is gone", "{path} ya no está"],
  "unpacked-elsewhere": [
    "The unpacked copy of {path} is not on this server: retry the run.",
    "La copia descomprimida de {path} no está en este servidor: reintente la ejecución.",
  ],
  "disk-is-full": [
    "The disk of {dir} is full: free space there, then retry the run.",
    "El disco de {dir} está lleno: libere espacio allí y reintente la ejecución.",
  ],
  "unpacked-too-large": [
    "{file}: more than {n} bytes when unpacked, which is the limit. Load it in smaller files, or raise the limit.",
    "{file}: más de {n} bytes descomprimido, que es el límite. Cárguelo en archivos menores, o aumente el límite.",
  ],
  "packed-incomplete": [
    "{file}: the {name} data ends too early. The file is incomplete: copy or produce it again.",
    "{file}: los datos {name} terminan antes de tiempo. El archivo está incompleto: cópielo o prodúzcalo de nuevo.",
  ],
  "packed-damaged": [
    "{file}: the {name} data {what*}. Create it again, or unpack it with another tool to see the error.",
    "{file}: los datos {name} {what*}. Créelos de nuevo, o descomprímalos con otra herramienta para ver el error.",
  ],
  "is-damaged": ["is damaged", "están dañados"],
  "has-dictionary": [
    "was compressed with a dictionary",
    "se comprimieron con un diccionario",
  ],
  "needs-window": [
    "needs a window of {bytes} bytes; compress it without --long",
    "necesitan una ventana de {bytes} bytes; comprímalos sin --long",
  ],
  "format-foreign": [
    "{file}: the data is {what*}. {next*}",
    "{file}: los datos son {what*}. {next*}",
  ],
  "of-zip": ["a zip archive, or an Excel workbook (.xlsx)", "un zip, o un libro de Excel (.xlsx)"],
  "of-xls": ["an old Excel workbook (.xls)", "un libro de Excel antiguo (.xls)"],
  "of-bzip2": ["compressed with bzip2", "de bzip2"],
  "of-xz": ["compressed with xz", "de xz"],
  "of-avro": ["an Avro file", "un archivo Avro"],
  "of-orc": ["an ORC file", "un archivo ORC"],
  "of-7z": ["a 7z archive", "un 7z"],
  "of-lz4": ["compressed with lz4", "de lz4"],
  "of-feather": ["a Feather file of version 1", "un archivo Feather de la versión 1"],
  "of-pdf": ["a PDF document", "un documento PDF"],
  "next-zip": [
    "Unpack it (unzip), or save the sheet as CSV; gzip and zstd are read as they are.",
    "Descomprímalo (unzip), o guarde la hoja como CSV; gzip y zstd se leen tal cual.",
  ],
  "next-sheet": ["Save the sheet as CSV.", "Guarde la hoja como CSV."],
  "next-convert": [
    "Convert it: {command} FILE | zstd > FILE.zst (or gzip).",
    "Conviértalo: {command} FILE | zstd > FILE.zst (o gzip).",
  ],
  "next-avro": [
    "Convert it to Parquet or NDJSON (avro-tools tojson FILE).",
    "Conviértalo a Parquet o NDJSON (avro-tools tojson FILE).",
  ],
  "next-parquet": ["Convert it to Parquet or NDJSON.", "Conviértalo a Parquet o NDJSON."],
  "next-unpack": [
    "Unpack it; gzip and zstd are read as they are.",
    "Descomprímalo; gzip y zstd se leen tal cual.",
  ],
  "next-feather": [
    "Write it as Feather version 2 (Arrow IPC) or Parquet.",
    "Escríbalo como Feather versión 2 (Arrow IPC) o Parquet.",
  ],
  "next-data": [
    "Give the data as CSV, NDJSON, JSON, Parquet or Arrow.",
    "Dé los datos como CSV, NDJSON, JSON, Parquet o Arrow.",
  ],
  "format-html": [
    "{file}: the answer is an HTML page ({how*}), not data. Check the address, and whether it requires signing in.",
    "{file}: la respuesta es una página HTML ({how*}), no datos. Compruebe la dirección, y si exige iniciar sesión.",
  ],
  "by-its-content": ["by its content", "por su contenido"],
  "html-titled": ["{how*}, titled {title}", "{how*}, titulada {title}"],
  "format-not-as-said": [
    "{file}: not {what}. Correct source.format.",
    "{file}: no es {what}. Corrija source.format.",
  ],
  "format-not-as-named": [
    "{file}: not {what}. Set source.format to what it is.",
    "{file}: no es {what}. Ponga en source.format lo que es.",
  ],
  "text-ffe": [
    "{file}: the text begins with U+FFFE, a byte order mark read in the wrong order. It was converted wrongly: convert it from the original again, as UTF-16 of the other order.",
    "{file}: el texto empieza por U+FFFE, una marca de orden de bytes leída al revés. Se convirtió mal: conviértalo otra vez desde el original, como UTF-16 del otro orden.",
  ],
  "text-no-order": [
    '{file}: source.encoding is "utf-16", and the text has no byte order mark. Set source.encoding to "utf-16le" or "utf-16be", or remove it if the text is not UTF-16.',
    '{file}: source.encoding es "utf-16", y el texto no tiene marca de orden de bytes. Ponga "utf-16le" o "utf-16be" en source.encoding, o quítelo si el texto no es UTF-16.',
  ],
  "text-no-utf16": [
    '{file}: the text is not UTF-16, although source.encoding is: none of its first {n} bytes is zero. Correct source.encoding, for example to "latin1", or remove it for UTF-8.',
    '{file}: el texto no es UTF-16, aunque source.encoding sí: ninguno de sus primeros {n} bytes es cero. Corrija source.encoding, por ejemplo a "latin1", o quítelo para UTF-8.',
  ],
  "charset-unknown": [
    "{file}: the server declares the text to be in {charset}, which is not known. Set source.encoding to what it is.",
    "{file}: el servidor declara que el texto está en {charset}, que no se conoce. Ponga en source.encoding lo que es.",
  ],
  // CSV
  "csv-many-fields": [
    "{file}: the first record has {count} fields; the limit is {most} columns. Is source.delimiter right? Split the table, or load it as NDJSON.",
    "{file}: el primer registro tiene {count} campos; el límite es de {most} columnas. ¿Es correcto source.delimiter? Divida la tabla, o cárguela como NDJSON.",
  ],
  "csv-reserved-column": [
    '{file}: a column is called "__proto__". Rename it.',
    '{file}: una columna se llama "__proto__". Cambie su nombre.',
  ],
  "csv-long-header": [
    "{file}: the header is longer than {n} bytes. Is this a CSV file?",
    "{file}: la cabecera tiene más de {n} bytes. ¿Es un archivo CSV?",
  ],
  "csv-long-first": [
    "{file}: the first record is longer than {n} bytes. Is this a CSV file?",
    "{file}: el primer registro tiene más de {n} bytes. ¿Es un archivo CSV?",
  ],
  "csv-lines-of-cr": [
    "{file}: lines end in CR alone. Convert the file to LF or CRLF line ends.",
    "{file}: las líneas terminan solo en CR. Convierta el archivo a finales de línea LF o CRLF.",
  ],
  "csv-bad-header": [
    "{file}: the header is not valid UTF-8 or has a malformed quoted name. Set source.encoding, or correct the first row.",
    "{file}: la cabecera no es UTF-8 válido o tiene un nombre entre comillas mal formado. Indique source.encoding, o corrija la primera fila.",
  ],
  "csv-unclosed-field": [
    "{file}: a quoted field that begins in line {line} is never closed, so the end of its record is unknown. Close it, remove the quote, or set source.quote to false where quotes are ordinary characters.",
    "{file}: un campo entre comillas que empieza en la línea {line} nunca se cierra, así que no se conoce el final de su registro. Ciérrelo, quite la comilla, o ponga source.quote a false donde las comillas sean caracteres corrientes.",
  ],
  "dialect-refused": ["source.{name} {why*}.", "source.{name} {why*}."],
  "sign-ascii": [
    "must be one ASCII character other than a line end",
    "debe ser un carácter ASCII que no sea un fin de línea",
  ],
  "sign-no-quote": [
    "must be one ASCII character other than a quote",
    "debe ser un carácter ASCII que no sea una comilla",
  ],
  "sign-no-delimiter": ["must differ from the delimiter", "debe ser distinto del separador"],
  "sign-neither": [
    "must differ from delimiter and quote",
    "debe ser distinto del separador y de la comilla",
  ],
  "escape-needs-quote": [
    "needs a quote: it has a meaning in quoted fields only",
    "necesita una comilla: solo significa algo en campos entre comillas",
  ],
  // other formats
  "json-incomplete": [
    "{file}: the document ends too early, the file is incomplete.",
    "{file}: el documento termina antes de tiempo, el archivo está incompleto.",
  ],
  "json-long-value": [
    "{file}: a string or number of more than {n} bytes, at byte {at}.",
    "{file}: un texto o número de más de {n} bytes, en el byte {at}.",
  ],
  "json-not-valid": [
    "{file}: not valid JSON at byte {at}: {text}.",
    "{file}: no es JSON válido en el byte {at}: {text}.",
  ],
  "json-more": [
    '{file}: there is more after the end of the document, at byte {at}; if each line is a document, set source.format to "ndjson".',
    '{file}: hay más tras el final del documento, en el byte {at}; si cada línea es un documento, ponga source.format a "ndjson".',
  ],
  "json-deep": [
    "{file}: nested more than {n} deep at byte {at}.",
    "{file}: más de {n} niveles de anidamiento en el byte {at}.",
  ],
  "json-path-twice": [
    '{file}: "{path}" occurs more than once, and not always as an array; make it one array of records.',
    '{file}: "{path}" aparece más de una vez, y no siempre como lista; haga de ello una lista de registros.',
  ],
  "json-unexpected": [
    "{file}: unexpected {what} at byte {at}, the document is not valid JSON.",
    "{file}: {what} inesperado en el byte {at}, el documento no es JSON válido.",
  ],
  "json-neither": [
    "{file}: the document is neither an array of records nor an object; {hint*}.",
    "{file}: el documento no es ni una lista de registros ni un objeto; {hint*}.",
  ],
  "json-none-there": [
    '{file}: there is no array at "{path}"; {hint*}.',
    '{file}: no hay ninguna lista en "{path}"; {hint*}.',
  ],
  "json-no-array": ["no array was found in it", "no contiene ninguna lista"],
  "json-its-arrays": [
    "set source.records_path to one of its arrays: {paths}",
    "ponga source.records_path a una de sus listas: {paths}",
  ],
  "json-large-object": [
    "{file}: the document is one object of more than {n} bytes; set source.records_path to one of its arrays: {paths}.",
    "{file}: el documento es un solo objeto de más de {n} bytes; ponga source.records_path a una de sus listas: {paths}.",
  ],
  "arrow-not-readable": [
    "{file}: the Arrow data cannot be read ({words}). Is it complete, and does another tool read it?",
    "{file}: los datos Arrow no se pueden leer ({words}). ¿Está completo, y lo lee otra herramienta?",
  ],
  "arrow-large-batch": [
    "{file}: a record batch with its dictionaries has more than {n} bytes, which is the limit. Write smaller batches.",
    "{file}: un lote de registros con sus diccionarios tiene más de {n} bytes, que es el límite. Escriba lotes menores.",
  ],
  "arrow-big-endian": [
    "{file}: the numbers of the Arrow data are big-endian, which is not read. Write them little-endian.",
    "{file}: los números de los datos Arrow son big-endian, que no se lee. Escríbalos en little-endian.",
  ],
  "parquet-not-readable": [
    "{file}: the Parquet file cannot be read ({words}). Is it complete, and does another tool read it?",
    "{file}: el archivo Parquet no se puede leer ({words}). ¿Está completo, y lo lee otra herramienta?",
  ],
  "parquet-nested": [
    "row {row} of {file} has at least {count} values in its lists, structs and maps; the limit is {most}. Write long lists as rows of their own.",
    "la fila {row} de {file} tiene al menos {count} valores en sus listas, estructuras y mapas; el límite es {most}. Escriba las listas largas como filas propias.",
  ],
  "format-no-day": [
    "The format of column {name} says no whole day.",
    "El formato de la columna {name} no dice un día entero.",
  ],
  "signs-no-digits": [
    "decimal and thousands of column {name} must be two signs that are no digits.",
    "decimal y thousands de la columna {name} deben ser dos signos que no sean dígitos.",
  ],
  // HTTP
  "host-no-address": [
    "{host} is at no address, which is not a public address. If that is intended, name it where the server is started: ETL_HTTP_PRIVATE_HOSTS={named}",
    "{host} no está en ninguna dirección, lo que no es una dirección pública. Si es lo que quiere, nómbrelo donde se inicia el servidor: ETL_HTTP_PRIVATE_HOSTS={named}",
  ],
  "http-connection-wrong": [
    '{variable} {what*}. It must be a URL, https://user:password@host/path/, or JSON: {"url": "https://host/path/", "headers": {"authorization": "Bearer …"}}.',
    '{variable} {what*}. Debe ser una URL, https://user:password@host/path/, o JSON: {"url": "https://host/path/", "headers": {"authorization": "Bearer …"}}.',
  ],
  "begins-as-json": ["begins as JSON and is none", "empieza como JSON y no lo es"],
  "more-than-url": ["has more than url and headers", "tiene más que url y headers"],
  "has-no-url": ["has no URL", "no tiene URL"],
  "url-not-http": ["has a URL that is not http(s)", "tiene una URL que no es http(s)"],
  "url-with-hash": ["has a URL with a #", "tiene una URL con un #"],
  "headers-no-object": [
    "has headers that are not an object",
    "tiene headers que no son un objeto",
  ],
  "header-no-name": [
    "has a header with no valid name",
    "tiene una cabecera sin un nombre válido",
  ],
  "header-no-line": [
    "has a header {name} that is no text of one line",
    "tiene una cabecera {name} que no es un texto de una línea",
  ],
  "header-not-yours": [
    "has a header {name}, which is not yours to set",
    "tiene una cabecera {name}, que no le corresponde fijar",
  ],
  "no-http-connection": [
    'There is no connection "{name}" for http sources: set {variable} to its URL, or to JSON with url and headers, and restart the server.',
    'No hay ninguna conexión "{name}" para fuentes http: ponga su URL en {variable}, o JSON con url y headers, y reinicie el servidor.',
  ],
  "no-http-connection-known": [
    'There is no connection "{name}" for http sources: set {variable} to its URL, or to JSON with url and headers, and restart the server. Known: {list}.',
    'No hay ninguna conexión "{name}" para fuentes http: ponga su URL en {variable}, o JSON con url y headers, y reinicie el servidor. Se conocen: {list}.',
  ],
  "url-leads-away": [
    'source.url leads away from the server of connection "{name}": give the part that follows its URL.',
    'source.url sale del servidor de la conexión "{name}": dé la parte que sigue a su URL.',
  ],
  "url-not-web": [
    "source.url must be an http or https URL.",
    "source.url debe ser una URL http o https.",
  ],
  "url-many-parts": [
    "{url} comes in more than {n} parts. Check the URL.",
    "{url} llega en más de {n} partes. Compruebe la URL.",
  ],
  "url-part-unasked": [
    "{url} answered 206 with a part of the content ({range}) although the whole file was requested. Check the URL.",
    "{url} respondió 206 con una parte del contenido ({range}) aunque se pidió el archivo entero. Compruebe la URL.",
  ],
  "url-part-unsaid": [
    "{url} answered 206 with a part of the content (which is not said) although the whole file was requested. Check the URL.",
    "{url} respondió 206 con una parte del contenido (no dice cuál) aunque se pidió el archivo entero. Compruebe la URL.",
  ],
  "url-other-protocol": [
    "{url} switches to another protocol instead of answering. Check the URL.",
    "{url} cambia a otro protocolo en vez de responder. Compruebe la URL.",
  ],
  "url-many-codings": [
    "{url} answers with {n} codings of Content-Encoding; at most {most} are supported: configure its server to send the data without them, or with one.",
    "{url} responde con {n} codificaciones en Content-Encoding; se admiten {most} como máximo: configure su servidor para que envíe los datos sin ellas, o con una.",
  ],
  "url-unknown-coding": [
    "{url} answers with Content-Encoding {name}, which is not read: configure its server to send the data unencoded, or with gzip, deflate, br or zstd.",
    "{url} responde con Content-Encoding {name}, que no se lee: configure su servidor para que envíe los datos sin codificar, o con gzip, deflate, br o zstd.",
  ],
  "url-changed": [
    "The content of {url} changed since the run first read it: start a new run to load its current content.",
    "El contenido de {url} cambió desde que la ejecución lo leyó por primera vez: inicie una ejecución nueva para cargar su contenido actual.",
  ],
  "url-changed-meanwhile": [
    "{url} changed while the run was reading it ({how*}): start a new run to load its current content.",
    "{url} cambió mientras la ejecución lo leía ({how*}): inicie una ejecución nueva para cargar su contenido actual.",
  ],
  "no-etag-any-more": [
    "its server no longer sends its ETag",
    "su servidor ya no envía su ETag",
  ],
  "it-was-replaced": ["it was replaced", "fue sustituido"],
  "it-is-gone": ["it is gone", "ya no está"],
  "it-is-shorter": ["it is shorter", "es más corto"],
  "url-no-ranges": [
    "{url}: its server sends the whole file although {what} were requested. Is there a proxy that takes ranges away?",
    "{url}: su servidor envía el archivo entero aunque se pidieron {what}. ¿Hay un proxy que quite los rangos?",
  ],
  "url-many-redirects": [
    "{url} redirects more than {n} times: use the address where it ends.",
    "{url} redirige más de {n} veces: use la dirección donde termina.",
  ],
  "redirects-no-url": [
    "{url} redirects to something that is not a URL.",
    "{url} redirige a algo que no es una URL.",
  ],
  "redirects-no-http": [
    "{url} redirects to {protocol}, not HTTP.",
    "{url} redirige a {protocol}, no a HTTP.",
  ],
  "redirects-unencrypted": [
    "{url} redirects to {to}, which is not encrypted.",
    "{url} redirige a {to}, que no va cifrado.",
  ],
  "url-credentials": [
    "{url}: the user or password in the address is not percent-encoded: write % as %25.",
    "{url}: el usuario o la contraseña de la dirección no están codificados con porcentaje: escriba % como %25.",
  ],
  // object storage
  "s3-dot-key": [
    '{key}: a part of the key is "." or "..", which an address cannot have. Copy the object to another key.',
    '{key}: una parte de la clave es "." o "..", que una dirección no puede tener. Copie el objeto a otra clave.',
  ],
  "s3-same-page": [
    "{what}: the service gives the same page of keys again and again.",
    "{what}: el servicio da la misma página de claves una y otra vez.",
  ],
  "s3-long-answer": [
    "The service answered with more than {n} bytes where a page of keys was asked for.",
    "El servicio respondió con más de {n} bytes donde se pidió una página de claves.",
  ],
  "s3-no-listing": [
    "{what}: the answer is no listing of an S3 service. Check the connection's endpoint.",
    "{what}: la respuesta no es un listado de un servicio S3. Compruebe el endpoint de la conexión.",
  ],
  "s3-no-next-page": [
    "{what}: the service says that there are more keys and not how to ask for them.",
    "{what}: el servicio dice que hay más claves y no cómo pedirlas.",
  ],
  "s3-other-region": [
    "{what}: the service answered {answer}. The bucket is in the region {region}: set it in the connection.",
    "{what}: el servicio respondió {answer}. El bucket está en la región {region}: indíquela en la conexión.",
  ],
  "s3-no-bucket": [
    "{what}: the service answered {answer}. Check the bucket's name, and the endpoint of the connection.",
    "{what}: el servicio respondió {answer}. Compruebe el nombre del bucket, y el endpoint de la conexión.",
  ],
  "s3-no-keys": [
    "{what}: the service answered {answer}. The connection has no keys; give it some that may list and read the bucket.",
    "{what}: el servicio respondió {answer}. La conexión no tiene claves; dele unas que puedan listar y leer el bucket.",
  ],
  "s3-refused": [
    "{what}: the service answered {answer}. Check the connection's keys, and that they may list the bucket and read its objects.",
    "{what}: el servicio respondió {answer}. Compruebe las claves de la conexión, y que puedan listar el bucket y leer sus objetos.",
  ],
  "s3-no-object": [
    "{what}: the service answered {answer}. Check source.url.",
    "{what}: el servicio respondió {answer}. Compruebe source.url.",
  ],
  "s3-answered": [
    "{what}: the service answered {answer}. Check the endpoint, region and path_style of the connection.",
    "{what}: el servicio respondió {answer}. Compruebe endpoint, region y path_style de la conexión.",
  ],
  "s3-many-objects": [
    '"{url}" matches more than {n} objects: name fewer.',
    '"{url}" corresponde a más de {n} objetos: nombre menos.',
  ],
  "s3-connection-wrong": [
    '{variable} {what*}. For s3 sources it must be JSON: {"type": "s3", "region": "eu-central-1", "access_key_id": "…", "secret_access_key": "…"}, with "endpoint": "https://host" for another service than AWS.',
    '{variable} {what*}. Para fuentes s3 debe ser JSON: {"type": "s3", "region": "eu-central-1", "access_key_id": "…", "secret_access_key": "…"}, con "endpoint": "https://host" para un servicio distinto de AWS.',
  ],
  "s3-environment-wrong": [
    'the environment (AWS_…) {what*}. For s3 sources it must be JSON: {"type": "s3", "region": "eu-central-1", "access_key_id": "…", "secret_access_key": "…"}, with "endpoint": "https://host" for another service than AWS.',
    'el entorno (AWS_…) {what*}. Para fuentes s3 debe ser JSON: {"type": "s3", "region": "eu-central-1", "access_key_id": "…", "secret_access_key": "…"}, con "endpoint": "https://host" para un servicio distinto de AWS.',
  ],
  "is-no-json": ["is no JSON", "no es JSON"],
  "has-unknown-name": [
    "has a name that is not known ({name})",
    "tiene un nombre que no se conoce ({name})",
  ],
  "has-no-valid": ["has no valid {name}", "no tiene {name} válido"],
  "one-key-only": [
    "has one of the two keys only",
    "solo tiene una de las dos claves",
  ],
  "endpoint-no-url": [
    "has an endpoint that is not an http(s) URL",
    "tiene un endpoint que no es una URL http(s)",
  ],
  "endpoint-too-much": [
    "has an endpoint with more than a host, a port and a path",
    "tiene un endpoint con más que un host, un puerto y una ruta",
  ],
  "s3-unnamed": [
    "The source names no connection, and the server's environment has none for S3 (AWS_ACCESS_KEY_ID, AWS_REGION, …): name one in source.connection. {also*}",
    "La fuente no nombra ninguna conexión, y el entorno del servidor no tiene ninguna para S3 (AWS_ACCESS_KEY_ID, AWS_REGION, …): nombre una en source.connection. {also*}",
  ],
  "s3-no-connection": [
    'There is no connection "{name}" for s3 sources: set {variable} to JSON, {"type": "s3", "region": "…", "access_key_id": "…", "secret_access_key": "…"}, and restart the server. {also*}',
    'No hay ninguna conexión "{name}" para fuentes s3: ponga JSON en {variable}, {"type": "s3", "region": "…", "access_key_id": "…", "secret_access_key": "…"}, y reinicie el servidor. {also*}',
  ],
  "known-are": ["Known: {list}.", "Se conocen: {list}."],
  // databases
  "source-try-again": [
    "{what*} cannot be read{reason}: try again.",
    "{what*} no se puede leer{reason}: inténtelo de nuevo.",
  ],
  "the-query-of": [
    'the query of connection "{name}"',
    'la consulta de la conexión "{name}"',
  ],
  "the-table-in-file": [
    "{table} of the file {path}",
    "{table} del archivo {path}",
  ],
  "the-table-of": [
    '{table} of connection "{name}"',
    '{table} de la conexión "{name}"',
  ],
  "rows-without-key": [
    "{what*} has rows without a value in {key}: rows cannot be paged by an empty key, choose other columns as source.page_key.",
    "{what*} tiene filas sin valor en {key}: no se pagina por una clave vacía, elija otras columnas como source.page_key.",
  ],
  "columns-same-name": [
    '{what*} has two columns "{name}": give one of them another name.',
    '{what*} tiene dos columnas "{name}": dé otro nombre a una.',
  ],
  "row-too-large": [
    "{what*} has a row of more than {mb} MiB, which cannot be read: read a query that leaves its large columns out.",
    "{what*} tiene una fila de más de {mb} MiB, que no se puede leer: lea una consulta que omita sus columnas grandes.",
  ],
  "rows-same-key": [
    "{what*} has several rows with {key}: set source.page_key to columns that are unique together.",
    "{what*} tiene varias filas con {key}: ponga en source.page_key columnas que juntas sean únicas.",
  ],
  "no-table-name": [
    '"{table}" is not a table name: write "name" or "schema.name".',
    '"{table}" no es un nombre de tabla: escriba "name" o "schema.name".',
  ],
  "table-or-query": [
    "Give either source.table or source.query.",
    "Dé source.table o source.query, uno de los dos.",
  ],
  "query-needs-key": [
    "A query needs source.page_key: columns that are unique together.",
    "Una consulta necesita source.page_key: columnas que juntas sean únicas.",
  ],
  "no-primary-key": [
    "{what*} has no primary key: set source.page_key to columns that are unique together.",
    "{what*} no tiene clave primaria: ponga en source.page_key columnas que juntas sean únicas.",
  ],
  "cursor-grows-not": [
    'The column "{name}" is {type}, which does not grow: source.cursor must be a time, a number or a UUID of version 7.',
    'La columna "{name}" es {type}, que no crece: source.cursor debe ser una hora, un número o un UUID de la versión 7.',
  ],
  "a-cursor": [
    "a time, a number or a UUID of version 7",
    "una hora, un número o un UUID de la versión 7",
  ],
  "cursor-of-text": [
    'The column "{name}" is {type}: as text "10" comes before "9", so later rows could be skipped. Where its texts do sort in the order in which rows change (ULIDs, ISO times), set source.cursor_sortable to true.',
    'La columna "{name}" es {type}: como texto "10" va antes que "9", así que se podrían omitir filas posteriores. Si sus textos se ordenan como cambian las filas (ULID, horas ISO), ponga source.cursor_sortable a true.',
  ],
  "sortable-or-other": [
    "source.cursor_sortable: true, or another column",
    "source.cursor_sortable: true, u otra columna",
  ],
  "exact-needs-table": [
    'The cursor mode "exact" compares the transactions that wrote rows, which only tables know, foreign ones not: name the table as source.table, or use the mode "window" with a lookback.',
    'El modo de cursor "exact" compara las transacciones que escribieron las filas, que solo conocen las tablas, no las foráneas: nombre la tabla en source.table, o use el modo "window" con un lookback.',
  ],
  "many-tables": [
    '{n} tables of connection "{name}" are called {patterns}, and {most} at most are taken: name fewer.',
    '{n} tablas de la conexión "{name}" se llaman {patterns}, y se toman {most} como máximo: nombre menos.',
  ],
  "mysql-no-connection": [
    "A mysql source needs a connection: name it in source.connections, and set ETL_CONNECTION_<NAME> to mysql://user:password@host:3306/database.",
    "Una fuente mysql necesita una conexión: nómbrela en source.connections, y ponga mysql://user:password@host:3306/database en ETL_CONNECTION_<NAME>.",
  ],
  "mysql-same-key": [
    '{table} of connection "{name}" has several rows with {key}: name columns in source.config.page_key that are unique together and never null.',
    '{table} de la conexión "{name}" tiene varias filas con {key}: nombre en source.config.page_key columnas que juntas sean únicas y nunca null.',
  ],
  "mysql-no-table": [
    'There is no table {table} that the user of connection "{name}" may read: check its name and the user\'s rights.',
    'No hay ninguna tabla {table} que pueda leer el usuario de la conexión "{name}": compruebe su nombre y los permisos del usuario.',
  ],
  "mysql-no-key-column": [
    "The table {table} has no column {column}, which page_key names.",
    "La tabla {table} no tiene la columna {column}, que nombra page_key.",
  ],
  "mysql-empty-key": [
    "Rows of {table} have no value in {column}, by which it is paged: say in source.config.page_key which columns are unique together and never null.",
    "Hay filas de {table} sin valor en {column}, por la que se pagina: diga en source.config.page_key qué columnas juntas son únicas y nunca null.",
  ],
  "mysql-no-primary-key": [
    "The table {table} has no primary key: set source.config.page_key to columns that are unique together.",
    "La tabla {table} no tiene clave primaria: ponga en source.config.page_key columnas que juntas sean únicas.",
  ],
  "no-cursor-column": [
    "There is no column {column}, which source.config.cursor names.",
    "No hay ninguna columna {column}, que nombra source.config.cursor.",
  ],
  "no-cursor-type": [
    "Column {column} is of type {type}, whose values do not grow with every change: name a number or a time in source.config.cursor.",
    "La columna {column} es de tipo {type}, cuyos valores no crecen con cada cambio: nombre un número o una hora en source.config.cursor.",
  ],
  "mysql-not-readable": [
    '{table} of connection "{name}" cannot be read ({words}): check the connection, the table and the user\'s rights.',
    '{table} de la conexión "{name}" no se puede leer ({words}): compruebe la conexión, la tabla y los permisos del usuario.',
  ],
  "no-module-connection": [
    'There is no connection "{name}": set {variable} and restart the server.',
    'No hay ninguna conexión "{name}": defina {variable} y reinicie el servidor.',
  ],
  "sqlite-cut-short": [
    "The SQLite file {path} could not be read to its end: SQLite failed after {rows} rows of a part, and does not say why. Run the query with sqlite3 there; check the file (pragma integrity_check), and for values above {most} MiB.",
    "El archivo SQLite {path} no se pudo leer hasta el final: SQLite falló tras {rows} filas de una parte, y no dice por qué. Ejecute allí la consulta con sqlite3; compruebe el archivo (pragma integrity_check), y si hay valores de más de {most} MiB.",
  ],
  "sqlite-recursive": [
    "The query of the SQLite file {path}, or a view that it reads, is recursive (with recursive). It might run for ever, and cannot be stopped: store its result in a table of the file, and read that.",
    "La consulta del archivo SQLite {path}, o una vista que lee, es recursiva (with recursive). Podría no terminar nunca, y no se puede detener: guarde su resultado en una tabla del archivo, y lea esa tabla.",
  ],
  "sqlite-not-readable": [
    "The SQLite file {path} cannot be read ({words}): check the table, the query, and that the file is a database that is not being written.",
    "El archivo SQLite {path} no se puede leer ({words}): compruebe la tabla, la consulta, y que el archivo sea una base de datos en la que no se esté escribiendo.",
  ],
  // modules
  "module-broken": [
    "The source module {module}: {what*}. `etl source try {name}` shows what it returns; docs/sources.md describes what it must do.",
    "El módulo de fuente {module}: {what*}. `etl source try {name}` muestra lo que devuelve; docs/sources.md describe lo que debe hacer.",
  ],
  "module-not-loaded": ["it cannot be loaded: {said*}", "no se puede cargar: {said*}"],
  "module-failed": ["it failed {where*}: {said*}", "falló {where*}: {said*}"],
  "in-plan": ["in plan", "en plan"],
  "in-read": ["in read", "en read"],
  "at-end-of-read": ["at the end of read", "al final de read"],
  "while-loaded": ["while it was loaded", "mientras se cargaba"],
  "module-slow": [
    "it gave nothing within {ms} ms ({where*}) and was stopped. Look for a loop or a wait that does not end, or allow more with source.timeout_ms",
    "no dio nada en {ms} ms ({where*}) y se detuvo. Busque un bucle o una espera que no termina, o permita más con source.timeout_ms",
  ],
  "module-memory": [
    "it needs more than 512 MiB of memory ({where*}). Let it yield records as they come and keep less",
    "necesita más de 512 MiB de memoria ({where*}). Haga que entregue los registros según llegan y guarde menos",
  ],
  "module-many-slices": [
    "it plans {count} slices of {length} characters: at most {most} and {longest}. Let {module} make larger slices",
    "planifica {count} partes de {length} caracteres: como máximo {most} y {longest}. Haga que {module} forme partes mayores",
  ],
  "module-long-position": [
    "its position has {length} characters, at most {most}",
    "su posición tiene {length} caracteres, como máximo {most}",
  ],
  "module-no-json": [
    "its records are not JSON ({said})",
    "sus registros no son JSON ({said})",
  ],
  "module-no-list": ["its records are not a list", "sus registros no son una lista"],
  "module-disturbs": ["it disturbs its host", "perturba su host"],
  "module-config": [
    "The source module {module} cannot use its config: {issues*}",
    "El módulo de fuente {module} no puede usar su config: {issues*}",
  ],
  "either-of-both": ["takes either table or query", "admite o bien table o bien query"],
  "takes-one-name": ["takes one name", "admite un solo nombre"],
  "module-missing": [
    "There is no source module {module}: {path} does not exist; {expected*}.",
    "No hay ningún módulo de fuente {module}: {path} no existe; {expected*}.",
  ],
  "request-no-answer": [
    "{url} did not respond in {n} attempts ({why}): the run continues when it responds again.",
    "{url} no respondió en {n} intentos ({why}): la ejecución sigue cuando vuelva a responder.",
  ],
  "request-connection": [
    'The source\'s module requests connection "{name}", which is not its own: list it in source.connections, and set {variable} to its URL.',
    'El módulo de la fuente pide la conexión "{name}", que no es suya: inclúyala en source.connections, y ponga su URL en {variable}.',
  ],
  "request-no-connection": [
    'The source\'s module asks for "{url}", which is no whole URL, and the source has no connection: list one in source.connections.',
    'El módulo de la fuente pide "{url}", que no es una URL entera, y la fuente no tiene conexión: incluya una en source.connections.',
  ],
  "request-no-name": [
    'The source\'s module asks for "{url}", which is no whole URL, and does not name its connection.',
    'El módulo de la fuente pide "{url}", que no es una URL entera, y no nombra su conexión.',
  ],
  "request-protocol": [
    "The source's module asks for {protocol}//…, which is not HTTP.",
    "El módulo de la fuente pide {protocol}//…, que no es HTTP.",
  ],
  "request-method": [
    "The source's module sends {method}: a source reads, by GET, HEAD or POST.",
    "El módulo de la fuente envía {method}: una fuente lee, con GET, HEAD o POST.",
  ],
  "redirects-no-http-url": [
    "{url} redirects to something that is no URL of HTTP.",
    "{url} redirige a algo que no es una URL de HTTP.",
  ],
  "redirects-not-encrypted": [
    "{url} redirects to what is not encrypted.",
    "{url} redirige a algo que no va cifrado.",
  ],
  "redirects-often": [
    "{url} redirects to other addresses more than {n} times.",
    "{url} redirige a otras direcciones más de {n} veces.",
  ],
  "request-not-listed": [
    'The source\'s module asks {host}, which it does not list: add "{named}" to its hosts if that is intended.',
    'El módulo de la fuente pide {host}, que no tiene en su lista: añada "{named}" a sus hosts si es lo que quiere.',
  ],
  "request-not-among": [
    'The source\'s module asks {host}, which it does not list: add "{named}" to its hosts if that is intended (there are {list}).',
    'El módulo de la fuente pide {host}, que no tiene en su lista: añada "{named}" a sus hosts si es lo que quiere (tiene {list}).',
  ],
  "request-large": [
    "{url} answers with more than {n} MiB: ask for smaller pages, or load it as a file with an http source.",
    "{url} responde con más de {n} MiB: pida páginas menores, o cárguelo como archivo con una fuente http.",
  ],
  "request-failed": [
    "A request of the source's module failed: {said*}",
    "Una petición del módulo de la fuente falló: {said*}",
  ],
  "rest-many-pages": [
    "there are more than {n} pages: raise max_pages, or check paging",
    "hay más de {n} páginas: aumente max_pages, o compruebe paging",
  ],
  "rest-no-such-place": [
    "url has {place}, which is neither {since} nor a name of each",
    "url tiene {place}, que no es ni {since} ni un nombre de each",
  ],
  "rest-same-page": [
    "the API returned {url} as next page a second time: check paging",
    "la API devolvió {url} como página siguiente por segunda vez: compruebe paging",
  ],
  "rest-no-token": [
    "the token endpoint of connection {name} gives no access_token",
    "el endpoint de tokens de la conexión {name} no da access_token",
  ],
  "rest-no-list": [
    "{url} answers without a list at records_path {path}",
    "{url} responde sin una lista en records_path {path}",
  ],
  "rest-many-lists": [
    "{url} answers with {n} lists: say which one in records_path",
    "{url} responde con {n} listas: diga cuál en records_path",
  ],
  // the rest
  "many-slices": [
    "The run would have more than {n} chunks: choose a larger chunk_size.",
    "La ejecución tendría más de {n} chunks: elija un chunk_size mayor.",
  ],
  "inline-no-records": [
    "The inline source has no records: give source.records, or send the data as body.",
    "La fuente inline no tiene registros: dé source.records, o envíe los datos como cuerpo.",
  ],
  "synthetic-endless": [
    "The synthetic source is endless: set batch_size.",
    "La fuente synthetic no tiene fin: indique batch_size.",
  ],
} as const satisfies Record<string, readonly [english: string, spanish: string]>;
