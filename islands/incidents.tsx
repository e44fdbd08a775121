/// <reference lib="dom" />
import { useState } from "preact/hooks";
import { mount } from "./lib/mount.tsx";
import { type ApiError, call } from "./lib/api.ts";
import { useLocale, useNow, useRole } from "./lib/context.tsx";
import { Icon, Said, Time } from "./ui/elements.tsx";

/** What the list shows of an incident that is open. */
export interface IncidentLine {
  fingerprint: string;
  kind: string;
  subject: string;
  opened_at: string;
  occurrences: number;
  acknowledged_at: string | null;
  /** Null where the server has no tokens, and so knows nobody by name. */
  acknowledged_by: string | null;
  silenced_until: string | null;
  silenced_by: string | null;
  /** What its last alert said, and of which run; null where that is not among the newest. */
  message: string | null;
  run_id: string | null;
}

const ACTIONS = ["acknowledge", "silence", "close"] as const;
type Action = typeof ACTIONS[number];

/** Incidents that go on, the newest of them all, and what can be done about each. */
export function Incidents({ incidents, total }: { incidents: IncidentLine[]; total: number }) {
  const { t } = useLocale();
  return (
    <section class="card" aria-labelledby="incidents-title">
      <div class="card-head">
        <h2 id="incidents-title">{t("incidents.title")}</h2>
        <span class="quiet">{t("incidents.count", { n: total })}</span>
      </div>
      <ul class="rows">
        {incidents.map((each) => <Incident key={each.fingerprint} incident={each} />)}
      </ul>
    </section>
  );
}

function Incident({ incident }: { incident: IncidentLine }) {
  const { t, maybe } = useLocale();
  const now = useNow();
  const operator = useRole("operator");
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  const { fingerprint, kind, subject, message, run_id, silenced_until } = incident;
  const silent = silenced_until !== null && Date.parse(silenced_until) > now;
  const handle = (action: Action) => async () => {
    setBusy(true);
    setFailure(null);
    try {
      await call("/api/alerts/handle", {
        method: "POST",
        body: { fingerprint, action, ...(action === "silence" ? { minutes: 60 } : {}) },
        offline: t("error.network"),
      });
      location.reload();
    } catch (error) {
      setFailure((error as ApiError).message);
      setBusy(false);
    }
  };
  const actions = ACTIONS.filter((action) =>
    action === "acknowledge"
      ? incident.acknowledged_at === null
      : action === "silence"
      ? !silent
      : true
  );
  return (
    <li class="alert-row is-warning">
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
          {incident.acknowledged_at !== null && (
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
          {actions.map((action) => (
            <button
              key={action}
              type="button"
              class="button only-with-script"
              aria-label={`${t(`incidents.${action}`)}: ${
                maybe(`alert.${kind}`) ?? kind
              } ${subject}`}
              onClick={handle(action)}
              {...operator.control(busy)}
            >
              {t(`incidents.${action}`)}
            </button>
          ))}
        </p>
        {failure !== null && <p class="is-bad" role="alert">{failure}</p>}
      </div>
    </li>
  );
}

const by = (who: string | null) => who === null ? "" : ` (${who})`;

mount("incidents", Incidents);
