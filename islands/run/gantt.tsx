import type { RunDetail, StageView } from "../../store/run_views.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { StateSymbol } from "../ui/state.tsx";
import type { MessageKey } from "../i18n/en.ts";
import { isOver } from "./run_data.ts";
import { useClock } from "./use_clock.ts";

const STAGES = [
  "extract",
  "transform",
  "chunk",
  "validate",
  "ge_validate",
  "load",
  "finalize",
] as const;

/** When each stage began and ended, on one scale; stages overlap, as chunks go through on their own. */
export function Gantt({ run }: { run: RunDetail }) {
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

function pending(stage: string): StageView {
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
