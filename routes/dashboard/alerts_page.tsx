import { useLocale } from "../../islands/lib/context.tsx";
import { Icon, Said, Time } from "../../islands/ui/elements.tsx";
import { type IncidentLine, Incidents } from "../../islands/incidents.tsx";
import { ALERT_KINDS, type AlertKind } from "../../vocabulary/alert_kinds.ts";
import { type AlertView, openIncidents, recentAlerts } from "../../store/alerts.ts";
import { Island, type Page } from "./page.tsx";

/** Those that happened last; `GET /api/alerts/open` has all. */
const SHOWN_INCIDENTS = 100;

interface AlertFilter {
  kind: string;
  state: string;
}

/** Incidents that are open with what can be done about them, and the newest alerts, by the filters in the URL. */
export const alertsPage: Page = {
  path: "/alerts",
  role: "viewer",
  nav: "alerts",
  menu: { group: "quality", key: "a" },
  async load(c, deps) {
    const filter = { kind: c.req.query("kind") ?? "", state: c.req.query("state") ?? "" };
    const [all, open] = await Promise.all([recentAlerts(deps.sql), openIncidents(deps.sql)]);
    const incidents = open.slice(0, SHOWN_INCIDENTS).map((incident): IncidentLine => {
      const last = all.find(({ fingerprint }) => fingerprint === incident.fingerprint);
      const { fingerprint, kind, subject, opened_at, occurrences } = incident;
      const { acknowledged_at, acknowledged_by, silenced_until, silenced_by } = incident;
      return {
        ...{ fingerprint, kind, subject, opened_at, occurrences },
        ...{ acknowledged_at, acknowledged_by, silenced_until, silenced_by },
        message: last?.message ?? null,
        run_id: last?.run_id ?? null,
      };
    });
    return {
      main: <Alerts all={all} incidents={incidents} open={open.length} filter={filter} />,
    };
  },
};

interface AlertsProps {
  all: AlertView[];
  incidents: IncidentLine[];
  /** Incidents that are open in all. */
  open: number;
  filter: AlertFilter;
}

function Alerts({ all, incidents, open, filter }: AlertsProps) {
  const { t, maybe } = useLocale();
  const shown = all.filter(({ kind, resolved_at }) =>
    (filter.kind === "" || kind === filter.kind) &&
    (filter.state === "" || (filter.state === "open") === (resolved_at === null))
  );
  const kinds = [...new Set(all.map(({ kind }) => kind))].sort();
  return (
    <>
      <div class="page-head">
        <h1>{t("nav.alerts")}</h1>
      </div>
      <p class="lead">{t("alerts.about")}</p>
      {incidents.length > 0 && (
        <Island name="incidents" component={Incidents} props={{ incidents, total: open }} />
      )}
      <section class="card" aria-label={t("nav.alerts")}>
        {all.length > 0 && (
          <form class="filters" action="/etl/alerts" aria-label={t("history.filters")}>
            <div class="filter">
              <label for="filter-kind">{t("alerts.kind")}</label>
              <select id="filter-kind" name="kind" data-submit data-filter>
                <option value="">{t("history.any")}</option>
                {kinds.map((kind) => (
                  <option key={kind} value={kind} selected={kind === filter.kind}>
                    {maybe(`alert.${kind}`) ?? kind}
                  </option>
                ))}
              </select>
            </div>
            <div class="filter">
              <label for="filter-state">{t("field.state")}</label>
              <select id="filter-state" name="state" data-submit>
                <option value="">{t("history.any")}</option>
                {(["open", "resolved"] as const).map((state) => (
                  <option key={state} value={state} selected={state === filter.state}>
                    {t(`alerts.${state}`)}
                  </option>
                ))}
              </select>
            </div>
            <div class="filter-actions">
              <button type="submit" class="button">{t("history.apply")}</button>
            </div>
          </form>
        )}
        {shown.length === 0
          ? <p class="empty">{t(all.length === 0 ? "overview.no_alerts" : "alerts.none_found")}</p>
          : (
            <ul class="rows alert-list">
              {shown.map((alert) => <Alert key={alert.alert_id} alert={alert} />)}
            </ul>
          )}
      </section>
      <section class="card" aria-label={t("alerts.what_to_do")}>
        <h2>{t("alerts.what_to_do")}</h2>
        <p class="quiet">{t("alerts.what_to_do_about")}</p>
        <dl class="advice">
          {(Object.keys(ALERT_KINDS) as AlertKind[]).map((kind) => (
            <div key={kind} id={`do-${kind}`}>
              <dt>{t(`alert.${kind}`)}</dt>
              <dd>{t(`advice.${kind}`)}</dd>
            </div>
          ))}
        </dl>
      </section>
    </>
  );
}

function Alert({ alert }: { alert: AlertView }) {
  const { t, maybe } = useLocale();
  const { kind, severity, message, run_id, run_label, resolved_at, suppressed, notified } = alert;
  const channels = Object.entries(notified);
  return (
    <li class={`alert-row is-${severity}`}>
      <Icon name={severity === "info" ? "info" : "warning"} />
      <div>
        <p class="alert-kind">
          <span>
            {maybe(`alert.${kind}`) ?? kind}
            <span class="visually-hidden">({maybe(`severity.${severity}`) ?? severity})</span>
            <span class="tag">{t(resolved_at === null ? "alerts.open" : "alerts.resolved")}</span>
            {suppressed && <span class="tag">{t("alerts.suppressed")}</span>}
          </span>
          <span class="quiet">
            <Time at={alert.created_at} style="long" />
          </span>
        </p>
        <p class="alert-text">
          <Said text={message} />
        </p>
        <p class="alert-facts quiet">
          {resolved_at === null && Object.hasOwn(ALERT_KINDS, kind) && (
            <a href={`#do-${kind}`}>{t("alerts.what_to_do")}</a>
          )}
          {run_id !== null && <a href={`/etl/runs/${run_id}`}>{run_label ?? t("alerts.run")}</a>}
          {resolved_at !== null && (
            <span>
              {t("alerts.resolved")} <Time at={resolved_at} />
            </span>
          )}
          {channels.map(([channel, state]) => (
            <span key={channel}>{channel}: {maybe(`notified.${state}`) ?? state}</span>
          ))}
        </p>
      </div>
    </li>
  );
}
