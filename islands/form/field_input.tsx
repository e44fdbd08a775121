/// <reference lib="dom" />
import type { FieldError } from "../../vocabulary/problem.ts";
import { useLocale } from "../lib/locale_context.tsx";
import type { Field } from "./fields.ts";

interface FieldInputProps {
  field: Field;
  value: string;
  errors: FieldError[];
  /** Values that are known, to choose from or as hints. */
  known: string[];
  onChange(value: string): void;
}

export const inputId = (path: string): string => `field-${path.replaceAll(".", "-")}`;

/** A label, the input that fits the kind of the field, its help and what is wrong with it. */
export function FieldInput({ field, value, errors, known, onChange }: FieldInputProps) {
  const { t, maybe, number } = useLocale();
  const id = inputId(field.path);
  const help = maybe(`param.${field.path}`) ?? field.description;
  const bounds = field.min !== undefined && field.max !== undefined && field.max < 2 ** 40
    ? t("form.bounds", { min: number(field.min), max: number(field.max) })
    : "";
  const described = [`${id}-help`, ...(errors.length > 0 ? [`${id}-error`] : [])].join(" ");
  const common = {
    id,
    name: field.path,
    "aria-describedby": described,
    "aria-invalid": errors.length > 0,
    "aria-required": field.required,
  };
  const onInput = (event: Event) =>
    onChange((event.currentTarget as HTMLInputElement | HTMLTextAreaElement).value);
  const onSelect = (event: Event) => onChange((event.currentTarget as HTMLSelectElement).value);
  const hint = field.fallback ?? "";
  const wide = field.kind === "long_text" || field.kind === "json";
  return (
    <div class={`field ${wide ? "wide" : ""}`}>
      <label for={id}>
        <code>{field.name}</code>
        {field.required && <span class="required">{t("form.required")}</span>}
      </label>
      {field.kind === "boolean" || field.kind === "choice"
        ? (
          <select {...common} onChange={onSelect}>
            <option value="" selected={value === ""}>
              {hint === "" ? t("form.not_given") : t("form.default", { value: word(hint, t) })}
            </option>
            {(field.kind === "boolean" ? ["true", "false"] : field.options).map((option) => (
              <option key={option} value={option} selected={value === option}>
                {word(option, t)}
              </option>
            ))}
          </select>
        )
        : wide
        ? (
          <textarea
            {...common}
            rows={field.kind === "json" ? 5 : 3}
            spellcheck={false}
            placeholder={field.kind === "json" ? '[{"id": 1}]' : ""}
            value={value}
            onInput={onInput}
          />
        )
        : (
          <input
            {...common}
            type="text"
            autocomplete="off"
            spellcheck={false}
            inputMode={field.kind === "integer"
              ? "numeric"
              : field.kind === "number"
              ? "decimal"
              : undefined}
            list={known.length > 0 ? `${id}-known` : undefined}
            placeholder={hint}
            value={value}
            onInput={onInput}
          />
        )}
      {known.length > 0 && (
        <datalist id={`${id}-known`}>
          {known.map((each) => <option key={each} value={each} />)}
        </datalist>
      )}
      {errors.length > 0 && (
        <p class="field-error" id={`${id}-error`}>
          {errors.map(({ message, expected }) =>
            expected === undefined ? message : `${message}: ${expected}`
          ).join("; ")}
        </p>
      )}
      <p class="field-help" id={`${id}-help`}>
        {help}
        {bounds !== "" && <span class="bounds">{bounds}</span>}
      </p>
    </div>
  );
}

function word(value: string, t: ReturnType<typeof useLocale>["t"]): string {
  return value === "true" ? t("form.yes") : value === "false" ? t("form.no") : value;
}
