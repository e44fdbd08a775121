/// <reference lib="dom" />
import { useState } from "preact/hooks";
import { type ApiError, call } from "../lib/api.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Notice } from "../ui/notice.tsx";
import type { ScheduleView } from "./schedule_data.ts";

interface PauseDialogProps {
  schedule: ScheduleView;
  onPaused(): void;
  onClose(): void;
}

/** Pauses a schedule, until a time of its zone or until it is resumed. */
export function PauseDialog(
  { schedule: { name, time_zone }, onPaused, onClose }: PauseDialogProps,
) {
  const { t } = useLocale();
  const [until, setUntil] = useState("");
  const [failure, setFailure] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const pause = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await call(`/api/schedules/${encodeURIComponent(name)}/pause`, {
        method: "POST",
        body: until === "" ? {} : { until },
        offline: t("error.network"),
      });
      onPaused();
    } catch (error) {
      setFailure((error as ApiError).message);
      setBusy(false);
    }
  };
  return (
    <Dialog title={t("schedule.pause_title", { name })} onClose={onClose}>
      <form class="stack tight" onSubmit={pause}>
        {failure !== null && <Notice kind="problem" alert title={failure} />}
        <p class="dialog-text">{t("schedule.pause_text")}</p>
        <div class="field">
          <label for="pause-until">{t("schedule.until")}</label>
          <input
            id="pause-until"
            type="datetime-local"
            aria-describedby="pause-until-help"
            value={until}
            onInput={(event) => setUntil(event.currentTarget.value)}
          />
          <p class="field-help" id="pause-until-help">
            {t("schedule.until_help", { zone: time_zone })}
          </p>
        </div>
        <div class="dialog-actions">
          <button type="button" class="button" onClick={onClose}>{t("action.close")}</button>
          <button type="submit" class="button primary" disabled={busy}>
            {t("schedule.pause")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
