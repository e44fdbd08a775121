import { useCurlHeader, useLocale, useOrigin } from "../lib/context.tsx";
import { Icon, Prose } from "./elements.tsx";

/** What to do where there is no run yet. */
export function FirstSteps({ filtered }: { filtered: boolean }) {
  const { t } = useLocale();
  const header = useCurlHeader();
  const origin = useOrigin();
  return (
    <section class="card empty large">
      <h2>{t(filtered ? "overview.no_runs_of_label" : "overview.welcome")}</h2>
      <p>
        <Prose text={t("overview.first_steps")} />
      </p>
      <pre class="code" tabindex={0}>
        <code>{`curl -X POST${header} -H 'content-type: application/json' -d '{"batch_size": 500}' \\\n  ${origin}/api/etl/run`}</code>
      </pre>
      <a class="button primary" href="/etl/new">
        <Icon name="plus" /> {t("nav.new")}
      </a>
    </section>
  );
}
