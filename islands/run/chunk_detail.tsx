import { useEffect, useState } from "preact/hooks";
import type { ChunkView } from "../../store/run_page.ts";
import type { MessageKey } from "../i18n/en.ts";
import { type ApiError, call } from "../lib/api.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { Icon } from "../ui/icon.tsx";

interface ChunkDetailProps {
  runId: string;
  chunkNo: number;
  /** Changes when the chunk has. */
  version: string;
  onClose(): void;
}

/** One chunk: where its records are, what became of them, how fast. */
export function ChunkDetail({ runId, chunkNo, version, onClose }: ChunkDetailProps) {
  const { t, number } = useLocale();
  const [chunk, setChunk] = useState<ChunkView | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  useEffect(() => {
    let gone = false;
    call<ChunkView>(`/etl/runs/${runId}/chunks/${chunkNo}`, { offline: t("error.network") }).then(
      (found) => gone || (setChunk(found), setFailure(null)),
      (error: ApiError) => gone || setFailure(error.message),
    );
    return () => void (gone = true);
  }, [chunkNo, version]);
  const shown = chunk?.chunk_no === chunkNo ? chunk : null;
  return (
    <div class="chunk-detail" aria-live="polite">
      <div class="card-head">
        <h3>{t("chunk.title", { no: chunkNo })}</h3>
        <button
          type="button"
          class="button plain icon-only small"
          aria-label={t("action.close")}
          onClick={onClose}
        >
          <Icon name="close" size={14} />
        </button>
      </div>
      {failure !== null && <p class="is-bad">{failure}</p>}
      <dl class="facts">
        <Fact name={t("field.state")}>
          {shown === null ? "…" : t(`chunk.state_${shown.state}` as MessageKey)}
        </Fact>
        <Fact name={t("chunk.tries")}>{shown === null ? "…" : number(shown.attempts)}</Fact>
        <Fact name={t("field.records_read")}>
          {shown === null ? "…" : number(shown.records_read)}
        </Fact>
        <Fact name={t("chunk.rate")}>{shown === null ? "…" : rate(shown, number)}</Fact>
        <Fact name={t("field.rejected")}>{shown === null ? "…" : number(shown.rejected)}</Fact>
        <Fact name={t("chunk.written")}>
          {shown === null
            ? "…"
            : `${number(shown.inserted)} / ${number(shown.updated)} / ${number(shown.unchanged)}`}
        </Fact>
      </dl>
      {shown !== null && <More chunk={shown} />}
    </div>
  );
}

function Fact({ name, children }: { name: string; children: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function rate({ records_read, stage_ms }: ChunkView, number: (value: number) => string): string {
  const ms = Object.values(stage_ms).reduce((sum, each) => sum + each, 0);
  return ms === 0 ? "–" : number(Math.round(records_read / (ms / 1000)));
}

function More({ chunk }: { chunk: ChunkView }) {
  const { t, duration } = useLocale();
  const times = Object.entries(chunk.stage_ms);
  return (
    <>
      {times.length > 0 && (
        <p class="chunk-line">
          <span class="quiet">{t("chunk.times")}</span>{" "}
          {times.map(([stage, ms]) => `${stage} ${duration(ms)}`).join(" · ")}
        </p>
      )}
      {chunk.worker !== null && (
        <p class="chunk-line">
          <span class="quiet">{t("chunk.worker")}</span> <code>{chunk.worker}</code>
        </p>
      )}
      <details class="chunk-line">
        <summary>{t("chunk.slice")}</summary>
        <pre class="code">{JSON.stringify(chunk.slice, null, 2)}</pre>
      </details>
      {chunk.error !== null && <p class="is-bad" lang="en">{String(chunk.error.detail ?? "")}</p>}
    </>
  );
}
