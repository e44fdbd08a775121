import type { resources as english } from "../en/resources.ts";

export const resources: Record<keyof typeof english, string> = {
  "resource.configuration": "configuración",
  "resource.variable": "variable",
  "resource.pool": "pool",
  "resource.suite": "suite",
  "resource.dataset": "columnas del conjunto de datos",
  "resource.new": "Crear {noun}",
  "resource.edit": "Cambiar {noun} {name}",
  "resource.saved": "Se ha guardado {name}.",
  "resource.removed": "Se ha eliminado {name}.",
  "resource.remove_title": "¿Eliminar {name}?",
  "resource.run_one": "Ejecutar {name} ahora",
  "resource.edit_one": "Cambiar {name}",
  "resource.remove_one": "Eliminar {name}",
  "resource.actions": "Acciones",
  "resource.updated": "Cambio",
  "resource.waiting": "En espera",
  "resource.origin": "Procede de",
  "resource.from_file": "un fichero",
  "resource.from_api": "una persona",
  "resource.expectations": "Expectativas",
  "resource.description_help": "Para quien la vea más tarde; puede quedar vacía",
  "resource.not_json": "Esto no es JSON: {message}",
  "resource.conf": "Valores",
  "resource.conf_help":
    "Parámetros de una ejecución en JSON; quien la ejecute puede cambiar cada uno",
  "resource.configurations_about":
    "Valores guardados para los parámetros de una ejecución, que se ejecutan por su nombre desde la API, la línea de comandos, SQL o una programación.",
  "resource.configurations_empty":
    "Aún no hay configuraciones. Guarde una aquí o desde el formulario de nueva ejecución.",
  "resource.configuration_removal":
    "Las peticiones y programaciones que la usen por su nombre se rechazarán. Las ejecuciones que la usaron conservan sus valores.",
  "resource.value": "Valor",
  "resource.value_help":
    "JSON: un número, un texto entre comillas, true o false, una lista, un objeto",
  "resource.variables_about":
    "Una variable llamada etl_improved__<parámetro> es el valor de ese parámetro cuando ni la petición ni su configuración dan uno. Los demás nombres quedan libres para transformaciones y consumidores.",
  "resource.variables_empty":
    "Aún no hay variables. Cree etl_improved__batch_size, por ejemplo, para cambiar un valor por defecto.",
  "resource.variable_removal":
    "Las ejecuciones que se soliciten desde ahora usarán el entorno o el valor por defecto.",
  "resource.slots": "Plazas",
  "resource.slots_help": "Ejecuciones a la vez; 0 detiene el pool, las que están en curso siguen",
  "resource.pools_about":
    "Un pool limita cuántas de sus ejecuciones están en curso a la vez; las demás esperan en el orden en que se solicitaron.",
  "resource.pools_empty": "No hay ningún pool.",
  "resource.pool_removal":
    "Un pool que alguna ejecución ha usado no se puede eliminar; ponga sus plazas a 0.",
  "resource.suite_json": "Suite",
  "resource.suite_help": "El JSON de Great Expectations 0.18 o 1.x",
  "resource.suites_about":
    "Una suite dice qué debe cumplir un lote. Una ejecución se juzga con la suite que nombra o, si no, con la que se llama como su tabla.",
  "resource.suites_empty":
    "Aún no hay suites. Cree una con el nombre de la tabla cuyos lotes juzga.",
  "resource.suite_removal":
    "Las ejecuciones con enforce_ge se rechazarán si no se encuentra otra suite; las demás siguen sin ser juzgadas.",
  "resource.view": "Vista tipada",
  "resource.columns": "Columnas",
  "resource.columns_help":
    "Una lista JSON de {name, path, type}: text, integer, numeric, boolean, date, timestamptz o jsonb",
  "resource.datasets_about":
    "Tablas que escriben las ejecuciones. Las columnas declaradas dan a una su vista tipada, para consultar nombres en vez de rutas JSON.",
  "resource.datasets_empty":
    "Aún no hay conjuntos de datos. La primera ejecución sobre una tabla crea uno.",
  "resource.dataset_removal":
    "Se quitan la vista tipada y sus columnas; la tabla se queda. Las consultas sobre la vista fallarán desde ahora.",
  "resource.propose": "Proponer según los datos",
  "resource.proposed": "Estas columnas valen para {rows} filas. Cambie lo que quiera y guarde.",
  "resource.try": "Probarla con una muestra",
  "resource.sample": "Registros",
  "resource.judge": "Juzgar la muestra",
};
