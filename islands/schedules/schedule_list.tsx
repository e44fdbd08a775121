/// <reference lib="dom" />
import { useEffect, useState } from "preact/hooks";
import type { Submitted } from "../../store/runs.ts";
import { type ApiError, call } from "../lib/api.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { useRole } from "../lib/viewer.tsx";
import { Confirm } from "../ui/dialog.tsx";
import { Icon } from "../ui/icon.tsx";
import { Notice } from "../ui/notice.tsx";
import { PauseDialog } from "./pause_dialog.tsx";
import type { ScheduleView } from "./schedule_data.ts";
import { ScheduleEditor } from "./schedule_editor.tsx";
import { type ScheduleAction, ScheduleTable } from "./schedule_table.tsx";
import { SlotsDialog } from "./slots_dialog.tsx";

/** Next and last slots move on by themselves. */
const REFRESH_MS = 15_000;

/** A dialog that is open, and for which schedule. */
type Open =
  | { action: "edit" | "remove" | "pause" | "slots"; schedule: ScheduleView }
  | "new"
  | null;

/** Looks at, creates, changes, pauses, runs now, backfills and removes schedules. */
export function ScheduleList({ items: initial }: { items: ScheduleView[] }) {
  const { t } = useLocale();
  const admin = useRole("admin");
  const [items, setItems] = useState(initial);
  const [open, setOpen] = useState<Open>(null);
  const [busy, setBusy] = useState(false);
  const [message, setMessage] = useState<{ kind: "good" | "problem"; text: string } | null>(null);
  const offline = t("error.network");

  const reload = async () =>
    setItems((await call<{ items: ScheduleView[] }>("/etl/data/schedules", { offline })).items);
  useEffect(() => {
    const timer = setInterval(() => {
      // what a dead server does not answer is said when something is asked of it
      if (document.visibilityState === "visible") reload().catch(() => {});
    }, REFRESH_MS);
    return () => clearInterval(timer);
  }, []);

  const attempt = async (action: () => Promise<string | null>) => {
    setBusy(true);
    try {
      const text = await action();
      setMessage(text === null ? null : { kind: "good", text });
    } catch (error) {
      setMessage({ kind: "problem", text: (error as ApiError).message });
    }
    setBusy(false);
  };
  const done = (key: "resource.saved" | "resource.removed" | "schedule.paused_now", name: string) =>
    attempt(async () => {
      setOpen(null);
      await reload();
      return t(key, { name });
    });
  const act = (action: ScheduleAction, schedule: ScheduleView) => {
    const { name } = schedule;
    const url = `/api/schedules/${encodeURIComponent(name)}`;
    if (action === "run") {
      void attempt(async () => {
        const { run_id } = await call<Submitted>(`${url}/run`, { method: "POST", offline });
        location.assign(`/etl/runs/${run_id}`);
        return null;
      });
    } else if (action === "resume") {
      void attempt(async () => {
        await call(`${url}/resume`, { method: "POST", offline });
        await reload();
        return t("schedule.resumed", { name });
      });
    } else setOpen({ action, schedule });
  };
  const remove = ({ name }: ScheduleView) =>
    attempt(async () => {
      setOpen(null);
      await call(`/api/schedules/${encodeURIComponent(name)}`, { method: "DELETE", offline });
      await reload();
      return t("resource.removed", { name });
    });
  const close = () => setOpen(null);
  return (
    <>
      <div class="page-head">
        <h1>{t("nav.schedules")}</h1>
        <div class="page-actions">
          <button
            type="button"
            class="button primary only-with-script"
            onClick={() => setOpen("new")}
            {...admin.control()}
          >
            <Icon name="plus" /> {t("schedule.new")}
          </button>
        </div>
      </div>
      <p class="lead">
        {t("schedule.about")} {admin.reason !== null && <span class="quiet">{admin.reason}</span>}
      </p>
      <div role="status" class="messages">
        {message !== null && <Notice kind={message.kind} title={message.text} />}
      </div>
      <section class="card" aria-label={t("nav.schedules")}>
        {items.length === 0
          ? <p class="empty">{t("schedule.empty")}</p>
          : <ScheduleTable items={items} busy={busy} onAction={act} />}
      </section>
      {open === "new" && (
        <ScheduleEditor
          schedule={null}
          onSaved={(name) => done("resource.saved", name)}
          onClose={close}
        />
      )}
      {open !== null && open !== "new" && open.action === "edit" && (
        <ScheduleEditor
          schedule={open.schedule}
          onSaved={(name) => done("resource.saved", name)}
          onClose={close}
        />
      )}
      {open !== null && open !== "new" && open.action === "pause" && (
        <PauseDialog
          schedule={open.schedule}
          onPaused={() => done("schedule.paused_now", open.schedule.name)}
          onClose={close}
        />
      )}
      {open !== null && open !== "new" && open.action === "slots" && (
        <SlotsDialog schedule={open.schedule} onClose={close} />
      )}
      {open !== null && open !== "new" && open.action === "remove" && (
        <Confirm
          title={t("resource.remove_title", { name: open.schedule.name })}
          text={t("schedule.removal")}
          action={t("action.remove")}
          busy={busy}
          onConfirm={() => remove(open.schedule)}
          onClose={close}
        />
      )}
    </>
  );
}
