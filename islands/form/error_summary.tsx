import type { FieldError } from "../../vocabulary/problem.ts";
import type { ApiError } from "../lib/api.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { Notice } from "../ui/notice.tsx";

interface ErrorSummaryProps {
  failure: ApiError;
  /** Id of the input that an error is about; null where none is. */
  targetOf(error: FieldError): string | null;
}

/** What the server says is wrong, each point a link to its input. */
export function ErrorSummary({ failure, targetOf }: ErrorSummaryProps) {
  const { t } = useLocale();
  const { errors } = failure;
  return (
    <div id="form-errors" tabIndex={-1}>
      <Notice
        kind="problem"
        alert
        title={errors.length === 0 ? failure.message : t("form.errors", { n: errors.length })}
      >
        {errors.length > 0 && (
          <ul class="bullets" lang="en">
            {errors.map((error) => {
              const target = targetOf(error);
              const text = `${error.field} ${error.message}`;
              return (
                <li key={text}>{target === null ? text : <a href={`#${target}`}>{text}</a>}</li>
              );
            })}
          </ul>
        )}
      </Notice>
    </div>
  );
}
