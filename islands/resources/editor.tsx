/// <reference lib="dom" />
import { useState } from "preact/hooks";
import { type ApiError, call } from "../lib/api.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Notice } from "../ui/notice.tsx";
import { ColumnProposal } from "./column_proposal.tsx";
import { type EditorField, editorText, type ResourceSpec, type Row, rowPath } from "./specs.ts";
import { SuiteTrial } from "./suite_trial.tsx";

interface EditorProps {
  spec: ResourceSpec;
  /** The row to change; null: a new one. */
  row: Row | null;
  onSaved(name: string): void;
  onClose(): void;
}

/** Creates or changes a row; what the server finds wrong is shown where it is. */
export function Editor({ spec, row, onSaved, onClose }: EditorProps) {
  const { t } = useLocale();
  const [name, setName] = useState(row === null ? "" : String(row[spec.key]));
  const [texts, setTexts] = useState<Record<string, string>>(() => initialTexts(spec, row));
  const [failure, setFailure] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  const save = async (event: Event) => {
    event.preventDefault();
    setFailure(null);
    setBusy(true);
    try {
      const values = Object.fromEntries(
        spec.fields.map((field) => [field.name, valueOf(field, texts[field.name] ?? "")]),
      );
      await call(rowPath(spec, name), {
        method: "PUT",
        body: spec.bare ? values[spec.fields[0]!.name] : values,
        offline: t("error.network"),
      });
      onSaved(name);
    } catch (error) {
      setFailure(
        error instanceof SyntaxError
          ? t("resource.not_json", { message: error.message })
          : (error as ApiError).message,
      );
    }
    setBusy(false);
  };
  const title = row === null
    ? t("resource.new", { noun: t(spec.noun) })
    : t("resource.edit", { noun: t(spec.noun), name });
  return (
    <Dialog title={title} wide onClose={onClose}>
      <form class="stack tight" onSubmit={save}>
        {failure !== null && <Notice kind="problem" alert title={failure} />}
        {row === null && (
          <div class="field">
            <label for="editor-name">{t("form.name")}</label>
            <input
              id="editor-name"
              type="text"
              required
              autocomplete="off"
              spellcheck={false}
              value={name}
              onInput={(event) => setName(event.currentTarget.value)}
            />
          </div>
        )}
        {spec.fields.map((field) => (
          <Input
            key={field.name}
            field={field}
            text={texts[field.name] ?? ""}
            onInput={(text) => setTexts((now) => ({ ...now, [field.name]: text }))}
          />
        ))}
        {spec.noun === "resource.suite" && <SuiteTrial suite={texts.suite ?? ""} />}
        {spec.noun === "resource.dataset" && (
          <ColumnProposal
            path={rowPath(spec, name)}
            onProposal={(columns) => setTexts({ columns: editorText(columns, { list: true }) })}
          />
        )}
        <div class="dialog-actions">
          <button type="button" class="button" onClick={onClose}>{t("action.close")}</button>
          <button type="submit" class="button primary" disabled={busy || name === ""}>
            {t("action.save")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

interface InputProps {
  field: EditorField;
  text: string;
  onInput(text: string): void;
}

function Input({ field, text, onInput }: InputProps) {
  const { t } = useLocale();
  const id = `editor-${field.name}`;
  return (
    <div class="field">
      <label for={id}>{t(field.label)}</label>
      {field.kind === "json"
        ? (
          <textarea
            id={id}
            rows={field.name === "value" ? 4 : 12}
            spellcheck={false}
            aria-describedby={`${id}-help`}
            value={text}
            onInput={(event) => onInput(event.currentTarget.value)}
          />
        )
        : (
          <input
            id={id}
            type="text"
            inputMode={field.kind === "whole" ? "numeric" : undefined}
            aria-describedby={`${id}-help`}
            value={text}
            onInput={(event) => onInput(event.currentTarget.value)}
          />
        )}
      <p class="field-help" id={`${id}-help`}>{t(field.help)}</p>
    </div>
  );
}

function initialTexts(spec: ResourceSpec, row: Row | null): Record<string, string> {
  return Object.fromEntries(spec.fields.map((field) => {
    if (row === null) return [field.name, field.initial ?? ""];
    const value = row[field.name];
    return [
      field.name,
      field.kind === "json" ? editorText(value, field) : value === null ? "" : String(value),
    ];
  }));
}

/** Throws a SyntaxError where JSON is not. */
function valueOf({ kind, optional }: EditorField, text: string): unknown {
  if (optional && text.trim() === "") return null;
  if (kind === "json") return JSON.parse(text);
  return kind === "whole" && /^\d+$/.test(text.trim()) ? Number(text) : text;
}
