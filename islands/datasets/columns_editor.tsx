/// <reference lib="dom" />
import { useRef, useState } from "preact/hooks";
import type { ColumnProposal as Proposal, DatasetColumn } from "../../store/datasets.ts";
import { COLUMN_TYPES } from "../form/data.tsx";
import { type ApiError, call } from "../lib/api.ts";
import { focusAddAfter } from "../lib/focus.ts";
import { useLocale } from "../lib/context.tsx";
import { Icon, Notice } from "../ui/elements.tsx";

interface ViewProps {
  /** API of the dataset's columns. */
  path: string;
  columns: DatasetColumn[];
  onChange(columns: DatasetColumn[]): void;
}

/** The columns of a dataset's typed view, one a row. */
export function ViewColumns({ path, columns, onChange }: ViewProps) {
  const { t } = useLocale();
  const change = (at: number, changes: Partial<DatasetColumn>) =>
    onChange(columns.map((each, i) => i === at ? { ...each, ...changes } : each));
  return (
    <>
      <p class="field-help">{t("columns.view_about")}</p>
      {columns.length > 0 && (
        <div class="table-scroll" tabIndex={0} role="group" aria-label={t("resource.columns")}>
          <table class="table card-table column-table editor-table">
            <Head names={["columns.path", "columns.name", "form.type"]} />
            <tbody>
              {columns.map((column, at) => (
                <tr key={at}>
                  <td data-title={t("columns.path")}>
                    <Text
                      label={t("columns.path_of", { n: at + 1 })}
                      value={column.path}
                      onInput={(path) =>
                        // a name that nobody has chosen follows the field
                        change(at, {
                          path,
                          ...(column.name === plainName(column.path)
                            ? { name: plainName(path) }
                            : {}),
                        })}
                    />
                  </td>
                  <td data-title={t("columns.name")}>
                    <Text
                      label={t("columns.name_of", { n: at + 1 })}
                      value={column.name}
                      onInput={(name) => change(at, { name })}
                    />
                  </td>
                  <td data-title={t("form.type")}>
                    <TypeChoice
                      label={t("form.type_of", { column: column.name })}
                      value={column.type}
                      options={COLUMN_TYPES}
                      onChange={(type) =>
                        change(at, { type: type as DatasetColumn["type"] })}
                    />
                  </td>
                  <td>
                    <Remove
                      name={column.name || String(at + 1)}
                      onClick={() =>
                        onChange(columns.filter((_, i) =>
                          i !== at
                        ))}
                    />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <Add onClick={() => onChange([...columns, { name: "", path: "", type: "text" }])} />
      <ColumnProposal path={path} columns={columns} onProposal={onChange} />
    </>
  );
}

/** "properties.mag" → "properties_mag" */
const plainName = (path: string) => path.replaceAll(/[^\p{L}\p{N}]+/gu, "_");

/** What a typed table is made of. */
export interface Declared {
  source: string;
  key: string[] | null;
  version: string | null;
  occurred_at: unknown;
  columns: { name: string; path: string; type: string }[];
}

/** What is to become of a typed table's columns. */
export interface Alteration {
  /** Fields of records that get a column. */
  add: { field: string; type: string }[];
  /** Columns that get a wider type. */
  types: Record<string, string>;
}

/** An alteration as the API takes it. */
export const alterationBody = ({ add, types }: Alteration) => ({
  add: Object.fromEntries(
    add.filter(({ field }) => field !== "").map(({ field, type }) => [field, type]),
  ),
  types,
});

/** Types to which a column can be widened without a value changing. */
export function widerTypes(type: string): string[] {
  if (type === "integer" || /^numeric\(/.test(type)) return ["numeric"];
  return type === "date" ? ["timestamptz"] : [];
}

interface TypedProps {
  declared: Declared;
  alteration: Alteration;
  onChange(alteration: Alteration): void;
}

/** The columns of a typed table: more can be added, and types made wider. What the first load declared stays. */
export function TypedColumns({ declared, alteration, onChange }: TypedProps) {
  const { t } = useLocale();
  const { add, types } = alteration;
  const time = (declared.occurred_at as { field?: string } | null)?.field ??
    (typeof declared.occurred_at === "string" ? declared.occurred_at : "–");
  const retype = (name: string, type: string, now: string) => {
    const { [name]: _before, ...others } = types;
    onChange({ add, types: type === now ? others : { ...others, [name]: type } });
  };
  const changeAdded = (at: number, changes: Partial<Alteration["add"][number]>) =>
    onChange({ types, add: add.map((each, i) => i === at ? { ...each, ...changes } : each) });
  return (
    <>
      <dl class="facts">
        <Fact name={t("run.source")} value={declared.source} />
        <Fact name={t("form.key")} value={declared.key?.join(" + ") ?? t("form.key_hash")} />
        <Fact name={t("form.time")} value={time} />
        <Fact name={t("form.version")} value={declared.version ?? "–"} />
      </dl>
      <p class="field-help">{t("columns.typed_about")}</p>
      <div class="table-scroll" tabIndex={0} role="group" aria-label={t("resource.columns")}>
        <table class="table card-table column-table editor-table">
          <Head names={["columns.path", "columns.name", "form.type"]} />
          <tbody>
            {declared.columns.map(({ name, path, type }) => (
              <tr key={name}>
                <td data-title={t("columns.path")}>
                  <code>{path}</code>
                </td>
                <th scope="row" data-title={t("columns.name")}>
                  <code>{name}</code>
                </th>
                <td data-title={t("form.type")}>
                  {widerTypes(type).length === 0 ? <code>{type}</code> : (
                    <TypeChoice
                      label={t("form.type_of", { column: name })}
                      value={types[name] ?? type}
                      options={[type, ...widerTypes(type)]}
                      onChange={(wanted) => retype(name, wanted, type)}
                    />
                  )}
                </td>
                <td />
              </tr>
            ))}
            {add.map(({ field, type }, at) => (
              <tr key={`added ${at}`}>
                <td data-title={t("columns.path")}>
                  <Text
                    label={t("columns.added", { n: at + 1 })}
                    value={field}
                    onInput={(field) => changeAdded(at, { field })}
                  />
                </td>
                <td class="quiet" data-title={t("columns.name")}>{t("columns.named_after")}</td>
                <td data-title={t("form.type")}>
                  <Text
                    label={t("columns.added_type", { n: at + 1 })}
                    value={type}
                    list="column-types"
                    onInput={(type) => changeAdded(at, { type })}
                  />
                </td>
                <td>
                  <Remove
                    name={field || String(at + 1)}
                    onClick={() => onChange({ types, add: add.filter((_, i) => i !== at) })}
                  />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <datalist id="column-types">
        {[...COLUMN_TYPES, "numeric(12,2)"].map((each) => <option key={each} value={each} />)}
      </datalist>
      <Add onClick={() => onChange({ types, add: [...add, { field: "", type: "text" }] })} />
    </>
  );
}

function Head({ names }: { names: ("columns.path" | "columns.name" | "form.type")[] }) {
  const { t } = useLocale();
  return (
    <thead>
      <tr>
        {names.map((name) => <th scope="col" key={name}>{t(name)}</th>)}
        <th scope="col">
          <span class="visually-hidden">{t("resource.actions")}</span>
        </th>
      </tr>
    </thead>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

interface TextProps {
  label: string;
  value: string;
  list?: string;
  onInput(value: string): void;
}

function Text({ label, value, list, onInput }: TextProps) {
  return (
    <input
      type="text"
      autocomplete="off"
      spellcheck={false}
      aria-label={label}
      list={list}
      value={value}
      onInput={(event) => onInput(event.currentTarget.value)}
    />
  );
}

interface TypeProps {
  label: string;
  value: string;
  options: string[];
  onChange(type: string): void;
}

function TypeChoice({ label, value, options, onChange }: TypeProps) {
  return (
    <select aria-label={label} onChange={(event) => onChange(event.currentTarget.value)}>
      {[...new Set([...options, value])].map((each) => (
        <option key={each} value={each} selected={each === value}>{each}</option>
      ))}
    </select>
  );
}

function Remove({ name, onClick }: { name: string; onClick(): void }) {
  const { t } = useLocale();
  return (
    <button
      type="button"
      class="button plain icon-only small"
      aria-label={t("resource.remove_one", { name })}
      onClick={(event) => {
        focusAddAfter(event);
        onClick();
      }}
    >
      <Icon name="trash" />
    </button>
  );
}

function Add({ onClick }: { onClick(): void }) {
  const { t } = useLocale();
  return (
    <div>
      <button type="button" class="button" data-add onClick={onClick}>
        <Icon name="plus" /> {t("columns.add")}
      </button>
    </div>
  );
}

interface ColumnProposalProps {
  /** API of the dataset's columns. */
  path: string;
  /** What is in the editor. */
  columns: DatasetColumn[];
  onProposal(columns: DatasetColumn[]): void;
}

/** Puts columns that fit the data into the editor; what is typed while they are looked for stays, with the others below. */
function ColumnProposal({ path, columns: now, onProposal }: ColumnProposalProps) {
  const { t } = useLocale();
  const latest = useRef(now);
  latest.current = now;
  const [outcome, setOutcome] = useState<{ kind: "good" | "problem"; text: string } | null>(null);
  const propose = async () => {
    const before = JSON.stringify(latest.current);
    try {
      const { columns, rows } = await call<Proposal>(`${path}/proposal`, {
        offline: t("error.network"),
      });
      const typed = JSON.stringify(latest.current) === before ? [] : latest.current;
      onProposal([
        ...typed,
        ...columns.filter(({ path }) => typed.every((each) => each.path !== path)),
      ]);
      setOutcome({ kind: "good", text: t("resource.proposed", { n: rows }) });
    } catch (error) {
      setOutcome({ kind: "problem", text: (error as ApiError).message });
    }
  };
  return (
    <div class="stack tight">
      <div>
        <button type="button" class="button" onClick={propose}>{t("resource.propose")}</button>
      </div>
      <div role="status">
        {outcome !== null && <Notice kind={outcome.kind} title={outcome.text} />}
      </div>
    </div>
  );
}
