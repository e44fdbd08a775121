/// <reference lib="dom" />
import { at } from "./lib/base.ts";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Preview } from "../pipeline/preview.ts";
import type { FieldError } from "../vocabulary/problem.ts";
import type { Submitted } from "../vocabulary/run_schema.ts";
import { mount } from "./lib/mount.tsx";
import type { MessageKey } from "./i18n/en.ts";
import { ApiError, call, ONLY_NEW } from "./lib/api.ts";
import { parseExact } from "../vocabulary/exact_json.ts";
import { useCurlHeader, useLocale, useRole } from "./lib/context.tsx";
import { useCopy } from "./lib/copy.ts";
import { useTurns } from "./lib/turns.ts";
import { Icon, Notice, Time } from "./ui/elements.tsx";
import {
  type Conf,
  confOf,
  type Dialect,
  equivalent,
  type Field,
  type FieldGroup,
  fieldGroups,
  fieldIn,
  type FormValues,
  type JsonSchema,
  quoted,
  sourceFields,
  sourceTypes,
  valuesOf,
} from "./form/conf.ts";
import { DeclaredColumns, FieldAndFormat, TextOrField } from "./form/declared.tsx";
import { Dialog } from "./ui/dialog.tsx";
import {
  beginning,
  type Column,
  columnsOf,
  ColumnTable,
  FilePicker,
  inOrder,
  pathsIn,
  type Upload,
  UploadField,
} from "./form/data.tsx";
import { keepDraft, keepSchedule, type KeptDraft, keptDraft, keptSchedule } from "./form/draft.ts";

export interface RunFormProps {
  schema: JsonSchema;
  /** To begin with, as JSON, whose numbers have every digit. */
  conf: string;
  /** Values that are known, by parameter. */
  known: Record<string, string[]>;
  /** Address of this server. */
  origin: string;
  /** Where the conf came from: a run's id; null: nowhere. */
  from: string | null;
  /** The configuration that is changed instead of a run asked for, a new one without a name; null: none. */
  editing: { name: string; description: string } | null;
  /** The schedule whose conf is chosen instead, which comes from its dialog and goes back there; null: none. */
  scheduling: string | null;
}

/** Where the dialog of a schedule goes on. */
const SCHEDULE_DIALOG = "/etl/schedules#draft";

/** A form made from the schema of the run parameters. */
export function RunForm(
  { schema, conf: given, known, origin, from, editing, scheduling }: RunFormProps,
) {
  const [initial, setInitial] = useState(() => parseExact(given) as Conf);
  const { t } = useLocale();
  const header = useCurlHeader();
  const operator = useRole("operator");
  const admin = useRole("admin");
  const [values, setValues] = useState<FormValues>(() => valuesOf(initial));
  const [restored, setRestored] = useState(false);
  const [upload, setUpload] = useState<Upload | null>(null);
  const [found, setFound] = useState<Found | null>(null);
  const [failure, setFailure] = useState<ApiError | null>(null);
  const [preview, setPreview] = useState<Preview | null>(null);
  const [busy, setBusy] = useState<"run" | "preview" | "columns" | null>(null);
  const [saving, setSaving] = useState(false);
  /** The same key until something changes: asking twice makes one run. */
  const key = useRef<string | null>(null);

  // a configuration starts from no other
  const groups = useMemo(() =>
    fieldGroups(schema).map(({ name, fields }) => ({
      name,
      fields: fields.filter(({ name }) => editing === null || name !== "configuration"),
    })), []);
  const types = useMemo(() => sourceTypes(schema), []);
  const sourceType = values["source.type"] ?? types[0]!;
  const inSource = useMemo(() => sourceFields(schema, sourceType), [sourceType]);
  const fields = [...inSource, ...groups.flatMap((group) => group.fields)];
  const conf = { ...withoutValue(initial), ...confOf(fields, values, sourceType) };
  const places = placesOf(inSource.filter(({ name }) => upload === null || name !== "records"));
  const sent = sourceType === "inline" ? upload : null;
  const source = sourceOf(conf, sent);
  const columns = found?.source === source ? found.columns : null;
  const errors = [...failure?.errors ?? [], ...unknownColumns(values, columns, t)];

  // what was typed is there again when somebody comes back, unless the address says what to begin with
  const asksForRun = editing === null && scheduling === null;
  const isFresh = from === null && asksForRun && Object.keys(initial).length === 0;
  // at once: it must not take the place of what is typed
  useLayoutEffect(() => {
    const scheduled = scheduling === null ? null : keptSchedule();
    if (scheduled !== null) {
      setInitial(scheduled.conf);
      setValues(valuesOf(scheduled.conf));
    }
    const kept = isFresh ? keptDraft() : null;
    if (kept === null) return;
    setValues(kept);
    setRestored(true);
  }, []);
  const keep = (kept: KeptDraft | null) => {
    if (isFresh) keepDraft(kept);
  };
  const change = (changes: FormValues) => {
    key.current = null;
    setValues((now) => {
      const next = { ...now, ...changes };
      keep(next);
      return next;
    });
  };
  const set = (path: string, value: string) => change({ [path]: value });
  const startAnew = () => {
    key.current = null;
    keep(null);
    setValues(valuesOf(initial));
    setRestored(false);
    setPreview(null);
    setFailure(null);
  };
  const turns = useTurns();
  /** Only what was asked for last is shown: an action asks `isLast` before it shows anything. */
  const attempt = async (
    what: "run" | "preview" | "columns",
    action: (isLast: () => boolean) => Promise<void>,
  ) => {
    const isLast = turns();
    setBusy(what);
    setFailure(null);
    try {
      await action(isLast);
    } catch (error) {
      if (what !== "run" && !isLast()) return;
      setPreview(null);
      fail(error as ApiError);
    }
    if (isLast()) setBusy(null);
  };
  const fail = (error: ApiError | null) => {
    setFailure(error);
    if (error !== null) {
      requestAnimationFrame(() => document.getElementById("form-errors")?.focus());
    }
  };
  const offline = t("error.network");
  /** A file that was chosen is not there any more when somebody comes back. */
  const requireRecords = () => {
    if (sourceType !== "inline" || sent !== null || source0(conf).records !== undefined) return;
    const message = t("form.no_records");
    throw new ApiError(message, {
      errors: [{ field: "source.records", code: "missing", message }],
    });
  };
  const submit = () =>
    attempt("run", async () => {
      requireRecords();
      key.current ??= crypto.randomUUID();
      const { run_id } = await call<Submitted>(withQuery("/api/etl/run", conf, sent), {
        method: "POST",
        ...(sent === null ? { body: conf } : { data: sent.file, type: sent.type }),
        headers: { "idempotency-key": key.current },
        offline,
      });
      keep(null);
      location.assign(at(`/etl/runs/${run_id}`));
    });
  /** The next slot of the schedule fills its places in; a body of data has none. */
  const previewOf = async (conf: Conf, sent: Upload | null) => {
    const { cron = "", time_zone = "UTC" } = sent === null && scheduling !== null
      ? keptSchedule()?.texts ?? {}
      : {};
    const query = cron === "" ? "" : `?${new URLSearchParams({ cron, time_zone })}`;
    return await call<Preview>(withQuery("/api/etl/preview", conf, sent) + query, {
      method: "POST",
      ...(sent === null ? { body: conf } : { data: await beginning(sent), type: sent.type }),
      offline,
    });
  };
  /** What the records have, whatever key and types the form says. */
  const readColumns = async (from: Conf, sent: Upload | null, isLast: () => boolean) => {
    const preview = await previewOf(bareConf(from), sent);
    if (!isLast()) return;
    setFound({
      source: sourceOf(from, sent),
      columns: columnsOf(preview),
      proposals: preview.columns,
    });
  };
  const showColumns = (from: Conf = conf, file: Upload | null = sent) =>
    attempt("columns", (isLast) => readColumns(from, file, isLast));
  const show = () =>
    attempt("preview", async (isLast) => {
      requireRecords();
      const [shown] = await Promise.all([
        previewOf(conf, sent),
        // so that a wrong key is told with the columns there are
        columns === null && sourceType !== "synthetic"
          ? readColumns(conf, sent, isLast).catch(() => {})
          : null,
      ]);
      if (!isLast()) return;
      setPreview(shown);
      requestAnimationFrame(() => document.getElementById("preview-title")?.focus());
    });

  /** Whether a field has a value or an error: it must not be folded away. */
  const isTouched = (path: string) =>
    (values[path] ?? "") !== "" || errors.some((error) => belongsTo(error, path));
  const choose = (chosen: Upload | null) => {
    key.current = null;
    setUpload(chosen);
    if (chosen !== null) void showColumns(conf, chosen);
  };
  const schedule = () => {
    keepSchedule(scheduling === null ? { conf } : { ...keptSchedule(), conf });
    location.assign(at(SCHEDULE_DIALOG));
  };

  const input = (field: (typeof fields)[number]) => (
    <FieldInput
      key={field.path}
      field={field}
      value={values[field.path] ?? ""}
      errors={errors.filter((error) => belongsTo(error, field.path))}
      known={field.kind === "columns"
        ? columns?.flatMap(({ name }) => name ?? []) ?? []
        : MAPPED.includes(field.path)
        ? columns?.map(({ path }) => path) ?? []
        : known[field.path] ?? []}
      proposals={columns === null ? [] : found!.proposals}
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
    <>
      <form
        class={preview === null ? "columns form-columns" : "columns form-columns has-preview"}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          if (asksForRun) void submit();
        }}
        onKeyDown={(event) => {
          if (!asksForRun || event.key !== "Enter") return;
          if (event.ctrlKey || event.metaKey) void submit();
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
          {restored && (
            <Notice kind="info" title={t("form.restored")}>
              <p>
                <button type="button" class="button small" onClick={startAnew}>
                  {t("form.start_anew")}
                </button>
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
              {sourceType === "inline" && <UploadField upload={upload} onChoose={choose} />}
              {places.where.map(input)}
            </div>
            {sourceType === "file" && (
              <FilePicker
                value={values["source.path"] ?? ""}
                onChoose={(path) => {
                  change({ "source.path": path });
                  void showColumns({ source: { ...source0(conf), type: "file", path } }, null);
                }}
              />
            )}
            {sourceType !== "synthetic" && (
              <div class="found-columns only-with-script">
                {columns === null
                  ? (
                    <button
                      type="button"
                      class="button"
                      onClick={() => showColumns()}
                      {...operator.control(busy !== null)}
                    >
                      {t(busy === "columns" ? "form.previewing" : "form.show_columns")}
                    </button>
                  )
                  : (
                    <ColumnTable
                      columns={columns}
                      proposals={found!.proposals}
                      values={values}
                      typed={inSource.some(({ name }) => name === "columns")}
                      onChange={set}
                    />
                  )}
              </div>
            )}
            <div class="fields more-fields">{places.what.map(input)}</div>
            {places.how.length > 0 && (
              <details
                class="fold"
                open={places.how.some(({ path }) => isTouched(path))}
              >
                <summary>{t("form.how_read")}</summary>
                <div class="fields">{places.how.map(input)}</div>
              </details>
            )}
          </fieldset>
          {groups.slice(1).map(group)}
        </div>
        <div class="stack side">
          <div class="card form-actions only-with-script">
            {operator.reason !== null && <Notice kind="info" title={operator.reason} />}
            {scheduling !== null
              ? (
                <>
                  <button
                    type="button"
                    class="button primary wide"
                    onClick={schedule}
                    {...admin.control(sent !== null)}
                  >
                    <Icon name="schedules" /> {t("form.use_for_schedule")}
                  </button>
                  <p class="field-help">{t("form.slot_help")}</p>
                </>
              )
              : editing === null
              ? (
                <button
                  type="submit"
                  class="button primary wide"
                  {...operator.control(busy !== null)}
                >
                  <Icon name="play" /> {t(busy === "run" ? "form.asking" : "form.run")}
                </button>
              )
              : (
                <SaveConfiguration
                  conf={conf}
                  editing={editing}
                  onFailure={fail}
                />
              )}
            <div class="form-actions-row">
              <button
                type="button"
                class="button"
                onClick={show}
                {...operator.control(busy !== null)}
              >
                {t(busy === "preview" ? "form.previewing" : "form.preview")}
              </button>
              {asksForRun && (
                <button
                  type="button"
                  class="button"
                  onClick={() => setSaving(true)}
                  {...admin.control()}
                >
                  {t("form.save")}
                </button>
              )}
              {scheduling !== null && (
                <a class="button" href={SCHEDULE_DIALOG}>{t("form.back_to_schedule")}</a>
              )}
            </div>
            {asksForRun && (
              <button
                type="button"
                class="button"
                onClick={schedule}
                {...admin.control(sent !== null)}
              >
                <Icon name="schedules" /> {t("form.schedule")}
              </button>
            )}
            <p class="field-help">{t("form.preview_help")}</p>
          </div>
          {preview !== null && <PreviewCard preview={preview} />}
          {scheduling !== null
            // it would have no slot
            ? null
            : sent === null
            ? <Equivalents conf={conf} origin={origin} />
            : <UploadEquivalent conf={conf} origin={origin} upload={sent} />}
        </div>
      </form>
      {/* outside of the form, which Enter sends */}
      {saving && (
        <Dialog title={t("form.save_title")} onClose={() => setSaving(false)}>
          <SaveConfiguration conf={conf} editing={{ name: "", description: "" }} />
        </Dialog>
      )}
    </>
  );
}

/** Columns that were found in a source. */
interface Found {
  /** What `sourceOf` says of where they were found. */
  source: string;
  columns: Column[];
  proposals: Preview["columns"];
}

/** Members of a source that say what becomes of its records, not where or how they are read. */
const MAPPING = ["name", "key", "event_type", "occurred_at", "version", "columns"];

/** Fields that say where records are; those that a source cannot do without are among them. */
const WHERE = [
  "records",
  "connection",
  "table",
  "query",
  "url",
  "path",
  "bucket",
  "prefix",
  "module",
  "config",
  "connections",
];

/** The fields of a source in three groups: where its records are, what they become, how they are read. */
function placesOf(fields: Field[]): Record<"where" | "what" | "how", Field[]> {
  const place = ({ name }: Field) =>
    WHERE.includes(name) ? "where" : MAPPING.includes(name) ? "what" : "how";
  return {
    where: fields.filter((field) => place(field) === "where"),
    what: fields.filter((field) => place(field) === "what"),
    how: fields.filter((field) => place(field) === "how"),
  };
}

const source0 = (conf: Conf): Conf =>
  Object.fromEntries(
    Object.entries((conf.source ?? {}) as Conf).filter(([name]) => !MAPPING.includes(name)),
  );

/** Only where the records come from. */
const bareConf = (conf: Conf): Conf => ({ source: source0(conf) });

const sourceOf = (conf: Conf, upload: Upload | null): string =>
  JSON.stringify([
    // in whatever order it is written
    Object.entries(source0(conf)).sort(([a], [b]) => a < b ? -1 : 1),
    upload?.file.name,
    upload?.file.size,
    upload?.file.lastModified,
  ]);

/** The address for a conf whose records are an upload: the query says the rest. */
function withQuery(url: string, conf: Conf, upload: Upload | null): string {
  if (upload === null) return url;
  const { source, ...params } = conf;
  const { type: _type, records: _records, format: _format, ...members } = (source ?? {}) as Conf;
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...params, ...members })) {
    query.set(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  const text = query.toString();
  return text === "" ? url : `${url}?${text}`;
}

const MAPPED = ["source.key", "source.event_type", "source.occurred_at", "source.version"];

/** Fields that name columns which the records do not have, with those that they have. */
function unknownColumns(
  values: FormValues,
  columns: Column[] | null,
  t: ReturnType<typeof useLocale>["t"],
): FieldError[] {
  if (columns === null || columns.length === 0) return [];
  const known = new Set(columns.map(({ path }) => path));
  return MAPPED.flatMap((field) =>
    (field === "source.event_type"
      ? [fieldIn(values[field] ?? "")?.field].filter((path) => path !== undefined)
      : pathsIn(values[field] ?? "")).filter((path) => !known.has(path)).map((path) => ({
        field,
        message: t("form.no_column", { path }),
        expected: [...known].slice(0, 30).join(", "),
      }))
  );
}

/** The request that an upload stands for, with curl. */
function UploadEquivalent(
  { conf, origin, upload }: { conf: Conf; origin: string; upload: Upload },
) {
  const { t } = useLocale();
  const header = useCurlHeader();
  return (
    <section class="card" aria-labelledby="equivalent-title">
      <div class="card-head">
        <h2 id="equivalent-title">{t("form.equivalent")}</h2>
      </div>
      <pre class="code equivalent" tabIndex={0}>
        <code>{`curl -X POST${header} '${withQuery(`${origin}/api/etl/run`, conf, upload)}' \\\n  -H 'content-type: ${upload.type}' \\\n  --data-binary @${quoted(upload.file.name)}`}</code>
      </pre>
    </section>
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

interface ErrorSummaryProps {
  failure: ApiError;
  /** Id of the input that an error is about; null where none is. */
  targetOf(error: FieldError): string | null;
}

/** What the server says is wrong, each point a link to its input. */
function ErrorSummary({ failure, targetOf }: ErrorSummaryProps) {
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
          <ul class="bullets">
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

interface FieldInputProps {
  field: Field;
  value: string;
  errors: FieldError[];
  /** Values that are known, to choose from or as hints. */
  known: string[];
  /** Declarations of columns that the records ask for; default: none. */
  proposals?: Preview["columns"];
  onChange(value: string): void;
}

/** Fields that take what is there and nothing else: chosen from a list. */
const LISTED = new Set(["configuration", "pool", "suite", "transform", "source.connection"]);

const inputId = (path: string): string => `field-${path.replaceAll(".", "-")}`;

/** A label, the input that fits the kind of the field, its help and what is wrong with it. */
export function FieldInput(
  { field, value, errors, known, proposals = [], onChange }: FieldInputProps,
) {
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
  const isText = field.kind === "long_text" || field.kind === "json";
  const isTable = field.kind === "columns";
  const ofRecords = { common, name: field.name, value, known, onChange };
  const isListed = LISTED.has(field.path) && known.length > 0 &&
    (value === "" || known.includes(value));
  const label = (
    <>
      <code>{field.name}</code>
      {field.required && <span class="required">{t("form.required")}</span>}
    </>
  );
  const isPlain = !isListed && !isTable &&
    !["text_or_field", "field_and_format"].includes(field.kind);
  return (
    <div class={`field ${isText || isTable ? "wide" : ""}`}>
      {isTable
        ? <span class="field-label" id={`${id}-label`}>{label}</span>
        : <label for={id}>{label}</label>}
      {isTable
        ? (
          <DeclaredColumns
            id={id}
            described={described}
            invalid={errors.length > 0}
            value={value}
            members={field.members!}
            known={known}
            proposals={proposals}
            onChange={onChange}
          />
        )
        : field.kind === "text_or_field"
        ? <TextOrField {...ofRecords} />
        : field.kind === "field_and_format"
        ? <FieldAndFormat {...ofRecords} formats={field.options} />
        : field.kind === "boolean" || field.kind === "choice" || isListed
        ? (
          <select {...common} onChange={onSelect}>
            <option value="" selected={value === ""}>
              {hint === "" ? t("form.not_given") : t("form.default", { value: word(hint, t) })}
            </option>
            {(isListed ? known : field.kind === "boolean" ? ["true", "false"] : field.options).map((
              option,
            ) => (
              <option key={option} value={option} selected={value === option}>
                {word(option, t)}
              </option>
            ))}
          </select>
        )
        : isText
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
            list={known.length > 0 && !isListed ? `${id}-known` : undefined}
            placeholder={hint}
            value={value}
            onInput={onInput}
          />
        )}
      {known.length > 0 && isPlain && (
        <datalist id={`${id}-known`}>
          {known.map((each) => <option key={each} value={each} />)}
        </datalist>
      )}
      {errors.length > 0 && (
        <p class="field-error" id={`${id}-error`}>
          {errors.map(({ message, expected }) =>
            expected === undefined || message.includes(expected)
              ? message
              : `${message}: ${expected}`
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

/** What the first records would become, with what would be rejected. */
function PreviewCard({ preview }: { preview: Preview }) {
  const { t, number } = useLocale();
  const { counts, key, events, fields, rejected, slot, warnings } = preview;
  return (
    <section class="card preview" aria-labelledby="preview-title">
      <div class="card-head">
        <h2 id="preview-title" tabIndex={-1}>{t("form.preview")}</h2>
        <span class="quiet">{t("form.sampled", { n: preview.sampled })}</span>
      </div>
      <dl class="facts">
        {slot !== null && <Fact name="{{slot}}" value={slot} />}
        <Fact name={t("form.events")} value={number(counts.events)} />
        <Fact
          name={t("field.rejected")}
          value={number(counts.rejected)}
          bad={counts.rejected > 0}
        />
        <Fact name={t("field.filtered")} value={number(counts.filtered)} />
        <Fact name={t("field.extra")} value={number(counts.extra)} />
        <Fact
          name={t("form.key")}
          value={key.fields === null ? t("form.key_hash") : key.fields.join(" + ")}
        />
        <Fact
          name={t("form.key_unique")}
          value={key.unique ? t("form.yes") : t("form.no")}
          bad={!key.unique}
        />
      </dl>
      {warnings.map((warning) => <Notice key={warning} kind="warning" title={warning} />)}
      {!key.unique && (
        <Notice kind="warning" title={t("form.repeated")}>
          <p>
            <code>{key.repeated.map(({ event_id }) => event_id).join(", ")}</code>
          </p>
        </Notice>
      )}
      {rejected.length > 0 && (
        <ul class="rows">
          {rejected.slice(0, 5).map((each) => (
            <li key={`${each.position}.${each.output}`}>
              <strong class="is-bad">
                {each.message}
              </strong>
              <code class="raw">{each.raw}</code>
            </li>
          ))}
        </ul>
      )}
      {events.length > 0 && (
        <div class="table-scroll" tabIndex={0} role="region" aria-label={t("form.events")}>
          <table class="table records">
            <thead>
              <tr>
                <th scope="col">event_id</th>
                <th scope="col">event_type</th>
                <th scope="col">occurred_at</th>
                <th scope="col">payload</th>
              </tr>
            </thead>
            <tbody>
              {events.map((event) => (
                <tr key={event.position}>
                  <td>
                    <code class="clip preview-id" title={event.event_id}>{event.event_id}</code>
                  </td>
                  <td>{event.event_type}</td>
                  <td>
                    {event.occurred_at === null
                      ? "–"
                      : <Time at={event.occurred_at} style="long" />}
                  </td>
                  <td>
                    <code class="raw">{JSON.stringify(inOrder(event.payload, fields))}</code>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Fact({ name, value, bad = false }: { name: string; value: string; bad?: boolean }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class={bad ? "is-bad" : ""}>{value}</dd>
    </div>
  );
}

const DIALECTS: Dialect[] = ["curl", "cli", "sql"];

/** The request that the form stands for, to be made from elsewhere. */
function Equivalents({ conf, origin }: { conf: Conf; origin: string }) {
  const { t } = useLocale();
  const header = useCurlHeader();
  const [dialect, setDialect] = useState<Dialect>("curl");
  const text = equivalent(dialect, conf, { origin, header });
  const { shown, copied, copy } = useCopy(text);
  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step === 0) return;
    const next = DIALECTS[(DIALECTS.indexOf(dialect) + step + DIALECTS.length) % DIALECTS.length]!;
    setDialect(next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <section class="card" aria-labelledby="equivalent-title">
      <div class="card-head centred">
        <h2 id="equivalent-title">{t("form.equivalent")}</h2>
        <div class="segmented" role="tablist" aria-labelledby="equivalent-title">
          {DIALECTS.map((each) => (
            <button
              type="button"
              role="tab"
              id={`tab-${each}`}
              key={each}
              aria-selected={dialect === each}
              aria-controls="equivalent-panel"
              tabIndex={dialect === each ? 0 : -1}
              onClick={() => setDialect(each)}
              onKeyDown={onKeyDown}
            >
              {t(`form.${each}`)}
            </button>
          ))}
        </div>
      </div>
      <div id="equivalent-panel" role="tabpanel" aria-labelledby={`tab-${dialect}`} tabIndex={0}>
        <pre class="code equivalent"><code ref={shown}>{text}</code></pre>
      </div>
      <button type="button" class="button only-with-script" onClick={copy}>
        <Icon name={copied ? "check" : "copy"} /> {t(copied ? "action.copied" : "action.copy")}
      </button>
    </section>
  );
}

interface SaveProps {
  conf: Conf;
  /** What it is called and for; a new one has no name yet. */
  editing: { name: string; description: string };
  /** Takes what is wrong, and that nothing is any more; default: it is said here. */
  onFailure?(failure: ApiError | null): void;
}

/** Keeps what the form holds under a name. */
function SaveConfiguration({ conf, editing, onFailure }: SaveProps) {
  const { t } = useLocale();
  const admin = useRole("admin");
  const [name, setName] = useState(editing.name);
  const [description, setDescription] = useState(editing.description);
  /** The configuration that this one changes. */
  const mine = useRef(editing.name);
  /** The name that it is saved under, or why it is not. */
  const [outcome, setOutcome] = useState<string | ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const save = async () => {
    const { configuration: _from, ...rest } = conf;
    onFailure?.(null);
    setOutcome(null);
    setBusy(true);
    try {
      await call(`/api/configurations/${encodeURIComponent(name)}`, {
        method: "PUT",
        headers: name === mine.current ? {} : ONLY_NEW,
        body: { conf: rest, description: description === "" ? null : description },
        offline: t("error.network"),
      });
      mine.current = name;
      setOutcome(name);
    } catch (error) {
      if (onFailure === undefined) setOutcome(error as ApiError);
      else onFailure(error as ApiError);
    }
    setBusy(false);
  };
  const control = admin.control(busy || name === "");
  return (
    <div
      class="stack tight"
      onKeyDown={(event) => {
        if (event.key === "Enter" && (event.target as Element).localName === "input") {
          event.preventDefault();
          if (!control.disabled) void save();
        }
      }}
    >
      <div role="status">
        {typeof outcome === "string" && (
          <Notice kind="good" title={t("form.saved", { name: outcome })}>
            <p>
              <a href="/etl/configurations">{t("nav.configurations")}</a>
            </p>
          </Notice>
        )}
      </div>
      {outcome !== null && typeof outcome !== "string" && (
        <Notice kind="problem" alert title={outcome.message} />
      )}
      {editing.name === "" && (
        <div class="field">
          <label for="configuration-name">{t("form.name")}</label>
          <input
            id="configuration-name"
            type="text"
            autocomplete="off"
            spellcheck={false}
            value={name}
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </div>
      )}
      <div class="field">
        <label for="configuration-description">{t("form.description")}</label>
        <input
          id="configuration-description"
          type="text"
          value={description}
          onInput={(event) => setDescription(event.currentTarget.value)}
        />
      </div>
      <button
        type="button"
        class="button primary"
        onClick={save}
        {...control}
      >
        {t("action.save")}
      </button>
    </div>
  );
}

/** The parameters that a conf says have no value. */
const withoutValue = (conf: Conf): Conf =>
  Object.fromEntries(Object.entries(conf).filter(([, value]) => value === null));

mount("form", RunForm);
