/// <reference lib="dom" />
import { useMemo, useRef, useState } from "preact/hooks";
import type { Preview } from "../../pipeline/preview.ts";
import type { FieldError } from "../../vocabulary/problem.ts";
import type { Submitted } from "../../store/runs.ts";
import type { MessageKey } from "../i18n/en.ts";
import { type ApiError, call } from "../lib/api.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { useCurlHeader, useRole } from "../lib/viewer.tsx";
import { Icon } from "../ui/icon.tsx";
import { Notice } from "../ui/notice.tsx";
import { type Conf, confOf, type FormValues, valuesOf } from "./conf.ts";
import { Equivalents } from "./equivalents.tsx";
import { ErrorSummary } from "./error_summary.tsx";
import { FieldInput, inputId } from "./field_input.tsx";
import {
  type FieldGroup,
  fieldGroups,
  type JsonSchema,
  sourceFields,
  sourceTypes,
} from "./fields.ts";
import { PreviewCard } from "./preview_card.tsx";
import { SaveConfiguration } from "./save_configuration.tsx";

export interface RunFormProps {
  schema: JsonSchema;
  /** To begin with. */
  conf: Conf;
  /** Values that are known, by parameter. */
  known: Record<string, string[]>;
  /** Address of this server. */
  origin: string;
  /** Where the conf came from: a run's id; null: nowhere. */
  from: string | null;
}

/** A form made from the schema of the run parameters. */
export function RunForm({ schema, conf: initial, known, origin, from }: RunFormProps) {
  const { t } = useLocale();
  const header = useCurlHeader();
  const operator = useRole("operator");
  const admin = useRole("admin");
  const [values, setValues] = useState<FormValues>(() => valuesOf(initial));
  const [failure, setFailure] = useState<ApiError | null>(null);
  const [preview, setPreview] = useState<Preview | null>(null);
  const [busy, setBusy] = useState<"run" | "preview" | null>(null);
  const [saving, setSaving] = useState(false);
  /** The same key until something changes: asking twice makes one run. */
  const key = useRef<string | null>(null);

  const groups = useMemo(() => fieldGroups(schema), []);
  const types = useMemo(() => sourceTypes(schema), []);
  const sourceType = values["source.type"] ?? types[0]!;
  const inSource = useMemo(() => sourceFields(schema, sourceType), [sourceType]);
  const fields = [...inSource, ...groups.flatMap((group) => group.fields)];
  const conf = confOf(fields, values, sourceType);
  const errors = failure?.errors ?? [];

  const set = (path: string, value: string) => {
    key.current = null;
    setValues((now) => ({ ...now, [path]: value }));
  };
  const attempt = async (what: "run" | "preview", action: () => Promise<void>) => {
    setBusy(what);
    setFailure(null);
    try {
      await action();
    } catch (error) {
      setFailure(error as ApiError);
      setPreview(null);
      requestAnimationFrame(() => document.getElementById("form-errors")?.focus());
    }
    setBusy(null);
  };
  const offline = t("error.network");
  const submit = () =>
    attempt("run", async () => {
      key.current ??= crypto.randomUUID();
      const { run_id } = await call<Submitted>("/api/etl/run", {
        method: "POST",
        body: conf,
        headers: { "idempotency-key": key.current },
        offline,
      });
      location.assign(`/etl/runs/${run_id}`);
    });
  const show = () =>
    attempt("preview", async () => {
      setPreview(await call<Preview>("/api/etl/preview", { method: "POST", body: conf, offline }));
      requestAnimationFrame(() => document.getElementById("preview-title")?.focus());
    });

  const input = (field: (typeof fields)[number]) => (
    <FieldInput
      key={field.path}
      field={field}
      value={values[field.path] ?? ""}
      errors={errors.filter((error) => belongsTo(error, field.path))}
      known={known[field.path] ?? []}
      onChange={(value) => set(field.path, value)}
    />
  );
  const group = ({ name, fields }: FieldGroup) =>
    name === "advanced"
      ? (
        <details class="card fold" key={name}>
          <summary>{t("form.group_advanced")}</summary>
          <div class="fields">{fields.map(input)}</div>
        </details>
      )
      : (
        <fieldset class="card" key={name}>
          <legend>{t(`form.group_${name}` as MessageKey)}</legend>
          <div class="fields">{fields.map(input)}</div>
        </fieldset>
      );
  return (
    <form
      class="columns form-columns"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
      onKeyDown={(event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void submit();
      }}
    >
      <div class="stack">
        <div class="only-without-script">
          <Notice kind="info" title={t("noscript.action")}>
            <pre class="code">{`curl -X POST ${origin}/api/etl/run${header} -H 'content-type: application/json' -d '{"batch_size": 500}'`}</pre>
          </Notice>
        </div>
        {from !== null && (
          <Notice kind="info" title={t("form.from_run")}>
            <p>
              <a href={`/etl/runs/${from}`}>{from}</a>
            </p>
          </Notice>
        )}
        {failure !== null && (
          <ErrorSummary
            failure={failure}
            targetOf={(error) => targetOf(error, fields)}
          />
        )}
        {group(groups[0]!)}
        <fieldset class="card">
          <legend>{t("form.group_source")}</legend>
          <div class="fields">
            <div class="field wide">
              <span class="field-label" id="source-type">{t("form.source_type")}</span>
              <div class="choices" role="radiogroup" aria-labelledby="source-type">
                {types.map((type) => (
                  <label key={type} class="choice">
                    <input
                      type="radio"
                      name="source.type"
                      value={type}
                      checked={type === sourceType}
                      onChange={() => set("source.type", type)}
                    />
                    <span>
                      <strong>{type}</strong>
                      <span class="quiet">{t(`form.source_${type}` as MessageKey)}</span>
                    </span>
                  </label>
                ))}
              </div>
            </div>
            {inSource.map(input)}
          </div>
        </fieldset>
        {groups.slice(1).map(group)}
      </div>
      <div class="stack side">
        <div class="card form-actions only-with-script">
          {operator.reason !== null && <Notice kind="info" title={operator.reason} />}
          <button
            type="submit"
            class="button primary wide"
            {...operator.control(busy !== null)}
          >
            <Icon name="play" /> {t(busy === "run" ? "form.asking" : "form.run")}
          </button>
          <div class="form-actions-row">
            <button
              type="button"
              class="button"
              onClick={show}
              {...operator.control(busy !== null)}
            >
              {t(busy === "preview" ? "form.previewing" : "form.preview")}
            </button>
            <button
              type="button"
              class="button"
              onClick={() => setSaving(true)}
              {...admin.control()}
            >
              {t("form.save")}
            </button>
          </div>
          <p class="field-help">{t("form.preview_help")}</p>
        </div>
        <Equivalents conf={conf} origin={origin} />
      </div>
      {preview !== null && <PreviewCard preview={preview} />}
      {saving && <SaveConfiguration conf={conf} onClose={() => setSaving(false)} />}
    </form>
  );
}

/** Whether an error is about a field or something in it: "source.key[0]" is about source.key. */
function belongsTo({ field }: FieldError, path: string): boolean {
  return field === path || field.startsWith(`${path}.`) || field.startsWith(`${path}[`);
}

function targetOf(error: FieldError, fields: { path: string }[]): string | null {
  const field = fields.find(({ path }) => belongsTo(error, path));
  return field === undefined ? null : inputId(field.path);
}
