/// <reference lib="dom" />
import { useState } from "preact/hooks";
import type { ValidationResult } from "../../pipeline/expectations/result.ts";
import { type ApiError, call } from "../lib/api.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { useRole } from "../lib/viewer.tsx";
import { Result } from "../run/validation_card.tsx";
import { Notice } from "../ui/notice.tsx";

const SAMPLE = '[\n  {"event_id": "1", "event_type": "order", "payload": {"amount": 12.5}}\n]';

/** Judges a sample by what the editor holds, without storing anything. */
export function SuiteTrial({ suite }: { suite: string }) {
  const { t } = useLocale();
  const operator = useRole("operator");
  const [records, setRecords] = useState(SAMPLE);
  const [outcome, setOutcome] = useState<ValidationResult | string | null>(null);
  const judge = async () => {
    try {
      setOutcome(
        await call<ValidationResult>("/api/suites/try", {
          method: "POST",
          body: { suite: JSON.parse(suite), records: JSON.parse(records) },
          offline: t("error.network"),
        }),
      );
    } catch (error) {
      setOutcome(
        error instanceof SyntaxError
          ? t("resource.not_json", { message: error.message })
          : (error as ApiError).message,
      );
    }
  };
  return (
    <details class="trial">
      <summary>{t("resource.try")}</summary>
      <div class="stack tight">
        <div class="field">
          <label for="trial-records">{t("resource.sample")}</label>
          <textarea
            id="trial-records"
            rows={5}
            spellcheck={false}
            value={records}
            onInput={(event) => setRecords(event.currentTarget.value)}
          />
        </div>
        <div>
          <button
            type="button"
            class="button"
            onClick={judge}
            {...operator.control()}
          >
            {t("resource.judge")}
          </button>
        </div>
        {typeof outcome === "string" && <Notice kind="problem" alert title={outcome} />}
        {outcome !== null && typeof outcome === "object" && (
          <ul class="rows" role="status">
            {outcome.results.map((result, index) => <Result key={index} result={result} />)}
          </ul>
        )}
      </div>
    </details>
  );
}
