import type { RunDetail } from "../../store/run_views.ts";
import { useLocale } from "../lib/locale_context.tsx";

const COUNTS = [
  "records_read",
  "filtered",
  "extra",
  "duplicates",
  "rejected",
  "inserted",
  "updated",
  "unchanged",
] as const;

/** What became of the records. */
export function Counts({ run }: { run: RunDetail }) {
  const { t, number } = useLocale();
  return (
    <section class="card" aria-labelledby="counts-title">
      <div class="card-head">
        <h2 id="counts-title">{t("run.counts")}</h2>
      </div>
      <dl class="pairs">
        {COUNTS.map((name) => {
          const value = run.counts[name] ?? 0;
          return (
            <div key={name}>
              <dt>{t(`field.${name}`)}</dt>
              <dd class={`num ${value === 0 ? "quiet" : name === "rejected" ? "is-bad" : ""}`}>
                {number(value)}
              </dd>
            </div>
          );
        })}
      </dl>
      {run.warnings.length > 0 && (
        <ul class="bullets warnings" lang="en">
          {run.warnings.map((warning) => <li key={warning}>{warning}</li>)}
        </ul>
      )}
    </section>
  );
}
