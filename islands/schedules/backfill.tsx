/// <reference lib="dom" />
import { useState } from "preact/hooks";
import { type ApiError, call } from "../lib/api.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { useRole } from "../lib/viewer.tsx";
import { Notice } from "../ui/notice.tsx";
import type { ScheduleView } from "./schedule_data.ts";

interface Answer {
  runs: number;
  kept: number;
}

/** Runs the past slots of a range: first says how many, then does it. */
export function Backfill({ schedule, onDone }: { schedule: ScheduleView; onDone(): void }) {
  const { t } = useLocale();
  const operator = useRole("operator");
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const [planned, setPlanned] = useState<Answer | null>(null);
  const [message, setMessage] = useState<{ kind: "good" | "problem"; text: string } | null>(null);
  const [busy, setBusy] = useState(false);

  const ask = async (preview: boolean) => {
    setBusy(true);
    setMessage(null);
    try {
      const answer = await call<Answer>(
        `/api/schedules/${encodeURIComponent(schedule.name)}/backfill`,
        {
          method: "POST",
          body: { from, ...(to === "" ? {} : { to }), preview },
          offline: t("error.network"),
        },
      );
      setPlanned(preview ? answer : null);
      if (!preview) {
        setMessage({ kind: "good", text: t("backfill.done", { n: answer.runs }) });
        onDone();
      }
    } catch (error) {
      setPlanned(null);
      setMessage({ kind: "problem", text: (error as ApiError).message });
    }
    setBusy(false);
  };
  const change = (set: (text: string) => void) => (event: { currentTarget: { value: string } }) => {
    set(event.currentTarget.value);
    setPlanned(null);
  };
  return (
    <details class="fold">
      <summary>{t("backfill.title")}</summary>
      <form
        class="stack tight"
        onSubmit={(event) => {
          event.preventDefault();
          void ask(planned === null);
        }}
      >
        <p class="field-help">{t("backfill.about", { zone: schedule.time_zone })}</p>
        <div class="fields">
          <div class="field">
            <label for="backfill-from">{t("backfill.from")}</label>
            <input
              id="backfill-from"
              type="datetime-local"
              required
              value={from}
              onInput={change(setFrom)}
            />
          </div>
          <div class="field">
            <label for="backfill-to">{t("backfill.to")}</label>
            <input id="backfill-to" type="datetime-local" value={to} onInput={change(setTo)} />
          </div>
        </div>
        <div role="status" class="messages">
          {message !== null && <Notice kind={message.kind} title={message.text} />}
          {planned !== null && (
            <Notice
              kind="info"
              title={`${t("backfill.planned", { n: planned.runs })} ${
                t("backfill.kept", { n: planned.kept })
              }`}
            />
          )}
        </div>
        <div>
          <button
            type="submit"
            class={planned === null ? "button" : "button primary"}
            {...operator.control(busy || planned?.runs === 0)}
          >
            {planned === null ? t("backfill.preview") : t("backfill.run", { n: planned.runs })}
          </button>
        </div>
      </form>
    </details>
  );
}
