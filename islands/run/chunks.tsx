/// <reference lib="dom" />
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { RunDetail } from "../../vocabulary/run_schema.ts";
import type { ChunkStates, ChunkView } from "../../store/run_views.ts";
import { useLocale } from "../lib/context.tsx";
import { isOver } from "../../vocabulary/words.ts";
import { CHUNK_STATES, type ChunkLetter } from "./run_data.ts";
import { memo } from "preact/compat";
import type { MessageKey } from "../i18n/en.ts";
import { type ApiError, call } from "../lib/api.ts";
import { Icon, Said } from "../ui/elements.tsx";

/** Which server has which chunks, where several have worked on the run; why others have not. */
function Servers({ run: { servers, sharing } }: { run: RunDetail }) {
  const { t } = useLocale();
  const several = servers.length > 1;
  if (!several && sharing.alone === null && sharing.left.length === 0) return null;
  return (
    <dl class="facts" aria-label={t("chunk.servers")}>
      {several &&
        servers.map(({ server_id, count, chunks }) => (
          <Fact key={server_id} name={server_id}>
            {t("chunk.of_server", { n: count, list: chunks.join(", ") })}
          </Fact>
        ))}
      {sharing.alone !== null && <Fact name={t("alone")}>{t(`alone.${sharing.alone}`)}</Fact>}
      {sharing.left.map(({ server_id, why }) => (
        <Fact key={`${server_id} left`} name={server_id}>
          {t("no_help", { why: why.map((code) => t(`no_help.${code}`)).join("; ") })}
        </Fact>
      ))}
    </dl>
  );
}

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
          {counts.filter(({ letter, count }) => count > 0 || letter !== "x").map((
            { letter, count },
          ) => (
            <li key={letter} class={count === 0 ? "quiet" : ""}>
              <span class={`cell is-${letter}`} aria-hidden="true" />
              {t(`chunk.${CHUNK_STATES[letter]}`, { n: count })}
            </li>
          ))}
          {retried > 0 && (
            <li>
              <span class="cell is-p is-retried" aria-hidden="true" />
              {t("chunk.retried", { n: retried })}
            </li>
          )}
        </ul>
      </div>
      {chunks.states === ""
        ? <p class="empty">{t(isOver(run.state) ? "run.no_chunks" : "run.planning")}</p>
        : <ChunkGrid chunks={chunks} selected={selected} onSelect={setSelected} />}
      <Servers run={run} />
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

/** A cell and the gap after it, in px; as the style sheet has it. */
const PITCH = 18;
/** More chunks than these scroll, and only those in view are on the page. */
const ALL_AT_ONCE = 200;
/** Rows above and below the view that are there already. */
const SPARE_ROWS = 4;

interface ChunkGridProps {
  chunks: ChunkStates;
  selected: number | null;
  onSelect(chunkNo: number): void;
}

/** Arrow keys move from cell to cell, Enter opens one; a single stop for Tab. */
function ChunkGrid({ chunks, selected, onSelect }: ChunkGridProps) {
  const { t } = useLocale();
  const box = useRef<HTMLDivElement>(null);
  const [columns, setColumns] = useState(0);
  const [top, setTop] = useState(0);
  const [focused, setFocused] = useState(0);
  const moved = useRef(false);
  const total = chunks.states.length;
  const scrolls = total > ALL_AT_ONCE;

  useLayoutEffect(() => {
    const measure = () => setColumns(Math.floor((box.current!.clientWidth + 4) / PITCH));
    const observer = new ResizeObserver(measure);
    observer.observe(box.current!);
    measure();
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (!moved.current) return;
    const row = Math.floor(focused / columns) * PITCH;
    const { scrollTop, clientHeight } = box.current!;
    if (row < scrollTop) box.current!.scrollTop = row;
    else if (row + PITCH > scrollTop + clientHeight) {
      box.current!.scrollTop = row + PITCH - clientHeight;
    }
    const cell = box.current!.querySelector<HTMLElement>(`[data-chunk="${focused}"]`);
    // not there yet when the grid has to scroll to it first
    if (cell === null) return;
    moved.current = false;
    cell.focus({ preventScroll: true });
  }, [focused, top]);

  const onKeyDown = (event: KeyboardEvent) => {
    const steps: Record<string, number> = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: columns,
      ArrowUp: -columns,
      PageDown: columns * 10,
      PageUp: -columns * 10,
      Home: -total,
      End: total,
    };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    moved.current = true;
    setFocused((now) => Math.max(0, Math.min(total - 1, now + step)));
  };
  const onClick = (event: MouseEvent) => {
    const cell = (event.target as HTMLElement).closest<HTMLElement>("[data-chunk]");
    if (cell === null) return;
    setFocused(Number(cell.dataset.chunk));
    onSelect(Number(cell.dataset.chunk));
  };

  const rows: { from: number; to: number }[] = [];
  let rowHeight = 0;
  if (columns === 0 || !scrolls) rows.push({ from: 0, to: Math.min(total, ALL_AT_ONCE) });
  else {
    rowHeight = Math.ceil(total / columns);
    const height = box.current?.clientHeight ?? 0;
    const first = Math.max(0, Math.floor(top / PITCH) - SPARE_ROWS);
    const last = Math.min(rowHeight - 1, Math.ceil((top + height) / PITCH) + SPARE_ROWS);
    for (let row = first; row <= last; row++) {
      rows.push({ from: row * columns, to: Math.min(total, (row + 1) * columns) });
    }
  }
  const inView = rows.some(({ from, to }) => focused >= from && focused < to);
  const virtual = rowHeight > 0;
  return (
    <div
      ref={box}
      class={`chunk-grid ${scrolls ? "scrolls" : ""}`}
      role="group"
      aria-label={t("chunk.grid", { n: total })}
      onKeyDown={onKeyDown}
      onClick={onClick}
      onScroll={scrolls ? () => setTop(box.current!.scrollTop) : undefined}
    >
      <div class="chunk-space" style={virtual ? { height: `${rowHeight * PITCH}px` } : undefined}>
        {rows.map(({ from, to }) => (
          <ChunkRow
            key={from}
            from={from}
            states={chunks.states.slice(from, to)}
            attempts={attemptsOf(chunks, from, to)}
            stop={inView ? focused : rows[0]!.from}
            selected={selected !== null && selected >= from && selected < to ? selected : null}
            top={virtual ? from / columns * PITCH : null}
          />
        ))}
      </div>
    </div>
  );
}

function attemptsOf({ retried }: ChunkStates, from: number, to: number): string {
  return Object.entries(retried).filter(([no]) => Number(no) >= from && Number(no) < to)
    .map(([no, attempts]) => `${no}:${attempts}`).join(",");
}

interface ChunkRowProps {
  from: number;
  states: string;
  /** "12:2,15:3": attempts of those that needed several. */
  attempts: string;
  /** The one cell that Tab stops at. */
  stop: number;
  selected: number | null;
  top: number | null;
}

/** Drawn again only when something in it has changed. */
const ChunkRow = memo(function ChunkRow(props: ChunkRowProps) {
  const { from, states, attempts, stop, selected, top } = props;
  const { t } = useLocale();
  const retried = new Map(attempts.split(",").map((each) => each.split(":") as [string, string]));
  const cells = [...states].map((letter, index) => {
    const no = from + index;
    const tries = retried.get(String(no));
    const name = t(`chunk.is_${CHUNK_STATES[letter as ChunkLetter]}`, { no });
    const label = tries === undefined
      ? name
      : `${name}, ${t("chunk.attempts", { n: Number(tries) })}`;
    return (
      <button
        type="button"
        key={no}
        class={`cell is-${letter} ${tries === undefined ? "" : "is-retried"} ${
          selected === no ? "is-selected" : ""
        }`}
        data-chunk={no}
        aria-label={label}
        aria-pressed={selected === no}
        title={label}
        tabIndex={no === stop ? 0 : -1}
      />
    );
  });
  if (top === null) return <>{cells}</>;
  return <div class="chunk-row" style={{ transform: `translateY(${top}px)` }}>{cells}</div>;
});

interface ChunkDetailProps {
  runId: string;
  chunkNo: number;
  /** Changes when the chunk has. */
  version: string;
  onClose(): void;
}

/** One chunk: where its records are, what became of them, how fast. */
function ChunkDetail({ runId, chunkNo, version, onClose }: ChunkDetailProps) {
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
      {chunk.error !== null && (
        <p class="is-bad">
          <Said text={String(chunk.error.detail ?? "")} />
        </p>
      )}
    </>
  );
}
