/// <reference lib="dom" />
import { useEffect, useRef, useState } from "preact/hooks";
import type { Preview } from "../../pipeline/preview.ts";
import type { MessageKey } from "../i18n/en.ts";
import { useLocale } from "../lib/context.tsx";
import { Icon } from "../ui/elements.tsx";
import { fieldIn, namesOf, namesText } from "./conf.ts";
import { COLUMN_TYPES, parsed } from "./data.tsx";

type Attributes = Record<string, unknown>;

interface ValueProps {
  /** Attributes of the input that the label of the field is for. */
  common: Attributes;
  name: string;
  /** The field's text: a text, or JSON. */
  value: string;
  /** Fields of the records, to choose from. */
  known: string[];
  onChange(value: string): void;
}

/** A fixed text, or a field of the records: `order`, `{"field": "kind"}`. */
export function TextOrField({ common, name, value, known, onChange }: ValueProps) {
  const { t } = useLocale();
  const field = fieldIn(value)?.field;
  const [wantsField, setWantsField] = useState(false);
  const isField = value === "" ? wantsField : field !== undefined;
  const list = `${common.id}-fields`;
  const write = (text: string, isField: boolean) => {
    setWantsField(isField);
    onChange(isField && text !== "" ? JSON.stringify({ field: text }) : text);
  };
  return (
    <div class="joined">
      <select
        aria-label={t("form.how_given", { name })}
        onChange={({ currentTarget }) => write(field ?? value, currentTarget.value === "field")}
      >
        <option value="text" selected={!isField}>{t("form.fixed_text")}</option>
        <option value="field" selected={isField}>{t("form.a_field")}</option>
      </select>
      <input
        {...common}
        type="text"
        autocomplete="off"
        spellcheck={false}
        list={isField ? list : undefined}
        value={field ?? value}
        onInput={({ currentTarget }) => write(currentTarget.value, isField)}
      />
      {isField && <Suggestions id={list} values={known} />}
    </div>
  );
}

/** A field of the records and how it is written: `sold`, `{"field": "at", "format": "epoch_ms"}`. */
export function FieldAndFormat(
  { common, name, value, known, formats, onChange }: ValueProps & { formats: string[] },
) {
  const { t } = useLocale();
  const given = fieldIn(value);
  const field = given?.field ?? value;
  // what was chosen stays while another name is typed in the place of this one
  const [chosen, setChosen] = useState(given?.format);
  const format = given?.format ?? (field === "" ? chosen : undefined) ?? formats[0]!;
  const write = (field: string, format: string) => {
    setChosen(format);
    onChange(field === "" || format === formats[0] ? field : JSON.stringify({ field, format }));
  };
  return (
    <div class="joined">
      <input
        {...common}
        type="text"
        autocomplete="off"
        spellcheck={false}
        list={`${common.id}-fields`}
        value={field}
        onInput={({ currentTarget }) => write(currentTarget.value, format)}
      />
      <select
        aria-label={t("form.format_of", { column: name })}
        disabled={field === ""}
        onChange={({ currentTarget }) => write(field, currentTarget.value)}
      >
        {formats.map((each) => (
          <option key={each} value={each} selected={each === format}>{each}</option>
        ))}
      </select>
      <Suggestions id={`${common.id}-fields`} values={known} />
    </div>
  );
}

function Suggestions({ id, values }: { id: string; values: string[] }) {
  return (
    <datalist id={id}>
      {values.map((each) => <option key={each} value={each} />)}
    </datalist>
  );
}

/** Everything that a declaration may say of a column, as its inputs have it. */
type Declaration = Record<string, unknown>;

interface DeclaredColumn {
  name: string;
  declaration: Declaration;
}

/** The types for which each member of a declaration says something; others are for all. */
const SAYS_OF: Record<string, RegExp> = {
  format: /^(date|timestamptz)$/,
  decimal: /^(numeric|number|integer|bigint)/,
  thousands: /^(numeric|number|integer|bigint)/,
  true_values: /^boolean$/,
  false_values: /^boolean$/,
};

interface Digits {
  /** In all; "": as many as there are. */
  precision: string;
  /** Of these after the point; "": none, or as many as there are. */
  scale: string;
}

/** What a numeric type says of its digits, also while it is being typed; null of any other type. */
export function digitsIn(type: string): Digits | null {
  const found = /^numeric(?:\( *(\d*) *(?:, *(\d*) *)?\))?$/.exec(type);
  return found === null ? null : { precision: found[1] ?? "", scale: found[2] ?? "" };
}

/** The numeric type with these digits; what is no digit is left out. */
export function numericType({ precision, scale }: Digits): string {
  const [all, after] = [precision, scale].map((text) => text.replaceAll(/\D/g, ""));
  if (all === "" && after === "") return "numeric";
  return after === "" ? `numeric(${all})` : `numeric(${all},${after})`;
}

/** The columns that `source.columns` declares, in the order in which it has them. */
export function declaredIn(text: string): DeclaredColumn[] {
  return Object.entries(parsed<Record<string, unknown>>(text) ?? {}).map(([name, given]) => ({
    name,
    declaration: typeof given === "object" && given !== null
      ? given as Declaration
      : { type: String(given) },
  }));
}

/** `source.columns` as text; columns without a name or a word about them are left out. */
export function declaredText(columns: DeclaredColumn[]): string {
  const all = columns.flatMap(({ name, declaration }) => {
    const said = Object.entries(declaration).filter(([, value]) =>
      value !== "" && !(Array.isArray(value) && value.length === 0)
    );
    if (name === "" || said.length === 0) return [];
    return [[
      name,
      said.length === 1 && said[0]![0] === "type" ? said[0]![1] : Object.fromEntries(said),
    ]];
  });
  return all.length === 0 ? "" : JSON.stringify(Object.fromEntries(all));
}

interface NamesProps {
  names: string[];
  onChange(names: string[]): void;
}

/** A list with commas between. What is typed stays for as long as it says the same list: "yes," is on its way to another. */
function NamesInput({ names, onChange }: NamesProps) {
  const [typed, setTyped] = useState("");
  const isTheirs = JSON.stringify(namesOf(typed)) === JSON.stringify(names);
  return (
    <input
      type="text"
      autocomplete="off"
      spellcheck={false}
      value={isTheirs ? typed : namesText(names)}
      onInput={({ currentTarget: { value } }) => {
        setTyped(value);
        onChange(namesOf(value));
      }}
    />
  );
}

interface ColumnsProps {
  id: string;
  described: string;
  invalid: boolean;
  value: string;
  /** Members that the schema has for a column, beside its type, with whether each is a list. */
  members: { name: string; list: boolean }[];
  known: string[];
  /** What the records say that columns are. */
  proposals: Preview["columns"];
  onChange(value: string): void;
}

/** The declared columns as rows of inputs; their JSON can be looked at and written as well. */
export function DeclaredColumns(
  { id, described, invalid, value, members, known, proposals, onChange }: ColumnsProps,
) {
  const { t } = useLocale();
  const [rows, setRows] = useState(() => ({ columns: declaredIn(value), text: value }));
  // Rows say more than their text (one without a name yet, a name given twice), so they are kept
  // for as long as it is theirs. Told while rendering: an effect may see a text already left behind.
  const columns = rows.text === value ? rows.columns : declaredIn(value);
  const added = useRef(false);
  const list = useRef<HTMLUListElement>(null);
  useEffect(() => {
    if (!added.current) return;
    added.current = false;
    list.current?.querySelector<HTMLInputElement>("li:last-child input")?.focus();
  }, [columns.length]);
  const write = (next: DeclaredColumn[]) => {
    const text = declaredText(next);
    setRows({ columns: next, text });
    onChange(text);
  };
  const change = (at: number, changes: Partial<DeclaredColumn>) =>
    write(columns.map((column, i) => i === at ? { ...column, ...changes } : column));
  const say = (at: number, said: Declaration) =>
    change(at, { declaration: { ...columns[at]!.declaration, ...said } });
  const proposed = proposals.filter(({ name }) => columns.every((each) => each.name !== name));
  return (
    <div
      class="declared"
      id={id}
      tabIndex={-1}
      role="group"
      aria-labelledby={`${id}-label`}
      aria-describedby={described}
    >
      {columns.length > 0 && (
        <ul class="declared-rows" ref={list}>
          {columns.map(({ name, declaration }, at) => {
            const type = String(declaration.type ?? "");
            const digits = digitsIn(type);
            const base = digits === null ? type : "numeric";
            const shown = name === "" ? t("form.column_n", { n: at + 1 }) : name;
            const twice = name !== "" &&
              columns.some((each, i) => i !== at && each.name === name);
            return (
              <li key={at}>
                <div class="declared-row" role="group" aria-label={shown}>
                  <label>
                    <span>{t("form.column")}</span>
                    <input
                      type="text"
                      autocomplete="off"
                      spellcheck={false}
                      list={`${id}-known`}
                      aria-invalid={twice}
                      value={name}
                      onInput={({ currentTarget }) => change(at, { name: currentTarget.value })}
                    />
                  </label>
                  <label>
                    <span>{t("form.type")}</span>
                    <select
                      aria-invalid={invalid && type === ""}
                      onChange={({ currentTarget }) =>
                        change(at, { declaration: { ...declaration, type: currentTarget.value } })}
                    >
                      <option value="" selected={type === ""}>{t("form.as_read")}</option>
                      {[...new Set([...COLUMN_TYPES, ...(base === "" ? [] : [base])])]
                        .map((each) => (
                          <option key={each} value={each} selected={each === base}>{each}</option>
                        ))}
                    </select>
                  </label>
                  {digits !== null &&
                    (["precision", "scale"] as const).map((part) => (
                      <label key={part}>
                        <span>{t(`form.column_${part}`)}</span>
                        <input
                          type="text"
                          autocomplete="off"
                          inputMode="numeric"
                          value={digits[part]}
                          onInput={({ currentTarget: { value } }) =>
                            say(at, { type: numericType({ ...digits, [part]: value }) })}
                        />
                      </label>
                    ))}
                  {members.filter(({ name }) =>
                    type === "" ? name === "column" : SAYS_OF[name]?.test(type) ?? true
                  ).map(({ name: member, list }) => (
                    <label key={member}>
                      <span>{t(`form.column_${member}` as MessageKey)}</span>
                      {list
                        ? (
                          <NamesInput
                            names={declaration[member] as string[] ?? []}
                            onChange={(names) => say(at, { [member]: names })}
                          />
                        )
                        : (
                          <input
                            type="text"
                            autocomplete="off"
                            spellcheck={false}
                            placeholder={member === "format" ? "%d/%m/%Y" : ""}
                            value={String(declaration[member] ?? "")}
                            onInput={({ currentTarget: { value } }) => say(at, { [member]: value })}
                          />
                        )}
                    </label>
                  ))}
                  <button
                    type="button"
                    class="button plain icon-only"
                    aria-label={t("resource.remove_one", { name: shown })}
                    title={t("resource.remove_one", { name: shown })}
                    onClick={() => {
                      write(columns.filter((_, i) => i !== at));
                      document.getElementById(`${id}-add`)?.focus();
                    }}
                  >
                    <Icon name="trash" />
                  </button>
                </div>
                {twice && (
                  <p class="field-error" role="status">{t("form.column_twice", { name: shown })}</p>
                )}
              </li>
            );
          })}
        </ul>
      )}
      <datalist id={`${id}-known`}>
        {known.filter((each) => columns.every(({ name }) => name !== each)).map((each) => (
          <option key={each} value={each} />
        ))}
      </datalist>
      <div class="form-actions-row only-with-script">
        <button
          type="button"
          id={`${id}-add`}
          class="button small"
          onClick={() => {
            added.current = true;
            setRows({
              columns: [...columns, { name: "", declaration: { type: "text" } }],
              text: value,
            });
          }}
        >
          <Icon name="plus" /> {t("columns.add")}
        </button>
        {proposed.length > 0 && (
          <button
            type="button"
            class="button small"
            onClick={() =>
              write([
                ...columns.filter(({ name }) => name !== ""),
                ...declaredIn(JSON.stringify(
                  Object.fromEntries(proposed.map(({ name, declare }) => [name, declare])),
                )),
              ])}
          >
            {t("form.use_types", { n: proposed.length })}
          </button>
        )}
      </div>
      <details class="fold">
        <summary>{t("form.as_json")}</summary>
        <textarea
          id={`${id}-json`}
          rows={3}
          spellcheck={false}
          aria-labelledby={`${id}-label`}
          value={value}
          onInput={({ currentTarget }) => onChange(currentTarget.value)}
        />
      </details>
    </div>
  );
}
