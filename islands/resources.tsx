/// <reference lib="dom" />
import { at } from "./lib/base.ts";
import { useEffect, useState } from "preact/hooks";
import type { Submitted } from "../vocabulary/run_schema.ts";
import { mount } from "./lib/mount.tsx";
import { type ApiError, call, ONLY_NEW } from "./lib/api.ts";
import { parseExact } from "../vocabulary/exact_json.ts";
import { useLocale, useRole } from "./lib/context.tsx";
import { Confirm, Dialog } from "./ui/dialog.tsx";
import { Icon, Notice, Said, Time } from "./ui/elements.tsx";
import type { ComponentChildren } from "preact";
import type { MessageKey } from "./i18n/en.ts";
import type { DatasetColumn } from "../store/datasets.ts";
import {
  type Alteration,
  alterationBody,
  type Declared,
  TypedColumns,
  ViewColumns,
} from "./datasets/columns_editor.tsx";
import { SuiteEditor } from "./suites/suite_editor.tsx";

export interface ResourceListProps {
  kind: ResourceKind;
  items: Row[];
}

/** Looks at, creates, changes, removes and, for configurations, runs. */
export function ResourceList({ kind, items: initial }: ResourceListProps) {
  const { t } = useLocale();
  const admin = useRole("admin");
  const spec = SPECS[kind];
  const { removable = spec.key } = spec;
  const [items, setItems] = useState(initial);
  const [editing, setEditing] = useState<Row | "new" | null>(null);
  const [removing, setRemoving] = useState<Row | null>(null);
  const [busy, setBusy] = useState(false);
  const [message, setMessage] = useState<{ kind: "good" | "problem"; text: string } | null>(null);
  const offline = t("error.network");

  const reload = async () =>
    setItems((await call<{ items: Row[] }>(`/etl/data/${kind}`, { offline, exact: true })).items);
  const attempt = async (action: () => Promise<string | null>) => {
    setBusy(true);
    try {
      const text = await action();
      setMessage(text === null ? null : { kind: "good", text });
    } catch (error) {
      setMessage({ kind: "problem", text: (error as ApiError).message });
    }
    setBusy(false);
  };
  const saved = (name: string) =>
    attempt(async () => {
      setEditing(null);
      await reload();
      return t("resource.saved", { name });
    });
  const remove = (row: Row) =>
    attempt(async () => {
      setRemoving(null);
      await call(rowPath(spec, String(row[spec.key])), { method: "DELETE", offline });
      await reload();
      return t("resource.removed", { name: String(row[removable]) });
    });
  const run = (row: Row) =>
    attempt(async () => {
      const { run_id } = await call<Submitted>("/api/etl/run", {
        method: "POST",
        body: { configuration: row.name },
        offline,
      });
      location.assign(at(`/etl/runs/${run_id}`));
      return null;
    });
  return (
    <>
      <div class="page-head">
        <h1>{t(`nav.${kind}`)}</h1>
        {!spec.given && (
          <div class="page-actions">
            <button
              type="button"
              class="button primary only-with-script"
              onClick={() => kind === "configurations" ? openForm("") : setEditing("new")}
              {...admin.control()}
            >
              <Icon name="plus" /> {t("resource.new", { noun: t(spec.noun) })}
            </button>
          </div>
        )}
      </div>
      <p class="lead">
        {t(spec.about)}{" "}
        {!admin.may && <span class="quiet">{t("role.changes", { role: t("role.admin") })}</span>}
      </p>
      <div role="status" class="messages">
        {message !== null && <Notice kind={message.kind} title={message.text} />}
      </div>
      <section class="card" aria-label={t(`nav.${kind}`)}>
        {items.length === 0 ? <p class="empty">{t(spec.empty)}</p> : (
          <ResourceTable
            kind={kind}
            items={items}
            busy={busy}
            onEdit={setEditing}
            onRemove={setRemoving}
            onRun={run}
          />
        )}
      </section>
      {editing !== null && (
        <Editor
          spec={spec}
          row={editing === "new" ? null : editing}
          onSaved={saved}
          onClose={() => setEditing(null)}
        />
      )}
      {removing !== null && (
        <Confirm
          title={t("resource.remove_title", { name: String(removing[removable]) })}
          text={t(spec.removal)}
          action={t("action.remove")}
          busy={busy}
          onConfirm={() => remove(removing)}
          onClose={() => setRemoving(null)}
        />
      )}
    </>
  );
}

/** A configuration is changed in the form of a run; a new one has no name yet. */
const openForm = (name: string) => location.assign(at(`/etl/new?edit=${encodeURIComponent(name)}`));

interface Column {
  title: MessageKey;
  className?: string;
  cell(row: Row): ComponentChildren;
}

const updated: Column = {
  title: "resource.updated",
  className: "quiet from-tablet",
  cell: (row) => typeof row.updated_at === "string" ? <Time at={row.updated_at} /> : "–",
};

const COLUMNS: Record<ResourceKind, Column[]> = {
  configurations: [
    {
      title: "resource.conf",
      cell: (row) => <code class="summary">{JSON.stringify(row.conf)}</code>,
    },
    updated,
  ],
  variables: [
    {
      title: "resource.value",
      cell: (row) => <code class="summary">{JSON.stringify(row.value)}</code>,
    },
    updated,
  ],
  pools: [
    { title: "resource.slots", className: "num", cell: (row) => <Amount value={row.slots} /> },
    { title: "resource.per_server", cell: (row) => <Flag value={row.per_server} /> },
    { title: "state.running", className: "num", cell: (row) => <Amount value={row.running} /> },
    { title: "resource.waiting", className: "num", cell: (row) => <Amount value={row.waiting} /> },
  ],
  suites: [
    {
      title: "resource.expectations",
      className: "num",
      cell: (row) => <Amount value={row.expectations} />,
    },
    { title: "resource.origin", className: "quiet", cell: (row) => <SuiteOrigin row={row} /> },
  ],
  datasets: [
    {
      title: "resource.view",
      cell: (row) => row.view === null ? "–" : <code class="summary">{String(row.view)}</code>,
    },
    {
      title: "resource.view_columns",
      className: "num",
      cell: (row) => row.view === null ? "–" : <Amount value={(row.columns as unknown[]).length} />,
    },
  ],
};

function Amount({ value }: { value: unknown }) {
  const { number } = useLocale();
  return <>{number(Number(value))}</>;
}

function Flag({ value }: { value: unknown }) {
  const { t } = useLocale();
  return <>{t(value === true ? "form.yes" : "form.no")}</>;
}

function SuiteOrigin({ row }: { row: Row }) {
  const { t } = useLocale();
  return <>{t(row.origin === "file" ? "resource.from_file" : "resource.from_api")}</>;
}

interface ResourceTableProps {
  kind: ResourceKind;
  items: Row[];
  busy: boolean;
  onEdit(row: Row): void;
  onRemove(row: Row): void;
  onRun(row: Row): void;
}

function ResourceTable({ kind, items, busy, onEdit, onRemove, onRun }: ResourceTableProps) {
  const { t } = useLocale();
  const { key, kept = [], removable = key } = SPECS[kind];
  const admin = useRole("admin");
  const roles = { run: useRole("operator"), edit: admin, json: admin, remove: admin };
  return (
    <div class="table-scroll">
      <table class="table">
        <thead>
          <tr>
            <th scope="col">{t("form.name")}</th>
            {COLUMNS[kind].map(({ title, className }) => (
              <th scope="col" class={className} key={title}>{t(title)}</th>
            ))}
            <th scope="col" class="only-with-script">
              <span class="visually-hidden">{t("resource.actions")}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {items.map((row) => {
            const name = String(row[key]);
            const button = (
              action: "run" | "edit" | "json" | "remove",
              icon: "play" | "edit" | "variables" | "trash",
              onClick: () => void,
              name = String(row[key]),
            ) => (
              <button
                type="button"
                class="button plain icon-only"
                aria-label={t(`resource.${action}_one`, { name })}
                title={t(`resource.${action}_one`, { name })}
                onClick={onClick}
                {...roles[action].control(busy)}
              >
                <Icon name={icon} />
              </button>
            );
            return (
              <tr key={name} id={`row-${name}`}>
                <th scope="row">
                  {kind === "datasets"
                    ? (
                      <a class="resource-name" href={`/etl/datasets/${encodeURIComponent(name)}`}>
                        {name}
                      </a>
                    )
                    : <span class="resource-name">{name}</span>}
                  {typeof row.description === "string" && (
                    <Said className="quiet second-line" text={row.description} />
                  )}
                </th>
                {COLUMNS[kind].map(({ title, className, cell }) => (
                  <td class={className} key={title}>{cell(row)}</td>
                ))}
                <td class="row-actions only-with-script">
                  {kind === "configurations" && button("run", "play", () => onRun(row))}
                  {button(
                    "edit",
                    "edit",
                    () => kind === "configurations" ? openForm(name) : onEdit(row),
                  )}
                  {kind === "configurations" && button("json", "variables", () => onEdit(row))}
                  {!kept.includes(name) && row[removable] !== null &&
                    button("remove", "trash", () => onRemove(row), String(row[removable]))}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

export type ResourceKind = "configurations" | "variables" | "pools" | "suites" | "datasets";
/** A row as its API gives it. */
export type Row = Record<string, unknown>;

/** An input of the editor. */
export interface EditorField {
  name: string;
  label: MessageKey;
  /** `typed`: a text, a number, a truth or JSON, as it is chosen. */
  kind: "text" | "whole" | "flag" | "json" | "typed";
  help: MessageKey;
  /** Whether an empty input is sent as null. */
  optional?: boolean;
  /** Text of a new one's input. */
  initial?: string;
}

export interface ResourceSpec {
  /** Where its API is. */
  api: string;
  /** What follows the name of a row there; default: nothing. */
  below?: string;
  /** Member that names a row. */
  key: string;
  /** What one of them is called, and what they are for. */
  noun: MessageKey;
  about: MessageKey;
  empty: MessageKey;
  removal: MessageKey;
  fields: EditorField[];
  /** Whether the body is the only field's JSON itself. */
  bare?: boolean;
  /** Rows that cannot be removed. */
  kept?: string[];
  /** Whether rows come by themselves, so that none is made here. */
  given?: boolean;
  /** Member that names what removing takes away, null where there is nothing; default: the key. */
  removable?: string;
}

const SPECS: Record<ResourceKind, ResourceSpec> = {
  configurations: {
    api: "/api/configurations",
    key: "name",
    noun: "resource.configuration",
    about: "resource.configurations_about",
    empty: "resource.configurations_empty",
    removal: "resource.configuration_removal",
    fields: [
      {
        name: "description",
        label: "form.description",
        kind: "text",
        help: "resource.description_help",
        optional: true,
      },
      {
        name: "conf",
        label: "resource.conf",
        kind: "json",
        help: "resource.conf_help",
      },
    ],
  },
  variables: {
    api: "/api/variables",
    key: "name",
    noun: "resource.variable",
    about: "resource.variables_about",
    empty: "resource.variables_empty",
    removal: "resource.variable_removal",
    fields: [{
      name: "value",
      label: "resource.value",
      kind: "typed",
      help: "resource.value_help",
      initial: '""',
    }],
  },
  pools: {
    api: "/api/pools",
    key: "pool",
    noun: "resource.pool",
    about: "resource.pools_about",
    empty: "resource.pools_empty",
    removal: "resource.pool_removal",
    kept: ["default_pool"],
    fields: [
      {
        name: "slots",
        label: "resource.slots",
        kind: "whole",
        help: "resource.slots_help",
        initial: "2",
      },
      {
        name: "per_server",
        label: "resource.per_server",
        kind: "flag",
        help: "resource.per_server_help",
        initial: "false",
      },
      {
        name: "description",
        label: "form.description",
        kind: "text",
        help: "resource.description_help",
        optional: true,
      },
    ],
  },
  suites: {
    api: "/api/suites",
    key: "name",
    noun: "resource.suite",
    about: "resource.suites_about",
    empty: "resource.suites_empty",
    removal: "resource.suite_removal",
    bare: true,
    fields: [{
      name: "suite",
      label: "resource.suite_json",
      kind: "json",
      help: "resource.suite_help",
      initial: JSON.stringify(
        {
          expectations: [{
            type: "expect_column_values_to_not_be_null",
            kwargs: { column: "event_id" },
          }],
        },
        null,
        2,
      ),
    }],
  },
  datasets: {
    api: "/api/datasets",
    below: "/columns",
    key: "dataset",
    noun: "resource.dataset",
    about: "resource.datasets_about",
    empty: "resource.datasets_empty",
    removal: "resource.dataset_removal",
    given: true,
    removable: "view",
    fields: [{
      name: "columns",
      label: "resource.columns",
      kind: "json",
      help: "resource.columns_help",
      initial: "[]",
    }],
  },
};

/** Where the API has a row. */
function rowPath({ api, below = "" }: ResourceSpec, name: string): string {
  return `${api}/${encodeURIComponent(name)}${below}`;
}

interface EditorProps {
  spec: ResourceSpec;
  /** The row to change; null: a new one. */
  row: Row | null;
  onSaved(name: string): void;
  onClose(): void;
}

/** Creates or changes a row; what the server finds wrong is shown where it is. */
function Editor({ spec, row, onSaved, onClose }: EditorProps) {
  const { t } = useLocale();
  const [name, setName] = useState(row === null ? "" : String(row[spec.key]));
  const looksUp = spec.noun === "resource.suite" && row !== null;
  const [texts, setTexts] = useState<Record<string, string>>(() =>
    looksUp ? {} : initialTexts(spec, row)
  );
  const [failure, setFailure] = useState<string | null>(null);
  const [busy, setBusy] = useState(looksUp);
  const declared = (row?.declared ?? null) as Declared | null;
  const [alteration, setAlteration] = useState<Alteration>({ add: [], types: {} });

  useEffect(() => {
    if (!looksUp) return;
    // of its text no digit is lost, and a list would be large with the texts of all
    call<string>(rowPath(spec, name), { asText: true, offline: t("error.network") }).then(
      (text) => {
        setTexts((now) => ({ ...now, suite: JSON.stringify(parseExact(text), null, 2) }));
        setBusy(false);
      },
      (error: ApiError) => setFailure(error.message),
    );
  }, []);

  const save = async (event: Event) => {
    event.preventDefault();
    setFailure(null);
    setBusy(true);
    try {
      if (declared !== null) {
        await call(rowPath(spec, name), {
          method: "PATCH",
          body: alterationBody(alteration),
          offline: t("error.network"),
        });
        return onSaved(name);
      }
      const values = Object.fromEntries(
        spec.fields.map((field) => [field.name, valueOf(field, texts[field.name] ?? "")]),
      );
      await call(rowPath(spec, name), {
        method: "PUT",
        headers: row === null ? ONLY_NEW : {},
        body: spec.bare ? values[spec.fields[0]!.name] : values,
        offline: t("error.network"),
      });
      onSaved(name);
    } catch (error) {
      setFailure(
        error instanceof SyntaxError
          ? wrongText(spec.fields, texts, t, error)
          : (error as ApiError).errors.map(({ field, message }) => `${field} ${message}`)
            .join("; ") || (error as ApiError).message,
      );
    }
    setBusy(false);
  };
  const set = (field: string) => (text: string) => setTexts((now) => ({ ...now, [field]: text }));
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
        {looksUp && texts.suite === undefined
          ? <p class="quiet" role="status">{t("form.previewing")}</p>
          : spec.noun === "resource.suite"
          ? <SuiteEditor text={texts.suite ?? ""} name={name} onInput={set("suite")} />
          : declared !== null
          ? (
            <TypedColumns
              declared={declared}
              alteration={alteration}
              onChange={setAlteration}
            />
          )
          : spec.noun === "resource.dataset"
          ? (
            <ViewColumns
              path={rowPath(spec, name)}
              columns={JSON.parse(texts.columns!) as DatasetColumn[]}
              onChange={(columns) => set("columns")(JSON.stringify(columns))}
            />
          )
          : spec.fields.map((field) => {
            const FieldInput = field.kind === "typed" ? TypedInput : Input;
            return (
              <FieldInput
                key={field.name}
                field={field}
                text={texts[field.name] ?? ""}
                onInput={set(field.name)}
              />
            );
          })}
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
  /** Whether a text is digits. Default: false. */
  numeric?: boolean;
  onInput(text: string): void;
}

function Input({ field, text, numeric = field.kind === "whole", onInput }: InputProps) {
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
        : field.kind === "flag"
        ? (
          <input
            id={id}
            type="checkbox"
            aria-describedby={`${id}-help`}
            checked={text === "true"}
            onChange={(event) => onInput(String(event.currentTarget.checked))}
          />
        )
        : (
          <input
            id={id}
            type="text"
            inputMode={numeric ? field.kind === "whole" ? "numeric" : "decimal" : undefined}
            aria-describedby={`${id}-help`}
            value={text}
            onInput={(event) => onInput(event.currentTarget.value)}
          />
        )}
      <p class="field-help" id={`${id}-help`}>{t(field.help)}</p>
    </div>
  );
}

/** What is said of a text that is no JSON: of a number, which nobody takes for JSON, that it is none. */
function wrongText(
  fields: EditorField[],
  texts: Record<string, string>,
  t: ReturnType<typeof useLocale>["t"],
  { message }: SyntaxError,
): string {
  const typed = fields.find(({ kind }) => kind === "typed");
  const text = typed === undefined ? "{" : texts[typed.name] ?? "";
  return /^\s*[[{]/.test(text)
    ? t("resource.not_json", { message })
    : t("resource.not_a_number", { text: text === "" ? "–" : text });
}

const TYPES = ["text", "number", "flag", "json"] as const;
type ValueType = (typeof TYPES)[number];

const NUMBER = /^\s*-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?\s*$/;

/** What kind of value a JSON text has: the simplest input that holds all of it. */
export function valueType(json: string): ValueType {
  if (/^\s*"[^]*"\s*$/.test(json)) return "text";
  if (/^\s*(true|false)\s*$/.test(json)) return "flag";
  return NUMBER.test(json) ? "number" : "json";
}

/** A value of which the type is chosen; its text is JSON, and what is no number stays what was typed. */
function TypedInput({ field, text, onInput }: InputProps) {
  const { t } = useLocale();
  const [type, setType] = useState(() => valueType(text));
  const id = `editor-${field.name}`;
  const isText = type === "text";
  const shown = isText ? JSON.parse(text) as string : text;
  const choose = (next: ValueType) => {
    setType(next);
    if (next === "text") onInput(JSON.stringify(shown));
    else if (next === "flag") onInput(String(shown === "true"));
    else onInput(shown);
  };
  return (
    <>
      <div class="field">
        <label for={`${id}-type`}>{t("resource.value_type")}</label>
        <select
          id={`${id}-type`}
          onChange={({ currentTarget }) => choose(currentTarget.value as ValueType)}
        >
          {TYPES.map((each) => (
            <option key={each} value={each} selected={each === type}>
              {t(`resource.type_${each}`)}
            </option>
          ))}
        </select>
      </div>
      {type === "flag"
        ? (
          <div class="field">
            <label for={id}>{t(field.label)}</label>
            <select id={id} onChange={({ currentTarget }) => onInput(currentTarget.value)}>
              {["true", "false"].map((each) => (
                <option key={each} value={each} selected={each === text.trim()}>
                  {t(each === "true" ? "form.yes" : "form.no")}
                </option>
              ))}
            </select>
          </div>
        )
        : (
          <Input
            key={type}
            field={{ ...field, kind: type === "json" ? "json" : "text" }}
            numeric={type === "number"}
            text={shown}
            onInput={(typed) => onInput(isText ? JSON.stringify(typed) : typed)}
          />
        )}
    </>
  );
}

function initialTexts(spec: ResourceSpec, row: Row | null): Record<string, string> {
  return Object.fromEntries(spec.fields.map((field) => {
    if (row === null) return [field.name, field.initial ?? ""];
    const value = row[field.name];
    return [
      field.name,
      ["json", "typed"].includes(field.kind)
        ? JSON.stringify(value, null, 2)
        : value === null
        ? ""
        : String(value),
    ];
  }));
}

/** Throws a SyntaxError where JSON is not. */
function valueOf({ kind, optional }: EditorField, text: string): unknown {
  if (optional && text.trim() === "") return null;
  if (kind === "json" || kind === "typed") return parseExact(text);
  if (kind === "flag") return text === "true";
  return kind === "whole" && /^\d+$/.test(text.trim()) ? Number(text) : text;
}

mount("resources", ResourceList, { says: true });
