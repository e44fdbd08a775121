import type { ExpectationResult, ValidationResult } from "../../pipeline/expectations/result.ts";
import type { RunDetail } from "../../store/run_views.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { StateSymbol } from "../ui/state.tsx";
import { isOver } from "./run_data.ts";

interface ValidationCardProps {
  run: RunDetail;
  validation: ValidationResult | null;
}

/** What each expectation of the suite found, those that failed first. */
export function ValidationCard({ run, validation }: ValidationCardProps) {
  const { t } = useLocale();
  const enforced = run.params.enforce_ge?.value === true;
  if (validation === null) {
    return (
      <section class="card" aria-labelledby="validation-title">
        <div class="card-head">
          <h2 id="validation-title">{t("run.validation")}</h2>
        </div>
        <p class="empty">
          {t(
            !isOver(run.state)
              ? "run.verdict_later"
              : run.params.suite?.value === null
              ? "run.no_suite"
              : "run.not_judged",
          )}
        </p>
      </section>
    );
  }
  const { evaluated_expectations: all, successful_expectations: good } = validation.statistics;
  const results = validation.results.toSorted((a, b) => Number(a.success) - Number(b.success));
  return (
    <section class="card" aria-labelledby="validation-title">
      <div class="card-head">
        <h2 id="validation-title">{t("run.validation")}</h2>
        <span class={validation.success ? "is-good" : "is-bad"}>
          {t("run.expectations_met", { good, n: all })}
        </span>
      </div>
      <p class="card-note">
        {t("run.suite")} <code>{validation.suite_name}</code> ·{" "}
        {t(enforced ? "run.enforced" : "run.recorded")}
      </p>
      <ul class="rows">
        {results.map((result, index) => <Result key={index} result={result} />)}
      </ul>
    </section>
  );
}

/** What one expectation found. */
export function Result({ result }: { result: ExpectationResult }) {
  const { t, number } = useLocale();
  const { type, kwargs } = result.expectation_config;
  const { unexpected_count, unexpected_percent, partial_unexpected_list, observed_value } = result
    .result as Record<string, unknown>;
  const found = result.exception_info.raised_exception
    ? result.exception_info.exception_message
    : typeof unexpected_count === "number" && unexpected_count > 0
    ? t("run.unexpected", {
      n: unexpected_count,
      percent: `${number(Number(unexpected_percent ?? 0), { maximumFractionDigits: 2 })}%`,
    })
    : observed_value !== undefined && observed_value !== null
    ? t("run.observed", { value: short(observed_value) })
    : null;
  const examples = Array.isArray(partial_unexpected_list) ? partial_unexpected_list : [];
  return (
    <li class="expectation">
      <StateSymbol state={result.success ? "succeeded" : "failed"} />
      <div>
        <p>
          <span class="visually-hidden">
            {t(result.success ? "run.met" : "run.not_met")}
          </span>
          <code class="expectation-type">{type.replace(/^expect_/, "")}</code>{" "}
          <span class="quiet">{kwargsText(kwargs)}</span>
        </p>
        {found !== null && <p class={result.success ? "quiet" : "is-bad"}>{found}</p>}
        {!result.success && examples.length > 0 && (
          <p class="quiet">
            {t("run.examples")} <code>{examples.slice(0, 5).map(short).join(", ")}</code>
          </p>
        )}
      </div>
    </li>
  );
}

function kwargsText(kwargs: Record<string, unknown>): string {
  return Object.entries(kwargs).filter(([name]) => name !== "batch_id")
    .sort(([a], [b]) => Number(b === "column") - Number(a === "column"))
    .map(([name, value]) => name === "column" ? String(value) : `${name}: ${short(value)}`)
    .join(" · ");
}

function short(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}
