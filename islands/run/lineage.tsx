import type { RunRelations } from "../../store/run_page.ts";
import type { RunDetail } from "../../store/run_views.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { Icon } from "../ui/icon.tsx";
import { isOver } from "./run_data.ts";

/** Where the data came from, where it went, and who is told. */
export function Lineage({ run, relations }: { run: RunDetail; relations: RunRelations }) {
  const { t, maybe } = useLocale();
  const source = (run.params.source?.value ?? {}) as Record<string, unknown>;
  const from = source.path ?? source.url ?? source.table ?? source.query ?? source.name;
  return (
    <section class="card" aria-labelledby="lineage-title">
      <div class="card-head">
        <h2 id="lineage-title">{t("run.lineage")}</h2>
      </div>
      <ol class="lineage">
        <li>
          <span class="lineage-kind">{t("run.source")}</span>
          <span class="lineage-name">
            <span>{maybe(`source.${source.type}`) ?? String(source.type)}</span>
            {from !== undefined && <code class="clip" title={String(from)}>{String(from)}</code>}
          </span>
        </li>
        <li>
          <span class="lineage-kind">{t("run.dataset")}</span>
          <span class="lineage-name">
            <code class="clip" title={run.dataset}>{run.dataset}</code>
            <span class="quiet">
              {relations.event_no !== null
                ? t("run.dataset_event", { n: relations.event_no })
                : !isOver(run.state)
                ? ""
                : run.dry_run
                ? t("run.dry_no_event")
                : t("run.no_event")}
            </span>
          </span>
        </li>
        {relations.consumers.map(({ consumer, state }) => (
          <li key={consumer}>
            <span class="lineage-kind">{t("run.consumer")}</span>
            <span class="lineage-name">
              <code class="clip">{consumer}</code>
              {state !== null && <span class="quiet">{maybe(`delivery.${state}`) ?? state}</span>}
            </span>
          </li>
        ))}
      </ol>
      {relations.alerts.length > 0 && (
        <ul class="rows run-alerts">
          {relations.alerts.map((alert) => (
            <li key={alert.kind + alert.created_at} class={`alert-row is-${alert.severity}`}>
              <Icon name="alerts" />
              <span>
                <strong>{maybe(`alert.${alert.kind}`) ?? alert.kind}</strong> {alert.message}
              </span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
