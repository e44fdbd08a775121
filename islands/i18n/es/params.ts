/** Help texts of the run parameters, by path; without one the schema's own is shown. */
export const params: Record<string, string> = {
  "param.batch_size":
    "registros que se extraen; en fuentes que no sean synthetic, un máximo y el número esperado",
  "param.run_label": "agrupa ejecuciones relacionadas",
  "param.chunk_size":
    "registros por chunk; si no se indica, los ficheros eligen unos 50.000 o 16 MiB",
  "param.schema_name": "esquema de destino",
  "param.table_name": "tabla de destino",
  "param.audit_table_name": "tabla de auditoría",
  "param.min_acceptance_ratio":
    "mínimo aceptado de total_rows / expected_rows; por debajo, la ejecución falla en finalize",
  "param.enforce_ge": "no cargar nada si no se cumplen todas las expectativas de la suite",
  "param.mlflow_enable": "registrar la ejecución en MLflow",
  "param.mlflow_experiment": "experimento de MLflow",
  "param.dry_run":
    "hacer todo menos escribir: decir qué se insertaría, actualizaría o quedaría igual",
  "param.db_statement_timeout_ms": "límite de tiempo de una sentencia SQL en ms; 0: ninguno",
  "param.db_max_retries": "intentos de una operación de base de datos con fallo transitorio",
  "param.db_retry_initial_ms": "primera espera del retroceso exponencial en ms",
  "param.db_page_size": "filas por envío de COPY y por página de lectura",
  "param.transform": "un módulo de transformación propio, por su nombre",
  "param.transform_timeout_ms":
    "límite de tiempo del módulo de transformación para un lote de unos 1000 registros, en ms",
  "param.suite": "suite de expectativas; por defecto, la de la tabla de destino",
  "param.on_failure": "expectativas no cumplidas: registrarlas, o poner las filas en cuarentena",
  "param.sla_seconds":
    "segundos desde la petición tras los que la ejecución, o una etapa, llega tarde",
  "param.full_refresh": "leer entera una fuente incremental y fijar su cursor",
  "param.pool": "límite con nombre de ejecuciones a la vez",
  "param.overlap":
    "si hay otra ejecución con la misma etiqueta: esperar, no ejecutar, o cancelar la anterior",
  "param.source.name":
    "nombre de la fuente, dueña de sus filas; por defecto synthetic o la etiqueta",
  "param.source.key": "campo o campos que identifican un evento; por defecto, el hash del registro",
  "param.source.event_type": 'tipo de evento literal, o {"field": ruta}; por defecto "record"',
  "param.source.occurred_at": "campo con la hora del evento y su formato; por defecto ninguno",
  "param.source.version": "campo (número u hora) que indica la versión más nueva de una clave",
  "param.source.seed": "otra semilla da otros registros",
  "param.source.format": "formato de los datos; por defecto, según el nombre o el tipo",
  "param.source.records_path": 'ruta de la lista dentro de un documento JSON: "features"',
  "param.source.delimiter": "separador de CSV; por defecto coma, o tabulador en TSV",
  "param.source.encoding": "codificación del texto",
  "param.source.records": "los propios registros",
  "param.source.path": 'ruta o patrón bajo ETL_DATA_DIR: "flights/*.csv.gz"',
  "param.source.url": "de dónde se descarga, sin secretos; con una conexión, lo que sigue a su URL",
  "param.source.connection":
    "conexión con nombre: ETL_CONNECTION_<NOMBRE> contiene su DSN, o la URL y las cabeceras de una fuente http",
  "param.source.table": 'tabla, "esquema.nombre" o "nombre"',
  "param.source.query": "una sentencia select, en lugar de la tabla",
  "param.source.page_key": "columnas únicas para paginar; por defecto, la clave primaria",
  "param.source.cursor":
    "columna que crece con cada cambio; solo se leen las filas desde la última posición",
  "param.source.cursor_mode":
    "window: desde la última posición menos lo que dice lookback; exact (tablas): además lo que escribió una transacción que estaba abierta en la última ejecución, al precio de mirar el xmin de cada fila",
  "param.source.lookback":
    "modo window: cuánto antes de la última posición se empieza a leer, en segundos para horas y UUID, si no en los números de la columna; por defecto 300 y 10.000",
  "param.source.cursor_sortable":
    "si los textos del cursor se ordenan según cambian las filas; si no, se rechaza",
  "param.source.lookback_seconds": "lo mismo, con el nombre de la versión 0.1.0",
};
