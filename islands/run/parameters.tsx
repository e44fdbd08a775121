import type { RunDetail } from "../../store/run_views.ts";
import type { MessageKey } from "../i18n/en.ts";
import { useLocale } from "../lib/locale_context.tsx";

/** What the run was asked to do, and where each value came from; what is default is folded away. */
export function Parameters({ run }: { run: RunDetail }) {
  const { t } = useLocale();
  const all = Object.entries(run.params).sort(([a], [b]) => (a < b ? -1 : 1));
  const chosen = all.filter(([, { origin }]) => origin !== "default");
  const defaults = all.filter(([, { origin }]) => origin === "default");
  return (
    <section class="card" aria-labelledby="params-title">
      <div class="card-head">
        <h2 id="params-title">{t("run.parameters")}</h2>
      </div>
      {chosen.length === 0
        ? <p class="empty">{t("run.all_defaults")}</p>
        : <List params={chosen} withOrigin />}
      <details class="defaults">
        <summary>{t("run.defaults", { n: defaults.length })}</summary>
        <List params={defaults} />
      </details>
    </section>
  );
}

interface ListProps {
  params: [string, { value: unknown; origin: string }][];
  withOrigin?: boolean;
}

function List({ params, withOrigin = false }: ListProps) {
  const { t } = useLocale();
  return (
    <dl class="params">
      {params.map(([name, { value, origin }]) => (
        <div key={name}>
          <dt>
            <code>{name}</code>
            {withOrigin && <span class="tag">{t(`origin.${origin}` as MessageKey)}</span>}
          </dt>
          <dd>
            <Value value={value} />
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Value({ value }: { value: unknown }) {
  if (value === null) return <span class="quiet">–</span>;
  if (typeof value !== "object") return <code class="value">{String(value)}</code>;
  return (
    <ul class="members">
      {Object.entries(value).map(([name, each]) => (
        <li key={name}>
          <span class="quiet">{name}</span>{" "}
          <code class="value">{typeof each === "string" ? each : JSON.stringify(each)}</code>
        </li>
      ))}
    </ul>
  );
}
