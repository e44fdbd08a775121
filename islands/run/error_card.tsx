import type { FieldError } from "../../vocabulary/problem.ts";
import type { RunDetail } from "../../store/run_views.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { Notice } from "../ui/notice.tsx";

/** Why the run did not succeed, and what helps. Texts of the server are in English. */
export function ErrorCard({ run, remedies }: { run: RunDetail; remedies: string[] }) {
  const { t } = useLocale();
  const { type, title, detail, errors = [] } = run.error as {
    type: string;
    title: string;
    detail: string;
    errors?: FieldError[];
  };
  const cancelled = run.state === "cancelled";
  return (
    <Notice kind={cancelled ? "warning" : "problem"} title={<span lang="en">{title}</span>}>
      <p lang="en">{detail}</p>
      {errors.length > 0 && (
        <ul class="bullets" lang="en">
          {errors.map((error) => (
            <li key={error.field}>
              <code>{error.field}</code> {error.message}
            </li>
          ))}
        </ul>
      )}
      {remedies.length > 0 && !cancelled && (
        <>
          <p class="notice-subtitle">{t("run.what_next")}</p>
          <ul class="bullets" lang="en">
            {remedies.map((remedy) => <li key={remedy}>{remedy}</li>)}
          </ul>
        </>
      )}
      <p class="notice-links">
        <a href={`/etl/new?from=${run.run_id}`}>{t("run.again")}</a>
        {(run.counts.rejected ?? 0) > 0 && <a href="#quarantine">{t("run.see_quarantine")}</a>}
        <a href={type}>{t("run.about_problem")}</a>
      </p>
    </Notice>
  );
}
