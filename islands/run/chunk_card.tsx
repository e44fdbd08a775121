import { useState } from "preact/hooks";
import type { ChunkStates } from "../../store/run_page.ts";
import type { RunDetail } from "../../store/run_views.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { ChunkDetail } from "./chunk_detail.tsx";
import { ChunkGrid } from "./chunk_grid.tsx";
import { CHUNK_STATES, type ChunkLetter, isOver } from "./run_data.ts";

/** Every chunk of the run as a cell; one of them in full. */
export function ChunkCard({ run, chunks }: { run: RunDetail; chunks: ChunkStates }) {
  const { t } = useLocale();
  const [selected, setSelected] = useState<number | null>(null);
  const counts = (Object.keys(CHUNK_STATES) as ChunkLetter[])
    .map((letter) => ({ letter, count: chunks.states.split(letter).length - 1 }));
  const retried = Object.keys(chunks.retried).length;
  return (
    <section class="card" aria-labelledby="chunks-title">
      <div class="card-head">
        <h2 id="chunks-title">{t("field.chunks")}</h2>
        <ul class="legend">
          {counts.map(({ letter, count }) => (
            <li key={letter} class={count === 0 ? "quiet" : ""}>
              <span class={`cell is-${letter}`} aria-hidden="true" />
              {t(`chunk.${CHUNK_STATES[letter]}`, { count })}
            </li>
          ))}
          {retried > 0 && (
            <li>
              <span class="cell is-p is-retried" aria-hidden="true" />
              {t("chunk.retried", { count: retried })}
            </li>
          )}
        </ul>
      </div>
      {chunks.states === ""
        ? <p class="empty">{t(isOver(run.state) ? "run.no_chunks" : "run.planning")}</p>
        : <ChunkGrid chunks={chunks} selected={selected} onSelect={setSelected} />}
      {selected !== null && (
        <ChunkDetail
          runId={run.run_id}
          chunkNo={selected}
          version={chunks.states[selected] ?? ""}
          onClose={() => setSelected(null)}
        />
      )}
    </section>
  );
}
