import type { RunView } from "../../store/run_views.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { StateBadge } from "../ui/state.tsx";
import { Time } from "../ui/time.tsx";

/** The newest runs, each a link to its page. */
export function RecentRuns({ runs }: { runs: RunView[] }) {
  const { t, number, percent, duration } = useLocale();
  return (
    <section class="card" aria-labelledby="recent-title">
      <div class="card-head">
        <h2 id="recent-title">{t("overview.recent_runs")}</h2>
        <a href="/etl/runs">{t("action.all_runs")}</a>
      </div>
      {runs.length === 0 ? <p class="empty">{t("overview.no_runs")}</p> : (
        <div class="table-scroll">
          <table class="table">
            <thead>
              <tr>
                <th scope="col">{t("field.state")}</th>
                <th scope="col">{t("field.run_label")}</th>
                <th scope="col" class="from-tablet">{t("field.requested_at")}</th>
                <th scope="col" class="num">{t("field.total_rows")}</th>
                <th scope="col" class="num">{t("field.ratio")}</th>
                <th scope="col" class="num from-tablet">{t("field.duration")}</th>
              </tr>
            </thead>
            <tbody>
              {runs.map((run) => (
                <tr key={run.run_id}>
                  <td>
                    <StateBadge state={run.state} />
                  </td>
                  <th scope="row">
                    <a class="row-link clip" href={`/etl/runs/${run.run_id}`}>{run.run_label}</a>
                    {run.dry_run && <span class="tag">{t("field.dry_run")}</span>}
                    <span class="to-tablet quiet second-line">
                      <Time at={run.requested_at} style="relative" />
                    </span>
                  </th>
                  <td class="quiet from-tablet">
                    <Time at={run.requested_at} />
                  </td>
                  <td class="num">{run.total_rows === null ? "–" : number(run.total_rows)}</td>
                  <td class={`num ${run.low_ratio ? "is-bad" : ""}`}>
                    {run.ratio === null ? "–" : percent(run.ratio)}
                  </td>
                  <td class="num from-tablet">
                    {run.duration_ms === null ? "–" : duration(run.duration_ms)}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
