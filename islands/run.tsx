/// <reference lib="dom" />
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { RunDetail, StageView } from "../vocabulary/run_schema.ts";
import type { ChunkStates, RunLogLine, RunRelations } from "../store/run_views.ts";
import { mount } from "./lib/mount.tsx";
import { ApiError, call } from "./lib/api.ts";
import { type Connection, useEvents } from "./lib/live.ts";
import { useLocale, useNow, useRole } from "./lib/context.tsx";
import { ChunkCard } from "./run/chunks.tsx";
import { QuarantineCard, ValidationCard } from "./run/records.tsx";
import { useCopy } from "./lib/copy.ts";
import { COUNTERS, isOver, STAGES } from "../vocabulary/words.ts";
import type { RunExtras, RunPageData } from "./run/run_data.ts";
import { Confirm } from "./ui/dialog.tsx";
import {
  Icon,
  LiveMark,
  Notice,
  Prose,
  Said,
  StateBadge,
  StateSymbol,
  Time,
} from "./ui/elements.tsx";
import type { FieldError } from "../vocabulary/problem.ts";
import type { MessageKey } from "./i18n/en.ts";

/** What is beside the run is looked up again at most so often. */
const EXTRAS_INTERVAL_MS = 1000;
/** So long after its end a run may still get lines of its log. */
const JUST_ENDED_MS = 10_000;
/** Lines of the log that are kept on the page. */
const LOG_LINES = 1000;

type Explained = Pick<RunPageData, "remedies" | "problem">;

/** The page of a run, which follows it until it has ended. */
export function RunView(initial: RunPageData) {
  const { t } = useLocale();
  const [run, setRun] = useState(initial.run);
  const [extras, setExtras] = useState<RunExtras>(initial);
  const [explained, setExplained] = useState<Explained>(initial);
  const [stream, setStream] = useState(isOver(run.state) ? 0 : 1);
  const loading = useRef<Promise<void> | null>(null);
  const id = run.run_id;
  const lastLine = useRef(initial.log.at(-1)?.line_no ?? 0);

  const loadExtras = useCallback(async () => {
    const { remedies, problem, ...more } = await call<RunExtras & Explained>(
      `/etl/runs/${id}/data?log_after=${lastLine.current}`,
      { offline: t("error.network") },
    );
    lastLine.current = more.log.at(-1)?.line_no ?? lastLine.current;
    setExplained({ remedies, problem });
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

  // the last lines of a log are stored a moment after the end
  const seenAt = useNow();
  useEffect(() => {
    const { ended_at } = initial.run;
    if (ended_at === null || seenAt - Date.parse(ended_at) > JUST_ENDED_MS) return;
    void refresh().then(refresh).then(refresh);
  }, []);

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

  const rejected = extras.quarantine.rules.length > 0;
  const unmet = extras.validation !== null && !extras.validation.success;
  const quarantine = (
    <QuarantineCard
      key="quarantine"
      run={run}
      quarantine={extras.quarantine}
      relations={extras.relations}
    />
  );
  const validation = <ValidationCard key="validation" run={run} validation={extras.validation} />;
  // what may say why comes first, what says nothing last
  const causes = [
    ...(unmet ? [validation] : []),
    ...(rejected ? [quarantine] : []),
    <LogTail key="log" run={run} lines={extras.log} />,
    ...(unmet ? [] : [validation]),
    ...(rejected ? [] : [quarantine]),
  ];
  const course = [
    <Gantt key="stages" run={run} />,
    <ChunkCard key="chunks" run={run} chunks={extras.chunks} />,
  ];
  return (
    <>
      <RunHead run={run} connection={over ? null : connection} onChanged={followAgain} />
      {run.error !== null && <ErrorCard run={run} explained={explained} />}
      <Jumps extras={extras} />
      <RunFigures run={run} chunks={extras.chunks} />
      <div class="columns run-columns">
        <div class="stack">
          {run.state === "failed" ? [...causes, ...course] : [...course, ...causes]}
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

/** Links to the parts of the page: of a run that failed those first that say why. */
function Jumps({ extras }: { extras: RunExtras }) {
  const { t, number } = useLocale();
  const rejected = extras.quarantine.rules.reduce((sum, { count }) => sum + count, 0);
  const parts: [id: string, text: string][] = [
    ["quarantine", t("run.quarantine") + (rejected === 0 ? "" : ` ${number(rejected)}`)],
    ["validation-title", t("run.validation")],
    ["log-title", t("run.log")],
    ["stages-title", t("run.stages")],
    ["chunks-title", t("field.chunks")],
    ["params-title", t("run.parameters")],
  ];
  return (
    <nav class="jumps" aria-label={t("run.parts")}>
      {parts.map(([id, text]) => <a key={id} class="chip" href={`#${id}`}>{text}</a>)}
    </nav>
  );
}

interface RunHeadProps {
  run: RunDetail;
  /** Null when there is nothing more to follow. */
  connection: Connection | null;
  onChanged(run: RunDetail): void;
}

/** What run this is, and what can be done with it. */
function RunHead({ run, connection, onChanged }: RunHeadProps) {
  const { t, maybe } = useLocale();
  const operator = useRole("operator");
  const admin = useRole("admin");
  // what was sent with a request is not there for ever
  const isUpload =
    (run.params.source?.value as { upload_id?: string } | null)?.upload_id !== undefined;
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  const act = async (verb: "cancel" | "retry") => {
    setBusy(true);
    setFailure(null);
    try {
      onChanged(
        await call<RunDetail>(`/api/etl/runs/${run.run_id}/${verb}`, {
          method: "POST",
          offline: t("error.network"),
        }),
      );
    } catch (error) {
      setFailure((error as ApiError).message);
    }
    setBusy(false);
    setAsking(false);
  };
  const cancelling = run.cancel_requested_at !== null;
  return (
    <>
      <div class="page-head run-head">
        <p class="crumb">
          <a href="/etl/runs">{t("nav.runs")}</a>
        </p>
        <h1 class="clip">{run.run_label}</h1>
        <StateBadge state={run.state} />
        {run.dry_run && <span class="tag">{t("field.dry_run")}</span>}
        {run.replay_of !== null && (
          <a class="tag" href={`/etl/runs/${run.replay_of}`}>{t("run.replay_of")}</a>
        )}
        {connection !== null && <LiveMark connection={connection} />}
        <div class="page-actions">
          {!isOver(run.state) && (
            <button
              type="button"
              class="button danger only-with-script"
              onClick={() => setAsking(true)}
              {...operator.control(busy || cancelling)}
            >
              <Icon name="stop" /> {t(cancelling ? "run.cancelling" : "run.cancel")}
            </button>
          )}
          {(run.state === "failed" || run.state === "cancelled") && (
            <button
              type="button"
              class="button only-with-script"
              onClick={() => act("retry")}
              title={t("run.retry_help")}
              {...operator.control(busy)}
            >
              <Icon name="retry" /> {t("action.retry")}
            </button>
          )}
          <a class="button" href={`/etl/new?from=${run.run_id}`}>
            <Icon name="copy" /> {t("run.again")}
          </a>
          {admin.may && run.replay_of === null && !isUpload && (
            <a class="button" href={`/etl/schedules?from=${run.run_id}`}>
              <Icon name="schedules" /> {t("form.schedule")}
            </a>
          )}
        </div>
      </div>
      <p class="run-facts">
        <RunId id={run.run_id} />
        <span>
          {t("field.requested_at")} <Time at={run.requested_at} style="long" />
        </span>
        <span>{maybe(`trigger.${run.trigger}`) ?? run.trigger} · {run.requested_by}</span>
        {run.attempt > 1 && <span>{t("run.attempt", { n: run.attempt })}</span>}
        {run.queue_position !== null && (
          <span>{t("run.queue_position", { position: run.queue_position, pool: run.pool })}</span>
        )}
      </p>
      {failure !== null && <Notice kind="problem" alert title={failure} />}
      {asking && (
        <Confirm
          title={t("run.cancel_title")}
          text={t("run.cancel_text")}
          action={t("run.cancel")}
          busy={busy}
          onConfirm={() => act("cancel")}
          onClose={() => setAsking(false)}
        />
      )}
    </>
  );
}

function RunId({ id }: { id: string }) {
  const { t } = useLocale();
  const { shown, copied, copy } = useCopy(id);
  return (
    <span class="run-id">
      <code ref={shown}>{id}</code>
      <button
        type="button"
        class="button plain icon-only small only-with-script"
        aria-label={t(copied ? "action.copied" : "run.copy_id")}
        onClick={copy}
      >
        <Icon name={copied ? "check" : "copy"} size={14} />
      </button>
    </span>
  );
}

/** How far the run is, or how it ended, in numbers. */
function RunFigures({ run, chunks }: { run: RunDetail; chunks: ChunkStates }) {
  const { t, number, percent, duration } = useLocale();
  const over = isOver(run.state);
  const now = useClock(!over);
  const { counts } = run;
  const rows = (counts.inserted ?? 0) + (counts.updated ?? 0) + (counts.unchanged ?? 0);
  const start = run.started_at === null ? null : Date.parse(run.started_at);
  const end = run.ended_at === null ? now : Date.parse(run.ended_at);
  const elapsed = end - Date.parse(run.requested_at);
  // a run that is worked on waits no longer, one in the queue works no longer
  const worked = run.state === "running" ? elapsed - run.waited_ms : run.duration_ms ?? 0;
  const working = Math.max(1, worked);
  const waited = elapsed - worked;
  const total = chunks.states.length;
  const done = run.dry_run ? count(chunks, "r") + count(chunks, "p") : count(chunks, "p");
  const read = counts.records_read ?? 0;
  const required = Number(run.params.min_acceptance_ratio?.value ?? 1);
  return (
    <dl class="figures">
      <div class="figure">
        <dt>{t("run.progress")}</dt>
        <dd class="figure-main">
          {total === 0 ? "–" : percent(progress(chunks, run))}
        </dd>
        <dd class="figure-note">
          {total === 0
            ? t(over ? "run.no_chunks" : "run.planning")
            : t("run.chunks_done", { done, n: total })}
        </dd>
        <ProgressBar chunks={chunks} />
      </div>
      <div class="figure">
        <dt>{t(run.dry_run ? "run.rows_would" : "field.total_rows")}</dt>
        <dd class="figure-main">{number(rows)}</dd>
        <dd class="figure-note">
          {run.expected_rows === null
            ? t("run.records_read", { n: read })
            : t("run.expected", { n: run.expected_rows })}
        </dd>
      </div>
      <div class="figure">
        <dt>{t("overview.ratio")}</dt>
        <dd class={`figure-main ${run.low_ratio ? "is-bad" : ""}`}>
          {run.ratio === null ? "–" : percent(run.ratio)}
        </dd>
        <dd class="figure-note">
          {t((run.ratio ?? 1) < required ? "overview.below_threshold" : "overview.threshold", {
            ratio: percent(required),
          })}
        </dd>
      </div>
      <div class="figure">
        <dt>{t("run.throughput")}</dt>
        <dd class="figure-main">
          {read === 0 || start === null ? "–" : number(Math.round(read / (working / 1000)))}
        </dd>
        <dd class="figure-note">{t("run.records_per_second")}</dd>
      </div>
      <div class="figure">
        <dt>{t("field.duration")}</dt>
        <dd class="figure-main">{duration(Math.max(0, worked))}</dd>
        <dd class="figure-note">{t("run.waited", { time: duration(Math.max(0, waited)) })}</dd>
      </div>
    </dl>
  );
}

const count = ({ states }: ChunkStates, letter: string) => states.split(letter).length - 1;

/** A prepared chunk is half done, unless there is nothing more to do. */
function progress(chunks: ChunkStates, run: RunDetail): number {
  if (run.state === "succeeded") return 1;
  const half = run.dry_run ? 1 : 0.5;
  return (count(chunks, "p") + half * count(chunks, "r")) / chunks.states.length;
}

function ProgressBar({ chunks }: { chunks: ChunkStates }) {
  const total = chunks.states.length;
  const share = (letter: string) => total === 0 ? 0 : count(chunks, letter) / total * 100;
  const published = share("p");
  return (
    <dd class="progress" aria-hidden="true">
      <svg width="100%" height="3">
        <rect class="meter-rest" width="100%" height="3" />
        <rect class="chunk-fill-prepared" width={`${published + share("r")}%`} height="3" />
        <rect class="chunk-fill-published" width={`${published}%`} height="3" />
      </svg>
    </dd>
  );
}

/** Why the run did not succeed, and what helps. Texts of the server are in English. */
function ErrorCard({ run, explained }: { run: RunDetail; explained: Explained }) {
  const { t, lang } = useLocale();
  const { remedies, problem } = explained;
  const { type, title, detail, errors = [] } = run.error as {
    type: string;
    title: string;
    detail: string;
    errors?: FieldError[];
  };
  const cancelled = run.state === "cancelled";
  return (
    <Notice
      kind={cancelled ? "warning" : "problem"}
      title={problem?.title ?? <span lang="en">{title}</span>}
    >
      {problem !== null && (
        <p>
          <Prose text={problem.meaning} />
        </p>
      )}
      <p>
        <Said text={detail} />
      </p>
      {errors.length > 0 && (
        <ul class="bullets">
          {errors.map((error) => (
            <li key={error.field}>
              <code>{error.field}</code> <Said text={error.message} />
            </li>
          ))}
        </ul>
      )}
      {remedies.length > 0 && !cancelled && (
        <>
          <p class="notice-subtitle">{t("run.what_next")}</p>
          <ul class="bullets" lang={problem === null ? "en" : lang}>
            {remedies.map((remedy) => (
              <li key={remedy}>
                <Prose text={remedy.replaceAll(/\bID\b|\{id\}/g, run.run_id)} />
              </li>
            ))}
          </ul>
        </>
      )}
      <p class="notice-links">
        <a href={`/etl/new?from=${run.run_id}`}>{t("run.again")}</a>
        {(run.counts.rejected ?? 0) > 0 && <a href="#quarantine">{t("run.see_quarantine")}</a>}
        <a href={`${type}?lang=${lang}`}>{t("run.about_problem")}</a>
      </p>
    </Notice>
  );
}

/** When each stage began and ended, on one scale; stages overlap, as chunks go through on their own. */
function Gantt({ run }: { run: RunDetail }) {
  const { t, number, duration } = useLocale();
  const now = useClock(!isOver(run.state));
  const start = Date.parse(run.requested_at);
  const end = run.ended_at === null ? now : Date.parse(run.ended_at);
  const span = Math.max(1, end - start);
  const stages = STAGES.map((name) =>
    run.stages.find(({ stage }) => stage === name) ?? pending(name)
  );
  return (
    <section class="card" aria-labelledby="stages-title">
      <div class="card-head">
        <h2 id="stages-title">{t("run.stages")}</h2>
      </div>
      <table class="gantt">
        <thead>
          <tr>
            <th scope="col">{t("run.stage")}</th>
            <th scope="col" class="gantt-scale">
              <span class="visually-hidden">{t("run.timeline")}</span>
              <Scale span={span} />
            </th>
            <th scope="col" class="num">{t("field.duration")}</th>
            <th scope="col" class="num from-tablet" title={t("run.busy_help")}>{t("run.busy")}</th>
            <th scope="col" class="num from-tablet">{t("run.records_out")}</th>
          </tr>
        </thead>
        <tbody>
          {stages.map((stage) => {
            const from = stage.started_at === null ? null : Date.parse(stage.started_at);
            const to = stage.ended_at === null
              ? (stage.state === "running" ? end : from)
              : Date.parse(stage.ended_at);
            return (
              <tr key={stage.stage}>
                <th scope="row">
                  <span class="gantt-stage">
                    <StateSymbol state={stage.state} />
                    <span>{stage.stage}</span>
                    <span class="visually-hidden">
                      {t(`state.${stage.state}` as MessageKey)}
                    </span>
                  </span>
                </th>
                <td class="gantt-track">
                  <svg width="100%" height="20" aria-hidden="true">
                    <line x1="0" x2="100%" y1="10" y2="10" class="gantt-line" />
                    {from !== null && (
                      <Bar
                        from={(from - start) / span}
                        to={((to ?? from) - start) / span}
                        state={stage.state}
                      />
                    )}
                  </svg>
                </td>
                <td class="num">
                  {from === null ? "–" : duration(Math.max(0, (to ?? from) - from))}
                </td>
                <td class="num from-tablet">{stage.busy_ms > 0 ? duration(stage.busy_ms) : "–"}</td>
                <td class="num from-tablet">
                  {stage.stage === "finalize" || stage.started_at === null
                    ? "–"
                    : number(stage.records_out)}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

function pending(stage: StageView["stage"]): StageView {
  return {
    stage,
    state: "pending",
    started_at: null,
    ended_at: null,
    busy_ms: 0,
    records_in: 0,
    records_out: 0,
    attempts: 0,
    error: null,
  };
}

const percent = (share: number) => `${Math.min(100, Math.max(0, share * 100)).toFixed(3)}%`;

function Bar({ from, to, state }: { from: number; to: number; state: string }) {
  return (
    <g class={`gantt-bar is-${state}`}>
      <rect x={percent(Math.min(from, 0.998))} width="2" y="4" height="12" rx="1" />
      <rect x={percent(from)} width={percent(to - from)} y="4" height="12" rx="2" />
    </g>
  );
}

/** Marks at a quarter of the whole each. */
function Scale({ span }: { span: number }) {
  const { duration } = useLocale();
  return (
    <span class="scale" aria-hidden="true">
      {[0, 0.25, 0.5, 0.75].map((share) => <span key={share}>{duration(span * share)}</span>)}
      <span>{duration(span)}</span>
    </span>
  );
}

const TICK_MS = 500;

/** The time in ms, twice a second while something is going on. */
function useClock(ticking: boolean): number {
  const shared = useNow();
  const [now, setNow] = useState(0);
  useEffect(() => {
    if (!ticking) return;
    const timer = setInterval(() => setNow(Date.now()), TICK_MS);
    return () => clearInterval(timer);
  }, [ticking]);
  return Math.max(shared, now);
}

/** What became of the records. */
export function Counts({ run }: { run: RunDetail }) {
  const { t, number } = useLocale();
  return (
    <section class="card" aria-labelledby="counts-title">
      <div class="card-head">
        <h2 id="counts-title">{t("run.counts")}</h2>
      </div>
      <dl class="pairs">
        {COUNTERS.map((name) => {
          const value = run.counts[name] ?? 0;
          return (
            <div key={name}>
              <dt>{t(`field.${name}`)}</dt>
              <dd class={`num ${value === 0 ? "quiet" : name === "rejected" ? "is-bad" : ""}`}>
                {number(value)}
              </dd>
            </div>
          );
        })}
      </dl>
      {run.warnings.length > 0 && (
        <ul class="bullets warnings">
          {run.warnings.map((warning) => (
            <li key={warning}>
              <Said text={warning} />
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

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

/** Where the data came from, where it went, and who is told. */
export function Lineage({ run, relations }: { run: RunDetail; relations: RunRelations }) {
  const { t, maybe } = useLocale();
  const source = (run.params.source?.value ?? {}) as Record<string, unknown>;
  const from = source.path ?? source.url ?? source.table ?? source.query ?? source.name;
  return (
    <section class="card" aria-labelledby="lineage-title">
      <div class="card-head">
        <h2 id="lineage-title">{t("run.lineage")}</h2>
      </div>
      <ol class="lineage">
        <li>
          <span class="lineage-kind">{t("run.source")}</span>
          <span class="lineage-name">
            <span>{maybe(`source.${source.type}`) ?? String(source.type)}</span>
            {from !== undefined && <code class="clip" title={String(from)}>{String(from)}</code>}
          </span>
        </li>
        <li>
          <span class="lineage-kind">{t("run.dataset")}</span>
          <span class="lineage-name">
            <a class="clip" href={`/etl/datasets/${encodeURIComponent(run.dataset)}`}>
              <code title={run.dataset}>{run.dataset}</code>
            </a>
            <span class="quiet">
              {relations.event_no !== null
                ? t("run.dataset_event", { n: relations.event_no })
                : !isOver(run.state)
                ? ""
                : run.dry_run
                ? t("run.dry_no_event")
                : t("run.no_event")}
            </span>
          </span>
        </li>
        {relations.consumers.map(({ consumer, state }) => (
          <li key={consumer}>
            <span class="lineage-kind">{t("run.consumer")}</span>
            <span class="lineage-name">
              <code class="clip">{consumer}</code>
              {state !== null && <span class="quiet">{maybe(`delivery.${state}`) ?? state}</span>}
            </span>
          </li>
        ))}
      </ol>
      {relations.alerts.length > 0 && (
        <ul class="rows run-alerts">
          {relations.alerts.map((alert) => (
            <li key={alert.kind + alert.created_at} class={`alert-row is-${alert.severity}`}>
              <Icon name="alerts" />
              <span>
                <strong>{maybe(`alert.${alert.kind}`) ?? alert.kind}</strong>{" "}
                <Said text={alert.message} />
              </span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

/** The end of the run's log; stays at the newest line until one scrolls back. */
export function LogTail({ run, lines }: { run: RunDetail; lines: RunLogLine[] }) {
  const { t } = useLocale();
  const [level, setLevel] = useState("");
  const [search, setSearch] = useState("");
  const box = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  useEffect(() => {
    if (atEnd.current && box.current !== null) box.current.scrollTop = box.current.scrollHeight;
  }, [lines.length, level]);
  const onScroll = () => {
    const { scrollTop, clientHeight, scrollHeight } = box.current!;
    atEnd.current = scrollTop + clientHeight > scrollHeight - 24;
  };
  const wanted = search.toLowerCase();
  const shown = lines.filter((line) =>
    (level === "" || (line.level !== "info" && line.level !== "debug")) &&
    (wanted === "" ||
      `${line.message} ${JSON.stringify(line.fields)}`.toLowerCase().includes(wanted))
  );
  return (
    <section class="card" aria-labelledby="log-title">
      <div class="card-head centred">
        <h2 id="log-title">{t("run.log")}</h2>
        {lines.length > 0 && (
          <>
            <input
              type="search"
              class="log-search only-with-script"
              aria-label={t("run.log_search")}
              placeholder={t("run.log_search")}
              value={search}
              onInput={(event) => setSearch(event.currentTarget.value)}
            />
            <a
              class="button plain"
              href={`/etl/runs/${run.run_id}/log.txt`}
              download={`run_${run.run_id}.log`}
            >
              <Icon name="download" size={14} /> {t("run.log_download")}
            </a>
          </>
        )}
        {lines.length > 0 && (
          <div class="segmented only-with-script" role="group" aria-label={t("run.log_level")}>
            <button
              type="button"
              aria-pressed={level === ""}
              onClick={() =>
                setLevel("")}
            >
              {t("run.log_all")}
            </button>
            <button
              type="button"
              aria-pressed={level !== ""}
              onClick={() =>
                setLevel("warn")}
            >
              {t("run.log_warnings")}
            </button>
          </div>
        )}
      </div>
      {shown.length === 0
        ? (
          <p class="empty">
            {t(
              lines.length > 0
                ? (search === "" ? "run.log_no_warnings" : "run.log_not_found")
                : isOver(run.state)
                ? "run.log_none"
                : "run.log_soon",
            )}
          </p>
        )
        : (
          <div
            class="log"
            ref={box}
            onScroll={onScroll}
            tabIndex={0}
            role="log"
            lang="en"
            aria-label={t("run.log")}
          >
            {shown.map((line) => <Line key={line.line_no} line={line} />)}
          </div>
        )}
    </section>
  );
}

function Line({ line }: { line: RunLogLine }) {
  const { level, message, fields, logged_at } = line;
  const more = Object.entries(fields).filter(([name]) => name !== "run_id" && name !== "run_label");
  return (
    <p class={`log-line is-${level}`}>
      <Time at={logged_at} style="time" /> <span class="log-level">{level}</span>{" "}
      <span class="log-message">{message}</span>
      {more.map(([name, value]) => (
        <span key={name} class="log-field">
          {" "}
          {name}=<span>{typeof value === "string" ? value : JSON.stringify(value)}</span>
        </span>
      ))}
    </p>
  );
}

mount("run", RunView, { says: true });
