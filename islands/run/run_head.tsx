/// <reference lib="dom" />
import { useState } from "preact/hooks";
import type { RunDetail } from "../../store/run_views.ts";
import { ApiError, call } from "../lib/api.ts";
import type { Connection } from "../lib/live.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { useRole } from "../lib/viewer.tsx";
import { Confirm } from "../ui/dialog.tsx";
import { Icon } from "../ui/icon.tsx";
import { LiveMark } from "../ui/live_mark.tsx";
import { Notice } from "../ui/notice.tsx";
import { StateBadge } from "../ui/state.tsx";
import { Time } from "../ui/time.tsx";
import { isOver } from "./run_data.ts";

interface RunHeadProps {
  run: RunDetail;
  /** Null when there is nothing more to follow. */
  connection: Connection | null;
  onChanged(run: RunDetail): void;
}

/** What run this is, and what can be done with it. */
export function RunHead({ run, connection, onChanged }: RunHeadProps) {
  const { t, maybe } = useLocale();
  const operator = useRole("operator");
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
  const cancelling = run.cancel_requested_at !== null && !isOver(run.state);
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
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(id);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <span class="run-id">
      <code>{id}</code>
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
