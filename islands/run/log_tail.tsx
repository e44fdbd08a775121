/// <reference lib="dom" />
import { useEffect, useRef, useState } from "preact/hooks";
import type { RunLogLine } from "../../store/logs.ts";
import type { RunDetail } from "../../store/run_views.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { Time } from "../ui/time.tsx";
import { isOver } from "./run_data.ts";

/** The end of the run's log; stays at the newest line until one scrolls back. */
export function LogTail({ run, lines }: { run: RunDetail; lines: RunLogLine[] }) {
  const { t } = useLocale();
  const [level, setLevel] = useState("");
  const box = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  useEffect(() => {
    if (atEnd.current && box.current !== null) box.current.scrollTop = box.current.scrollHeight;
  }, [lines.length, level]);
  const onScroll = () => {
    const { scrollTop, clientHeight, scrollHeight } = box.current!;
    atEnd.current = scrollTop + clientHeight > scrollHeight - 24;
  };
  const shown = level === ""
    ? lines
    : lines.filter((line) => line.level !== "info" && line.level !== "debug");
  return (
    <section class="card" aria-labelledby="log-title">
      <div class="card-head">
        <h2 id="log-title">{t("run.log")}</h2>
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
                ? "run.log_no_warnings"
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
