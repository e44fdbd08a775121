import type { MessageKey } from "../i18n/en.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { Icon } from "../ui/icon.tsx";
import { Time } from "../ui/time.tsx";
import type { OverviewData } from "./overview_data.ts";

export function AlertList({ alerts }: Pick<OverviewData, "alerts">) {
  const { t, maybe } = useLocale();
  return (
    <section class="card" aria-labelledby="alerts-title">
      <div class="card-head">
        <h2 id="alerts-title">{t("nav.alerts")}</h2>
        <a href="/etl/alerts">{t("action.all_alerts")}</a>
      </div>
      {alerts.length === 0 ? <p class="empty">{t("overview.no_alerts")}</p> : (
        <ul class="rows">
          {alerts.map((alert) => (
            <li key={alert.alert_id} class={`alert-row is-${alert.severity}`}>
              <Icon name={alert.severity === "info" ? "info" : "warning"} />
              <div>
                <p class="alert-kind">
                  {alert.run_id === null
                    ? maybe(`alert.${alert.kind}`) ?? alert.kind
                    : (
                      <a href={`/etl/runs/${alert.run_id}`}>
                        {maybe(`alert.${alert.kind}`) ?? alert.kind}
                      </a>
                    )}
                  <span class="quiet">
                    <Time at={alert.created_at} style="relative" />
                  </span>
                </p>
                <p class="alert-message">{alert.message}</p>
              </div>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

const HEALTH_ICONS = { ok: "check", warning: "warning", problem: "close" } as const;

export function HealthList({ lines }: { lines: OverviewData["health"] }) {
  const { t } = useLocale();
  const problems = lines.filter((line) => line.level === "problem").length;
  return (
    <section class="card" aria-labelledby="health-title">
      <div class="card-head">
        <h2 id="health-title">{t("overview.health")}</h2>
        <span class={problems === 0 ? "is-good" : "is-bad"}>
          {t(problems === 0 ? "health.healthy" : "health.unhealthy")}
        </span>
      </div>
      <ul class="rows">
        {lines.map((line) => (
          <li key={line.key + (line.text ?? "")} class={`health-row is-${line.level}`}>
            <Icon name={HEALTH_ICONS[line.level]} />
            {line.text === undefined
              ? t(line.key as MessageKey, line.values ?? {})
              : <span class="health-text" lang="en">{line.text}</span>}
          </li>
        ))}
      </ul>
    </section>
  );
}

export function PoolList({ pools }: Pick<OverviewData, "pools">) {
  const { t } = useLocale();
  return (
    <section class="card" aria-labelledby="pools-title">
      <div class="card-head">
        <h2 id="pools-title">{t("nav.pools")}</h2>
        <a href="/etl/pools">{t("action.manage")}</a>
      </div>
      <ul class="rows">
        {pools.map(({ pool, slots, running, waiting }) => (
          <li key={pool} class="pool-row">
            <span class="clip">{pool}</span>
            <Meter value={running} max={slots} label={t("pool.use", { pool, running, slots })} />
            <span class="num quiet">
              {t(waiting > 0 ? "pool.busy" : "pool.used", { running, slots, waiting })}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Meter({ value, max, label }: { value: number; max: number; label: string }) {
  const share = max === 0 ? 0 : Math.min(1, value / max);
  return (
    <svg class="meter" width="100%" height="6" role="img" aria-label={label}>
      <rect class="meter-rest" width="100%" height="6" rx="3" />
      <rect class="meter-used" width={`${share * 100}%`} height="6" rx="3" />
    </svg>
  );
}

export function ScheduleList({ schedules }: Pick<OverviewData, "schedules">) {
  const { t } = useLocale();
  return (
    <section class="card" aria-labelledby="schedules-title">
      <div class="card-head">
        <h2 id="schedules-title">{t("nav.schedules")}</h2>
        <a href="/etl/schedules">{t("action.manage")}</a>
      </div>
      {schedules.length === 0
        ? <p class="empty">{t("overview.no_schedules")}</p>
        : (
          <ul class="rows">
            {schedules.map(({ name, cron, next_slot, paused }) => (
              <li key={name} class="schedule-row">
                <span class="clip">{name}</span>
                <code class="quiet">{cron}</code>
                <span class="quiet">
                  {paused || next_slot === null
                    ? t("schedule.paused")
                    : <Time at={next_slot} style="relative" />}
                </span>
              </li>
            ))}
          </ul>
        )}
    </section>
  );
}
