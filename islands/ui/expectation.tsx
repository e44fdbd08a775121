import type { ExpectationResult } from "../../pipeline/expectations/expectations.ts";
import { useLocale } from "../lib/context.tsx";
import { StateSymbol } from "./elements.tsx";

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
