import type { overview as english } from "../en/overview.ts";

export const overview: Record<keyof typeof english, string> = {
  "overview.all_labels": "Todas las etiquetas",
  "overview.other_labels": "Otras etiquetas",
  "overview.welcome": "Todavía no hay ejecuciones",
  "overview.no_runs_of_label": "Ninguna ejecución tiene esta etiqueta",
  "overview.first_steps":
    "Inicie la primera aquí o desde una terminal. Genera 500 registros, los valida y los carga.",
  "overview.latest_run": "Última ejecución",
  "overview.ratio": "Ratio de aceptación",
  "overview.threshold": "se exige al menos el {ratio}",
  "overview.below_threshold": "por debajo del {ratio} exigido",
  "overview.not_measured": "ninguna ejecución ha llegado aún",
  "overview.rows": "Filas de la última carga",
  "overview.rows_split": "{inserted} nuevas · {updated} cambiadas · {unchanged} iguales",
  "overview.duration": "Duración",
  "overview.rate": "{rate} filas/s, cola incluida",
  "overview.now": "Ahora mismo",
  "overview.running": "{n} en curso",
  "overview.waiting": "{n} ejecución espera|{n} ejecuciones esperan",
  "overview.history": "Histórico",
  "overview.recent_runs": "Ejecuciones recientes",
  "overview.no_runs": "Las ejecuciones aparecen aquí en cuanto se solicitan.",
  "overview.no_alerts":
    "Nada que señalar. Aquí aparecen las ejecuciones fallidas, tardías o con ratio bajo.",
  "overview.no_schedules": "Aún no hay programaciones. Con una, las ejecuciones empiezan solas.",
  "overview.health": "Salud",
  "health.healthy": "Correcta",
  "health.unhealthy": "Requiere atención",
  "health.database": "La base de datos responde y tiene todas las tablas y vistas",
  "health.draining": "Este servidor se está deteniendo y no acepta más ejecuciones",
  "health.api_only": "Este servidor responde peticiones; otros ejecutan",
  "health.workers": "{busy} de {n} worker está ocupado|{busy} de {n} workers están ocupados",
  "health.notify": "Las ejecuciones empiezan en cuanto se solicitan (LISTEN/NOTIFY)",
  "health.polling": "LISTEN está desactivado: se consulta la cola y se empieza con retraso",
  "health.pg_cron": "pg_cron ejecuta las programaciones y los trabajos periódicos",
  "health.pg_cron_elsewhere":
    "pg_cron, en la base de datos {database}, ejecuta las programaciones y los trabajos periódicos",
  "health.own_cron":
    "Los servidores ejecutan las programaciones y los trabajos periódicos (pg-boss)",
  "pool.use": "{pool}: {running} de {slots} plazas en uso",
  "pool.used": "{running} / {slots}",
  "pool.busy": "{running} / {slots} · {waiting} en espera",
  "chart.threshold": "exigido",
  "chart.ratio": "Ratio de aceptación",
  "chart.rows": "Filas",
  "chart.duration": "Duración",
  "chart.ratio_label":
    "Gráfico de líneas del ratio de aceptación de las últimas ejecuciones; la tabla de abajo tiene los valores",
  "chart.rows_label":
    "Gráfico de barras de las filas de las últimas ejecuciones; la tabla de abajo tiene los valores",
  "chart.duration_label":
    "Gráfico de barras de la duración de las últimas ejecuciones; la tabla de abajo tiene los valores",
  "chart.as_table": "Mostrar como tabla",
};
