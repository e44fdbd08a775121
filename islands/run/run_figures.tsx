import type { ChunkStates } from "../../store/run_page.ts";
import type { RunDetail } from "../../store/run_views.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { isOver } from "./run_data.ts";
import { useClock } from "./use_clock.ts";

/** How far the run is, or how it ended, in numbers. */
export function RunFigures({ run, chunks }: { run: RunDetail; chunks: ChunkStates }) {
  const { t, number, percent, duration } = useLocale();
  const over = isOver(run.state);
  const now = useClock(!over);
  const { counts } = run;
  const rows = (counts.inserted ?? 0) + (counts.updated ?? 0) + (counts.unchanged ?? 0);
  const start = run.started_at === null ? null : Date.parse(run.started_at);
  const end = run.ended_at === null ? now : Date.parse(run.ended_at);
  const elapsed = end - Date.parse(run.requested_at);
  const working = start === null ? 0 : Math.max(1, end - start);
  const waited = (start ?? end) - Date.parse(run.requested_at);
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
        <dd class="figure-main">{duration(Math.max(0, elapsed))}</dd>
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
