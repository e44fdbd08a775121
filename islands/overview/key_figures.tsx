import { useLocale } from "../lib/locale_context.tsx";
import { StateBadge } from "../ui/state.tsx";
import { Time } from "../ui/time.tsx";
import type { OverviewData } from "./overview_data.ts";

/** What one wants to know first: the latest run, its ratio and rows, and what is going on. */
export function KeyFigures({ data }: { data: OverviewData }) {
  const { t, number, percent, duration } = useLocale();
  const latest = data.recent[0]!;
  const measured = data.history.findLast((point) => point.ratio !== null);
  const required = measured?.min_acceptance_ratio ?? 1;
  const running = data.active.filter((run) => run.state === "running").length;
  const waiting = data.active.length - running;
  const rows = measured === undefined
    ? undefined
    : measured.inserted + measured.updated + measured.unchanged;
  return (
    <dl class="figures">
      <div class="figure">
        <dt>{t("overview.latest_run")}</dt>
        <dd class="figure-main">
          <a href={`/etl/runs/${latest.run_id}`} class="figure-link">
            <StateBadge state={latest.state} />
          </a>
        </dd>
        <dd class="figure-note">
          <span class="clip">{latest.run_label}</span> ·{" "}
          <Time at={latest.requested_at} style="relative" />
        </dd>
      </div>
      <div class="figure">
        <dt>{t("overview.ratio")}</dt>
        <dd class={`figure-main ${measured?.low_ratio ? "is-bad" : ""}`}>
          {measured?.ratio == null ? "–" : percent(measured.ratio)}
        </dd>
        <dd class="figure-note">
          {measured === undefined
            ? t("overview.not_measured")
            : t(measured.ratio! < required ? "overview.below_threshold" : "overview.threshold", {
              ratio: percent(required),
            })}
        </dd>
      </div>
      <div class="figure">
        <dt>{t("overview.rows")}</dt>
        <dd class="figure-main">{rows === undefined ? "–" : number(rows)}</dd>
        <dd class="figure-note">
          {measured === undefined ? t("overview.not_measured") : t("overview.rows_split", {
            inserted: measured.inserted,
            updated: measured.updated,
            unchanged: measured.unchanged,
          })}
        </dd>
      </div>
      <div class="figure">
        <dt>{t("overview.duration")}</dt>
        <dd class="figure-main">
          {measured?.duration_ms == null ? "–" : duration(measured.duration_ms)}
        </dd>
        <dd class="figure-note">
          {measured?.duration_ms == null || rows === undefined || measured.duration_ms === 0
            ? t("overview.not_measured")
            : t("overview.rate", {
              rate: number(Math.round(rows / (measured.duration_ms / 1000))),
            })}
        </dd>
      </div>
      <div class="figure">
        <dt>{t("overview.now")}</dt>
        <dd class="figure-main">{t("overview.running", { n: running })}</dd>
        <dd class="figure-note">{t("overview.waiting", { n: waiting })}</dd>
      </div>
    </dl>
  );
}
