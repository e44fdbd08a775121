import { useLocale, useNow, useRole } from "../../islands/lib/context.tsx";
import { Icon, Said, Time } from "../../islands/ui/elements.tsx";
import { ALERT_KINDS, type AlertKind } from "../../vocabulary/alert_kinds.ts";
import type { Sql } from "../../store/database.ts";
import {
  type AlertView,
  incidentsMark,
  type OpenIncident,
  openIncidents,
  recentAlerts,
} from "../../store/alerts.ts";
import { type Page, useScript } from "./page.tsx";

/** Those that happened last; `GET /api/alerts/open` has all. */
const SHOWN_INCIDENTS = 100;

interface AlertFilter {
  kind: string;
  state: string;
}

interface Found {
  /** Another one as soon as there is something else to show. */
  mark: string;
  all: AlertView[];
  incidents: OpenIncident[];
  /** Incidents that are open in all. */
  open: number;
}

/** Incidents that are open with what can be done about them, and the newest alerts, by the filters in the URL. */
export const alertsPage: Page = {
  path: "/alerts",
  role: "viewer",
  nav: "alerts",
  menu: { group: "quality", key: "a" },
  async load(c, deps) {
    const filter = { kind: c.req.query("kind") ?? "", state: c.req.query("state") ?? "" };
    // who has been told of a change is shown it, also within the second for which an answer is kept
    const since = (c.req.query("since") ?? "").slice(0, 60);
    const found = await deps.briefly.get(`alerts ${since}`, () => lookUp(deps.sql));
    return {
      main: <Alerts found={found} filter={filter} />,
      shared: `alerts ${JSON.stringify([filter, since])}`,
    };
  },
};

async function lookUp(sql: Sql): Promise<Found> {
  // first, so that no change after it is taken for shown
  const mark = await incidentsMark(sql);
  const [all, open] = await Promise.all([recentAlerts(sql), openIncidents(sql)]);
  const incidents = open.slice(0, SHOWN_INCIDENTS);
  return { mark, all, incidents, open: open.length };
}

function Alerts({ found, filter }: { found: Found; filter: AlertFilter }) {
  useScript("alerts");
  const { t, maybe } = useLocale();
  const { mark, all, incidents, open } = found;
  const shown = all.filter(({ kind, resolved_at }) =>
    (filter.kind === "" || kind === filter.kind) &&
    (filter.state === "" || (filter.state === "open") === (resolved_at === null))
  );
  // all there are: the list changes while somebody chooses
  const kinds = [...new Set([...Object.keys(ALERT_KINDS), ...all.map(({ kind }) => kind)])].sort();
  return (
    <>
      <div class="page-head">
        <h1>{t("nav.alerts")}</h1>
      </div>
      <p class="lead">{t("alerts.about")}</p>
      <p id="incidents-failure" class="messages is-bad" role="alert" />
      <div id="incidents" class="island" data-mark={mark} data-offline={t("error.network")}>
        {incidents.length > 0 && (
          <section class="card" aria-labelledby="incidents-title">
            <div class="card-head">
              <h2 id="incidents-title">{t("incidents.title")}</h2>
              <span class="quiet">{t("incidents.count", { n: open })}</span>
            </div>
            <ul class="rows">
              {incidents.map((each) => <IncidentRow key={each.fingerprint} incident={each} />)}
            </ul>
          </section>
        )}
      </div>
      <section class="card" aria-label={t("nav.alerts")}>
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
        <div id="alerts">
          {shown.length === 0
            ? (
              <p class="empty">
                {t(all.length === 0 ? "overview.no_alerts" : "alerts.none_found")}
              </p>
            )
            : (
              <ul class="rows alert-list">
                {shown.map((alert) => <Alert key={alert.alert_id} alert={alert} />)}
              </ul>
            )}
        </div>
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

const ACTIONS = ["acknowledge", "silence", "close"] as const;

function IncidentRow({ incident }: { incident: OpenIncident }) {
  const { t, maybe } = useLocale();
  const now = useNow();
  const operator = useRole("operator");
  const { fingerprint, kind, subject, message, run_id, acknowledged_at, silenced_until } = incident;
  const silent = silenced_until !== null && Date.parse(silenced_until) > now;
  const done = { acknowledge: acknowledged_at !== null, silence: silent, close: false };
  return (
    <li class={`alert-row is-${incident.severity ?? "warning"}`} data-row={fingerprint}>
      <Icon name="warning" />
      <div>
        <p class="alert-kind">
          <span>
            {maybe(`alert.${kind}`) ?? kind} · <strong>{subject}</strong>
          </span>
          <span class="quiet">
            <Time at={incident.opened_at} style="long" />
          </span>
        </p>
        {message !== null && (
          <p class="alert-text">
            <Said text={message} />
          </p>
        )}
        <p class="alert-facts quiet">
          {run_id !== null && <a href={`/etl/runs/${run_id}`}>{t("alerts.run")}</a>}
          <span>{t("incidents.times", { n: incident.occurrences })}</span>
          {acknowledged_at !== null && (
            <span>{t("incidents.acknowledged")}{by(incident.acknowledged_by)}</span>
          )}
          {silent && (
            <span>
              {t("incidents.silenced")} <Time at={silenced_until} style="long" />
              {by(incident.silenced_by)}
            </span>
          )}
        </p>
        <p class="incident-actions">
          {ACTIONS.filter((action) => !done[action]).map((action) => (
            <button
              key={action}
              type="button"
              class="button only-with-script"
              data-handle={action}
              aria-label={`${t(`incidents.${action}`)}: ${
                maybe(`alert.${kind}`) ?? kind
              } ${subject}`}
              {...operator.control()}
            >
              {t(`incidents.${action}`)}
            </button>
          ))}
        </p>
      </div>
    </li>
  );
}

/** Null where the server has no tokens, and so knows nobody by name. */
const by = (who: string | null) => who === null ? "" : ` (${who})`;

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
