import { useCallback, useState } from "preact/hooks";
import { useLocale } from "../lib/locale_context.tsx";
import { useCurlHeader } from "../lib/viewer.tsx";
import { useEvents } from "../lib/live.ts";
import { Icon } from "../ui/icon.tsx";
import { LiveMark } from "../ui/live_mark.tsx";
import { AlertList, HealthList, PoolList, ScheduleList } from "./lists.tsx";
import { KeyFigures } from "./key_figures.tsx";
import { HistoryCharts } from "./history_charts.tsx";
import type { OverviewData } from "./overview_data.ts";
import { RecentRuns } from "./recent_runs.tsx";

export interface OverviewProps {
  data: OverviewData;
  labels: string[];
  /** Only runs of this label; null: all. */
  label: string | null;
}

/** The whole overview, kept up to date while it is in view. */
export function Overview({ data: initial, labels, label }: OverviewProps) {
  const { t } = useLocale();
  const [data, setData] = useState(initial);
  const onEvent = useCallback((type: string, parts: unknown) => {
    if (type === "parts") setData((now) => ({ ...now, ...parts as Partial<OverviewData> }));
  }, []);
  const query = label === null ? "" : `?run_label=${encodeURIComponent(label)}`;
  const connection = useEvents(`/etl/events${query}`, onEvent, ["hello", "parts"]);
  return (
    <>
      <div class="page-head">
        <h1>{t("nav.overview")}</h1>
        <LiveMark connection={connection} />
        <div class="page-actions">
          <LabelFilter labels={labels} label={label} />
          <a class="button primary narrow-only" href="/etl/new">
            <Icon name="plus" /> {t("nav.new")}
          </a>
        </div>
      </div>
      {data.recent.length === 0 ? <FirstSteps filtered={label !== null} /> : (
        <>
          <KeyFigures data={data} />
          <HistoryCharts points={data.history} />
        </>
      )}
      <div class="columns wide-left">
        <RecentRuns runs={data.recent} />
        <AlertList alerts={data.alerts} />
      </div>
      <div class="columns thirds">
        <HealthList lines={data.health} />
        <PoolList pools={data.pools} />
        <ScheduleList schedules={data.schedules} />
      </div>
    </>
  );
}

function LabelFilter({ labels, label }: Pick<OverviewProps, "labels" | "label">) {
  const { t } = useLocale();
  if (labels.length < 2 && label === null) return null;
  return (
    <form action="/etl" class="inline-form">
      <label class="visually-hidden" for="run_label">{t("field.run_label")}</label>
      <select id="run_label" name="run_label" data-submit>
        <option value="">{t("overview.all_labels")}</option>
        {labels.map((each) => (
          <option key={each} value={each} selected={each === label}>{each}</option>
        ))}
      </select>
      <button type="submit" class="button only-without-script">{t("action.show")}</button>
    </form>
  );
}

function FirstSteps({ filtered }: { filtered: boolean }) {
  const { t } = useLocale();
  const header = useCurlHeader();
  return (
    <section class="card empty large">
      <h2>{t(filtered ? "overview.no_runs_of_label" : "overview.welcome")}</h2>
      <p>{t("overview.first_steps")}</p>
      <pre class="code">
        <code>{`curl -X POST${header} -H 'content-type: application/json' -d '{"batch_size": 500}' \\\n  http://localhost:8080/api/etl/run`}</code>
      </pre>
      <a class="button primary" href="/etl/new">
        <Icon name="plus" /> {t("nav.new")}
      </a>
    </section>
  );
}
