import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { RunDetail } from "../../store/run_views.ts";
import { call } from "../lib/api.ts";
import { useEvents } from "../lib/live.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { ChunkCard } from "./chunk_card.tsx";
import { Counts } from "./counts.tsx";
import { ErrorCard } from "./error_card.tsx";
import { Gantt } from "./gantt.tsx";
import { Lineage } from "./lineage.tsx";
import { LogTail } from "./log_tail.tsx";
import { Parameters } from "./parameters.tsx";
import { QuarantineCard } from "./quarantine_card.tsx";
import { isOver, type RunExtras, type RunPageData } from "./run_data.ts";
import { RunFigures } from "./run_figures.tsx";
import { RunHead } from "./run_head.tsx";
import { ValidationCard } from "./validation_card.tsx";

/** What is beside the run is looked up again at most so often. */
const EXTRAS_INTERVAL_MS = 1000;
/** Lines of the log that are kept on the page. */
const LOG_LINES = 1000;

/** The page of a run, which follows it until it has ended. */
export function RunView(initial: RunPageData) {
  const { t } = useLocale();
  const [run, setRun] = useState(initial.run);
  const [extras, setExtras] = useState<RunExtras>(initial);
  const [remedies, setRemedies] = useState(initial.remedies);
  const [stream, setStream] = useState(isOver(run.state) ? 0 : 1);
  const loading = useRef<Promise<void> | null>(null);
  const id = run.run_id;
  const lastLine = useRef(initial.log.at(-1)?.line_no ?? 0);

  const loadExtras = useCallback(async () => {
    const { remedies, ...more } = await call<RunExtras & { remedies: string[] }>(
      `/etl/runs/${id}/data?log_after=${lastLine.current}`,
      { offline: t("error.network") },
    );
    lastLine.current = more.log.at(-1)?.line_no ?? lastLine.current;
    setRemedies(remedies);
    setExtras((now) => ({ ...now, ...more, log: [...now.log, ...more.log].slice(-LOG_LINES) }));
  }, []);

  /** One lookup at a time, and one more after it if something happened meanwhile. */
  const refresh = useCallback(() => {
    loading.current ??= loadExtras().catch(() => {}).then(() =>
      new Promise<void>((done) => setTimeout(done, EXTRAS_INTERVAL_MS))
    ).then(() => void (loading.current = null));
    return loading.current;
  }, []);

  const onEvent = useCallback((type: string, data: unknown) => {
    setRun(data as RunDetail);
    if (type !== "end") return void refresh();
    // what the last lookup may have missed
    void refresh().then(refresh);
    return true;
  }, []);
  const url = stream === 0 ? null : `/api/etl/runs/${id}/events?n=${stream}`;
  const connection = useEvents(url, onEvent, ["run", "end"]);

  const followAgain = (changed: RunDetail) => {
    setRun(changed);
    setStream((n) => n + 1);
  };
  const over = isOver(run.state);
  useEffect(() => {
    document.title = `${
      t(`state.${run.state}` as "state.failed")
    }: ${run.run_label} · etl-improved`;
  }, [run.state]);

  return (
    <>
      <RunHead run={run} connection={over ? null : connection} onChanged={followAgain} />
      {run.error !== null && <ErrorCard run={run} remedies={remedies} />}
      <RunFigures run={run} chunks={extras.chunks} />
      <div class="columns run-columns">
        <div class="stack">
          <Gantt run={run} />
          <ChunkCard run={run} chunks={extras.chunks} />
          <ValidationCard run={run} validation={extras.validation} />
          <QuarantineCard run={run} quarantine={extras.quarantine} relations={extras.relations} />
          <LogTail run={run} lines={extras.log} />
        </div>
        <div class="stack">
          <Counts run={run} />
          <Lineage run={run} relations={extras.relations} />
          <Parameters run={run} />
        </div>
      </div>
    </>
  );
}
